"""Tracing: a module and its loss become PyTorch's own joint forward and backward ATen graph.

Every call into PyTorch-private code is here.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn
from torch._functorch.aot_autograd import aot_export_module
from torch.utils._python_dispatch import TorchDispatchMode

from odl.errors import InputError
from odl.graph.ir import Layout, Role, Value

LOSSES = {"cross_entropy": functional.cross_entropy, "mse": functional.mse_loss}
#: The ATen node that holds the gradient of each loss with respect to the model's output.
LOSS_GRADIENTS = {"aten._log_softmax_backward_data.default", "aten.mse_loss_backward.default"}


@dataclass(frozen=True)
class Traced:
    """A traced program: its inputs as values, the nodes that matter in order, and what it gives.

    `gradients` maps a parameter's PyTorch name to the FX node of its gradient.
    """

    placeholders: Mapping[Any, Value]
    needed: tuple[Any, ...]
    output: Any
    gradients: Mapping[str, Any]
    module_paths: Mapping[str, tuple[str, ...]]

    def module_path(self, node: Any) -> str:
        """Where in the user's model the node's operator stands, as far as it can be told."""
        same = [other for other in self.needed if str(other.target) == str(node.target)]
        paths = self.module_paths.get(str(node.target), ())
        index = same.index(node) if node in same else 0
        return paths[index] if index < len(paths) else ""


class _WithLoss(nn.Module):
    """A module that gives its loss first and its output second, as aot_export_module wants it."""

    def __init__(self, module: nn.Module, loss: str) -> None:
        super().__init__()
        self.module = module
        self.loss = LOSSES[loss]

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output = self.module(x)
        return self.loss(output, target), output.detach()


class _AsTuple(nn.Module):
    """A module whose output aot_export_module accepts."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.module(x),)


class _Recorder(TorchDispatchMode):
    """Notes which module each ATen operator of a forward pass is called from."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.paths: dict[str, list[str]] = defaultdict(list)
        self._stack = [""]
        self._hooks = []
        for path, child in module.named_modules():
            self._hooks.append(child.register_forward_pre_hook(self._enter(path)))
            self._hooks.append(child.register_forward_hook(self._leave, always_call=True))

    def _enter(self, path: str) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            self._stack.append(path)

        return hook

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._stack.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.paths[str(func)].append(self._stack[-1])
        return func(*args, **(kwargs or {}))

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()


def run_once(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, Mapping[str, tuple[str, ...]]]:
    """The module's output in evaluation mode and the module path of every operator call; InputError when it fails."""
    probe = copy.deepcopy(module).eval()
    recorder = _Recorder(probe)
    try:
        with torch.no_grad(), recorder:
            output = probe(x)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        shape = tuple(x.shape)
        raise InputError(f"the model does not run on an input of shape {shape}: {first}") from error
    finally:
        recorder.close()
    if not isinstance(output, torch.Tensor):
        raise InputError(f"the model returns a {type(output).__name__}; it must return one tensor")
    return output, {name: tuple(paths) for name, paths in recorder.paths.items()}


def trace_training(module: nn.Module, x: torch.Tensor, loss: str, trainable: Iterable[str]) -> Traced:
    """The joint graph of one training step; only `trainable` parameters get gradients.

    Shapes: x [N, …]. The modes (train or eval) of the module's batch norms are taken as they are.
    Raises InputError when no trainable parameter affects the loss.
    """
    output, paths = run_once(module, x)
    wrapped = _WithLoss(copy.deepcopy(module), loss)
    target = torch.full_like(output, 1.0 / output.shape[-1])
    _select(wrapped, set(trainable), x, target)
    if not any(parameter.requires_grad for parameter in wrapped.parameters()):
        raise InputError("no parameter to train: the selection matches none that affects the loss")
    try:
        program, signature = aot_export_module(wrapped, (x, target), trace_joint=True, output_loss_index=0)
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"PyTorch cannot trace the training step: {first}") from error
    by_name = {node.name: node for node in program.graph.nodes}
    gradients = {
        name.removeprefix("module."): by_name[node]
        for node, name in signature.backward_signature.gradients_to_parameters.items()
    }
    gradients = {name: node for name, node in gradients.items() if name in set(trainable)}
    output_node = by_name[signature.user_outputs[1]]
    return _traced(program, signature, output_node, gradients, paths, training=True)


def trace_inference(module: nn.Module, x: torch.Tensor) -> Traced:
    """The graph of the forward pass in evaluation mode."""
    _, paths = run_once(module, x)
    wrapped = _AsTuple(copy.deepcopy(module).eval())
    with torch.no_grad():
        program, signature = aot_export_module(wrapped, (x,), trace_joint=False)
    by_name = {node.name: node for node in program.graph.nodes}
    return _traced(program, signature, by_name[signature.user_outputs[0]], {}, paths, training=False)


def _select(wrapped: nn.Module, trainable: set[str], x: torch.Tensor, target: torch.Tensor) -> None:
    """Ask gradients of the chosen parameters only, and of none that the loss does not depend on."""
    for name, parameter in wrapped.named_parameters():
        parameter.requires_grad_(name.removeprefix("module.") in trainable)
    chosen = {name: item for name, item in wrapped.named_parameters() if item.requires_grad}
    if not chosen:
        return
    probe = copy.deepcopy(wrapped)
    try:
        loss, _ = probe(x, target)
    except Exception as error:
        raise InputError(f"the training step does not run: {str(error).splitlines()[0]}") from error
    if not loss.requires_grad:
        for parameter in chosen.values():
            parameter.requires_grad_(False)
        return
    loss.backward()
    for name, parameter in probe.named_parameters():
        if name in chosen and parameter.grad is None:
            chosen[name].requires_grad_(False)


def _traced(
    program: Any,
    signature: Any,
    output: Any,
    gradients: Mapping[str, Any],
    paths: Mapping[str, tuple[str, ...]],
    training: bool,
) -> Traced:
    values: dict[Any, Value] = {}
    user_roles = iter([("x", Role.INPUT), ("target", Role.TARGET)])
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        shape = tuple(int(size) for size in node.meta["val"].shape)
        layout = Layout.NHWC if len(shape) == 4 else Layout.FLAT
        if node.name in signature.inputs_to_parameters:
            name = signature.inputs_to_parameters[node.name].removeprefix("module.")
            values[node] = Value(name, shape, Role.PARAMETER, source=name)
        elif node.name in signature.inputs_to_buffers:
            name = signature.inputs_to_buffers[node.name].removeprefix("module.")
            values[node] = Value(name, shape, Role.STATISTIC, source=name)
        else:
            name, role = next(user_roles)
            values[node] = Value(name, shape, role, layout=layout)
    if training:
        batch = next(value.shape[0] for value in values.values() if value.role is Role.INPUT)
        weight = Value("sample_weight", (batch,), Role.SAMPLE_WEIGHT)
        values["sample_weight"] = weight
    needed = _needed(program, [output, *gradients.values()], output)
    return Traced(values, needed, output, gradients, paths)


def _needed(program: Any, roots: list[Any], output: Any) -> tuple[Any, ...]:
    """The nodes that the roots depend on, in order; the loss's own arithmetic is left out.

    The loss and its gradient become one operator, which depends on the model's output alone.
    """
    wanted: set[Any] = set()
    pending = list(roots)
    while pending:
        node = pending.pop()
        if node in wanted or node.op == "placeholder":
            continue
        wanted.add(node)
        if str(node.target) in LOSS_GRADIENTS:
            node.meta["model_output"] = output
            pending.append(output)
        else:
            pending.extend(node.all_input_nodes)
    position = {node: index for index, node in enumerate(program.graph.nodes)}
    order = sorted(wanted, key=lambda node: position[node])
    return tuple(order)
