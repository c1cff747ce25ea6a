"""Which parameters a step updates: full, last:N layers, bias, or glob patterns over parameter names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from odl.errors import InputError, option


def select_parameters(names: Sequence[str], update: str, gone: Collection[str] = ()) -> tuple[str, ...]:
    """The parameters that `update` names, in the order of `names`.

    InputError for a pattern that matches nothing, naming what there is. `gone` are names that the model had before batch
    norms became part of the layers before them.
    """
    if update == "full":
        return tuple(names)
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    if update.startswith("last:"):
        count = update.removeprefix("last:")
        if not count.isdecimal() or not 1 <= int(count) <= len(layers):
            raise InputError(
                f"{option('update', update)}: N must be between 1 and {len(layers)}, the layers with parameters"
            )
        chosen = set(layers[-int(count) :])
        return tuple(name for name in names if name.rpartition(".")[0] in chosen)
    if update == "bias":
        selected = tuple(name for name in names if name.rpartition(".")[2] == "bias")
        if not selected:
            raise InputError(f"{option('update', 'bias')}: the model has no biases")
        return selected
    patterns = [pattern.strip() for pattern in update.split(",")]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            folded = [name for name in gone if fnmatchcase(name, pattern)]
            if folded:
                raise InputError(
                    f"{option('update')}: '{pattern}' means {', '.join(folded[:3])}, which became part of the layer "
                    f"before ({option('bn', 'fold')}); choose that layer, or use {option('bn', 'frozen')}"
                )
            raise InputError(
                f"{option('update')}: '{pattern}' matches no parameter; use full, last:N, bias, or globs over "
                + ", ".join(names)
            )
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
