"""Networks on GVSoC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from odl.run.simulator import Glimpse, Outcome
from odl.targets.gvsoc import RunResult, Watch, run
from odl.targets.pulp.elf import Elf

#: The network's part of each memory.
_REGIONS = {"l1": "net_l1", "l2": "net_arena"}


@dataclass
class GvsocSimulator:
    """Counts cycles. `last` is what the latest call gave; which words were touched GVSoC does not tell."""

    last: RunResult | None = None

    @property
    def unit(self) -> str:
        """See Simulator."""
        return "cycles"

    def call(
        self,
        program: Path,
        load: Mapping[str, bytes],
        dump: Sequence[str],
        glimpses: Sequence[Glimpse],
    ) -> Outcome:
        """See Simulator."""
        elf = Elf.read(program)
        base = {memory: elf.symbol(name).address for memory, name in _REGIONS.items()}
        watches = {item: Watch(item.mark, base[item.memory] + item.offset, item.bytes) for item in glimpses}
        result = run(program, load=load, dump=dump, watch=tuple(watches.values())).check()
        self.last = result
        return Outcome(
            result.dumps,
            tuple((mark.id, mark.cycle) for mark in result.marks),
            {item: result.watched[watch] for item, watch in watches.items()},
            {},
        )
