"""Puts the files of a configuration together, with the place and the variables of each value.

Decides what may be included, merged and overridden. What the tables mean is left to `_check`.
Lines are looked for only when somebody asks: a file that is right is read in half the time so.
"""

from __future__ import annotations

import glob
import os
import stat
from functools import cached_property
from typing import TYPE_CHECKING

import attrs

from supervisors import did_you_mean

from ._environment import (
    MissingVariableError,
    Text,
    escape,
    interpolate,
    looks_secret,
    may_need,
)
from ._faults import ConfigError, Fault, KeyPath, as_table, dotted, value_text
from ._files import read_toml, why_unread
from ._lines import line_numbers
from ._targets import target_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SORTS = ("store", "queue", "worker", "supervisor")
"""The tables whose entries have names: ``[queue.NAME]``."""

SINGLE = ("runtime", "metrics", "control")
"""The tables that there is one of, in the main file or one that overrides it."""

_TOP = ("schema", "include", "override", *SINGLE, "defaults", *SORTS)
_SCHEMA = 1
_DEEPEST = 100  # keys and indexes on top of each other
_LARGEST_SECRET = 1 << 20  # bytes; Kubernetes allows a secret as much


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
      owners: Which file says what: a sort, a table, or a key of it that was overridden.
      texts: The strings that dollar signs were replaced in, or that have something secret.
      broken: The strings that variables are missing for.
      converted: What the schema made of them, where that is no string.
      aliases: The keys that a defaults table gave to another table, and where they stand there.
      faults: What was wrong so far.
    """

    environ: Mapping[str, str]
    data: dict[str, dict[str, object]] = attrs.field(factory=dict)
    owners: dict[KeyPath, _Document] = attrs.field(factory=dict)
    texts: dict[KeyPath, Text] = attrs.field(factory=dict)
    broken: set[KeyPath] = attrs.field(factory=set)
    converted: dict[KeyPath, object] = attrs.field(factory=dict)
    aliases: dict[KeyPath, KeyPath] = attrs.field(factory=dict)
    faults: list[Fault] = attrs.field(factory=list)
    _seen: set[str] = attrs.field(factory=set)
    _secret: dict[str, bool] = attrs.field(factory=dict)  # by key
    _overrides: list[tuple[_Document, dict[str, object]]] = attrs.field(factory=list)
    _within: dict[KeyPath, list[Text]] = attrs.field(factory=dict)  # of texts: at and below

    def read_file(self, file: str) -> None:
        """Read a file and what it includes."""
        self._add_file(file, ())
        self._finish()

    def read_mapping(self, data: Mapping[str, object]) -> None:
        """Read tables that are Python data, and the files that they include."""
        self._add(_Document(self, None, None), data, (), main=True)
        self._finish()

    def _add_file(self, file: str, parents: tuple[str, ...]) -> None:
        """Read a file that was not read before, and what it includes.

        Args:
          file: The file.
          parents: The files that include it, the main one first.
        """
        real = file if "\0" in file else os.path.realpath(file)  # which refuses it, too
        if real in self._seen:
            return
        self._seen.add(real)
        try:
            data, text = read_toml(file)
        except ConfigError as error:
            self.faults += error.faults
            return
        self._add(_Document(self, file, text), data, parents, main=not parents)

    def _add(
        self,
        document: _Document,
        data: Mapping[str, object],
        parents: tuple[str, ...],
        *,
        main: bool,
    ) -> None:
        """Take one file, or the mapping, and then what it includes."""
        tables = document.top(data)
        overrides = document.check_top(tables, main=main)
        if main and "schema" in tables:
            self.owners["schema",] = document
        if overrides:
            self._overrides.append((document, tables))
        else:
            self._merge_all(document, tables, main=main)
        chain = parents if document.file is None else (*parents, document.file)
        for path, file in document.includes(tables.get("include", [])):
            if os.path.realpath(file) in map(os.path.realpath, chain):
                document.refuse(path, f"the file includes itself: {' -> '.join((*chain, file))}")
            else:
                self._add_file(file, chain or (os.curdir,))

    def _merge_all(self, document: _Document, tables: dict[str, object], *, main: bool) -> None:
        for sort in SINGLE:
            if main and sort in tables:
                self._merge(document, sort, {"": tables[sort]})
        for sort in (*SORTS, "defaults"):
            if sort in tables:
                self._merge(document, sort, document.table(tables[sort], (sort,)))

    def _merge(self, document: _Document, sort: str, named: dict[str, object]) -> None:
        """Take the tables of one sort; none may be there already."""
        whole = self.data.setdefault(sort, {})
        self.owners.setdefault((sort,), document)
        for name, value in named.items():
            path: KeyPath = (sort, name) if sort not in SINGLE else (sort,)
            if name in whole:
                document.refuse(path, f"it is defined twice: also at {self.place(path)}")
            elif not name and sort not in SINGLE:
                document.refuse(path, "expected a name that is not empty")
            else:
                whole[name] = value
                self.owners[path] = document

    def _finish(self) -> None:
        """Let the overrides override, and then resolve what is left."""
        for document, tables in self._overrides:
            for sort in SINGLE:
                if sort in tables:
                    self._override(document, sort, {"": tables[sort]})
            for sort in (*SORTS, "defaults"):
                if sort in tables:
                    self._override(document, sort, document.table(tables[sort], (sort,)))
        for sort, named in self.data.items():
            for name, value in named.items():
                path: KeyPath = (sort,) if sort in SINGLE else (sort, name)
                table = as_table(value)
                if table is None:
                    named[name] = self.owners[path].resolve(value, path)
                    continue
                named[name] = {
                    key: self._owner(path, key).resolve(item, (*path, key), secret=self._hides(key))
                    for key, item in self.owners[path].items(table, path)
                }

    def _owner(self, path: KeyPath, key: str) -> _Document:
        """Return which file says a key of a table."""
        return (self._overrides and self.owners.get((*path, key))) or self.owners[path]

    def _hides(self, key: str) -> bool:
        """Whether a key looks secret: thousands of tables have the same ten keys."""
        if key not in self._secret:
            self._secret[key] = looks_secret(key)
        return self._secret[key]

    def _override(self, document: _Document, sort: str, named: dict[str, object]) -> None:
        """Let what a file says key by key count more than what was said before."""
        whole = self.data.setdefault(sort, {})
        for name, value in named.items():
            path: KeyPath = (sort, name) if sort not in SINGLE else (sort,)
            table = document.table(value, path)
            if name not in whole:
                if sort in SORTS:
                    hint = did_you_mean(name, whole)
                    document.refuse(path, f"there is no {sort} {name!r} to override{hint}")
                    continue
                whole[name] = {}
                self.owners[path] = document
            before = as_table(whole[name])
            if before is not None:  # otherwise that is a fault of its own
                whole[name] = before | table
                self.owners |= {(*path, key): document for key in table}

    def real(self, path: KeyPath) -> KeyPath:
        """Return where a value stands: in its table, or in a defaults table."""
        if not self.aliases:
            return path
        return self.aliases.get(path[:3], path[:3]) + path[3:]

    def place(self, path: KeyPath) -> Place:
        """Return the place of a key, or of the nearest table around it."""
        path = self.real(path)
        for length in (3, 2, 1):
            owner = self.owners.get(path[:length])
            if owner is not None:
                return owner.place(path)
        return Place(None, None)

    def text(self, path: KeyPath) -> Text | None:
        """Return the string with variables or secrets in it that stands at a path."""
        return self.texts.get(self.real(path)) if self.texts else None

    def within(self, path: KeyPath) -> list[Text]:
        """Return the strings with variables or secrets in them at a path and below."""
        if not self.texts:
            return []
        if not self._within:
            for at, text in self.texts.items():
                for length in range(1, len(at) + 1):
                    self._within.setdefault(at[:length], []).append(text)
        found = self._within.get(self.real(path), [])
        if len(path) == 2:  # a table: what it got from its defaults too
            aliases = [key for key in self.aliases if key[:2] == path]
            found = [*found, *(text for key in aliases for text in self.within(key))]
        return found

    def written(self, value: object, path: KeyPath, *, secrets: bool = False) -> object:
        """Return a value as a configuration writes it: no variable, no callable.

        Args:
          value: The value.
          path: Its path.
          secrets: Whether secrets are written, too. Otherwise only where they are from.
        """
        if isinstance(value, str):
            text = self.text(path)
            if text is None or secrets:
                return self._plain(value, path)
            return text.shown if text.secret else self.converted.get(self.real(path), text.shown)
        if isinstance(value, dict):
            return {
                key: self.written(item, (*path, key), secrets=secrets)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [
                self.written(item, (*path, index), secrets=secrets)
                for index, item in enumerate(value)
            ]
        return (target_text(value) or value) if callable(value) else value

    def _plain(self, value: str, path: KeyPath) -> object:
        return self.converted.get(self.real(path), escape(str(value)))


@attrs.define(eq=False, slots=False)
class _Document:
    """One file, or the mapping, on its way into the whole."""

    source: Source
    file: str | None
    text: str | None

    @cached_property
    def lines(self) -> dict[KeyPath, int]:
        """The line of every key."""
        return {} if self.text is None else line_numbers(self.text)

    @property
    def folder(self) -> str:
        """What names in it are relative to, as it was given."""
        return os.path.dirname(self.file or "")  # noqa: PTH120 - Path would normalise it

    def place(self, path: KeyPath) -> Place:
        """Return the place of a key, or of the nearest table around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return Place(self.file, self.lines.get(path))

    def refuse(self, path: KeyPath, message: str) -> None:
        self.source.faults.append(Fault(self.file, self.lines.get(path), dotted(path), message))

    def items(
        self, table: Mapping[str, object] | dict[object, object], path: KeyPath
    ) -> Iterator[tuple[str, object]]:
        for key, value in table.items():
            if isinstance(key, str):
                yield key, value
            else:
                self.refuse(path, f"expected every key to be a string, got {value_text(key)}")

    def resolve(self, value: object, path: KeyPath, *, secret: bool = False) -> object:
        """Replace the variables in a value, at any depth.

        Args:
          value: The value.
          path: Its path.
          secret: Whether all of it is secret, because of a key.

        Raises:
          RecursionError: If it is nested so deeply that we might not get through it later.
        """
        if len(path) > _DEEPEST:
            raise RecursionError
        if isinstance(value, str):
            return (
                self._resolved(value, path, secret=secret) if secret or may_need(value) else value
            )
        if isinstance(value, bool | int | float):
            return value
        table = as_table(value)
        if table is not None:
            return {
                key: self.resolve(item, (*path, key), secret=secret or looks_secret(key))
                for key, item in self.items(table, path)
            }
        if isinstance(value, list | tuple) and type(value) in {list, tuple}:
            items = [
                self.resolve(item, (*path, index), secret=secret)
                for index, item in enumerate(value)
            ]
            return items if isinstance(value, list) else tuple(items)
        return value

    def _resolved(self, value: str, path: KeyPath, *, secret: bool) -> str:
        try:
            text = interpolate(value, self.source.environ, self._read, secret=secret)
        except MissingVariableError as error:
            self.source.broken.add(path)
            self.refuse(path, str(error))
            return value
        if text.variables or text.secret or text.value != value:
            self.source.texts[path] = text
        # A value of a queue goes through a codec, which knows no kind of string but the plain one.
        return str(text.value) if path[2:3] == ("values",) else text.value

    def _read(self, path: str) -> tuple[str, str]:
        """Return the full name and the content of a file that holds a secret.

        The line break at its end is none of it: editors and ``echo`` leave one there.
        """
        file = os.path.abspath(os.path.join(self.folder, path))  # noqa: PTH100, PTH118 - as given
        if "{" in file or "}" in file:
            raise MissingVariableError("the name of a file may not have a brace in it")
        try:
            if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - a pipe might never end
                raise MissingVariableError(f"cannot read {file}: it is no regular file")
            with open(file, "rb") as opened:  # noqa: PTH123 - likewise
                content = opened.read(_LARGEST_SECRET + 1)
        except (OSError, ValueError) as error:
            if isinstance(error, MissingVariableError):
                raise
            raise MissingVariableError(f"cannot read {file}: {why_unread(error)}") from None
        if len(content) > _LARGEST_SECRET:
            raise MissingVariableError(f"cannot read {file}: it is larger than 1 MiB")
        try:
            return file, content.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise MissingVariableError(f"cannot read {file}: it is not UTF-8") from None

    def table(self, value: object, path: KeyPath) -> dict[str, object]:
        table = as_table(value)
        if table is None:
            self.refuse(path, f"expected {path[-1]} to be a table, got {self.shown(value, path)}")
        return table or {}

    def shown(self, value: object, path: KeyPath) -> str:
        text = self.source.texts.get(path)
        return value_text(value if text is None else text.shown)

    def top(self, data: Mapping[str, object]) -> dict[str, object]:
        """Return what stands at the top; of what is not merged, variables are replaced."""
        return {
            key: value if key in {*SINGLE, *SORTS, "defaults"} else self.resolve(value, (key,))
            for key, value in self.items(data, ())
        }

    def check_top(self, tables: dict[str, object], *, main: bool) -> bool:
        """Check what stands at the top; return whether the file overrides others."""
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
        override = tables.get("override", False)
        if not isinstance(override, bool):
            got = self.shown(override, ("override",))
            self.refuse(("override",), f"expected override to be true or false, got {got}")
        elif override and main:
            self.refuse(("override",), "only an included file may override")
        for sort in SINGLE:
            if sort in tables and not (main or override):
                told = f"an included file may not have [{sort}], unless it says override = true"
                self.refuse((sort,), told)
        return override is True and not main

    def includes(self, patterns: object) -> Iterator[tuple[KeyPath, str]]:
        """Find the files to include, and the paths of the patterns that found them."""
        if not isinstance(patterns, list | tuple):
            self.refuse(("include",), "expected include to be an array of strings")
            return
        for index, pattern in enumerate(patterns):
            path = ("include", index)
            if not isinstance(pattern, str):
                told = f"expected a file or a pattern, got {value_text(pattern)}"
                self.refuse(path, told)
            elif path in self.source.texts and self.source.texts[path].secret:
                self.refuse(path, "a secret may not be part of a file's name, which is shown")
            elif path not in self.source.broken:
                full = os.path.join(glob.escape(self.folder), pattern)  # noqa: PTH118
                try:
                    files = sorted(glob.glob(full, recursive=True))  # noqa: PTH207
                except ValueError:
                    self.refuse(path, "no file can have this name: it has a NUL in it")
                    continue
                if not files and not glob.has_magic(pattern):
                    self.refuse(path, "there is no such file")
                for file in files:
                    yield path, file
