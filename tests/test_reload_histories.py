"""Histories of reloads: after each, the runtime is as one that was opened with the last of them."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from queueactors import Delivery, open_runtime
from queueactors.config import load_config, make_plan
from supervisors import ActorDownError

if TYPE_CHECKING:
    from queueactors import Runtime
    from supervisors import ChildStatus, Tree

Tables = dict[str, Any]  # type: ignore[explicit-any] # as in a file
NAMES = ("a", "b", "c", "d")
HOLDS = {"timed": ("insert", "reserve"), "message": ("enqueue", "claim")}


async def handle(_delivery: Delivery) -> None:
    await trio.sleep_forever()


async def other_handle(_delivery: Delivery) -> None:
    await trio.sleep_forever()


async def serve(*_args: object, task_status: ChildStatus) -> None:
    task_status.started()
    await trio.sleep_forever()


@st.composite
def configurations(draw: st.DrawFn) -> Tables:
    """Queues whose kinds never change; some have workers, some stand under supervisors."""
    queues: Tables = {}
    for name in draw(st.permutations(draw(st.sets(st.sampled_from(NAMES)).map(sorted)))):
        limit = {} if draw(st.booleans()) else {"max_length": draw(st.integers(50, 52))}
        if name in "ab":
            queues[name] = {"kind": "timed", "reservation_time": draw(st.integers(30, 31)), **limit}
            queues[name]["unique"] = draw(st.booleans())
            if draw(st.booleans()) and "c" in queues:
                queues[name] |= {"max_reservations": 9, "on_exhausted": "c"}
        else:
            queues[name] = {"kind": "message", **limit}
    workers = {
        f"w{name}": {
            "queue": draw(st.sampled_from([*queues])),
            "handler": draw(st.sampled_from([handle, other_handle])),
            "concurrency": draw(st.integers(1, 2)),
            "auto_start": False,
        }
        for name in draw(st.sets(st.sampled_from("12")))
        if queues
    }
    children = [
        *({"queue": name} for name in queues if draw(st.booleans())),
        *({"worker": name} for name in workers if draw(st.booleans())),
        *(
            {"start": serve, "id": name, "args": [draw(st.integers(0, 1))]}
            for name in draw(st.sets(st.sampled_from("xyz")).map(sorted))
        ),
    ]
    children = draw(st.permutations(children))
    cut = draw(st.integers(0, len(children)))
    supervisors: Tables = {}
    if draw(st.booleans()):
        supervisors["low"] = {"strategy": draw(st.sampled_from(["one_for_one", "one_for_all"]))}
        supervisors["low"]["child"] = children[cut:]
        children = children[:cut]
        if draw(st.booleans()):
            children.insert(draw(st.integers(0, len(children))), {"supervisor": "low"})
    if draw(st.booleans()):
        supervisors["top"] = {"intensity": draw(st.integers(0, 2)), "child": children}
    if "top" not in supervisors:
        placed = supervisors.get("low", {}).get("child", [])
        if any("supervisor" in each for each in placed):
            supervisors = {}
    return {"queue": queues, "worker": workers, "supervisor": supervisors}


def drawn(tree: Tree) -> object:
    """Return a tree without counts of restarts."""
    return tree.id, tree.state, tree.strategy, [drawn(child) for child in tree.children]


def facts(runtime: Runtime) -> object:
    supervisors: list[object] = []

    def look(supervisor: Any) -> None:  # type: ignore[explicit-any] # one of a tree
        specs = [supervisor.get_childspec(info.id) for info in supervisor.which_children()]
        supervisors.append(
            (
                supervisor.path,
                supervisor.flags,
                [(spec.id, spec.args, spec.shutdown, spec.on_give_up) for spec in specs],
            )
        )
        for below in supervisor.supervisors():
            look(below)

    look(runtime.supervisor)
    return (
        drawn(runtime.tree()),
        [(queue.name, queue.kind, queue.options) for queue in runtime.queues()],
        [
            (each.name, each.options, each.concurrency, each.queue.name)
            for each in runtime.workers()
        ],
        supervisors,
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(history=st.lists(configurations(), min_size=2, max_size=4))
def test_after_reloads_the_runtime_is_as_a_new_one_and_nothing_is_lost(  # noqa: C901 - a history
    history: list[Tables],
) -> None:
    async def play() -> None:
        held: dict[str, set[str]] = {}
        waiting: dict[str, list[str]] = {}
        async with open_runtime(history[0]) as runtime, trio.open_nursery() as nursery:
            for number, tables in enumerate(history):
                old = runtime.config
                before = {queue.name: queue for queue in runtime.queues()}
                starts = {name: queue._actor.starts for name, queue in before.items()}  # noqa: SLF001
                if number:
                    result = await runtime.reload(tables, removed="keep")
                    assert not result.failed
                    plan = make_plan(old, load_config(tables))
                    for item in plan.items:
                        if item.what != "queue" or item.name not in before:
                            continue
                        if item.action == "removed":
                            held.setdefault(item.name, set())
                            waiting.pop(item.name, None)
                            continue
                        queue: Any = runtime.queue(item.name)  # type: ignore[explicit-any]
                        assert queue is before[item.name]
                        assert queue._actor.starts - starts[item.name] == item.restarts  # noqa: SLF001
                for queue in runtime.queues():
                    held.setdefault(queue.name, set())
                    add = getattr(queue, HOLDS[queue.kind][0])
                    await add(f"{queue.name}{number}", delay=9e8) if queue.kind == "timed" else None
                    if queue.kind == "timed":
                        held[queue.name].add(f"{queue.name}{number}")
                        assert await queue.len() == len(held[queue.name])
                    elif queue.name not in waiting:
                        waiting[queue.name] = []
                        nursery.start_soon(take, queue, waiting[queue.name])
                await trio.testing.wait_all_tasks_blocked()
            async with open_runtime(history[-1]) as fresh:
                assert facts(runtime) == facts(fresh)
            for name, got in waiting.items():
                assert got == []
                await runtime.queue(name).enqueue("late")
                await trio.testing.wait_all_tasks_blocked()
                assert got == ["late"]
            nursery.cancel_scope.cancel()

    async def take(queue: Any, got: list[str]) -> None:  # type: ignore[explicit-any]
        try:
            got.append((await queue.claim()).message)
        except ActorDownError as error:
            got.append(error.reason)

    trio.run(play, clock=MockClock(autojump_threshold=0))


@pytest.mark.slow
async def test_twenty_reloads_leave_nothing_behind(
    autojump_clock: MockClock, events: list[object]
) -> None:
    def tables(number: int) -> Tables:
        number %= 2
        return {
            "queue": {
                "stays": {"kind": "timed", "reservation_time": 30, "unique": number % 2 == 0},
                f"q{number}": {"kind": "timed", "reservation_time": 30},
            },
            "worker": {f"w{number}": {"queue": f"q{number}", "handler": handle}},
            "supervisor": {f"s{number}": {"child": [{"start": serve, "id": "x"}]}},
        }

    async def count() -> int:
        await trio.testing.wait_all_tasks_blocked()
        events.clear()
        gc.collect()
        return len(gc.get_objects())

    async with open_runtime(tables(0)) as runtime:
        for number in range(1, 6):
            await runtime.reload(tables(number))
            await trio.sleep(1)
        before = await count()

        for number in range(6, 26):
            await runtime.reload(tables(number))
            await trio.sleep(1)

        assert await count() - before < 100
        assert runtime.queue_names() == ("q1", "stays")
