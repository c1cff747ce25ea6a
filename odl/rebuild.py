"""A model made again from what its name or its project says of it: to verify a project, or to compile for other targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from odl.build import Build
from odl.check.report import Report
from odl.check.verify import Progress, verify
from odl.compiler import compile_network, prepare_module
from odl.errors import InputError, option
from odl.graph.ir import Role
from odl.models import resolve
from odl.options import Options
from odl.project.manifest import Manifest, read_manifest
from odl.project.programs import STEP
from odl.run.library import ProjectBuild
from odl.run.load import load_net
from odl.run.net import Net
from odl.trace.tracing import run_once

_MODEL = option("model", "file.py:factory")


#: What a caller makes a build with: the target and its instruction set.
Compile = Callable[[str, str | None], Build]


def trained_parameters(manifest: Manifest) -> list[str]:
    """Names of the parameters that a step updates, in the step's order."""
    found = {
        str(item.value.source): None
        for program in manifest.programs
        if program.name == STEP.name
        for node in program.nodes
        for item in node.writes
        if item.value.role is Role.PARAMETER_GRADIENT
    }
    return list(found)


def verify_directory(
    directory: Path,
    *,
    build: str | None = None,
    vlen: int | None = None,
    model: str | None = None,
    steps: int = 3,
    accumulated: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Verify the project in `directory`; InputError when its model can no longer be made."""
    net = load_net(directory, build, vlen=vlen)
    spec = model or net.project.spec
    if spec is None:
        raise InputError(
            f"{directory} was compiled from a Python object; call build.verify() there, or give {_MODEL}"
        )
    options = net.project.options
    try:
        made = resolve(spec, net.input.shape[1:], options.loss)
    except InputError as error:
        if model is not None:
            raise
        raise InputError(
            f"{error.message}; {directory} was compiled from '{spec}': run odl verify in the folder where that was, "
            f"or say where the model is now with {_MODEL}"
        ) from error
    example = made.example(net.batch)
    try:
        output = run_once(made.module, example)
        module = prepare_module(made.module, example, options.bn)
        _check_same(net, module, tuple(output.shape))
    except InputError as error:
        raise InputError(
            f"{spec} is not the model that {directory} was compiled from: {error.message}; say where that is with "
            f"{_MODEL}"
        ) from error
    return verify(
        net,
        module,
        options.optimizer,
        trained_parameters(net.project),
        steps=steps,
        accumulated=accumulated,
        seed=seed,
        progress=progress,
        twin=load_net(directory, ProjectBuild.EXACT) if net.on_device else None,
    )


def _check_same(net: Net, module: nn.Module, output_shape: tuple[int, ...]) -> None:
    """InputError unless the module has every tensor of the network, and an output like it."""
    if output_shape != net.output.shape:
        raise InputError(f"its output has shape {output_shape}, the project's {net.output.shape}")
    shapes = {name: tuple(tensor.shape) for name, tensor in module.named_parameters()}
    shapes |= {name: tuple(tensor.shape) for name, tensor in module.named_buffers()}
    for name, value in net.tensors().items():
        if not value.role.of_model:
            continue
        if name not in shapes:
            raise InputError(f"it has no '{name}'")
        if shapes[name] != value.shape:
            raise InputError(f"its '{name}' has shape {shapes[name]}, the project's {value.shape}")


def compiler(model: str, **given: object) -> Compile:
    """How to build a model for any target.

    `model`: a zoo name or file.py:factory, compiled with the options `given`; or a project, as it was compiled.
    InputError where the project is not what was given.
    """
    if not Path(model).is_dir():
        made, batch = resolve(model), 1
        options = Options.of({"loss": made.loss, **given})
    else:
        manifest = read_manifest(Path(model))
        if manifest.spec is None:
            raise InputError(
                f"{model} was compiled from a Python object, of which it keeps no name; give the model"
            )
        options = manifest.options
        _check_given(model, options, given)
        batch, *shape = manifest.input.shape
        made = resolve(manifest.spec, tuple(shape), options.loss)
    return lambda target, isa: Build(
        compile_network(made.module, made.example(batch), made.name, options.on_target(target, isa))
    )


def _check_given(project: str, options: Options, given: Mapping[str, object]) -> None:
    """InputError where an option that is given is not what the project was compiled with."""
    wanted = Options.of(given)
    for name, value in given.items():
        compiled = getattr(options, name)
        if getattr(wanted, name) != compiled:
            raise InputError(
                f"{option(name, value)}: {project} was compiled in {compiled}; give the model instead"
            )
