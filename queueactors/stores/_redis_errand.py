"""One thing that a server is to carry out once, however often it has to be sent.

It is a script that knows whether it has carried it out, or a command that may be carried out
twice. What a refusal of the server calls for is decided here.
"""

from __future__ import annotations

from contextlib import nullcontext
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

import trio
import trio.lowlevel
from coredis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
    WrongTypeError,
)

from ._redis_connection import told
from ._redis_masters import beside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from coredis.exceptions import RedisError

    from queueactors._errors import StoreError

    from ._redis_connection import Address, Connection
    from ._redis_server import Node, Server

PAUSE: Final = 0.05  # seconds until what a server cannot do at present is sent again
LONG_PAUSE: Final = 1.0  # likewise, where somebody has to mend something
HOPS: Final = 3  # from server to server, before they may be at odds

_AT_PRESENT: Final = (BusyLoadingError, ClusterDownError, TryAgainError)
_AT_PRESENT_CODES: Final = ("BUSY ", "MASTERDOWN ")
_TO_BE_MENDED: Final = ("MISCONF ", "NOREPLICAS ")


class GoesOn(Protocol):
    def __call__(self, failure: Callable[[], StoreError], /) -> bool:
        """Let go of those who do not wait any more, with a failure; return whether others do."""


class Send(Protocol):
    def __call__(self, connection: Connection, /, *, asking: bool) -> Awaitable[list[bytes]]:
        """Send it; return the answer."""


class Errand:
    """Something that a server is to carry out, and what has become of it."""

    def __init__(
        self,
        server: Server,
        slot: int,
        send: Send,
        *,
        waits: bool,
        goes_on: GoesOn | None = None,
    ) -> None:
        self._server = server
        self._slot = slot
        self._send = send
        self._waits = waits
        self._goes_on = goes_on
        self._unknown = False  # it may have been carried out
        self._why = "it has not answered in time"
        self._asks: Address | None = None  # in a cluster: where the slot is going to
        self._hops = 0
        self._on_its_way: Connection | None = None

    async def carry_out(self) -> list[bytes]:
        """Send it until it is answered.

        If it waits, it cannot be cancelled before the server's timeout has passed, so whatever has
        been sent has a chance to be answered; and then between two attempts.
        """
        timeout = inf if self._waits else self._server.timeout
        began = trio.current_time()
        with trio.move_on_after(timeout):
            if not self._waits:
                await self._check()
            while True:
                with trio.CancelScope(shield=True) if self._waits else nullcontext():
                    answer = await self._attempt()
                if answer is not None:
                    self._server.succeeded()
                    return answer
                is_late = trio.current_time() - began >= self._server.timeout
                if self._waits and is_late and not self._is_to_go_on():
                    break
        if self._on_its_way is not None:
            self._on_its_way.end()  # it may be that nothing gets through any more
        raise self._failure()

    def _is_to_go_on(self) -> bool:
        """Return whether anybody still waits for it."""
        if trio.current_effective_deadline() == -inf:
            return False  # who asks is to end, and cannot wait for a server that may never come
        return self._goes_on is None or self._goes_on(self._failure)

    async def _check(self) -> None:
        """Send nothing to a server that is known to be away."""
        node = self._server.node(self._slot)
        self._why = node.why
        if not node.tried.is_set():
            await node.tried.wait()
        if not node.up.is_set():
            self._why = node.why
            raise self._failure()

    async def _attempt(self) -> list[bytes] | None:
        """Send it; None: it is to be sent again."""
        to, self._asks = self._asks, None
        server = self._server
        node = server.node(self._slot) if to is None else server.at(to)
        if not node.up.is_set():
            self._why = node.why
            with trio.move_on_after(LONG_PAUSE):
                await node.up.wait()
        connection = node.connection
        if connection is None or not connection.is_usable():
            await trio.sleep(PAUSE)  # that is noticed elsewhere in a moment
            return None
        before, self._unknown = self._unknown, True
        self._why = f"it has not answered within {server.timeout:g} s"
        self._on_its_way = connection
        try:
            # Otherwise as much time has been given to all of it, `carry_out` has begun before.
            with trio.fail_after(server.timeout) if self._waits else nullcontext():
                answer = await self._send(connection, asking=to is not None)
        except trio.TooSlowError:
            node.why = self._why
            connection.end()
        except (ResponseError, BusyLoadingError) as error:
            self._on_its_way = None
            self._unknown = before
            await self._refused(node, connection, error)
        except Exception as error:
            if connection.is_usable():
                raise
            node.why = self._why = told(error)
            await trio.lowlevel.checkpoint()
        else:
            return answer
        self._on_its_way = None
        return None

    async def _refused(self, node: Node, connection: Connection, error: RedisError) -> None:
        """Do what a refusal calls for."""
        self._why = why = str(error)
        match error:
            case MovedError():
                address = beside(error.host, error.port, connection.address)
                self._why = f"{connection.address!r} says that it is at {address!r}"
                self._server.moved(error.slot_id, address)
                self._hops += 1
                await trio.sleep(0 if self._hops < HOPS else PAUSE)
            case AskError():
                self._asks = beside(error.host, error.port, connection.address)
            case ReadOnlyError() | AuthenticationError():
                node.why = self._why = f"{connection.address!r}: {told(error)}"
                connection.end()  # who is the master now?
                await trio.sleep(PAUSE)
            case AuthorizationError():
                await self._mended(f"the user is not permitted that: {why}")
            case _ if why.startswith(_TO_BE_MENDED):
                self._unknown = False  # a script tells that, after a look for its answer
                await self._mended(why)
            case _ if isinstance(error, _AT_PRESENT) or why.startswith(_AT_PRESENT_CODES):
                await trio.sleep(PAUSE)
            case _ if why.startswith("OOM "):
                raise self._server.full(why) from error  # nobody knows when there is room again
            case _ if why.startswith("ACL failure"):  # in the middle of a script
                self._unknown = True
                connection.end()
                raise self._failure() from error
            case WrongTypeError():  # likewise
                self._unknown = True
                self._why = (
                    f"something that is not a queue's has the name of one of its keys: {why}"
                )
                raise self._failure() from error
            case _:
                raise error

    async def _mended(self, why: str) -> None:
        """Wait for somebody to mend something; or tell."""
        self._why = why
        self._server.refused(why)
        if not self._waits:
            raise self._failure()
        await trio.sleep(LONG_PAUSE)

    def _failure(self) -> StoreError:
        return self._server.failure("unknown" if self._unknown else "not applied", self._why)
