"""Every error of `queueactors`, beside those of `supervisors`.

The constructor's arguments are the facts, kept as attributes, so every error survives pickling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import trio

from supervisors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


class QueueActorsError(Exception):
    """The root of this package's errors; raised by a core, it refuses an operation."""


class OptionsError(QueueActorsError, ValueError):
    """Options break rules. Nothing was done.

    Args:
      faults: Every fault found: the option, and what is wrong with it.
    """

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__(tuple(faults))
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "; ".join(message for _, message in self.faults)


class _NotFoundError(QueueActorsError, LookupError):
    """Base of the look-ups by name that found nothing."""

    thing = "thing"

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        super().__init__(name, tuple(known))
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        return f"there is no {self.thing} {self.name!r}{did_you_mean(self.name, self.known)}"


class QueueNotFoundError(_NotFoundError):
    """The runtime has no queue of that name."""

    thing = "queue"


class WorkerNotFoundError(_NotFoundError):
    """The runtime has no worker of that name."""

    thing = "worker"


class QueueClosedError(QueueActorsError, trio.ClosedResourceError):
    """The queue was closed: it takes nothing in, and has nothing left to hand out.

    Args:
      queue: Its name.
    """

    def __init__(self, queue: str) -> None:
        super().__init__(queue)
        self.queue = queue

    def __str__(self) -> str:
        return f"queue {self.queue!r} is closed"


class ReservationError(QueueActorsError):
    """Base of the two ways in which a reservation is not yours any more.

    Args:
      keys: The keys that were refused.
    """

    rule = "not valid"

    def __init__(self, keys: Sequence[int]) -> None:
        super().__init__(tuple(keys))
        self.keys = tuple(keys)

    def __str__(self) -> str:
        named = ", ".join(map(str, self.keys))
        return f"reservation {named}: {self.rule}"


class ReservationExpiredError(ReservationError):
    """Its deadline has passed, and nobody has taken the message since."""

    rule = "its deadline has passed"


class ReservationNotFoundError(ReservationError):
    """Taken by somebody else since, prolongated, released, deleted, or never given out."""

    rule = "there is none with this key (taken again, prolongated, released or deleted?)"


class StoreError(QueueActorsError):
    """The store failed; ``__cause__`` is its own error.

    Args:
      store: The store's name.
      outcome: ``"not applied"``, or ``"unknown"`` when the answer to a commit was lost.
    """

    def __init__(self, store: str, outcome: Literal["not applied", "unknown"]) -> None:
        super().__init__(store, outcome)
        self.store = store
        self.outcome: Literal["not applied", "unknown"] = outcome

    def __str__(self) -> str:
        return f"store {self.store!r} failed; the operation's outcome: {self.outcome}"
