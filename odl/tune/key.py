"""What a measurement is of: its key, and digests of what it rests on, the cluster and the texts of kernels."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from odl.codegen.isa_headers import every_header, included_headers
from odl.codegen.kernels import render_kernel
from odl.kernels.call import Argument, KernelCall, Number, Runtime, Variant
from odl.kernels.signature import Kernel
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.target import TARGET

#: Where the kernels' headers are.
ISA = Path(str(resources.files("odl.kernels") / "isa"))


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
    texts |= included_headers(rendered, TARGET.instruction_set.dialect)
    return _digest(canonical({name: _without_comments(text) for name, text in texts.items()}))


@functools.cache
def headers_digest() -> str:
    """Of all headers of the kernels: what a machine that measures must have in common with the one that asks."""
    return _digest(canonical(every_header()))


def _without_comments(text: str) -> str:
    """The words of C without its comments."""
    return " ".join(re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).split())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
