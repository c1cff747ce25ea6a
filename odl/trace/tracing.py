"""Tracing: a module and its loss become PyTorch's own joint forward and backward ATen graph.

Every call into PyTorch-private code is here and in `modules`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn
from torch._functorch.aot_autograd import aot_export_module
from torch._subclasses.fake_tensor import DataDependentOutputException

from odl.errors import InputError, option
from odl.graph import Layout, Role, Value
from odl.operators.lowering import expression
from odl.trace.modules import ALIASES, ModulePaths, module_of

LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": functional.cross_entropy,
    "mse": functional.mse_loss,
}
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

    def where(self, node: Any) -> str:
        """Where in the user's model the node's operator stands: a layer, or one whose gradient needs it."""
        pending, seen = [node], {node}
        while pending:
            found = pending.pop(0)
            module = module_of(found)
            if module is not None and not module.backward:
                place = f"'{module.path}' ({module.kind})" if module.path else "the model's own forward"
                return f"in {place}" if found is node else f"in the gradient of {place}"
            pending += [item for item in found.all_input_nodes if item not in seen]
            seen.update(pending)
        return ""

    def layer(self, node: Any) -> str:
        """Path of the module that the node's operator, or the one whose gradient it is, was called from."""
        module = module_of(node)
        return "" if module is None else module.path


def _export(module: nn.Module, inputs: tuple[torch.Tensor, ...], **options: Any) -> tuple[Any, Any]:
    """PyTorch's ahead-of-time export: the FX module and its signature."""
    program, signature = aot_export_module(module, inputs, **options)
    return program, signature


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


def run_once(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The module's output in evaluation mode; InputError when it fails or is not one tensor [N, …] of floats."""
    shape = tuple(x.shape)
    try:
        with torch.no_grad():
            output = copy.deepcopy(module).eval()(x)
    except Exception as error:
        raise InputError(
            f"the model does not run on an input of shape {shape}: {_first_line(error)}"
        ) from error
    if not isinstance(output, torch.Tensor):
        raise InputError(f"the model returns a {type(output).__name__}; it must return one tensor")
    if not output.is_floating_point():
        raise InputError(f"the model returns {output.dtype}; it must return floating-point scores or values")
    if output.dim() < 2 or output.shape[0] != x.shape[0]:
        raise InputError(
            f"the model returns shape {tuple(output.shape)} for an input of shape {shape}; "
            "it must return one row per sample, with the loss left to odl"
        )
    return output


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def trace_training(module: nn.Module, x: torch.Tensor, loss: str, trainable: Iterable[str]) -> Traced:
    """The joint graph of one training step; only `trainable` parameters get gradients.

    Shapes: x [N, …]. The modes (train or eval) of the module's batch norms are taken as they are.
    Raises InputError when no trainable parameter affects the loss or the loss does not fit the output.
    """
    output = run_once(module, x)
    if loss == "cross_entropy" and output.dim() != 2:
        raise InputError(
            f"cross_entropy takes scores [batch, classes] and the model returns shape {tuple(output.shape)}; "
            f"flatten the output or use {option('loss', 'mse')}"
        )
    if loss == "cross_entropy" and output.shape[1] == 1:
        raise InputError(
            "cross_entropy over one class is zero whatever the model computes, and trains nothing; give the model one "
            f"output per class, two for a yes or no, or use {option('loss', 'mse')}"
        )
    wrapped = _WithLoss(copy.deepcopy(module), loss)
    target = torch.full_like(output, 1.0 / output.shape[-1])
    _select(wrapped, set(trainable), x, target)
    if not any(parameter.requires_grad for parameter in wrapped.parameters()):
        raise InputError("no parameter to train: the selection matches none that affects the loss")
    try:
        with ModulePaths(wrapped.module) as paths:
            program, signature = _export(wrapped, (x, target), trace_joint=True, output_loss_index=0)
        paths.carry_to(program.graph)
    except Exception as error:
        raise InputError(f"PyTorch cannot trace the training step: {_first_line(error)}") from error
    by_name = {node.name: node for node in program.graph.nodes}
    gradients = {
        name.removeprefix("module."): by_name[node]
        for node, name in signature.backward_signature.gradients_to_parameters.items()
    }
    gradients = {name: node for name, node in gradients.items() if name in set(trainable)}
    output_node = _unaliased(by_name[signature.user_outputs[1]])
    return _traced(program, signature, output_node, gradients, training=True)


def _unaliased(node: Any) -> Any:
    """The node whose result another one passes on: the loss may read it before the alias exists."""
    while str(node.target) in ALIASES:
        node = node.args[0]
    return node


def trace_inference(module: nn.Module, x: torch.Tensor) -> Traced:
    """The graph of the forward pass in evaluation mode; its nodes know where in the model they stand."""
    run_once(module, x)
    wrapped = _AsTuple(copy.deepcopy(module).eval())
    try:
        with ModulePaths(wrapped.module), torch.no_grad():
            program, signature = _export(wrapped, (x,), trace_joint=False)
    except DataDependentOutputException as error:
        raise InputError("the model's control flow depends on its data, which cannot be compiled") from error
    except Exception as error:
        raise InputError(f"PyTorch cannot trace the model: {_first_line(error)}") from error
    by_name = {node.name: node for node in program.graph.nodes}
    return _traced(program, signature, by_name[signature.user_outputs[0]], {}, training=False)


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
        remedy = ""
        if any(
            isinstance(item, nn.modules.batchnorm._BatchNorm) and item.training for item in probe.modules()
        ):
            remedy = (
                "; batch norm that trains needs several values per channel: "
                f"{option('bn', 'fold', 'frozen')}, or a batch of at least 2"
            )
        raise InputError(f"the training step does not run: {_first_line(error)}{remedy}") from error
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
    training: bool,
) -> Traced:
    values: dict[Any, Value] = {}
    _check_mutated(program, signature)
    taken = {
        name.removeprefix("module.")
        for name in (*signature.inputs_to_parameters.values(), *signature.inputs_to_buffers.values())
    }
    own = iter([(_free("x", taken), Role.INPUT), (_free("target", taken), Role.TARGET)])
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
            name, role = next(own)
            values[node] = Value(name, shape, role, layout=layout)
    if training:
        batch = next(value.shape[0] for value in values.values() if value.role is Role.INPUT)
        weight = Value(_free("sample_weight", taken), (batch,), Role.SAMPLE_WEIGHT)
        values[weight.name] = weight
    needed = _needed(program, [output, *gradients.values()], output)
    return Traced(values, needed, output, gradients)


def _free(name: str, taken: Collection[str]) -> str:
    """The name, with underscores where one of the model's tensors has it."""
    while name in taken:
        name += "_"
    return name


def _check_mutated(program: Any, signature: Any) -> None:
    """InputError where the forward pass changes a buffer that no kernel would change."""
    by_name = {node.name: node for node in program.graph.nodes}
    for result, buffer in signature.buffers_to_mutate.items():
        node = by_name[result]
        source = node.args[0] if str(node.target) == "<built-in function getitem>" else node
        if "batch_norm" in str(source.target) or buffer.rpartition(".")[2] == "num_batches_tracked":
            continue
        raise InputError(
            f"the model's forward pass changes its buffer '{buffer.removeprefix('module.')}', and the compiled network "
            "would not: batch norm's statistics are the only ones kept up to date; change the buffer outside forward"
        )


def _needed(program: Any, roots: list[Any], output: Any) -> tuple[Any, ...]:
    """The nodes that the roots depend on, in order, without those inside an expression that one operator computes.

    The loss and its gradient are such an expression, which depends on the model's output alone.
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
        elif (found := expression(node)) is not None:
            pending.extend(found.reads.values())
        else:
            pending.extend(node.all_input_nodes)
    position = {node: index for index, node in enumerate(program.graph.nodes)}
    order = sorted(wanted, key=lambda node: position[node])
    return tuple(order)
