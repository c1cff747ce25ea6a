"""Working copies after somebody wrote the master weights."""

from odl.project.entry_point import ARENA, EntryPoint, where
from odl.project.programs import REFRESH

NET_REFRESH = EntryPoint(
    "refresh",
    "Recomputes the fp16 working copies after master weights were written into the arena from outside.",
    "odl_parallel(run_refresh);",
    exists=where(REFRESH),
    runs=(REFRESH,),
    number=4,
    header=ARENA + 10,
    source=30,
)
