"""Networks on the simulated cluster of CV32E40P cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from odl.run.simulator import Glimpse, Outcome, Words
from odl.targets.cv32e40p import Cluster, RunResult, Trace, Watch, run
from odl.targets.pulp.elf import Elf

#: The network's part of each memory, and where the memory begins.
_REGIONS = {"l1": ("net_l1", 0x10000000), "l2": ("net_arena", 0x1C000000)}


@dataclass
class ClusterSimulator:
    """Counts cycles. `last` is the simulator's full report of the latest call; `trace` is written by the next one."""

    cluster: Cluster
    max_cycles: int = 2_000_000_000
    last: RunResult | None = None
    trace: Trace | None = None

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
        base = {memory: elf.symbol(name).address for memory, (name, _) in _REGIONS.items()}
        watches = {item: Watch(item.mark, base[item.memory] + item.offset, item.bytes) for item in glimpses}
        trace, self.trace = self.trace, None
        result = run(
            program,
            self.cluster,
            load=load,
            dump=list(dump),
            max_cycles=self.max_cycles,
            watch=tuple(watches.values()),
            trace=trace,
        ).check()
        self.last = result
        return Outcome(
            result.dumps,
            tuple((mark.id, mark.cycle) for mark in result.marks),
            {item: result.watched[watch] for item, watch in watches.items()},
            {memory: _region(elf, result, memory) for memory in _REGIONS},
        )


def _region(elf: Elf, result: RunResult, memory: str) -> Words:
    """Words of the network's own part of a memory that the run touched."""
    name, base = _REGIONS[memory]
    symbol = elf.symbol(name)
    first = (symbol.address - base) // 4
    words: Words = result.touched[memory][first : first + -(-symbol.size // 4)]
    return words
