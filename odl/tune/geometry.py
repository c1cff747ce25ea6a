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

    row_begin: int
    row_end: int
    column_begin: int
    column_end: int


def lanes(dtype: object) -> int:
    """Lanes of a vector of the cluster's cores."""
    return 2 if dtype == "f16" else 1


def split(total: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(size, how many) of tiles that cover a total, largest first."""
    for size in dict.fromkeys(sizes):
        yield size, total // size
        total %= size


def share_begin(total: int, core: int, cores: int) -> int:
    """First item of a core's share of items dealt in order."""
    return core * (total // cores) + min(core, total % cores)


def share_plane(rows: int, columns: int, block: int, core: int, cores: int) -> Share:
    """Whole rows, or whole blocks of columns, whichever leaves the busiest core less to do."""
    blocks = -(-columns // block)
    most_rows, most_columns = -(-rows // cores), -(-blocks // cores) * block
    if most_rows * columns <= rows * min(most_columns, columns):
        return Share(share_begin(rows, core, cores), share_begin(rows, core + 1, cores), 0, columns)
    begin, end = (share_begin(blocks, index, cores) * block for index in (core, core + 1))
    return Share(0, rows, min(begin, columns), min(end, columns))


def share_grid(rows: int, columns: int, block: int, core: int, cores: int) -> Share:
    """The cores as the grid that leaves the busiest least to do; where they are no power of two, in one direction."""
    if cores & (cores - 1):
        return share_plane(rows, columns, block, core, cores)
    blocks, log_cores = -(-columns // block), cores.bit_length() - 1
    down = min(
        range(log_cores + 1),
        key=lambda log: (-(-rows // (1 << log)) * -(-blocks // (cores >> log)), log),
    )
    across = log_cores - down
    row, column = core >> across, core & ((1 << across) - 1)
    begin, end = (share_begin(blocks, index, 1 << across) * block for index in (column, column + 1))
    return Share(
        share_begin(rows, row, 1 << down),
        share_begin(rows, row + 1, 1 << down),
        min(begin, columns),
        min(end, columns),
    )


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


def images(begin: int, end: int, height: int) -> Iterator[tuple[int, int]]:
    """Rows [begin, end) of a batch, as (begin, end) within each image."""
    row = begin
    while row < end:
        image = row // height
        last = min((image + 1) * height, end)
        yield row - image * height, last - image * height
        row = last
