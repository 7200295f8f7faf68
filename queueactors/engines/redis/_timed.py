"""How the operations of a timed queue travel; see ``lua/timed.lua``."""

from __future__ import annotations

import struct
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import attrs

from queueactors._errors import (
    QueueFullError,
    RefillError,
    ReservationExpiredError,
    ReservationNotFoundError,
)
from queueactors._state_errors import QueueClosedError
from queueactors.cores.timed import DeadLetter, Reservation, TimedMessage, TimedStatistics
from supervisors import describe

from ._wire import (
    FIRST_VALUE,
    LOST,
    Decoding,
    at_most,
    each_of,
    exact,
    from_body,
    join_same,
    join_values,
    origin_of,
    to_body,
    to_micros,
    to_nanos,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from queueactors._codecs import Encoded
    from queueactors._errors import QueueActorsError
    from supervisors import Operation

    from ._wire import Aside, Join, Statistics

LETTERS: Final = 256  # dead letters that are posted before others are asked for
_REFILLS: Final[Iterator[int]] = count(1)  # of all queues: one that was dropped may begin anew
_PRIORITY: Final = struct.Struct(">Q")
_BIAS: Final = 1 << 63  # so that bytes compare as the numbers do


def _join_keys(  # type: ignore[explicit-any] # see `Join`
    before: tuple[Any, ...], many: int, args: tuple[Any, ...]
) -> tuple[object, ...] | None:
    """Join operations with one key each, and what they go by."""
    keys, *given = before
    if len(keys) != many or len(args[0]) != 1 or args[1:] != tuple(given):
        return None
    together = [*keys] if many == 1 else keys
    together += args[0]
    return together, *given


@attrs.define(eq=False)
class TimedWire:
    """The wire of one timed queue.

    Args:
      queue: Its name.
      limits: Makes what the script goes by: its options, as they are now.
      codec: The name of its codec.
      initial: Values, encoded, that a queue which is not there yet begins with.
      decode: Decodes a value, see `Decoding`.
    """

    name: ClassVar[str] = "timed"
    tables: ClassVar[str] = ""
    keys: ClassVar[tuple[str, ...]] = (
        "messages",
        "bodies",
        "ready",
        "delayed",
        "reserved",
        "holders",
        "buried",
        "dead",
        "letters",
        "unique",
        "taken_over",
        "aside",
    )
    joint: ClassVar[Mapping[str, Join]] = {
        "delete": _join_keys,
        "insert": join_values,
        "insert_nowait": join_values,
        "reserve": join_same,
    }
    quiet: ClassVar[frozenset[str] | None] = None
    queue: str
    limits: Callable[[], dict[str, object]]
    codec: str
    initial: tuple[bytes | Encoded, ...] = ()
    decode: Callable[[object], object] | None = None
    _decoding: Decoding = attrs.field(init=False)
    _failure: Exception | None = attrs.field(default=None, init=False)  # of the last refill
    _refill: int = attrs.field(default=0, init=False)  # the number of the last one

    @_decoding.default
    def _decodes(self) -> Decoding:
        return Decoding(self.codec, self.decode)

    @property
    def aside(self) -> list[Aside]:
        """What was taken, and is to be set aside, see `Wire.aside`."""
        return self._decoding.aside

    def options(self, values: list[bytes]) -> dict[str, object]:
        """Return what the script goes by, see `Wire.options`."""
        found = self.limits()
        if self.initial:
            found["initial"] = self._bodies(self.initial, values)
        return found

    def pack(self, operation: Operation, values: list[bytes]) -> tuple[object, ...]:
        """Return an operation's arguments, see `Wire.pack`."""
        pack = self._packs.get(operation.method)
        return operation.args if pack is None else pack(self, operation, values)

    def _pack_durations(self, operation: Operation, _values: list[bytes]) -> tuple[object, ...]:
        """Return arguments of which the last one, if there is one, is a duration."""
        args = operation.args
        if not args or args[-1] is None:
            return args
        return *args[:-1], to_micros(cast("int", args[-1]))

    def _pack_renewal(self, operation: Operation, _values: list[bytes]) -> tuple[object, ...]:
        key, duration = operation.args
        return exact(key), to_micros(cast("int", duration))

    def _pack_key(self, operation: Operation, _values: list[bytes]) -> tuple[object, ...]:
        """Return arguments of which the first one is a key."""
        key, *others = operation.args
        return exact(key), *others

    def _pack_numbers(self, operation: Operation, _values: list[bytes]) -> tuple[object, ...]:
        """Return arguments of which the first one is several keys, or ids."""
        numbers, *others = operation.args
        return list(map(exact, cast("Sequence[int]", numbers))), *others

    def _pack_limit(self, operation: Operation, _values: list[bytes]) -> tuple[object, ...]:
        """Return arguments of which the last one is a limit."""
        *others, limit = operation.args
        return *others, at_most(limit)

    def _pack_many(self, operation: Operation, _values: list[bytes]) -> tuple[object, ...]:
        limit, duration = operation.args
        return at_most(limit), to_micros(cast("int", duration))

    def _pack_release(self, operation: Operation, values: list[bytes]) -> tuple[object, ...]:
        key, delay, priority, error = operation.args
        number = None if priority is None else _add_priority(cast("int", priority), values)
        return exact(key), to_micros(cast("int", delay)), number, error

    def _pack_insert(self, operation: Operation, values: list[bytes]) -> tuple[object, ...]:
        args = operation.args
        first, many = self._bodies(args[0], values)  # type: ignore[arg-type] # no call more: hot
        delay, priority = args[1], args[2]
        origin = origin_of(operation, values)
        return (
            first,
            many,
            delay and to_micros(cast("int", delay)),
            _add_priority(cast("int", priority), values) if priority else None,
            to_micros(cast("int", args[3])) if len(args) > 3 else 0,
            origin,
        )

    def _pack_refilled(self, operation: Operation, values: list[bytes]) -> tuple[object, ...]:
        args = operation.args
        brought = cast("Sequence[bytes | Encoded] | None", args[0])
        if brought is None:
            self._failure = cast("Exception", args[1])
            return None, None, describe(self._failure), self._refill
        return *self._bodies(brought, values), None, self._refill

    _packs: ClassVar[dict[str, Callable[[Any, Operation, list[bytes]], tuple[object, ...]]]] = {  # type: ignore[explicit-any] # its own
        "insert": _pack_insert,
        "insert_nowait": _pack_insert,
        "wait_insert": _pack_insert,
        "reserve": _pack_durations,
        "reserve_many": _pack_many,
        "prolongate": _pack_renewal,
        "touch": _pack_renewal,
        "snooze": _pack_renewal,
        "bury": _pack_key,
        "fail": _pack_key,
        "delete": _pack_numbers,
        "remove": _pack_numbers,
        "kick": _pack_limit,
        "peek": _pack_limit,
        "pause": _pack_durations,
        "release": _pack_release,
        "refilled": _pack_refilled,
        "dead_letters": lambda _wire, _operation, _values: (LETTERS,),
    }

    def _bodies(self, new: Sequence[bytes | Encoded], values: list[bytes]) -> tuple[int, int]:
        """Add values to those that travel; return the number of the first, and how many."""
        first, codec = FIRST_VALUE + len(values), self.codec
        values += [to_body(value, codec) for value in new]
        return first, len(new)

    def unpack(  # noqa: PLR0911 - one case after the other
        self, operation: Operation, answer: object, values: Sequence[bytes]
    ) -> object:
        """Return an operation's answer, see `Wire.unpack`."""
        match operation.method:
            case "reserve":
                return self._taken(answer, values) if answer else None
            case "prolongate" | "touch":
                return self._reservation(answer, values)
            case "reserve_many":
                taken = [self._taken(each, values) for each in each_of(answer)]
                return [each for each in taken if each is not None]
            case "peek":
                shown = [self._shown(each, values) for each in each_of(answer)]
                return [each for each in shown if each.value is not LOST]
            case "dead_letters":
                return [self._letter(each, values) for each in each_of(answer)]
            case "bury" | "close" | "fail" | "pause" | "release" | "resume" | "snooze":
                return None
            case "begin_refill":
                self._refill = next(_REFILLS) if answer else self._refill
        return answer

    def _taken(self, taken: object, values: Sequence[bytes]) -> Reservation | None:
        """Return a reservation; None if the message cannot be decoded."""
        message, key, value, deadline_at, attempt, inserted_at = cast("Sequence[int]", taken)
        found = self._decoding.taken(values[value - 1], key, message)
        if found is LOST:
            return None
        times = to_nanos(deadline_at), attempt, to_nanos(inserted_at)
        return Reservation(message, key, found, *times)

    def _reservation(self, taken: object, values: Sequence[bytes]) -> Reservation:
        message, key, value, deadline_at, attempt, inserted_at = cast("Sequence[int]", taken)
        body = from_body(values[value - 1], self.codec)
        return Reservation(
            message, key, body, to_nanos(deadline_at), attempt, to_nanos(inserted_at)
        )

    def _shown(self, shown: object, values: Sequence[bytes]) -> TimedMessage:
        message, value, state, attempts, priority, inserted_at, ready_at, error = cast(
            "tuple[int, int, str, int, int, int, int, str | bool]", shown
        )
        return TimedMessage(
            id=message,
            value=self._decoding.shown(values[value - 1]),
            state=state,
            attempts=attempts,
            priority=_PRIORITY.unpack(values[priority - 1])[0] - _BIAS,
            inserted_at=to_nanos(inserted_at),
            ready_at=to_nanos(ready_at),
            error=cast("str", error) or None,
        )

    def _letter(self, letter: object, values: Sequence[bytes]) -> DeadLetter:
        message, value, attempts, error, inserted_at = cast(
            "tuple[int, int, int, str | bool, int]", letter
        )
        return DeadLetter(
            value=from_body(values[value - 1], self.codec),
            queue=self.queue,
            id=message,
            attempts=attempts,
            error=cast("str", error) or None,
            inserted_at=to_nanos(inserted_at),
        )

    def refusal(
        self,
        operation: Operation,
        name: str,
        facts: Sequence[object],
    ) -> QueueActorsError:
        """Return the error that an operation was refused with."""
        match name:
            case "closed":
                return QueueClosedError(self.queue)
            case "full":
                new, room, most = cast("tuple[int, int | bool, int]", facts)
                return QueueFullError(self.queue, new, None if room is False else room, most)
            case "expired":
                return ReservationExpiredError(_refused(operation, facts[0]))
            case "not_found":
                return ReservationNotFoundError(_refused(operation, facts[0]))
            case "refill":
                failed = RefillError(self.queue, cast("str", facts[0]))
                if self._failure is not None and describe(self._failure) == facts[0]:
                    failed.__cause__ = self._failure  # it was here that it failed
                return failed
            case _:
                raise AssertionError(f"the script refuses with {name!r}")

    def notice(self, event: str, facts: Sequence[object]) -> dict[str, object]:
        """Return what the log is told of an event."""
        match event:
            case "insert_dropped":
                values, (name, *others) = cast("tuple[int, list[object]]", facts)
                refusal = self.refusal(cast("Operation", None), cast("str", name), others)
                return {"values": values, "error": str(refusal)}
            case "refill_left_out":
                return {"values": facts[0]}
            case _:
                message, attempts, error = (*facts, None, None)[:3]
                return {"id": message, "attempts": attempts, "error": error or None}

    def statistics(self, now: int, known: Statistics, counts: Mapping[str, int]) -> TimedStatistics:
        """Return the queue's numbers, see `Wire.statistics`."""
        facts = dict(known.facts)
        oldest_at = cast("int | None", facts.pop("oldest_at", None))
        oldest_age = None if oldest_at is None else max(now - oldest_at, 0) / 1e6
        return TimedStatistics(oldest_age=oldest_age, **facts, **counts)  # type: ignore[arg-type] # the script's


def _add_priority(priority: int, values: list[bytes]) -> int:
    """Add a priority to the values that travel; return its number."""
    values.append(_PRIORITY.pack(priority + _BIAS))
    return FIRST_VALUE + len(values) - 1


def _refused(operation: Operation, told: object) -> list[int]:
    """Return the keys that are refused, as they were given: some are no numbers there."""
    given = operation.args[0]
    keys = cast("Sequence[int]", (given,) if isinstance(given, int) else given)
    stale = set(cast("list[int]", told))
    return [key for key in dict.fromkeys(keys) if exact(key) in stale]
