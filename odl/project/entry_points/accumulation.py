"""Gradients that are added up over several calls before one update."""

from collections.abc import Collection

from odl.options import Options
from odl.project.entry_point import SAMPLE_WEIGHT, TARGET, CType, EntryPoint, X
from odl.project.programs import APPLY, STEP


def _exists(options: Options, programs: Collection[str]) -> bool:
    return options.accumulate


ACCUMULATE = EntryPoint(
    "accumulate",
    "Forward and backward only: adds the gradients up. Arguments and loss as {{ prefix }}_train_step.",
    """\
const float loss = compute_gradients(x, target, sample_weight);
{{ prefix }}_state.accumulated++;
return loss;""",
    returns=CType.FLOAT,
    parameters=(X, TARGET, SAMPLE_WEIGHT),
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
if ({{ prefix }}_state.accumulated == 0) {
    return;
}
update_or_skip({{ prefix }}_state.accumulated);
{{ prefix }}_state.accumulated = 0;""",
    exists=_exists,
    runs=(APPLY,),
    number=3,
    needs=("accumulate", True),
    header=50,
    source=80,
)
