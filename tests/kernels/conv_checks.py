"""Calls of the convolution kernels on random operands, and what they must give: within bounds, and bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.kernels import conv_reference as reference
from tests.kernels.cases import TYPES, Case, Function, Shape
from tests.kernels.kernel_library import canonical

Array = Any


@dataclass
class Operands:
    """Random tensors of one shape, in every fourth one with infinities, NaNs, overflow and subnormal numbers."""

    functions: Mapping[str, Function]
    variant: str
    shape: Shape
    seed: int

    def __post_init__(self) -> None:
        context = self.functions[f"channel_sum_{self.variant}"].context
        self.T, self.P, self.G = (TYPES[str(context[t])] for t in "TPG")
        self.random = np.random.default_rng(self.seed)
        self.wild = self.seed % 4 == 3

    def tensor(self, *size: int, dtype: Any = None, scale: float = 1.0) -> Array:
        values = self.random.normal(0, scale, size)
        if self.wild:
            special = [np.inf, -np.inf, np.nan, 0.0, -0.0, 6e-8, -6e-8, 6e-5, 60000.0, -300.0]
            values = np.where(self.random.random(size) < 0.03, self.random.choice(special, size), values)
        with np.errstate(all="ignore"):
            return values.astype(dtype or self.T)

    def maybe(self, *size: int, dtype: Any = None) -> Array | None:
        return self.tensor(*size, dtype=dtype) if self.random.random() < 0.6 else None

    def limits(self) -> dict[str, float]:
        low, high = [(-np.inf, np.inf), (0.0, np.inf), (0.0, 1.5), (-0.5, np.inf)][self.random.integers(4)]
        return {"low": low, "high": high}

    def output(self, *size: int, dtype: Any = None) -> Array:
        return np.full(size, np.nan, dtype or self.T)

    def case(self, kernel: str, accumulate: bool = False, **arguments: Any) -> Case:
        s = self.shape
        pixels = {"pixels": s.batch * s.out_h * s.out_w, "channels": s.out_c}
        shape = pixels if kernel == "channel_sum" else dataclasses.asdict(s)
        name = f"{kernel}_{self.variant}{'_accumulate' if accumulate else ''}"
        return Case(self.functions[name], shape, arguments)

    def cases(self, depthwise: bool, both: bool = False) -> Iterator[Case]:
        """One call of every kernel; what accumulates is called as one of the two, or as both."""
        if depthwise:
            self.shape = replace(self.shape, out_c=self.shape.in_c)
        s, kind = self.shape, "depthwise" if depthwise else "conv2d"
        x_size, y_size = (s.batch, s.in_h, s.in_w, s.in_c), (s.batch, s.out_h, s.out_w, s.out_c)
        window = (s.kernel_h, s.kernel_w, s.in_c)
        w_size = window if depthwise else (s.out_c, *window)
        x, dy, w = self.tensor(*x_size), self.tensor(*y_size), self.tensor(*w_size, scale=0.5)
        bias, addend = self.maybe(s.out_c, dtype=self.P), self.maybe(*y_size)
        y, limits = self.output_or(addend, y_size), self.limits()
        yield self.case(f"{kind}_forward", x=x, w=w, bias=bias, addend=addend, y=y, **limits)
        addend, mask = self.maybe(*x_size), self.maybe(*x_size)
        dx, limits = self.output_or(addend, x_size), self.limits()
        if mask is not None and self.seed % 2:
            mask = np.clip(mask, self.T(limits["low"]), self.T(limits["high"]))  # as an activation leaves it
        yield self.case(f"{kind}_input_gradient", dy=dy, w=w, addend=addend, mask=mask, dx=dx, **limits)
        accumulates = f"{kind}_weight_gradient_{self.variant}_accumulate" in self.functions
        drawn = accumulates and self.random.random() < 0.5
        for accumulate in (False, True) if accumulates and both else (drawn,):
            dw, db = self.tensor(*w_size, dtype=self.G), self.tensor(s.out_c, dtype=self.G)
            if not accumulate:
                dw, db = np.full_like(dw, np.nan), np.full_like(db, np.nan)
            yield self.case(f"{kind}_weight_gradient", accumulate, x=x, dy=dy, dw=dw)
            if not depthwise:
                yield self.case("channel_sum", accumulate, dy=dy, db=db)

    def output_or(self, addend: Array | None, size: tuple[int, ...]) -> Array:
        """A tensor for the output; sometimes the output is the addend."""
        return self.output(*size) if addend is None or self.random.random() < 0.5 else addend


# --------------------------------------------------------------------------------------------- what is expected
@dataclass(frozen=True)
class Expected:
    """Sums in float64 and of magnitudes, their number of terms, what follows them, and their bits in fp32."""

    sums: Array
    magnitude: Array
    terms: int
    bits: Callable[[], Array]
    finish: Callable[[Array], Array]


def expected(case: Case, lanes: int) -> Expected:
    given, context = case.arguments, case.function.context
    kind, direction = case.function.kernel.template.split("_", 1)
    depthwise, chunk = kind == "depthwise", int(context["chunk"]) if context["chunked"] else 0
    wide = {name: np.asarray(array, np.float64) for name, array in given.items() if array is not None}
    size = {name: np.abs(array) for name, array in wide.items()}

    def finish(v: Array) -> Array:
        if given.get("addend") is not None:
            v = reference.add(v, given["addend"].astype(v.dtype))
        return v

    def accumulated(v: Array) -> Array:
        before = given["db" if direction == "sum" else "dw"]
        return reference.add(before.astype(v.dtype), v) if context["accumulate"] else v

    if direction == "sum":
        dy, axes = given["dy"], (0, 1, 2)
        sums, magnitude = wide["dy"].sum(axes), size["dy"].sum(axes)
        return Expected(
            sums, magnitude, dy.size // dy.shape[-1], lambda: reference.channel_sum_bits(dy), accumulated
        )
    s = Shape(**case.shape)
    if direction == "weight_gradient":
        x, dy = given["x"], given["dy"]
        return Expected(
            reference.weight_gradient64(s, wide["x"], wide["dy"], depthwise),
            reference.weight_gradient64(s, size["x"], size["dy"], depthwise),
            s.batch * s.out_h * s.out_w,
            lambda: reference.weight_gradient_bits(s, x, dy, depthwise, chunk),
            accumulated,
        )
    low, high, w = given["low"], given["high"], given["w"]
    if direction == "forward":
        x, bias = given["x"], given["bias"]

        def clamped(v: Array) -> Array:
            v = finish(v)
            return np.where(v <= low, v.dtype.type(low), np.where(v >= high, v.dtype.type(high), v))

        return Expected(
            reference.forward64(s, wide["x"], wide["w"], depthwise) + wide.get("bias", 0.0),
            reference.forward64(s, size["x"], size["w"], depthwise),
            s.kernel_h * s.kernel_w * s.in_c,
            lambda: reference.forward_bits(s, x, w, bias, depthwise, lanes, chunk),
            clamped,
        )
    dy, mask = given["dy"], given["mask"]

    def masked(v: Array) -> Array:
        v = finish(v)
        if mask is None:
            return v
        blocked = (mask <= low) & (low > -np.inf) | (mask >= high) & (high < np.inf)
        return np.where(blocked, v.dtype.type(0), v)

    return Expected(
        reference.input_gradient64(s, wide["dy"], wide["w"], depthwise),
        reference.input_gradient64(s, size["dy"], size["w"], depthwise),
        s.kernel_h * s.kernel_w * s.out_c,
        lambda: reference.input_gradient_bits(s, dy, w, depthwise, chunk),
        masked,
    )


def judge(case: Case, got: Array, lanes: tuple[int, int] | None, wild: bool, half_sums: bool) -> None:
    """got against the float64 sums within the error of their terms, unless wild, and against the stated order of sums.

    lanes: of fp16 and fp32; None where the order of sums is not fixed. half_sums: fp16 is summed in fp16.
    """
    half = case.function.context["T"] == "f16"
    width = lanes[0 if half else 1] if lanes else 0
    with np.errstate(all="ignore"):  # sums of wild operands
        want = expected(case, width)
        assert got.shape == want.sums.shape
        if not wild:
            store = 2.0**-11 if got.dtype == np.float16 else 2.0**-24
            unit = 2.0**-11 if half and half_sums else 2.0**-24
            result = want.finish(want.sums)
            bound = (want.terms + 8) * unit * (want.magnitude + 8) + 2 * store * np.abs(result)
            assert np.all(np.abs(got.astype(np.float64) - result) <= bound + want.terms * 2.0**-25)
        if lanes:
            bits = reference.narrowed(want.finish(want.bits()), got.dtype)
            assert canonical(got) == canonical(bits), f"{case.function.name}: not the stated order of sums"


def check_convolutions(
    call: Callable[[Case], list[Array]],
    operands: Operands,
    lanes: tuple[int, int] | None = None,
    half_sums: bool = True,
) -> None:
    """Every kernel, accumulating and not; depthwise with as many outputs as inputs."""
    for depthwise in (False, True):
        for case in operands.cases(depthwise, both=True):
            (got,) = call(case)
            judge(case, got, lanes, operands.wild, half_sums)
