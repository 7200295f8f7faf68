"""The control socket's server: a child that takes connections in, and says who may stay.

It has no part in what it controls: when it fails, its supervisor starts it again, and nothing else
knows. See `queueactors.metrics._server`, its sibling.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import structlog
import trio

from queueactors._accept import accept
from supervisors import IGNORE, bare_nursery

from ._connection import Budget, Connection, Limits
from ._errors import ControlError, ControlProtocolError, fault_of
from ._protocol import error_line, greeting_line
from ._socket import SocketFile, is_welcome, peer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from queueactors.config import ControlOptions
    from supervisors import ChildStatus

    from ._connection import Call, Reply

REQUESTS: Final = 16  # under way at a time, of one connection
REFUSAL: Final = 0.1  # seconds for telling somebody why it may not stay
BUDGET: Final = 2  # of the largest lines that all connections together may keep


class ControlServer:
    """Serves the control socket: a child's start function.

    Args:
      path: Where it is.
      options: Its limits.
      name: The runtime's.
      answer: Carries out a request.
      required: Whether the runtime is not to start without it.
    """

    def __init__(
        self,
        path: Path,
        options: ControlOptions,
        name: str,
        answer: Callable[[Call], Awaitable[Reply]],
        *,
        required: bool,
    ) -> None:
        self.path = path
        self.options = options
        self._clients = options.clients
        self._limits = Limits(options.max_line, REQUESTS, options.timeout)
        self._budget = Budget(BUDGET * options.max_line)
        self._name = name
        self._answer = answer
        self._required = required
        self._connections: dict[Connection, None] = {}
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")

    def __repr__(self) -> str:
        return f"<ControlServer at {self.path}>"

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Serve until cancelled.

        Raises:
          ControlLockedError: If another process has the socket.
          OSError: If it cannot be made, and must.
        """
        file = SocketFile(self.path)
        try:
            listener = await file.open()
        except OSError as error:
            told = f"the control socket {self.path} cannot be made: {error.strerror or error}"
            if self._required:
                raise OSError(error.errno, told) from error
            self._log.warning("control_unavailable", path=str(self.path), error=told)
            task_status.started(IGNORE)
            return
        try:
            with listener.socket:
                self._log.info("control_listening", path=str(self.path))
                async with bare_nursery() as nursery:
                    nursery.start_soon(self._accept, listener, nursery)
                    task_status.started(self)
        finally:
            file.close()

    async def _accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        greeting = greeting_line(self._name, os.getpid())
        while True:
            stream = await accept(listener)
            peer = peer_of(stream.socket)
            connection = Connection(
                stream, peer, greeting, self._answer, self._limits, self._budget
            )
            if not is_welcome(peer):
                self._log.warning("control_refused", pid=peer.pid, uid=peer.uid)
                told = "you may not talk to this runtime; only its own user and root may"
                await self._refuse(stream, ControlProtocolError(told))
            elif not self._make_room():
                told = f"all {self._clients} places are taken; try again, or end a client"
                await self._refuse(stream, ControlError("Busy", told))
            else:
                self._connections[connection] = None
                connections.start_soon(self._serve, connection)

    def _make_room(self) -> bool:
        """Return whether there is a place; whoever asks nothing any more makes room."""
        if len(self._connections) < self._clients:
            return True
        idle = [each for each in self._connections if each.is_idle]
        if not idle:
            return False
        longest = min(idle, key=lambda each: each.idle_since)
        del self._connections[longest]
        longest.end()
        return True

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.serve()
        finally:
            self._connections.pop(connection, None)

    async def _refuse(self, stream: trio.SocketStream, error: Exception) -> None:
        """Say why somebody may not stay: a line that fits into a new connection at once."""
        with trio.move_on_after(REFUSAL):
            try:
                async with stream:
                    await stream.send_all(error_line(None, fault_of(error)))
            except trio.BrokenResourceError:
                return
