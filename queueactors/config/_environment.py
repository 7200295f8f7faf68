"""Puts variables and files into strings, and knows which of a string must not be shown.

``${VAR}``, ``${VAR:-default}``, ``${VAR:?message}``, ``${file:PATH}``, ``$$``. As in a POSIX shell,
the second and third form take an empty variable for a missing one. A dollar sign that no brace
follows stands for itself. This happens after parsing, so that a variable can change a value but
never the structure.

Secret is what came from a file, what came from a variable whose name looks like a secret, the
password in a URL, and all that stands under a key whose name looks like a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MASK: Final = "***"
"""What stands for a secret that no variable and no file has."""

_REFERENCE = re.compile(
    r"\$(?:\$"
    r"|\{file:(?![-?])(?P<path>(?:[^{}]|\$\{[^{}]*\})*)\}"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<how>[-?])(?P<word>[^}]*))?\}"
    r"|\{)"
)
_SECRET_VARIABLE = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL", re.IGNORECASE)
_SECRET_KEY = re.compile(  # a key that is just called "key" is most often none: merge_key
    r"passw|passphrase|secret|token|credential|(?:api|private|access)[_-]?key", re.IGNORECASE
)
_PASSWORDS = (
    # up to the last @: a password may have any character; but http://host:80/@ has none
    re.compile(r"://[^\s/?#:@]*:(?!\d{1,5}[/?#])(?P<it>\S+)@"),
    re.compile(r"[?&](?:\w*(?:passw|secret|token)\w*|api_?key)=(?P<it>[^&#\s]+)", re.IGNORECASE),
)


class MissingVariableError(ValueError):
    """A string cannot be completed; the message says why."""


class Secret(str):
    """A string that does not show itself: its ``repr`` is ``'***'``. Otherwise like any other."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Be pickled as a plain string: whoever loads it need not know us."""
        return str, (str(self),)


@attrs.frozen
class Text:
    """A string that variables went into, or part of which is secret.

    Args:
      value: The string with everything in it; a `Secret`, if any of it is.
      shown: The same as a configuration would write it, secrets as ``${NAME}``, or as `MASK`.
      variables: The names in it, in order; that of a file is ``file:PATH``.
      secrets: Those of them that must not be shown.
      masked: Whether there is a `MASK` in ``shown``: then it does not mean the value.
    """

    value: str
    shown: str
    variables: tuple[str, ...]
    secrets: tuple[str, ...]
    masked: bool = False

    @property
    def secret(self) -> bool:
        """Whether any of it must not be shown."""
        return self.masked or bool(self.secrets)

    @property
    def source(self) -> str:
        """Where the secrets in it are from, as a message may tell it."""
        return ", ".join(f"${{{name}}}" for name in self.secrets) or MASK


@attrs.frozen
class _Piece:
    text: str
    start: int
    name: str | None = None  # None: it stands there as it is
    secret: bool = False


def looks_secret(key: str) -> bool:
    """Whether all that stands under a key of this name is secret."""
    return _SECRET_KEY.search(key) is not None


def may_need(text: str) -> bool:
    """Whether `interpolate` could make anything else of a string, or of how it is shown."""
    return "$" in text or "://" in text or "?" in text


def interpolate(
    text: str,
    environ: Mapping[str, str],
    read: Callable[[str], tuple[str, str]] | None = None,
    *,
    secret: bool = False,
) -> Text:
    """Replace every reference, and find what is secret.

    Args:
      text: The string.
      environ: The variables.
      read: Returns the name and the content of a file for ``${file:PATH}``. None: there are no
        files.
      secret: Whether all of it is secret, because of its key.

    Raises:
      MissingVariableError: If a variable is missing, a file cannot be read, or a reference is not
        well-formed.
    """
    pieces: list[_Piece] = []
    value, seen = "", 0
    for match in _REFERENCE.finditer(text):
        between = text[seen : match.start()]
        pieces.append(_Piece(between, len(value)))
        value += between
        seen = match.end()
        piece = _piece(match, environ, read, len(value))
        pieces.append(piece)
        value += piece.text
    pieces.append(_Piece(text[seen:], len(value)))
    value += text[seen:]
    spans = [each.span("it") for rule in _PASSWORDS for each in rule.finditer(value)]
    if secret:
        spans = [(0, len(value))]
    return _text(value, [_checked(piece, spans) for piece in pieces], spans)


def _piece(
    match: re.Match[str],
    environ: Mapping[str, str],
    read: Callable[[str], tuple[str, str]] | None,
    start: int,
) -> _Piece:
    path = match["path"]
    if path is not None:
        if read is None:
            raise MissingVariableError("a file may not be put in here")
        where = interpolate(path, environ)
        if where.secret:
            raise MissingVariableError("a secret may not be part of a file's name, which is shown")
        name, content = read(where.value)
        return _Piece(content, start, f"file:{name}", secret=True)
    name = match["name"]
    hides = name is not None and _SECRET_VARIABLE.search(name) is not None
    return _Piece(_value(match, environ), start, name, secret=hides)


def _checked(piece: _Piece, spans: Iterable[tuple[int, int]]) -> _Piece:
    """Return a piece as secret, if it is part of something secret."""
    end = piece.start + len(piece.text)
    inside = any(piece.start < stop and start < end for start, stop in spans)
    return attrs.evolve(piece, secret=True) if inside and piece.name is not None else piece


def _text(value: str, pieces: list[_Piece], spans: list[tuple[int, int]]) -> Text:
    shown, masked = "", False
    for piece in pieces:
        if piece.name is not None:
            shown += f"${{{piece.name}}}" if piece.secret else escape(piece.text)
            continue
        told = "".join(
            "\0" if any(start <= at < stop for start, stop in spans) else char
            for at, char in enumerate(piece.text, piece.start)
        )
        masked = masked or told != piece.text
        shown += re.sub("\0+", MASK, escape(told)) if told != piece.text else escape(told)
    secrets = dict.fromkeys(each.name for each in pieces if each.name and each.secret)
    return Text(
        Secret(value) if secrets or masked else value,
        shown,
        tuple(dict.fromkeys(each.name for each in pieces if each.name)),
        tuple(secrets),
        masked,
    )


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    name, how, word = match["name"], match["how"], match["word"]
    if name is None:
        raise MissingVariableError(
            "expected ${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:PATH}; "
            "write $$ for a dollar sign"
        )
    value = environ.get(name)
    if value or (value is not None and how is None):
        return value
    if how == "-":
        return word
    told = word or "set it, or write a default: ${" + name + ":-default}"
    raise MissingVariableError(f"the variable {name} is not set: {told}")


def escape(text: str) -> str:
    """Return a string as a configuration writes it, so that it is read as itself."""
    return text.replace("$", "$$")
