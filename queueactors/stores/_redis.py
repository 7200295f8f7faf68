"""The Redis store: queues on a Redis or Valkey server, shared by any number of runtimes.

What an operation does is decided by a script on the server (`queueactors.engines.redis`); the
connection to it is kept by `_redis_server`.
"""

from __future__ import annotations

from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, ClassVar, Literal, cast
from uuid import uuid4

import attrs

from queueactors._options import Checks, Seconds, is_text
from supervisors import ChildSpec

from ._redis_url import PORT, SENTINEL_PORT, parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueactors.engines import Engine, Parked

    from ._protocol import Kind, Place, RemoteKind, StoreStatistics
    from ._redis_link import QueueLink
    from ._redis_server import Server
    from ._redis_url import RedisUrl

ClockOf = Literal["server", "caller"]
OnFailure = Literal["error", "wait"]


@attrs.define(eq=False)
class RedisStore:
    """Keeps queues on a Redis (>= 7.0) or Valkey server: what it acknowledged outlasts the process.

    In a configuration: ``type = "redis"``. Any number of runtimes on any number of machines share
    the queues. How durable they are is up to the server: see its ``appendfsync``.

    Args:
      url: Where the server is: ``redis://[user[:password]@]host[:port][/database]``, ``rediss://``
        for TLS, or ``unix://[user[:password]@]/path[?db=database]``. Several hosts, as
        ``redis://a:6379,b:6379``, are tried one after the other: any of a cluster, which is found
        out by itself, or the sentinels. It is a secret, and never shown.
      prefix: What the names of all its keys begin with: stores with different ones do not meet.
        Without braces.
      sentinel: What the sentinels at ``url`` call the master. None: they are no sentinels.
      tls_ca: A file, or a folder, of the certificates to trust with ``rediss://``. None: the
        system's.
      tls_cert: A file with a certificate for the server to trust, as it may ask for. None: there
        is none.
      tls_key: A file with the key of ``tls_cert``. None: it is in the same file.
      clock: ``"server"``: the server's own goes for all. ``"caller"``: this runtime's, for tests
        with a clock of their own; all runtimes must have the same then.
      poll: Seconds (> 0) after which those who wait in a queue ask again, in case that a word from
        another runtime was lost.
      timeout: Seconds (> 0) after which an operation without an answer is given up. Its outcome is
        unknown.
      on_failure: While the server cannot be reached, or has no memory for what is put in:
        ``"error"``: operations end with `StoreError`; ``"wait"``: they wait until it can. One that
        was sent, and whose caller is cancelled or late, ends after ``timeout``: its outcome is
        unknown. The timeout of one that the queue has not taken up yet, because others wait before
        it, is not looked at until then.

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.
    """

    url: str = attrs.field(default="redis://localhost:6379", repr=False)
    prefix: str = "queueactors"
    sentinel: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    clock: ClockOf = "server"
    poll: Seconds = 5.0
    timeout: Seconds = 10.0
    on_failure: OnFailure = "error"
    durable: ClassVar[bool] = True
    keeps: ClassVar[tuple[str, ...]] = ("timed", "message", "capacity", "log")
    _name: str = attrs.field(default="redis", init=False)
    _server: Server | None = attrs.field(default=None, init=False)
    _links: dict[str, QueueLink] = attrs.field(factory=dict, init=False)
    _session: str = attrs.field(factory=lambda: uuid4().hex, init=False)
    numbers: Iterator[int] = attrs.field(factory=lambda: count(1), init=False)  # of batches

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        if find_spec("coredis") is None:
            told = "a Redis store needs the client: pip install 'queueactors[redis]'"
            checks.faults.append(("url", told))
        self._check_url(checks)
        checks.string("prefix", self.prefix)
        if {"{", "}"} & set(str(self.prefix)):
            checks.refuse("prefix", "without braces", self.prefix)
        for option in ("sentinel", "tls_ca", "tls_cert", "tls_key"):
            if getattr(self, option) is not None:
                checks.string(option, getattr(self, option))
        if self.tls_key is not None and self.tls_cert is None:
            checks.refuse("tls_key", "given with tls_cert only", self.tls_key)
        checks.choice("clock", self.clock, ClockOf)
        checks.seconds("poll", self.poll, positive=True)
        checks.seconds("timeout", self.timeout, positive=True)
        checks.choice("on_failure", self.on_failure, OnFailure)
        checks.done()

    def _check_url(self, checks: Checks) -> None:
        """Note what is wrong with the URL, and with what only some have; it is not shown."""
        if not is_text(str(self.url)):
            checks.faults.append(("url", "expected url to be text that can be encoded"))
            return
        try:
            url = self.parsed_url()
        except ValueError as error:
            checks.faults.append(("url", f"expected url {error}"))
            return
        if self.sentinel is not None and url.path:
            checks.faults.append(("url", "expected url to have hosts, with a sentinel"))
        for option in ("tls_ca", "tls_cert"):
            if getattr(self, option) is not None and not url.tls:
                told = f"expected {option} to be given with a rediss:// url only"
                checks.faults.append((option, told))

    def parsed_url(self) -> RedisUrl:
        """Return what its URL says."""
        return parse_url(str(self.url), PORT if self.sentinel is None else SENTINEL_PORT)

    def child(self, place: Place) -> ChildSpec:
        """Return what keeps the connection, as a child."""
        from queueactors.engines.redis import to_micros

        from ._redis_server import Server  # it imports the client

        self._name = place.name
        if self.clock == "caller":  # the scripts know microseconds only
            place.clock.start_at(to_micros(place.clock.now_ns()) * 1000)
        self._server = Server(self, place)
        return ChildSpec(id=f"store.{place.name}", start=self._server)

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        """Return an engine for a new incarnation of a queue's actor."""
        from queueactors.engines.redis import RedisEngine

        from ._redis_link import QueueLink

        if self._server is None:
            raise RuntimeError(f"store {self._name!r} is in no runtime")
        link = self._links.get(queue)
        if link is None or link.kind is not kind:
            wire = cast("RemoteKind", kind).wire()
            link = self._links[queue] = QueueLink(
                self, self._server, queue, kind, wire, parked.wake
            )
        return RedisEngine(link.wire, link, parked)

    async def forget(self, queue: str) -> None:
        """Remove a queue from the server.

        Raises:
          StoreError: If it is still there, or nobody knows.
        """
        link = self._links.get(queue)
        if link is not None and self._server is not None:
            await self._server.forget(link)
            self.let_go(queue)

    def let_go(self, queue: str) -> None:
        """Drop what is in memory of a queue whose actor is gone; the server keeps it."""
        link = self._links.pop(queue, None)
        if link is not None and self._server is not None:
            self._server.unlisten(link)

    def statistics(self) -> StoreStatistics | None:
        """Return its numbers; None: it is in no runtime."""
        return None if self._server is None else self._server.statistics()

    def close(self) -> None:
        """Let go of what is in memory."""
        self._links.clear()

    def links(self) -> list[QueueLink]:
        """Return the ways of all queues."""
        return list(self._links.values())

    @property
    def name(self) -> str:
        """Its name in the runtime."""
        return self._name

    @property
    def session(self) -> str:
        """What this runtime is known by on the server."""
        return self._session
