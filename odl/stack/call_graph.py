"""The functions of a whole program, who calls whom, and the deepest that a stack can get."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from odl.errors import CheckFailedError
from odl.stack.assembly import Function, Unit


@dataclass(frozen=True)
class CallGraph:
    """A program of some files.

    A call through a pointer may reach every function whose address the program takes anywhere and whose type is one that
    the caller's file calls through pointers (of any type where a file does not tell): more than can happen, never less.
    """

    units: tuple[Unit, ...]
    outside: set[str] = field(default_factory=set)
    """Functions met on the way that the program does not have."""
    through_pointers: set[str] = field(default_factory=set)
    """Functions met on the way that call through a pointer."""

    @cached_property
    def _exported(self) -> dict[str, Function]:
        return {
            function.name: function
            for unit in self.units
            for function in unit.functions.values()
            if function.exported
        }

    @cached_property
    def _units(self) -> dict[str, Unit]:
        return {unit.file: unit for unit in self.units}

    @cached_property
    def _own(self) -> dict[str, dict[str, Function]]:
        return {unit.file: unit.functions for unit in self.units}

    @cached_property
    def _pointed_at(self) -> tuple[Function, ...]:
        """Every function whose address C takes. What assembly takes is for the machine (the handler of exceptions).

        So is assembly that sets the stack pointer itself (where a core starts).
        """
        found = {
            id(target): target
            for unit in self.units
            if not unit.file.endswith(".S")
            for symbols in (unit.data, *(function.mentions for function in unit.functions.values()))
            for symbol in symbols
            if (target := self._find(symbol, unit.file)) is not None and target.frame is not None
        }
        return tuple(found.values())

    def _find(self, name: str, file: str) -> Function | None:
        return self._own[file].get(name) or self._exported.get(name)

    def bound(self, root: str, *, without: Collection[str] = ()) -> int:
        """Most bytes of stack from the call of an exported function on, without what is called through `without`.

        CheckFailedError for recursion, and for assembly of unknown need; KeyError where there is no such function.
        """
        return self._depth(self._exported[root], frozenset(without), {}, [])

    def _depth(
        self, function: Function, without: frozenset[str], known: dict[int, int], path: list[Function]
    ) -> int:
        if any(function is earlier for earlier in path):
            names = [item.name for item in path[next(i for i, f in enumerate(path) if f is function) :]]
            raise CheckFailedError(f"recursion, so no bound: {' calls '.join([*names, function.name])}")
        if id(function) not in known:
            if function.frame is None:
                raise CheckFailedError(f"{function.file}: nothing says how much stack {function.name} needs")
            below = [
                self._depth(called, without, known, [*path, function])
                for called in self._called(function)
                if called.name not in without
            ]
            known[id(function)] = function.frame + max(below, default=0)
        return known[id(function)]

    def _called(self, function: Function) -> Iterable[Function]:
        found = []
        for name in sorted(function.calls):
            called = self._find(name, function.file)
            if called is None:
                self.outside.add(name)
            else:
                found.append(called)
        if function.indirect:
            self.through_pointers.add(function.name)
            caller = self._units[function.file]
            found += [
                item
                for item in self._pointed_at
                if caller.may_call_through_pointer(item.name, self._units[item.file].types)
            ]
        return found
