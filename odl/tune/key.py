"""What a measurement is of: the key under which it is kept, equal exactly where the same would be measured."""

from __future__ import annotations

from odl.kernels.call import Argument, KernelCall, Number, Runtime, Variant
from odl.targets.cv32e40p.description import Cluster
from odl.tune.texts import canonical, cluster_digest, kernel_digest


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
