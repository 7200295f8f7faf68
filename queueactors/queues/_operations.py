"""Operations of a handle: each is written once, and can be awaited or submitted.

A handle's method builds an `Ask`: it checks the arguments and says what the actor is to do.
`operation` makes it the method that is awaited, `submitted` its twin in the submit view; both
keep its arguments and the type of its answer.
"""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

import attrs

from queueactors.engines import ROOM, TAKERS, Handover
from supervisors import Mailbox, Operation, PendingReply

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from queueactors._codecs import Values

    from ._actor import QueueActor

P = ParamSpec("P")
T = TypeVar("T")
ValuesT = TypeVar("ValuesT", bound="Values")


class Ask(Operation, Generic[T]):
    """An operation whose answer is a ``T``."""

    __slots__ = ()


class Decoded(Ask[T]):
    """An operation whose answer has values that are to be decoded: in the caller's task.

    Args:
      values: How they are encoded.
      decode: Decodes the answer.
      method: The operation's, as its other arguments.
    """

    __slots__ = ("_decode", "_values")

    def __init__(  # noqa: PLR0913 - an operation's, and two more
        self,
        values: ValuesT,
        decode: Callable[[ValuesT, T], T],
        method: str,
        args: tuple[object, ...],
        *,
        waits: str | None = None,
        deadline_at: int | None = None,
        timeout: float = 0.0,
    ) -> None:
        super().__init__(method, args, waits=waits, deadline_at=deadline_at, timeout=timeout)
        self._values: object = values
        self._decode = cast("Callable[[object, T], T]", decode)  # of those values

    def unwrap(self) -> object:
        return self._decode(self._values, cast("T", super().unwrap()))


class AskStatistics(Ask[T]):
    """Completes a core's numbers by those of its actor, at the instant of the answer.

    Args:
      actor: The queue's.
      room: What the numbers call those who wait for room.
    """

    __slots__ = ("_actor", "_room")

    def __init__(self, actor: QueueActor, room: str) -> None:
        super().__init__("statistics")
        self._actor = actor
        self._room = room

    def resolve(self) -> None:
        if self.error is None and self.value is not None:
            actor = self._actor
            lanes = {"waiting": TAKERS, self._room: ROOM}
            self.value = attrs.evolve(  # type: ignore[misc] # each core's own, an attrs class
                self.value,
                **{field: len(actor.parked.lane(lane)) for field, lane in lanes.items()},
                mailbox=len(actor.mailbox),
                restarts=actor.restarts,
            )
        super().resolve()


class TakeOver(Ask[T], Handover):
    """An operation that brings a message from another queue.

    Args:
      method: What adds it, waiting for room.
      queue: The other queue's name.
      id: The message's number there.
      args: The method's.
    """

    __slots__ = ("id", "queue")

    def __init__(self, method: str, queue: str, id: int, args: tuple[object, ...]) -> None:
        super().__init__(method, args, waits=ROOM)
        self.queue = queue
        self.id = id


class _Handle(Protocol):
    @property
    def _mailbox(self) -> Mailbox: ...


class _View(Protocol):
    @property
    def _queue(self) -> _Handle: ...


H = TypeVar("H", bound=_Handle)
V = TypeVar("V", bound=_View)


def operation(
    build: Callable[Concatenate[H, P], Ask[T]],
) -> Callable[Concatenate[H, P], Coroutine[object, object, T]]:
    """Make an operation a method that is awaited; its arguments are checked at the call."""

    @wraps(build)
    def call(self: H, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, T]:
        # Not async itself: one coroutine less to resume, and the checks are made at the call.
        return self._mailbox.call(build(self, *args, **kwargs))  # type: ignore[return-value] # a T

    return call


def submitted(
    method: Callable[Concatenate[H, P], Coroutine[object, object, T]],
) -> Callable[Concatenate[V, P], PendingReply[T]]:
    """Make the twin of an `operation` that sends it and returns at once."""
    build = cast("Callable[Concatenate[_Handle, P], Ask[T]]", method.__wrapped__)  # type: ignore[attr-defined] # set by `wraps`

    @wraps(build)
    def submit(self: V, /, *args: P.args, **kwargs: P.kwargs) -> PendingReply[T]:
        ask = build(self._queue, *args, **kwargs)
        self._queue._mailbox.cast(ask)  # noqa: SLF001 - the two are one thing
        return PendingReply(ask)

    return submit


def check_limit(limit: object) -> int:
    """Return how many to take at most: no more than a container can have, as `islice` insists.

    Raises:
      ValueError: If it is no int >= 1.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ValueError(f"expected limit to be an int >= 1, got {limit!r}")
    return min(limit, sys.maxsize)


def check_id(id: object) -> int:
    """Return the number of a message.

    Raises:
      TypeError: If it is no int.
    """
    if not isinstance(id, int) or isinstance(id, bool):
        raise TypeError(f"expected ids to be ints, got {id!r}")
    return id
