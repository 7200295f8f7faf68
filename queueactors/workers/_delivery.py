"""A delivery: one message on its way through a handler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueactors.queues import AnyQueue

    from ._sources import Source

AnyRuntime = Any  # type: ignore[explicit-any] # a `Runtime`, which is built on this
Held = Any  # type: ignore[explicit-any] # what a source knows a message by
Value = Any  # type: ignore[explicit-any] # what went into the queue


class Delivery:
    """What a handler gets.

    Args:
      source: Where the worker has it from.
      held: What that source knows it by.
      id: See below.
      value: See below.
      attempt: See below.
      age: See below.
      inserted_at: See below.
      lock_time: Seconds that the queue lets the worker have it, unless it is extended. None:
        without limit.

    Attributes:
      id: The message's number: stable, unique in its queue. A channel does not number its values:
        there it is the worker that does.
      value: What went into the queue; with ``batch`` a list of such.
      attempt: The how-manieth attempt at this message it is, from 1.
      age: Seconds from when it went in to when it was taken. None: it is a channel's; that does
        not keep it.
      inserted_at: Epoch nanoseconds at which it went in; from a channel, at which it was taken.
      mid: The message's own name, in a message queue; in others None.
      runtime: The `Runtime` that the worker belongs to.
    """

    __slots__ = (
        "_held",
        "_source",
        "age",
        "attempt",
        "extended",
        "id",
        "inserted_at",
        "lock",
        "lock_time",
        "lost",
        "mid",
        "running",
        "value",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - sources make it, one for each message
        self,
        source: Source,
        held: Held,
        id: int,
        value: Value,
        attempt: int,
        age: float | None,
        inserted_at: int,
        lock_time: float | None = None,
        mid: str | None = None,
    ) -> None:
        self._source = source
        self._held = held
        self.id = id
        self.value = value
        self.attempt = attempt
        self.age = age
        self.inserted_at = inserted_at
        self.lock_time = lock_time
        self.mid = mid
        self.running = True  # its handler
        self.lost = False  # its message
        self.extended: Callable[[Delivery], object] | None = None  # told when it was
        self.lock: trio.Lock | None = None  # an extension changes the key; nobody uses the old then

    def __repr__(self) -> str:
        return f"<Delivery {self.id} of {self.queue.name!r}, attempt {self.attempt}>"

    @property
    def queue(self) -> AnyQueue:
        """Where the message is from."""
        return self._source.queue

    @property
    def runtime(self) -> AnyRuntime:
        """The `Runtime` that the worker belongs to."""
        return self._source.runtime

    @property
    def key(self) -> int:
        """What proves at present that the message is the worker's; a channel's has its ``id``."""
        return getattr(self._held, "key", self.id)

    @property
    def deadline_at(self) -> int | None:
        """Epoch nanoseconds until which it is the worker's, as it stands; None: without limit."""
        return getattr(self._held, "deadline_at", None)

    async def extend(self, seconds: float | None = None) -> None:
        """Keep the message for ``seconds`` from now; the worker extends it by itself too.

        From a channel: nothing to do, it is the worker's for as long as it takes.

        Args:
          seconds: > 0. None: as long as at the beginning.

        Raises:
          ReservationError: If it is a timed queue's, and not yours any more.
          ClaimLostError: If it is a message queue's, and not yours any more.
        """
        if self.lock is None:
            self.lock = trio.Lock()
        async with self.lock:
            self._held = await self._source.extend(self._held, seconds)
        if seconds is not None and self.extended is not None:
            self.extended(self)
