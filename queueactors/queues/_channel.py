"""The channel's handle: values are checked and copied here, in the sender, before anything happens.

What the operations do is decided by `queueactors.cores.channel`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection

from queueactors._options import nanoseconds
from queueactors._state_errors import QueueClosedError
from queueactors.cores.channel import ChannelCore, ChannelRecords, ChannelStatistics, Places
from queueactors.engines import ROOM, TAKERS

from ._handle import QueueHandle, SubmitView
from ._operations import Ask, AskStatistics, check_limit, operation, submitted
from ._snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from ._actor import QueueActor
    from ._options import ChannelOptions

CRASHES: Final = 3  # of the actor over one `send_nowait`, before its value is given up
BATCH: Final = 128  # values that `ChannelQueue.batches` asks for, as seed 000's examples do

Value = Any  # type: ignore[explicit-any] # what was sent


@attrs.define(eq=False)
class ChannelKind:
    """What the memory store needs to keep a channel.

    Args:
      name: The channel's.
      options: The channel's.
    """

    name: str
    options: ChannelOptions
    places: Places = attrs.field(init=False)

    @places.default
    def _places(self) -> Places:
        return Places(self.options.limit)

    def new_records(self) -> ChannelRecords:
        """Return the records of a new channel."""
        return ChannelRecords()

    def core(self, records: ChannelRecords, _changed: None = None) -> ChannelCore:
        """Return a core over those records; its places are still to be counted."""
        return ChannelCore(name=self.name, places=self.places, records=records, ready=False)

    def configure(self, _core: object) -> None:
        """Let the channel go by the options as they are now."""
        self.places.limit = self.options.limit


class ChannelQueue(
    QueueHandle["ChannelOptions"], trio.abc.SendChannel[Value], trio.abc.ReceiveChannel[Value]
):
    """A channel by name: many tasks send, one receives, in order. Cheap; valid across restarts.

    It is a `trio.abc.SendChannel` and a `trio.abc.ReceiveChannel`: ``async for`` receives until
    it is closed and drained, ``async with`` closes it.

    While its actor restarts, calls wait. Every operation can end with
    `supervisors.ActorCrashedError` (it did not happen) or `supervisors.ActorDownError` (the
    channel was stopped, parked, or is gone with its runtime).

    Cancelling a call: as long as the channel has not taken it up, or it waits for room or for a
    value, it is withdrawn and nothing happened; otherwise it happened and returns. So what a
    cancelled send was to send has not been sent, and a cancelled receive lost nothing.
    """

    kind = "channel"

    def __init__(self, actor: QueueActor, options: ChannelOptions, places: Places) -> None:
        super().__init__(actor, options)
        self._places = places
        self._copies = options.snapshot

    def _reconfigure(self, options: ChannelOptions) -> None:
        super()._reconfigure(options)
        self._copies = options.snapshot

    @property
    def submit(self) -> ChannelSubmit:
        """The same operations, sent without waiting for their answers; but for those that receive.

        A reply may be dropped, and the value that it brings would be lost.
        """
        return ChannelSubmit(self)

    # -- sending -------------------------------------------------------------------------------

    @operation
    def send(self, value: Value) -> Ask[None]:
        """Send a value; wait until there is room.

        Those who wait are served in the order in which they began to wait.

        Args:
          value: Anything that may be sent, see `ChannelOptions`; also None.

        Raises:
          QueueClosedError: If the channel is closed, before or during the wait.
          TypeError: If the value, or something in it, cannot be sent.
        """
        return _Send("send", (self._taken_in(value),), waits=ROOM)

    @operation
    def send_timeout(self, value: Value, seconds: float) -> Ask[None]:
        """Send a value; wait until there is room, but not for ever.

        Args:
          value: As for `send`.
          seconds: >= 0. While the channel's actor restarts, it is not looked at.

        Raises:
          trio.TooSlowError: If there was no room in that time. Nothing was sent.
          QueueClosedError: If the channel is closed, before or during the wait.
          TypeError: If the value, or something in it, cannot be sent.
          ValueError: If ``seconds`` is out of its range.
        """
        arguments = (self._taken_in(value),)
        deadline_at = self.clock.now_ns() + nanoseconds("seconds", seconds, positive=False)
        return _Send("send", arguments, waits=ROOM, deadline_at=deadline_at, timeout=seconds)

    @operation
    def try_send(self, value: Value) -> Ask[bool]:
        """Send a value if there is room; return whether it was sent.

        It was not if the channel is full, or closed.

        Args:
          value: As for `send`.

        Raises:
          TypeError: If the value, or something in it, cannot be sent.
        """
        return Ask("try_send", (self._taken_in(value),))

    @enable_ki_protection  # between the cast and the promise
    def send_nowait(self, value: Value) -> None:
        """Send a value without waiting, not even for an answer: a cast.

        Once it has returned, the value goes in, also if the channel is closed meanwhile; unless
        the channel is stopped, or given up by its supervisor, before it has taken it up.

        Args:
          value: As for `send`.

        Raises:
          trio.WouldBlock: If there is no room; also if the mailbox is full: let others have
            their turn. Nothing was sent.
          QueueClosedError: If the channel is closed.
          TypeError: If the value, or something in it, cannot be sent.
        """
        value = self._taken_in(value)
        places = self._places
        if places.closed:
            raise QueueClosedError(self.name)
        if places.full:
            raise trio.WouldBlock
        self._mailbox.cast(_Promised(places, value))
        places.promise()

    # -- receiving -----------------------------------------------------------------------------

    @operation
    def recv(self) -> Ask[Value]:  # type: ignore[misc] # any value
        """Take the oldest value; wait until there is one.

        Raises:
          QueueEndedError: If the channel is closed and nothing is left in it.
          QueueBusyError: If another task waits for a value.
        """
        return _Received("recv", waits=TAKERS)

    receive = recv

    @operation
    def try_recv(self) -> Ask[Value]:  # type: ignore[misc] # any value
        """Take the oldest value, if there is one now.

        Raises:
          trio.WouldBlock: If there is none.
          QueueEndedError: If the channel is closed and nothing is left in it.
        """
        return _Received("recv")

    @operation
    def recv_many(self, limit: int) -> Ask[list[Value]]:  # type: ignore[misc] # any values
        """Take what is there, at least one value and at most ``limit``; wait for the first.

        Args:
          limit: >= 1.

        Raises:
          QueueEndedError: If the channel is closed and nothing is left in it.
          QueueBusyError: If another task waits for a value.
          ValueError: If ``limit`` is out of its range.
        """
        return Ask("recv_many", (check_limit(limit),), waits=TAKERS)

    def batches(self, limit: int = BATCH) -> AsyncIterator[list[Value]]:
        """Return what `recv_many` takes, again and again, until the channel is closed and drained.

        Args:
          limit: >= 1.

        Raises:
          ValueError: If ``limit`` is out of its range.
        """
        return self._batches(check_limit(limit))

    async def _batches(self, limit: int) -> AsyncIterator[list[Value]]:
        while True:
            try:
                batch = await self.recv_many(limit)
            except trio.EndOfChannel:
                return
            yield batch

    @operation
    def peek(self, limit: int = 1) -> Ask[list[Value]]:  # type: ignore[misc] # any values
        """Look at the oldest values without taking them, also while a receiver waits.

        With ``snapshot`` they are copies, as what was sent.

        Args:
          limit: >= 1; how many at most.

        Raises:
          ValueError: If ``limit`` is out of its range.
        """
        return _Peeked(self._taken_in, check_limit(limit))

    # -- the whole channel -----------------------------------------------------------------------

    @operation
    def close(self) -> Ask[None]:
        """Take nothing in any more; what is there can still be received.

        Senders that wait are woken at once; the receiver, once nothing is left for it. A second
        time: nothing happens.
        """
        return Ask("close")

    async def aclose(self) -> None:
        """Close it as `close` does; if this is cancelled, it is closed all the same."""
        with trio.CancelScope(shield=True):  # trio.abc.AsyncResource: what ``async with`` relies on
            await self.close()
        await checkpoint_if_cancelled()

    @operation
    def is_closed(self) -> Ask[bool]:
        """Return whether it is closed; there may be something left in it."""
        return Ask("is_closed")

    @operation
    def is_empty(self) -> Ask[bool]:
        """Return whether no value is in it. What senders that wait are to send does not count."""
        return Ask("is_empty")

    @operation
    def len(self) -> Ask[int]:
        """Return how many values are in it. What senders that wait are to send does not count."""
        return Ask("length")

    @operation
    def statistics(self) -> Ask[ChannelStatistics]:
        """Return the channel's numbers; counters are kept across restarts of the actor."""
        return AskStatistics(self._actor, "sending")

    @operation
    def clear(self) -> Ask[int]:
        """Throw away what is in it; return how many values there were."""
        return Ask("clear")

    def _accept(self, value: object) -> Coroutine[object, object, None]:
        """Send a value that another part of the runtime hands on; wait until there is room."""
        return self.send(value)

    @operation
    def _give_back(self, values: Sequence[Value]) -> Ask[int]:
        """Put values that were received back to the front, in their order, whatever the limit."""
        return Ask("give_back", (values,))

    def _taken_in(self, value: object) -> object:
        return snapshot(value) if self._copies else value


class ChannelSubmit(SubmitView["ChannelQueue"]):
    """The operations of a `ChannelQueue`, sent without waiting, see `SubmitView`."""

    send = submitted(ChannelQueue.send)
    send_timeout = submitted(ChannelQueue.send_timeout)
    try_send = submitted(ChannelQueue.try_send)
    peek = submitted(ChannelQueue.peek)
    close = submitted(ChannelQueue.close)
    is_closed = submitted(ChannelQueue.is_closed)
    is_empty = submitted(ChannelQueue.is_empty)
    len = submitted(ChannelQueue.len)
    statistics = submitted(ChannelQueue.statistics)
    clear = submitted(ChannelQueue.clear)
    _give_back = submitted(ChannelQueue._give_back)  # noqa: SLF001 - the two are one thing


class _Send(Ask[None]):
    """The core answers that the value went in, which its sender need not hear."""

    __slots__ = ()

    def unwrap(self) -> object:
        super().unwrap()
        return None


class _Received(Ask[Value]):
    """The core answers with a tuple: an empty answer says "not yet", and None is a value."""

    __slots__ = ()

    def unwrap(self) -> object:
        answer = super().unwrap()
        if isinstance(answer, tuple):
            return answer[0]
        raise trio.WouldBlock


class _Peeked(Ask[list[Value]]):
    """The values stay in the channel, so nobody else gets the same objects."""

    __slots__ = ("_copy",)

    def __init__(self, copy: Callable[[object], object], limit: int) -> None:
        super().__init__("peek", (limit,))
        self._copy = copy

    def unwrap(self) -> object:
        return list(map(self._copy, cast("list[object]", super().unwrap())))


class _Promised(Ask[bool]):
    """A value with a place of its own. Nobody hears of a crash, so it is tried again."""

    __slots__ = ("_places",)

    def __init__(self, places: Places, value: object) -> None:
        super().__init__("send_nowait", (value,))
        self._places = places

    def crashed(self, actor: str, cause: BaseException) -> None:
        self.crashes += 1
        if self.crashes > CRASHES:
            super().crashed(actor, cause)

    @enable_ki_protection
    def resolve(self) -> None:
        self._places.arrived(gone=self.error is not None)
        super().resolve()
