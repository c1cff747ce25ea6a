"""What a net shows while it runs: the gradients of its parameters, and its activations."""

from __future__ import annotations

from odl.check.masks import DeviceActivation, DeviceOutput, DeviceWinners, Observed
from odl.graph.ir import DType, Role
from odl.graph.operator import Array
from odl.operators.broadcast import Arithmetic, Broadcast
from odl.operators.pooling import MaxPool
from odl.operators.unary import KINKED
from odl.project.manifest import NodeEntry
from odl.project.programs import INFER, STEP
from odl.run.net import Net

#: What the manifest calls functions whose slope jumps.
_KINKED = KINKED | {Broadcast(Arithmetic.PRELU, ()).title}


class Observer:
    """What `Net.observed` calls after every kernel. `activations` has a list for every forward pass.

    `halves` are the gradients that are stored in fp16.
    """

    def __init__(self, net: Net) -> None:
        self._net = net
        self.gradients: dict[str, Array] = {}
        self.halves: set[str] = set()
        self.activations: list[list[Observed]] = []

    def __call__(self, program: int, node: int) -> None:
        """Take in what a node of a program has made."""
        entry = self._net.project.programs[program]
        made = entry.nodes[node]
        if entry.name in (STEP.name, INFER.name):
            if node == 0:
                self.activations.append([])
            self._activation(made)
        for written in made.writes if entry.name == STEP.name else ():
            if written.value.role is Role.PARAMETER_GRADIENT:
                name = str(written.value.source)
                self.gradients[name] = self._net.result(written)
                if written.value.dtype is DType.F16:
                    self.halves.add(name)

    def _activation(self, node: NodeEntry) -> None:
        if node.operator == MaxPool.__name__:
            winners = self._net.result(node.writes[1]) if len(node.writes) > 1 else None
            self.activations[-1].append(DeviceWinners(node.writes[-1].value.name, winners))
        if node.operator in _KINKED:
            self.activations[-1].append(
                DeviceOutput(node.writes[0].value.name, self._net.result(node.writes[0]))
            )
        if node.clamp is not None:
            output = node.writes[0]
            self.activations[-1].append(
                DeviceActivation(output.value.name, self._net.result(output), *node.clamp)
            )
