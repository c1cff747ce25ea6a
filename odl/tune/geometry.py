"""How the convolution kernels walk over their outputs, in numbers: the C of kernels/convolution_tile.j2 and isa/share.h.

Only the cost model uses this; a difference to the C costs accuracy, never correctness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Shape = Mapping[str, int]


@dataclass(frozen=True)
class Share:
    """A core's part of a plane of outputs."""

    rows: range
    columns: range


def lanes(dtype: object) -> int:
    """Lanes of a vector of the cluster's cores."""
    return 2 if dtype == "f16" else 1


def split(total: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(size, how many) of tiles that cover a total, largest first."""
    for size in dict.fromkeys(sizes):
        yield size, total // size
        total %= size


def dealt(total: int, core: int, cores: int) -> range:
    """A core's items, where they are dealt in order."""
    begin, end = (index * (total // cores) + min(index, total % cores) for index in (core, core + 1))
    return range(begin, end)


def _blocks_dealt(columns: int, block: int, core: int, cores: int) -> range:
    """A core's columns, where whole blocks of them are dealt in order."""
    blocks = dealt(-(-columns // block), core, cores)
    return range(min(blocks.start * block, columns), min(blocks.stop * block, columns))


def share_plane(rows: int, columns: int, block: int, core: int, cores: int) -> Share:
    """Whole rows, or whole blocks of columns, whichever leaves the busiest core less to do."""
    blocks = -(-columns // block)
    most_rows, most_columns = -(-rows // cores), -(-blocks // cores) * block
    if most_rows * columns <= rows * min(most_columns, columns):
        return Share(dealt(rows, core, cores), range(columns))
    return Share(range(rows), _blocks_dealt(columns, block, core, cores))


def share_grid(rows: int, columns: int, block: int, core: int, cores: int) -> Share:
    """The cores as the grid that leaves the busiest least to do; where they are no power of two, in one direction."""
    if cores & (cores - 1):
        return share_plane(rows, columns, block, core, cores)
    blocks, log_cores = -(-columns // block), cores.bit_length() - 1
    down = min(
        range(log_cores + 1),
        key=lambda log: (-(-rows // (1 << log)) * -(-blocks // (cores >> log)), log),
    )
    row, column = divmod(core, cores >> down)
    return Share(dealt(rows, row, 1 << down), _blocks_dealt(columns, block, column, cores >> down))


def spans(
    begin: int, end: int, stride: int, pad: int, size: int, kernel: int, outputs: int
) -> Iterator[tuple[int, int]]:
    """(count, taps) of runs of outputs in [begin, end) whose windows are clipped alike."""
    at = begin
    while at < end:
        origin = at * stride
        inside = max(0, size + pad - origin)
        last, first = min(inside, kernel), max(0, pad - origin)
        count = 1
        if first >= last:
            first = last = 0
        elif first == 0 and last == kernel:
            count = min((inside - kernel) // stride + 1, outputs - at)
        count = min(count, end - at)
        yield count, last - first
        at += count


def taps(position: int, pad: int, kernel: int, stride: int, outputs: int) -> int:
    """How many taps of one dimension reach an input position."""
    at = position + pad
    first = (at - kernel) // stride + 1 if at >= kernel else 0
    last = min(at // stride, outputs - 1)
    return max(0, last - first + 1)


def alike(
    begin: int, end: int, pad: int, kernel: int, stride: int, outputs: int
) -> Iterator[tuple[int, int]]:
    """(count, taps) of runs of input positions in [begin, end), a stride apart, that meet the same taps."""
    for phase in range(min(stride, end - begin)):
        at = begin + phase
        while at < end:
            count = 1
            padded, limit = at + pad, outputs * stride
            if padded + stride >= kernel and padded < limit:
                count = min((end - at - 1) // stride + 1, (limit - padded - 1) // stride + 1)
            yield count, taps(at, pad, kernel, stride, outputs)
            at += count * stride


def valid_outputs(tap: int, pad: int, size: int, stride: int, outputs: int) -> int:
    """Outputs of one dimension whose tap lies inside the input."""
    first = -(-(pad - tap) // stride) if tap < pad else 0
    end = (size + pad - tap - 1) // stride + 1 if size + pad > tap else 0
    return max(0, min(end, outputs) - first)


def images(rows: range, height: int) -> Iterator[tuple[int, int]]:
    """Rows of a batch, as (begin, end) within each image."""
    row = rows.start
    while row < rows.stop:
        image = row // height
        last = min((image + 1) * height, rows.stop)
        yield row - image * height, last - image * height
        row = last
