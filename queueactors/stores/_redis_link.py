"""The way to the server for one queue: the names of its keys, and how its batches are counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from queueactors._errors import StoreError
from queueactors.engines.redis import to_micros

from ._redis_slots import slot_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queueactors._clock import Clock
    from queueactors.engines.redis import Script, Wire

    from ._protocol import Kind
    from ._redis import RedisStore
    from ._redis_errand import GoesOn
    from ._redis_server import Server

DAY: Final = 86_400.0  # seconds for which the answer to a batch is kept, if it may be sent for ever
LEASE: Final = 600.0  # seconds, likewise, if not: longer than a batch, or a server, is held up
_IN_A_TAG: Final = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})  # queues' names
_LANES: Final = ("room", "takers", "syncs")  # keys of those who wait, as the scripts take them

_MOVING: Final = {  # why nobody can use a queue, by the mark that `transfer.lua` sets
    "out": "is on its way to another store; queueactors migrate, run again, goes on with it",
    "in": "is on its way here from another store; queueactors migrate, run again, goes on with it",
    "gone": "was moved to another store by queueactors migrate",
}


@attrs.define(eq=False)
class QueueLink:
    """The way to the server for one queue, see `queueactors.engines.redis.Link`."""

    _store: RedisStore
    _server: Server
    queue: str
    kind: Kind
    wire: Wire
    wake: Callable[[], None] | None
    keys: tuple[bytes, ...] = attrs.field(init=False)
    channel: str = attrs.field(init=False)
    slot: int = attrs.field(init=False)
    counts: Counter[str] = attrs.field(factory=Counter, init=False)
    closed: bool = attrs.field(default=False, init=False)
    listens: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        tag = self.queue.translate(_IN_A_TAG)
        stem = f"{self._store.prefix}:{{{tag}}}:"
        session = self._store.session
        names = (f"session:{session}", "head", *_LANES, *self.wire.keys)
        self.keys = tuple(f"{stem}{name}".encode() for name in names)
        self.channel = f"{stem}wake:"
        self.slot = slot_of(self.keys[0])

    @property
    def clock(self) -> Clock:
        """The runtime's."""
        return self._server.clock

    @property
    def session(self) -> str:
        """What the queue's runtime is known by on the server."""
        return self._store.session

    @property
    def poll(self) -> float:
        """Seconds after which those who wait ask again."""
        return self._store.poll

    @property
    def waits(self) -> bool:
        """While the server is away: let callers wait."""
        return self._store.on_failure == "wait"

    def now(self) -> bytes:
        """Return the instant for the script."""
        if self._store.clock == "server":
            return b""
        return b"%d" % to_micros(self.clock.now_ns())

    async def call(
        self, script: Script, arguments: Sequence[bytes], goes_on: GoesOn | None = None
    ) -> list[bytes]:
        """Carry out a batch, once, however often it has to be sent; return the reply.

        Raises:
          StoreError: If it was not carried out; or if nobody knows.
        """
        number = next(self._store.numbers)
        now, *others = arguments
        keys = self.keys
        counted = (b"%d" % len(keys), *keys, now, b"%d" % number, self._lease(), *others)
        answer = await self._server.run(self, script, counted, waits=self.waits, goes_on=goes_on)
        if not answer[0]:
            raise self._refused(*map(bytes.decode, answer[1:]))
        return answer

    def _lease(self) -> bytes:
        """Return the milliseconds after which the server may forget the last answer.

        It forgets it after half of that at the earliest; until then a batch may be sent again.
        """
        lease = 2 * DAY if self.waits else max(LEASE, 4 * self._store.timeout)
        return b"%d" % round(lease * 1000)

    def dropping(self) -> tuple[bytes, ...]:
        """Return the arguments of the script that removes the queue."""
        number = b"%d" % next(self._store.numbers)
        return b"%d" % len(self.keys), *self.keys, number, self._lease(), self.channel.encode()

    def _refused(self, what: str, which: str) -> StoreError:
        """Return what callers get while the server lets nobody use the queue."""
        told = f"queue {self.queue!r} {_MOVING.get(which, '')}"
        if what == "kind":
            told = f"queue {self.queue!r} is of kind {which!r} there"
        return StoreError(self._store.name, "not applied", told)

    @property
    def works(self) -> bool:
        """Whether the server can be asked at present, as far as is known."""
        return self._server.works(self.slot)

    async def recovered(self) -> None:
        """Wait until the server can be asked."""
        await self._server.connected(self.slot)

    def listen(self) -> None:
        """Be told from now on."""
        if not self.listens:
            self.listens = True
            self._server.listen(self)

    @property
    def address(self) -> bytes:
        """The channel where this runtime is told of the queue."""
        return f"{self.channel}{self.session}".encode()
