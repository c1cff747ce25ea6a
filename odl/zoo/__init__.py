"""The model zoo: the four networks of MLPerf Tiny, with batch norm, as plain PyTorch modules.

Names, shapes and losses are in `MODELS`; `get(name).factory()` builds one. Builds are reproducible: the
weights come from a seed of their own (He initialisation), whatever the global generator holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

from torch import nn

from odl.errors import InputError
from odl.zoo.autoencoder import Autoencoder
from odl.zoo.dscnn import DSCNN
from odl.zoo.layers import SameConv2d, build_reproducibly, same_padding
from odl.zoo.macs import Macs, count_macs
from odl.zoo.mobilenetv1 import MobileNetV1
from odl.zoo.resnet8 import ResNet8

__all__ = [
    "DSCNN",
    "MODELS",
    "Autoencoder",
    "Macs",
    "MobileNetV1",
    "ResNet8",
    "SameConv2d",
    "ZooModel",
    "count_macs",
    "get",
    "same_padding",
]


@dataclass(frozen=True)
class ZooModel:
    """One network of the zoo.

    `input_shape` is PyTorch's without the batch axis: (C, H, W), or (features,) for a dense network.
    `classes` is None where the network is not a classifier.
    """

    name: str
    title: str
    factory: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    loss: Literal["cross_entropy", "mse"]
    classes: int | None
    source: str


_RESNET8 = ZooModel(
    name="resnet8",
    title="ResNet8, image classification",
    factory=partial(build_reproducibly, ResNet8),
    input_shape=(3, 32, 32),
    loss="cross_entropy",
    classes=10,
    source="MLPerf Tiny, image classification",
)
_DSCNN = ZooModel(
    name="dscnn",
    title="DS-CNN, keyword spotting",
    factory=partial(build_reproducibly, DSCNN),
    input_shape=(1, 49, 10),
    loss="cross_entropy",
    classes=12,
    source="MLPerf Tiny, keyword spotting",
)
_AUTOENCODER = ZooModel(
    name="autoencoder",
    title="Deep autoencoder, anomaly detection",
    factory=partial(build_reproducibly, Autoencoder),
    input_shape=(640,),
    loss="mse",
    classes=None,
    source="MLPerf Tiny, anomaly detection",
)
_MOBILENETV1 = ZooModel(
    name="mobilenetv1",
    title="MobileNetV1 0.25, visual wake words",
    factory=partial(build_reproducibly, MobileNetV1),
    input_shape=(3, 96, 96),
    loss="cross_entropy",
    classes=2,
    source="MLPerf Tiny, visual wake words",
)

MODELS: Mapping[str, ZooModel] = MappingProxyType(
    {model.name: model for model in (_RESNET8, _DSCNN, _AUTOENCODER, _MOBILENETV1)}
)


def get(name: str) -> ZooModel:
    """The zoo model called `name`; InputError with the names there are for any other."""
    try:
        return MODELS[name]
    except KeyError:
        raise InputError(f"no model named '{name}' in the zoo; there are: {', '.join(MODELS)}") from None
