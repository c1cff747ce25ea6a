"""How much the loss depends on each parameter: squared gradients of single samples, summed over calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from odl.errors import InputError, option
from odl.graph.ir import DType, Graph, Node, Role
from odl.learners.importance import Importance
from odl.operators.optimizer import Clear
from odl.operators.squared_sum import SquaredSum
from odl.options import Options
from odl.project.entry_point import LOSS, TARGET, CType, EntryPoint, TrainingPasses, X
from odl.project.entry_points.training import UNLOGGED
from odl.project.programs import Program
from odl.project.status import Status

ADD = Program(
    "importance",
    "squared gradients of one sample",
    takes=frozenset({Role.INPUT, Role.TARGET, Role.SAMPLE_WEIGHT}),
    watches_overflow=True,
)
RESET = Program("reset_importance", "sums of squared gradients start anew")


def _exists(options: Options, programs: Collection[str]) -> bool:
    return options.learner(Importance) is not None


def _graphs(passes: TrainingPasses) -> Mapping[Program, Graph]:
    """A training step whose gradients are squared and summed when all exist, and the clearing of the sums."""
    step, options = passes.step, passes.options
    if options.learner(Importance) is None:
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
    made = [name for node in step.nodes for name in node.results if name in sums]
    adding = (
        Node(sums[name].name, SquaredSum(), {"gradient": name, "sum": sums[name].name}, {}, guarded=True)
        for name in reversed(made)
    )
    values = {value.name: value for value in sums.values()}
    clearing = tuple(Node(f"{name}.clear", Clear(), {"accumulator": name}, {}) for name in values)
    add = replace(step, nodes=(*step.nodes, *adding), values={**step.values, **values}, gradients={})
    return {ADD: add, RESET: Graph(RESET.name, values, clearing, ())}


IMPORTANCE = EntryPoint(
    "importance",
    "Adds the squared gradients of one sample to each parameter's sum, <parameter>.importance in manifest.json. A "
    "sample whose gradients overflow changes no sum. Changes nothing else.",
    UNLOGGED
    + """\
const {{ prefix }}_status status = hand_in(x, target, NULL);
if (status != {{ PREFIX }}_OK) {
    return status;
}
const float factor = {{ prefix }}_state.gradient_factor;
{{ prefix }}_state.gradient_factor = 1.0f / {{ prefix }}_state.loss_scale;
odl_parallel(run_importance);
{{ prefix }}_state.gradient_factor = factor;
if (loss != NULL && given.refused == 0) {
    *loss = *{{ PREFIX }}_AT(float, {{ io.importance.result.offset }}u);
}
const {{ prefix }}_status found = explained_outcome();
{{ prefix }}_state.importance_count += found == {{ PREFIX }}_OK ? 1u : 0u;
return found;""",
    returns=CType.STATUS,
    parameters=(X, TARGET, LOSS),
    statuses=(
        Status.OK,
        Status.OVERFLOW,
        Status.WRONG_ORDER,
        Status.BAD_INPUT,
        Status.BAD_TARGET,
        Status.BAD_WEIGHTS,
    ),
    exists=_exists,
    runs=(ADD,),
    number=5,
    needs=("learn", "importance"),
    graphs=_graphs,
)
RESET_IMPORTANCE = EntryPoint(
    "reset_importance",
    "Sets the sums of squared gradients to zero, where {{ prefix }}_init leaves them too.",
    """\
if ({{ prefix }}_state.loss_scale == 0.0f) {
    return {{ PREFIX }}_WRONG_ORDER;
}
odl_parallel(run_reset_importance);
{{ prefix }}_state.importance_count = 0;
return {{ PREFIX }}_OK;""",
    returns=CType.STATUS,
    statuses=(Status.OK, Status.WRONG_ORDER),
    exists=_exists,
    runs=(RESET,),
    number=6,
    needs=("learn", "importance"),
)
