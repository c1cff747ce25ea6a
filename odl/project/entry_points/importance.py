"""How much the loss depends on each parameter: squared gradients of single samples, summed over calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from odl.errors import InputError, option
from odl.graph.ir import DType, Graph, Node, Role
from odl.operators.optimizer import Clear
from odl.operators.squared_sum import SquaredSum
from odl.options import Options
from odl.project.entry_point import TARGET, CType, EntryPoint, TrainingPasses, X
from odl.project.programs import Program

ADD = Program(
    "importance",
    "squared gradients of one sample",
    takes=frozenset({Role.INPUT, Role.TARGET, Role.SAMPLE_WEIGHT}),
)
RESET = Program("reset_importance", "sums of squared gradients start anew")


def _exists(options: Options, programs: Collection[str]) -> bool:
    return "importance" in options.learn


def _graphs(passes: TrainingPasses) -> Mapping[Program, Graph]:
    """A training step whose gradients are squared and summed as soon as they exist, and the clearing of the sums."""
    step, options = passes.step, passes.options
    if "importance" not in options.learn:
        return {}
    batch = next(value for value in step.values.values() if value.role is Role.INPUT).shape[0]
    if batch != 1 or options.bn == "train":
        raise InputError(
            f"{option('learn', 'importance')} squares the gradients of single samples: it needs a batch of 1, and "
            f"{option('bn', 'fold', 'frozen')}"
        )
    sums = {
        gradient: replace(
            step.value(parameter), name=f"{parameter}.importance", role=Role.RECORD, dtype=DType.F32
        )
        for parameter, gradient in step.gradients.items()
    }
    nodes: list[Node] = []
    for node in step.nodes:
        nodes.append(node)
        for gradient in (name for name in node.results if name in sums):
            total = sums[gradient].name
            nodes.append(Node(total, SquaredSum(), {"gradient": gradient, "sum": total}, {}))
    values = {value.name: value for value in sums.values()}
    clearing = tuple(Node(f"{name}.clear", Clear(), {"accumulator": name}, {}) for name in values)
    add = replace(step, nodes=tuple(nodes), values={**step.values, **values}, gradients={})
    return {ADD: add, RESET: Graph(RESET.name, values, clearing, ())}


IMPORTANCE = EntryPoint(
    "importance",
    "Adds the squared gradients of one sample to each parameter's sum, <parameter>.importance in manifest.json.\n"
    "A gradient that overflows makes its sum infinite. Changes nothing else. Returns the loss.",
    """\
given.x = x;
given.target = target;
given.sample_weight = NULL;
{{ prefix }}_state.gradient_factor = 1.0f / {{ prefix }}_state.loss_scale;
odl_parallel(run_importance);
return *{{ PREFIX }}_AT(float, {{ io.importance.result.offset }}u);""",
    returns=CType.FLOAT,
    parameters=(X, TARGET),
    exists=_exists,
    runs=(ADD,),
    number=5,
    needs=("learn", "importance"),
    graphs=_graphs,
)
RESET_IMPORTANCE = EntryPoint(
    "reset_importance",
    "Sets the sums of squared gradients to zero, where {{ prefix }}_init leaves them too.",
    "odl_parallel(run_reset_importance);",
    exists=_exists,
    runs=(RESET,),
    number=6,
    needs=("learn", "importance"),
)
