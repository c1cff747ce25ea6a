"""Inference."""

from odl.project.entry_point import OUTPUT, EntryPoint, X
from odl.project.programs import INFER

_BODY = """\
{% set result = io.infer.result %}
const {{ result.c_type }} *const y_tensor = {{ PREFIX }}_AT({{ result.c_type }}, {{ result.offset }}u);
given.x = x;
odl_parallel(run_infer);
for (uint32_t i = 0; i < {{ PREFIX }}_OUTPUT_SIZE; i++) {
    output[i] = odl_load_{{ result.dtype }}(&y_tensor[i]);
}"""

NET_INFER = EntryPoint(
    "infer",
    'Computes the output{{ " (before any softmax)" if cross_entropy }} of {{ PREFIX }}_BATCH samples.',
    _BODY,
    parameters=(X, OUTPUT),
    runs=(INFER,),
    number=1,
    header=20,
    source=20,
)
