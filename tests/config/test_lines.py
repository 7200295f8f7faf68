from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors.config._lines import line_numbers

if TYPE_CHECKING:
    from queueactors.config._faults import KeyPath


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\n\nb = 2", {("a",): 1, ("b",): 3}),
        ("# x\n[a]\nb = 1", {("a",): 2, ("a", "b"): 3}),
        ("a.b.c = 1", {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1}),
        ("\"a.b\" . 'c' = 1", {("a.b",): 1, ("a.b", "c"): 1}),
        ('"\\u0061\\n" = 1', {("a\n",): 1}),
        ("3.14 = 1", {("3",): 1, ("3", "14"): 1}),
        ("[[a]]\n[[a]]\nb = 1", {("a",): 1, ("a", 0): 1, ("a", 1): 2, ("a", 1, "b"): 3}),
        ("[a.b]\n[a]\nc = 1", {("a",): 2, ("a", "b"): 1, ("a", "c"): 3}),
        ("[[a]]\n[a.b]\n[[a.c]]", {("a",): 1, ("a", 0): 1, ("a", 0, "b"): 2, ("a", 0, "c"): 3}),
        ("a = [\n1,\n# ]\n[2]]", {("a",): 1, ("a", 0): 2, ("a", 1): 4, ("a", 1, 0): 4}),
        ("a = {b = [\n1], c = 2}", {("a",): 1, ("a", "b"): 1, ("a", "b", 0): 2, ("a", "c"): 2}),
        ('a = """\n]\n"\\"""""" # b = 1\nc = 1', {("a",): 1, ("c",): 4}),
        ("a = '''\nb = 1\n'''''\nc = 1", {("a",): 1, ("c",): 4}),
        ("a = 1979-05-27 07:32:00 # x\r\nb = -1.5e3\r\n", {("a",): 1, ("b",): 2}),
        ('a = ""\nb = "#"\nc = 1', {("a",): 1, ("b",): 2, ("c",): 3}),
    ],
)
def test_every_key_has_the_line_it_stands_on(text: str, expected: dict[KeyPath, int]) -> None:
    tomllib.loads(text)  # the scanner is only ever given what tomllib accepts

    lines = line_numbers(text)

    assert {path: line for path, line in lines.items() if path in expected} == expected
    assert set(_paths(tomllib.loads(text))) == set(lines)


def _paths(value: object, path: KeyPath = ()) -> list[KeyPath]:
    """Return the path of everything in a document, its own aside."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    below = [each for key, item in items for each in _paths(item, (*path, key))]
    return ([path] if path else []) + below


class _Writer:
    """Writes a document, and notes the line of every key while it does."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.text = ""
        self.lines: dict[KeyPath, int] = {}

    @property
    def line(self) -> int:
        return self.text.count("\n") + 1

    def noise(self) -> None:
        """Write blank lines and comments."""
        noise = ["\n", "# [x]\n", "#\t\"'''\n", "  \n"]
        self.text += "".join(self.data.draw(st.lists(st.sampled_from(noise), max_size=2)))

    def key(self, key: str) -> str:
        if key.isalnum() and key.isascii() and self.data.draw(st.booleans()):
            return key
        if "'" not in key and "\n" not in key and self.data.draw(st.booleans()):
            return f"'{key}'"
        return json.dumps(key)

    def value(self, path: KeyPath, depth: int = 2) -> None:
        kinds = ["int", "date", "basic", "literal", "long", "raw"]
        kind = self.data.draw(st.sampled_from(kinds + ["array", "inline"] * (depth > 0)))
        text = self.data.draw(st.text("ab\"'[]{}#=,.\n\\ ", max_size=8))
        if kind == "int":
            self.text += "-1_0"
        elif kind == "date":
            self.text += "2026-11-21 04:08:31.5"
        elif kind == "basic":
            self.text += json.dumps(text)
        elif kind == "literal":
            self.text += "'" + text.replace("'", "").replace("\n", "") + "'"
        elif kind == "long":
            inner = text.replace("\\", "\\\\").replace('""', '"\\"')
            quotes = self.data.draw(st.sampled_from(["", '"', '""']))
            inner = inner.rstrip('"') if quotes else inner
            self.text += '"""' + (inner.removesuffix('"')) + quotes + '"""'
        elif kind == "raw":
            self.text += "'''" + text.replace("'", "") + "'''"
        elif kind == "array":
            self.array(path, depth - 1)
        else:
            self.inline(path, depth - 1)

    def array(self, path: KeyPath, depth: int) -> None:
        self.text += "["
        for index in range(self.data.draw(st.integers(0, 3))):
            self.text += ("\n" if self.data.draw(st.booleans()) else " ") + (
                "# ] , [\n" if self.data.draw(st.booleans()) else ""
            )
            self.lines[(*path, index)] = self.line
            self.value((*path, index), depth)
            self.text += " ,"
        self.text += "]"

    def inline(self, path: KeyPath, depth: int) -> None:
        self.text += "{"
        for index, key in enumerate(self.data.draw(_KEYS)):
            self.text += ", " if index else ""
            self.lines[(*path, key)] = self.line
            self.text += self.key(key) + " = "
            self.value((*path, key), depth)
        self.text += "}"

    def pairs(self, path: KeyPath) -> None:
        for key in self.data.draw(_KEYS):
            self.noise()
            self.lines[(*path, key)] = self.line
            self.text += self.key(key)
            if self.data.draw(st.booleans()):  # a dotted key
                self.lines[(*path, key, "dot")] = self.line
                self.text += ' . "dot" = '
                self.value((*path, key, "dot"))
            else:
                self.text += "= "
                self.value((*path, key))
            self.text += self.data.draw(st.sampled_from(["\n", " # ]\n", "\t\n"]))

    def document(self) -> None:
        self.pairs(())
        for index in range(self.data.draw(st.integers(0, 3))):
            self.noise()
            name = f"table {index}"
            if self.data.draw(st.booleans()):
                self.lines[name,] = self.line
                self.text += f'["{name}"]\n'
                self.pairs((name,))
                continue
            for item in range(self.data.draw(st.integers(1, 3))):
                self.noise()
                self.lines.setdefault((name,), self.line)
                self.lines[name, item] = self.line
                self.text += f'[["{name}"]]\n'
                self.pairs((name, item))
                if self.data.draw(st.booleans()):
                    self.lines[name, item, "sub.table"] = self.line
                    self.text += f"['{name}' .'sub.table']\n"
                    self.pairs((name, item, "sub.table"))


_KEYS = st.lists(
    st.one_of(st.sampled_from(["a", "b1", "3"]), st.text("k.\"'[]=#\n ", max_size=4)),
    max_size=3,
    unique=True,
)


@given(st.data())
def test_every_key_of_any_document_has_its_line(data: st.DataObject) -> None:
    writer = _Writer(data)
    writer.document()
    parsed = tomllib.loads(writer.text)

    lines = line_numbers(writer.text)

    assert lines == writer.lines
    assert set(lines) == set(_paths(parsed))
