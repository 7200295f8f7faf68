"""Prints a configuration as TOML that loads again, each value with where it came from."""

from __future__ import annotations

import datetime as dt
import pathlib
from typing import TYPE_CHECKING, cast

import attrs

from supervisors import Backoff

from ._environment import escape
from ._faults import as_table, dotted, key_text, string_text, value_text
from ._reader import POLICIES
from ._targets import target_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._faults import KeyPath
    from ._schema import ChildConfig, Config, SupervisorConfig

_DEFAULT = "default"
_LARGE = 10_000  # bits; int() refuses to print more than 4,300 digits


def render(config: Config) -> str:
    """Return the effective configuration as text that `load_config` accepts.

    Every value is followed by a comment that says where it came from: a place, ``${VAR}`` and a
    place, a defaults table and a place, or ``default``. Secrets stand there as ``${NAME}``, so
    they must be set when the text is loaded. What TOML cannot say, None or a function without a
    name, is a comment altogether.
    """
    return "\n".join(_Printer(config).lines())


@attrs.frozen
class _Printer:
    config: Config

    def lines(self) -> Iterator[str]:
        yield from self.values((), {"schema": self.config.schema})
        yield from self.table(("runtime",), _fields(self.config.runtime))
        yield from self.table(("metrics",), _fields(self.config.metrics))
        for name, store in self.config.stores.items():
            yield from self.table(("store", name), {"type": store.type, **store.options})
        for name, queue in self.config.queues.items():
            yield from self.table(("queue", name), {"kind": queue.kind, **_fields(queue.options)})
        for name, worker in self.config.workers.items():
            yield from self.table(("worker", name), _fields(worker))
        for name, supervisor in self.config.supervisors.items():
            yield from self.supervisor(("supervisor", name), supervisor)
        yield ""

    def table(self, path: KeyPath, values: Mapping[str, object]) -> Iterator[str]:
        yield ""
        yield f"[{dotted(path)}]"
        yield from self.values(path, values)

    def supervisor(self, path: KeyPath, supervisor: SupervisorConfig) -> Iterator[str]:
        values = {**_fields(supervisor.flags), "on_give_up": supervisor.on_give_up}
        yield from self.table(path, values | supervisor.options)
        for index, child in enumerate(supervisor.children):
            yield ""
            yield f"[[{dotted((*path, 'child'))}]]"
            yield from self.child((*path, "child", index), child)

    def child(self, path: KeyPath, child: ChildConfig) -> Iterator[str]:
        origin = self.config.origins.get(dotted((*path, child.what)))
        values: dict[str, object] = {child.what: child.start or child.name}
        if origin is None or not origin.secret or dotted((*path, "id")) in self.config.origins:
            values["id"] = child.id  # by default it tells the name
        if child.what == "start":
            values["args"] = child.args
        yield from self.values(path, values | child.options)

    def values(self, path: KeyPath, values: Mapping[str, object]) -> Iterator[str]:
        for key, value in values.items():
            origin = self.config.origins.get(dotted((*path, key)))
            source = _DEFAULT if origin is None else str(origin)
            written = _written(value) if origin is None else origin.written
            if written is None:
                yield f"# {key_text(key)} is not set  # {source}"
            else:
                try:
                    yield f"{key_text(key)} = {_toml(written)}  # {source}"
                except _NotTOMLError as error:
                    yield f"# {key_text(key)} cannot be written: {error}  # {source}"


class _NotTOMLError(Exception):
    """TOML has no way to write a value."""


def _fields(options: attrs.AttrsInstance) -> dict[str, object]:
    """Return the arguments that an attrs object was made with."""
    fields = attrs.fields(type(options))
    return {each.alias: getattr(options, each.name) for each in fields if each.init}


def _written(value: object) -> object:
    """Return a value that was not given as a configuration would write it."""
    if isinstance(value, str):
        return escape(value)
    return (target_text(value) or value) if callable(value) else value


def _toml(value: object) -> str:
    match value:
        case bool():
            text = "true" if value else "false"
        case int() if value >= 0 or value.bit_length() < _LARGE:  # no minus before 0x
            text = str(value) if value.bit_length() < _LARGE else f"0x{value:x}"
        case float():
            text = repr(value)
        case str() | pathlib.PurePath():
            text = string_text(str(value))
        case dt.date() | dt.time():  # a datetime is a date
            text = value.isoformat()
        case list() | tuple():
            text = f"[{', '.join(map(_toml, value))}]"
        case _:
            text = _inline(value)
    return text


def _inline(value: object) -> str:
    table = _table(value)
    if table is None:
        raise _NotTOMLError(value_text(value))
    return f"{{{', '.join(f'{key_text(key)} = {_toml(item)}' for key, item in table.items())}}}"


def _table(value: object) -> dict[str, object] | None:
    """Return what is written as a table; None: it is none."""
    if isinstance(value, Backoff):
        return _fields(value)
    for word, policy in POLICIES.items():
        if isinstance(value, policy):
            fields = _fields(cast("attrs.AttrsInstance", value))
            return {"policy": word} | {
                key: each for key, each in fields.items() if each is not None
            }
    return as_table(value)
