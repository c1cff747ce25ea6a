"""Verifying a project in a directory: the model is made again from what the manifest says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from odl.check.verify import Progress, Report, verify
from odl.compiler import prepare_module
from odl.errors import InputError
from odl.graph.ir import Role
from odl.models import resolve
from odl.options import SGD, Adam, Optimizer
from odl.run.load import load_net


def optimizer_from_manifest(entry: dict[str, Any]) -> Optimizer:
    """The optimizer that a manifest states."""
    values: dict[str, Any] = {key: value for key, value in entry.items() if key != "name"}
    if entry["name"] == "adam":
        return Adam(**{**values, "betas": tuple(values["betas"])})
    return SGD(**values)


def trained_parameters(manifest: dict[str, Any]) -> list[str]:
    """Names of the parameters that a step updates, in the step's order."""
    found = {
        str(entry["source"]): None
        for program in manifest["programs"]
        if program["name"] == "step"
        for node in program["nodes"]
        for entry in node["writes"]
        if entry["role"] == Role.PARAMETER_GRADIENT
    }
    return list(found)


def verify_directory(
    directory: Path,
    *,
    build: str | None = None,
    model: str | None = None,
    steps: int = 3,
    accumulated: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Verify the project in `directory`; InputError when its model can no longer be made."""
    net = load_net(directory, build)
    spec = model or net.manifest["spec"]
    if spec is None:
        raise InputError(
            f"{directory} was compiled from a Python object; call build.verify() there, or give --model file.py:factory"
        )
    options = net.manifest["options"]
    try:
        made = resolve(spec, net.input.shape[1:], options["loss"])
    except InputError as error:
        if model is not None:
            raise
        raise InputError(
            f"{error}; {directory} was compiled from '{spec}': run odl verify in the folder where that was, "
            "or say where the model is now with --model file.py:factory"
        ) from error
    module = prepare_module(made.module, made.example(net.batch), options["bn"])
    optimizer = optimizer_from_manifest(options["optimizer"])
    trained = trained_parameters(net.manifest)
    return verify(
        net,
        module,
        optimizer,
        trained,
        steps=steps,
        accumulated=accumulated,
        seed=seed,
        progress=progress,
        twin=load_net(directory, "exact") if net.on_device else None,
    )
