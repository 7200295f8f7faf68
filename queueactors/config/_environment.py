"""Puts variables into strings: ``${VAR}``, ``${VAR:-default}``, ``${VAR:?message}``, ``$$``.

As in a POSIX shell, the last two forms take an empty variable for a missing one. A dollar sign
that no brace follows stands for itself. This happens after parsing, so that a variable can
change a value but never the structure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE = re.compile(
    r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<how>[-?])(?P<word>[^}]*))?\}|\{)"
)
_SECRET = re.compile(r"PASS|SECRET|TOKEN|KEY", re.IGNORECASE)


class MissingVariableError(ValueError):
    """A string cannot be completed; the message says why."""


@attrs.frozen
class Text:
    """A string that variables went into.

    Args:
      value: The string with everything in it.
      shown: The same as a configuration would write it, secrets as ``${NAME}``.
      variables: The names in it, in order.
      secrets: Those of them that must not be shown.
    """

    value: str
    shown: str
    variables: tuple[str, ...]
    secrets: tuple[str, ...]


def interpolate(text: str, environ: Mapping[str, str]) -> Text:
    """Replace every reference to a variable.

    Raises:
      MissingVariableError: If a variable is missing, or a reference is not well-formed.
    """
    value, shown, seen = "", "", 0
    variables: dict[str, bool] = {}  # whether it is secret
    for match in _REFERENCE.finditer(text):
        between = text[seen : match.start()]
        seen = match.end()
        put = _value(match, environ)
        name = match["name"]
        secret = name is not None and _SECRET.search(name) is not None
        if name is not None:
            variables[name] = secret
        value += between + put
        shown += between + (f"${{{name}}}" if secret else escape(put))
    secrets = tuple(name for name, secret in variables.items() if secret)
    return Text(value + text[seen:], shown + text[seen:], tuple(variables), secrets)


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    name, how, word = match["name"], match["how"], match["word"]
    if name is None:
        raise MissingVariableError(
            "expected ${NAME}, ${NAME:-default} or ${NAME:?message}; write $$ for a dollar sign"
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
