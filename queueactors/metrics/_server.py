"""The metrics' server: a child that serves ``/metrics``, ``/healthz`` and ``/readyz``.

It asks nobody and waits for nobody in the runtime: it takes numbers that are there, and renders
them a family at a time, so that a scrape of a thousand queues does not hold up the loop. It has
no part in what it tells of: when it fails, its supervisor starts it again, and nothing else knows.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
import trio

from queueactors._accept import accept
from queueactors._steps import in_turns
from supervisors import bare_nursery

from ._http import READERS, Answer, Asked, Connection, plain
from ._options import parse_address
from ._text import choose_format

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from supervisors import ChildStatus

    from ._values import Metrics

CONNECTIONS: Final = 64  # at a time; others wait to be accepted


class MetricsServer:
    """Serves the metrics by HTTP: a child's start function.

    Args:
      listen: ``"ADDRESS:PORT"``, see `MetricsOptions`.
      metrics: Returns them, in steps.
      not_ready: Returns what is not up, a line each.

    Raises:
      ValueError: If ``listen`` is no address.
    """

    def __init__(
        self,
        listen: str,
        metrics: Callable[[], Generator[None, None, Metrics]],
        not_ready: Callable[[], Sequence[str]],
    ) -> None:
        parsed = parse_address(listen)
        if parsed is None:
            raise ValueError(f"expected listen to be an address and a port, got {listen!r}")
        self.listen = listen
        self._host, self._port = parsed
        self._metrics = metrics
        self._not_ready = not_ready
        self._slots = trio.Semaphore(CONNECTIONS)
        self._waiting = 0  # who is accepted, and has no place yet
        self._idle: dict[trio.CancelScope, None] = {}  # the longest first
        self.address: tuple[str, int] | None = None

    def __repr__(self) -> str:
        return f"<MetricsServer at {self.address}>"

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Serve until cancelled.

        Raises:
          OSError: If it cannot listen there.
        """
        self._slots = trio.Semaphore(CONNECTIONS)
        self._waiting = 0
        listeners = await self._open()
        try:
            host, port = listeners[0].socket.getsockname()[:2]
            self._port = port  # a restart listens where others have learnt to look
            self.address = host, port
            log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
            log.info("metrics_listening", host=host, port=port)
            async with bare_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(self._accept, listener, nursery)
                task_status.started(self)
        finally:
            self.address = None
            for listener in listeners:
                listener.socket.close()

    async def _open(self) -> list[trio.SocketListener]:
        try:
            return await trio.open_tcp_listeners(self._port, host=self._host)
        except OSError as error:
            told = f"the metrics cannot be served at {self._host}, port {self._port}: {error}"
            raise OSError(error.errno, told) from error

    async def _accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        while True:
            stream = await accept(listener)
            try:
                await self._take_slot()
            except BaseException:
                stream.socket.close()
                raise
            connections.start_soon(self.serve, stream)

    async def _take_slot(self) -> None:
        """Wait for a place; whoever has been answered, and asks nothing more, makes room."""
        if not self._slots.value and self._idle:
            next(iter(self._idle)).cancel()
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Serve one connection, which has taken a place, and give the place back."""
        try:
            await Connection(stream, self.answer, self._is_crowded, self._idle).serve()
        finally:
            self._slots.release()

    def _is_crowded(self) -> bool:
        return bool(self._waiting)

    async def answer(self, asked: Asked) -> Answer:
        """Return what a request is told."""
        if asked.path not in {"/metrics", "/healthz", "/readyz"}:
            return plain(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz and /readyz")
        if asked.method not in READERS:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, Allow=", ".join(READERS))
        if asked.path == "/healthz":
            return plain(HTTPStatus.OK, "ok")
        if asked.path == "/readyz":
            missing = self._not_ready()
            status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
            return plain(status, *(missing or ["ok"]))
        format_ = choose_format(asked.accept)
        body: list[bytes] = []
        for chunk in format_.chunks(await in_turns(self._metrics())):
            body.append(chunk.encode())
            await trio.lowlevel.checkpoint()
        return Answer(HTTPStatus.OK, tuple(body), format_.content_type, (("Vary", "Accept"),))
