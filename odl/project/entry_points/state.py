"""Starting the training state, saving it and taking it back."""

from odl.project.entry_point import CType, EntryPoint, Parameter, Use
from odl.project.status import Status

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
    order="Before every other function of the network; again at any time, to start anew.",
    header=10,
    source=40,
)
_NOT_RESTORED = (
    "Not restored: {{ state.changeable | join(', ') }}; what this build says, or was set since "
    "{{ prefix }}_init, goes on."
)
#: Why a state that was found cannot be taken.
_REFUSED = (
    Status.STATE_DAMAGED,
    Status.STATE_FORMAT,
    Status.STATE_NETWORK,
    Status.STATE_LOSS,
    Status.STATE_TRAINED,
    Status.STATE_OPTIMIZER,
    Status.STATE_WAITING,
    Status.STATE_RANGE,
    Status.NOT_FINITE,
)
SAVE = EntryPoint(
    "save",
    "Saves all training state (weights, statistics, optimizer, loss scale, counters) to memory; {{ prefix }}_state.h "
    "saves to a flash. Writes nothing where the status is not {{ PREFIX }}_OK.",
    None,
    returns=CType.STATUS,
    parameters=(
        Parameter("state", CType.BYTES_OUT, "receives {{ PREFIX }}_STATE_BYTES bytes, of any alignment."),
        Parameter("bytes", CType.COUNT, "size of that memory, at least {{ PREFIX }}_STATE_BYTES."),
    ),
    statuses=(Status.OK, Status.NOT_FINITE, Status.STATE_TOO_SMALL),
    header=100,
)
LOAD = EntryPoint(
    "load",
    "Takes a saved state back, also one of this network compiled with other options or for another target. Changes nothing "
    f"where the status is not {{{{ PREFIX }}}}_OK. {_NOT_RESTORED}",
    None,
    returns=CType.STATUS,
    parameters=(
        Parameter("state", CType.BYTES_IN, "what {{ prefix }}_save wrote, of any alignment."),
        Parameter("bytes", CType.COUNT, "its size, or more."),
    ),
    statuses=(Status.OK, *_REFUSED),
    header=110,
)

_STORAGE = Parameter(
    "storage",
    CType.STORAGE_IN,
    "the flash, not NULL; it and its context stay the caller's, who keeps them until the call returns.",
)
#: The functions of `<prefix>_state.h`.
STORAGE_FUNCTIONS = (
    EntryPoint(
        "state_bytes",
        "Says how large a slot must be.",
        None,
        returns=CType.COUNT,
        parameters=(
            Parameter("program_bytes", CType.COUNT, "bytes that the storage programs at once, 1 or more."),
        ),
        result="the bytes of a slot that a saved state takes.",
        order="At any time.",
        use=Use.ANYWHERE,
    ),
    EntryPoint(
        "state_save",
        "Saves the training state. After any status but {{ PREFIX }}_OK the state saved before is there as it was, "
        "and so it is when the power fails on the way; weights and training state never change.",
        None,
        returns=CType.STATUS,
        parameters=(_STORAGE,),
        statuses=(Status.OK, Status.NOT_FINITE, Status.STATE_TOO_SMALL, Status.STATE_STORAGE),
    ),
    EntryPoint(
        "state_load",
        "Takes the newest state back that is whole and of this network; a slot is checked before its first byte is "
        "used. With any status but {{ PREFIX }}_OK and {{ PREFIX }}_STATE_LOST, weights and training state are as "
        "before; after the latter, which says that the storage gave other bytes than when it was checked, they are as "
        f"after {{{{ prefix }}}}_init. {_NOT_RESTORED}",
        None,
        returns=CType.STATUS,
        parameters=(_STORAGE,),
        statuses=(
            Status.OK,
            Status.STATE_NONE,
            *_REFUSED,
            Status.STATE_TOO_SMALL,
            Status.STATE_STORAGE,
            Status.STATE_LOST,
        ),
    ),
)
