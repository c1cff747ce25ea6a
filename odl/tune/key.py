"""What a measurement is of: its key, and digests of what it rests on, the cluster and the texts of kernels."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from odl.codegen.kernels import render_kernel
from odl.kernels.call import Argument, KernelCall, Number, Runtime, Variant
from odl.kernels.signature import Kernel
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.target import TARGET

#: Where the kernels' headers are.
ISA = Path(str(resources.files("odl.kernels") / "isa"))
#: The dialect that the cluster's compiler is told to use.
_DIALECT = TARGET.instruction_set.dialect


def canonical(value: Mapping[str, Any]) -> str:
    """JSON with sorted names and no blanks: equal values have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def case_key(call: KernelCall, cluster: Cluster) -> str:
    """The key of a call on a cluster, as canonical JSON.

    It holds template, shape, context without what variants change, in the order of the kernel's parameters which operands
    are there and the values of scalars (a kernel takes a shorter way without an addend, say), cores, and digests of the
    cluster's description and of the kernel's C.
    """
    varied = {name for variant in call.variants for name in variant.context}
    return canonical(
        {
            "template": call.kernel.template,
            "shape": dict(call.shape),
            "context": {name: value for name, value in call.context.items() if name not in varied},
            "arguments": [_argument(argument) for argument in call.in_order],
            "cores": cluster.cores,
            "cluster": cluster_digest(cluster),
            "kernel": kernel_digest(call),
        }
    )


def variant_key(variant: Variant) -> str:
    """A variant's name in a cache, as canonical JSON."""
    return canonical(variant.context)


def _argument(argument: Argument) -> str:
    if isinstance(argument, Number):
        return repr(float(argument.value))
    if isinstance(argument, Runtime):
        return argument.name
    return "null" if argument.name is None else "tensor"


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
    texts = {item.name: item.read_text(encoding="utf-8") for item in ISA.iterdir() if item.is_file()}
    return _digest(canonical(texts))


def _header(name: str) -> str:
    return (ISA / name).read_text(encoding="utf-8")


def _without_comments(text: str) -> str:
    """The words of C without its comments."""
    return " ".join(re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).split())


def _headers(text: str) -> Iterator[str]:
    """The kernels' headers that a text includes."""
    # kernels.h is the network's own, <math.h> the compiler's
    return (name for name in _included(text) if (ISA / name).is_file())


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
