"""Which module of the user's model an FX node computes for, or which module's gradient."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

#: Operators that pass a tensor on.
ALIASES = ("aten.detach.default", "aten.alias.default")
#: Key in an FX node's `meta` of its `Module`.
_MODULE = "odl_module"


@dataclass(frozen=True)
class Module:
    """The module that an operator was called from, or that a backward operator computes a gradient of."""

    path: str
    kind: str
    backward: bool


def module_of(node: Any) -> Module | None:
    """What is noted at an FX node."""
    source = node.args[0] if node.target is operator.getitem else node
    found: Module | None = source.meta.get(_MODULE)
    return found


class ModulePaths:
    """While a module is traced, notes at each FX node the submodule that called it, or whose gradient it computes."""

    def __init__(self, module: nn.Module) -> None:
        self._hooks: list[Any] = []
        self._entered: list[int | None] = []
        self._functions: dict[Any, int] = {}  # autograd's, each with the number of nodes before it ran
        self._graph: Any = None  # the one that was traced last
        for path, child in module.named_modules():
            self._hooks.append(child.register_forward_pre_hook(self._enter))
            self._hooks.append(child.register_forward_hook(self._leave(path), always_call=True))

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        self._entered.append(_traced_nodes())

    def _leave(self, path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            mode, first = get_proxy_mode(), self._entered.pop()
            if mode is None or first is None:
                return
            self._graph = mode.tracer.graph
            kind = type(module).__name__
            _note(first, Module(path, kind, backward=False))  # the innermost leaves first
            self._follow(getattr(output, "grad_fn", None), Module(path, kind, backward=True))

        return hook

    def _follow(self, function: Any, module: Module) -> None:
        """Have what autograd computes for the module noted: functions back from its output, up to those noted before."""
        pending = [function]
        while pending:
            function = pending.pop()
            if function is None or function in self._functions:
                continue
            self._functions[function] = 0
            self._hooks.append(function.register_prehook(self._begin(function)))
            self._hooks.append(function.register_hook(self._end(function, module)))
            pending += [item for item, _ in function.next_functions]

    def _begin(self, function: Any) -> Any:
        def hook(gradients: Any) -> None:
            self._functions[function] = _traced_nodes() or 0

        return hook

    def _end(self, function: Any, module: Module) -> Any:
        def hook(made: Any, gradients: Any) -> None:
            _note(self._functions[function], module)

        return hook

    def carry_to(self, graph: Any) -> None:
        """Note the same in the graph that PyTorch gave, where it traced the one with notes again.

        Aliases come and go then; where anything else did, nothing is noted.
        """
        noted, given = ([node for node in item.nodes if _computes(node)] for item in (self._graph, graph))
        if [node.target for node in noted] == [node.target for node in given]:
            for before, node in zip(noted, given, strict=True):
                if _MODULE in before.meta:
                    node.meta[_MODULE] = before.meta[_MODULE]

    def __enter__(self) -> ModulePaths:
        return self

    def __exit__(self, *unused: object) -> None:
        for hook in self._hooks:
            hook.remove()


def _computes(node: Any) -> bool:
    return str(node.target).startswith("aten.") and str(node.target) not in ALIASES


def _traced_nodes() -> int | None:
    """How many nodes the graph has that is being traced; None where none is."""
    mode = get_proxy_mode()
    return None if mode is None else len(mode.tracer.graph.nodes)


def _note(first: int, module: Module) -> None:
    """Note the module at the traced nodes from that one on, unless another is noted there."""
    mode = get_proxy_mode()
    if mode is not None:
        for node in list(mode.tracer.graph.nodes)[first:]:
            node.meta.setdefault(_MODULE, module)
