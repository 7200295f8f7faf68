"""What `top` is sent: what has changed, made in slices, and put together by the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from queueactors import open_runtime
from queueactors.control._methods import Methods
from queueactors.control._values import TopChange
from queueactors.control._watch import Watch

from .kit import controlled

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock
TIMED = {"kind": "timed", "reservation_time": 30}


def look(watch: Watch, told: int) -> TopChange:
    """Make a round, however soon; return what has changed since another one."""
    for _ in watch._steps():  # noqa: SLF001 - without its waits
        pass
    return msgspec.json.decode(watch.since(told, 1.0), type=TopChange)


def named(change: TopChange) -> list[str]:
    return [each.name for each in change.queues]


def running(count: int = 3) -> dict[str, dict[str, object]]:
    return {"queue": {f"q{number}": TIMED for number in range(count)}}


async def test_the_first_is_everything_and_the_next_what_has_changed() -> None:
    async with open_runtime(running()) as runtime:
        watch = Watch(runtime)

        first = look(watch, -1)
        second = look(watch, 1)
        await runtime.queue("q1").insert("x")
        third = look(watch, 2)

    assert (first.whole, named(first)) == (True, ["q0", "q1", "q2"])
    assert (second.whole, named(second)) == (False, [])
    assert (third.whole, named(third), third.status.messages) == (False, ["q1"], 1)


async def test_who_has_missed_a_round_gets_its_changes_too() -> None:
    async with open_runtime(running()) as runtime:
        watch = Watch(runtime)
        look(watch, -1)

        await runtime.queue("q0").insert("x")
        look(watch, 1)
        await runtime.queue("q2").insert("x")

        assert named(look(watch, 1)) == ["q0", "q2"]


async def test_a_queue_more_is_everything_anew() -> None:
    async with open_runtime(running()) as runtime:
        watch = Watch(runtime)
        look(watch, -1)

        await runtime.define("more", **TIMED)  # type: ignore[call-overload] # a kind's options

        change = look(watch, 1)
        assert (change.whole, named(change)[-1]) == (True, "more")


async def test_a_child_that_is_stopped_or_parked_is_told() -> None:
    async with open_runtime(running()) as runtime:
        watch = Watch(runtime)
        look(watch, -1)

        await runtime.stop("q1")
        change = look(watch, 1)

        assert change.status == Methods(runtime).status(runtime.overview())
        assert change.status.stopped == ("queue.q1",)
        assert [(each.name, each.state) for each in change.queues] == [("q1", "stopped")]


async def test_a_round_of_many_queues_lets_others_run() -> None:
    async with open_runtime(running(200)) as runtime:
        watch = Watch(runtime)

        assert sum(1 for _ in watch._steps()) >= 4  # noqa: SLF001 - likewise
        assert sum(1 for _ in runtime._overview_steps()) >= 4  # noqa: SLF001 - likewise


async def test_a_stream_sends_a_queue_once_while_nothing_happens_to_it(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(running()) as runtime:
        watch = Watch(runtime)
        await runtime.queue("q0").insert("x")

        changes = watch.changes(1.0)
        sizes = [len(msgspec.json.decode(await anext(changes), type=TopChange).queues)]
        sizes += [len(msgspec.json.decode(await anext(changes), type=TopChange).queues)]
        await changes.aclose()

    assert sizes == [3, 0]


async def test_what_did_not_change_is_there_all_the_same(tmp_path: Path) -> None:
    async with controlled(tmp_path, **running()) as (runtime, client):
        await runtime.queue("q0").insert("x")
        async with await client.top(0.1) as stream:
            first, second = await anext(stream), await anext(stream)

    assert [each.name for each in second.queues] == ["q0", "q1", "q2"]
    ages = [(each.queues[0].statistics or {})["oldest_age"] for each in (first, second)]
    assert second.at > first.at
    assert 0 < ages[1] - ages[0] <= (second.at - first.at) / 1e9 + 0.05
