"""A real server for tests, and a store on it that goes by the test's own clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from queueactors.stores._redis_server import Server

if TYPE_CHECKING:
    import pytest

    from supervisors import ChildStatus


async def _spin() -> None:
    """Keep a clock from jumping that jumps when nobody has anything to do."""
    while True:
        await trio.lowlevel.checkpoint()


def no_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no virtual time pass while the server is asked."""
    run, call = Server.run, Server.__call__

    async def running(self: Server, *args: Any, **options: Any) -> list[bytes]:  # type: ignore[explicit-any]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_spin)
            try:
                return await run(self, *args, **options)
            finally:
                nursery.cancel_scope.cancel()

    async def calling(self: Server, *, task_status: ChildStatus) -> None:
        async def until_up() -> None:
            while not self.statistics().works:
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_up)
            await call(self, task_status=task_status)

    monkeypatch.setattr(Server, "run", running)
    monkeypatch.setattr(Server, "__call__", calling)
