"""How many bytes of stack a project's code needs at most, proven from what its compiler says of every function."""

from odl.stack.measured import touched_stack
from odl.stack.project import prove, record

__all__ = ["prove", "record", "touched_stack"]
