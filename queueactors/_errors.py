"""The errors of `queueactors`, beside those of `supervisors`, and those of trio (`_state_errors`).

The constructor's arguments are the facts, kept as attributes, so every error survives pickling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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


class ReloadRefusedError(QueueActorsError):
    """A reload cannot begin now; nothing has changed. The message says why.

    Args:
      reason: Why not.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ItemRefusedError(QueueActorsError):
    """A batch queue's buffer did not take an item; ``__cause__`` says why, where it is known.

    Args:
      queue: The queue's name.
      error: What the buffer, or a function of its, raised.
      pushed: How many items of the call went in before that one.
    """

    def __init__(self, queue: str, error: str, pushed: int = 0) -> None:
        super().__init__(queue, error, pushed)
        self.queue = queue
        self.error = error
        self.pushed = pushed

    def __str__(self) -> str:
        before = f", after {self.pushed} that went in" if self.pushed else ""
        return f"queue {self.queue!r}: its buffer did not take an item{before}: {self.error}"


class QueueFullError(QueueActorsError):
    """There is no room for the values of a call: nothing of it went in.

    Args:
      queue: Its name.
      new: How many values would go in; those that a unique queue has already do not count.
      room: How many there is room for. None: some, but others wait for it and come first.
      max_length: How many messages the queue may hold.
      option: The option that says so.
    """

    def __init__(
        self,
        queue: str,
        new: int,
        room: int | None,
        max_length: int,
        option: str = "max_length",
    ) -> None:
        super().__init__(queue, new, room, max_length, option)
        self.queue = queue
        self.new = new
        self.room = room
        self.max_length = max_length
        self.option = option

    @property
    def never_fits(self) -> bool:
        """Whether waiting is in vain, because even an empty queue has no room for them."""
        return self.new > self.max_length

    def __str__(self) -> str:
        values = f"{self.new} new value{'s' if self.new > 1 else ''}"
        if self.never_fits:
            return (
                f"queue {self.queue!r} never has room for {values}: its {self.option} is "
                f"{self.max_length}; give it fewer at a time"
            )
        room = "others wait for room" if self.room is None else f"room for {self.room}"
        return f"queue {self.queue!r} is full: {values}, {room} ({self.option} {self.max_length})"


class RefillError(QueueActorsError):
    """The refill that `TimedQueue.sync` waited for has failed; ``__cause__`` is its own error.

    Args:
      queue: The queue's name.
      error: What it failed with.
    """

    def __init__(self, queue: str, error: str) -> None:
        super().__init__(queue, error)
        self.queue = queue
        self.error = error

    def __str__(self) -> str:
        return f"the refill of queue {self.queue!r} failed: {self.error}"


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


class ClaimLostError(QueueActorsError):
    """The message is not locked by that claim any more: its end changes nothing.

    The lock's time was over, and perhaps somebody else handles the message now; or the claim was
    finished, or the message removed.

    Args:
      queue: The queue's name.
      key: The claim's.
    """

    def __init__(self, queue: str, key: int) -> None:
        super().__init__(queue, key)
        self.queue = queue
        self.key = key

    def __str__(self) -> str:
        return (
            f"claim {self.key} on queue {self.queue!r} is lost "
            "(its lock ended, or it was finished or removed); extend() a claim in time"
        )


class CodecError(QueueActorsError, ValueError):
    """A value cannot be encoded, or bytes cannot be decoded; ``__cause__`` says why.

    Args:
      codec: The codec's name.
      error: What it failed with.
    """

    def __init__(self, codec: str, error: str) -> None:
        super().__init__(codec, error)
        self.codec = codec
        self.error = error

    def __str__(self) -> str:
        return f"codec {self.codec!r} failed: {self.error}"


class PositionError(QueueActorsError, ValueError):
    """A label of a log queue cannot stand there. Nothing has changed.

    Args:
      queue: The queue's name.
      label: The label.
      position: Where it was to stand.
      least: Where it stands: the least that can be committed. None: there is no such label.
      most: Behind the last item.
    """

    def __init__(self, queue: str, label: str, position: int, least: int | None, most: int) -> None:
        super().__init__(queue, label, position, least, most)
        self.queue = queue
        self.label = label
        self.position = position
        self.least = least
        self.most = most

    def __str__(self) -> str:
        if self.least is None:
            return f"queue {self.queue!r}: there is no label {self.label!r}; read with it first"
        return (
            f"queue {self.queue!r}: expected position of label {self.label!r} to be from "
            f"{self.least} to {self.most}, got {self.position}"
        )


class StoreError(QueueActorsError):
    """The store failed; ``__cause__`` is its own error, if there is one.

    Args:
      store: The store's name.
      outcome: ``"not applied"``, or ``"unknown"`` when the answer to a commit was lost.
      reason: What is the matter.
    """

    def __init__(
        self, store: str, outcome: Literal["not applied", "unknown"], reason: str = ""
    ) -> None:
        super().__init__(store, outcome, reason)
        self.store = store
        self.outcome: Literal["not applied", "unknown"] = outcome
        self.reason = reason

    def anew(self) -> StoreError:
        """Return the same failure as an error of its own: each has a traceback."""
        error = StoreError(self.store, self.outcome, self.reason)
        error.__cause__ = self.__cause__
        return error

    def __str__(self) -> str:
        reason = self.reason and f": {self.reason}"
        return f"store {self.store!r} failed{reason}; the operation's outcome: {self.outcome}"


class StoreLockedError(StoreError):
    """Another process owns the store's file.

    Args:
      store: The store's name.
      path: The file.
      pid: The owner's process id; None: it could not be read.
      started_at: When the owner opened it, as ISO 8601 text; None: likewise.
      host: The owner's machine or container, if it is another one; None: it is this one, or
        likewise.
    """

    def __init__(
        self,
        store: str,
        path: str,
        pid: int | None,
        started_at: str | None,
        host: str | None = None,
    ) -> None:
        super().__init__(store, "not applied")
        self.args = (store, path, pid, started_at, host)
        self.path = path
        self.pid = pid
        self.started_at = started_at
        self.host = host

    def __str__(self) -> str:
        owner = owner_text(self.pid, self.started_at, self.host)
        return (
            f"store {self.store!r}: {self.path} belongs to {owner}; one process at a time can use "
            "it: stop that one, or give this one a data_dir, or a path, of its own"
        )


def owner_text(pid: int | None, started_at: str | None, host: str | None) -> str:
    """Return who owns a file, in words."""
    owner = "another process" if pid is None else f"process {pid}"
    where = f" on {host}" if host else ""
    return f"{owner}{where}{f' since {started_at}' if started_at else ''}"
