"""How the operations of a message queue travel; see ``lua/message.lua``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, cast, get_args

import attrs

from queueactors._errors import ClaimLostError, QueueFullError
from queueactors._options import nanoseconds
from queueactors._state_errors import QueueClosedError
from queueactors.cores._message_table import ENDS, PASSES, STATUSES, STEPS, Refusal
from queueactors.cores.message import (
    Claimed,
    Enqueued,
    Ids,
    MessageInfo,
    MessageStatistics,
    QueueStatus,
)

from ._wire import (
    FIRST_VALUE,
    LOST,
    Decoding,
    at_most,
    each_of,
    exact,
    join_same,
    lua_tables,
    origin_of,
    to_body,
    to_micros,
    to_nanos,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queueactors._codecs import Encoded
    from queueactors._errors import QueueActorsError
    from queueactors.cores.message import Status
    from supervisors import Operation

    from ._wire import Aside, Join, Statistics


class Given(Protocol):
    """What the queue's options say."""

    @property
    def lock_time(self) -> float:
        """Seconds that a message is locked that says nothing else."""

    @property
    def max_length(self) -> int | None:
        """How many messages may be there to be handled; None: without limit."""


@attrs.define(eq=False)
class MessageWire:
    """The wire of one message queue.

    Args:
      queue: Its name.
      given: Its options, as they are now.
      codec: The name of its codec.
      decode: Decodes a message, see `Decoding`.
    """

    name: ClassVar[str] = "message"
    tables: ClassVar[str] = lua_tables(STATUSES=STATUSES, STEPS=STEPS, ENDS=ENDS, PASSES=PASSES)
    keys: ClassVar[tuple[str, ...]] = (
        "messages",
        "bodies",
        "names",
        "requeues",
        "ready",
        "backoffs",
        "locks",
        "holders",
        "done",
        "taken_over",
        "aside",
    )
    joint: ClassVar[Mapping[str, Join]] = {"claim": join_same}
    quiet: ClassVar[frozenset[str] | None] = None
    queue: str
    given: Callable[[], Given]
    codec: str
    decode: Callable[[object], object] | None = None
    _decoding: Decoding = attrs.field(init=False)

    @_decoding.default
    def _decodes(self) -> Decoding:
        return Decoding(self.codec, self.decode)

    @property
    def aside(self) -> list[Aside]:
        """What was claimed, and is to be set aside, see `Wire.aside`."""
        return self._decoding.aside

    def options(self, values: list[bytes]) -> dict[str, object]:  # noqa: ARG002 - as every wire
        """Return what the script goes by, see `Wire.options`."""
        given = self.given()
        lock_time = nanoseconds("lock_time", given.lock_time)
        found: dict[str, object] = {"lock_time": to_micros(lock_time)}
        if given.max_length is not None:
            found["max_length"] = given.max_length
        return found

    def pack(  # noqa: PLR0911 - one case after the other
        self, operation: Operation, values: list[bytes]
    ) -> tuple[object, ...]:
        """Return an operation's arguments, see `Wire.pack`."""
        args = operation.args
        match operation.method:
            case "enqueue" | "wait_enqueue":
                return self._pack_enqueue(operation, values)
            case "claim_many":
                return (at_most(args[0]),)
            case "extend":
                key, duration = args
                return exact(key), duration and to_micros(cast("int", duration))
            case "finish":
                key, result, backoff = args
                return exact(key), result, to_micros(cast("int", backoff))
            case "snooze":
                key, delay = args
                return exact(key), to_micros(cast("int", delay))
            case "ids":
                return cast("tuple[int, int, int]", args[0] or (0, 0, 0))
            case "remove" | "content":
                return ([*dict.fromkeys(map(exact, cast("Sequence[int]", args[0])))],)
            case "pause":
                return (to_micros(cast("int", args[0])) if args and args[0] is not None else None,)
            case _:
                return args

    def _pack_enqueue(self, operation: Operation, values: list[bytes]) -> tuple[object, ...]:
        mid, value, backoff, lock_time, *flags = operation.args
        values.append(to_body(cast("bytes | Encoded", value), self.codec))
        return (
            mid,
            FIRST_VALUE + len(values) - 1,
            to_micros(cast("int", backoff)),
            lock_time is not None and to_micros(cast("int", lock_time)),  # no hole in a table
            *flags,
            origin_of(operation, values),
        )

    def unpack(  # noqa: PLR0911 - one case after the other
        self, operation: Operation, answer: object, values: Sequence[bytes]
    ) -> object:
        """Return an operation's answer, see `Wire.unpack`."""
        match operation.method:
            case "enqueue" | "wait_enqueue":
                return _enqueued(cast("str", operation.args[0]), cast("str", answer))
            case "claim":
                return self._claimed(answer, values) if answer else None
            case "claim_many":
                claimed = [self._claimed(each, values) for each in each_of(answer)]
                return [each for each in claimed if each is not None]
            case "extend":
                return to_nanos(cast("int", answer))
            case "message_status":
                return answer or None
            case "queue_status":
                return QueueStatus(*cast("Sequence[int]", answer))
            case "ids":
                ids, *after = cast("tuple[list[int], int]", answer)
                return Ids(ids or [], tuple(after) or None)
            case "content":
                shown = [self._shown(each, values) for each in each_of(answer)]
                return {mid: info for mid, info in shown if info.message is not LOST}
            case "close" | "finish" | "pause" | "resume" | "snooze":
                return None
            case _:
                return answer

    def _claimed(self, claimed: object, values: Sequence[bytes]) -> Claimed | None:
        """Return a claim; None if the message cannot be decoded."""
        id_, mid, value, attempt, lock_time, age, key, deadline_at = cast(
            "tuple[int, str, int, int, int, int, int, int]", claimed
        )
        body = self._decoding.taken(values[value - 1], key, id_)
        if body is LOST:
            return None
        times = to_nanos(lock_time), to_nanos(age)
        return Claimed(id_, mid, body, attempt, *times, key, to_nanos(deadline_at))

    def _shown(self, shown: object, values: Sequence[bytes]) -> tuple[str, MessageInfo]:
        id_, mid, value, status, attempts, backoff, age = cast(
            "tuple[int, str, int, Status, int, int | bool, int]", shown
        )
        return mid, MessageInfo(
            message=self._decoding.shown(values[value - 1]),
            status=status,
            attempts=attempts,
            backoff=None if backoff is False else to_nanos(backoff) / 1e9,
            age=to_nanos(age) / 1e9,
            id=id_,
        )

    def refusal(self, operation: Operation, name: str, facts: Sequence[object]) -> QueueActorsError:
        """Return the error that an operation was refused with."""
        match name:
            case "closed":
                return QueueClosedError(self.queue)
            case "full":
                room, most = cast("tuple[int | bool, int]", facts)
                return QueueFullError(self.queue, 1, None if room is False else room, most)
            case "lost":
                return ClaimLostError(self.queue, cast("int", operation.args[0]))
            case _:
                raise AssertionError(f"the script refuses with {name!r}")

    def notice(self, event: str, facts: Sequence[object]) -> dict[str, object]:  # noqa: ARG002 - as every wire
        """Return what the log is told of an event."""
        return dict(zip(("id", "mid", "was"), facts, strict=False))

    def statistics(
        self, now: int, known: Statistics, counts: Mapping[str, int]
    ) -> MessageStatistics:
        """Return the queue's numbers, see `Wire.statistics`."""
        facts = dict(known.facts)
        oldest_at = cast("int | None", facts.pop("oldest_at", None))
        oldest_age = None if oldest_at is None else max(to_nanos(now - oldest_at), 0) / 1e9
        return MessageStatistics(oldest_age=oldest_age, **facts, **counts)  # type: ignore[arg-type] # the script's


def _enqueued(mid: str, step: str) -> Enqueued:
    """Return what became of an enqueue, by the step of `_message_table` that was taken."""
    if step in get_args(Refusal):
        return Enqueued(False, mid, None, cast("Refusal", step))
    return Enqueued(True, mid, "added" if step in {"add", "requeue"} else "updated")
