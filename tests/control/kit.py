"""A runtime with a control socket, and clients of it that are not ours."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import trio

from queueactors import open_runtime
from queueactors.control import open_control
from queueactors.control._socket import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from queueactors import Runtime
    from queueactors.control import ControlClient

Tables = dict[str, dict[str, object]]
Line = dict[str, object]


@asynccontextmanager
async def serving(folder: Path, **tables: Mapping[str, object]) -> AsyncIterator[Runtime]:
    """Run a runtime whose control socket is ``folder / "control.sock"``."""
    control = {"socket": True, **tables.pop("control", {})}
    given = {"runtime": {"data_dir": str(folder)}, "control": control, **tables}
    async with open_runtime(given) as runtime:
        yield runtime


@asynccontextmanager
async def controlled(
    folder: Path, **tables: Mapping[str, object]
) -> AsyncIterator[tuple[Runtime, ControlClient]]:
    """Run such a runtime, and connect to it."""
    async with (
        serving(folder, **tables) as runtime,
        open_control(folder / "control.sock") as client,
    ):
        yield runtime, client


class Raw:
    """A client that says what it likes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._read = b""

    async def say(self, *lines: object) -> None:
        """Send lines: bytes as they are, anything else as JSON."""
        for line in lines:
            data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            await self.stream.send_all(data)

    async def line(self) -> Line:
        """Return the next line; an empty one at the end."""
        while b"\n" not in self._read:
            try:
                data = bytes(await self.stream.receive_some())
            except trio.BrokenResourceError:
                data = b""
            if not data:
                return {}
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return cast("Line", json.loads(line))

    async def ask(self, id: int, method: str, **params: object) -> Line:
        """Return the answer to a request."""
        await self.say({"id": id, "method": method, "params": params})
        return await self.line()


@asynccontextmanager
async def raw(folder: Path) -> AsyncIterator[Raw]:
    """Connect without our client; the greeting has been read."""
    async with await connect(folder / "control.sock") as stream:
        client = Raw(stream)
        assert (await client.line())["queueactors"] == 1
        yield client


def fault(line: Line) -> str:
    """Return the text of an error."""
    return cast("dict[str, str]", line["error"])["message"]
