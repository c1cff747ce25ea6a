"""Convolutions of random shapes, as the compiler calls their kernels: output and all gradients against PyTorch.

One library serves all shapes: a shape is a struct that the kernel reads while it runs.
"""

import ctypes
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import nn

import odl
from odl.check.bounds import gradient_bound, relative_error, within
from odl.codegen.kernels import KernelSet, environment
from odl.graph.ir import DType, Layout, Role, Value
from odl.graph.operator import Array
from odl.kernels.call import KernelCall, Number, Tensor
from odl.operators.base import KernelRequest, Operator
from odl.operators.channel_sum import ChannelSum
from odl.operators.convolution import Conv2d
from odl.operators.convolution_gradients import Conv2dInputGradient, Conv2dWeightGradient
from odl.operators.window import Window
from odl.precision import Precision
from odl.project.layout import from_memory, to_memory
from odl.project.programs import STEP

COUNT = 240
#: Every how many-th shape is computed in mixed precision too.
MIXED_EVERY = 3
#: Bytes behind every tensor that a kernel must leave alone.
GUARD = 64


# ---------------------------------------------------------------------------------------------------- shapes
@dataclass(frozen=True)
class Case:
    """A convolution; `padding` is (top, left, bottom, right), `accumulate` adds to gradients that are there."""

    batch: int
    channels: tuple[int, int]
    size: tuple[int, int]
    window: Window
    depthwise: bool
    bias: bool
    accumulate: bool
    cores: int

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.channels[1], 1 if self.depthwise else self.channels[0], *self.window.kernel)

    def pytorch(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        top, left, bottom, right = self.window.padding
        padded = functional.pad(x, (left, right, top, bottom))
        groups = self.channels[0] if self.depthwise else 1
        return functional.conv2d(padded, weight, bias, self.window.stride, groups=groups)


def draw(random: np.random.Generator) -> Case:
    """A shape whose padding stays below the kernel on each side and whose window fits at least once."""
    kernel = tuple(int(side) for side in random.integers(1, 8, 2))
    stride = tuple(int(side) for side in random.integers(1, 4, 2))
    top, bottom = random.integers(0, kernel[0], 2)
    left, right = random.integers(0, kernel[1], 2)
    height = int(random.integers(max(1, kernel[0] - top - bottom), 11))
    width = int(random.integers(max(1, kernel[1] - left - right), 11))
    depthwise = bool(random.random() < 0.4)
    inputs = int(random.integers(1, 18))
    outputs = inputs if depthwise else int(random.integers(1, 18))
    window = Window(kernel, stride, (int(top), int(left), int(bottom), int(right)))  # type: ignore[arg-type]
    flags = random.random(2) < 0.5
    cores = int(random.choice([1, 1, 1, 3, 8]))
    return Case(
        int(random.integers(1, 3)),
        (inputs, outputs),
        (height, width),
        window,
        depthwise,
        bool(flags[0]),
        bool(flags[1]),
        cores,
    )


RANDOM = np.random.default_rng(20)
CASES = [draw(RANDOM) for _ in range(COUNT)]


def test_the_drawn_shapes_are_as_varied_as_stated() -> None:
    assert len(set(CASES)) >= 200
    for depthwise in (False, True):
        windows = [case.window for case in CASES if case.depthwise is depthwise]
        for axis in (0, 1):
            assert {window.kernel[axis] for window in windows} == set(range(1, 8))
            assert {window.stride[axis] for window in windows} == {1, 2, 3}
        assert any(window.kernel[0] != window.kernel[1] for window in windows)
        assert any(window.padding[:2] != window.padding[2:] for window in windows)
    assert {channels for case in CASES for channels in case.channels} == set(range(1, 18))
    assert {case.batch for case in CASES} == {1, 2}


# --------------------------------------------------------------------------------------------------- kernels
@dataclass(frozen=True)
class Numbers:
    """Storage types as the precision pass gives them: activations, biases, and gradients of weights."""

    precision: Precision

    @property
    def activation(self) -> DType:
        return DType.F32 if self.precision is Precision.FP32 else DType.F16

    def weight_gradient(self, accumulate: bool) -> DType:
        return DType.F32 if accumulate else self.activation


@dataclass(frozen=True)
class Call:
    """An operator over named values, and the kernel call that serves it."""

    kernel: KernelCall
    output: Value


def calls(case: Case, numbers: Numbers) -> dict[str, Call]:
    """The convolution and its three gradients, bound to kernels as a schedule binds them."""
    rows, columns = case.window.output_size(*case.size)
    layout = Layout.HWC if case.depthwise else Layout.OHWI
    half = numbers.activation
    x = Value("x", (case.batch, case.channels[0], *case.size), Role.ACTIVATION, half, Layout.NHWC)
    y = Value("y", (case.batch, case.channels[1], rows, columns), Role.ACTIVATION, half, Layout.NHWC)
    dy, dx = (Value(f"d{value.name}", value.shape, Role.GRADIENT, half, Layout.NHWC) for value in (y, x))
    weight = Value("weight", case.weight_shape, Role.PARAMETER, half, layout)
    bias = Value("bias", (case.channels[1],), Role.PARAMETER) if case.bias else None
    kind = numbers.weight_gradient(case.accumulate)
    dweight = Value("dweight", weight.shape, Role.PARAMETER_GRADIENT, kind, layout)
    dbias = Value("dbias", (case.channels[1],), Role.PARAMETER_GRADIENT)

    def bound(operator: Operator, inputs: Sequence[Value | None], output: Value) -> Call:
        named = zip(operator.inputs, inputs, strict=True)
        given = {name: value for name, value in named if value is not None}
        shapes = {name: value.shape for name, value in given.items()}
        assert list(operator.shapes(shapes).values()) == [output.shape]
        accumulate = case.accumulate and output.role is Role.PARAMETER_GRADIENT
        chunk = numbers.precision.chunk
        (name,) = operator.outputs
        kernel = operator.kernel(KernelRequest(given, {name: output}, case.cores, chunk, accumulate))
        assert kernel is not None
        return Call(kernel, output)

    window, depthwise = case.window, case.depthwise
    return {
        "y": bound(Conv2d(window, depthwise), (x, weight, bias, None), y),
        "dx": bound(Conv2dInputGradient(window, x.shape, depthwise), (dy, weight, None, None), dx),
        "dweight": bound(Conv2dWeightGradient(window, weight.shape, depthwise), (x, dy), dweight),
        "dbias": bound(ChannelSum(), (dy,), dbias),
    }


class Library:
    """The kernels that some calls need, rendered, compiled with the flags of a generated project, and callable."""

    def __init__(self, project: Path, directory: Path, kernel_calls: Sequence[KernelCall]) -> None:
        self._kernels = KernelSet(kernel_calls, "case")
        rendered = self._kernels.render()
        header = environment("odl.codegen", "templates").get_template("kernels.h.j2")
        text = header.render(prefix="case", PREFIX="CASE", shapes=self._kernels.shapes, kernels=rendered)
        (directory / "case_kernels.h").write_text(text)
        for kernel in rendered:
            (directory / f"{kernel.name}.c").write_text(kernel.text)
        flags = run("make", "--silent", "print-exact", where=project).splitlines()[0].split()
        sources = [f"{kernel.name}.c" for kernel in rendered]
        includes = ["-I.", f"-I{project / 'isa'}"]
        run(
            "gcc",
            *includes,
            *flags,
            "-O1",
            "-shared",
            "-fPIC",
            "-o",
            "all.so",
            *sources,
            "-lm",
            where=directory,
        )
        self._library = ctypes.CDLL(str(directory / "all.so"))

    def run(self, call: KernelCall, memory: Mapping[str, ctypes.Array[ctypes.c_char]], cores: int) -> None:
        """Call the kernel once for each core, the last core first: their order must not matter."""
        shape = (ctypes.c_uint32 * len(call.shape))(*call.shape.values())
        function = getattr(self._library, self._kernels.name(call))
        arguments: list[object] = []
        for argument in call.in_order:
            if isinstance(argument, Number):
                arguments.append(ctypes.c_float(argument.value))
            else:
                assert isinstance(argument, Tensor)
                name = argument.name
                arguments.append(ctypes.c_void_p(None if name is None else ctypes.addressof(memory[name])))
        for core in reversed(range(cores)):
            function(shape, *arguments, ctypes.c_uint32(core), ctypes.c_uint32(cores))


def run(*command: str, where: Path) -> str:
    return subprocess.run(command, cwd=where, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated project: its ISA headers and compiler flags are what the kernels are built with."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    return odl.compile(module, torch.zeros(1, 4)).save(tmp_path_factory.mktemp("project") / "net")


@pytest.fixture(scope="module", params=[Precision.FP32, Precision.MIXED], ids=str)
def computed(
    request: pytest.FixtureRequest, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Numbers, list[Case], Library]:
    numbers = Numbers(request.param)
    cases = CASES if numbers.precision is Precision.FP32 else CASES[::MIXED_EVERY]
    needed = [call.kernel for case in cases for call in calls(case, numbers).values()]
    return numbers, cases, Library(project, tmp_path_factory.mktemp("kernels"), needed)


# ---------------------------------------------------------------------------------------------------- checks
def test_output_and_gradients_are_pytorchs(computed: tuple[Numbers, list[Case], Library]) -> None:
    numbers, cases, library = computed
    wrong = {}
    for index, case in enumerate(cases):
        problems = compare(case, numbers, library, np.random.default_rng(index))
        if problems:
            wrong[case] = problems
    assert not wrong


@pytest.mark.parametrize("field", ["pad_left", "pad_top", "stride_h", "stride_w"])
def test_a_wrong_shape_is_noticed(computed: tuple[Numbers, list[Case], Library], field: str) -> None:
    """The comparison sees a padding or stride that is off by one, in the output and in both gradients."""
    numbers, cases, library = computed
    large = [case for case in cases if min(*case.window.output_size(*case.size), *case.window.kernel) > 2]
    assert len(large) >= 5
    for case in large[:5]:
        spoilt = {
            name: off_by_one(call, field) for name, call in calls(case, numbers).items() if name != "dbias"
        }
        for name, call in spoilt.items():
            assert compare(case, numbers, library, np.random.default_rng(0), {name: call}), (case, name)


def off_by_one(call: Call, field: str) -> Call:
    """Less padding or stride by one, where that is possible, else more: a kernel stays within its tensors."""
    shape = dict(call.kernel.shape)
    shape[field] += -1 if shape[field] > (1 if "stride" in field else 0) else 1
    return replace(call, kernel=replace(call.kernel, shape=shape))


def compare(
    case: Case,
    numbers: Numbers,
    library: Library,
    random: np.random.Generator,
    instead: Mapping[str, Call] | None = None,
) -> list[str]:
    """What is wrong with a case's output, gradients or the memory around them, as text."""
    bound_calls = {**calls(case, numbers), **(instead or {})}
    y = bound_calls["y"].output
    given = {
        "x": random.standard_normal(bound_calls["dx"].output.shape),
        "weight": random.standard_normal(case.weight_shape),
        "bias": random.standard_normal(case.channels[1]),
        "dy": random.standard_normal(y.shape),
        "dweight": random.standard_normal(case.weight_shape),
        "dbias": random.standard_normal(case.channels[1]),
    }
    values = {value.name: value for value in known_values(bound_calls, case, numbers)}
    stored = {name: from_memory(values[name], to_memory(values[name], given[name])) for name in given}
    wanted = reference(case, stored)
    problems = []
    for name, call in bound_calls.items():
        memory = {key: guarded(to_memory(values[key], stored[key])) for key in given if key != name}
        before = {key: bytes(item) for key, item in memory.items()}
        output = call.output
        adds = case.accumulate and output.role is Role.PARAMETER_GRADIENT
        start = to_memory(output, stored[name]) if adds else b"\xff" * output.size_bytes
        memory[name] = guarded(start)
        library.run(call.kernel, memory, case.cores)
        got = from_memory(output, bytes(memory[name]))
        error = relative_error(got, wanted[name] + stored[name] if adds else wanted[name])
        bound = gradient_bound(numbers.precision, terms(case))
        if not within(error, bound):
            problems.append(f"{name}: {error} > {bound}")
        if bytes(memory[name])[output.size_bytes :] != b"\xa5" * GUARD:
            problems.append(f"{name}: written beyond its end")
        problems += [f"{name}: {key} changed" for key, data in before.items() if bytes(memory[key]) != data]
    return problems


def known_values(bound_calls: Mapping[str, Call], case: Case, numbers: Numbers) -> Iterator[Value]:
    """The value of every tensor that a call reads or writes."""
    y, dx, dweight, dbias = (bound_calls[name].output for name in ("y", "dx", "dweight", "dbias"))
    yield from (y, dx, dweight, dbias)
    yield Value("x", dx.shape, Role.ACTIVATION, numbers.activation, Layout.NHWC)
    yield Value("dy", y.shape, Role.GRADIENT, numbers.activation, Layout.NHWC)
    yield Value("weight", case.weight_shape, Role.PARAMETER, numbers.activation, dweight.layout)
    yield Value("bias", dbias.shape, Role.PARAMETER)


def reference(case: Case, stored: Mapping[str, Array]) -> dict[str, Array]:
    """Output and gradients from PyTorch's autograd in float64."""
    x, weight, bias = (
        torch.from_numpy(stored[name].astype(np.float64)).requires_grad_(True)
        for name in ("x", "weight", "bias")
    )
    y = case.pytorch(x, weight, bias)
    # The output of a layer without bias, whose gradients are the same.
    plain = y if case.bias else case.pytorch(x, weight, None)
    gradients = torch.autograd.grad(y, (x, weight, bias), torch.from_numpy(stored["dy"].astype(np.float64)))
    arrays = (plain.detach(), *gradients)
    return dict(zip(("y", "dx", "dweight", "dbias"), (array.numpy() for array in arrays), strict=True))


def terms(case: Case) -> int:
    """Length of the longest of the four sums."""
    rows, columns = case.window.output_size(*case.size)
    window = case.window.kernel[0] * case.window.kernel[1]
    channels = 1 if case.depthwise else max(case.channels)
    return max(case.batch * rows * columns, window * channels)


def guarded(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data + b"\xa5" * GUARD, len(data) + GUARD)


# -------------------------------------------------------------------------------------------- whole pipeline
class Branches(nn.Module):
    """Random convolutions side by side, each behind a trained layer and before a weight of its own per pixel."""

    def __init__(self, cases: Sequence[Case]) -> None:
        super().__init__()
        self.cases = cases
        self.before = nn.ModuleList(nn.Conv2d(2, case.channels[0], 1) for case in cases)
        self.after = nn.ModuleList()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for case in cases:
            fan_in = case.weight_shape[1] * case.weight_shape[2] * case.weight_shape[3]
            self.weights.append(torch.randn(case.weight_shape) / fan_in**0.5)
            self.biases.append(torch.randn(case.channels[1]))
            rows, columns = case.window.output_size(*case.size)
            self.after.append(nn.Linear(case.channels[1] * rows * columns, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = [
            after(case.pytorch(before(x), weight, bias).flatten(1))
            for case, before, weight, bias, after in zip(
                self.cases, self.before, self.weights, self.biases, self.after, strict=True
            )
        ]
        return torch.stack(outputs).sum(0) if len(outputs) == 1 else sum(outputs[1:], outputs[0])


def test_shapes_survive_tracing_and_fusion() -> None:
    """Zero padding of any kind, stated before the convolution, becomes the kernels' own."""
    size = (9, 8)
    cases = []
    random = np.random.default_rng(5)
    while len(cases) < 12:
        case = draw(random)
        if all(side >= kernel for side, kernel in zip(size, case.window.kernel, strict=True)):
            cases.append(Case(1, case.channels, size, case.window, case.depthwise, True, False, 1))
    torch.manual_seed(5)
    build = odl.compile(Branches(cases), torch.zeros(1, 2, *size), dtype="fp32")
    operators = [
        type(item.node.operator).__name__ for item in build.compiled.network.schedule.programs[STEP].nodes
    ]
    assert "Pad" not in operators
    report = build.verify(steps=1)
    assert report.ok, report.worst
