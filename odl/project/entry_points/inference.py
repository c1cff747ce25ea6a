"""Inference."""

from odl.project.entry_point import OUTPUT, CType, EntryPoint, X
from odl.project.programs import INFER
from odl.project.status import Status

_BODY = """\
{% set result = io.infer.result %}
const {{ result.c_type }} *const y_tensor = {{ PREFIX }}_AT({{ result.c_type }}, {{ result.offset }}u);
const {{ prefix }}_status status = hand_in(x, NULL, NULL);
if (status != {{ PREFIX }}_OK) {
    return status;
}
odl_parallel(run_infer);
if (given.refused != 0) {
    return outcome();
}
for (uint32_t i = 0; i < {{ PREFIX }}_OUTPUT_SIZE; i++) {
    output[i] = odl_load_{{ result.dtype }}(&y_tensor[i]);
    given.overflow |= isfinite(output[i]) ? 0u : 1u;
}
{% if "watch" in learners and cross_entropy %}
for (uint32_t n = 0; given.overflow == 0 && n < {{ PREFIX }}_BATCH; n++) {
    const float entropy = entropy_of(output + n * {{ classes }}u);
    watch(entropy, &{{ prefix }}_state.running_entropy, &{{ prefix }}_state.watched_outputs);
}
{% endif %}
return explained_outcome();"""

NET_INFER = EntryPoint(
    "infer",
    "Computes the output of {{ PREFIX }}_BATCH samples; changes no weight and no training state.",
    _BODY,
    returns=CType.STATUS,
    parameters=(X, OUTPUT),
    statuses=(Status.OK, Status.WRONG_ORDER, Status.BAD_INPUT, Status.OVERFLOW, Status.BAD_WEIGHTS),
    runs=(INFER,),
    number=1,
    header=20,
    source=20,
)
