"""Where the masters are: one server, one that sentinels name, or those of a cluster.

That a server belongs to a cluster is found out by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

import attrs
from coredis.connection import TCPLocation, UnixDomainSocketLocation
from coredis.exceptions import AuthenticationError, RedisError

from ._redis_connection import AwayError, opened, told
from ._redis_slots import SLOTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._redis_connection import Address, Connection, Login
    from ._redis_url import RedisUrl

PATIENCE: Final = 2.0  # seconds until the next sentinel is asked


class Finder(Protocol):
    """Says where to connect to, before each attempt."""

    async def find(self) -> Address:
        """Return the address of a server that should be a master.

        Raises:
          RedisError: If there is none at present.
          OSError: Likewise.
        """


@attrs.define(eq=False)
class Fixed:
    """A server whose address is known; of several, one after the other.

    Args:
      addresses: One at least.
    """

    addresses: Sequence[Address]
    _turn: int = attrs.field(default=-1, init=False)

    async def find(self) -> Address:
        """Return the next address."""
        self._turn = (self._turn + 1) % len(self.addresses)
        return self.addresses[self._turn]


@attrs.define(eq=False)
class Sentinel:
    """The master that sentinels name.

    Args:
      name: What they call it.
      sentinels: Their addresses, the one that answered last first.
      login: How to log in. They are asked without a password first: most have none.
    """

    name: str
    sentinels: list[Address]
    login: Login

    async def find(self) -> Address:
        """Return the master's address."""
        failures = []
        for place, address in enumerate(self.sentinels):
            try:
                found = await self._ask(address)
            except (RedisError, OSError) as error:
                failures.append(f"{address!r}: {told(error)}")
                continue
            if found is None:
                failures.append(f"{address!r} knows no master {self.name!r}")
                continue
            self.sentinels.insert(0, self.sentinels.pop(place))
            return found
        raise AwayError(f"no sentinel names the master: {'; '.join(failures)}")

    async def _ask(self, address: Address) -> Address | None:
        try:
            return await self._asked(address, anonymous=True)
        except AuthenticationError:
            return await self._asked(address, anonymous=False)

    async def _asked(self, address: Address, *, anonymous: bool) -> Address | None:
        url = attrs.evolve(self.login.url, database=0)
        timeout = min(self.login.timeout, PATIENCE)
        login = attrs.evolve(self.login, url=url, timeout=timeout)
        async with opened(login, address, anonymous=anonymous) as connection:
            answer = await connection.ask(
                b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.name.encode()
            )
        if answer is None:
            return None
        host, port = cast("list[bytes]", answer)
        return TCPLocation(host.decode(), int(port))


@attrs.frozen
class Cluster:
    """Which master serves which slot.

    Args:
      of_slot: The master of each slot; one that nobody serves has any.
      nodes: All servers, replicas too.
    """

    of_slot: tuple[Address, ...]
    nodes: frozenset[Address]

    @property
    def masters(self) -> frozenset[Address]:
        """Those that serve slots."""
        return frozenset(self.of_slot)

    def moved(self, slot: int, address: Address) -> Cluster:
        """Return the same with a slot at another master."""
        of_slot = (*self.of_slot[:slot], address, *self.of_slot[slot + 1 :])
        return Cluster(of_slot, self.nodes | {address})


async def look_at(connection: Connection) -> Cluster:
    """Ask a server of a cluster where everything is.

    Raises:
      RedisError: If it does not say.
    """
    ranges = cast("list[list[object]]", await connection.ask(b"CLUSTER", b"SLOTS"))
    nodes = {connection.address}
    masters: list[Address | None] = [None] * SLOTS
    for first, last, *servers in ranges:
        places = [_place(server, connection.address) for server in servers]
        nodes.update(places)
        many = cast("int", last) - cast("int", first) + 1
        masters[cast("int", first) : cast("int", last) + 1] = [places[0]] * many
    some = next((each for each in masters if each is not None), connection.address)
    return Cluster(tuple(each or some for each in masters), frozenset(nodes))


def _place(server: object, asked: Address) -> Address:
    """Return the address of a server; one without a host is where the one asked is."""
    host, port, *_ = cast("list[object]", server)
    name = cast("bytes", host or b"").decode()
    return beside(name, cast("int", port), asked)


def beside(host: str, port: int, asked: Address) -> Address:
    """Return an address that a server tells; without a host it is its own."""
    if isinstance(asked, TCPLocation):
        return TCPLocation(asked.host if host in {"", "?"} else host, port)
    return TCPLocation(host or "localhost", port)


def addresses(url: RedisUrl) -> list[Address]:
    """Return where a URL points to."""
    if url.path:
        return [UnixDomainSocketLocation(url.path)]
    return [TCPLocation(host, port) for host, port in url.hosts]
