"""Working copies after somebody wrote the master weights."""

from odl.project.entry_point import ARENA, CType, EntryPoint, where
from odl.project.programs import REFRESH
from odl.project.status import Status

NET_REFRESH = EntryPoint(
    "refresh",
    "Recomputes the fp16 working copies after master weights were written into the arena from outside.",
    """\
if (!weights_are_sound()) {
    return {{ PREFIX }}_BAD_WEIGHTS;
}
odl_parallel(run_{{ served_by.refresh }});
return {{ PREFIX }}_OK;""",
    returns=CType.STATUS,
    statuses=(Status.OK, Status.BAD_WEIGHTS),
    order="After {{ prefix }}_init, and after whoever wrote weights into the arena has finished.",
    exists=where(REFRESH),
    runs=(REFRESH,),
    number=4,
    header=ARENA + 10,
    source=30,
)
