"""Dead letters of a durable batch queue: a batch leaves with all its items, once within a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import trio

from queueactors import BatchQueue, Config, DeadLetter, SqliteStore, open_runtime, retry
from queueactors.config import StoreConfig
from supervisors import Supervisor
from tests.stores.kit import copy_of, define_batches, on_disk, running
from tests.stores.test_dead_letters import (
    A_WHILE,
    TARGETS,
    Commits,
    Target,
    letters_in,
    to_each_kind,
    watched,
)

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import Runtime

ONCE = retry.Fixed(1, 0)


async def fail(_queue: BatchQueue, _items: list[object]) -> None:
    raise ValueError("bad")


async def define_failing(runtime: Runtime, **options: object) -> BatchQueue:
    """Define a queue whose batches are exhausted at once."""
    given: dict[str, object] = {"process": fail, "retry": ONCE, "max_claims": 1}
    return await define_batches(runtime, **(given | {"on_exhausted": "other"} | options))  # type: ignore[arg-type] # by name


# Lists of bytes are no values of the codec "bytes"; they are kept item by item.
@to_each_kind
async def test_a_batch_leaves_one_queue_and_enters_the_other_in_one_commit(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    path, copy = tmp_path / "f", tmp_path / "copy"
    commits = Commits()
    seen = set()

    def look() -> None:
        seen.add(tuple(len(on_disk(path, copy, name).messages) for name in ("q", "other")))

    async with running(path, watched(commits)) as runtime:
        other = await TARGETS[kind](runtime, "other")
        queue = await define_failing(runtime)
        commits.at = look
        await queue.push_many([b"1", b"2"])
        await trio.sleep(A_WHILE)
        look()
        commits.at = lambda: None

        assert await letters_in(other) == [[b"1", b"2"]]
        assert await queue.len() == 0
    assert seen == {(0, 0), (1, 0), (0, 1)}


@to_each_kind
async def test_a_letter_says_what_became_of_the_batch(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path / "f") as runtime:
        other = await TARGETS[kind](runtime, "other")
        queue = await define_failing(runtime, max_claims=2)
        await queue.push_many([b"1", b"2"])
        await trio.sleep(A_WHILE)
        assert await letters_in(other)

    async with running(tmp_path / "f") as runtime:
        (letter,) = await _letters(await TARGETS[kind](runtime, "other"))
    assert (letter.value, letter.queue, letter.id) == ([b"1", b"2"], "q", 1)
    assert (letter.attempts, letter.error) == (2, "ValueError: bad")


async def _letters(queue: Target) -> list[DeadLetter]:
    if isinstance(queue, BatchQueue):
        found = [item for batch in await queue.peek("ready", 100) for item in batch.items]
    elif hasattr(queue, "queue_content"):
        found = [info.message for info in (await queue.queue_content()).values()]
    else:
        found = [message.value for message in await queue.peek("ready", 100)]
    return cast("list[DeadLetter]", found)


@to_each_kind
async def test_errands_that_are_stopped_at_any_commit_deliver_a_batch_once(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    number = reached = 0
    while reached == number:
        number += 1
        reached = await _stopped_at(tmp_path / str(number), kind, number)
    assert number > 3


async def _stopped_at(path: Path, kind: str, number: int) -> int:
    """Stop the errands at one commit, start them again; return how many commits there were."""
    commits = Commits()
    reached = 0
    async with running(path, watched(commits)) as runtime, trio.open_nursery() as nursery:
        other = await TARGETS[kind](runtime, "other")
        queue = await define_failing(runtime)
        group = runtime.supervisor.value_of("queues")
        assert isinstance(group, Supervisor)

        def stop() -> None:
            nonlocal reached
            if reached < number:
                reached += 1
                if reached == number:
                    nursery.start_soon(group.terminate_child, "errands.q")

        commits.at = stop
        await queue.push_many([b"1", b"2"])
        await trio.sleep(A_WHILE)
        if reached == number:
            await group.restart_child("errands.q")
            await trio.sleep(A_WHILE)

        assert await letters_in(other) == [[b"1", b"2"]]
        assert (await queue.statistics()).dead == 0
    return reached


@to_each_kind
async def test_a_process_that_is_killed_at_any_commit_has_the_batch_in_one_queue(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "f"
    commits = Commits()
    copies: list[Path] = []

    def copy() -> None:
        copies.append(tmp_path / f"copy-{len(copies)}")
        copy_of(path, copies[-1])

    async with running(path, watched(commits)) as runtime:
        await TARGETS[kind](runtime, "other")
        queue = await define_failing(runtime)
        await queue.pause()
        await queue.push_many([b"1", b"2"], stored=True)
        commits.at = copy
        await queue.resume()
        await trio.sleep(A_WHILE)
        commits.at = lambda: None

    assert len(copies) > 3
    for left in copies:
        async with running(left) as runtime:
            other = await TARGETS[kind](runtime, "other")
            queue = await define_failing(runtime)
            await queue.resume()
            await trio.sleep(A_WHILE)
            assert await letters_in(other) == [[b"1", b"2"]]
            assert await queue.len() == 0


@to_each_kind
@pytest.mark.parametrize("on_failure", ["error", "wait"])
async def test_dead_batches_for_a_store_that_fails_stay_until_it_works(
    on_failure: str, kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    commits = Commits()
    makes: dict[str, type[SqliteStore]] = {"disk": SqliteStore, "far": watched(commits)}
    options = {"commit": "inline", "on_failure": on_failure}
    stores = {
        name: StoreConfig(
            type="sqlite", factory=make, options=options | {"path": str(tmp_path / name)}
        )
        for name, make in makes.items()
    }
    async with open_runtime(Config(stores=stores)) as runtime:
        other = await TARGETS[kind](runtime, "other", store="far")
        queue = await define_failing(runtime)
        commits.broken = True
        await queue.push_many([b"1", b"2", b"3", b"4"])
        await trio.sleep(A_WHILE)
        assert (await queue.statistics()).dead == 2

        commits.broken = False
        await trio.sleep(A_WHILE)

        assert await letters_in(other) == [[b"1", b"2"], [b"3", b"4"]]
        assert (await queue.statistics()).dead == 0


@pytest.mark.parametrize("on_failure", ["error", "wait"])
async def test_a_dead_letter_whose_commit_fails_enters_a_batch_queue_once(
    on_failure: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    commits = Commits()
    async with running(tmp_path / "f", watched(commits), on_failure=on_failure) as runtime:
        other = await TARGETS["batch"](runtime, "other")
        queue = await define_failing(runtime)
        breaking = False

        def break_once() -> None:
            nonlocal breaking
            stored = on_disk(tmp_path / "f", tmp_path / "copy").messages
            dead = [facts for facts in stored.values() if facts[1] == "dead"]
            commits.broken = bool(dead) and not breaking
            breaking = breaking or bool(dead)

        commits.at = break_once
        await queue.push_many([b"1", b"2"])
        await trio.sleep(3 * A_WHILE)
        commits.at = lambda: None

        assert breaking
        assert await letters_in(other) == [[b"1", b"2"]]
        assert (await other.statistics()).pushed == 1  # type: ignore[union-attr] # of a batch queue


async def test_a_batch_that_the_other_queue_cannot_encode_is_buried(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path / "f") as runtime:
        await TARGETS["timed"](runtime, "other")
        queue = await define_failing(runtime, codec="msgpack")
        await queue.push_many([1, 2])
        await trio.sleep(A_WHILE)

        (buried,) = await queue.peek("buried")
        assert buried.items == [1, 2]
