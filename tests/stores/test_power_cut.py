"""A power cut at every step: what is synced is there, of the rest anything may be.

The disk writes down each step. For each of them the files are built that a power cut at that moment
could have left, and opened by an ordinary store. ``durability = "power"``: everything that was
acknowledged is there. ``"process"``: what was true after some operation is there, as it was then.
"""

from __future__ import annotations

import shutil
from random import Random
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.stores.kit import LONG, TORTURE, Seen, actor_of, define, in_memory, running, stored
from tests.stores.vfs import Disk, after_power_cut, store_on

if TYPE_CHECKING:
    from pathlib import Path

    from queueactors import Runtime, TimedQueue


@attrs.define(eq=False)
class History:
    """What was acknowledged, and how many steps the disk had done by then."""

    disk: Disk
    runtime: Runtime
    states: list[tuple[int, Seen]] = attrs.field(factory=list)

    def note(self) -> None:
        self.states.append((len(self.disk.steps), in_memory(self.runtime)))


async def a_life(path: Path, disk: Disk, durability: str, random: Random) -> History:
    """Work on a queue, with its log moved into the database now and then."""
    async with running(path, store_on(disk), durability=durability) as runtime:
        queue = await define(runtime)
        history = History(disk, runtime)
        history.note()
        for number in range(30):
            await _do_something(queue, random, history)
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


def _live(path: Path, durability: str, seed: int) -> tuple[Disk, list[tuple[int, Seen]]]:
    disk = Disk(recording=True)
    history = trio.run(
        a_life, path, disk, durability, Random(seed), clock=MockClock(autojump_threshold=0.01)
    )
    disk.unregister()
    return disk, history.states


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 1 + TORTURE))
@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_power_cut_at_any_step_leaves_what_was_promised(
    durability: str, seed: int, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"
    disk, states = _live(path, durability, seed)
    random = Random(seed)
    cuts = 0

    for at in range(len(disk.steps) + 1):
        acknowledged = sum(steps <= at for steps, _ in states)
        certain = max(acknowledged - 1, 0) if durability == "power" else 0
        allowed = [seen for _, seen in states[certain : acknowledged + 1]]  # one may be under way
        for how, files in after_power_cut(disk.steps[:at], random):
            cuts += 1
            copy = tmp_path / str(cuts)
            copy.mkdir()
            for name, content in files.items():
                (copy / name).write_bytes(content)
            assert stored(copy / path.name) in allowed, f"{how}, after step {at}"
            shutil.rmtree(copy)
    assert cuts > 300
