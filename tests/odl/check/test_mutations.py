"""Faults put into a generated project are each caught by the verifier, in the tensor that they spoil."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import odl
from odl.check.report import Report
from odl.check.verify import verify
from odl.run.net import Net


class SmallNet(nn.Module):
    """Every kind of layer whose kernels are mutated: strides and paddings differ between the axes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.last = nn.Conv2d(6, 4, 1)
        self.dense = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.depthwise(x))
        x = torch.relu(self.last(x))
        return self.dense(x.mean((2, 3)))


#: What the network is compiled to; its options decide which kernels and which state there are.
PROJECTS = {
    "train": {"dtype": "fp32", "bn": "train", "optimizer": odl.SGD(0.05, momentum=0.9, weight_decay=0.05)},
    "mixed": {"dtype": "mixed", "bn": "fold", "optimizer": odl.SGD(0.05, momentum=0.9)},
    "overflowing": {"dtype": "mixed", "bn": "fold", "loss_scale": 65536.0},
    "accumulate": {"dtype": "fp32", "bn": "frozen", "accumulate": True},
    "last_layer": {"dtype": "fp32", "bn": "fold", "update": "last:1"},
    "adam": {"dtype": "fp32", "bn": "fold", "optimizer": odl.Adam(0.01)},
}
BATCH = 2


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory, traced_once: None) -> Callable[[str], odl.Build]:
    """The sound projects, each compiled when it is first asked for."""
    made: dict[str, odl.Build] = {}

    def build(name: str) -> odl.Build:
        if name not in made:
            torch.manual_seed(3)
            module = SmallNet()
            if name == "overflowing":
                with torch.no_grad():
                    module.dense.weight *= 100
            made[name] = odl.compile(module, torch.zeros(BATCH, 3, 9, 8), prefix="net", **PROJECTS[name])
            made[name].save(tmp_path_factory.mktemp(name) / "net")
        return made[name]

    return build


def verified(build: odl.Build, directory: Path) -> Report:
    options = build.compiled.network.options
    return verify(
        Net(directory), build.module, options.optimizer, build.compiled.trainable, steps=2, accumulated=3
    )


def directory_of(build: odl.Build) -> Path:
    assert build.directory is not None
    return build.directory


# ------------------------------------------------------------------------------------------------- mutations
def replace(text: str, old: str, new: str, everywhere: bool = False) -> str:
    """Replace C text, however it is broken into lines; it must be there (once, if not `everywhere`)."""
    pattern = re.compile(r"\s*".join(re.escape(token) for token in re.findall(r"\w+|[^\w\s]", old)))
    found = len(pattern.findall(text))
    assert found > 0 if everywhere else found == 1, f"'{old}' occurs {found} times"
    return pattern.sub(lambda _: new, text)


def in_kernel(name: str, old: str, new: str, everywhere: bool = False) -> Callable[[Path], None]:
    """A fault in every variant of a kernel."""

    def mutate(project: Path) -> None:
        variant = re.compile(
            rf"\w+_{name}_([a-z]_|accumulate|chunk|tile|to_|training).*"
        )  # not the kernels whose names only begin alike
        files = [file for file in (project / "kernels").iterdir() if variant.fullmatch(file.stem)]
        assert files, f"no kernel {name}"
        for file in files:
            file.write_text(replace(file.read_text(), old, new, everywhere))

    return mutate


def in_net(old: str, new: str, everywhere: bool = False) -> Callable[[Path], None]:
    """A fault in the programs around the kernels."""

    def mutate(project: Path) -> None:
        file = project / "net.c"
        file.write_text(replace(file.read_text(), old, new, everywhere))

    return mutate


def in_call(
    node: str, change: Callable[[list[str]], None] | None = None, after: str = ""
) -> Callable[[Path], None]:
    """Other arguments for a node's kernel call in the training step, or a statement after it.

    `{0}`, `{1}`, … in the statement stand for the arguments.
    """

    def mutate(project: Path) -> None:
        file = project / "net.c"
        text = file.read_text()
        comment = rf"/\* {re.escape(node)}: (?:(?!\*/).)*\*/"
        call = re.search(rf"{comment}.*?\n +(net_\w+)\(([^;{{}}]*)\);", text, re.DOTALL)
        assert call is not None, f"no call of {node}"
        arguments = [argument.strip() for argument in call[2].split(",")]
        statement = after.format(*arguments)
        if change is not None:
            change(arguments)
        changed = f"{call[1]}({', '.join(arguments)});\n{statement}"
        assert changed.rstrip() != text[call.start(1) : call.end()]
        file.write_text(text[: call.start(1)] + changed + text[call.end() :])

    return mutate


def in_one_update(node: str, old: str, new: str) -> Callable[[Path], None]:
    """Another argument for one tensor of the table of updates."""

    def mutate(project: Path) -> None:
        file = project / "net.c"
        text = file.read_text()
        table = text[text.index("} update_tensors[] = {") :].splitlines()
        row = next(index for index, line in enumerate(table) if f"/* {node}:" in line) - 1
        begin = text.index("static void net_update_tensors(")
        call = text[begin:].replace(old, f"(i == {row} ? {new} : {old})", 1)
        assert call != text[begin:]
        file.write_text(text[:begin] + call)

    return mutate


def other_shape(node: str, field: str, value: int) -> Callable[[Path], None]:
    """Another number in the shape that one call gets, while other calls keep theirs."""

    def mutate(project: Path) -> None:
        names: list[str] = []

        def take_shape(arguments: list[str]) -> None:
            names.append(arguments[0].removeprefix("&"))
            arguments[0] = "&mutated_shape"

        in_call(node, take_shape)(project)
        file = project / "net.c"
        text = file.read_text()
        shape = re.search(rf"static [\w() ]*const (struct \w+) {names[0]} \w+ = \{{([^}}]*)\}};", text)
        assert shape is not None
        fields = re.sub(rf"\.{field} = (\d+)u", f".{field} = {value}u", shape[2])
        assert fields != shape[2], f"{field} is {value} already"
        copy = f"\nstatic const {shape[1]} mutated_shape = {{{fields}}};\n"
        file.write_text(text[: shape.end()] + copy + text[shape.end() :])

    return mutate


def set_argument(index: int, value: str) -> Callable[[list[str]], None]:
    def change(arguments: list[str]) -> None:
        assert arguments[index] != value
        arguments[index] = value

    return change


def in_manifest(tensor: str, field: str, value: str) -> Callable[[Path], None]:
    """Another description of a tensor, as if the kernels read it in another order than is stated."""

    def mutate(project: Path) -> None:
        file = project / "manifest.json"
        manifest = json.loads(file.read_text())
        entry = next(entry for entry in manifest["tensors"] if entry["name"] == tensor)
        assert entry[field] != value
        entry[field] = value
        file.write_text(json.dumps(manifest))

    return mutate


def moves_tensor(tensor: str) -> Callable[[Path], None]:
    """A step that writes to a tensor that it should leave alone."""

    def mutate(project: Path) -> None:
        manifest = json.loads((project / "manifest.json").read_text())
        offset = next(entry["offset"] for entry in manifest["tensors"] if entry["name"] == tensor)
        in_call("loss", after=f"*NET_AT(float, {offset}u) += 0.001f;")(project)

    return mutate


@dataclass(frozen=True)
class Fault:
    """A mutation of a project, and the rows of the report (tensor, kind) of which each must fail."""

    project: str
    mutate: Callable[[Path], None]
    caught: tuple[tuple[str, str], ...]


FAULTS = {
    "dropped padding column, forward": Fault(
        "train",
        other_shape("first", "pad_left", 0),
        (("relu", "activation"), ("norm.running_mean", "statistic")),
    ),
    "dropped padding row, input gradient": Fault(
        "train", other_shape("depthwise.input_gradient", "pad_top", 0), (("first.weight", "gradient"),)
    ),
    "dropped padding column, weight gradient": Fault(
        "train", other_shape("first.weight.gradient", "pad_left", 0), (("first.weight", "gradient"),)
    ),
    "swapped stride, forward": Fault("train", other_shape("first", "stride_h", 1), (("relu", "activation"),)),
    "swapped stride, weight gradient": Fault(
        "mixed", other_shape("first.weight.gradient", "stride_h", 1), (("first.weight", "gradient"),)
    ),
    "NaN in one gradient": Fault(
        "train",
        in_call("depthwise.weight.gradient", after="{3}[0] = NAN;"),
        (("depthwise.weight", "gradient"), ("depthwise.weight", "weight change")),
    ),
    "one gradient is zero": Fault(
        "accumulate",
        in_call("last.weight.gradient", after="memset({3}, 0, sizeof(float) * 24);"),
        (("last.weight", "gradient"), ("last.weight", "weight change")),
    ),
    "unscaled gradient": Fault(
        "mixed",
        in_net("1.0f / (net_state.loss_scale * (float)steps)", "1.0f / (float)steps"),
        (("dense.bias", "weight change"), ("first.weight", "weight change")),
    ),
    "gradient scaled twice": Fault(
        "mixed",
        in_net(
            "1.0f / (net_state.loss_scale * (float)steps)", "0.5f / (net_state.loss_scale * (float)steps)"
        ),
        (("dense.bias", "weight change"), ("first.weight", "weight change")),
    ),
    "stale running mean": Fault(
        "train",
        in_kernel("batch_norm_train", "*average = __builtin_fmaf(momentum, centres[i],", "(void)(0.0f *"),
        (("norm.running_mean", "statistic change"),),
    ),
    "biased running variance": Fault(
        "train",
        in_kernel("batch_norm_train", "1.0f / (float)(s->pixels - 1u)", "share"),
        (("norm.running_var", "statistic change"),),
    ),
    "unbiased variance in the output": Fault(
        "train",
        in_kernel("batch_norm_train", "(squares[i], share, eps)", "(squares[i], unbiased, eps)"),
        (("relu", "activation"),),
    ),
    "update that trains nothing": Fault(
        "mixed",
        in_kernel("sgd", "(-learning_rate)", "(0.0f * learning_rate)"),
        (("first.weight", "weight change"), ("dense.bias", "weight change")),
    ),
    "sign flip in the update": Fault(
        "train",
        in_kernel("sgd", "(-learning_rate)", "(learning_rate)"),
        (("first.weight", "weight change"), ("dense.bias", "weight change")),
    ),
    "momentum ignored": Fault(
        "mixed",
        in_kernel("sgd", "(momentum)", "(0.0f * momentum)"),
        (("first.weight.momentum_buffer", "optimizer"), ("dense.bias", "weight change")),
    ),
    "weight decay ignored": Fault(
        "train",
        in_kernel("sgd", "(weight_decay)", "(0.0f * weight_decay)"),
        (("first.weight", "weight change"), ("norm.weight", "weight change")),
    ),
    "momentum kept in one layer only": Fault(
        "train",
        in_one_update("last.weight.update", "0.9f", "0.0f"),
        (("last.weight.momentum_buffer", "optimizer"),),
    ),
    "accumulation that sums": Fault(
        "accumulate",
        in_net("(net_state.loss_scale * (float)steps)", "(net_state.loss_scale + 0.0f * (float)steps)"),
        (("first.weight", "weight change"), ("dense.bias", "weight change")),
    ),
    "accumulation that keeps the last sample": Fault(
        "accumulate",
        in_kernel("channel_sum", "sum = odl_wide_plus_", "(void)odl_wide_plus_"),
        (("dense.bias", "gradient"), ("last.bias", "weight change")),
    ),
    "accumulated gradients not cleared": Fault(
        "accumulate",
        in_kernel("fill", "uint32_t left =", "return;\nuint32_t left ="),
        (("dense.bias", "gradient"), ("first.weight", "gradient")),
    ),
    "mask of the activation ignored": Fault(
        "train",
        in_call("depthwise.input_gradient", set_argument(6, "-INFINITY")),
        (("first.weight", "gradient"), ("norm.bias", "gradient")),
    ),
    "mask of the activation ignored, mixed": Fault(
        "mixed",
        in_call("depthwise.input_gradient", set_argument(6, "-INFINITY")),
        (("first.weight", "gradient"), ("first.bias", "gradient")),
    ),
    "dropped padding row, mixed": Fault(
        "mixed",
        other_shape("depthwise.weight.gradient", "pad_top", 0),
        (("depthwise.weight", "gradient"), ("depthwise.weight", "weight change")),
    ),
    "bias gradient without one pixel, mixed": Fault(
        "mixed",
        in_kernel("channel_sum", "dy + c, s->pixels,", "dy + c + s->channels, s->pixels - 1,"),
        (("depthwise.bias", "gradient"), ("last.bias", "gradient")),
    ),
    "bias gradient without one pixel": Fault(
        "train",
        in_kernel("channel_sum", "dy + c, s->pixels,", "dy + c + s->channels, s->pixels - 1,"),
        (("depthwise.bias", "gradient"), ("last.bias", "gradient")),
    ),
    "weight in another layout": Fault(
        "train",
        in_manifest("first.weight", "layout", "flat"),
        (("relu", "activation"), ("relu", "inference")),
    ),
    "frozen parameter that moves": Fault(
        "last_layer", moves_tensor("first.weight"), (("first.weight", "frozen"),)
    ),
    "statistic that moves while frozen": Fault(
        "accumulate", moves_tensor("norm.running_mean"), (("norm.running_mean", "statistic"),)
    ),
    "loss not divided by the batch": Fault(
        "train",
        in_kernel("cross_entropy", "*loss = sum / (float)s->batch", "*loss = sum"),
        (("loss", "loss"),),
    ),
    "sample weight ignored in the gradient": Fault(
        "train",
        in_kernel("cross_entropy", "const float factor = weight[n] /", "const float factor = 1.0f /"),
        (("dense.bias", "gradient"), ("first.weight", "gradient")),
    ),
    "working copy not refreshed": Fault(
        "mixed",
        in_kernel("sgd_c_f16", "_f16_f16(copy, d_0", "_f16_f16(copy, g_0", everywhere=True),
        (("first.weight.copy", "working copy"),),
    ),
    "skipped step that changes a weight": Fault(
        "overflowing",
        in_net(
            "net_state.skipped_steps++;",
            "net_state.skipped_steps++; prepare_update(1); odl_parallel(run_apply);",
        ),
        (("first.weight", "skipped step"),),
    ),
    "overflow not noticed": Fault(
        "overflowing",
        in_net("if (odl_overflow_seen())", "if (false)", everywhere=True),
        (("first.weight", "gradient"),),
    ),
    "wrong statistics in inference": Fault(
        "train",
        in_kernel("batch_norm_frozen", "(var[c + i] + eps)", "(var[c + i] + 1.05f * eps + 0.05f)"),
        (("relu", "inference"),),
    ),
    "no bias correction": Fault(
        "adam",
        in_net("net_state.bias_correction1 +=", "net_state.bias_correction1 = 1.0f + 0.0f *"),
        (("first.weight", "weight change"),),
    ),
    "second moment not squared": Fault(
        "adam",
        in_kernel("adam", "(d_0, d_0)", "(d_0, wide_eps)", everywhere=True),
        (("first.weight.exp_avg_sq", "optimizer"), ("first.weight", "weight change")),
    ),
}


@pytest.mark.parametrize("project", PROJECTS)
def test_sound_project_passes(builds: Callable[[str], odl.Build], project: str) -> None:
    build = builds(project)
    report = verified(build, directory_of(build))
    assert report.ok, report.worst


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught(builds: Callable[[str], odl.Build], name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    build = builds(fault.project)
    project = tmp_path / "net"
    shutil.copytree(directory_of(build), project)
    fault.mutate(project)
    report = verified(build, project)
    failed = {(row.tensor, row.kind) for row in report.rows if not row.ok}
    assert not report.ok
    assert not report.worst.ok
    assert set(fault.caught) <= failed
