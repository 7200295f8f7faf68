"""A proxy before a server that cuts, delays and splits what goes through it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@attrs.define(eq=False)
class Proxy:
    """Goes between clients and a server.

    Args:
      server: The server's socket.
      path: Its own.
    """

    server: str
    path: Path
    cut_after: tuple[Literal["there", "back"], int] | None = None  # bytes; then it is None again
    split: int = 0  # bytes at once; 0: as they come
    hangs: bool = False
    refuses: bool = False
    passed: dict[str, int] = attrs.field(factory=lambda: {"there": 0, "back": 0}, init=False)
    _swallowed: set[trio.SocketStream] = attrs.field(factory=set, init=False)
    _streams: set[trio.SocketStream] = attrs.field(factory=set, init=False)

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    async def cut(self) -> None:
        """Cut all connections."""
        for stream in list(self._streams):
            await trio.aclose_forcefully(stream)

    def swallow(self) -> None:
        """Let nothing through any more that connections of now send."""
        self._swallowed |= self._streams

    async def serve(self, client: trio.SocketStream) -> None:
        if self.refuses:
            await trio.aclose_forcefully(client)
            return
        server = await trio.open_unix_socket(self.server)
        self._streams |= {client, server}
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, "there", client, server, nursery.cancel_scope)
                nursery.start_soon(self._pass, "back", server, client, nursery.cancel_scope)
        finally:
            self._streams -= {client, server}
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(client)
                await trio.aclose_forcefully(server)

    async def _pass(
        self,
        way: Literal["there", "back"],
        source: trio.SocketStream,
        sink: trio.SocketStream,
        scope: trio.CancelScope,
    ) -> None:
        try:
            while data := await source.receive_some():
                if source in self._swallowed:
                    continue
                while self.hangs:  # noqa: ASYNC110 - a switch for tests
                    await trio.sleep(0.01)
                if self.cut_after is not None and self.cut_after[0] == way:
                    left = self.cut_after[1] - self.passed[way]
                    if len(data) >= left:
                        self.cut_after = None
                        await sink.send_all(data[: max(left, 0)])
                        break
                self.passed[way] += len(data)
                step = self.split or len(data)
                for first in range(0, len(data), step):
                    await sink.send_all(data[first : first + step])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


@asynccontextmanager
async def a_proxy(server: str, path: Path) -> AsyncIterator[Proxy]:
    """Run a proxy before the server of a URL."""
    proxy = Proxy(server.removeprefix("unix://"), path)
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(path))
    listener.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [trio.SocketListener(listener)])
        yield proxy
        nursery.cancel_scope.cancel()
