"""Finds the line of every key of a TOML document, which tomllib does not tell.

Runs after tomllib has accepted the text, so it refuses nothing: it splits the text into strings,
comments and marks, and follows the keys. What a quoted key means, tomllib says. It looks into
arrays and inline tables, since ``child = [...]`` over several lines is as good as
``[[supervisor.root.child]]``.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._faults import KeyPath

_TOKEN = re.compile(
    r'''
      (?P<text> """ (?: \\. | [^\\] )*? """ "{0,2}  # may end in two quotes of its own
              | \'\'\' .*? \'\'\' '{0,2}
              | " (?: \\. | [^"\\] )* "
              | ' [^']* ' )
    | \# [^\n]*
    | (?P<mark> [\n\[\]{}=,.] )
    | (?P<bare> [^\s\[\]{}=,.\#"']+ )
    ''',
    re.DOTALL | re.VERBOSE,
)


def line_numbers(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of each table, key and array item, by its path.

    Args:
      text: A TOML document that tomllib accepts.
    """
    return _Scanner(text.replace("\r\n", "\n")).document()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.tables: dict[KeyPath, int] = {}  # how many [[tables]] of a path there were so far
        self.tokens: list[tuple[str, int]] = []
        line, seen = 1, 0
        for match in _TOKEN.finditer(text):
            if match.lastgroup is not None:
                line += text.count("\n", seen, match.start())
                seen = match.start()
                self.tokens.append((match.group(), line))
        self.tokens.append(("end", line))
        self.at = 0

    @property
    def now(self) -> str:
        return self.tokens[self.at][0]

    @property
    def line(self) -> int:
        return self.tokens[self.at][1]

    def document(self) -> dict[KeyPath, int]:
        here: KeyPath = ()
        while self.at < len(self.tokens) - 1:
            if self.now == "\n":
                self.at += 1
            elif self.now == "[":
                here = self.header()
            else:
                self.pair(here)
        return self.lines

    def header(self) -> KeyPath:
        """Read ``[a.b]`` or ``[[a.b]]``; return the path of the keys that follow."""
        line = self.line
        many = self.tokens[self.at + 1][0] == "["
        self.at += 2 if many else 1
        *parents, last = self.key()
        self.at += 2 if many else 1
        path: KeyPath = ()
        for part in parents:
            path += (part,)
            self.lines.setdefault(path, line)
            if path in self.tables:  # a sub-table belongs to the latest item
                path += (self.tables[path] - 1,)
        path += (last,)
        if many:
            self.lines.setdefault(path, line)
            self.tables[path] = self.tables.get(path, 0) + 1
            path += (self.tables[path] - 1,)
        self.lines[path] = line
        return path

    def key(self) -> tuple[str, ...]:
        parts = []
        while True:
            token = self.now
            parts.append(_unquoted(token) if token[0] in "\"'" else token)
            self.at += 1
            if self.now != ".":
                return tuple(parts)
            self.at += 1

    def pair(self, path: KeyPath) -> None:
        line = self.line
        for part in self.key():
            path += (part,)
            self.lines.setdefault(path, line)
        self.at += 1  # "="
        self.value(path)

    def value(self, path: KeyPath) -> None:
        if self.now == "[":
            self.array(path)
        elif self.now == "{":
            self.at += 1
            while self.now != "}":
                if self.now in {",", "\n"}:
                    self.at += 1
                else:
                    self.pair(path)
            self.at += 1
        else:
            while self.now not in {"\n", ",", "]", "}"} and self.at < len(self.tokens) - 1:
                self.at += 1

    def array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while self.now != "]":
            if self.now in {",", "\n"}:
                self.at += 1
                continue
            self.lines[(*path, index)] = self.line
            self.value((*path, index))
            index += 1
        self.at += 1


def _unquoted(token: str) -> str:
    return str(tomllib.loads(f"key = {token}")["key"])
