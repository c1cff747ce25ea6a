"""Compiled objects are shared by the tests here, and a model that is compiled many times is traced once."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import odl.compiler


@pytest.fixture(scope="module", autouse=True)
def object_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Object files, cached by their content, lie where all test processes of this session find them."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        yield


@pytest.fixture(scope="module")
def traced_once() -> Iterator[None]:
    """Tracing depends on neither dtype nor optimizer nor accumulation and takes most of a compilation's time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("trace_training", "trace_inference"):
            patch.setattr(odl.compiler, name, _remembered(getattr(odl.compiler, name)))
        yield


def _remembered(trace: Callable[..., Any]) -> Callable[..., Any]:
    results: dict[tuple[object, ...], Any] = {}

    def traced(module: nn.Module, x: torch.Tensor, *selection: Any) -> Any:
        modes = tuple(child.training for child in module.modules())
        key = (type(module), repr(module), modes, tuple(x.shape), repr(selection))
        if key not in results:
            results[key] = trace(module, x, *selection)
        return results[key]

    return traced
