"""Starting the training state, saving it and taking it back."""

from odl.project.entry_point import CType, EntryPoint, Parameter

_INIT = """\
memset({{ prefix }}_arena, 0, {{ PREFIX }}_PERSISTENT_BYTES);
for (size_t i = 0; i < sizeof initial_tensors / sizeof *initial_tensors; i++) {
    memcpy({{ prefix }}_arena + initial_tensors[i].offset,
           (const uint8_t *){{ prefix }}_initial + initial_tensors[i].source, initial_tensors[i].bytes);
}
memset(&{{ prefix }}_state, 0, sizeof {{ prefix }}_state);
{% for scalar in scalars if scalar.initial %}
{{ prefix }}_state.{{ scalar.name }} = {{ scalar.initial }};
{% endfor %}
{% if has_refresh %}
{{ prefix }}_refresh();
{% endif %}"""

_SAVED = """\
/* A saved state: fingerprint, the state struct, the persistent part of the arena. */
_Static_assert({{ PREFIX }}_STATE_BYTES ==
                   sizeof(uint32_t) + sizeof {{ prefix }}_state + {{ PREFIX }}_PERSISTENT_BYTES,
               "{{ PREFIX }}_STATE_BYTES");"""

_SAVE = """\
uint8_t *const bytes = destination;
const uint32_t fingerprint = {{ PREFIX }}_FINGERPRINT;
memcpy(bytes, &fingerprint, sizeof fingerprint);
memcpy(bytes + sizeof fingerprint, &{{ prefix }}_state, sizeof {{ prefix }}_state);
memcpy(bytes + sizeof fingerprint + sizeof {{ prefix }}_state, {{ prefix }}_arena, {{ PREFIX }}_PERSISTENT_BYTES);"""

_LOAD = """\
const uint8_t *const bytes = source;
uint32_t fingerprint;
memcpy(&fingerprint, bytes, sizeof fingerprint);
if (fingerprint != {{ PREFIX }}_FINGERPRINT) {
    return -1;
}
memcpy(&{{ prefix }}_state, bytes + sizeof fingerprint, sizeof {{ prefix }}_state);
memcpy({{ prefix }}_arena, bytes + sizeof fingerprint + sizeof {{ prefix }}_state, {{ PREFIX }}_PERSISTENT_BYTES);
return 0;"""

INIT = EntryPoint(
    "init",
    "Sets the weights to those that the network was compiled with, and all training state to its start.",
    _INIT,
    header=10,
    source=40,
)
SAVE = EntryPoint(
    "save",
    "Copies all training state (weights, statistics, optimizer, loss scale) to {{ PREFIX }}_STATE_BYTES of memory.",
    _SAVE,
    parameters=(Parameter("state", CType.BYTES_OUT, inside="destination"),),
    preamble=_SAVED,
    header=100,
    source=150,
)
LOAD = EntryPoint(
    "load",
    "Takes a saved state back. Returns 0, or -1 and changes nothing when it is not of this very network.",
    _LOAD,
    returns=CType.INT,
    parameters=(Parameter("state", CType.BYTES_IN, inside="source"),),
    header=110,
    source=160,
)
