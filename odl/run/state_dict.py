"""A net's state as a PyTorch module's: parameters and statistics, counters, and what the module never uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch

from odl.errors import InputError
from odl.graph.ir import Value
from odl.graph.operator import Array
from odl.run.arrays import storable, to_array


class Tensors(Protocol):
    """A net's persistent tensors by name, in PyTorch's axis order."""

    def tensors(self) -> Mapping[str, Value]:
        """What they are."""

    def tensor(self, name: str) -> Array:
        """One of them as it lies in memory now."""

    def set_tensor(self, name: str, array: Array) -> None:
        """Overwrite one of them."""


class ModuleState:
    """What a module's state_dict holds besides what lies in the net's memory; reads and writes both together.

    `counters`: batch norms' counts of batches when the network was compiled; `counts`: what norms have counted since.
    `unused`: the module's tensors that its forward pass never reads.
    """

    def __init__(
        self, counters: Mapping[str, int], unused: Mapping[str, torch.Tensor], counts: Callable[[], int]
    ) -> None:
        self._counters = dict(counters)
        self._unused = {name: tensor.detach().cpu().clone() for name, tensor in unused.items()}
        self._counts = counts

    def read(self, net: Tensors) -> dict[str, torch.Tensor]:
        """The state_dict, float32 but for the counters."""
        own = _own(net)
        result = {name: torch.from_numpy(net.tensor(name).astype(np.float32)) for name in own}
        for name, start in self._counters.items():
            result[name] = torch.tensor(start + self._counted(name, own))
        return {**result, **{name: tensor.clone() for name, tensor in self._unused.items()}}

    def write(self, net: Tensors, state: Mapping[str, torch.Tensor]) -> None:
        """Take a state_dict over, or raise InputError and change nothing."""
        own = _own(net)
        unread = self._counters.keys() | self._unused.keys()
        given = {name: item for name, item in state.items() if name not in unread}
        if set(given) != set(own):
            raise InputError(f"the state_dict does not fit: {_differences(set(own), set(given))}")
        arrays = {
            name: storable(own[name], to_array(item, name), net.tensors()) for name, item in given.items()
        }
        unused = {
            name: _like(self._unused[name], state[name], name) for name in self._unused.keys() & state.keys()
        }
        for name, array in arrays.items():
            net.set_tensor(name, array)
        self._unused |= unused
        for name in self._counters.keys() & state.keys():
            self._counters[name] = int(state[name]) - self._counted(name, own)

    def _counted(self, counter: str, own: Mapping[str, Value]) -> int:
        """What a counter has counted since the network was loaded: nothing where its norm became part of a layer."""
        statistic = f"{counter.removesuffix('num_batches_tracked')}running_mean"
        return self._counts() if statistic in own else 0


def _own(net: Tensors) -> dict[str, Value]:
    """The tensors of a state_dict that lie in the net's memory."""
    return {name: value for name, value in net.tensors().items() if value.role.of_model}


def _like(own: torch.Tensor, given: object, name: str) -> torch.Tensor:
    """A copy of a tensor that has the shape and gets the type of the module's own."""
    tensor = torch.as_tensor(given)
    if tensor.shape != own.shape:
        raise InputError(f"'{name}' has shape {tuple(tensor.shape)}, expected {tuple(own.shape)}")
    return tensor.detach().to("cpu", own.dtype, copy=True)


def _differences(own: set[str], given: set[str]) -> str:
    parts = []
    for title, names in (("missing", own - given), ("unexpected", given - own)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            parts.append(f"{title} {', '.join(sorted(names)[:3])}{more}")
    return "; ".join(parts)
