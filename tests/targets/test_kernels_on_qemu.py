"""Every kernel on the emulated machine, bit by bit against the exact build of the host with as many lanes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from odl.errors import MissingToolError
from odl.targets.common.toolchain import find_toolchain
from odl.targets.qemu.emulation import find_qemu
from odl.targets.qemu.machine import Machine
from odl.targets.qemu.target import TARGET
from tests.kernels.cases import FUNCTIONS, NUMBERS, Case, Shape
from tests.kernels.conv_checks import Operands
from tests.kernels.kernel_checks import sweep
from tests.kernels.kernel_library import EXACT, WIDE, Arrays, Runner, differing, library
from tests.targets.kernels_on_device import on_qemu

OPTIONS = {2: EXACT, 8: WIDE}
SHAPES = [
    Shape(1, 3, 20, 33, 3, 20, 9, 2, 3, 1, 1, 0, 1),
    Shape(1, 90, 1, 16, 90, 1, 12, 1, 1, 1, 1, 0, 0),
    Shape(1, 9, 9, 3, 3, 3, 5, 10, 4, 2, 2, 4, 1),
]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[tuple[Case, Arrays]]]:
    """Calls with the host's results, by lanes of fp16."""

    @cache
    def of(lanes: int) -> list[tuple[Case, Arrays]]:
        built = library(tmp_path_factory.mktemp("host"), FUNCTIONS.values(), OPTIONS[lanes])
        host = Runner([ctypes.CDLL(str(built))], [[0]])
        sweep(host)
        for variant, depthwise in product(NUMBERS, (False, True)):
            for seed, shape in enumerate(SHAPES, start=1):  # the last has infinities and NaNs
                for case in Operands(FUNCTIONS, variant, shape, seed).cases(depthwise):
                    host.call(case)
        return host.calls

    return of


@pytest.mark.parametrize("machine", [Machine("zvfh", 2, vlen=256), Machine("zfh"), Machine("zfh_zbb", 2)])
def test_kernels(calls: Callable[[int], list[tuple[Case, Arrays]]], machine: Machine, tmp_path: Path) -> None:
    try:
        find_qemu()
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))
    made = calls(TARGET.with_isa(machine.isa).instruction_set.lanes_f16)
    cases, expected = zip(*made, strict=True)
    wrong = differing(cases, expected, on_qemu(tmp_path, cases, machine))
    assert not wrong, "\n".join(wrong[:10])
