"""triotp: its supervisor and its gen_server do what `bench._supervision` does with ours.

It has neither an acknowledged initialisation nor an ordered stop: the start is over when every
child has begun, and the stop is a cancellation. A gen_server can only be reached by its name.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import trio
import trio.testing
from _measured import CASTS_A_CALL, IDLE_SECONDS, answer, resident_kb
from triotp import application, gen_server, node, supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


class Begun:
    """Counts the children that have begun, and tells when it is all of them."""

    def __init__(self, count: int) -> None:
        self.missing = count
        self.all = trio.Event()

    def one(self) -> None:
        self.missing -= 1
        if self.missing == 0:
            self.all.set()


class Echo:
    """The callbacks of a gen_server."""

    __name__ = "echo"

    @staticmethod
    async def init(begun: Begun) -> None:
        begun.one()

    @staticmethod
    async def handle_call(message: object, _caller: object, state: object) -> object:
        return gen_server.Reply(payload=message), state

    @staticmethod
    async def handle_cast(_message: object, state: object) -> object:
        return gen_server.NoReply(), state


async def idle(begun: Begun) -> None:
    begun.one()
    await trio.sleep_forever()


def children(count: int, begun: Begun) -> list[supervisor.child_spec]:
    return [
        supervisor.child_spec(id=f"child{number}", task=idle, args=[begun])
        for number in range(count)
    ]


def echoes(count: int, begun: Begun) -> list[supervisor.child_spec]:
    return [
        supervisor.child_spec(
            id=f"actor{number}", task=gen_server.start, args=[Echo, begun, f"actor{number}"]
        )
        for number in range(count)
    ]


@asynccontextmanager
async def supervised(
    specs: list[supervisor.child_spec], begun: Begun, max_restarts: int = 3
) -> AsyncIterator[None]:
    """Run a supervisor, from when all its children have begun."""
    options = supervisor.options(max_restarts=max_restarts)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.start, specs, options)
        await begun.all.wait()
        yield
        nursery.cancel_scope.cancel()


async def start(count: int) -> float:
    begun = Begun(count)
    specs = children(count, begun)
    begin = time.process_time()
    async with supervised(specs, begun):
        return count / (time.process_time() - begin)


async def stop(count: int) -> float:
    begun = Begun(count)
    async with supervised(children(count, begun), begun):
        begin = time.process_time()
    return count / (time.process_time() - begin)


async def restart(count: int) -> float:
    begun = Begun(count + 1)

    async def crash() -> None:
        begun.one()
        if begun.missing:
            raise RuntimeError("on purpose")
        await trio.sleep_forever()

    spec = supervisor.child_spec(id="child", task=crash, args=[])
    begin = time.process_time()
    async with supervised([spec], begun, max_restarts=count + 1):
        return count / (time.process_time() - begin)


async def calls(callers: int, count: int) -> float:
    begun = Begun(1)
    async with supervised(echoes(1, begun), begun):

        async def caller() -> None:
            for number in range(count // callers):
                await gen_server.call("actor0", number)

        begin = time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(caller)
        return count / (time.process_time() - begin)


async def casts(count: int) -> float:
    begun = Begun(1)
    async with supervised(echoes(1, begun), begun):
        begin = time.process_time()
        for number in range(count):
            await gen_server.cast("actor0", number)
            if number % CASTS_A_CALL == 0:
                await gen_server.call("actor0", number)
        await gen_server.call("actor0", None)
        return count / (time.process_time() - begin)


async def many_start(count: int) -> float:
    begun = Begun(count)
    begin = time.perf_counter()
    async with supervised(echoes(count, begun), begun):
        return time.perf_counter() - begin


async def many_idle(count: int) -> float:
    begun = Begun(count)
    async with supervised(echoes(count, begun), begun):
        await trio.testing.wait_all_tasks_blocked()
        begin = time.process_time()
        await trio.sleep(IDLE_SECONDS)
        return round((time.process_time() - begin) * 1e3 / IDLE_SECONDS)


async def many_stop(count: int) -> float:
    begun = Begun(count)
    async with supervised(echoes(count, begun), begun):
        begin = time.perf_counter()
    return time.perf_counter() - begin


async def memory(count: int) -> float:
    begun = Begun(count)
    before = resident_kb()
    async with supervised(echoes(count, begun), begun):
        return (resident_kb() - before) / count


async def checkpoints(count: int) -> float:
    begin = time.process_time()
    for _ in range(count):
        await trio.lowlevel.checkpoint()
    return count / (time.process_time() - begin)


def run(measure: Callable[[int], Awaitable[float]], count: int) -> float:
    """Run a measure as the application of a node, without a log."""
    values: list[float] = []

    async def start(_argument: object) -> None:
        values.append(await measure(count))

    module = SimpleNamespace(__name__="bench", start=start)
    node.run(apps=[application.app_spec(module=module, start_arg=None, permanent=False)])
    return values[0]


MEASURES: dict[str, Callable[[int], Awaitable[float]]] = {
    "start": start,
    "stop": stop,
    "restart": restart,
    "calls_1": partial(calls, 1),
    "calls_100": partial(calls, 100),
    "casts": casts,
    "many_start": many_start,
    "many_idle": many_idle,
    "many_stop": many_stop,
    "memory": memory,
    "checkpoints": checkpoints,
}
answer({name: partial(run, measure) for name, measure in MEASURES.items()})
