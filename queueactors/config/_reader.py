"""Turns tables into option objects, and notes every fault at its key's place.

A value that is wrong is replaced by a stand-in, so that what is wrong with the others comes to
light in the same run. Nothing made of stand-ins leaves `load_config`, which then raises.
"""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, Literal, TypeVar, Union, cast, get_type_hints

import attrs

from queueactors._errors import OptionsError
from queueactors._options import Means, Seconds
from queueactors.retry import Exponential, Fixed, Linear
from supervisors import Backoff, ChildSpecError, did_you_mean

from ._faults import Fault, KeyPath, as_table, dotted, error_text, value_text
from ._targets import TargetError, Targets
from ._values import MismatchError, choices, describe, is_attrs, scalar, split, stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from ._source import Source

Made = TypeVar("Made")
Hints = dict[str, object]

BACKOFF: Hints = {
    "min": Seconds,
    "max": Seconds,
    "factor": float,
    "jitter": float,
    "reset_after": Seconds,
}


_FACTORY: type = type(attrs.Factory(list))


class _NotedError(Exception):
    """A value is wrong, and the fault is noted already."""


class Reader:
    """Reads the tables of one source.

    Args:
      source: The tables; the faults are added to its own.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.targets = Targets()
        self.refused: set[KeyPath] = set(source.broken)
        self._broken = {at[:end] for at in source.broken for end in range(1, len(at) + 1)}
        self._hints: dict[type, Hints] = {Backoff: BACKOFF}

    def refuse(self, path: KeyPath, message: str) -> None:
        """Note a fault. The message must not tell a value, unless it is from `got`."""
        self.refused.add(path)
        place = self.source.place(path)
        told = dotted(self.source.real(path))
        self.source.faults.append(Fault(place.file, place.line, told, message))

    def refuse_foreign(self, path: KeyPath, message: str) -> None:
        """Note a fault in somebody else's words, which may tell the value."""
        sources = dict.fromkeys(text.source for text in self.source.within(path) if text.secret)
        if sources:
            told = ", ".join(sources)
            message = f"the value from {told} is not accepted (it is secret, so no more is said)"
        self.refuse(path, message)

    def got(self, path: KeyPath, value: object) -> str:
        """Return a value as a message may show it."""
        secret = any(text.secret for text in self.source.within(path))
        return value_text(self.source.written(value, path) if secret else value)

    def unknown(self, path: KeyPath, what: str, value: str, known: Collection[str]) -> None:
        """Note that there is nothing of a name."""
        secret = any(text.secret for text in self.source.within(path))
        hint = "" if secret else did_you_mean(value, known)
        self.refuse(path, f"there is no {what} {self.got(path, value)}{hint}")

    def table(self, path: KeyPath, value: object) -> dict[str, object]:
        """Return a value that must be a table; an empty one after noting that it is none."""
        table = as_table(value)
        if table is None:
            told = f"expected {path[-1]} to be a table, got {self.got(path, value)}"
            self.refuse(path, told)
        return table or {}

    def read(
        self,
        path: KeyPath,
        table: Mapping[str, object],
        hints: Hints,
        required: Iterable[str] = (),
    ) -> dict[str, object]:
        """Convert the values of a table.

        Args:
          path: Of the table.
          table: The table.
          hints: The keys that it may have, and the annotation of each.
          required: Those that it must have.

        Returns:
          The values by key, stand-ins for those that are wrong or missing.
        """
        values: dict[str, object] = {}
        for key, value in table.items():
            if key not in hints:
                self.refuse((*path, key), f"unknown key {key!r}{did_you_mean(key, hints)}")
            else:
                values[key] = self.convert((*path, key), key, hints[key], value)
        for key in required:
            if key not in table:
                self.refuse(path, f"{key} is required")
                self.refused.add((*path, key))
                values[key] = stand_in(hints[key])
        return values

    def convert(self, path: KeyPath, key: str, hint: object, value: object) -> object:
        """Convert one value, or note why not and return a stand-in."""
        if self.source.real(path) in self._broken:  # it, or something in it
            self.refused.add(path)
            return stand_in(hint)
        try:
            return self._value(path, hint, value)
        except _NotedError:
            self.refused.add(path)
        except TargetError as error:
            self.refuse_foreign(path, str(error))
        except MismatchError:
            near = ""
            if isinstance(value, str) and self.source.text(path) is None:
                near = did_you_mean(value, choices(hint))
            told = f"expected {key} to be {describe(hint)}, got {self.got(path, value)}{near}"
            self.refuse(path, told)
        return stand_in(hint)

    def _value(self, path: KeyPath, hint: object, value: object) -> object:
        sort, args = split(hint)
        if sort is Union:
            return self._member(path, args, value)
        if sort is Literal:
            if not isinstance(value, str) or value not in args:
                raise MismatchError
            return value
        if isinstance(sort, type) and is_attrs(sort):
            return self._nested(path, sort, value)
        if sort in {tuple, list}:
            return self._array(path, sort, args, value)
        if sort in _POLICY_OR_ELSE and as_table(value) is not None:
            return self._policy(path, value)
        text = self.source.text(path)
        loose = text is not None and bool(text.variables)
        made = scalar(sort, value, self.targets, loose=loose)
        if loose and isinstance(made, bool | int | float):
            self.source.converted[self.source.real(path)] = made
        return made

    def _member(self, path: KeyPath, members: tuple[object, ...], value: object) -> object:
        if value is None and type(None) in members:
            return None
        why: Exception = MismatchError()
        for member in members:
            if member is not type(None):
                try:
                    return self._value(path, member, value)
                except MismatchError:
                    continue
                except TargetError as error:
                    words = any(map(choices, members))
                    if not words or ":" in str(value):  # otherwise it was to be one of the words
                        why = error
        raise why

    def _nested(self, path: KeyPath, cls: type[Made], value: object) -> object:
        if isinstance(value, cls):
            return value
        table = as_table(value)
        if table is None:
            raise MismatchError
        before = len(self.source.faults)
        made = self.build(cls, path, table)
        if made is None or len(self.source.faults) > before:
            raise _NotedError
        return made

    def _policy(self, path: KeyPath, value: object) -> object:
        """Make a retry policy of a table, whose ``policy`` says which."""
        table = as_table(value) or {}
        given = {key: each for key, each in table.items() if key != "policy"}
        word = Literal["fixed", "linear", "exponential"]
        name = self.convert((*path, "policy"), "policy", word, table.get("policy", "exponential"))
        if (*path, "policy") in self.refused:
            raise _NotedError
        return self._nested(path, POLICIES[cast("str", name)], given)

    def _array(
        self, path: KeyPath, sort: object, args: tuple[object, ...], value: object
    ) -> object:
        if not isinstance(value, list | tuple):
            raise MismatchError
        hint = args[0] if args else object
        items = [self._value((*path, index), hint, item) for index, item in enumerate(value)]
        return tuple(items) if sort is tuple else items

    def hints(self, cls: type) -> Hints:
        """Return the arguments of an attrs class, and the annotation of each."""
        if cls not in self._hints:
            self._hints[cls] = hints(cls)
        return self._hints[cls]

    def build(self, cls: type[Made], path: KeyPath, table: Mapping[str, object]) -> Made | None:
        """Make an object of an attrs class of a table; None if it refused."""
        return self.make(cls, path, self.read(path, table, self.hints(cls), required(cls)))

    def make(  # type: ignore[explicit-any] # any class
        self,
        make: Callable[..., Made],
        path: KeyPath,
        values: Mapping[str, object],
        where: Mapping[str, KeyPath] | None = None,
    ) -> Made | None:
        """Make an object, or note what it refuses.

        Args:
          make: Its class.
          path: Of the table that the values are from.
          values: Its arguments.
          where: Where keys stand that are not in the table. None: all are in it.

        Returns:
          The object; None if it refused.
        """
        told: list[tuple[str, str]]
        try:
            return make(**values)
        except OptionsError as error:
            told = list(error.faults)
        except ChildSpecError as error:
            child = f"child {values.get('id')!r}: "
            texts = [each.removeprefix(child) for each in error.faults]
            told = [(_mentioned(text, values), text) for text in texts]
        except Exception as error:  # noqa: BLE001 - any class may check in its own way
            if any((*path, key) in self.refused for key in values):
                return None  # what is odd about stand-ins is nobody's fault
            text = str(error) if isinstance(error, ValueError) else error_text(error)
            told = [(_mentioned(text, values), text)]
        for key, message in told:
            given = where if where is not None else {name: (*path, name) for name in values}
            at = given.get(key, path)
            if at not in self.refused or at == path:
                self.refuse_foreign(at, message)
        return None


POLICIES: Final[Mapping[str, type]] = {
    "fixed": Fixed,
    "linear": Linear,
    "exponential": Exponential,
}
_POLICY_OR_ELSE: Final = (Means.RETRY, Means.PACE)  # what may be a retry policy


def hints(cls: type) -> Hints:
    """Return the arguments of an attrs class, and the annotation of each.

    Only theirs are looked up: what else an object holds may be known to type checkers alone.
    """
    arguments = {each.name: str(each.alias) for each in attrs.fields(cls) if each.init}
    found: dict[str, object] = {}
    for each in reversed(cls.__mro__):
        given = vars(each).get("__annotations__", {})
        own = SimpleNamespace(__annotations__={k: v for k, v in given.items() if k in arguments})
        names = vars(sys.modules[each.__module__])
        found |= get_type_hints(own, names, dict(vars(each)), include_extras=True)
    return {alias: found[name] for name, alias in arguments.items()}


def required(cls: type) -> list[str]:
    """Return the arguments of an attrs class that have no default."""
    fields = [each for each in attrs.fields(cls) if each.init]
    return [str(each.alias) for each in fields if each.default is attrs.NOTHING]


def defaults(cls: type) -> dict[str, object]:
    """Return the arguments of an attrs class that have a plain default, and these."""
    fields = [each for each in attrs.fields(cls) if each.init and each.default is not attrs.NOTHING]
    return {each.alias: each.default for each in fields if not isinstance(each.default, _FACTORY)}


def _mentioned(text: str, keys: Iterable[str]) -> str:
    """Return the key that a text mentions first; empty: none."""
    places = {key: re.search(rf"\b{re.escape(key)}\b", text) for key in keys}
    found = {key: place.start() for key, place in places.items() if place is not None}
    return min(found, key=found.__getitem__, default="")
