"""One connection to one Redis server: it is opened and looked at, and requests go through it.

Either answers come over it, or words: what other runtimes publish, see `_redis_words`. No pool:
the client's loses a place for each command that is cancelled (all three of its faults are in how it
lends connections). Here nobody borrows one: requests of all queues are written to the same, and
answers come in their order.
"""

from __future__ import annotations

import re
import ssl
from contextlib import aclosing, asynccontextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import attrs
import trio
import trio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from coredis.connection import (
    BaseConnectionParams,
    TCPConnection,
    TCPLocation,
    UnixDomainSocketConnection,
    UnixDomainSocketLocation,
)
from coredis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    MovedError,
    NoScriptError,
    RedisError,
    UnknownCommandError,
)
from coredis.exceptions import ConnectionError as LostError

from supervisors import bare_nursery, describe

from ._redis_slots import slot_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from coredis.connection import BaseConnection

    from queueactors.engines.redis import Script

    from ._redis_url import RedisUrl

Address = TCPLocation | UnixDomainSocketLocation

OLDEST: Final = 7  # the first version with SPUBLISH and with scripts that may look at permissions
_NEEDS: Final = "a store needs Redis >= 7.0 or Valkey"

# What a user may not do has to be known before a script runs into it, with half of its work done.
_PERMITTED: Final = b"""
local missing = {}
for index = 3, #ARGV do
  local name = ARGV[index]
  local allowed
  if name == 'UNLINK' or name == 'EXISTS' then
    allowed = redis.acl_check_cmd(name, ARGV[1])
  elseif name == 'SSUBSCRIBE' or name == 'SUNSUBSCRIBE' then
    allowed = redis.acl_check_cmd(name, ARGV[2])
  elseif name == 'SPUBLISH' then
    allowed = redis.acl_check_cmd(name, ARGV[2], '')
  elseif name == 'EVALSHA' then
    allowed = redis.acl_check_cmd(name, '', '1', ARGV[1])
  else
    allowed = redis.acl_check_cmd(name, ARGV[1], '1', '2')
  end
  if not allowed then
    missing[#missing + 1] = name
  end
end
return missing
"""


class AwayError(RedisError):
    """There is no server to go on with at present; the message says why."""


class UnfitError(RedisError):
    """A server answers, but the store cannot go on with it; the message says why."""


@attrs.frozen
class Login:
    """What is needed to open a connection.

    Args:
      url: Who logs in, and where to.
      prefix: What the names of all keys begin with.
      timeout: Seconds until a server that does not answer is given up.
      tls_ca: A file, or a folder, of the certificates to trust; None: the system's.
      tls_cert: A file with a certificate of one's own; None: there is none.
      tls_key: A file with its key; None: it is in the same file.
    """

    url: RedisUrl
    prefix: str
    timeout: float
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def client(self, address: Address, *, anonymous: bool = False) -> BaseConnection:
        """Return a connection that is still to be opened."""
        url = self.url
        given = BaseConnectionParams(connect_timeout=self.timeout)
        if not anonymous:
            given |= BaseConnectionParams(username=url.username, password=url.password)
            given["db"] = url.database
        if isinstance(address, UnixDomainSocketLocation):
            return UnixDomainSocketConnection(address, **given)
        if url.tls:
            given["ssl_context"] = self._tls()
        return TCPConnection(address, socket_keepalive=True, **given)

    def _tls(self) -> ssl.SSLContext:
        """Return how to talk TLS; files are read again each time: certificates are renewed."""
        trusted = self.tls_ca
        if trusted is None:
            context = ssl.create_default_context()
        elif Path(trusted).is_dir():
            context = ssl.create_default_context(capath=trusted)
        else:
            context = ssl.create_default_context(cafile=trusted)
        if self.tls_cert is not None:
            context.load_cert_chain(self.tls_cert, self.tls_key)
        return context


@asynccontextmanager
async def opened(
    login: Login, address: Address, *, anonymous: bool = False
) -> AsyncGenerator[Connection, None]:
    """Open a connection for a while.

    Raises:
      RedisError: If it cannot be opened.
      OSError: Likewise.
      TimeoutError: If the server does not answer in time.
    """
    async with bare_nursery() as nursery:
        client = login.client(address, anonymous=anonymous)
        with in_time(login.timeout):
            await nursery.start(_run, client)
            connection = Connection(client, address)
            await connection.greet()
        yield connection
        nursery.cancel_scope.cancel()


class in_time:  # noqa: N801 - used as a function
    """Raise `TimeoutError` when a server takes longer than that."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._scope = trio.CancelScope(deadline=trio.current_time() + seconds)

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        caught = self._scope.__exit__(kind, error, traceback)  # type: ignore[arg-type] # as it comes
        if self._scope.cancelled_caught:
            raise TimeoutError(f"it has not answered within {self._seconds:g} s")
        return bool(caught)


async def _run(client: BaseConnection, *, task_status: trio.TaskStatus[None]) -> None:
    """Run a client; and close its streams, which it leaves open if it could not be opened."""
    try:
        await client.run(task_status=task_status)
    except LostError:
        await trio.lowlevel.checkpoint_if_cancelled()  # that is what the client made it of
        raise
    finally:
        for part in vars(client).values():
            if isinstance(part, (MemoryObjectReceiveStream, MemoryObjectSendStream)):
                part.close()


class Connection:
    """An open connection.

    Args:
      client: The client's own.
      address: Where it goes.
    """

    def __init__(self, client: BaseConnection, address: Address) -> None:
        self._client = client
        self.address = address
        self.mode = "standalone"
        self.role = "master"
        self.changes = trio.Event()  # there is something to `settle`
        self._channels: set[bytes] = set()  # where it is told what is published
        self._pending: dict[bytes, bytes] = {}  # commands that are to change that, by channel
        self._refused: dict[bytes, RedisError] = {}
        self._turn = trio.Lock()

    async def greet(self) -> None:
        """Look at who answers.

        Raises:
          UnfitError: If it is too old.
        """
        told = cast("dict[bytes, bytes]", await self._client.create_request(b"HELLO"))
        version = told[b"version"].decode()
        if int(version.partition(".")[0]) < OLDEST:
            raise UnfitError(f"{_NEEDS}; {self.address!r} is of version {version}")
        self.mode = told[b"mode"].decode()
        self.role = told.get(b"role", b"").decode()  # a sentinel has none

    async def check_permissions(self, prefix: str) -> None:
        """See whether the user may do everything that scripts do.

        Raises:
          UnfitError: If not: the message says what is not permitted.
        """
        key, channel = f"{prefix}:{{q}}:head".encode(), f"{prefix}:{{q}}:wake:".encode()
        try:
            missing = await self._client.create_request(
                b"EVAL", _PERMITTED, b"0", key, channel, *_commands()
            )
        except AuthorizationError:
            missing = [b"EVAL"]
        if missing:
            names = b", ".join(cast("list[bytes]", missing)).decode()
            raise UnfitError(
                f"the user is not permitted {names} on keys {prefix}:* or channels {prefix}:*"
            )

    async def eviction(self) -> str:
        """Return the server's ``maxmemory-policy``; empty: the user may not look."""
        try:
            told = cast("bytes", await self._client.create_request(b"INFO", b"memory"))
        except AuthorizationError:
            return ""
        found = re.search(r"^maxmemory_policy:(\S+)", told.decode(), re.MULTILINE)
        return found[1] if found else ""

    def is_usable(self) -> bool:
        """Whether it can be written to, as far as is known."""
        return self._client.usable

    def end(self) -> None:
        """Close it: what has not been answered will not be."""
        self._client.invalidate()

    async def ask(self, *command: bytes) -> object:
        """Return the answer to a command.

        Raises:
          RedisError: The server's refusal; or `LostError`: there is no answer.
        """
        return await self._client.create_request(*command)

    async def evaluate(
        self, script: Script, arguments: tuple[bytes, ...], *, asking: bool = False
    ) -> list[bytes]:
        """Let the server carry out a script, which it may not know yet.

        Args:
          script: The script.
          arguments: The number of its keys, they, and its arguments.
          asking: In a cluster: the slot is on its way to this server.

        Raises:
          RedisError: The server's refusal; or `LostError`: there is no answer.
        """
        try:
            if asking:
                self._client.create_request(b"ASKING")
            answer = await self._client.create_request(b"EVALSHA", script.digest, *arguments)
        except NoScriptError:
            if asking:
                self._client.create_request(b"ASKING")
            answer = await self._client.create_request(b"EVAL", script.text, *arguments)
        return cast("list[bytes]", answer)

    # -- what is published -------------------------------------------------------------------------

    async def subscribe(self, channel: bytes) -> None:
        """Be told what is published in a channel, when this returns.

        Raises:
          RedisError: The server's refusal; or `LostError`: nobody knows.
        """
        self.add(channel)
        await self.settle()
        if channel in self._refused:
            raise self._refused.pop(channel)

    def hears(self, channel: bytes) -> bool:
        """Return whether it is told what is published there, and will be."""
        return channel in self._channels and channel not in self._pending

    def add(self, channel: bytes) -> None:
        """Be told what is published in a channel, once that is settled."""
        if channel in self._channels:
            self._pending.pop(channel, None)  # it was to be unsubscribed
        else:
            self._pending[channel] = b"SSUBSCRIBE"

    def unsubscribe(self, channel: bytes) -> None:
        """Be told no more of what is published there, once that is settled."""
        if channel in self._channels:
            self._pending[channel] = b"SUNSUBSCRIBE"
            self.changes.set()
        else:
            self._pending.pop(channel, None)

    async def pushes(self) -> AsyncGenerator[bytes, None]:
        """Return the channels in which something is published, or that have moved elsewhere.

        Raises:
          LostError: When the connection ends.
        """
        async with aclosing(self._client.push_messages) as messages:
            async for kind, channel, *_ in cast("AsyncIterator[list[bytes]]", messages):
                if kind == b"sunsubscribe":
                    self._channels.discard(channel)
                if kind in {b"smessage", b"sunsubscribe"}:
                    yield channel

    async def settle(self, *, always: bool = False) -> None:
        """Change what the connection is told, while nothing else is in it.

        Args:
          always: Also if there is nothing to change: the server has to answer.

        The server confirms a subscription by a push, which answers no request, but refuses it by
        an answer. That would be taken for another request's: so none is sent meanwhile but one
        that everybody may make, and what comes before its own answer are refusals.
        """
        if not self._pending and not self._turn.locked() and not always:
            return
        async with self._turn:
            pending, self._pending = self._pending, {}
            if not pending and not always:
                return
            try:
                refusals = await self._exchange(pending)
            except BaseException:
                self.end()  # nobody knows any more what an answer belongs to
                raise
            for channel, command in pending.items():
                self._note(channel, command, refusals)

    async def _exchange(self, pending: dict[bytes, bytes]) -> list[RedisError]:
        client = self._client
        for channel, command in pending.items():
            client.send_command(command, channel)
        try:
            await client.create_request(b"HELLO")
        except RedisError as error:
            if not client.usable:
                raise
            refusals = [error]
            async with aclosing(client.streamed_messages) as others:
                async for told in others:
                    if not isinstance(told, RedisError):
                        break
                    refusals.append(told)
            return refusals
        return []

    def _note(self, channel: bytes, command: bytes, refusals: list[RedisError]) -> None:
        """Note what became of a change."""
        slot = slot_of(channel)
        refusal = next(
            (
                error
                for error in refusals
                if not isinstance(error, MovedError) or error.slot_id == slot
            ),
            None,
        )
        if command == b"SUNSUBSCRIBE":
            self._channels.discard(channel)
        elif refusal is None:
            self._channels.add(channel)
            self._refused.pop(channel, None)
        else:
            self._refused[channel] = refusal


@cache
def _commands() -> tuple[bytes, ...]:
    """Return the names of all commands that queues use; moving them elsewhere takes more."""
    named = re.compile(r"\b(?:call|write)\(\s*'([A-Z]+)'")
    folder = files("queueactors.engines.redis") / "lua"
    scripts = [each for each in folder.iterdir() if each.name.endswith(".lua")]
    texts = [each.read_text("utf-8") for each in scripts if "transfer" not in each.name]
    found = {name for text in texts for name in named.findall(text)}
    found |= {"EVALSHA", "SSUBSCRIBE", "SUNSUBSCRIBE", "UNLINK"}
    return tuple(name.encode() for name in sorted(found))


def told(error: BaseException) -> str:
    """Return what is the matter; never with a secret in it."""
    if isinstance(error, AuthenticationError):
        return "it refuses the user name or the password"
    if isinstance(error, UnknownCommandError) and "HELLO" in str(error).upper():
        return f"{_NEEDS}; this is an older server"
    if isinstance(error, (AwayError, UnfitError, TimeoutError)):
        return str(error)
    if isinstance(error, LostError) and error.__cause__ is not None:
        return f"{error}: {describe(error.__cause__)}"
    return describe(error)
