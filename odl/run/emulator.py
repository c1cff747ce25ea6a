"""Networks on QEMU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from odl.run.simulator import Glimpse, Outcome
from odl.targets.pulp.elf import Elf
from odl.targets.qemu import Machine, Watch, run


@dataclass
class QemuSimulator:
    """Counts instructions, where the machine counts. Its one memory holds the arena."""

    machine: Machine

    @property
    def unit(self) -> str:
        """See Simulator."""
        return "instructions" if self.machine.counted else ""

    def call(
        self,
        program: Path,
        load: Mapping[str, bytes],
        dump: Sequence[str],
        glimpses: Sequence[Glimpse],
    ) -> Outcome:
        """See Simulator."""
        base = Elf.read(program).symbol("net_arena").address
        watches = {item: Watch(item.mark, base + item.offset, item.bytes) for item in glimpses}
        result = run(program, self.machine, load=load, dump=dump, watch=tuple(watches.values())).check()
        return Outcome(
            result.dumps,
            tuple((mark.id, mark.instructions) for mark in result.marks),
            {item: result.watched[watch] for item, watch in watches.items()},
            {},
        )
