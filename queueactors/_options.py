"""The types that options are made of, and checks of their values.

An option class (`queueactors.TimedOptions`, ...) is one frozen attrs class that serves code and
configuration alike. Its annotations say what a field means, so that the configuration knows
where ``"30s"`` or ``"module:function"`` may stand; in code they are plain floats and callables.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from math import inf
from typing import Annotated, TypeGuard, TypeVar, get_args

import attrs

from supervisors import did_you_mean

from ._errors import OptionsError

LONGEST = 1e9  # seconds, some 30 years: what a duration must stay below
LATEST = 1 << 63  # epoch nanoseconds, in the year 2262: what an instant must stay below
EARLIEST = 10**18  # likewise, in 2001: an int below was meant in seconds, or micro- or milliseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Means(Enum):
    """What a value stands for, beyond its Python type."""

    SECONDS = "seconds"  # in a config also "250ms" "30s" "5m" "2h" "7d"
    TARGET = "target"  # a callable; in a config "module:attr"
    CODEC = "codec"  # a word, or an object or class; in a config a word or "module:Class"
    PACE = "pace"  # seconds, or a callable from the attempt to seconds; in a config either form
    RETRY = "retry"  # a retry policy; in a config a table or "module:attr"


Seconds = Annotated[float, Means.SECONDS]
Target = Annotated[Callable[..., object], Means.TARGET]  # type: ignore[explicit-any] # user's own
CodecName = Annotated[object, Means.CODEC]
Pace = Annotated[float | Callable[[int], float], Means.PACE]


Made = TypeVar("Made")


def make_options(cls: type[Made], **given: object) -> Made:
    """Return options given in code: of an option class, by name.

    Raises:
      OptionsError: If an option breaks its rule.
      TypeError: If there is no such option, or a required one is missing.
    """
    fields = [field for field in attrs.fields(cls) if field.init]  # type: ignore[arg-type] # an attrs class
    known = [field.alias for field in fields]
    for option in given:
        if option not in known:
            raise TypeError(f"there is no option {option!r}{did_you_mean(option, known)}")
    for field in fields:
        if field.default is attrs.NOTHING and field.alias not in given:
            raise TypeError(f"{field.alias} is required")
    return cls(**given)


class Checks:
    """Collects what is wrong with options, to report all of it at once."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str]] = []

    def refuse(self, option: str, rule: str, value: object) -> None:
        """Note that ``option`` breaks a rule."""
        self.faults.append((option, f"expected {option} to be {rule}, got {value!r}"))

    def seconds(self, option: str, value: object, *, positive: bool) -> None:
        """Check a finite duration, > 0 or >= 0."""
        if not is_seconds(value, positive=positive):
            self.refuse(option, _rule(value, positive=positive), value)

    def integer(self, option: str, value: object, *, least: int) -> None:
        """Check an int that is at least ``least``."""
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self.refuse(option, f"an int >= {least}", value)

    def choice(self, option: str, value: object, choices: object) -> None:
        """Check one of the words of a ``Literal``."""
        words = get_args(choices)
        if value not in words:
            known = ", ".join(map(repr, words[:-1])) + f" or {words[-1]!r}"
            self.refuse(option, known, value)

    def boolean(self, option: str, value: object) -> None:
        """Check a bool."""
        if not isinstance(value, bool):
            self.refuse(option, "true or false", value)

    def string(self, option: str, value: object) -> None:
        """Check a string that is not empty."""
        if not isinstance(value, str) or not value:
            self.refuse(option, "a non-empty string", value)
        elif not is_text(value):
            self.refuse(option, "text that can be encoded", value)

    def path(self, option: str, value: object) -> None:
        """Check the name of a file or a directory."""
        if isinstance(value, str) and "\0" in value:
            self.refuse(option, "a path", value)
        else:
            self.string(option, value)

    def target(self, option: str, value: object) -> None:
        """Check a callable."""
        if not callable(value):
            self.refuse(option, "callable", value)

    def done(self) -> None:
        """Raise `OptionsError` if anything is wrong."""
        if self.faults:
            raise OptionsError(self.faults)


def is_text(value: str) -> bool:
    """Whether a string can be encoded; one with a lone surrogate cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


_NUMBER = (int, float)  # not a union: isinstance() would make a new one at each call


def is_seconds(value: object, *, positive: bool) -> TypeGuard[float]:
    """Whether a value is a finite number of seconds, > 0 or >= 0."""
    return (
        isinstance(value, _NUMBER)
        and not isinstance(value, bool)
        and (0 < value < LONGEST if positive else 0 <= value < LONGEST)  # NaN is neither
    )


def nanoseconds(option: str, value: object, *, positive: bool = True) -> int:
    """Return a duration given in seconds as nanoseconds.

    Raises:
      ValueError: If it is not a finite number > 0 (>= 0 unless ``positive``).
    """
    if is_seconds(value, positive=positive):
        return round(value * 1_000_000_000) or int(positive)
    raise ValueError(f"expected {option} to be {_rule(value, positive=positive)}, got {value!r}")


def check_seconds(option: str, value: object, *, positive: bool = False) -> None:
    """Check a duration where it is a plain argument, not an option.

    Raises:
      TypeError: If it is no number.
      ValueError: If it is not finite and >= 0 (> 0 if ``positive``).
    """
    if not isinstance(value, _NUMBER) or isinstance(value, bool):
        rule = _rule(value, positive=positive)
        raise TypeError(f"expected {option} to be {rule}, got {value!r}")
    if not is_seconds(value, positive=positive):
        rule = _rule(value, positive=positive)
        raise ValueError(f"expected {option} to be {rule}, got {value!r}")


def check_integer(option: str, value: object, *, least: int) -> None:
    """Check a whole number where it is a plain argument, not an option.

    Raises:
      TypeError: If it is no int.
      ValueError: If it is less than ``least``.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected {option} to be an int >= {least}, got {value!r}")
    if value < least:
        raise ValueError(f"expected {option} to be an int >= {least}, got {value!r}")


def instant(option: str, value: object, *, now: int) -> int:
    """Return an instant, given as epoch nanoseconds or as a datetime, as epoch nanoseconds.

    Args:
      option: Its name, for errors.
      value: The instant.
      now: Epoch nanoseconds. On a clock that is in the year 1970 itself, any int may be meant.

    Raises:
      TypeError: If it is neither.
      ValueError: If the datetime has no time zone, the int is plainly no number of nanoseconds,
        or the instant is later than what fits into 64 bits.
    """
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(f"expected {option} to have a time zone, got {value!r}")
        value = (value - _EPOCH) // timedelta(microseconds=1) * 1000
    elif not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(
            f"expected {option} to be epoch nanoseconds or a datetime with a time zone, "
            f"got {value!r}"
        )
    elif value < EARLIEST <= now:
        raise ValueError(
            f"expected {option} to be epoch nanoseconds, got {value!r}, which is before 2001; "
            "was it meant in seconds?"
        )
    if value >= LATEST:
        raise ValueError(f"expected {option} to be before the year 2262, got {value!r}")
    return value


def _rule(value: object, *, positive: bool) -> str:
    """Return which rule of `is_seconds` a value breaks, as "expected x to be ..."."""
    if isinstance(value, _NUMBER) and LONGEST <= value < inf:
        return f"seconds below {LONGEST:.0e}"
    return "seconds > 0" if positive else "seconds >= 0"


def items(values: Iterable[object]) -> tuple[object, ...]:
    """Return values as a tuple: the converter of options that are lists.

    Raises:
      TypeError: If it is not a list of values; a string or a mapping is none.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"expected a list of values, got {values!r}")
    return tuple(values)


def same(one: object, other: object) -> bool:
    """Return whether two values say the same; with values such as arrays nobody can tell."""
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # noqa: BLE001 - a value's own __eq__
        return False


def is_generator(function: object) -> bool:
    """Whether calling it only makes a generator, which nobody would run."""
    while isinstance(function, partial):
        function = function.func
    return any(
        inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each)
        for each in (function, getattr(function, "__call__", None))  # noqa: B004 - an object with one
    )
