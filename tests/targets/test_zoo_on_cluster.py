"""The zoo's two networks on the RTL: two training steps with the host's bits, and within the float64 bounds.

The longest tests there are, and the ones that matter most: everything from tracing to the last instruction is in them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import odl
from odl.models import resolve
from odl.project.programs import STEP
from odl.run.device import DeviceNet
from tests.sampling import every_pair

pytestmark = pytest.mark.usefixtures("simulator_tools")

DTYPES = ("fp16", "mixed")


def compiled(model: str, dtype: str, **options: Any) -> odl.Build:
    made = resolve(model)
    return odl.compile(
        made.module, made.example(1), loss=made.loss, dtype=dtype, target="cv32e40p", name=model, **options
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", ["dscnn", "resnet8"])
def test_every_tensor_has_the_hosts_bits_and_keeps_its_bound(model: str, dtype: str) -> None:
    report = compiled(model, dtype).verify(steps=2)
    assert report.ok, [row for row in report.rows if not row.ok]
    compared = [row for row in report.rows if row.bit_exact is not None]
    assert all(row.bit_exact for row in compared)
    assert {"loss", "gradient", "weight", "inference"} <= {row.kind for row in compared}


@every_pair(model=("dscnn", "resnet8"), dtype=DTYPES, cores=(1, 2, 4))
def test_the_number_of_cores_changes_no_bit(model: str, dtype: str, cores: int) -> None:
    """Loss, every gradient and all state after each of two steps, or after the one of the larger network."""
    build = compiled(model, dtype, cores=cores)
    device, host = build.load(), build.load("exact")
    assert isinstance(device, DeviceNet) and not isinstance(host, DeviceNet)
    random = np.random.default_rng(3)
    for _ in range(2 if model == "dscnn" else 1):
        x = random.standard_normal(host.input.shape).astype(np.float32)
        y = random.integers(host.output.shape[1], size=1)
        seen: list[dict[tuple[int, int, str], bytes]] = []
        losses = []
        for net in (device, host):
            results: dict[tuple[int, int, str], bytes] = {}

            def keep(program: int, node: int, net: Any = net, results: Any = results) -> None:
                for entry in net.project.programs[program].nodes[node].writes:
                    results[program, node, entry.value.name] = net.result(entry).tobytes()

            with net.observed(keep):
                losses.append(net.train_step(x, y))
            seen.append(results)
        assert losses[0] == losses[1]
        assert seen[0].keys() == seen[1].keys()
        assert [key for key in seen[0] if seen[0][key] != seen[1][key]] == []
        assert device.save() == host.save()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", ["dscnn", "resnet8"])
def test_no_tiling_changes_a_bit(model: str, dtype: str) -> None:
    """Small memories beside the cores make tiles of every kind; each sum keeps its order, so that all bits stay."""
    made = resolve(model)
    random = np.random.default_rng(4)
    x, y = random.standard_normal(made.example(1).shape), int(random.integers(10))
    states: list[bytes] = []
    losses: list[float] = []
    tasks: list[int] = []
    for l1 in (None, 32 * 1024, 16 * 1024, 8 * 1024):
        build = compiled(model, dtype, l1=l1)
        net = build.load("exact")
        losses.append(net.train_step(x, y))
        states.append(net.save())
        staging = build.compiled.network.schedule.programs[STEP].staging
        assert staging is not None
        tasks.append(len(staging.tasks))
    assert losses == losses[:1] * 4 and states == states[:1] * 4
    assert tasks == sorted(tasks) and tasks[0] < tasks[-1]


def test_small_tiles_have_the_hosts_bits_on_the_device() -> None:
    report = compiled("dscnn", "fp16", l1=8 * 1024).verify(steps=1)
    assert report.ok and all(row.bit_exact for row in report.rows if row.bit_exact is not None)
