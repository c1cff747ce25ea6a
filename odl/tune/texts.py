"""Digests of what a measurement rests on: the cluster's description, and the texts that a kernel is made of."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from odl.codegen.kernels import render_kernel
from odl.kernels.call import KernelCall
from odl.kernels.signature import Kernel
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.target import TARGET

#: The dialect that the cluster's compiler is told to use.
_DIALECT = TARGET.instruction_set.dialect


def canonical(value: Mapping[str, Any]) -> str:
    """JSON with sorted names and no blanks: equal values have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@functools.cache
def cluster_digest(cluster: Cluster) -> str:
    """Of every field of the description."""
    return _digest(canonical(dataclasses.asdict(cluster)))


def kernel_digest(call: KernelCall) -> str:
    """Of the C of all variants of a call, and of the headers that it includes on the cluster.

    Comments, blanks and which template says what do not count.
    """
    contexts = [call.with_variant(variant).context for variant in call.variants] or [call.context]
    return _kernel_digest(call.kernel, tuple(tuple(sorted(context.items())) for context in contexts))


@functools.cache
def _kernel_digest(kernel: Kernel, contexts: tuple[tuple[tuple[str, str | int], ...], ...]) -> str:
    rendered = [render_kernel(kernel, "kernel", dict(context)).text for context in contexts]
    texts = {f"variant {number}": text for number, text in enumerate(rendered)}
    waiting = [name for text in rendered for name in _headers(text)]
    while waiting:
        name = waiting.pop()
        if name not in texts:
            texts[name] = _header(name)
            waiting += _headers(texts[name])
    return _digest(canonical({name: _without_comments(text) for name, text in texts.items()}))


@functools.cache
def headers_digest() -> str:
    """Of all headers of the kernels: what a machine that measures must have in common with the one that asks."""
    folder = resources.files("odl.kernels") / "isa"
    texts = {item.name: item.read_text(encoding="utf-8") for item in folder.iterdir() if item.is_file()}
    return _digest(canonical(texts))


def _header(name: str) -> str:
    return (resources.files("odl.kernels") / "isa" / name).read_text(encoding="utf-8")


def _without_comments(text: str) -> str:
    """The words of C without its comments."""
    return " ".join(re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).split())


def _headers(text: str) -> Iterator[str]:
    """The kernels' headers that a text includes."""
    isa = resources.files("odl.kernels") / "isa"
    for name in _included(text):
        if (isa / name).is_file():  # kernels.h is the network's own, <math.h> the compiler's
            yield name


def _included(text: str) -> Iterator[str]:
    """Headers included where of all dialects only the cluster's is defined; other conditions are taken to hold."""
    open_now: list[bool] = []
    taken: list[bool] = []
    for line in text.splitlines():
        words = line.strip()
        if words.startswith(("#if", "#elif")):
            holds = _may_hold(words)
            if words.startswith("#if"):
                open_now.append(holds)
                taken.append(holds and _about_dialects(words))
            elif open_now:
                open_now[-1] = holds and not taken[-1]
                taken[-1] = taken[-1] or (holds and _about_dialects(words))
        elif words.startswith("#else") and open_now:
            open_now[-1] = not taken[-1]
        elif words.startswith("#endif") and open_now:
            open_now.pop()
            taken.pop()
        elif all(open_now):
            yield from re.findall(r'^#include "([\w.]+)"', words)


def _about_dialects(condition: str) -> bool:
    return "ODL_ISA_" in condition


def _may_hold(condition: str) -> bool:
    """Whether the condition can be true; `defined(A) || defined(B)` and #ifdef of dialects are understood."""
    names = re.findall(r"ODL_ISA_[A-Z]\w*", condition)
    return condition.startswith("#ifndef") or not names or _DIALECT in names


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
