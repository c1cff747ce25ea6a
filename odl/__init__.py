"""odl: on-device learning for microcontrollers; a PyTorch model in, C that trains it out."""

from odl.build import Build, compile
from odl.errors import CheckFailedError, InputError, MissingToolError, OdlError
from odl.options import SGD, Adam, Options
from odl.run.net import Net

__version__ = "0.1.0"
__all__ = [
    "SGD",
    "Adam",
    "Build",
    "CheckFailedError",
    "InputError",
    "MissingToolError",
    "Net",
    "OdlError",
    "Options",
    "compile",
]
