"""Gradients that are added up over several calls before one update."""

from collections.abc import Collection

from odl.options import Options
from odl.project.entry_point import LOSS, SAMPLE_WEIGHT, TARGET, CType, EntryPoint, StaticFunction, X
from odl.project.entry_points.training import UNLOGGED
from odl.project.programs import APPLY, STEP
from odl.project.status import Status


def _exists(options: Options, programs: Collection[str]) -> bool:
    return options.accumulate


ADD_GRADIENTS = StaticFunction(
    """\
/* Adds the gradients of what was handed in; after an overflow the sum starts anew, and the next update is skipped. */
static {{ prefix }}_status add_gradients(float *loss) {
    const {{ prefix }}_status status = compute_gradients(loss);
    if (given.refused != 0) {
        return status;
    }
    if (status != {{ PREFIX }}_OK) {
        odl_parallel(run_{{ served_by.skip }});
        {{ prefix }}_state.overflow = 1;
    }
    {{ prefix }}_state.accumulated++;
    return status;
}""",
    _exists,
    source=62,
)
ACCUMULATE = EntryPoint(
    "accumulate",
    "Computes forward and backward pass, and adds the gradients up. After {{ PREFIX }}_OVERFLOW what was added up so "
    "far is dropped, and {{ prefix }}_apply will skip its update.",
    UNLOGGED
    + """\
const {{ prefix }}_status status = hand_in(x, target, sample_weight);
return status == {{ PREFIX }}_OK ? add_gradients(loss) : status;""",
    returns=CType.STATUS,
    parameters=(X, TARGET, SAMPLE_WEIGHT, LOSS),
    statuses=(
        Status.OK,
        Status.OVERFLOW,
        Status.WRONG_ORDER,
        Status.BAD_INPUT,
        Status.BAD_TARGET,
        Status.BAD_SAMPLE_WEIGHT,
    ),
    exists=_exists,
    runs=(STEP,),
    number=2,
    needs=("accumulate", True),
    header=40,
    source=70,
)
NET_APPLY = EntryPoint(
    "apply",
    "Updates the weights with the mean of the accumulated gradients and starts anew.",
    """\
const uint32_t steps = {{ prefix }}_state.accumulated;
if (steps == 0) {
    return {{ PREFIX }}_WRONG_ORDER;
}
const bool overflow = {{ prefix }}_state.overflow != 0;
{{ prefix }}_state.accumulated = {{ prefix }}_state.overflow = 0;
if (overflow) {
    return skip_step();
}
return update(steps);""",
    returns=CType.STATUS,
    statuses=(
        Status.OK,
        Status.OVERFLOW,
        Status.SCALE_FLOOR,
        Status.UPDATE_OVERFLOW,
        Status.WRONG_ORDER,
        Status.BAD_WEIGHTS,
    ),
    order="After one call of {{ prefix }}_accumulate or more.",
    exists=_exists,
    runs=(APPLY,),
    number=3,
    needs=("accumulate", True),
    header=50,
    source=80,
)
