"""fp16 arithmetic of the exact host against a model in integers: bits, and the flags that RISC-V raises."""

import ctypes
from functools import cache

import numpy as np
import pytest

from tests.kernels.kernel_library import EXACT, compiled

SOURCE = """
#include "odl_isa.h"

/* One operation on n triples of vectors; flags[i] says whether it raised any. */
#define EACH(name, operation)                                                                               \\
    void name(const odl_f16 *sum, const odl_f16 *a, const odl_f16 *b, odl_f16 *out, uint8_t *flags,         \\
              uint32_t n);                                                                                  \\
    void name(const odl_f16 *sum, const odl_f16 *a, const odl_f16 *b, odl_f16 *out, uint8_t *flags,         \\
              uint32_t n) {                                                                                 \\
        for (uint32_t i = 0; i < n; i += ODL_LANES_f16) {                                                   \\
            odl_overflow_clear();                                                                           \\
            operation;                                                                                      \\
            flags[i / ODL_LANES_f16] = odl_overflow_seen();                                                 \\
            (void)sum, (void)a, (void)b;                                                                    \\
        }                                                                                                   \\
    }
#define LOAD(p) odl_vload_f16(p + i)
EACH(mac, odl_vstore_f16(out + i, odl_vmac_f16(LOAD(sum), LOAD(a), LOAD(b))))
EACH(add, odl_vstore_f16(out + i, odl_vadd_f16(LOAD(a), LOAD(b))))
EACH(mul, odl_vstore_f16(out + i, odl_vmul_f16(LOAD(a), LOAD(b))))
EACH(fold, odl_store_f16(out + i, odl_vsum_f16(LOAD(a))))

void narrow(const float *a, odl_f16 *out, uint8_t *flags, uint32_t n);
void narrow(const float *a, odl_f16 *out, uint8_t *flags, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        odl_overflow_clear();
        odl_store_f16(out + i, a[i]);
        flags[i] = odl_overflow_seen();
    }
}

void widen(const odl_f16 *a, float *out, uint32_t n);
void widen(const odl_f16 *a, float *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        out[i] = odl_load_f16(a + i);
    }
}

/* The instructions that vectors of two lanes do not use. */
void others(const uint32_t *sum, const uint32_t *a, const uint32_t *b, uint32_t *out, uint32_t n);
void others(const uint32_t *sum, const uint32_t *a, const uint32_t *b, uint32_t *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        out[3 * i] = odl_vfmac_r_h(sum[i], a[i], b[i]);
        out[3 * i + 1] = odl_vfsub_h(a[i], b[i]);
        out[3 * i + 2] = odl_vfcpka_h_s((float)(int32_t)a[i], (float)(int32_t)b[i]);
    }
}
"""

WITHOUT_F16C = [flag for flag in EXACT if flag != "-march=native"]
BUILDS = {
    "f16c-2": (EXACT, 2),
    "f16c-8": ([*EXACT, "-DODL_LANES_F16=8"], 8),
    "software-2": (WITHOUT_F16C, 2),
    "software-8": ([*WITHOUT_F16C, "-DODL_LANES_F16=8"], 8),
}


@pytest.fixture(scope="module", params=BUILDS)
def isa(request, tmp_path_factory):
    """(library, lanes)"""
    flags, lanes = BUILDS[request.param]
    return ctypes.CDLL(str(compiled(tmp_path_factory.mktemp("isa"), "gcc", flags, {"isa": SOURCE}))), lanes


def pointer(array: np.ndarray):
    return ctypes.c_void_p(array.ctypes.data)


# ------------------------------------------------------------- the model: numbers as integers, NaN and so on

NAN, INF = 0x7E00, 0x7C00


def is_nan(h: int) -> bool:
    return h & 0x7FFF > INF


def is_signalling(h: int) -> bool:
    return is_nan(h) and not h & 0x200


def is_inf(h: int) -> bool:
    return h & 0x7FFF == INF


def integer(h: int) -> int:
    """A finite half in units of 2^-24."""
    exponent, mantissa = (h >> 10) & 31, h & 0x3FF
    magnitude = mantissa if exponent == 0 else (mantissa | 0x400) << (exponent - 1)
    return -magnitude if h & 0x8000 else magnitude


def rounded(value: int, scale: int, zero_sign: int) -> tuple[int, bool]:
    """(value * 2^-scale as a half, whether it overflowed); a zero gets the sign asked for."""
    if value == 0:
        return zero_sign, False
    sign, magnitude = (0x8000, -value) if value < 0 else (0, value)
    # Units of the last place: 2^-24 up to the smallest normal numbers, then doubling with each binade.
    exponent = max(magnitude.bit_length() - 1 - scale, -14)
    drop = scale + exponent - 10
    quotient = magnitude << -drop if drop <= 0 else magnitude >> drop
    rest = 0 if drop <= 0 else magnitude - (quotient << drop)
    half = 1 << (drop - 1) if drop > 0 else 1
    if rest > half or (rest == half and quotient & 1):
        quotient += 1
    if quotient == 0x800:
        quotient, exponent = 0x400, exponent + 1
    if exponent > 15:
        return sign | INF, True
    return sign | (quotient if quotient < 0x400 else ((exponent + 15) << 10) + quotient - 0x400), False


def fma(c: int, a: int, b: int) -> tuple[int, bool]:
    """(c + a * b, whether RISC-V raises overflow or invalid): IEEE 754-2019 with the choices of RISC-V."""
    infinite = is_inf(a) or is_inf(b)
    zero_times_infinity = (is_inf(a) and b & 0x7FFF == 0) or (is_inf(b) and a & 0x7FFF == 0)
    if is_nan(a) or is_nan(b) or is_nan(c) or zero_times_infinity:
        return NAN, zero_times_infinity or any(map(is_signalling, (a, b, c)))
    sign = (a ^ b) & 0x8000
    if infinite:
        opposite = is_inf(c) and c & 0x8000 != sign
        return (NAN, True) if opposite else (sign | INF, False)
    if is_inf(c):
        return c, False
    product, addend = integer(a) * integer(b), integer(c)
    zero = c & 0x8000 if product == 0 and addend == 0 and sign == c & 0x8000 else 0
    return rounded(product + (addend << 24), 48, zero)


def add(a: int, b: int) -> tuple[int, bool]:
    return fma(a, b, 0x3C00)


def mul(a: int, b: int) -> tuple[int, bool]:
    return fma((a ^ b) & 0x8000, a, b)


# -------------------------------------------------------------------------------------------------- operands

SPECIAL = [0, 1, 2, 0x3FF, 0x400, 0x401, 0x7FF, 0x3BFF, 0x3C00, 0x3C01, 0x3555, 0x7800, 0x7BFE, 0x7BFF]
SPECIAL += [INF, NAN, 0x7D01, 0x7FFF]
SPECIAL += [h | 0x8000 for h in SPECIAL]


def triples(count: int, seed: int) -> np.ndarray:
    """All triples of special halves, random bit patterns, triples whose sum lies near a tie or cancels."""
    random = np.random.default_rng(seed)
    special = np.array(np.meshgrid(SPECIAL, SPECIAL, SPECIAL)).reshape(3, -1).T
    patterns = random.integers(0, 1 << 16, (count, 3))
    a = random.normal(0, 4, (count, 2)).astype(np.float16)
    exact = -(a[:, 0].astype(np.float64) * a[:, 1])
    near = np.stack([exact.astype(np.float16), a[:, 0], a[:, 1]], 1).view(np.uint16)
    shifted = near.astype(np.int64)
    shifted[:, 0] ^= random.choice([0, 0x8000], count)  # doubles instead of cancelling
    shifted[:, 0] += random.integers(-1, 2, count)
    # A product of about half an ulp of the addend.
    tie = random.integers(0, 1 << 16, (count, 3))
    tie[:, 0] = tie[:, 0] & 0x83FF | random.integers(12, 30, count) << 10
    tie[:, 1] = (tie[:, 0] & 0x7C00) - (11 << 10) | random.choice([0, 1, 0x200, 0x3FF], count)
    tie[:, 2] = 0x3C00 | random.choice([0, 0, 1, 0x8000, 0x8001], count)
    rows = np.concatenate([special, patterns, near.astype(np.int64), shifted, tie]) & 0xFFFF
    return rows[: len(rows) // 8 * 8].astype(np.uint16)


@cache
def modelled() -> tuple[np.ndarray, dict[str, list[tuple[int, bool]]]]:
    rows = triples(24000, seed=1)
    return rows, {
        "mac": [fma(*row) for row in rows.tolist()],
        "add": [add(x, y) for x, y in rows[:, 1:].tolist()],
        "mul": [mul(x, y) for x, y in rows[:, 1:].tolist()],
    }


def test_vectors(isa) -> None:
    library, lanes = isa
    rows, models = modelled()
    assert len(rows) > 100_000
    sums, a, b = (np.ascontiguousarray(rows[:, i]) for i in range(3))
    out, flags = np.empty_like(a), np.empty(len(a) // lanes, np.uint8)
    for name, model in models.items():
        arguments = [pointer(v) for v in (sums, a, b, out, flags)]
        getattr(library, name)(*arguments, ctypes.c_uint32(len(a)))
        want = np.array([bits for bits, _ in model], np.uint16)
        different = np.flatnonzero(out != want)
        assert different.size == 0, (
            f"{name}: {rows[different[:5]]}, {out[different[:5]]}, {want[different[:5]]}"
        )
        raised = np.array([flag for _, flag in model]).reshape(-1, lanes).any(1)
        assert np.array_equal(flags.astype(bool), raised), name
        assert raised.any() and not raised.all()


def test_sum_of_lanes(isa) -> None:
    library, lanes = isa
    values = np.random.default_rng(2).integers(0, 1 << 16, 8 * 2000).astype(np.uint16)
    out, flags = np.zeros_like(values), np.empty(len(values), np.uint8)
    library.fold(None, pointer(values), None, pointer(out), pointer(flags), ctypes.c_uint32(len(values)))
    for vector, got in zip(values.reshape(-1, lanes).tolist(), out[::lanes].tolist(), strict=True):
        while len(vector) > 1:
            half = len(vector) // 2
            vector = [add(x, y)[0] for x, y in zip(vector[:half], vector[half:], strict=True)]
        assert got == vector[0]


def test_conversions(isa) -> None:
    library, _ = isa
    halves = np.arange(1 << 16).astype(np.uint16)
    wide = np.empty(len(halves), np.float32)
    library.widen(pointer(halves), pointer(wide), ctypes.c_uint32(len(halves)))
    want = halves.view(np.float16).astype(np.float32)
    assert np.array_equal(np.isnan(wide), np.isnan(want))
    assert np.all((wide.view(np.uint32) == want.view(np.uint32)) | np.isnan(want))

    # Every half, the ties between neighbours, and the floats beside them; random floats; the range's ends.
    finite = np.sort(want[np.isfinite(want)])
    ties = ((finite[:-1].astype(np.float64) + finite[1:]) / 2).astype(np.float32)
    near = [np.nextafter(ties, np.float32(side)) for side in (-np.inf, np.inf)]
    random = np.random.default_rng(3).integers(0, 1 << 32, 20000, dtype=np.uint64).astype(np.uint32)
    ends = np.float32([65519.99, 65520, 1e30, np.inf, np.nan, 2.0**-25, 2.0**-26, 1e-45, -0.0])
    floats = np.concatenate([want, ties, *near, random.view(np.float32), ends, -ends])
    out, flags = np.empty(len(floats), np.uint16), np.empty(len(floats), np.uint8)
    library.narrow(pointer(floats), pointer(out), pointer(flags), ctypes.c_uint32(len(floats)))
    with np.errstate(all="ignore"):
        model = floats.astype(np.float16)
    bits = np.where(np.isnan(model), NAN, model.view(np.uint16))
    assert np.array_equal(out, bits)
    quiet = ~np.isnan(floats)  # whether moving a signalling NaN raises the flag is the compiler's business
    assert np.array_equal(flags.astype(bool)[quiet], (np.isinf(model) & np.isfinite(floats))[quiet])


def test_other_instructions(isa) -> None:
    library, _ = isa
    random = np.random.default_rng(4)
    operands = random.integers(0, 1 << 32, (3, 5000), dtype=np.uint64).astype(np.uint32)
    out = np.empty((5000, 3), np.uint32)
    library.others(*(pointer(np.ascontiguousarray(v)) for v in operands), pointer(out), ctypes.c_uint32(5000))
    for (c, a, b), got in zip(operands.T.tolist(), out.tolist(), strict=True):
        low, high = 0xFFFF, 16
        assert got[0] == fma(c & low, a & low, b & low)[0] | fma(c >> high, a >> high, b & low)[0] << high
        negative = b ^ 0x80008000
        assert got[1] == add(a & low, negative & low)[0] | add(a >> high, negative >> high)[0] << high
    pairs = operands[1:].view(np.int32).astype(np.float32)
    with np.errstate(over="ignore"):
        packed = pairs.astype(np.float16).view(np.uint16).astype(np.uint32)
    assert np.array_equal(out[:, 2], packed[0] | packed[1] << 16)
