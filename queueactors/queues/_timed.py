"""The timed queue's handle: arguments are checked here, in the caller, before anything happens.

What the operations do is decided by `queueactors.cores.timed`.

The file is over 500 lines because of what the docstrings say of each operation.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import trio

from queueactors._errors import QueueActorsError, ReservationError
from queueactors._insist import insist
from queueactors._options import instant, nanoseconds
from queueactors.cores.timed import (
    Reservation,
    TimedMessage,
    TimedStatistics,
    check_peek_state,
    check_unique,
)
from queueactors.engines import ROOM, SYNCS, TAKERS
from supervisors import ActorError, bare_nursery, describe

from ._handle import QueueHandle, SubmitView
from ._live import AnyReservation, LiveReservation, key_of
from ._operations import (
    Ask,
    AskStatistics,
    Decoded,
    TakeOver,
    check_id,
    check_limit,
    operation,
    submitted,
)
from ._timed_kind import decode_any, decode_many, decode_one, decode_shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from datetime import datetime

    from queueactors._codecs import Values
    from queueactors.cores.timed import DeadLetter, PeekState

    from ._actor import QueueActor
    from ._options import TimedOptions

GRACE = 5.0  # seconds for finishing or giving back a message after a cancellation
_NOT_WAITING = "to take what is there without waiting, call try_reserve() or give timeout=0"
_ENDING = "to give the message back now, call release()"
KEEP_ALIVE = 3  # a reservation that is kept alive is extended this often in its time

T = TypeVar("T")


class TimedQueue(QueueHandle["TimedOptions"]):
    """A queue whose messages are reserved for a time, by name. Cheap; valid across restarts.

    While the queue's actor restarts, calls wait. Every operation can end with
    `supervisors.ActorCrashedError` (it did not happen) or `supervisors.ActorDownError` (the
    queue was stopped, parked, or is gone with its runtime).

    Cancelling a call: as long as the queue has not taken it up, or it waits for a message, it
    is withdrawn and nothing happened; otherwise it happened and returns. So an insert that
    raised ``Cancelled`` was not inserted, and a reserve that raised it took nothing.
    """

    kind = "timed"

    def __init__(
        self, actor: QueueActor, options: TimedOptions, values: Values | None = None
    ) -> None:
        super().__init__(actor, options)
        self._values = values  # how they are encoded; None: they are not
        self._seconds = options.reservation_time

    def _reconfigure(self, options: TimedOptions) -> None:
        super()._reconfigure(options)
        self._seconds = options.reservation_time

    @property
    def submit(self) -> TimedSubmit:
        """The same operations, sent without waiting for their answers."""
        return TimedSubmit(self)

    # -- taking in -----------------------------------------------------------------------------

    @operation
    def insert(
        self,
        *values: object,
        delay: float = 0,
        at: int | datetime | None = None,
        priority: int = 0,
    ) -> Ask[int]:
        """Add messages, all or none.

        Args:
          *values: Anything; the memory store keeps the objects themselves.
          delay: Seconds (>= 0) before they can be reserved.
          at: The instant from which on they can be reserved: epoch nanoseconds, or a datetime
            with a time zone. One that has passed: now. None: ``delay`` counts.
          priority: Smaller is handed out first.

        Returns:
          How many went in. With ``unique``, a value that is in the queue already does not.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If they do not all fit into ``max_length``, or if others wait for room
            (`wait_insert`): they come first.
          ValueError: If ``delay`` or ``at`` is out of its range (an ``at`` before 2001 was meant
            in seconds), or both are given.
          TypeError: If the queue is ``unique`` and a value cannot be hashed or compared.
        """
        return Ask("insert", self._insertion(values, delay, at, priority))

    def insert_nowait(
        self,
        *values: object,
        delay: float = 0,
        at: int | datetime | None = None,
        priority: int = 0,
    ) -> None:
        """Add messages without waiting for an answer: a cast.

        A full or closed queue drops them: that is logged (``insert_dropped``) and counted.

        Arguments as for `insert`.

        Raises:
          trio.WouldBlock: If the mailbox is full. Nothing was sent.
          ValueError: If ``delay`` or ``at`` is out of its range, or both are given.
          TypeError: If the queue is ``unique`` and a value cannot be hashed or compared.
        """
        self._mailbox.cast(Ask("insert_nowait", self._insertion(values, delay, at, priority)))

    @operation
    def wait_insert(
        self,
        *values: object,
        delay: float = 0,
        at: int | datetime | None = None,
        priority: int = 0,
        timeout: float | None = None,
    ) -> Ask[int]:
        """Add messages, all or none; wait until there is room for them.

        Those who wait are served in the order in which they began to wait, and no later insert
        overtakes them, though it might fit. Arguments and result as for `insert`; ``delay``
        counts from the instant at which they go in.

        Args:
          *values: As for `insert`.
          delay: As for `insert`.
          at: As for `insert`.
          priority: As for `insert`.
          timeout: Seconds (>= 0) to wait for room at most. None: without limit. While the
            queue's actor restarts, it is not looked at.

        Raises:
          trio.TooSlowError: If ``timeout`` passed. Nothing went in.
          QueueClosedError: If the queue is closed, before or during the wait.
          QueueFullError: If the call has more new values than ``max_length``: they never fit.
          ValueError: If an argument is out of its range, or ``delay`` and ``at`` are both given.
          TypeError: If the queue is ``unique`` and a value cannot be hashed or compared.
        """
        arguments = self._insertion(values, delay, at, priority)
        deadline_at = self._deadline(timeout)
        return Ask(
            "wait_insert", arguments, waits=ROOM, deadline_at=deadline_at, timeout=timeout or 0
        )

    # -- handing out ---------------------------------------------------------------------------

    @operation
    def reserve(
        self,
        seconds: float | None = None,
        *,
        timeout: float | None = None,
    ) -> Ask[Reservation]:
        """Take the first ready message; wait until there is one.

        Those who wait are served in the order in which they began to wait.

        Args:
          seconds: How long it is yours (> 0). None: the queue's ``reservation_time``.
          timeout: Seconds (>= 0) to wait for a message at most. None: without limit. While the
            queue's actor restarts, it is not looked at.

        Raises:
          trio.TooSlowError: If ``timeout`` passed. Nothing was taken.
          QueueClosedError: If the queue is closed and nothing is left in it.
          ValueError: If an argument is out of its range.
        """
        duration = (self._duration(seconds, _NOT_WAITING),)
        deadline_at = self._deadline(timeout)
        return self._decoded(
            decode_one,
            "reserve",
            duration,
            waits=TAKERS,
            deadline_at=deadline_at,
            timeout=timeout or 0,
        )

    @operation
    def try_reserve(self, seconds: float | None = None) -> Ask[Reservation | None]:
        """Take the first ready message, or None if there is none now.

        Raises:
          QueueClosedError: If the queue is closed and nothing is left in it.
          ValueError: If ``seconds`` is out of its range.
        """
        return self._decoded(decode_any, "reserve", (self._duration(seconds, _NOT_WAITING),))

    @operation
    def reserve_many(
        self,
        limit: int,
        seconds: float | None = None,
        *,
        timeout: float | None = None,
    ) -> Ask[list[Reservation]]:
        """Take what is ready, at least one message and at most ``limit``; wait for the first.

        Args:
          limit: >= 1.
          seconds: How long they are yours (> 0). None: the queue's ``reservation_time``.
          timeout: As for `reserve`.

        Raises:
          trio.TooSlowError: If ``timeout`` passed. Nothing was taken.
          QueueClosedError: If the queue is closed and nothing is left in it.
          ValueError: If an argument is out of its range.
        """
        arguments = (check_limit(limit), self._duration(seconds, _NOT_WAITING))
        deadline_at = self._deadline(timeout)
        return self._decoded(
            decode_many,
            "reserve_many",
            arguments,
            waits=TAKERS,
            deadline_at=deadline_at,
            timeout=timeout or 0,
        )

    # -- what the holder of a reservation does ---------------------------------------------------

    @operation
    def prolongate(
        self, reservation: AnyReservation, seconds: float | None = None
    ) -> Ask[Reservation]:
        """Move a reservation's deadline further: the old deadline + ``seconds``.

        Args:
          reservation: The reservation, or its key.
          seconds: > 0. None: the queue's ``reservation_time``.

        Returns:
          A new reservation with a new key; the old key is dead.

        Raises:
          ReservationExpiredError: If its deadline has passed.
          ReservationNotFoundError: If it is not yours any more.
        """
        arguments = key_of(reservation), self._duration(seconds, _ENDING)
        return self._decoded(decode_one, "prolongate", arguments)

    @operation
    def touch(self, reservation: AnyReservation, seconds: float | None = None) -> Ask[Reservation]:
        """Let a reservation last ``seconds`` from now.

        Arguments, result and errors as for `prolongate`.
        """
        arguments = key_of(reservation), self._duration(seconds, _ENDING)
        return self._decoded(decode_one, "touch", arguments)

    @operation
    def release(
        self,
        reservation: AnyReservation,
        delay: float = 0,
        priority: int | None = None,
        error: str | None = None,
    ) -> Ask[None]:
        """Give a message back, to the tail of the ready ones.

        If this was its last allowed reservation, it goes where ``on_exhausted`` says.

        Args:
          reservation: The reservation, or its key.
          delay: Seconds (>= 0) before it is ready again.
          priority: A new priority. None: as before.
          error: What went wrong; kept with the message. None: nothing to say.

        Raises:
          ReservationExpiredError: If its deadline has passed.
          ReservationNotFoundError: If it is not yours any more.
        """
        wait = nanoseconds("delay", delay, positive=False)
        if priority is not None:
            _check_priority(priority)
        return Ask("release", (key_of(reservation), wait, priority, _check_error(error)))

    @operation
    def bury(self, reservation: AnyReservation, error: str | None = None) -> Ask[None]:
        """Put a message aside: nobody gets it until `kick`.

        Args:
          reservation: The reservation, or its key.
          error: What is wrong with it; kept with the message. None: nothing to say.

        Raises:
          ReservationExpiredError: If its deadline has passed.
          ReservationNotFoundError: If it is not yours any more.
        """
        return Ask("bury", (key_of(reservation), _check_error(error)))

    @operation
    def snooze(self, reservation: AnyReservation, seconds: float = 0) -> Ask[None]:
        """Give a message back as if it had not been reserved: the attempt does not count.

        So its next reservation has the same ``attempt``, and it is never exhausted by this.

        Args:
          reservation: The reservation, or its key.
          seconds: Before it is ready again (>= 0).

        Raises:
          ReservationExpiredError: If its deadline has passed.
          ReservationNotFoundError: If it is not yours any more.
        """
        return Ask("snooze", (key_of(reservation), nanoseconds("seconds", seconds, positive=False)))

    @operation
    def fail(self, reservation: AnyReservation, error: str | None = None) -> Ask[None]:
        """Give a message up: this attempt was its last, whatever ``max_reservations`` says.

        It goes where ``on_exhausted`` says, at once.

        Args:
          reservation: The reservation, or its key.
          error: What went wrong; kept with the message. None: nothing to say.

        Raises:
          ReservationExpiredError: If its deadline has passed.
          ReservationNotFoundError: If it is not yours any more.
        """
        return Ask("fail", (key_of(reservation), _check_error(error)))

    @operation
    def delete(self, *reservations: AnyReservation, expired_ok: bool = False) -> Ask[int]:
        """Finish messages: they leave the queue. Each reservation counts for itself.

        Args:
          *reservations: The reservations, or their keys. One that is given twice counts once.
          expired_ok: Also finish one whose deadline has passed, unless somebody else has the
            message or had it since.

        Returns:
          How many were finished.

        Raises:
          ReservationExpiredError: If the deadline of one has passed; the live ones are
            finished, and ``.keys`` has all that were not.
          ReservationNotFoundError: If one is not yours any more; likewise.
        """
        return Ask("delete", (tuple(map(key_of, reservations)), expired_ok))

    def delete_nowait(self, *reservations: AnyReservation) -> None:
        """Finish messages without waiting for an answer; stale ones are silently ignored.

        Raises:
          trio.WouldBlock: If the mailbox is full. Nothing was sent.
        """
        self._mailbox.cast(Ask("delete", (tuple(map(key_of, reservations)),)))

    @operation
    def _take_over(self, letter: DeadLetter, queue: str) -> Ask[int]:
        """Add a dead letter that leaves another queue of the same store by this.

        Args:
          letter: The dead letter.
          queue: The other queue's name. What it has of the message goes in the same transaction.

        Returns, and raises, what `wait_insert` does.
        """
        return TakeOver("wait_insert", queue, letter.id, self._insertion((letter,), 0, None, 0))

    @asynccontextmanager
    async def reserved(
        self, seconds: float | None = None, *, keep_alive: bool = False
    ) -> AsyncIterator[LiveReservation]:
        """Reserve a message around a block: finished at its end, given back if it raises.

        Cancelled while it waits: nothing was taken. Cancelled in the block: given back.

        Args:
          seconds: How long it is yours (> 0). None: the queue's ``reservation_time``.
          keep_alive: Extend the reservation as long as the block runs. If it is lost all the same
            (removed, or the program stood still), the block goes on; the next extension notices,
            a third of the reservation's time later at most, and sets ``lost`` of the view.

        Yields:
          A view of the reservation, always current.

        Raises:
          ReservationError: At the end of the block, if the reservation was lost meanwhile. If
            the block raises, that goes on, and a note on it says so.
          QueueClosedError: If the queue is closed and nothing is left in it.
        """
        every = self._duration(seconds, _NOT_WAITING) / 1e9 / KEEP_ALIVE
        live = LiveReservation(await self.reserve(seconds))
        error: BaseException | None = None
        async with bare_nursery() as nursery:
            if keep_alive:
                nursery.start_soon(self._keep_alive, live, seconds, every)
            try:
                yield live
            except BaseException as raised:  # noqa: BLE001 - raised below, as it is
                error = raised
            # The block is over: a late cancellation changes nothing about how.
            nursery.cancel_scope.shield = True
            nursery.cancel_scope.cancel()
        if error is None:
            await self._finish(live)
            return
        try:
            await self._give_back(live, error)
            raise error
        finally:
            del error  # no cycle through the traceback

    async def _keep_alive(self, live: LiveReservation, seconds: float | None, every: float) -> None:
        while True:
            await trio.sleep(every)
            try:
                live.current = await insist(lambda: self.touch(live.key, seconds))
            except ReservationError:
                live.lost = True  # the end of the block says so too
                return
            except ActorError:
                continue  # the queue is down; it may be back in time

    async def _finish(self, live: LiveReservation) -> None:
        try:
            await insist(lambda: self.delete(live.key))
        except trio.Cancelled:
            # The block is done: its message must not come back because of a late cancellation.
            with trio.move_on_after(GRACE, shield=True):
                await insist(lambda: self.delete(live.key))
            raise

    async def _give_back(self, live: LiveReservation, error: BaseException) -> None:
        with trio.move_on_after(GRACE, shield=True):
            try:
                await insist(lambda: self.release(live.key, error=describe(error)))
            except (QueueActorsError, ActorError) as failure:
                error.add_note(f"its reservation was not given back: {describe(failure)}")

    # -- what an operator does -----------------------------------------------------------------

    @operation
    def kick(self, limit: int = 1) -> Ask[int]:
        """Make buried messages ready again, the oldest first; return how many.

        Their attempts start at 0 again.

        Args:
          limit: >= 1.
        """
        return Ask("kick", (check_limit(limit),))

    @operation
    def remove(self, *ids: int) -> Ask[int]:
        """Take messages out, in whatever state; return how many there were.

        Whoever has one reserved gets `ReservationNotFoundError` when finishing it.

        Args:
          *ids: Their numbers, as reservations, `peek` and the log have them.
        """
        return Ask("remove", (tuple(map(check_id, ids)),))

    @operation
    def peek(self, state: PeekState = "ready", limit: int = 1) -> Ask[list[TimedMessage]]:
        """Look at the first messages in a state without taking them.

        Args:
          state: ``"ready"``, ``"delayed"``, ``"reserved"`` or ``"buried"``.
          limit: >= 1.
        """
        check_peek_state(state)
        return self._decoded(decode_shown, "peek", (state, check_limit(limit)))

    # -- the whole queue ---------------------------------------------------------------------

    @operation
    def len(self) -> Ask[int]:
        """Return how many messages the queue holds: ready, delayed, reserved and buried."""
        return Ask("length")

    @operation
    def _size(self) -> Ask[int]:
        """Return how many messages are ready."""
        return Ask("size")

    @operation
    def statistics(self) -> Ask[TimedStatistics]:
        """Return the queue's numbers; counters are kept across restarts of the actor."""
        return AskStatistics(self._actor, "inserting")

    @operation
    def clear(self) -> Ask[int]:
        """Remove all messages; their reservations are void. Return how many there were."""
        return Ask("clear")

    @operation
    def close(self) -> Ask[None]:
        """Take nothing in any more; what is there can still be reserved and finished.

        Takers who wait are woken once nothing is left for them, those who wait for room at
        once. A second time: nothing happens.
        """
        return Ask("close")

    @operation
    def sync(self) -> Ask[int]:
        """Refill now, whatever ``sync_interval`` says; wait for it.

        If a refill runs already, this waits for that one: those who call at once share one. A
        caller who leaves does not end it.

        Returns:
          How many values went in.

        Raises:
          RefillError: If it failed; ``__cause__`` is its own error.
          QueueClosedError: If the queue is closed, before or during the wait.
          ValueError: If the queue has no ``sync_fn``.
        """
        if self.options.sync_fn is None:
            raise ValueError(f"queue {self.name!r} has no sync_fn to call; define it with one")
        return Ask("sync", waits=SYNCS)

    # -- helpers -------------------------------------------------------------------------------

    def _accept(self, value: object) -> Coroutine[object, object, int]:
        """Add a value that another part of the runtime hands on; wait until there is room."""
        return self.wait_insert(value)

    def _insertion(
        self,
        values: tuple[object, ...],
        delay: float,
        at: int | datetime | None,
        priority: object,
    ) -> tuple[object, ...]:
        if self.options.unique:
            check_unique(values)
        if self._values is not None:
            values = tuple(map(self._values.encode, values))
        is_none = type(delay) is int and not delay  # usually: not to be looked at more closely
        wait = 0 if is_none else nanoseconds("delay", delay, positive=False)
        if at is None:
            return values, wait, _check_priority(priority)
        if wait:
            raise ValueError(f"expected either delay or at, got delay={delay!r} and at={at!r}")
        return values, 0, _check_priority(priority), instant("at", at, now=self.clock.now_ns())

    def _decoded(  # noqa: PLR0913 - those of `Decoded`
        self,
        decode: Callable[[Values, T], T],
        method: str,
        args: tuple[object, ...],
        *,
        waits: str | None = None,
        deadline_at: int | None = None,
        timeout: float = 0.0,
    ) -> Ask[T]:
        """Return an operation whose answer is decoded, if the queue's values are encoded."""
        values = self._values
        if values is None:
            return Ask(method, args, waits=waits, deadline_at=deadline_at, timeout=timeout)
        return Decoded(
            values, decode, method, args, waits=waits, deadline_at=deadline_at, timeout=timeout
        )

    def _duration(self, seconds: float | None, instead: str) -> int:
        """Return how long a reservation is to last; ``instead``: what to call for 0."""
        if seconds == 0:
            raise ValueError(f"expected seconds, how long it is yours, to be > 0, got 0; {instead}")
        return nanoseconds("seconds", self._seconds if seconds is None else seconds)


class TimedSubmit(SubmitView["TimedQueue"]):
    """The operations of a `TimedQueue`, sent without waiting, see `SubmitView`."""

    insert = submitted(TimedQueue.insert)
    wait_insert = submitted(TimedQueue.wait_insert)
    reserve = submitted(TimedQueue.reserve)
    try_reserve = submitted(TimedQueue.try_reserve)
    reserve_many = submitted(TimedQueue.reserve_many)
    prolongate = submitted(TimedQueue.prolongate)
    touch = submitted(TimedQueue.touch)
    release = submitted(TimedQueue.release)
    snooze = submitted(TimedQueue.snooze)
    fail = submitted(TimedQueue.fail)
    bury = submitted(TimedQueue.bury)
    delete = submitted(TimedQueue.delete)
    kick = submitted(TimedQueue.kick)
    remove = submitted(TimedQueue.remove)
    peek = submitted(TimedQueue.peek)
    len = submitted(TimedQueue.len)
    _size = submitted(TimedQueue._size)  # noqa: SLF001 - the two are one thing
    statistics = submitted(TimedQueue.statistics)
    clear = submitted(TimedQueue.clear)
    close = submitted(TimedQueue.close)
    sync = submitted(TimedQueue.sync)


def _check_error(error: object) -> str | None:
    if error is None:
        return None
    if not isinstance(error, str):
        raise TypeError(f"expected error to be a str, got {error!r}")
    if error.isascii():
        return error
    return error.encode(errors="backslashreplace").decode()  # lone surrogates cannot be stored


def _check_priority(priority: object) -> int:
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise TypeError(f"expected priority to be an int, got {priority!r}")
    if not -_LARGEST <= priority < _LARGEST:
        raise ValueError(f"expected priority to fit into 64 bits, got {priority!r}")
    return priority


_LARGEST = 1 << 63
