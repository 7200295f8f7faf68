"""A delivery: one message on its way through a handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from queueactors.cores.timed import Reservation
    from queueactors.queues import TimedQueue


class Delivery:
    """What a handler gets.

    Args:
      reservation: Of the message, as it is now.
      queue: Where it is from.
      runtime: The `Runtime` that the worker belongs to.
    """

    __slots__ = ("_reservation", "lock", "lost", "queue", "running", "runtime")

    def __init__(self, reservation: Reservation, queue: TimedQueue, runtime: object) -> None:
        self._reservation = reservation
        self.queue = queue
        self.runtime = runtime
        self.running = True  # its handler
        self.lost = False  # its reservation
        self.lock = trio.Lock()  # an extension changes the key; nobody may use the old one then

    def __repr__(self) -> str:
        return f"<Delivery {self.id} of {self.queue.name!r}, attempt {self.attempt}>"

    @property
    def id(self) -> int:
        """The message's number: stable, unique in its queue."""
        return self._reservation.id

    @property
    def key(self) -> int:
        """What proves the reservation at present."""
        return self._reservation.key

    @property
    def value(self) -> object:
        """What was inserted."""
        return self._reservation.value

    @property
    def attempt(self) -> int:
        """The how-manieth reservation of this message it is, from 1."""
        return self._reservation.attempt

    @property
    def deadline_at(self) -> int:
        """Epoch nanoseconds at which the reservation ends by itself, as it stands."""
        return self._reservation.deadline_at

    async def extend(self, seconds: float | None = None) -> None:
        """Let the reservation last ``seconds`` from now; the worker extends it by itself too.

        Args:
          seconds: > 0. None: the queue's ``reservation_time``.

        Raises:
          ReservationError: If the reservation is not yours any more.
        """
        async with self.lock:
            self._reservation = await self.queue.touch(self._reservation, seconds)
