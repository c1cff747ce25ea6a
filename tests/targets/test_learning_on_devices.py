"""What a device learned and forgot has the bits, and the digest, that the host computes from its log."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import odl
from odl.codegen.project import write_project
from odl.learn.certify import certify
from odl.run.device import DeviceNet
from odl.run.library import build_program
from tests.networks import CLASSES, INPUT, samples, tiny

LOG = odl.Log(samples=6, states=2)
TARGETS = [
    {"target": "cv32e40p", "cores": 8},
    {"target": "cv32e40p", "cores": 1, "l1": 3072},
    {"target": "qemu", "isa": "zfh"},
]
X, Y = samples(6)


def compiled(learn: tuple[Any, ...], **options: Any) -> odl.Build:
    return odl.compile(
        tiny(),
        torch.zeros(1, *INPUT),
        learn=learn,
        accumulate=len(learn) > 1,
        optimizer=odl.SGD(lr=0.01, momentum=0.9),
        **options,
    )


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize(
    "learn", [(LOG,), (LOG, odl.Replay(samples=2, mix=1))], ids=["log", "log and replay"]
)
def test_a_device_learns_is_cut_off_resumes_and_forgets_as_the_host_does(
    target: dict[str, Any], learn: tuple[Any, ...]
) -> None:
    build = compiled(learn, **target)
    device, host, never = build.load(), build.load("exact"), build.load("exact")
    assert isinstance(device, DeviceNet)
    for index in range(4):
        assert device.learn(X[index], Y[index], id=index) == host.learn(X[index], Y[index], id=index)
    saved = device.save()
    assert saved == host.save()
    device = build.load()
    device.load(saved)
    for index in (4, 5):
        device.learn(X[index], Y[index], id=index)
    for index in (0, 2, 3, 5):
        never.learn(X[index], Y[index], id=index)
    device.forget([1, 4])
    assert device.digest() == never.digest()
    assert device.save() == never.save()
    assert isinstance(device, DeviceNet) and not any(canary.missed for canary in device.canaries())


PROGRAM = Path(__file__).parent / "programs" / "learner.c"


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_firmware_proves_what_it_forgot(target: dict[str, Any], tmp_path: Path) -> None:
    """The digest on the device is that of the example on the host, and that of odl learn certify from a log."""
    build = compiled((odl.Log(samples=8, states=4),), prefix="net", **target)
    project = tmp_path / "net"
    write_project(build.compiled.network, project)
    subprocess.run(["make", "-s", "CFLAGS=-O0", "examples/learner"], cwd=project, check=True)
    printed = subprocess.run(["./examples/learner"], cwd=project, check=True, capture_output=True, text=True)
    *_, cost, digest = printed.stdout.splitlines()
    assert cost == "forgetting takes 3 steps"

    host = build.load("exact")
    generator = np.arange(8, dtype=np.uint64) + 1
    count = int(np.prod(INPUT))
    floats = np.zeros((8, count), np.float32)
    for place in range(count):
        generator = (generator * 1664525 + 1013904223) % 2**32
        floats[:, place] = (generator >> 8).astype(np.float32) / np.float32(8388608) - np.float32(1)
    height_last = floats.reshape(8, *INPUT[1:], INPUT[0]).transpose(0, 3, 1, 2)
    for index in range(8):
        host.learn(height_last[index], index % CLASSES, id=index)
    assert certify(project, host.save(), [5, 2, 3]).without.hex() == digest

    (project / "device.c").write_text(PROGRAM.read_text())
    program = build_program(project, publish=False)
    options = build.compiled.network.options
    session = options.description.session(options.core_count, None)
    result = session.run(program, {}, ["net_request"], [])
    saved, loaded, forgotten, steps, *found = struct.unpack("<4I32B", result.dumps["net_request"])
    assert (saved, loaded, forgotten, steps) == (0, 0, 0, 3)
    assert bytes(found).hex() == digest


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_dampening_has_the_hosts_bits(target: dict[str, Any]) -> None:
    build = compiled((odl.Importance(), odl.Dampening()), **target)
    device, host = build.load(), build.load("exact")
    for net in (device, host):
        for index in range(4):
            if index == 2:
                net.keep_importance()
            net.call("importance", X[index : index + 1], Y[index : index + 1])
    assert device.dampen(80.0, 0.5) == host.dampen(80.0, 0.5) > 0
    assert device.save() == host.save() and device.digest() == host.digest()


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_running_means_have_the_hosts_bits(target: dict[str, Any]) -> None:
    build = compiled((odl.Watch(horizon=2),), **target)
    device, host = build.load(), build.load("exact")
    for net in (device, host):
        for index in range(3):
            net.train_step(X[index], Y[index])
        net.infer(X[:3])
    assert device.running_loss == host.running_loss > 0
    assert device.running_entropy == host.running_entropy > 0
