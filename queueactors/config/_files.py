"""Reads one TOML file: its data, and its text, in which `_lines` finds the line of a key."""

from __future__ import annotations

import re

from ._faults import ConfigError, Fault

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read_toml(file: str) -> tuple[dict[str, object], str]:
    """Return the data of a file, and its text.

    Raises:
      ConfigError: If the file cannot be read or is not TOML; one fault.
    """
    text = _text(file)
    return _parsed(file, text), text


def why_unread(error: OSError | ValueError) -> str:
    """Return why a file was not read; a `ValueError`, which Pythons word apart, is its name's."""
    told = error.strerror if isinstance(error, OSError) else "its name has a zero byte in it"
    return told or str(error)


def _text(file: str) -> str:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - named as it was given
            content = opened.read()
    except (OSError, ValueError) as error:
        raise _error(file, None, f"cannot read the file: {why_unread(error)}") from None
    try:
        return content.decode("utf-8").removeprefix("\ufeff")  # some editors put a mark there
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        told = f"the file is not UTF-8: unexpected byte 0x{content[error.start]:02x}"
        raise _error(file, line, told) from None


def _parsed(file: str, text: str) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or int() given too many digits
        told = str(error)
    line = None
    position = _POSITION.search(told)
    if position is not None:  # the place is in the text only, before Python 3.14
        told = told[: position.start()]
        line = int(position[1]) if position[1] else text.count("\n") + 1
        told += f" (column {position[2]})" if position[2] else " (at the end of the file)"
    raise _error(file, line, f"not valid TOML: {told}")


def _error(file: str, line: int | None, message: str) -> ConfigError:
    return ConfigError([Fault(file, line, "", message)])
