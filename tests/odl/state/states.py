"""States of small networks, for several tests."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

import odl
from odl.project.state_format import HEADER_BYTES, WORD, Header, crc32, pack
from tests.networks import INPUT, samples, tiny

MOMENTUM = odl.SGD(lr=0.01, momentum=0.9)


def trained(net: odl.Net, steps: int = 3, seed: int = 0) -> odl.Net:
    """The net after some steps, with gradients that wait where it accumulates."""
    for step in range(steps):
        x, y = samples(net.batch, seed * 1000 + step)
        net.train_step(x, y)
    if net.project.options.accumulate:
        net.accumulate(*samples(net.batch, seed * 1000 + steps))
    if net.project.options.learn:
        net.call("importance", *samples(net.batch, seed))
    return net


def everything(net: odl.Net) -> dict[str, bytes]:
    """All that a state restores, as bytes: tensors and counters."""
    tensors = {name: net.tensor(name).tobytes() for name in net.tensors()}
    return tensors | {"scale": struct.pack("<f", net.loss_scale), "skipped": pack(net.skipped_steps)}


def compiled(
    model: Callable[[], nn.Module] = tiny, name: str = "tiny", batch: int = 1, **options: Any
) -> odl.Net:
    """A net on this machine, whatever its target."""
    chosen = {"optimizer": MOMENTUM, "dtype": "fp32", "bn": "frozen", "prefix": "net", **options}
    return odl.compile(model(), torch.zeros(batch, *INPUT), name=name, **chosen).load("exact")


def sealed(data: bytes, header: Mapping[Header, int]) -> bytes:
    """A state with other words in its header, and right checksums."""
    words = list(struct.unpack_from(f"<{len(Header)}I", data))
    for item, number in header.items():
        words[list(Header).index(item)] = number
    words[-1] = crc32(pack(*words[:-1]))
    text = pack(*words) + data[HEADER_BYTES : -2 * WORD]
    return text + pack(crc32(text)) + data[-WORD:]
