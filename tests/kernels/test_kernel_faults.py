"""That the kernels' tests find faults; sanitizers, the fast dialect, and files that stand alone."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odl.codegen.names import float_literal
from tests.kernels.cases import FUNCTIONS, KERNELS, Case
from tests.kernels.kernel_checks import sweep
from tests.kernels.kernel_library import SHARED, Arrays, Runner, compiled, render, unity

FAULTS = {
    "one element too many": ("relu", ": s->count) - begin", ": s->count) - begin + 1"),
    "core 1 idle": ("relu_gradient", "begin < s->count ?", "begin < s->count && core != 1 ?"),
    "limit belongs to the inside": ("relu_gradient", "odl_limits(low,", "odl_limits(low - 0.5f,"),
    "axes mixed up": ("broadcast", "row / s->n2 % s->n1", "row % s->n1"),
    "outer terms missed": ("reduce", "j < s->r0", "j < 1u"),
    "second operand twice": (
        "concatenate",
        "memcpy(to, c + (size_t)i * s->c",
        "memcpy(to, b + (size_t)i * s->b",
    ),
    "step ignored": ("slice", "% s->count * s->step", "% s->count"),
    "last index forgotten": ("place", "from < s->count", "from + 1u < s->count"),
    "tail unshared": ("unary", "core + 1u, cores)", "core + 1u, cores) - core"),
    "slope by the wrong operand": ("unary_gradient", "(seen + i)", "(dy + i)"),
    "wrong divisor": ("average_pool", "rows.size * columns.size", "rows.size"),
    "padding counted": (
        "average_pool_gradient",
        "include_pad != 0u || origin > pad",
        "origin >= 0 || origin > pad",
    ),
    "last maximum wins": ("max_pool", "v > best", "v >= best"),
    "one window missed": ("max_pool_gradient", "/ stride + 1u;", "/ stride + 2u;"),
    "gradient not divided": ("global_average_pool_gradient", "(float)pixels", "1.0f"),
    "biased running variance": ("batch_norm_train", "1.0f / (float)(s->pixels - 1u)", "share"),
    "mean of dy left in": ("batch_norm_train_gradient", "-(sums[i] * share * scales[i])", "0.0f"),
    "weight forgotten": ("cross_entropy", "weight[n] / (float)", "1.0f / (float)"),
    "scale forgotten": ("mean_squared_error", "2.0f * ", ""),
    "uphill": ("sgd", "-learning_rate", "learning_rate"),
    "rounded towards zero": ("quantise", "(limited + 0x1.8p23f) - 0x1.8p23f", "limited"),
    "a row begins too late": ("gram_update", "above * (above - 1u) / 2u", "above * above / 2u"),
    "a sample counts twice": (
        "class_sum_update",
        "(uint32_t)counts[sample[0]] +",
        "1u + (uint32_t)counts[sample[0]] +",
    ),
    "not centred": ("covariance", "const float centre = -mean", "const float centre = 0.5f * -mean"),
    "diagonal unscaled": ("cholesky", "    row[0] = root;\n", ""),
    "halves forgotten": ("analytic_weights", "size_t left = size;", "size_t left = size - 1;"),
    "bias forgotten": ("integer_linear", "float sum = bias[c];", "float sum = 0.0f;"),
    "no bias correction": ("adam", "1.0f / __builtin_sqrtf(bias_correction2)", "1.0f"),
}


@pytest.fixture(scope="module")
def faulty(folder: Path) -> ctypes.CDLL:
    """All faults at once: each is in kernels of its own."""
    sources = render()[1]
    for template, before, after in FAULTS.values():
        for name in (name for name, function in FUNCTIONS.items() if function.kernel.template == template):
            assert before in sources[name]
            sources[name] = sources[name].replace(before, after)
    return ctypes.CDLL(str(compiled(folder, "gcc", [*SHARED, "-O0", "-w"], {"faulty": unity(sources)})))


def test_kernels_without_faults_pass(run: Runner) -> None:
    sweep(run)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_caught(libraries: list[ctypes.CDLL], faulty: ctypes.CDLL, fault: str) -> None:
    good, bad = Runner(libraries[:1]), Runner([faulty])

    def run(name: str, shape: dict[str, int], **given: Any) -> Arrays:
        wrong = FUNCTIONS[name].kernel.template == FAULTS[fault][0]
        return (bad if wrong else good)(name, shape, **given)

    with pytest.raises(AssertionError):
        sweep(run)


def test_fast_dialect(folder: Path) -> None:
    """The same bounds hold where the compiler may fuse and vectorise."""
    options = ["-march=native", *SHARED, "-O3", "-ffp-contract=fast", "-DODL_ISA_HOST_FAST"]
    sweep(Runner([ctypes.CDLL(str(compiled(folder, "gcc", options, {"fast": unity(render()[1])})))]))


def program(calls: Sequence[tuple[Case, Arrays]]) -> str:
    """A C program that repeats the calls on heap blocks of the exact size and compares the results."""
    text = "#include <stdlib.h>\nint main(void) {\n"
    for case, results in calls:
        blocks: dict[int, str] = {}
        given = []
        text += "    {\n"
        for item in case.in_order:
            if isinstance(item, np.ndarray) and id(item) not in blocks:
                blocks[id(item)] = block = f"block_{len(blocks)}"
                content = ", ".join(map(str, item.tobytes()))
                text += f"        static const uint8_t {block}_before[] = {{{content}}};\n"
                text += f"        void *{block} = malloc(sizeof {block}_before);\n"
                text += f"        memcpy({block}, {block}_before, sizeof {block}_before);\n"
            if isinstance(item, np.ndarray):
                given.append(blocks[id(item)])
            else:
                given.append("NULL" if item is None else float_literal(item))
        values = ", ".join(f".{key} = {value}" for key, value in case.shape.items())
        text += f"        const struct {case.function.kernel.shape.name} shape = {{{values}}};\n"
        text += f"        {case.function.name}(&shape, {', '.join(given)}, 0, 1);\n"
        for (operand, array), result in zip(case.written.items(), results, strict=True):
            content = ", ".join(map(str, result.tobytes()))
            text += f"        static const uint8_t after_{operand}[] = {{{content}}};\n"
            text += (
                f"        if (memcmp({blocks[id(array)]}, after_{operand}, sizeof after_{operand}) != 0) {{\n"
            )
            text += "            return 1;\n        }\n"
        text += "".join(f"        free({block});\n" for block in blocks.values()) + "    }\n"
    return f"{text}    return 0;\n}}\n"


def test_sanitizers(folder: Path, libraries: list[ctypes.CDLL]) -> None:
    """No undefined behaviour, nothing read or written outside, and the same bits once more."""
    recorder = Runner(libraries[:1])
    sweep(recorder)
    options = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    file = compiled(folder, "gcc", options, {"sanitized": unity(render()[1]) + program(recorder.calls)})
    done = subprocess.run([str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_kernel_has_cases(libraries: list[ctypes.CDLL]) -> None:
    """Every template has a signature, and every kernel calls in the one list that all runs share."""
    folder = Path(__file__).parents[2] / "kernels"
    assert KERNELS.keys() == {path.name.removesuffix(".c.j2") for path in folder.glob("*.c.j2")}
    recorder = Runner(libraries[:1])
    sweep(recorder)
    called = {case.function.kernel.template for case, _ in recorder.calls}
    assert called == KERNELS.keys()


def test_every_file_stands_alone(folder: Path) -> None:
    """One file of every template compiles by itself, and odl_math.h where nothing of it is used."""
    sources = render()[1]
    chosen = {function.kernel.template: sources[name] for name, function in FUNCTIONS.items()}
    compiler = "clang-22" if shutil.which("clang-22") else "gcc"
    compiled(
        folder,
        compiler,
        ["-fsyntax-only", "-Wno-unused-command-line-argument"],
        {**chosen, "empty": '#include "odl_math.h"\n'},
    )
