"""A graph that does not hold together is seen: one mutation for each kind of fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from odl.graph import DType, Graph, GraphError, Node, Role, Value
from odl.operators.elementwise import Relu
from odl.operators.shape import Reshape
from odl.optimizers.base import Update
from odl.optimizers.sgd import SGD
from odl.passes.optimizer import insert_updates
from odl.passes.precision import apply_precision
from odl.passes.rewrite import Pass, run_passes
from odl.precision import Precision
from tests.odl.graph.examples import build, node, traced_step, train_norms


@pytest.fixture(scope="module")
def step() -> Graph:
    """A training step in fp32: convolutions, batch norms in training mode, a residual sum, updates with momentum."""
    module, x = build("residual")
    graph = traced_step(train_norms(module), x)
    trained = frozenset(graph.gradients)
    graph = apply_precision(graph, Precision.FP32, trained, accumulate=False)
    return insert_updates(graph, SGD(momentum=0.9), Precision.FP32, accumulate=False).step


def change_node(graph: Graph, name: str, change: Callable[[Node], Node]) -> Graph:
    return replace(graph, nodes=tuple(change(item) if item.name == name else item for item in graph.nodes))


def change_value(graph: Graph, name: str, **fields: object) -> Graph:
    return graph.with_values([replace(graph.value(name), **fields)])


def with_input(name: str, value: str) -> Callable[[Node], Node]:
    return lambda item: replace(item, inputs={**item.inputs, name: value})


def without(graph: Graph, name: str) -> Graph:
    return replace(graph, nodes=tuple(item for item in graph.nodes if item.name != name))


def unread(graph: Graph) -> Graph:
    values = {name: value for name, value in graph.values.items() if name != "0.weight"}
    return replace(graph, values=values)


def renamed_value(graph: Graph) -> Graph:
    values = {**graph.values, "0.bias": replace(graph.value("0.bias"), name="bias")}
    return replace(graph, values=values)


def doubled(graph: Graph) -> Graph:
    again = replace(node(graph, "0"), name="again")
    return replace(graph, nodes=(again, *graph.nodes))


def backwards(graph: Graph) -> Graph:
    return replace(graph, nodes=(*graph.nodes[1:], graph.nodes[0]))


def over_a_parameter(graph: Graph) -> Graph:
    shape = graph.value("0.bias").shape
    return replace(graph, nodes=(*graph.nodes, Node("v", Reshape(shape), {"x": "0.bias"}, {"y": "0.bias"})))


def spare_output(graph: Graph) -> Graph:
    return replace(graph.with_values([Value("spare", (2,), Role.ACTIVATION)]), outputs=("loss", "spare"))


def without_results(graph: Graph) -> Graph:
    return replace(graph, nodes=(*graph.nodes, Node("r", Relu(), {"x": "0"}, {})))


def untyped(graph: Graph) -> Graph:
    """One activation alone in fp16, as a pass would leave it that forgets the others."""
    return change_value(graph, "0", dtype=DType.F16)


FAULTS: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "missing value": (unread, "there is no value '0.weight'"),
    "missing output": (lambda graph: replace(graph, outputs=("z",)), "there is no value 'z'"),
    "wrong name": (renamed_value, "value 'bias' is called '0.bias'"),
    "name twice": (
        lambda graph: replace(graph, nodes=(*graph.nodes, node(graph, "0.weight.update"))),
        "two nodes are called '0.weight.update'",
    ),
    "two producers": (doubled, "node '0' makes '0', which has a producer or is given"),
    "a parameter is produced": (over_a_parameter, "makes '0.bias', which has a producer or is given"),
    "no producer": (lambda graph: without(graph, "0"), "reads '0' before it exists"),
    "no producer of an output": (spare_output, "no node makes 'spare'"),
    "read too early": (backwards, "reads '0' before it exists"),
    "undeclared input": (
        lambda graph: change_node(graph, "0", with_input("mask", "x")),
        "node '0': inputs x, weight, bias, mask, of which the operator has x, weight, bias, addend",
    ),
    "inputs out of order": (
        lambda graph: change_node(
            graph, "0", lambda item: replace(item, inputs=dict(reversed(item.inputs.items())))
        ),
        "node '0': inputs bias, weight, x, of which the operator has",
    ),
    "missing input": (
        lambda graph: change_node(graph, "0", lambda item: replace(item, inputs={"weight": "0.weight"})),
        "node '0': no x",
    ),
    "inputs that do not fit": (
        lambda graph: change_value(graph, "0.weight", shape=(3, 2, 3, 3)),
        "node '0': the input has 1 channels, the weight expects 2",
    ),
    "output of another shape": (
        lambda graph: change_value(graph, "0", shape=(2, 3, 4, 5)),
        "node '0': outputs of shapes {'y': (2, 3, 4, 5)}, of which the operator gives {'y': (2, 3, 4, 4)}",
    ),
    "missing output of a node": (
        without_results,
        "node 'r': outputs of shapes {}, of which the operator gives {'y': (2, 3, 4, 4)}",
    ),
    "role that the pass cannot give": (
        lambda graph: change_value(graph, "0.weight.gradient", role=Role.ACTIVATION),
        "a weight_gradient node gives '0.weight.gradient', whose role is activation",
    ),
    "what dies is updated": (
        lambda graph: change_value(graph, "1.bn1.running_mean", role=Role.TARGET),
        "it updates '1.bn1.running_mean', whose role is target",
    ),
    "type that the role never has": (
        lambda graph: change_value(graph, "loss", dtype=DType.F16),
        "'loss' is stored in f16, which the role loss never is",
    ),
    "two types of activations": (untyped, "activations and their gradients are stored in f16 and f32"),
    "gradient of something else": (
        lambda graph: replace(graph, gradients={**graph.gradients, "1.bn1.running_mean": "0.bias.gradient"}),
        "'0.bias.gradient' (parameter_gradient) is the gradient of '1.bn1.running_mean' (statistic)",
    ),
    "gradient of another parameter": (
        lambda graph: replace(graph, gradients={**graph.gradients, "0.weight": "0.bias.gradient"}),
        "'0.weight' and its gradient differ in shape or layout",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(step: Graph, fault: str) -> None:
    mutate, message = FAULTS[fault]
    step.check("nothing")
    with pytest.raises(GraphError) as caught:
        mutate(step).check("a mutation")
    assert str(caught.value).startswith("graph 'step' after a mutation: ") and message in str(caught.value)


def test_the_error_names_the_pass_that_broke_the_graph(step: Graph) -> None:
    passes = [Pass("harmless", lambda graph: graph), Pass("careless", lambda graph: without(graph, "0"))]
    with pytest.raises(GraphError, match="graph 'step' after careless: "):
        run_passes(step, passes)


def test_gradients_that_another_program_made_are_given() -> None:
    gradient = Value("w.gradient", (2, 2), Role.PARAMETER_GRADIENT)
    values = {"w.gradient": gradient, "w": Value("w", (2, 2), Role.PARAMETER)}
    update = Node("w.update", Update(SGD()), {"parameter": "w", "gradient": "w.gradient"}, {})
    graph = Graph("apply", values, (update,), ())
    graph.check("updates")
    with pytest.raises(GraphError, match=r"reads 'w\.gradient' before it exists"):
        replace(graph, gradients={"w": "w.gradient"}).check("updates")


def test_a_check_is_cheap(step: Graph) -> None:
    """About 10 microseconds a node; a hundred times as many would show when a large network is compiled."""
    start = time.perf_counter()
    for _ in range(10):
        step.check("nothing")
    assert (time.perf_counter() - start) / 10 < 1e-3 * len(step.nodes)
