"""`odl state`: what a device saved, into PyTorch and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from odl.cli.consoles import print_line
from odl.errors import InputError

if TYPE_CHECKING:
    import torch

    from odl.state import Slot, State

state = typer.Typer(
    help="A device's saved training state: show it, pull it into PyTorch, push PyTorch's weights into one.",
    no_args_is_help=True,
)

Project = Annotated[Path, typer.Argument(help="A project that odl compile wrote.")]
StateFile = Annotated[Path, typer.Argument(help="A saved state, or a dump of the storage with both slots.")]


@state.command("show")
def show(
    file: StateFile,
    project: Annotated[
        Path | None, typer.Argument(help="The project whose state it is: tells names.")
    ] = None,
) -> None:
    """Print what a saved state holds, and with a project whether the project can take it."""
    from odl.state import find_slots

    data = file.read_bytes()
    slots = find_slots(data)
    console = Console()
    for slot in slots:
        print_line(console, _summary(slot))
    if not any(slot.blob for slot in slots):
        reason = slots[0].fault if slots else "no saved state: none begins there"
        raise InputError(f"{file}: {reason}; save the state again")
    if project is not None:
        for line in _contents(_read(file, project)):
            print_line(console, line)


@state.command("pull")
def pull(
    project: Project,
    file: StateFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="PyTorch file to write.")],
) -> None:
    """Write the weights and statistics of a saved state as a PyTorch state_dict."""
    import torch

    weights = _read(file, project).state_dict()
    torch.save(weights, output)
    print_line(
        Console(), f'{output}: {len(weights)} tensors; torch.load("{output}", weights_only=True) reads them'
    )


@state.command("push")
def push(
    project: Project,
    weights: Annotated[Path, typer.Argument(help="A state_dict that torch.save wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Saved state to write.")],
) -> None:
    """Make a saved state with the weights and statistics of a PyTorch state_dict; all else starts anew."""
    from odl.project.manifest import read_manifest
    from odl.state import State

    data = State.from_state_dict(read_manifest(project), _load(weights)).to_bytes()
    output.write_bytes(data)
    print_line(
        Console(), f"{output}: {len(data):,} bytes, for a slot of the device or the network's load function"
    )


def _read(file: Path, project: Path) -> State:
    """The newest state in a file that the project can take."""
    from odl.project.manifest import read_manifest
    from odl.state import read

    manifest = read_manifest(project)
    try:
        return read(file.read_bytes(), manifest)
    except InputError as error:
        raise InputError(f"{file}: {error.message}") from error


def _load(file: Path) -> dict[str, torch.Tensor]:
    """A state_dict that holds nothing but tensors."""
    from odl.checkpoints import is_state, read_checkpoint

    found = read_checkpoint(file)
    if not is_state(found):
        raise InputError(f"{file} is no state_dict; write it with torch.save(model.state_dict(), file)")
    return dict(found)


def _summary(slot: Slot) -> str:
    """A slot in one line."""
    if slot.blob is None:
        return f"at byte {slot.offset:,}: {slot.fault}"
    meaning, tensors = slot.blob.meaning, slot.blob.records
    return (
        f"at byte {slot.offset:,}: generation {slot.blob.generation}, {slot.size:,} bytes, "
        f"{len(tensors)} tensors of {sum(item.count for item in tensors):,} elements; network {meaning.network:08x}, "
        f"loss {meaning.loss:08x}, trained {meaning.trained:08x}, optimizer {meaning.optimizer:08x}; "
        f"digest {slot.blob.digest.hex()}"
    )


def _contents(found: State) -> list[str]:
    """The newest state that the project can take, by name."""
    lines = [f"generation {found.generation} is of {found.manifest.model}:"]
    for name, array in sorted(found.tensors.items()):
        shape = "x".join(str(size) for size in array.shape) or "scalar"
        finite = array.astype(float)
        span = f"{finite.min():.4g} to {finite.max():.4g}" if array.size else "empty"
        lines.append(f"  {name}: {shape} {array.dtype}, {span}")
    lines += [f"  {name}: {number:g}" for name, number in sorted(found.words.items())]
    return lines
