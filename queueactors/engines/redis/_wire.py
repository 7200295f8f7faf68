"""What goes over the wire: scripts, and how operations and answers of a kind are packed.

A script knows microseconds only, because a Lua number is a double: `to_micros` rounds up, so
nothing is early. Values travel as arguments of their own; operations refer to them by number.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, cast

import attrs

from queueactors._codecs import Encoded, Plain
from queueactors._errors import CodecError, StoreError
from queueactors.engines import Handover

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queueactors._errors import QueueActorsError
    from supervisors import Operation


LOST: Final = object()  # stands for what cannot be decoded
COUNTABLE: Final = 1 << 31  # messages that are taken at once: what the server can count
BEYOND: Final = 1 << 53  # from here on a Lua number is not exact, and no id or key is there
_CONTENT: Final = {
    "timed": "messages",
    "message": "messages",
    "capacity": "items",
    "log": "items",
}  # what a queue of each kind holds
FIRST_VALUE: Final = 5  # the number of the argument that the first value is


@attrs.frozen
class Script:
    """A script as the server gets it.

    Args:
      text: Its text.
      digest: The name by which the server knows it: the SHA-1 of its text.
    """

    text: bytes
    digest: bytes


class ServerFullError(StoreError):
    """The server has no memory for that: nothing was done."""


@cache
def script(kind: str, tables: str = "", *, full: bool = False) -> Script:
    """Return the script of a kind of queue: its tables, what it shares with others, and its own.

    Args:
      kind: The queue's.
      tables: Those of the kind.
      full: Carry out everything, although the server has no memory left.
    """
    made = _script(kind, tables, "base", "common", _CONTENT[kind], kind)
    return _of(b"#!lua flags=allow-oom\n" + made.text) if full else made


@cache
def transfer_script(kind: str) -> Script:
    """Return the script that reads and writes all of a queue, to move it."""
    return _script(kind, "", "base", "transfer", f"{kind}_transfer")


@cache
def drop_script() -> Script:
    """Return the script that removes a queue, and tells those who wait for it."""
    return _script("", "", "drop")


def _script(kind: str, tables: str, *names: str) -> Script:
    folder = files("queueactors.engines.redis") / "lua"
    parts = [(folder / f"{name}.lua").read_bytes() for name in names]
    return _of(b"\n".join([f"local KIND = '{kind}'\n{tables}".encode(), *parts]))


def _of(text: bytes) -> Script:
    return Script(text, sha1(text, usedforsecurity=False).hexdigest().encode())


def lua_tables(**tables: Mapping[Any, object]) -> str:  # type: ignore[explicit-any] # of any keys
    """Return tables as Lua has them: a key of several parts leads through several tables.

    None is false there.
    """
    return "".join(f"local {name} = {_lua(_nested(table))}\n" for name, table in tables.items())


def _nested(table: Mapping[Any, object]) -> dict[object, object]:  # type: ignore[explicit-any] # see `lua_tables`
    nested: dict[object, object] = {}
    for key, value in table.items():
        *path, last = key if isinstance(key, tuple) else (key,)
        inner = nested
        for part in path:
            inner = cast("dict[object, object]", inner.setdefault(part, {}))
        inner[last] = value
    return nested


def _lua(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"[{_lua(key)}]={_lua(each)}" for key, each in value.items()) + "}"
    return f"'{value}'" if isinstance(value, str) else str(bool(value)).lower()


@attrs.frozen
class Statistics:
    """What the server knows of a queue's numbers.

    Args:
      now: The instant of that, in microseconds.
      facts: By name.
    """

    now: int
    facts: Mapping[str, object]


@attrs.frozen
class Aside:
    """A message that was taken, and cannot be decoded.

    Args:
      key: That of its reservation, or of its claim.
      id: The message's number.
      error: Why.
    """

    key: int
    id: int
    error: CodecError


@attrs.define(eq=False)
class Decoding:
    """Decodes what is taken before its taker gets it: nobody may get what cannot be decoded.

    Args:
      codec: The name of the queue's codec.
      decode: Decodes a value, or raises `CodecError`. None: the taker does, and finds out then.
    """

    codec: str
    decode: Callable[[object], object] | None = None
    aside: list[Aside] = attrs.field(factory=list, init=False)

    def taken(self, body: bytes, key: int, id: int) -> object:
        """Return what a taker gets; `LOST` if it cannot be decoded."""
        value = from_body(body, self.codec)
        if self.decode is None:
            return value
        try:
            return Plain(self.decode(value))
        except CodecError as error:
            self.aside.append(Aside(key, id, error))
            return LOST

    def shown(self, body: bytes) -> object:
        """Return what somebody gets who looks; `LOST` if it cannot be decoded."""
        value = from_body(body, self.codec)
        if self.decode is None:
            return value
        try:
            return Plain(self.decode(value))
        except CodecError:
            return LOST


class Wire(Protocol):
    """How the operations of one kind of queue travel, and how they come back."""

    name: ClassVar[str]
    """The script's."""

    tables: ClassVar[str]
    """Tables that stand before the script, see `lua_tables`."""

    keys: ClassVar[tuple[str, ...]]
    """The names of the kind's own keys, in the order in which the script takes them."""

    joint: ClassVar[Mapping[str, Join]]
    """How operations in a row are joined that the script can carry out as one, by method."""

    quiet: ClassVar[frozenset[str] | None]
    """Where takers wait each for what its first argument names: what is of no use to any of them.

    None: they wait one behind the other.
    """

    @property
    def aside(self) -> list[Aside]:
        """What was taken, could not be decoded, and is to be set aside; the engine empties it."""

    def options(self, values: list[bytes]) -> dict[str, object]:
        """Return what the script goes by; values that it needs are added to ``values``."""

    def pack(self, operation: Operation, values: list[bytes]) -> tuple[object, ...]:
        """Return an operation's arguments; its values are added to ``values``."""

    def unpack(self, operation: Operation, answer: object, values: Sequence[bytes]) -> object:
        """Return an operation's answer.

        Args:
          operation: The one that was asked.
          answer: What the script says.
          values: Those of the whole reply; answers have their numbers, from 1.
        """

    def refusal(self, operation: Operation, name: str, facts: Sequence[object]) -> QueueActorsError:
        """Return the error that an operation was refused with."""

    def notice(self, event: str, facts: Sequence[object]) -> dict[str, object]:
        """Return what the log is told of an event."""

    def statistics(self, now: int, known: Statistics, counts: Mapping[str, int]) -> object:
        """Return a queue's numbers.

        Args:
          now: Microseconds.
          known: What the server told last.
          counts: What has happened since the process opened the queue.
        """


class Join(Protocol):
    def __call__(  # type: ignore[explicit-any] # arguments of any kind
        self, before: tuple[Any, ...], many: int, args: tuple[Any, ...], /
    ) -> tuple[object, ...] | None:
        """Return the packed arguments of ``many`` operations and of the next; None: it is alone."""


def join_values(  # type: ignore[explicit-any] # see `Join`
    before: tuple[Any, ...], many: int, args: tuple[Any, ...]
) -> tuple[object, ...] | None:
    """Join operations with one value each: its number, 1, what they go by, and where it is from."""
    first, given = before[0], before[2:]
    if args[1] != 1 or args[-1] is not None or before[1] != many or args[2:] != given:
        return None
    return first, many + 1, *given


def join_same(  # type: ignore[explicit-any] # see `Join`
    before: tuple[Any, ...],
    many: int,  # noqa: ARG001 - see `Join`
    args: tuple[Any, ...],
) -> tuple[object, ...] | None:
    """Join operations that are all the same."""
    return before if before == args else None


def to_micros(nanoseconds: int) -> int:
    """Return a duration, or an instant, in microseconds, rounded up."""
    return -(-nanoseconds // 1000)


def to_nanos(micros: int) -> int:
    """Return the server's microseconds as nanoseconds."""
    return micros * 1000


def exact(number: object) -> int:
    """Return a number that was given out; 0 for what never was."""
    return number if isinstance(number, int) and 0 < number < BEYOND else 0


def at_most(limit: object) -> int:
    """Return how many are asked for, or as many as can be there."""
    return min(cast("int", limit), COUNTABLE)


def each_of(answer: object) -> Sequence[object]:
    """Return what is in a list of the server's; an empty one may be anything there."""
    return cast("Sequence[object]", answer or ())


def to_body(value: bytes | Encoded, codec: str) -> bytes:
    """Return a value as the server keeps it: after its codec's name; that of bytes is empty."""
    if isinstance(value, Encoded):
        codec, value = value.codec, value.data
    return b"\0" + value if codec == "bytes" else b"%b\0%b" % (codec.encode(), value)


def origin_of(operation: Operation, values: Sequence[bytes]) -> str | None:
    """Return what tells a message that comes from another queue from all others; None: it does not.

    Its number there is not enough: a queue that is made anew counts from 1 again.

    Args:
      operation: What brings it.
      values: Those that travel; the message is the last of them so far.
    """
    if not isinstance(operation, Handover):
        return None
    digest = sha1(values[-1], usedforsecurity=False).hexdigest()
    return f"{operation.queue}\0{operation.id}\0{digest}"


def from_body(body: bytes | None, codec: str) -> bytes | Encoded:
    """Return a value from what the server keeps; another program may have put anything there."""
    name, stop, data = (body or b"").partition(b"\0")
    if not stop:
        return Encoded("?", name)
    known = name.decode(errors="backslashreplace") or "bytes"
    return data if known == codec else Encoded(known, data)
