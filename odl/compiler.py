"""The stages in order: trace → passes → plan. Emission, building and running start from the network that this gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import nn

from odl.calibrate import with_limits
from odl.errors import InputError, option
from odl.estimate import estimate_gradients
from odl.graph.ir import DType, Graph, Role
from odl.graph.operator import Array
from odl.kernels.call import KernelCall
from odl.options import Options
from odl.passes.fold_batch_norm import fold_batch_norm
from odl.passes.fuse import fuse_elementwise
from odl.passes.fuse_padding import fuse_padding
from odl.passes.layout import choose_layouts
from odl.passes.optimizer import insert_updates, small_operands_kept
from odl.passes.precision import apply_precision
from odl.passes.rewrite import Pass, remove_dead_code, run_passes
from odl.passes.select import select_parameters
from odl.passes.unroll import unroll_windows
from odl.plan.program import ScheduleRequest
from odl.plan.report import schedule_text
from odl.plan.schedule import make_schedule
from odl.precision import Precision
from odl.project.entry_point import TrainingPasses
from odl.project.entry_points import extra_graphs, kept_values
from odl.project.network import Network
from odl.project.programs import APPLY, INFER, REFRESH, SKIP, STEP
from odl.project.state import meaning
from odl.trace.lowering import lower
from odl.trace.tracing import run_once, trace_inference, trace_training
from odl.tune.choose import kernel_chooser

#: What makes a traced graph fast, in order; each is checked after it.
OPTIMIZING = (
    Pass("dead code", remove_dead_code),
    Pass("fused padding", fuse_padding),
    Pass("unrolled windows", unroll_windows),
    Pass("fused elementwise", fuse_elementwise),
    Pass("layouts", choose_layouts),
)


#: The share of an update's elements that fp16 may round away without a warning: rounding moves others too far.
_MOST_SWALLOWED = 0.75


@dataclass(frozen=True)
class Compiled:
    """A planned network, the module that it computes (batch norm folded where asked for), and every stage as text."""

    network: Network
    module: nn.Module
    trainable: tuple[str, ...]
    kept_norms: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    stages: Mapping[str, str] = field(default_factory=dict)


def compile_network(
    module: nn.Module,
    example_input: torch.Tensor,
    name: str,
    options: Options,
    spec: str | None = None,
    choose: Callable[[KernelCall], KernelCall] | None = None,
    calibration: Array | None = None,
) -> Compiled:
    """Trace, transform and plan a module's training step.

    Shapes: example_input [N, …]; N is the batch of every call. `spec` says how a command line can make the module
    again; `choose` picks the kernels' variants, None for the tuner's choice. `calibration`: inputs [M, …] that the analytic
    head's features are scaled for. Raises InputError for what is not supported.
    """
    module, example = _checked_module(module), _checked_example(example_input)
    run_once(module, example)
    given = [name for name, _ in module.named_parameters()]
    module, kept_norms = _prepare(module, example, options.bn)
    inference = lower(trace_inference(module, example), INFER.name)
    trainable = _trainable(module, inference, options.update, given)
    stages: dict[str, str] = {}
    traced = lower(trace_training(module, example, options.loss, trainable), STEP.name)
    options, warnings = _scaled(module, example, trainable, options)
    stages["1-traced"] = traced.dump()
    loss = tuple(value.name for value in traced.values.values() if value.role is Role.LOSS)
    step = run_passes(replace(traced, outputs=loss), OPTIMIZING)
    infer = run_passes(inference, OPTIMIZING)
    options, estimated = with_limits(options, infer, _initial(module), calibration)
    warnings += estimated
    stages["2-fused"] = step.dump() + infer.dump()
    kept = frozenset(step.gradients)
    store = Pass("precision", lambda graph: apply_precision(graph, options.dtype, kept, options.accumulate))
    step = run_passes(step, [store])
    initial = _initial(module)
    _check_range(step, initial)
    infer = run_passes(infer, [Pass("layouts of the step", partial(_same_layouts, step=step)), store])
    training = insert_updates(
        step,
        options.optimizer,
        options.dtype,
        options.accumulate,
        gradients_last=options.description.clustered,
    )
    made = {
        STEP: training.step,
        APPLY: training.apply,
        SKIP: training.skip,
        INFER: infer,
        REFRESH: training.refresh,
    }
    graphs = {
        program: replace(graph, name=program.name) for program, graph in made.items() if graph is not None
    }
    graphs |= extra_graphs(
        TrainingPasses(small_operands_kept(step), infer, options, kept_values(graphs.values()))
    )
    for graph in graphs.values():
        graph.check("optimizer updates")
    stages["3-training"] = "".join(graph.dump() for graph in graphs.values())
    request = ScheduleRequest(
        options.core_count,
        options.dtype.chunk,
        options.accumulate,
        training.shared,
        options.arena_capacity,
        options.description.arena.name,
        options.local_capacity,
        choose or kernel_chooser(options),
    )
    schedule = make_schedule(graphs, request)
    stages["4-plan"] = schedule_text(schedule)
    output = infer.value(infer.outputs[0])
    inputs = next(value for value in infer.values.values() if value.role is Role.INPUT)
    trained = tuple(step.gradients)
    network = Network(
        name,
        options,
        schedule,
        initial,
        inputs,
        output,
        training.apply is not None,
        frozenset(trained),
        meaning(inference, trained, options),
        spec,
    )
    return Compiled(network, module, trained, kept_norms, warnings, stages)


def _scaled(
    module: nn.Module, example: torch.Tensor, trainable: Collection[str], options: Options
) -> tuple[Options, tuple[str, ...]]:
    """The options with a loss scale that suits the gradients, where none was given; and what fp16 will lose, in words."""
    if options.dtype is Precision.FP32:
        return options, ()
    found = estimate_gradients(module, example.shape, trainable, options)
    warnings: list[str] = []
    if options.dtype is Precision.MIXED and options.loss_scale is None:
        scale = found.loss_scale(options.initial_loss_scale)
        if scale != options.initial_loss_scale:
            options = replace(options, loss_scale=scale)
    lost = found.below_normal(options.initial_loss_scale)
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        warnings.append(
            f"most of the gradient of '{lost[0]}'{more} is below fp16's normal range at loss scale "
            f"{options.initial_loss_scale:g} (estimated by one step on random data): add normalisation or residual "
            f"connections, start from pretrained weights, or use {option('dtype', 'fp32')}"
        )
    if options.dtype is Precision.FP16 and found.swallowed > _MOST_SWALLOWED:
        warnings.append(
            f"fp16 weights round {found.swallowed:.0%} of an update away at learning rate {options.optimizer.lr:g} "
            f"(estimated by one step on random data): use {option('dtype', 'mixed')}, with fp32 weights, or a larger rate"
        )
    return options, tuple(warnings)


def prepare_module(module: nn.Module, example: torch.Tensor, bn: str) -> nn.Module:
    """A copy in float32 whose layers are in the mode they will train in; dropout is off, batch norm as `bn` says."""
    return _prepare(module, example, bn)[0]


def _prepare(module: nn.Module, example: torch.Tensor, bn: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The prepared module, and the batch norms that could not be folded."""
    module = copy.deepcopy(module).float().eval()
    if bn == "fold":
        folded = fold_batch_norm(module, lower(trace_inference(module, example), INFER.name))
        _check_same_output(module, folded.module, example)
        return folded.module, folded.kept
    if bn == "train":
        for path, child in module.named_modules():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                _check_momentum(path, child)
                child.train()
    return module, ()


def _check_momentum(path: str, norm: nn.modules.batchnorm._BatchNorm) -> None:
    """InputError for a norm whose running statistics are the plain average of all batches so far."""
    if norm.track_running_stats and norm.momentum is None:
        raise InputError(
            f"batch norm '{path}' ({type(norm).__name__}) has momentum=None, an average of all batches so far, which "
            f"{option('bn', 'train')} cannot compute; set its momentum to a number such as 0.1, or use "
            f"{option('bn', 'fold', 'frozen')}"
        )


def _checked_module(module: nn.Module) -> nn.Module:
    """A float32 copy of a module whose tensors are finite and have one name each."""
    if not isinstance(module, nn.Module):
        raise InputError(f"the model is a {type(module).__name__}; it must be a torch.nn.Module")
    names: dict[torch.Tensor, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if parameter in names:
            raise InputError(
                f"parameter '{names[parameter]}' is also '{name}'; sharing a parameter or registering a layer twice "
                "is not supported"
            )
        names[parameter] = name
    module = copy.deepcopy(module).float()
    _initial(module)
    return module


def _checked_example(example: object) -> torch.Tensor:
    if not isinstance(example, torch.Tensor):
        try:
            example = torch.as_tensor(np.asarray(example))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the example input is a {type(example).__name__}; it must be a tensor"
            ) from error
    shape = tuple(example.shape)
    if example.dim() < 2:
        raise InputError(f"the example input has shape {shape}; it needs a batch axis in front")
    if 0 in shape:
        raise InputError(f"the example input has shape {shape}; no axis may be empty")
    return example.detach().float()


def _trainable(module: nn.Module, inference: Graph, update: str, given: Collection[str]) -> tuple[str, ...]:
    """The parameters to update among those that are not frozen; InputError when there is none, or one is used twice.

    Layers count in the order in which the model uses them. `given` are the parameters that it had before any was folded.
    """
    used = {name: index for index, node in reversed(list(enumerate(inference.nodes))) for name in node.reads}
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    names.sort(key=lambda name: used.get(name, -1))
    if not names:
        raise InputError(
            "nothing to train: the model has no parameter, or all are frozen (requires_grad=False)"
        )
    there = {name for name, _ in module.named_parameters()}
    trainable = select_parameters(names, update, [name for name in given if name not in there])
    for name in trainable:
        if len(inference.consumers(name)) > 1:
            raise InputError(
                f"parameter '{name}' is used more than once; give each use a parameter of its own"
            )
    return trainable


def _check_same_output(module: nn.Module, folded: nn.Module, example: torch.Tensor) -> None:
    """InputError when folding changed the model, as it does where a layer's parameters are not used the usual way."""
    with torch.no_grad():
        before = copy.deepcopy(module).double()(example.double())
        after = copy.deepcopy(folded).double()(example.double())
    if not torch.linalg.vector_norm(after - before) <= 1e-3 * torch.linalg.vector_norm(before):
        raise InputError(
            f"batch norm cannot be folded without changing this model's output; use {option('bn', 'frozen')}"
        )


def _same_layouts(infer: Graph, step: Graph) -> Graph:
    """Parameters have the training graph's layout in the inference graph too; the output has that of the target."""
    layouts = {value.layout for value in step.values.values() if value.role is Role.TARGET}
    assert layouts <= {infer.value(infer.outputs[0]).layout}, "output and target differ in layout"
    return infer.with_values(
        replace(value, layout=step.values[name].layout)
        for name, value in infer.values.items()
        if name in step.values and value.role is Role.PARAMETER
    )


def _initial(module: nn.Module) -> dict[str, Array]:
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"the model's '{name}' holds NaN or infinity; load sound weights first")
    return arrays


def _check_range(step: Graph, initial: Mapping[str, Array]) -> None:
    """InputError where a parameter is beyond the type that stores it, or its working copy."""
    largest = float(np.finfo(np.float16).max)
    for name, array in initial.items():
        stored = [step.values[item] for item in (name, f"{name}.copy") if item in step.values]
        beyond = np.abs(array) > largest
        if beyond.any() and any(value.dtype is DType.F16 for value in stored):
            raise InputError(
                f"the model's '{name}' holds {array[beyond][0]:g}; the largest fp16 number is {largest:g}: "
                f"use {option('dtype', 'fp32')}"
            )


__all__ = ["Compiled", "Precision", "compile_network", "prepare_module"]
