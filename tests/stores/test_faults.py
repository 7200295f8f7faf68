"""A disk that fails at every step of every operation.

Each caller gets an answer; what it says is what happened; nothing is half done, in memory or in the
file; and service goes on by itself once the cause is gone. The measure is a plain list.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Final

import pytest
import trio

from queueactors import Reservation, StoreError, TimedQueue
from tests.cores.kit import STATES
from tests.cores.naive import NaiveQueue
from tests.stores.kit import (
    LONG,
    Seen,
    a_model,
    define,
    expected,
    in_memory,
    on_disk,
    running,
    shown,
)
from tests.stores.kit_faults import A_WHILE, DONE, NS, Act, Play, run, sweeps, swept
from tests.stores.vfs import Disk, Fault, store_on

if TYPE_CHECKING:
    from pathlib import Path

TimedAct = Act[TimedQueue, NaiveQueue, Reservation]


async def _insert_nowait(queue: TimedQueue, _held: list[Reservation]) -> object:
    queue.insert_nowait(b"x", b"y")
    await queue.len()
    return DONE


async def _delete_nowait(queue: TimedQueue, held: list[Reservation]) -> object:
    queue.delete_nowait(*held)
    await queue.len()
    return DONE


ACTS: Final[dict[str, TimedAct]] = {
    "insert": Act(
        lambda queue, _held: queue.insert(b"x", b"y", priority=-1),
        lambda naive, now, _held: naive.insert(now, [b"x", b"y"], 0, -1),
    ),
    "insert later": Act(
        lambda queue, _held: queue.insert(b"x", delay=LONG),
        lambda naive, now, _held: naive.insert(now, [b"x"], NS),
    ),
    "insert a big one": Act(
        lambda queue, _held: queue.insert(b"x" * 20_000),
        lambda naive, now, _held: naive.insert(now, [b"x" * 20_000]),
    ),
    "wait_insert": Act(
        lambda queue, _held: queue.wait_insert(b"x", priority=3),
        lambda naive, now, _held: naive.wait_insert(now, [b"x"], 0, 3),
    ),
    "insert_nowait": Act(
        _insert_nowait, lambda naive, now, _held: naive.insert(now, [b"x", b"y"]) and DONE
    ),
    "reserve": Act(
        lambda queue, _held: queue.reserve(),
        lambda naive, now, _held: naive.reserve(now, NS),
    ),
    "try_reserve": Act(
        lambda queue, _held: queue.try_reserve(),
        lambda naive, now, _held: naive.reserve(now, NS),
    ),
    "reserve_many": Act(
        lambda queue, _held: queue.reserve_many(2),
        lambda naive, now, _held: naive.reserve_many(now, 2, NS),
    ),
    "prolongate": Act(
        lambda queue, held: queue.prolongate(held[0], 5),
        lambda naive, now, held: naive.prolongate(now, held[0].key, 5 * 10**9),
    ),
    "touch": Act(
        lambda queue, held: queue.touch(held[0]),
        lambda naive, now, held: naive.touch(now, held[0].key, NS),
    ),
    "release": Act(
        lambda queue, held: queue.release(held[0], priority=7, error="no"),
        lambda naive, now, held: naive.release(now, held[0].key, 0, 7, "no"),
    ),
    "release for later": Act(
        lambda queue, held: queue.release(held[0], LONG),
        lambda naive, now, held: naive.release(now, held[0].key, NS, None, None),
    ),
    "snooze": Act(
        lambda queue, held: queue.snooze(held[0], LONG),
        lambda naive, now, held: naive.snooze(now, held[0].key, NS),
    ),
    "fail": Act(
        lambda queue, held: queue.fail(held[0], "no"),
        lambda naive, now, held: naive.fail(now, held[0].key, "no"),
    ),
    "bury": Act(
        lambda queue, held: queue.bury(held[0], "no"),
        lambda naive, now, held: naive.bury(now, held[0].key, "no"),
    ),
    "delete": Act(
        lambda queue, held: queue.delete(*held),
        lambda naive, now, held: naive.delete(now, [each.key for each in held], False),
    ),
    "delete_nowait": Act(
        _delete_nowait,
        lambda naive, now, held: naive.delete(now, [each.key for each in held], False) and DONE,
    ),
    "kick": Act(
        lambda queue, _held: queue.kick(5),
        lambda naive, now, _held: naive.kick(now, 5),
    ),
    "remove": Act(
        lambda queue, held: queue.remove(held[0].id, held[0].id + 1),
        lambda naive, now, held: naive.remove(now, [held[0].id, held[0].id + 1]),
    ),
    "clear": Act(
        lambda queue, _held: queue.clear(),
        lambda naive, now, _held: naive.clear(now),
    ),
    "pause": Act(
        lambda queue, _held: queue.pause(LONG),
        lambda naive, now, _held: naive.pause(now, NS),
    ),
    "resume": Act(
        lambda queue, _held: queue.resume(),
        lambda naive, now, _held: naive.resume(now),
        paused=True,
    ),
}


class TimedPlay(Play[TimedQueue, NaiveQueue, Reservation]):
    """Does the same to a timed queue and to a plain list."""

    async def prepare(self, act: TimedAct) -> list[Reservation]:
        queue, naive = self.queue, self.model
        none: list[Reservation] = []
        await self.both(ACTS["clear"], none)
        await self.both(ACTS["resume"], none)
        now = self.now
        assert await queue.insert(*VALUES) == naive.insert(now, VALUES)
        taken = await queue.reserve_many(3)
        assert taken == naive.reserve_many(now, 3, NS)
        await self.both(ACTS["bury"], taken[:1])
        await self.both(ACTS["insert later"], none)
        if act.paused:
            await self.both(ACTS["pause"], none)
        return taken[1:]

    async def insert(self) -> None:
        await self.queue.insert(b"z")

    def copied(self) -> NaiveQueue:
        return deepcopy(self.model)

    def expected(self) -> Seen:
        self.model.advance(self.now)
        return expected(self.model)

    async def shown(self) -> object:
        return await shown(self.queue)

    def wanted(self) -> object:
        return [self.model.peek(state) for state in STATES]


VALUES: Final = [b"1", b"2", b"3", b"4", b"5"]


def _run(path: Path, name: str, fault: Fault, **options: object) -> int:
    return swept(
        path,
        ACTS[name],
        fault,
        define,
        lambda queue, disk, memory, killed: TimedPlay(queue, disk, a_model(), memory, killed),
        **options,
    )


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(("name", "fault", "way"), sweeps(ACTS))
def test_a_disk_that_fails_at_any_step_harms_nothing(
    name: str, fault: Fault, way: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"

    steps = _run(path, name, fault, **way)

    assert steps > 0 or fault == "read"


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(("fault", "on_failure"), list(product(["io", "full"], ["error", "wait"])))
@pytest.mark.parametrize("name", ["insert", "reserve_many", "delete", "clear"])
def test_a_disk_that_fails_in_a_thread_harms_nothing(
    name: str, fault: Fault, on_failure: str, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"

    steps = _run(path, name, fault, commit="thread", on_failure=on_failure, durability="power")

    assert steps > 0


async def _several(path: Path, fault: Fault, **options: object) -> int:
    """Let one step after the other of a commit for three queues fail; return how many."""
    disk = Disk()
    names = ("one", "two", "three")
    number = 0
    async with running(path, store_on(disk), **options) as runtime:  # type: ignore[arg-type] # the store's
        queues = [await define(runtime, name) for name in names]
        told: dict[str, str] = {}

        async def insert(queue: TimedQueue, value: bytes) -> None:
            try:
                await queue.insert(value * 3000)
            except StoreError as error:
                told[queue.name] = error.outcome
            else:
                told[queue.name] = "applied"

        while True:
            number += 1
            disk.fail(fault, number, lasting=False)
            async with trio.open_nursery() as nursery:
                for queue in queues:
                    nursery.start_soon(insert, queue, bytes([number]))
            failed = disk.failures > 0
            disk.heal()
            await trio.sleep(A_WHILE)

            there = set()
            for queue in queues:
                values = [message.value for message in await queue.peek("ready", 1000)]
                is_there = bytes([number]) * 3000 in values
                assert told[queue.name] in ("unknown", "applied" if is_there else "not applied")
                disk_has = on_disk(path, path.with_name("copy.sqlite"), queue.name)
                assert disk_has == in_memory(runtime, queue.name)
                there.add(is_there)
            assert len(there) == 1, "half of a commit"
            if not failed:
                break
    disk.unregister()
    return number - 1


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("commit", ["loop", "thread"])
@pytest.mark.parametrize("fault", ["io", "full", "short", "fsync"])
def test_a_commit_for_several_queues_is_whole_or_nothing(
    fault: Fault, commit: str, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"
    several = partial(_several, path, fault, commit=commit, durability="power")

    steps = run(several)

    assert steps >= (1 if fault == "fsync" else 3)
