"""What is wrong with a configuration, and where: paths, faults, and the error that holds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from queueactors._errors import QueueActorsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KeyPath = tuple[str | int, ...]
"""The keys and 0-based indexes that lead to a value: ``("queue", "emails", "store")``."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST = 120  # characters of a value that a message shows; a line should stay a line


@attrs.frozen
class Fault:
    """One thing that is wrong, or worth a warning, in one line.

    Args:
      file: The file, as it was given. None: the configuration is no file.
      line: From 1. None: the line is not known.
      path: The dotted path of the value, such as ``supervisor.root.child[1].worker``; empty: the
        whole file.
      message: What is wrong with it.
    """

    file: str | None
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return one_line(": ".join(part for part in (place, self.path, self.message) if part))

    @property
    def order(self) -> tuple[str, int, str, str]:
        """What faults are sorted by: file, line, path."""
        return (self.file or "", self.line or 0, self.path, self.message)


class ConfigError(QueueActorsError, ValueError):
    """A configuration has faults. Nothing was started.

    Args:
      faults: Every fault found, in any order; kept sorted by file, line and path, each once.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(dict.fromkeys(faults), key=lambda fault: fault.order))
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


def one_line(text: str) -> str:
    """Return a text without line breaks: a fault is one line, whatever it quotes."""
    return " ".join(line.strip() for line in text.splitlines())


def dotted(path: KeyPath) -> str:
    """Return a path as a message shows it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{key_text(part)}" if text else key_text(part)
    return text


def key_text(key: str) -> str:
    """Return a key as TOML writes it: quoted if it must be."""
    return key if _BARE_KEY.fullmatch(key) else string_text(key)


def string_text(text: str) -> str:
    """Return a string as TOML writes it, with escapes for what is not printable."""
    import json

    quoted = json.dumps(text, ensure_ascii=False)
    if quoted.isprintable():
        return quoted
    return "".join(each if each.isprintable() else _escape(ord(each)) for each in quoted)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"


def value_text(value: object) -> str:
    """Return a value as a message shows it: its repr, if that is short enough to read."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # int() refuses to print more than 4,300 digits
        return "a value too large to show"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def or_text(words: Sequence[str]) -> str:
    """Return ``a, b or c``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def error_text(error: BaseException) -> str:
    """Return an error's type and message."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def as_table(value: object) -> dict[str, object] | None:
    """Return a table as a dict; None: it is none."""
    return dict(value) if isinstance(value, Mapping) else None
