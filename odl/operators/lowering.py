"""What lowers ATen nodes to operators: the rules, which each operator file registers with `lowers`, and what they build.

Rules see FX nodes as plain objects and never call PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from odl.errors import InputError
from odl.graph import AbstractOperator, DType, Layout, Node, Role, Value

Rule = Callable[["Lowering", Any], None]
RULES: dict[str, Rule] = {}
#: Rules that serve parts of other operators only and are not worth naming to a user.
_PARTS: set[str] = set()

#: The role of what a node of a pass gives.
_ROLES = {
    "forward": Role.ACTIVATION,
    "input_gradient": Role.GRADIENT,
    "weight_gradient": Role.PARAMETER_GRADIENT,
}
#: How a backward node's name ends.
_SUFFIX = {"input_gradient": "input_gradient", "weight_gradient": "gradient"}


def lowers(*targets: str, part: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for ATen operators, named as in `aten.relu.default`.

    `part` says that they are supported as parts of others only, as the transposition in a linear layer is.
    """

    def register(rule: Rule) -> Rule:
        for target in targets:
            if target in RULES:
                raise ValueError(f"two rules lower {target}")
            RULES[target] = rule
            if part:
                _PARTS.add(target)
        return rule

    return register


#: The FX nodes that an expression reads, by what they are to it.
Reads = Mapping[str, Any]
ExpressionRule = Callable[["Lowering", Any, Reads], None]


@dataclass(frozen=True)
class Expression:
    """Several ATen nodes that one rule lowers together, as one operator."""

    reads: Reads
    rule: ExpressionRule


_EXPRESSIONS: dict[str, list[tuple[Callable[[Any], Reads | None], ExpressionRule]]] = {}


def lowers_expression(
    last: str, match: Callable[[Any], Reads | None]
) -> Callable[[ExpressionRule], ExpressionRule]:
    """Register a rule for an expression that ends in an ATen operator; PyTorch writes some gradients as expressions.

    `match` gives what the expression that ends in an FX node reads, None where the node ends none. The nodes in between
    are lowered only where something else reads them.
    """

    def register(rule: ExpressionRule) -> ExpressionRule:
        _EXPRESSIONS.setdefault(last, []).append((match, rule))
        return rule

    return register


def expression(node: Any) -> Expression | None:
    """The expression that ends in an FX node; None where the node stands for itself."""
    found = ((match(node), rule) for match, rule in _EXPRESSIONS.get(str(node.target), ()))
    return next((Expression(reads, rule) for reads, rule in found if reads is not None), None)


def arguments_of(node: Any, target: str, count: int = 2) -> tuple[Any, ...]:
    """The arguments of an FX node that calls that ATen operator; Nones of anything else."""
    return tuple(node.args) if str(getattr(node, "target", "")) == target else (None,) * count


def arguments(given: Sequence[Any], *defaults: Any) -> list[Any]:
    """The last arguments of an ATen operator, whose defaults stand for those that are not given."""
    return [*given, *defaults[len(given) :]]


def supported() -> str:
    """The ATen operators with a rule that a model's forward pass can call, without PyTorch's private names."""
    names = {target.split(".")[1] for target in RULES.keys() - _PARTS if target.startswith("aten.")}
    return ", ".join(sorted(name for name in names if "backward" not in name and not name.startswith("_")))


@dataclass(frozen=True)
class Transposed:
    """A two-dimensional value seen with its axes swapped; exists only while lowering."""

    name: str


@dataclass(frozen=True)
class Expanded:
    """A value repeated over its axes of size one; exists only while lowering, unless a reader needs it `made`."""

    name: str
    shape: tuple[int, ...]
    made: Callable[[Lowering, Any, Expanded], str]


@dataclass(frozen=True)
class Viewed:
    """A parameter or buffer under another shape; exists only while lowering."""

    name: str
    shape: tuple[int, ...]


Operand = str | Transposed | Expanded | Viewed | tuple[str | None, ...]


class Lowering:
    """The graph while it is being built, and what each FX node became.

    `locate` says where an FX node stands in the user's model, for error messages; `layer` gives the module's path alone;
    `gradient_shapes` are the parameters' shapes by the FX nodes that are their gradients or become these by views.
    """

    def __init__(
        self,
        locate: Callable[[Any], str],
        layer: Callable[[Any], str],
        gradient_shapes: Mapping[Any, tuple[int, ...]] | None = None,
    ) -> None:
        self._locate, self._layer, self._gradient_shapes = locate, layer, gradient_shapes or {}
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self._operands: dict[Any, Operand] = {}
        self._seen: dict[str, int] = {}
        #: Keyword arguments that rules have asked for, by FX node.
        self.understood: dict[Any, set[str]] = {}

    # --- what rules ask -------------------------------------------------------------------------------

    def operand(self, node: Any) -> Operand:
        """What the FX node became; InputError for a scalar or a constant, which become nothing."""
        if node not in self._operands:
            raise InputError(
                f"the model computes with a scalar parameter, buffer or constant ({node}), which is not supported; fold it "
                "into a layer's weights"
            )
        return self._operands[node]

    def name(self, node: Any) -> str:
        """The value that the FX node became; InputError when it is a view of a parameter."""
        operand = self.operand(node)
        if isinstance(operand, Expanded):
            return operand.made(self, node, operand)
        if isinstance(operand, Viewed):
            raise InputError(
                f"{self.where(node)}: reshaping parameter '{operand.name}' is not supported here; give it the shape that "
                "it is used in"
            )
        if not isinstance(operand, str):
            raise InputError(
                f"{self.where(node)}: a transposed tensor is not supported here; write .contiguous() behind it"
            )
        return operand

    def value(self, node: Any) -> Value | None:
        """The value that the FX node became; None for a view that exists only while lowering, and for what nobody needs."""
        operand = self._operands.get(node)
        return self.values[operand] if isinstance(operand, str) else None

    def parameter(self, user: Any, node: Any) -> str:
        """As `name`, for a weight or bias of the FX node `user`: InputError unless it is a parameter of the model."""
        name = self.name(node)
        if self.values[name].role is not Role.PARAMETER:
            raise InputError(
                f"{self.where(user)}: weights and biases must be parameters, which '{name}' is not"
            )
        return name

    def shape(self, node: Any) -> tuple[int, ...]:
        """PyTorch shape of the FX node's tensor."""
        return tuple(int(size) for size in node.meta["val"].shape)

    def keyword(self, node: Any, name: str, default: Any) -> Any:
        """A keyword argument of the FX node, which is thereby understood."""
        self.understood.setdefault(node, set()).add(name)
        return node.kwargs.get(name, default)

    def made_of(self, *nodes: Any) -> Role:
        """The role of what is computed from these: a gradient where one of them is, else an activation."""
        return self.role_from(*(self.name(node) for node in nodes))

    def role_from(self, *names: str) -> Role:
        """The same of what is computed from values."""
        roles = {self.values[name].role for name in names}
        return Role.GRADIENT if Role.GRADIENT in roles else Role.ACTIVATION

    def where(self, node: Any) -> str:
        """The operator and where it stands in the user's model, for error messages."""
        return f"{node.target} {self._locate(node)}".rstrip()

    def output_of(self, operator: AbstractOperator, inputs: Mapping[str, str]) -> str | None:
        """What the node with this operator and these inputs gives as y; None where there is no such node."""
        made = (
            item.outputs["y"] for item in self.nodes if (item.operator, item.inputs) == (operator, inputs)
        )
        return next(made, None)

    def gradient_shape(self, node: Any) -> tuple[int, ...] | None:
        """The shape of the parameter whose gradient the FX node is; None of any other."""
        return self._gradient_shapes.get(node)

    def producer(self, name: str) -> Node | None:
        """The node that made a value."""
        return next((node for node in self.nodes if name in node.results), None)

    # --- what rules do --------------------------------------------------------------------------------

    def set(self, node: Any, operand: Operand) -> None:
        """Say what an FX node became."""
        self._operands[node] = operand

    def set_weight_layout(self, node: Any, depthwise: bool) -> None:
        """Choose the memory layout of a convolution's weight."""
        value = self.values[self.name(node)]
        self.values[value.name] = replace(value, layout=Layout.HWC if depthwise else Layout.OHWI)

    def save(self, name: str, dtype: DType) -> None:
        """Say that a result is kept for the gradient in a type of its own, whatever the precision."""
        self.values[name] = replace(self.values[name], role=Role.SAVED, dtype=dtype)

    def give_role(self, name: str, role: Role) -> None:
        """Give a value another role than its node's other results."""
        layout = Layout.FLAT if role is Role.PARAMETER_GRADIENT else self.values[name].layout
        self.values[name] = replace(self.values[name], role=role, layout=layout)

    def emit(
        self, node: Any, operator: AbstractOperator, inputs: Mapping[str, Any], role: Role | None = None
    ) -> str:
        """As `add`, of a node with one result, and say that the FX node became it."""
        (name,) = self.add(node, operator, inputs, role).values()
        self.set(node, name)
        return name

    def add(
        self,
        node: Any,
        operator: AbstractOperator,
        inputs: Mapping[str, Any],
        role: Role | None = None,
        called: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Add a node and its values; the names of the values by the operator's names of its outputs.

        `inputs` maps the operator's names, in its order, to FX nodes or names of values, None for what is absent. `role` is
        that of the outputs, where it is not their pass's. `called` gives the outputs names of one's own. InputError when
        shapes do not fit.
        """
        given = {
            name: item if isinstance(item, str) else self.name(item)
            for name, item in inputs.items()
            if item is not None
        }
        try:
            shapes = operator.shapes({name: self.values[value].shape for name, value in given.items()})
        except ValueError as error:
            raise InputError(f"{self.where(node)}: {error}") from error
        role = role or _ROLES[operator.pass_name]
        owner = self._owner(given.values())
        base = self._name_of(node, operator, owner)
        numbered = {name: f"{base}_{index}" if index else base for index, name in enumerate(shapes)}
        outputs = {name: self._unique((called or numbered)[name]) for name in shapes}
        for name, shape in shapes.items():
            self.values[outputs[name]] = Value(outputs[name], shape, role, layout=_layout(shape, role))
        node_name = next(iter(outputs.values()), None) or self._unique(base)
        layer = self._layer(node) if owner is None else owner
        self.nodes.append(Node(node_name, operator, given, outputs, layer=layer))
        return outputs

    # --- names and layouts ----------------------------------------------------------------------------

    def _owner(self, inputs: Iterable[str]) -> str | None:
        """Path of the module that the first parameter among the inputs belongs to."""
        given = (self.values[name] for name in inputs)
        found = (value.source for value in given if value.role is Role.PARAMETER and value.source)
        return next((source.rpartition(".")[0] for source in found), None)

    def _name_of(self, node: Any, operator: AbstractOperator, owner: str | None) -> str:
        base = node.name if owner is None else owner
        suffix = _SUFFIX.get(operator.pass_name)
        return (f"{base}.{suffix}" if suffix and owner is not None else base) or str(node.name)

    def _unique(self, name: str) -> str:
        name = re.sub(r"[^0-9A-Za-z_.]", "_", name)
        if name not in self.values and name not in self._seen:
            self._seen[name] = 0
            return name
        self._seen[name] = self._seen.get(name, 0) + 1
        return self._unique(f"{name}_{self._seen[name] + 1}")


def _layout(shape: tuple[int, ...], role: Role) -> Layout:
    if len(shape) != 4:
        return Layout.FLAT
    return Layout.OHWI if role is Role.PARAMETER_GRADIENT else Layout.NHWC
