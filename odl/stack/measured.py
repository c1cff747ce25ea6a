"""How much stack a device's cores used in fact, to compare with the bound."""

from __future__ import annotations

import numpy as np

from odl.errors import InputError
from odl.run.device import DeviceNet
from odl.run.library import build_program
from odl.targets.common.elf import Elf


def touched_stack(net: DeviceNet) -> tuple[int, ...]:
    """Bytes of stack that each core used in the latest call, from the top of its stack to the last word it touched.

    The simulator notes every word that is read or written, so a value left by chance hides nothing, as it may where a stack
    is painted. InputError where there was no call, or the target notes nothing.
    """
    memory = net.target.local
    if net.last is None or memory is None or memory.name not in net.last.touched:
        raise InputError(f"{net.directory}: no call was made on a simulator that notes the words it touches")
    program = Elf.read(build_program(net.directory, publish=False))
    first = (program.symbol("__stacks").address - memory.origin) // 4
    words = program.symbol("__stack_bytes").address // 4
    count = net.project.options.core_count
    stacks = net.last.touched[memory.name][first : first + count * words].reshape(count, words)
    return tuple(4 * int(words - np.argmax(stack)) if stack.any() else 0 for stack in stacks)
