"""What a server tells of queues, over a connection of its own that opens when one listens first.

Of its own, because a server counts a connection that subscribes as one of `pubsub`, and ends it
when much is on its way over it; the answers to batches may be much.

It is not needed: as long as there is none, or it is known to be lost, batches go on without. When
it is there again, those who listen are woken once: so whoever began to wait meanwhile, or was told
to nobody's ears, asks again.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import attrs
import structlog
import trio
from coredis.exceptions import RedisError

from supervisors import Backoff, bare_nursery

from ._redis_connection import in_time, opened, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._protocol import Place
    from ._redis_connection import Address, Connection, Login
    from ._redis_link import QueueLink

PACE: Final = Backoff(max=5.0)  # for servers that cannot be reached: a failover must be noticed
TWICE: Final = 2  # attempts in vain after which a server counts as away
THRICE: Final = 3  # likewise, after which it is told that only this connection is
LASTING: Final = 1.0  # seconds: what ends before that has not worked
HEARTBEAT: Final = 10.0  # seconds between two looks whether anything comes through
PATIENCE: Final = 0.5  # seconds for which a batch waits until its queue can be told


@attrs.define(eq=False)
class Words:
    """Lets the queues of one master be told.

    Args:
      place: Where the store is.
      login: How to log in.
      address: Where the master is.
      listeners: The ways of all queues that are to be told, by their channels.
      serves: Says whether the master serves a slot.
    """

    _place: Place
    _login: Login
    _address: Address
    _listeners: Mapping[bytes, QueueLink]
    _serves: Callable[[int], bool]
    _wanted: trio.Event = attrs.field(factory=trio.Event, init=False)  # somebody listens
    _tried: trio.Event = attrs.field(factory=trio.Event, init=False)  # no batch waits for it now
    _connection: Connection | None = attrs.field(default=None, init=False)
    _log: structlog.typing.FilteringBoundLogger = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._log = structlog.get_logger("queueactors").bind(store=self._place.name)

    async def subscribe(self, channel: bytes) -> None:
        """Let a queue be told, before its batch says that somebody waits: not one must be missed.

        If that takes too long, or there is no connection, it is woken once there is one.

        Raises:
          RedisError: The server's refusal.
        """
        if self._connection is not None and self._connection.hears(channel):
            return
        self._wanted.set()
        with trio.move_on_after(min(PATIENCE, self._login.timeout / 2)):
            if not self._tried.is_set():
                await self._tried.wait()
            connection = self._connection
            if connection is not None:
                try:
                    await connection.subscribe(channel)
                except RedisError:
                    if connection.is_usable():
                        raise
            return
        self._tried.set()

    def unsubscribe(self, channel: bytes) -> None:
        """Let a queue be told no more."""
        if self._connection is not None:
            self._connection.unsubscribe(channel)

    async def keep(self) -> None:
        """Be connected, again and again, from when somebody listens first until cancelled."""
        await self._wanted.wait()
        failures = 0
        while True:
            began, why = trio.current_time(), ""
            try:
                async with opened(self._login, self._address) as connection:
                    await self._hear(connection)
            except (RedisError, OSError) as error:
                why = told(error)
            finally:
                self._connection = None
                self._tried.set()
            failures = 1 if trio.current_time() - began > LASTING else failures + 1
            if failures == THRICE:
                self._log.warning("store_not_heard", error=why)
            await trio.sleep(PACE.delay(failures - 1, self._place.random))  # at once, at first

    async def _hear(self, connection: Connection) -> None:
        """Wake the queues that are told, until the connection ends."""
        async with bare_nursery() as nursery, aclosing(connection.pushes()) as channels:
            nursery.start_soon(self._tend, connection)
            async for channel in channels:
                link = self._listeners.get(channel)
                if link is None:
                    connection.unsubscribe(channel)
                elif link.wake is not None:
                    link.wake()

    async def _tend(self, connection: Connection) -> None:
        """Let those ask again who listened before, and see that the connection lives."""
        again = self._tried.is_set()  # otherwise those who listen wait for it
        self._connection = connection
        self._tried.set()
        for link in list(self._listeners.values()) if again else ():
            if link.wake is not None and self._serves(link.slot):
                link.wake()  # a word may have been lost; its batch subscribes
        while True:
            with trio.move_on_after(HEARTBEAT):
                await connection.changes.wait()
            connection.changes = trio.Event()
            with in_time(self._login.timeout):
                await connection.settle(always=True)
