"""A reservation that stays current while it is extended."""

from __future__ import annotations

from typing import TypeAlias

from queueactors.cores.timed import Reservation


class LiveReservation:
    """The reservation of a `TimedQueue.reserved` block: its key and deadline are always current.

    Args:
      current: The reservation as it is now.

    Attributes:
      lost: Whether extending it has failed because it is somebody else's, or nobody's. Without
        ``keep_alive`` nobody looks, and it stays False.
    """

    def __init__(self, current: Reservation) -> None:
        self.current = current
        self.lost = False

    def __repr__(self) -> str:
        return f"<LiveReservation of {self.current!r}>"

    @property
    def id(self) -> int:
        """The message's number."""
        return self.current.id

    @property
    def key(self) -> int:
        """What proves the reservation at present."""
        return self.current.key

    @property
    def value(self) -> object:
        """What was inserted."""
        return self.current.value

    @property
    def deadline_at(self) -> int:
        """Epoch nanoseconds at which it ends by itself, as it stands."""
        return self.current.deadline_at

    @property
    def attempt(self) -> int:
        """The how-manieth reservation of this message it is, from 1."""
        return self.current.attempt


AnyReservation: TypeAlias = Reservation | LiveReservation | int  # or its key


def key_of(reservation: object) -> int:
    """Return the key of a reservation, or of what stands for it.

    Raises:
      TypeError: If it is neither a reservation nor a key.
    """
    if isinstance(reservation, Reservation | LiveReservation):
        return reservation.key
    if isinstance(reservation, int) and not isinstance(reservation, bool):
        return reservation
    raise TypeError(f"expected a reservation or its key, got {reservation!r}")
