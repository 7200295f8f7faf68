"""Close, clear, stop, restart and crash, in every state of a queue, with every sort of caller."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, cast

import attrs
import pytest
import trio

from queueactors import Config, QueueClosedError, open_runtime
from queueactors.config import StoreConfig
from supervisors import ActorCrashedError, ActorDownError

from .kit import Caller, FaultyStore, crash_once, settle, start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from queueactors import Reservation, Runtime, TimedQueue
    from supervisors import PendingReply

Action = Literal["close", "clear", "stop", "restart", "crash"]
ACTIONS: tuple[Action, ...] = ("close", "clear", "stop", "restart", "crash")
WAITS = "waits on"
DRAINED = {"empty", "buried", "dead", "refilling"}  # nothing is left for takers, once it is closed


@attrs.define(eq=False)
class Stage:
    """A queue in some state."""

    runtime: Runtime
    queue: TimedQueue
    store: FaultyStore
    refill_may_end: trio.Event


async def nothing(stage: Stage) -> None:
    await stage.queue.len()


async def delayed(stage: Stage) -> None:
    await stage.queue.insert("a", delay=60)


async def reserved(stage: Stage) -> None:
    await stage.queue.insert("a")
    await stage.queue.reserve()


async def buried(stage: Stage) -> None:
    await stage.queue.insert("a")
    await stage.queue.bury(await stage.queue.reserve())


async def dead(stage: Stage) -> None:
    await stage.queue.insert("a")
    await stage.queue.release(await stage.queue.reserve())
    assert (await stage.queue.statistics()).dead == 1


async def paused(stage: Stage) -> None:
    await stage.queue.insert("a")
    await stage.queue.pause()


STATES: dict[str, tuple[Callable[[Stage], Awaitable[None]], dict[str, object]]] = {
    "empty": (nothing, {}),
    "delayed": (delayed, {}),
    "reserved": (reserved, {}),
    "buried": (buried, {}),
    "dead": (dead, {"max_reservations": 1, "on_exhausted": "other"}),
    "paused": (paused, {}),
    "full": (reserved, {"max_length": 1}),
    "full and paused": (paused, {"max_length": 1}),
    "refilling": (nothing, {"sync_interval": 10}),
}


def expected(state: str, action: Action, call: str) -> object:
    """Return what an action is to a caller who waits in a state."""
    match action:
        case "stop" | "restart":
            return ActorDownError
        case "close" if call in {"wait_insert", "sync"} or state in DRAINED:
            return QueueClosedError
        case "clear" if call == "wait_insert":
            return 1
        case "clear" if call == "reserve" and state == "full":
            return "new"  # which has waited for room
    return WAITS


async def act(stage: Stage, action: Action) -> None:
    queue, runtime = stage.queue, stage.runtime
    match action:
        case "close":
            await queue.close()
        case "clear":
            await queue.clear()
        case "stop":
            await runtime.stop("queue.q")
        case "restart":
            await runtime.restart("queue.q")
        case "crash":
            stage.store.fault = crash_once("length")
            with pytest.raises(ActorCrashedError):
                await queue.len()
    await settle()


def outcome(caller: Caller[object] | PendingReply[Reservation]) -> object:
    """Return what a caller has got: a value, an answer, an error's type, or nothing yet."""
    answer: object
    if isinstance(caller, Caller):
        if not caller.done:
            return WAITS
        answer = caller.answer if caller.error is None else type(caller.error)
    elif not caller.is_ready:
        return WAITS
    else:
        try:
            answer = caller.get_nowait()
        except (QueueClosedError, ActorDownError) as error:
            answer = type(error)
    return cast("Reservation", answer).value if isinstance(answer, tuple) else answer


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", STATES)
async def test_whoever_waits_is_answered_or_waits_on(
    state: str, action: Action, autojump_clock: MockClock
) -> None:
    prepare, options = STATES[state]
    store = FaultyStore()
    end = trio.Event()

    async def refill() -> list[str]:
        await end.wait()
        return ["refilled"]

    if state == "refilling":
        options = options | {"sync_fn": refill}
    config = Config(stores={"memory": StoreConfig(type="", factory=lambda: store, options={})})
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        other = await runtime.define("other", reservation_time=60, max_length=1)
        await other.insert("full")
        queue = await runtime.define("q", kind="timed", **({"reservation_time": 60} | options))
        stage = Stage(runtime, queue, store, end)
        await prepare(stage)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "reserve": queue.reserve,
            "reserve_many": partial(queue.reserve_many, 2),
        }
        if "full" in state:
            calls["wait_insert"] = partial(queue.wait_insert, "new")
        if state == "refilling":
            calls["sync"] = queue.sync
        waiting: dict[str, Caller[object] | PendingReply[Reservation]] = {
            call: await start(nursery, method) for call, method in calls.items()
        }
        waiting["submitted"] = queue.submit.reserve()
        await settle()
        assert {outcome(caller) for caller in waiting.values()} == {WAITS}

        await act(stage, action)

        assert {call: outcome(caller) for call, caller in waiting.items()} == {
            call: expected(state, action, call) for call in waiting
        }
        if action == "stop":
            await runtime.start("queue.q")
        assert (await queue.statistics()).closed == (action == "close")
        end.set()
        await queue.resume()
        await queue.clear()
        for _ in range(30):  # the queue works, and nobody is left waiting
            queue.insert_nowait("more")
            await trio.sleep(10)
        assert WAITS not in map(outcome, waiting.values())
