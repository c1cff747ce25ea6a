"""Two independent models of the convolution kernels: float64 (what they compute), and bit for bit (in which
order).

The bit model follows the order of sums that the templates state, with NumPy's own conversions to half; it
knows nothing of register tiles or cores, on which results must not depend.
"""

from itertools import product

import numpy as np

from tests.kernels.cases import Shape

# --------------------------------------------------------------------------------------------- arithmetic


def fma(acc: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """acc + a * b with one rounding, in the type of acc (float16 or float32)."""
    with np.errstate(all="ignore"):
        p = a.astype(np.float64) * b.astype(np.float64)  # exact
        c = acc.astype(np.float64)
        s = p + c
        if acc.dtype == np.float32:
            # Round s to odd, so that rounding to float32 sees on which side of a tie the sum lies (TwoSum).
            bb = s - p
            error = (p - (s - bb)) + (c - bb)
            bits = s.view(np.int64)
            step = np.where(np.signbit(error) == np.signbit(s), 1, -1)
            fix = np.isfinite(s) & (error != 0) & (bits % 2 == 0)
            s = np.where(fix, bits + step, bits).view(np.float64)
        return s.astype(acc.dtype)


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return a + b


def fold(lanes: np.ndarray) -> np.ndarray:
    """Sum over the last axis: halves folded, each addition rounded; as float32."""
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = add(lanes[..., :half], lanes[..., half:])
    return lanes[..., 0].astype(np.float32)


def narrowed(values: np.ndarray, dtype) -> np.ndarray:
    """Stored in dtype, with the one NaN that fp16 kernels write."""
    with np.errstate(all="ignore"):
        result = values.astype(dtype)
    if dtype == np.float16:
        result.view(np.uint16)[np.isnan(result)] = 0x7E00
    return result


def chunks(runs: int, length: int, chunk: int) -> list[list[tuple[int, int, int]]]:
    """Runs of `length` terms in chunks of at most `chunk`: as many whole runs as fit, or pieces of a longer one.

    Each chunk is a list of (run, start, end); without chunks, there is one.
    """
    if not chunk:
        return [[(run, 0, length) for run in range(runs)]]
    if length > chunk:
        starts = range(0, length, chunk)
        return [[(run, start, min(start + chunk, length))] for run in range(runs) for start in starts]
    whole = chunk // max(length, 1)
    firsts = range(0, runs, whole)
    return [[(run, 0, length) for run in range(first, min(first + whole, runs))] for first in firsts]


class ChunkedSum:
    """Accumulators in T, whose chunks are carried to float32."""

    def __init__(
        self, shape: tuple[int, ...], dtype, chunk: int, reduce=lambda v: v.astype(np.float32)
    ) -> None:
        self.acc = np.zeros(shape, dtype)
        self.total = reduce(self.acc) * np.float32(0)
        self.chunk, self.reduce, self.pending, self.first = chunk, reduce, 0, True

    def carry(self, keep_first: bool = False) -> None:
        """Ends a chunk; `keep_first`: the total begins with the first one, not with zero (-0 stays)."""
        if self.chunk:
            last = self.reduce(self.acc)
            self.total = last if keep_first and self.first else add(self.total, last)
            self.first = False
            self.acc = np.zeros_like(self.acc)
            self.pending = 0

    def pieces(self, run: int):
        """(start, end) of the pieces of a depthwise kernel's run: a chunk ends before a piece that does not fit."""
        longest = self.chunk or max(run, 1)
        for start in range(0, run, longest):
            length = min(longest, run - start)
            if self.pending + length > self.chunk:
                self.carry()
            self.pending += length
            yield start, start + length

    def result(self) -> np.ndarray:
        """The sum; of what is pending, too."""
        if self.chunk and self.pending:
            self.carry()
        return self.total if self.chunk else self.reduce(self.acc)


# ------------------------------------------------------------------------------------------------ windows


def taps(outputs: int, size: int, kernel: int, stride: int, pad: int) -> list[tuple[int, int, int]]:
    """(output, tap, input) of one dimension, for all taps that lie inside the input."""
    return [
        (o, k, o * stride + k - pad)
        for o, k in product(range(outputs), range(kernel))
        if 0 <= o * stride + k - pad < size
    ]


def both(shape: Shape):
    rows = taps(shape.out_h, shape.in_h, shape.kernel_h, shape.stride_h, shape.pad_top)
    columns = taps(shape.out_w, shape.in_w, shape.kernel_w, shape.stride_w, shape.pad_left)
    return rows, columns


def grouped(entries, key: int, size: int) -> list[list[tuple[int, int, int]]]:
    return [sorted(e for e in entries if e[key] == at) for at in range(size)]


# ------------------------------------------------------------------------------------------------- float64


def forward64(shape: Shape, x, w, depthwise: bool):
    rows, columns = both(shape)
    y = np.zeros((shape.batch, shape.out_h, shape.out_w, shape.out_c))
    pattern = "bc,c->bc" if depthwise else "bc,oc->bo"
    for (oy, ky, iy), (ox, kx, ix) in product(rows, columns):
        tap = w[ky, kx] if depthwise else w[:, ky, kx]
        y[:, oy, ox] += np.einsum(pattern, x[:, iy, ix], tap)
    return y


def input_gradient64(shape: Shape, dy, w, depthwise: bool):
    rows, columns = both(shape)
    dx = np.zeros((shape.batch, shape.in_h, shape.in_w, shape.in_c))
    pattern = "bc,c->bc" if depthwise else "bo,oc->bc"
    for (oy, ky, iy), (ox, kx, ix) in product(rows, columns):
        tap = w[ky, kx] if depthwise else w[:, ky, kx]
        dx[:, iy, ix] += np.einsum(pattern, dy[:, oy, ox], tap)
    return dx


def weight_gradient64(shape: Shape, x, dy, depthwise: bool):
    rows, columns = both(shape)
    if depthwise:
        dw = np.zeros((shape.kernel_h, shape.kernel_w, shape.in_c))
    else:
        dw = np.zeros((shape.out_c, shape.kernel_h, shape.kernel_w, shape.in_c))
    pattern = "bc,bc->c" if depthwise else "bo,bc->oc"
    for (oy, ky, iy), (ox, kx, ix) in product(rows, columns):
        step = np.einsum(pattern, dy[:, oy, ox], x[:, iy, ix])
        if depthwise:
            dw[ky, kx] += step
        else:
            dw[:, ky, kx] += step
    return dw


# --------------------------------------------------------------------------------------------- bit for bit


def windows(by_row, by_column, other: int):
    """Output positions with the same taps: (rows of outputs, their columns, [(tap, rows on the other side)],
    [(tap, columns on the other side)]); `other` picks the other side's index from (output, tap, input)."""
    alike: dict = {}
    for at in product(range(len(by_row)), range(len(by_column))):
        key = tuple(k for _, k, _ in by_row[at[0]]), tuple(k for _, k, _ in by_column[at[1]])
        alike.setdefault(key, []).append(at)
    for (kys, kxs), positions in alike.items():
        ys, xs = (np.array(axis) for axis in zip(*positions, strict=True))
        rows = [(k, np.array([by_row[y][i][other] for y in ys])) for i, k in enumerate(kys)]
        columns = [(k, np.array([by_column[x][i][other] for x in xs])) for i, k in enumerate(kxs)]
        yield ys, xs, rows, columns


def forward_bits(shape: Shape, x, w, bias, depthwise: bool, lanes: int, chunk: int):
    """Sums as float32, with the bias (may be None), before the addend."""
    rows, columns = both(shape)
    y = np.zeros((shape.batch, shape.out_h, shape.out_w, shape.out_c), np.float32)
    by_row, by_column = grouped(rows, 0, shape.out_h), grouped(columns, 0, shape.out_w)
    for ys, xs, window_rows, window_columns in windows(by_row, by_column, 2):
        if depthwise:
            y[:, ys, xs] = depthwise_window(x, w, len(ys), window_rows, window_columns, chunk)
            if bias is not None:
                y[:, ys, xs] = add(y[:, ys, xs], bias.astype(np.float32))
        else:
            y[:, ys, xs] = dot_window(x, w, bias, len(ys), window_rows, window_columns, lanes, chunk)
    return y


def dot_window(x, w, bias, pixels: int, rows, columns, lanes: int, chunk: int):
    """Output pixels with the same taps: (batch, pixels, out_c). The sum begins with the bias."""
    total = ChunkedSum((len(x), pixels, len(w), lanes), x.dtype, chunk, fold)
    if bias is not None:
        if chunk:
            total.total = total.total + bias.astype(np.float32)
        else:
            total.acc[..., 0] = bias
    if not columns:
        return total.result()
    first, last = columns[0][0], columns[-1][0]
    runs_x, runs_w = [], []
    for ky, iy in rows:
        run_x = np.concatenate([x[:, iy, ix] for _, ix in columns], axis=-1)
        run_w = w[:, ky, first : last + 1].reshape(len(w), -1)
        padding = (0, -run_x.shape[-1] % lanes)
        runs_x.append(np.pad(run_x, [(0, 0), (0, 0), padding]))
        runs_w.append(np.pad(run_w, [(0, 0), padding]))
    terms = runs_x[0].shape[-1] // lanes if rows else 0
    for pieces in chunks(len(rows), terms, chunk):
        for row, start, end in pieces:
            for i in range(start * lanes, end * lanes, lanes):
                step = slice(i, i + lanes)
                total.acc = fma(total.acc, runs_x[row][:, :, None, step], runs_w[row][None, None, :, step])
        total.carry()
    return total.result()


def depthwise_window(values, w, pixels: int, rows, columns, chunk: int):
    total = ChunkedSum((len(values), pixels, values.shape[-1]), values.dtype, chunk)
    for (ky, y), (kx, x) in ordered(rows, columns):
        for _ in total.pieces(1):
            total.acc = fma(total.acc, values[:, y, x], w[ky, kx])
    return total.result()


def ordered(rows, columns):
    """Taps in the raster order of the positions that they read."""
    return product(sorted(rows, key=lambda r: r[1][0]), sorted(columns, key=lambda c: c[1][0]))


def input_gradient_bits(shape: Shape, dy, w, depthwise: bool, chunk: int):
    rows, columns = both(shape)
    dx = np.zeros((shape.batch, shape.in_h, shape.in_w, shape.in_c), np.float32)
    by_row, by_column = grouped(rows, 2, shape.in_h), grouped(columns, 2, shape.in_w)
    for ys, xs, window_rows, window_columns in windows(by_row, by_column, 0):
        if depthwise:
            dx[:, ys, xs] = depthwise_window(dy, w, len(ys), window_rows, window_columns, chunk)
            continue
        total = ChunkedSum((shape.batch, len(ys), shape.in_c), dy.dtype, chunk)
        taps_of_row = sorted(window_columns, key=lambda column: column[1][0])
        for ky, oy in sorted(window_rows, key=lambda row: row[1][0]):
            for pieces in chunks(len(taps_of_row), shape.out_c, chunk):
                for tap, start, end in pieces:
                    kx, ox = taps_of_row[tap]
                    for co in range(start, end):
                        total.acc = fma(total.acc, dy[:, oy, ox, co, None], w[co, ky, kx])
                total.carry(keep_first=True)
        dx[:, ys, xs] = total.result() if not chunk else narrowed(total.result(), dy.dtype)
    return dx


def weight_gradient_bits(shape: Shape, x, dy, depthwise: bool, chunk: int):
    rows, columns = both(shape)
    by_row, by_column = grouped(rows, 1, shape.kernel_h), grouped(columns, 1, shape.kernel_w)
    filters = (shape.in_c,) if depthwise else (shape.out_c, shape.in_c)
    dw = np.zeros((shape.kernel_h, shape.kernel_w, *filters), np.float32)
    for ky, kx in product(range(shape.kernel_h), range(shape.kernel_w)):
        total = ChunkedSum(filters, x.dtype, chunk)
        if depthwise:
            for image, (oy, _, iy) in product(range(shape.batch), by_row[ky]):
                for start, end in total.pieces(len(by_column[kx])):
                    for ox, _, ix in by_column[kx][start:end]:
                        total.acc = fma(total.acc, x[image, iy, ix], dy[image, oy, ox])
        else:
            for image in range(shape.batch):
                for pixels in pixel_chunks(shape, by_row[ky], by_column[kx], chunk):
                    for (oy, _, iy), (ox, _, ix) in pixels:
                        total.acc = fma(total.acc, x[image, iy, ix], dy[image, oy, ox, :, None])
                    total.carry(keep_first=True)
        dw[ky, kx] = total.result()
    return dw if depthwise else dw.transpose(2, 0, 1, 3)


def pixel_chunks(shape: Shape, rows, columns, chunk: int):
    """The pixels of a tap, chunk by chunk; rows without gaps between them are one."""
    pixels = list(product(rows, columns))
    if shape.out_w == len(columns) and shape.stride_h * shape.in_w == len(columns) * shape.stride_w:
        runs, length = min(1, len(pixels)), len(pixels)
    else:
        runs, length = (len(rows), len(columns)) if pixels else (0, 0)
    for pieces in chunks(runs, length, chunk):
        yield [pixels[run * length + i] for run, start, end in pieces for i in range(start, end)]


def channel_sum_bits(dy):
    total = np.zeros(dy.shape[-1], np.float32)
    for pixel in dy.reshape(-1, dy.shape[-1]):
        total = add(total, pixel.astype(np.float32))
    return total
