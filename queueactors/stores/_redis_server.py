"""The way to the servers of a Redis store: a connection to each master that is needed.

And another one for words, see `_redis_words`. What was sent when a connection broke is sent again
on the next one; the scripts know what they have carried out.
"""

from __future__ import annotations

from contextlib import aclosing, suppress
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog
import trio
from coredis.exceptions import AuthenticationError, RedisError

from queueactors._errors import StoreError
from queueactors._histogram import Histogram
from queueactors.engines.redis import ServerFullError, drop_script
from supervisors import Backoff, bare_nursery

from ._actor import COMMIT_BOUNDS
from ._protocol import StoreStatistics
from ._redis_connection import AwayError, Login, UnfitError, in_time, opened, told
from ._redis_errand import PAUSE, Errand
from ._redis_masters import Fixed, Sentinel, addresses, look_at
from ._redis_words import LASTING, PACE, TWICE, Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueactors._clock import Clock
    from queueactors.engines.redis import Script
    from supervisors import ChildStatus

    from ._protocol import Place
    from ._redis import RedisStore
    from ._redis_connection import Address, Connection
    from ._redis_errand import GoesOn
    from ._redis_link import QueueLink
    from ._redis_masters import Cluster, Finder

SLOW_PACE: Final = Backoff()  # for those that want none of us
TOLD_AGAIN: Final = (
    60.0  # seconds after which it is told once more that a server has no memory left
)
KEEPS: Final = "noeviction"  # the only `maxmemory-policy` with which nothing is thrown away
LOOK_AGAIN: Final = 0.5  # seconds between looks at a cluster part of which is away


class Node:
    """One master, and the connections to it."""

    def __init__(self, finder: Finder) -> None:
        self.finder = finder
        self.connection: Connection | None = None
        self.words: Words | None = None
        self.up = trio.Event()
        self.tried = trio.Event()  # it is known whether it can be reached
        self.why = "it has not been reached yet"
        self.scope = trio.CancelScope()

    def connect(self, connection: Connection, words: Words) -> None:
        """Let it be used."""
        self.connection, self.words = connection, words
        self.up.set()
        self.tried.set()

    def disconnect(self) -> None:
        """Let it be used no more, until it is connected again."""
        self.connection = self.words = None
        if self.up.is_set() and not self.scope.cancel_called:
            self.up, self.tried = trio.Event(), trio.Event()

    def give_up(self) -> None:
        """End, and let those go elsewhere who wait for it."""
        self.connection = self.words = None
        self.scope.cancel()
        self.up.set()
        self.tried.set()


class Server:
    """Keeps the connections of one store: a child's start function."""

    def __init__(self, store: RedisStore, place: Place) -> None:
        self._store = store
        self._place = place
        self.clock: Clock = place.clock
        url = store.parsed_url()
        self._login = Login(
            url, store.prefix, store.timeout, store.tls_ca, store.tls_cert, store.tls_key
        )
        self._seeds = addresses(url)
        self._cluster: Cluster | None = None
        self._stale = trio.Event()  # something in the cluster has moved
        self._entrance = self._new_entrance()
        self._nodes: dict[Address, Node] = {}  # of a cluster
        self._nursery: trio.Nursery | None = None
        self._listeners: dict[bytes, QueueLink] = {}
        self._commits = 0
        self._failures = 0
        self._refusing = False
        self._policies: dict[Address, str] = {}  # of the servers, when they were looked at last
        self._tells_at = -inf  # when it may be told again that a server is full
        self._seconds = Histogram(COMMIT_BOUNDS)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")

    def _new_entrance(self) -> Node:
        sentinel = self._store.sentinel
        if sentinel is None:
            return Node(Fixed(self._seeds))
        return Node(Sentinel(sentinel, list(self._seeds), self._login))

    # -- connections ---------------------------------------------------------------------------

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Be connected, again and again, until cancelled."""
        self._give_up()
        self._cluster, self._entrance = None, self._new_entrance()
        self._nodes, self._stale = {}, trio.Event()
        try:
            async with bare_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._keep, self._entrance)
                await self._entrance.tried.wait()  # if it is away, queues may wait for it
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._give_up()

    def _give_up(self) -> None:
        """Let nobody wait for what there was: there are other nodes at the next start."""
        for node in (self._entrance, *self._nodes.values()):
            node.give_up()

    def _all_nodes(self) -> list[Node]:
        """Return those that are in use."""
        return [self._entrance] if self._cluster is None else list(self._nodes.values())

    async def _keep(self, node: Node) -> None:
        """Keep one master connected, until it is given up."""
        log = self._log.bind(store=self._place.name)
        failures = 0
        with node.scope:
            while True:
                began, pace = trio.current_time(), PACE
                try:
                    await self._serve(node, log if failures >= TWICE else None)
                except (RedisError, OSError) as error:
                    node.why = told(error)
                    if isinstance(error, (AuthenticationError, UnfitError)):
                        pace = SLOW_PACE
                finally:
                    node.disconnect()
                self._stale.set()
                failures = 1 if trio.current_time() - began > LASTING else failures + 1
                if failures == TWICE:
                    node.tried.set()
                    log.error("store_failed", error=node.why, outcome="unknown")
                await trio.sleep(pace.delay(failures - 1, self._place.random))  # at once, at first
        if failures >= TWICE:  # another one has taken its place
            log.info("store_recovered")

    async def _serve(
        self, node: Node, failed: structlog.typing.FilteringBoundLogger | None
    ) -> None:
        """Connect, and let queues be woken, until the connection ends."""
        address = await node.finder.find()
        async with opened(self._login, address) as connection:
            if connection.mode == "sentinel":
                raise UnfitError(f"{address!r} is a sentinel: say which master, by sentinel=")
            if connection.mode == "cluster" and node is self._entrance:
                with in_time(self._store.timeout):
                    self._enter(await look_at(connection))
                return
            if connection.role != "master":
                raise AwayError(f"{address!r} is a replica")
            with in_time(self._store.timeout):
                await connection.check_permissions(self._store.prefix)
                self._warn(address, await connection.eviction())
            words = self._words(node, address)
            node.connect(connection, words)
            if failed is not None:
                failed.info("store_recovered")
            self._wake(node)
            async with bare_nursery() as nursery, aclosing(connection.pushes()) as nothing:
                nursery.start_soon(words.keep)
                async for _ in nothing:
                    pass

    def _warn(self, address: Address, policy: str) -> None:
        """Tell that a server may throw messages away, once."""
        if self._policies.get(address, KEEPS) != policy and policy not in {"", KEEPS}:
            self._log.warning("store_may_evict", store=self._place.name, policy=policy)
        self._policies[address] = policy

    def _words(self, node: Node, address: Address) -> Words:
        """Return what lets the queues of a node be told."""

        def serves(slot: int) -> bool:
            return self.node(slot) is node

        return Words(self._place, self._login, address, self._listeners, serves)

    def _wake(self, node: Node) -> None:
        """Wake the queues of a node: a word may have been lost."""
        for link in self._store.links():
            if link.wake is not None and self.node(link.slot) is node:
                link.wake()

    # -- clusters ------------------------------------------------------------------------------

    def node(self, slot: int) -> Node:
        """Return the master of a slot, as far as is known."""
        if self._cluster is None:
            return self._entrance
        address = self._cluster.of_slot[slot]
        node = self._nodes.get(address)
        return self._new_node(address) if node is None else node

    def _new_node(self, address: Address) -> Node:
        node = self._nodes[address] = Node(Fixed([address]))
        if self._nursery is not None:
            self._nursery.start_soon(self._keep, node)
        return node

    def _enter(self, cluster: Cluster) -> None:
        """Go by a cluster from now on."""
        self._cluster = cluster
        if self._nursery is not None:
            self._nursery.start_soon(self._follow)
        for address in cluster.masters:
            self._new_node(address)
        self._entrance.give_up()

    async def _follow(self) -> None:
        """Look where the slots are, whenever something has moved."""
        while True:
            away = not all(node.up.is_set() for node in self._nodes.values())
            with trio.move_on_after(LOOK_AGAIN if away else inf):
                await self._stale.wait()
            self._stale = trio.Event()
            cluster = await self._look()
            if cluster is not None and cluster != self._cluster:
                self._learn(cluster)
            await trio.sleep(PAUSE)

    async def _look(self) -> Cluster | None:
        """Ask the cluster where everything is; None: nobody says."""
        for node in list(self._nodes.values()):
            if node.connection is not None:
                with suppress(RedisError, OSError), in_time(self._store.timeout):
                    return await look_at(node.connection)
        known = set() if self._cluster is None else self._cluster.nodes
        for address in [*(known - self._nodes.keys()), *self._seeds]:
            with suppress(RedisError, OSError):
                async with opened(self._login, address) as connection:
                    return await look_at(connection)
        return None

    def _learn(self, cluster: Cluster) -> None:
        """Go by what is known now."""
        before, self._cluster = self._cluster, cluster
        for address in self._nodes.keys() - cluster.masters:
            self._nodes.pop(address).give_up()
        for link in self._store.links():
            moved = before is None or before.of_slot[link.slot] != cluster.of_slot[link.slot]
            if moved and link.wake is not None:
                link.wake()

    # -- what queues use -----------------------------------------------------------------------

    def listen(self, link: QueueLink) -> None:
        """Wake a queue when it is told; its next script call begins with that."""
        self._listeners[link.address] = link

    def unlisten(self, link: QueueLink) -> None:
        """Wake a queue no more."""
        self._listeners.pop(link.address, None)
        link.listens = False
        for node in self._all_nodes():
            if node.words is not None:
                node.words.unsubscribe(link.address)

    def works(self, slot: int) -> bool:
        """Whether a slot's server can be asked at present, as far as is known."""
        node = self.node(slot)
        return node.up.is_set() and not node.scope.cancel_called

    async def connected(self, slot: int) -> None:
        """Wait until a slot's server can be asked."""
        await self.node(slot).up.wait()
        if not self.works(slot):  # it was given up
            await trio.sleep(PAUSE)

    async def run(
        self,
        link: QueueLink,
        script: Script,
        arguments: Sequence[bytes],
        *,
        waits: bool,
        goes_on: GoesOn | None = None,
    ) -> list[bytes]:
        """Carry out a script once, however often it has to be sent.

        Args:
          link: The queue.
          script: The script.
          arguments: The number of its keys, they, and its arguments.
          waits: Send it again until it is answered. False: for `RedisStore.timeout` at most.
          goes_on: Asked after that time, if it waits, whether anybody still does. None: yes.

        Raises:
          StoreError: If it was not carried out; or if nobody knows.
        """
        began = perf_counter()

        async def send(connection: Connection, *, asking: bool) -> list[bytes]:
            words = self.node(link.slot).words
            if link.listens and words is not None and not asking:
                await words.subscribe(link.address)
            return await connection.evaluate(script, tuple(arguments), asking=asking)

        answer = await Errand(self, link.slot, send, waits=waits, goes_on=goes_on).carry_out()
        self._commits += 1
        self._seconds.observe(perf_counter() - began)
        return answer

    async def forget(self, link: QueueLink) -> None:
        """Remove the keys of a queue, and tell those who wait for it elsewhere.

        Raises:
          StoreError: If they are still there; or if nobody knows.
        """
        await self.run(link, drop_script(), link.dropping(), waits=False)

    # -- what errands use ----------------------------------------------------------------------

    def at(self, address: Address) -> Node:
        """Return a node of the cluster."""
        return self._nodes.get(address) or self._new_node(address)

    def moved(self, slot: int, address: Address) -> None:
        """Go by what a server says: a slot is at another one."""
        if self._cluster is not None:
            self._cluster = self._cluster.moved(slot, address)
            self._stale.set()
        elif self._entrance.connection is not None:
            self._entrance.connection.end()  # it has become part of one: look again

    @property
    def timeout(self) -> float:
        """Seconds that an answer may take."""
        return self._store.timeout

    def succeeded(self) -> None:
        """Note that a server does what it is asked."""
        if self._refusing:
            self._refusing = False
            self._log.info("store_recovered", store=self._place.name)

    def refused(self, why: str) -> None:
        """Note that a server does not do what it is asked, until somebody mends it."""
        if not self._refusing:
            self._refusing = True
            name = self._place.name
            self._log.error("store_failed", store=name, error=why, outcome="not applied")

    def failure(self, outcome: str, reason: str) -> StoreError:
        """Return what callers get."""
        self._failures += 1
        return StoreError(self._place.name, outcome, reason)  # type: ignore[arg-type] # one of both

    def full(self, why: str) -> ServerFullError:
        """Note that a server has no memory left; return what callers get."""
        self._failures += 1
        now = trio.current_time()
        if now >= self._tells_at:
            self._tells_at = now + TOLD_AGAIN
            self._log.error("store_full", store=self._place.name, error=why)
        return ServerFullError(self._place.name, "not applied", why)

    def statistics(self) -> StoreStatistics:
        """Return its numbers."""
        nodes = self._all_nodes()
        up = [node.connection is not None for node in nodes]
        return StoreStatistics(
            works=bool(up) and all(up) and not self._refusing,
            commits=self._commits,
            failures=self._failures,
            commit_seconds=self._seconds.buckets(),
        )
