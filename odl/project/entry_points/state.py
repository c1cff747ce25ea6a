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
odl_parallel(run_{{ served_by.refresh }});
{% endif %}"""

INIT = EntryPoint(
    "init",
    "Sets the weights to those that the network was compiled with, and all training state to its start.",
    _INIT,
    header=10,
    source=40,
)
SAVE = EntryPoint(
    "save",
    "Saves all training state (weights, statistics, optimizer, loss scale, counters) to memory of `bytes`, at least\n"
    "{{ PREFIX }}_STATE_BYTES; {{ prefix }}_state.h saves to a flash. Not saved: {{ state.changeable | join(', ') }}.\n"
    "Returns {{ PREFIX }}_OK, {{ PREFIX }}_NOT_FINITE or {{ PREFIX }}_STATE_TOO_SMALL; then nothing was written.",
    None,
    returns=CType.STATUS,
    parameters=(Parameter("state", CType.BYTES_OUT), Parameter("bytes", CType.COUNT)),
    header=100,
)
LOAD = EntryPoint(
    "load",
    "Takes a saved state of `bytes` back, also one of this network compiled with other options or for another target.\n"
    "Returns what {{ prefix }}_state_load in {{ prefix }}_state.h returns; nothing changes when the state is refused.\n"
    "Not restored: {{ state.changeable | join(', ') }}; what this build says, or was set since {{ prefix }}_init, goes on.",
    None,
    returns=CType.STATUS,
    parameters=(Parameter("state", CType.BYTES_IN), Parameter("bytes", CType.COUNT)),
    header=110,
)
