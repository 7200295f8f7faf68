"""A power cut at every step: what is synced is there, of the rest anything may be.

The disk writes down each step. For each of them the files are built that a power cut at that moment
could have left, and opened by an ordinary store. ``durability = "power"``: everything that was
acknowledged is there. ``"process"``: what was true after some operation is there, as it was then.
"""

from __future__ import annotations

import shutil
from functools import partial
from random import Random
from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.stores.kit import (
    LONG,
    Seen,
    actor_of,
    define,
    define_capacity,
    define_idle,
    define_log,
    define_messages,
    in_memory,
    running,
    stored,
)
from tests.stores.test_batch_faults import ask
from tests.stores.vfs import Disk, Step, after_power_cut, store_on
from tests.torture import TORTURE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queueactors import (
        BatchQueue,
        CapacityQueue,
        LogQueue,
        MessageQueue,
        Runtime,
        TimedQueue,
    )
    from queueactors.cores.batch import Claimed


STRIDE = 2 if TORTURE == 1 else 1  # steps from one cut to the next


@attrs.define(eq=False)
class History:
    """What was acknowledged, and how many steps the disk had done by then."""

    disk: Disk
    runtime: Runtime
    states: list[tuple[int, Seen]] = attrs.field(factory=list)

    def note(self) -> None:
        self.states.append((len(self.disk.steps), in_memory(self.runtime)))


async def a_life(path: Path, disk: Disk, kind: str, durability: str, random: Random) -> History:
    """Work on a queue, with its log moved into the database now and then."""
    async with running(path, store_on(disk), durability=durability) as runtime:
        history = History(disk, runtime)
        if kind == "timed":
            work = partial(_do_something, await define(runtime))
        elif kind == "batch":
            work = partial(_do_something_batched, await define_idle(runtime, flush_size=0))
        elif kind == "capacity":
            work = partial(_push_or_pop, await define_capacity(runtime))
        elif kind == "log":
            work = partial(_add_or_read, await define_log(runtime))
        else:
            work = partial(_do_something_named, await define_messages(runtime))
        history.note()
        for number in range(30):
            await work(random, history)
            history.note()
            if number % 10 == 9:
                await actor_of(runtime)._move_log()  # noqa: SLF001
        return history


async def _do_something(queue: TimedQueue, random: Random, history: History) -> None:
    value = random.randbytes(random.choice([10, 10, 5000]))
    match random.randrange(8):
        case 0 | 1 | 2:
            await queue.insert(value, value)
        case 3:
            await queue.insert(value, delay=LONG)
        case 4:
            async with trio.open_nursery() as nursery:  # one transaction
                for _ in range(5):
                    nursery.start_soon(queue.insert, value)
        case _:
            taken = await queue.try_reserve()
            if taken is None:
                return
            history.note()
            match random.randrange(4):
                case 0:
                    await queue.delete(taken)
                case 1:
                    await queue.release(taken, error="no")
                case 2:
                    await queue.bury(taken)
                case _:
                    await queue.prolongate(taken)


async def _do_something_named(queue: MessageQueue, random: Random, history: History) -> None:
    value = random.randbytes(random.choice([10, 10, 5000]))
    mid = random.choice("abcdef")
    match random.randrange(8):
        case 0 | 1 | 2 | 3:
            flags = [random.random() < 0.7 for _ in range(2)]
            await queue.enqueue(value, mid, can_update=flags[0], can_requeue=flags[1])
        case 4:
            async with trio.open_nursery() as nursery:  # one transaction
                for each in "abcxyz":
                    nursery.start_soon(partial(queue.enqueue, value, each, can_update=True))
        case _:
            claim = await queue.try_claim()
            if claim is None:
                return
            history.note()
            match random.randrange(6):
                case 0 | 1:
                    await claim.finish()
                case 2:
                    await claim.finish("success", LONG)
                case 3:
                    await claim.finish("retry", random.choice([0, LONG]))
                case 4:
                    await queue.enqueue(value, claim.mid, can_requeue=True)
                    history.note()
                    await claim.finish()
                case _:
                    await claim.extend(2 * LONG)


async def _do_something_batched(queue: BatchQueue, random: Random, history: History) -> None:
    match random.randrange(6):
        case 0 | 1 | 2:
            sizes = [random.choice([10, 10, 5000]) for _ in range(random.randrange(1, 4))]
            await queue.push_many(map(random.randbytes, sizes), stored=True)
        case _:
            if not (await queue.statistics()).ready:
                return
            claimed = cast("Claimed", await ask(queue, "claim", 2, None))
            history.note()
            match random.randrange(4):
                case 0:
                    await ask(queue, "done", claimed.key, 1)
                case 1:
                    await ask(queue, "failed", claimed.key, "no", None, 0)
                case 2:
                    await ask(queue, "failed", claimed.key, "no", int(LONG * 1e9), 0)
                case _:
                    await ask(queue, "give_back", claimed.key)


async def _push_or_pop(queue: CapacityQueue, random: Random, _history: History) -> None:
    if random.random() < 0.5:
        sizes = [random.choice([10, 10, 5000]) for _ in range(random.randrange(1, 4))]
        await queue.push(*map(random.randbytes, sizes))
    else:
        await queue.pop(random.randrange(1, 6))


async def _add_or_read(queue: LogQueue, random: Random, _history: History) -> None:
    label = random.choice("abc")
    match random.randrange(6):
        case 0 | 1 | 2:
            sizes = [random.choice([10, 10, 5000]) for _ in range(random.randrange(1, 4))]
            await queue.add(*map(random.randbytes, sizes))
        case 3:
            await queue.remove_label(label)
        case 4 if random.random() < 0.3:
            await queue.clear()
        case _:
            await queue.next(label, limit=random.randrange(1, 6))


async def a_death(path: Path, disk: Disk) -> int:
    """Let messages be exhausted; return how many steps the disk had done when they were there."""
    async with running(path, store_on(disk), durability="power") as runtime:
        letters = await define(runtime, "letters")
        queue = await define(runtime, max_reservations=1, on_exhausted="letters")
        await queue.insert(b"1", b"2", b"3")
        steps = len(disk.steps)
        await queue.reserve_many(2, 10)
        await queue.release(await queue.reserve())
        await trio.sleep(60)
        await letters.delete(*await letters.reserve_many(1))
        return steps


def _live(path: Path, kind: str, durability: str, seed: int) -> tuple[Disk, list[tuple[int, Seen]]]:
    disk = Disk(recording=True)
    history = trio.run(
        a_life, path, disk, kind, durability, Random(seed), clock=MockClock(autojump_threshold=0.01)
    )
    disk.unregister()
    return disk, history.states


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(1, 1 + TORTURE))
@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("kind", ["batch", "capacity", "log", "timed", "message"])
def test_a_power_cut_at_any_step_leaves_what_was_promised(
    kind: str, durability: str, seed: int, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"
    disk, states = _live(path, kind, durability, seed)
    random = Random(seed)
    cuts = 0

    for at in range(0, len(disk.steps) + 1, STRIDE):
        acknowledged = sum(steps <= at for steps, _ in states)
        certain = max(acknowledged - 1, 0) if durability == "power" else 0
        allowed = [seen for _, seen in states[certain : acknowledged + 1]]  # one may be under way
        for how, file in _left(disk.steps[:at], path, random):
            cuts += 1
            assert stored(file) in allowed, f"{how}, after step {at}"
    assert cuts > 300 // STRIDE


@pytest.mark.slow
@pytest.mark.no_cover
def test_a_dead_letter_is_in_one_of_its_queues_whenever_the_power_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    disk, random = Disk(recording=True), Random(1)
    first = trio.run(a_death, path, disk, clock=MockClock(autojump_threshold=0))
    disk.unregister()
    moved = set()

    for at in range(first, len(disk.steps) + 1):
        for how, file in _left(disk.steps[:at], path, random):
            here, there = stored(file).messages, stored(file, "letters").messages
            assert len(here) + len(there) == 3 or (here, len(there)) == ({}, 2), f"{how} at {at}"
            moved.add(len(there))
    assert moved == {0, 1, 2, 3}


def _left(steps: list[Step], path: Path, random: Random) -> Iterator[tuple[str, Path]]:
    """Yield what a power cut leaves, as files."""
    copy = path.with_name("left")
    for how, files in after_power_cut(steps, random):
        copy.mkdir()
        for name, content in files.items():
            (copy / name).write_bytes(content)
        yield how, copy / path.name
        shutil.rmtree(copy)
