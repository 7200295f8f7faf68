"""Puts the files of a configuration together, with the place and the variables of each value.

Decides what may be included and merged. What the tables mean is left to `_check`.
"""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

import attrs

from supervisors import did_you_mean

from ._environment import MissingVariableError, Text, escape, interpolate
from ._faults import ConfigError, Fault, KeyPath, as_table, dotted, value_text
from ._files import read_toml
from ._targets import target_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SORTS = ("store", "queue", "worker", "supervisor")
"""The tables whose entries have names: ``[queue.NAME]``."""

SINGLE = ("runtime", "metrics")
"""The tables that there is one of, in the main file."""

_TOP = ("schema", "include", *SINGLE, "defaults", *SORTS)
_SCHEMA = 1


@attrs.frozen
class Place:
    """A line of a file; None where there is no file, or no line is known."""

    file: str | None
    line: int | None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line) if part is not None)


@attrs.define(eq=False)
class Source:
    """The tables of all files together.

    Args:
      environ: The environment variables.
      data: By sort and name; those of `SINGLE` have one nameless table.
      places: Where each key stands.
      texts: The strings that dollar signs were replaced in.
      broken: The strings that variables are missing for.
      converted: What the schema made of them, where that is no string.
      aliases: The keys that a defaults table gave to another table, and where they stand there.
      faults: What was wrong so far.
    """

    environ: Mapping[str, str]
    data: dict[str, dict[str, object]] = attrs.field(factory=dict)
    places: dict[KeyPath, Place] = attrs.field(factory=dict)
    texts: dict[KeyPath, Text] = attrs.field(factory=dict)
    broken: set[KeyPath] = attrs.field(factory=set)
    converted: dict[KeyPath, object] = attrs.field(factory=dict)
    aliases: dict[KeyPath, KeyPath] = attrs.field(factory=dict)
    faults: list[Fault] = attrs.field(factory=list)
    _within: dict[KeyPath, list[Text]] = attrs.field(factory=dict)  # of texts: at and below
    _seen: set[str] = attrs.field(factory=set)

    def add_file(self, file: str, parents: tuple[str, ...] = ()) -> None:
        """Read a file and what it includes.

        Args:
          file: The file. Nothing happens if it was read before.
          parents: The files that include it, the main one first.
        """
        real = file if "\0" in file else os.path.realpath(file)  # which refuses it, too
        if real in self._seen:
            return
        self._seen.add(real)
        try:
            data, lines = read_toml(file)
        except ConfigError as error:
            self.faults += error.faults
            return
        document = _Document(self, file, {path: Place(file, line) for path, line in lines.items()})
        self.add(document, data, parents, main=not parents)

    def add_mapping(self, data: Mapping[str, object]) -> None:
        """Read tables that are Python data, and the files that they include."""
        self.add(_Document(self, None, {}), data, (), main=True)

    def add(
        self,
        document: _Document,
        data: Mapping[str, object],
        parents: tuple[str, ...],
        *,
        main: bool,
    ) -> None:
        """Merge one file, or the mapping, and then what it includes."""
        tables = {key: document.resolve(value, (key,)) for key, value in document.items(data, ())}
        document.check_top(tables, main=main)
        for sort in SINGLE:
            if main and sort in tables:
                self._merge(document, sort, {"": tables[sort]})
        if main and ("schema",) in document.places:
            self.places["schema",] = document.places["schema",]
        for sort in (*SORTS, "defaults"):
            if sort in tables:
                named = document.table(tables[sort], (sort,))
                self._merge(document, sort, named)
        chain = parents if document.file is None else (*parents, document.file)
        for path, file in document.includes(tables.get("include", [])):
            if os.path.realpath(file) in map(os.path.realpath, chain):
                document.refuse(path, f"the file includes itself: {' -> '.join((*chain, file))}")
            else:
                self.add_file(file, chain or (os.curdir,))

    def _merge(self, document: _Document, sort: str, named: dict[str, object]) -> None:
        whole = self.data.setdefault(sort, {})
        twice = set()
        for name, value in named.items():
            path: KeyPath = (sort, name) if sort not in SINGLE else (sort,)
            if name in whole:
                twice.add(path)
                document.refuse(path, f"it is defined twice: also at {self.place(path)}")
            elif not name and sort not in SINGLE:
                document.refuse(path, "expected a name that is not empty")
            else:
                whole[name] = value
        for at, place in document.places.items():
            if at[0] == sort and at[:2] not in twice:
                self.places.setdefault(at, place)
        for at, text in document.texts.items():
            if at[0] == sort and at[:2] not in twice:
                self.texts[at] = text
                for length in range(1, len(at) + 1):
                    self._within.setdefault(at[:length], []).append(text)
        self.broken |= document.broken

    def real(self, path: KeyPath) -> KeyPath:
        """Return where a value stands: in its table, or in a defaults table."""
        return self.aliases.get(path[:3], path[:3]) + path[3:]

    def place(self, path: KeyPath) -> Place:
        """Return the place of a key, or of the nearest table around it."""
        path = self.real(path)
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(None, None))

    def text(self, path: KeyPath) -> Text | None:
        """Return the string with variables in it that stands at a path."""
        return self.texts.get(self.real(path))

    def within(self, path: KeyPath) -> list[Text]:
        """Return the strings with variables in them at a path and below."""
        found = self._within.get(self.real(path), [])
        if len(path) == 2:  # a table: what it got from its defaults too
            aliases = [key for key in self.aliases if key[:2] == path]
            found = [*found, *(text for key in aliases for text in self.within(key))]
        return found

    def written(self, value: object, path: KeyPath) -> object:
        """Return a value as a configuration writes it: no secret, no variable, no callable."""
        if isinstance(value, str):
            text = self.text(path)
            if text is None or text.secrets:
                return escape(value) if text is None else text.shown
            return self.converted.get(self.real(path), text.shown)
        if isinstance(value, dict):
            return {key: self.written(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.written(item, (*path, index)) for index, item in enumerate(value)]
        return (target_text(value) or value) if callable(value) else value


@attrs.define(eq=False)
class _Document:
    """One file, or the mapping, on its way into the whole."""

    source: Source
    file: str | None
    places: dict[KeyPath, Place]
    texts: dict[KeyPath, Text] = attrs.field(factory=dict)
    broken: set[KeyPath] = attrs.field(factory=set)

    def refuse(self, path: KeyPath, message: str) -> None:
        place = self.places.get(path, Place(self.file, None))
        self.source.faults.append(Fault(place.file, place.line, dotted(path), message))

    def items(
        self, table: Mapping[str, object] | dict[object, object], path: KeyPath
    ) -> Iterator[tuple[str, object]]:
        for key, value in table.items():
            if isinstance(key, str):
                yield key, value
            else:
                self.refuse(path, f"expected every key to be a string, got {value_text(key)}")

    def resolve(self, value: object, path: KeyPath) -> object:
        """Replace the variables in a value, at any depth."""
        if isinstance(value, str) and "$" in value:
            try:
                text = interpolate(value, self.source.environ)
            except MissingVariableError as error:
                self.broken.add(path)
                self.refuse(path, str(error))
                return value
            self.texts[path] = text
            return text.value
        table = as_table(value)
        if table is not None:
            return {key: self.resolve(item, (*path, key)) for key, item in self.items(table, path)}
        if isinstance(value, list | tuple) and type(value) in {list, tuple}:
            items = [self.resolve(item, (*path, index)) for index, item in enumerate(value)]
            return items if isinstance(value, list) else tuple(items)
        return value

    def table(self, value: object, path: KeyPath) -> dict[str, object]:
        table = as_table(value)
        if table is None:
            self.refuse(path, f"expected {path[-1]} to be a table, got {self.shown(value, path)}")
        return table or {}

    def shown(self, value: object, path: KeyPath) -> str:
        text = self.texts.get(path)
        return value_text(value if text is None else text.shown)

    def check_top(self, tables: dict[str, object], *, main: bool) -> None:
        for key, value in tables.items():
            if key not in _TOP:
                what = "table" if as_table(value) is not None else "key"
                self.refuse((key,), f"unknown {what} {key!r}{did_you_mean(key, _TOP)}")
        if "schema" not in tables:
            if main and self.file is not None:
                self.refuse(("schema",), "schema = 1 is required, at the top of the file")
        elif tables["schema"] != _SCHEMA or type(tables["schema"]) is not int:
            got = self.shown(tables["schema"], ("schema",))
            self.refuse(("schema",), f"this version reads schema {_SCHEMA}, got {got}")
        for sort in SINGLE:
            if sort in tables and not main:
                self.refuse((sort,), f"an included file may not have [{sort}]")

    def includes(self, patterns: object) -> Iterator[tuple[KeyPath, str]]:
        """Find the files to include, and the paths of the patterns that found them."""
        if not isinstance(patterns, list | tuple):
            self.refuse(("include",), "expected include to be an array of strings")
            return
        folder = os.path.dirname(self.file or "")  # noqa: PTH120 - as it was given
        for index, pattern in enumerate(patterns):
            path = ("include", index)
            if not isinstance(pattern, str):
                told = f"expected a file or a pattern, got {value_text(pattern)}"
                self.refuse(path, told)
            elif path in self.texts and self.texts[path].secrets:
                self.refuse(path, "a secret may not be part of a file's name, which is shown")
            elif path not in self.broken:
                full = os.path.join(glob.escape(folder), pattern)  # noqa: PTH118
                try:
                    files = sorted(glob.glob(full, recursive=True))  # noqa: PTH207
                except ValueError:
                    self.refuse(path, "no file can have this name: it has a NUL in it")
                    continue
                if not files and not glob.has_magic(pattern):
                    self.refuse(path, "there is no such file")
                for file in files:
                    yield path, file
