"""A network of a scenario, what trains copies of it, and a cache of what was pretrained."""

from __future__ import annotations

import copy
import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import nn

import odl
from odl.cache_folder import cache_folder, replacing
from odl.data import Dataset
from odl.errors import InputError
from odl.learn.loops import Progress, Recipe, pretrain
from odl.learn.trainer import Floats, Trainer, load, weights_of
from odl.learn.trainers import NetTrainer, TorchTrainer
from odl.targets import TARGETS
from odl.zoo import count_macs, get
from odl.zoo.layers import he_initialise

#: Part of the cache's key: raise it when the same parameters come to give other weights.
_FORMAT = 1
PYTORCH = "pytorch"
#: Where a trainer can run: two builds of this machine, PyTorch, or the simulator of a target.
ENGINES = ("fast", "exact", PYTORCH, *(name for name, target in TARGETS.items() if not target.is_host))


@dataclass(frozen=True)
class Network:
    """How a classifier is made: `factory` returns a module with batch norm, a linear layer last.

    `input_shape` has no batch axis.
    """

    name: str
    factory: Callable[[], nn.Module]
    input_shape: tuple[int, ...]

    @classmethod
    def of_zoo(cls, name: str) -> Network:
        """A network of the zoo."""
        model = get(name)
        return cls(name, model.factory, model.input_shape)

    def example(self) -> torch.Tensor:
        """An input of batch 1."""
        return torch.zeros(1, *self.input_shape)

    def fresh(self, classes: int, seed: int) -> nn.Module:
        """A new network with He-normal weights of a seed, and a last layer of `classes` outputs."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = with_classes(self.factory(), classes)
            he_initialise(module)
        return module

    def trained(
        self, data: Dataset, recipe: Recipe, seed: int, progress: Progress | None = None
    ) -> nn.Module:
        """Pretrained on `data` and folded; taken from odl's cache folder if the same was trained before."""
        digest = hashlib.sha256(data.x.tobytes() + data.y.tobytes()).hexdigest()
        key = [_FORMAT, self.name, len(data.classes), digest, asdict(recipe), seed, torch.__version__]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]
        path = cache_folder() / f"pretrained-{self.name}-{name}.npz"
        module = self.folded(len(data.classes))
        try:
            with np.load(path, allow_pickle=False) as stored:
                load(module, dict(stored))
            return module
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, InputError):
            pass  # absent or damaged: it can be made again
        trained = self.fresh(len(data.classes), seed)
        pretrain(trained, data, recipe, seed, progress)
        folded = odl.compile(trained, self.example(), bn="fold").module.eval()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as unfinished:
                np.savez(unfinished, **weights_of(folded))  # type: ignore[arg-type]
        except OSError:
            pass  # a cache that cannot be written only costs time
        return folded

    def folded(self, classes: int) -> nn.Module:
        """The folded structure, with weights of no meaning."""
        return copy.deepcopy(_folded(self, classes))


@cache
def _folded(network: Network, classes: int) -> nn.Module:
    return odl.compile(network.fresh(classes, 0), network.example(), bn="fold").module.eval()


class Engine:
    """Makes trainers of one network on one engine; the network is compiled once, and each trainer has its own memory."""

    def __init__(self, name: str, module: nn.Module, network: Network, dtype: str = "mixed") -> None:
        """`module` is folded; `name` is one of ENGINES."""
        if name not in ENGINES:
            raise InputError(f"there is no engine '{name}'; there are {', '.join(ENGINES)}")
        self.name, self._module, self._network, self._dtype = name, module, network, dtype

    @cached_property
    def _build(self) -> odl.Build:
        return odl.compile(
            self._module,
            self._network.example(),
            dtype=self._dtype,
            accumulate=True,
            learn=(odl.Importance(),),
            name=self._network.name,
            **({} if self.name in ("fast", "exact") else {"target": self.name}),
        )

    def trainer(self, weights: dict[str, Floats]) -> Trainer:
        """A new trainer with these weights."""
        made: Trainer
        if self.name == PYTORCH:
            made = TorchTrainer(self._module)
        else:
            build = self.name if self.name in ("fast", "exact") else "device"
            made = NetTrainer(self._build.load(build), copy.deepcopy(self._build.module))
        made.set_weights(weights)
        return made


@dataclass(frozen=True)
class Size:
    """What a network costs: trained parameters, and multiply-accumulates of one sample inferred and trained."""

    parameters: int
    forward_macs: int
    step_macs: int

    @classmethod
    def of(cls, module: nn.Module, network: Network) -> Size:
        """Counted on the folded module."""
        macs = count_macs(module, network.input_shape)
        return cls(sum(item.numel() for item in module.parameters()), macs.forward, macs.step)


def with_classes(module: nn.Module, classes: int) -> nn.Module:
    """The module with a last linear layer of `classes` outputs, new where it had another number of them."""
    path, layer = _last(module)
    if layer.out_features != classes:
        parent, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent), name, nn.Linear(layer.in_features, classes))
    return module


def grown(module: nn.Module, classes: int) -> nn.Module:
    """A copy whose last layer has outputs for new classes behind the old ones: weights 0, bias −log((1 − π) / π).

    π = 1 / classes is the new class's prior (the bias of Lin et al. 2017, arXiv:1708.02002, section 3.3).
    """
    module = copy.deepcopy(module)
    path, old = _last(module)
    new = nn.Linear(old.in_features, classes)
    with torch.no_grad():
        new.weight.zero_()
        new.bias.fill_(-float(np.log(classes - 1)))
        new.weight[: old.out_features], new.bias[: old.out_features] = old.weight, old.bias
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, new)
    return module


def last_layer(module: nn.Module) -> str:
    """Path of the last linear layer."""
    return _last(module)[0]


def _last(module: nn.Module) -> tuple[str, nn.Linear]:
    found = [(path, layer) for path, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    if not found:
        raise InputError("the network has no linear layer, whose outputs would be the classes")
    return found[-1]
