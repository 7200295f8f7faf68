"""The timed queue's handle: arguments are checked here, in the caller, before anything happens.

What the operations do is decided by `queueactors.cores.timed`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias, cast

import attrs
import trio

from queueactors._errors import QueueActorsError, ReservationError
from queueactors._insist import insist
from queueactors._options import nanoseconds
from queueactors.cores.timed import (
    Reservation,
    TimedCore,
    TimedMessage,
    TimedRecords,
    TimedStatistics,
    check_peek_state,
    check_unique,
)
from supervisors import ActorError, Operation, bare_nursery, describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from queueactors._clock import Clock
    from queueactors.cores.timed import PeekState

    from ._actor import QueueActor
    from ._options import TimedOptions

    AnyReservation: TypeAlias = "Reservation | LiveReservation | int"  # or its key

GRACE = 5.0  # seconds for finishing or giving back a message after a cancellation
KEEP_ALIVE = 3  # a reservation that is kept alive is extended this often in its time
TAKERS = "takers"  # the lane of those who wait for a message


@attrs.frozen
class TimedKind:
    """What a store needs to keep a timed queue.

    Args:
      name: The queue's.
      options: The queue's.
    """

    name: str
    options: TimedOptions

    def new_records(self) -> TimedRecords:
        """Return the records of a new queue, with the configured values in it."""
        return TimedRecords(initial=self.options.values)

    def core(self, records: object) -> TimedCore:
        """Return a core over those records."""
        options = self.options
        return TimedCore(
            name=self.name,
            unique=options.unique,
            max_reservations=options.max_reservations,
            on_exhausted=options.on_exhausted,
            sync_interval=None
            if options.sync_interval is None
            else nanoseconds("sync_interval", options.sync_interval, positive=False),
            records=cast("TimedRecords", records),
        )


class TimedQueue:
    """A queue whose messages are reserved for a time, by name. Cheap; valid across restarts.

    While the queue's actor restarts, calls wait. Every operation can end with
    `supervisors.ActorCrashedError` (it did not happen) or `supervisors.ActorDownError` (the
    queue was stopped, parked, or is gone with its runtime).

    Cancelling a call: as long as the queue has not taken it up, or it waits for a message, it
    is withdrawn and nothing happened; otherwise it happened and returns. So an insert that
    raised ``Cancelled`` was not inserted, and a reserve that raised it took nothing.
    """

    kind = "timed"

    def __init__(self, actor: QueueActor, options: TimedOptions) -> None:
        self._actor = actor
        self._mailbox = actor.mailbox
        self._seconds = options.reservation_time
        self.options = options

    def __repr__(self) -> str:
        return f"<TimedQueue {self.name!r}, store {self.options.store!r}>"

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._actor.name

    @property
    def clock(self) -> Clock:
        """The clock that ``deadline_at`` and all other instants of the queue are on."""
        return self._actor.clock

    # -- taking in -----------------------------------------------------------------------------

    async def insert(self, *values: object, delay: float = 0, priority: int = 0) -> int:
        """Add messages, all or none.

        Args:
          *values: Anything; the memory store keeps the objects themselves.
          delay: Seconds (>= 0) before they can be reserved.
          priority: Smaller is handed out first.

        Returns:
          How many went in. With ``unique``, a value that is in the queue already does not.

        Raises:
          QueueClosedError: If the queue is closed.
          ValueError: If ``delay`` is negative or not finite.
          TypeError: If the queue is ``unique`` and a value cannot be hashed or compared.
        """
        arguments = self._insert_arguments(values, delay, priority)
        return cast("int", await self._call("insert", *arguments))

    def insert_nowait(self, *values: object, delay: float = 0, priority: int = 0) -> None:
        """Add messages without waiting for an answer: a cast.

        Raises:
          trio.WouldBlock: If the mailbox is full. Nothing was sent.
          ValueError: If ``delay`` is negative or not finite.
          TypeError: If the queue is ``unique`` and a value cannot be hashed or compared.
        """
        self._mailbox.cast(Operation("insert", self._insert_arguments(values, delay, priority)))

    # -- handing out ---------------------------------------------------------------------------

    async def reserve(
        self,
        seconds: float | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Reservation:
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
        return cast("Reservation", await self._take("reserve", (self._duration(seconds),), timeout))

    async def try_reserve(self, seconds: float | None = None) -> Reservation | None:
        """Take the first ready message, or None if there is none now.

        Raises:
          QueueClosedError: If the queue is closed and nothing is left in it.
          ValueError: If ``seconds`` is out of its range.
        """
        return cast("Reservation | None", await self._call("reserve", self._duration(seconds)))

    async def reserve_many(
        self,
        limit: int,
        seconds: float | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> list[Reservation]:
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
        _check_limit(limit)
        return cast(
            "list[Reservation]",
            await self._take("reserve_many", (limit, self._duration(seconds)), timeout),
        )

    # -- what the holder of a reservation does ---------------------------------------------------

    async def prolongate(
        self, reservation: AnyReservation, seconds: float | None = None
    ) -> Reservation:
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
        return cast(
            "Reservation",
            await self._call("prolongate", _key(reservation), self._duration(seconds)),
        )

    async def touch(self, reservation: AnyReservation, seconds: float | None = None) -> Reservation:
        """Let a reservation last ``seconds`` from now.

        Arguments, result and errors as for `prolongate`.
        """
        return cast(
            "Reservation", await self._call("touch", _key(reservation), self._duration(seconds))
        )

    async def release(
        self,
        reservation: AnyReservation,
        delay: float = 0,
        priority: int | None = None,
        error: str | None = None,
    ) -> None:
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
        if error is not None and not isinstance(error, str):
            raise TypeError(f"expected error to be a str, got {error!r}")
        await self._call("release", _key(reservation), wait, priority, error)

    async def delete(self, *reservations: AnyReservation, expired_ok: bool = False) -> int:
        """Finish messages: they leave the queue. Each reservation counts for itself.

        Args:
          *reservations: The reservations, or their keys.
          expired_ok: Also finish one whose deadline has passed, unless somebody else has the
            message or had it since.

        Returns:
          How many were finished.

        Raises:
          ReservationExpiredError: If the deadline of one has passed; the live ones are
            finished, and ``.keys`` has all that were not.
          ReservationNotFoundError: If one is not yours any more; likewise.
        """
        keys = tuple(map(_key, reservations))
        return cast("int", await self._call("delete", keys, expired_ok))

    def delete_nowait(self, *reservations: AnyReservation) -> None:
        """Finish messages without waiting for an answer; stale ones are silently ignored.

        Raises:
          trio.WouldBlock: If the mailbox is full. Nothing was sent.
        """
        self._mailbox.cast(Operation("delete", (tuple(map(_key, reservations)),)))

    @asynccontextmanager
    async def reserved(
        self, seconds: float | None = None, *, keep_alive: bool = False
    ) -> AsyncIterator[LiveReservation]:
        """Reserve a message around a block: finished at its end, given back if it raises.

        Cancelled while it waits: nothing was taken. Cancelled in the block: given back.

        Args:
          seconds: How long it is yours (> 0). None: the queue's ``reservation_time``.
          keep_alive: Extend the reservation as long as the block runs.

        Yields:
          A view of the reservation, always current.

        Raises:
          ReservationError: At the end of the block, if the reservation was lost meanwhile.
          QueueClosedError: If the queue is closed and nothing is left in it.
        """
        every = self._duration(seconds) / 1e9 / KEEP_ALIVE
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
                return  # lost; the end of the block says so
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

    # -- the whole queue ---------------------------------------------------------------------

    async def len(self) -> int:
        """Return how many messages the queue holds: ready, delayed, reserved and buried."""
        return cast("int", await self._call("length"))

    async def statistics(self) -> TimedStatistics:
        """Return the queue's numbers; counters are kept across restarts of the actor."""
        statistics = cast("TimedStatistics", await self._call("statistics"))
        return attrs.evolve(
            statistics,
            waiting=len(self._actor.parked),
            mailbox=len(self._mailbox),
            restarts=self._actor.restarts,
        )

    async def clear(self) -> int:
        """Remove all messages; their reservations are void. Return how many there were."""
        return cast("int", await self._call("clear"))

    async def close(self) -> None:
        """Take nothing in any more; what is there can still be reserved and finished.

        Takers who wait are woken once nothing is left for them. A second time: nothing happens.
        """
        await self._call("close")

    async def peek(self, state: PeekState = "ready", limit: int = 1) -> list[TimedMessage]:
        """Look at the first messages in a state without taking them.

        Args:
          state: ``"ready"``, ``"delayed"``, ``"reserved"`` or ``"buried"``.
          limit: >= 1.
        """
        check_peek_state(state)
        _check_limit(limit)
        return cast("list[TimedMessage]", await self._call("peek", state, limit))

    # -- helpers -------------------------------------------------------------------------------

    async def _call(self, method: str, *args: object) -> object:
        return await self._mailbox.call(Operation(method, args))

    async def _take(
        self,
        method: str,
        args: tuple[object, ...],
        timeout: float | None,  # noqa: ASYNC109
    ) -> object:
        deadline_at = None
        if timeout is not None:
            wait = nanoseconds("timeout", timeout, positive=False)
            deadline_at = self._actor.clock.now_ns() + wait
        operation = Operation(method, args, waits=TAKERS, deadline_at=deadline_at)
        return await self._mailbox.call(operation)

    def _insert_arguments(
        self, values: tuple[object, ...], delay: float, priority: object
    ) -> tuple[object, ...]:
        if self.options.unique:
            check_unique(values)
        return values, nanoseconds("delay", delay, positive=False), _check_priority(priority)

    def _duration(self, seconds: float | None) -> int:
        return nanoseconds("seconds", self._seconds if seconds is None else seconds)


class LiveReservation:
    """The reservation of a `TimedQueue.reserved` block: its key and deadline are always current.

    Args:
      current: The reservation as it is now.
    """

    def __init__(self, current: Reservation) -> None:
        self.current = current

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


def _key(reservation: object) -> int:
    if isinstance(reservation, Reservation | LiveReservation):
        return reservation.key
    if isinstance(reservation, int) and not isinstance(reservation, bool):
        return reservation
    raise TypeError(f"expected a reservation or its key, got {reservation!r}")


def _check_limit(limit: object) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ValueError(f"expected limit to be an int >= 1, got {limit!r}")


def _check_priority(priority: object) -> int:
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise TypeError(f"expected priority to be an int, got {priority!r}")
    return priority
