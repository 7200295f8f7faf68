"""Prints a configuration, as TOML or JSON that loads again, with where each value came from."""

from __future__ import annotations

import datetime as dt
import pathlib
from itertools import zip_longest
from math import isfinite
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
    from ._schema import ChildConfig, Config

_DEFAULT = "default"
_LARGE = 10_000  # bits; int() refuses to print more than 4,300 digits


def render(config: Config, *, secrets: bool = False) -> str:
    """Return the effective configuration as text that `load_config` accepts.

    Every value is followed by a comment that says where it came from: a place, ``${VAR}`` and a
    place, a defaults table and a place, or ``default``. Secrets stand there as ``${NAME}`` or
    ``${file:PATH}``, so they must be there when the text is loaded; those that stand in the file
    itself, as ``***``. What TOML cannot say, None or a function without a name, is a comment
    altogether.

    Args:
      config: The configuration.
      secrets: Whether the secrets themselves are shown.
    """
    return "\n".join(_Printer(config, secrets).lines())


def as_json(config: Config, *, secrets: bool = False) -> dict[str, object]:
    """Return the effective configuration as what JSON can say.

    Args:
      config: The configuration.
      secrets: Whether the secrets themselves are shown, as for `render`.

    Returns:
      ``config``: the tables, which `load_config` accepts; null: not set. ``origins``: by dotted
      path, of each value that is not a default: ``file``, ``line``, the defaults ``table``, the
      ``variables`` in it, and whether it is ``secret``.
    """
    printer = _Printer(config, secrets)
    tables: dict[str, object] = {}
    for path, values in printer.tables():
        table: dict[str, object] = {}
        for key, written, _ in printer.entries(path, values):
            table[key] = _json(written)
        _put(tables, path, table)
    keys = ("file", "line", "table", "variables", "secret")
    origins = {
        path: {key: getattr(origin, key) for key in keys} for path, origin in config.origins.items()
    }
    return {"config": tables, "origins": origins}


def _put(tables: dict[str, object], path: KeyPath, table: dict[str, object]) -> None:
    """Put a table where its path leads; the tables around it are there, or made."""
    inner: object = tables
    for part, after in zip_longest(path, path[1:]):
        if isinstance(inner, list):  # in the order of their indexes
            inner.append({})
            inner = inner[-1]
        elif isinstance(inner, dict):
            inner = inner.setdefault(part, [] if isinstance(after, int) else {})
    if isinstance(inner, dict):
        inner.update(table)


@attrs.frozen
class _Printer:
    config: Config
    secrets: bool

    def lines(self) -> Iterator[str]:
        for path, values in self.tables():
            if path:
                yield ""
                many = isinstance(path[-1], int)
                yield f"[[{dotted(path[:-1])}]]" if many else f"[{dotted(path)}]"
            for key, written, source in self.entries(path, values):
                if written is None:
                    yield f"# {key_text(key)} is not set  # {source}"
                else:
                    try:
                        yield f"{key_text(key)} = {_toml(written)}  # {source}"
                    except _NotTOMLError as error:
                        yield f"# {key_text(key)} cannot be written: {error}  # {source}"
        yield ""

    def tables(self) -> Iterator[tuple[KeyPath, Mapping[str, object]]]:
        """Yield each table: its path, and its values."""
        config = self.config
        yield (), {"schema": config.schema}
        yield ("runtime",), fields_of(config.runtime)
        yield ("metrics",), fields_of(config.metrics)
        yield ("control",), fields_of(config.control)
        for name, store in config.stores.items():
            yield ("store", name), {"type": store.type, **store.options}
        for name, queue in config.queues.items():
            yield ("queue", name), {"kind": queue.kind, **fields_of(queue.options)}
        for name, worker in config.workers.items():
            yield ("worker", name), fields_of(worker)
        for name, supervisor in config.supervisors.items():
            path: KeyPath = ("supervisor", name)
            own = {**fields_of(supervisor.flags), "on_give_up": supervisor.on_give_up}
            yield path, own | supervisor.options
            for index, child in enumerate(supervisor.children):
                at = (*path, "child", index)
                yield at, self.child(at, child)

    def child(self, path: KeyPath, child: ChildConfig) -> dict[str, object]:
        origin = self.config.origins.get(dotted((*path, child.what)))
        values: dict[str, object] = {child.what: child.start or child.name}
        hidden = origin is not None and origin.secret and not self.secrets
        if not hidden or dotted((*path, "id")) in self.config.origins:
            values["id"] = child.id  # by default it tells the name
        if child.what == "start":
            values["args"] = child.args
        return values | child.options

    def entries(
        self, path: KeyPath, values: Mapping[str, object]
    ) -> Iterator[tuple[str, object, str]]:
        """Yield what is printed of each value: its key, the value, where it came from."""
        for key, value in values.items():
            origin = self.config.origins.get(dotted((*path, key)))
            if origin is None:
                yield key, _written(value), _DEFAULT
            else:
                yield key, origin.clear if self.secrets else origin.written, str(origin)


class _NotTOMLError(Exception):
    """TOML has no way to write a value."""


def fields_of(options: attrs.AttrsInstance) -> dict[str, object]:
    """Return the arguments that an attrs object was made with."""
    fields = attrs.fields(type(options))
    return {each.alias: getattr(options, each.name) for each in fields if each.init}


def _written(value: object) -> object:
    """Return a value that was not given as a configuration would write it."""
    if isinstance(value, str):
        return escape(value)
    return (target_text(value) or value) if callable(value) else value


def toml_text(value: object) -> str | None:
    """Return a value as TOML; a callable as its target. None: TOML has no way to write it."""
    try:
        return _toml((target_text(value) or value) if callable(value) else value)
    except _NotTOMLError:
        return None


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


def _json(value: object) -> object:
    """Return a value as JSON can say it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [*map(_json, value)]
    table = _table(value)
    if table is not None:
        return {key: _json(item) for key, item in table.items()}
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def _inline(value: object) -> str:
    table = _table(value)
    if table is None:
        raise _NotTOMLError(value_text(value))
    return f"{{{', '.join(f'{key_text(key)} = {_toml(item)}' for key, item in table.items())}}}"


def _table(value: object) -> dict[str, object] | None:
    """Return what is written as a table; None: it is none."""
    if isinstance(value, Backoff):
        return fields_of(value)
    for word, policy in POLICIES.items():
        if isinstance(value, policy):
            fields = fields_of(cast("attrs.AttrsInstance", value))
            return {"policy": word} | {
                key: each for key, each in fields.items() if each is not None
            }
    return as_table(value)
