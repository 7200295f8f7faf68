"""The log queue's handle: arguments are checked here, in the caller, before anything happens.

What the operations do is decided by `queueactors.cores.log`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from queueactors._options import is_text
from queueactors.cores.log import LogStatistics, Read, Start
from queueactors.engines import TAKERS

from ._chunk_handle import ChunkHandle, Item, decoded, encoded
from ._chunk_options import LogOptions
from ._handle import SubmitView
from ._operations import Ask, AskStatistics, Decoded, TakeOver, check_limit, operation, submitted

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from queueactors._codecs import ChunkValues
    from queueactors.cores.timed import DeadLetter


STARTS: Final = frozenset(get_args(Start))


class LogQueue(ChunkHandle[LogOptions]):
    """A log of bytes that any number of labelled readers read, each at its own pace.

    Cheap; valid across restarts. While the queue's actor restarts, calls wait. Every operation can
    end with `supervisors.ActorCrashedError` (it did not happen) or `supervisors.ActorDownError`
    (the queue was stopped, parked, or is gone with its runtime).

    Nothing is taken away by reading. An item can be read until its time to live is over, and not an
    instant longer. A label never expires: it is there until it is removed.

    `next` moves the label before its items are processed: at most once. `read` and `commit` are for
    readers that must not lose any: at least once.

    Cancelling a call: as long as the queue has not taken it up, or it waits for an item, it is
    withdrawn; otherwise it happened and returns. A wait that is withdrawn may have made its label.

    Source: seed 004, RocksQ's ``MpmcQueue``.
    """

    kind = "log"

    @property
    def submit(self) -> LogSubmit:
        """The same operations, sent without waiting for their answers: RocksQ's other flavour."""
        return LogSubmit(self)

    # -- adding --------------------------------------------------------------------------------

    @operation
    def add(self, *items: object) -> Ask[int]:
        """Add items, all or none; return how many.

        Args:
          *items: Bytes; or, with another ``codec``, what it encodes.

        Raises:
          QueueClosedError: If the queue is closed.
          CodecError: If an item cannot be encoded; with the codec ``"bytes"``, if it is no bytes.
        """
        return Ask("add", encoded(self._values, items))

    def add_nowait(self, *items: object) -> None:
        """Add items without waiting, not even for an answer: a cast.

        What a closed queue refuses is not heard of.

        Raises:
          trio.WouldBlock: If the mailbox is full: let others have their turn. Nothing was sent.
          CodecError: As for `add`.
        """
        self._mailbox.cast(Ask("add", encoded(self._values, items)))

    # -- reading -------------------------------------------------------------------------------

    @operation
    def next(  # type: ignore[misc] # any items
        self, label: str, start: Start = "oldest", limit: int = 1
    ) -> Ask[tuple[list[Item], int]]:
        """Return what a label has not read, at most ``limit`` items; it stands behind them then.

        Args:
          label: The reader's name. One that is not known is made, also if there is nothing to
            read.
          start: Where a new label begins: at the ``"oldest"`` item, or at the ``"newest"`` one that
            is there, inclusive. In an empty log: at the next to come. For a known one it is not
            looked at.
          limit: >= 1.

        Returns:
          The items, oldest first, perhaps none; and how many items the label has lost since it was
          asked last: they expired before it came to them, were cleared, or could not be read.

        Raises:
          StoreError: If they cannot be read from the store. The label stays where it is.
          CodecError: If one cannot be decoded: the label stands behind it.
          ValueError: If an argument is out of its range.
          TypeError: If the label is no str.
        """
        return Decoded(self._values, _decode_next, "next", _arguments(label, start, limit))

    @operation
    def wait_next(  # type: ignore[misc] # any items
        self,
        label: str,
        start: Start = "oldest",
        limit: int = 1,
        *,
        timeout: float | None = None,
    ) -> Ask[tuple[list[Item], int]]:
        """Return what `next` does, at least one item; wait for the first.

        Args:
          label: As for `next`.
          start: As for `next`.
          limit: As for `next`.
          timeout: Seconds (>= 0) to wait at most. None: without limit.

        Raises what `next` does; `QueueClosedError` if the queue is closed and there is nothing left
        to read; and `trio.TooSlowError` if ``timeout`` passed.
        """
        return Decoded(
            self._values,
            _decode_next,
            "wait_next",
            _arguments(label, start, limit),
            waits=TAKERS,
            deadline_at=self._deadline(timeout),
            timeout=timeout or 0,
        )

    @operation
    def read(self, label: str, start: Start = "oldest", limit: int = 1) -> Ask[Read]:
        """Return what `next` does, and a position; the label stays where it is, until `commit`.

        So the same comes again to whoever reads without having committed.

        Raises what `next` does.
        """
        return Decoded(self._values, _decode_read, "read", _arguments(label, start, limit))

    @operation
    def wait_read(
        self,
        label: str,
        start: Start = "oldest",
        limit: int = 1,
        *,
        timeout: float | None = None,
    ) -> Ask[Read]:
        """Return what `read` does, at least one item; wait for the first.

        Arguments and errors as for `wait_next`.
        """
        return Decoded(
            self._values,
            _decode_read,
            "wait_read",
            _arguments(label, start, limit),
            waits=TAKERS,
            deadline_at=self._deadline(timeout),
            timeout=timeout or 0,
        )

    @operation
    def commit(self, label: str, position: int) -> Ask[int]:
        """Let a label stand behind what was read; return how many items that passes.

        Args:
          label: The reader's name.
          position: That of a `Read`.

        Raises:
          PositionError: If the label stands behind that already, or there is no such label, or
            position; it is a `ValueError`.
          TypeError: If an argument is of another type.
        """
        if not isinstance(position, int) or isinstance(position, bool):  # type: ignore[redundant-expr] # whoever does not check types
            raise TypeError(f"expected position to be an int, got {position!r}")
        return Ask("commit", (_check_label(label), position))

    # -- labels --------------------------------------------------------------------------------

    @operation
    def labels(self) -> Ask[list[str]]:
        """Return the labels, in the order in which they were made."""
        return Ask("labels")

    @operation
    def remove_label(self, label: str) -> Ask[bool]:
        """Forget a label; return whether there was one. Used again, it begins anew.

        Raises:
          TypeError: If the label is no str.
        """
        return Ask("remove_label", (_check_label(label),))

    # -- the whole queue -----------------------------------------------------------------------

    @operation
    def len(self) -> Ask[int]:
        """Return how many items are in it that have not expired."""
        return Ask("length")

    @operation
    def disk_size(self) -> Ask[int]:
        """Return how many bytes of items its store keeps: of expired ones for a second more."""
        return Ask("disk_size")

    @operation
    def statistics(self) -> Ask[LogStatistics]:
        """Return the queue's numbers; counters are kept across restarts of the actor."""
        return AskStatistics(self._actor, "adding")

    @operation
    def clear(self) -> Ask[int]:
        """Throw all items away; return how many there were.

        Labels stay where they are, and are told how many they have lost by it. So a reader can
        `commit` what it has read before.
        """
        return Ask("clear")

    @operation
    def close(self) -> Ask[None]:
        """Take nothing in any more; what is there can still be read, until it expires.

        Readers who wait are woken. A second time: nothing happens.
        """
        return Ask("close")

    # -- helpers ---------------------------------------------------------------------------------

    def _accept(self, value: object) -> Coroutine[object, object, int]:
        """Add a value that another part of the runtime hands on."""
        return self.add(value)

    @operation
    def _take_over(self, letter: DeadLetter, queue: str) -> Ask[int]:
        """Add a dead letter that leaves another queue of the same store by this."""
        return TakeOver("add", queue, letter.id, encoded(self._values, (letter,)))


class LogSubmit(SubmitView["LogQueue"]):
    """The operations of a `LogQueue`, sent without waiting, see `SubmitView`."""

    add = submitted(LogQueue.add)
    next = submitted(LogQueue.next)
    wait_next = submitted(LogQueue.wait_next)
    read = submitted(LogQueue.read)
    wait_read = submitted(LogQueue.wait_read)
    commit = submitted(LogQueue.commit)
    peek = submitted(LogQueue.peek)
    labels = submitted(LogQueue.labels)
    remove_label = submitted(LogQueue.remove_label)
    len = submitted(LogQueue.len)
    disk_size = submitted(LogQueue.disk_size)
    statistics = submitted(LogQueue.statistics)
    clear = submitted(LogQueue.clear)
    close = submitted(LogQueue.close)


def _decode_next(values: ChunkValues, answer: tuple[list[Item], int]) -> tuple[list[Item], int]:
    items, expired = answer
    return decoded(values, items), expired


def _decode_read(values: ChunkValues, read: Read) -> Read:
    return Read(decoded(values, read.items), read.expired, read.position)


def _arguments(label: object, start: object, limit: object) -> tuple[str, str, int]:
    if not isinstance(start, str) or start not in STARTS:
        raise ValueError(f"expected start to be 'oldest' or 'newest', got {start!r}")
    return _check_label(label), start, check_limit(limit)


def _check_label(label: object) -> str:
    if not isinstance(label, str):
        raise TypeError(f"expected label to be a str, got {label!r}")
    if not is_text(label):
        raise ValueError(f"expected label to be text that can be encoded, got {label!r}")
    return label
