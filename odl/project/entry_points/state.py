"""Starting the training state, saving it and taking it back."""

from odl.project.entry_point import CType, EntryPoint, Parameter

_INIT = """\
memset(net_arena, 0, NET_PERSISTENT_BYTES);
for (size_t i = 0; i < sizeof initial_tensors / sizeof *initial_tensors; i++) {
    memcpy(net_arena + initial_tensors[i].offset, (const uint8_t *)net_initial + initial_tensors[i].source,
           initial_tensors[i].bytes);
}
memset(&net_state, 0, sizeof net_state);
{% for scalar in scalars if scalar.initial %}
net_state.{{ scalar.name }} = {{ scalar.initial }};
{% endfor %}
{% if has_refresh %}
net_refresh();
{% endif %}"""

_SAVED = """\
/* A saved state: fingerprint, the state struct, the persistent part of the arena. */
_Static_assert(NET_STATE_BYTES == sizeof(uint32_t) + sizeof net_state + NET_PERSISTENT_BYTES, "NET_STATE_BYTES");"""

_SAVE = """\
uint8_t *const bytes = destination;
const uint32_t fingerprint = NET_FINGERPRINT;
memcpy(bytes, &fingerprint, sizeof fingerprint);
memcpy(bytes + sizeof fingerprint, &net_state, sizeof net_state);
memcpy(bytes + sizeof fingerprint + sizeof net_state, net_arena, NET_PERSISTENT_BYTES);"""

_LOAD = """\
const uint8_t *const bytes = source;
uint32_t fingerprint;
memcpy(&fingerprint, bytes, sizeof fingerprint);
if (fingerprint != NET_FINGERPRINT) {
    return -1;
}
memcpy(&net_state, bytes + sizeof fingerprint, sizeof net_state);
memcpy(net_arena, bytes + sizeof fingerprint + sizeof net_state, NET_PERSISTENT_BYTES);
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
    "Copies all training state (weights, statistics, optimizer, loss scale) to NET_STATE_BYTES of memory.",
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
