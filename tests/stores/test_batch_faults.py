"""A disk that fails at every step of every operation of a batch queue, see `kit_faults`.

Nobody processes: what the process workers ask for is asked for here, one thing at a time.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final, cast, get_args

import attrs
import pytest
import trio

from queueactors import BatchQueue
from queueactors.cores.batch import BatchState, Claimed
from queueactors.engines import TAKERS
from supervisors import Operation
from tests.stores.kit import (
    LONG,
    BatchModel,
    Seen,
    define_idle,
)
from tests.stores.kit_faults import DONE, NS, Act, Play, sweeps, swept

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from queueactors import Runtime
    from queueactors.cores.batch import BatchStatistics, StoredBatch
    from tests.stores.vfs import Fault

BatchAct = Act[BatchQueue, BatchModel, int]  # what is held are the keys of two claims

OPTIONS: Final[dict[str, object]] = {"max_claims": 2, "on_exhausted": "bury"}
BIG: Final = b"x" * 20_000


async def ask(queue: BatchQueue, method: str, *args: object) -> object:
    """Do what a process worker does."""
    waits = TAKERS if method == "claim" else None
    return await queue._mailbox.call(Operation(method, args, waits=waits))  # noqa: SLF001


async def _push_nowait(queue: BatchQueue, _held: list[int]) -> object:
    queue.push_nowait(b"x", b"y")
    await trio.sleep(1)
    return DONE


async def _settled(push: Awaitable[None]) -> object:
    """Push, which must succeed whatever the disk does; let what it causes happen."""
    await push
    await trio.sleep(1)
    return None


def _push(model: BatchModel, now: int, *items: bytes, answer: object = None) -> object:
    """Push, and let what that causes happen at once."""
    model.core.push(now, items)
    model.core.advance(now)
    return answer


def _push_stored(model: BatchModel, now: int, *items: bytes) -> object:
    model.core.stored(now, model.core.push(now, items))
    model.core.advance(now)
    return None


ACTS: Final[dict[str, BatchAct]] = {
    "push": Act(
        lambda queue, _held: _settled(queue.push(b"x")),
        lambda model, now, _held: _push(model, now, b"x"),
        kept=True,
    ),
    "push_many": Act(
        lambda queue, _held: _settled(queue.push_many([b"x", b"y", BIG, b"z"])),
        lambda model, now, _held: _push(model, now, b"x", b"y", BIG, b"z"),
        kept=True,
    ),
    "push_nowait": Act(
        _push_nowait,
        lambda model, now, _held: _push(model, now, b"x", b"y", answer=DONE),
        kept=True,
    ),
    "wait_push": Act(
        lambda queue, _held: _settled(queue.wait_push(b"x", b"y")),
        lambda model, now, _held: _push(model, now, b"x", b"y"),
        kept=True,
    ),
    "push and wait": Act(
        lambda queue, _held: queue.push(b"x", stored=True),
        lambda model, now, _held: _push_stored(model, now, b"x"),
        kept=True,
    ),
    "push many and wait": Act(
        lambda queue, _held: queue.push_many([b"x", b"y"], stored=True),
        lambda model, now, _held: _push_stored(model, now, b"x", b"y"),
        kept=True,
    ),
    "flush": Act(
        lambda queue, _held: queue.flush(),
        lambda model, now, _held: model.core.flush(now),
        kept=True,
    ),
    "claim": Act(
        lambda queue, _held: ask(queue, "claim", 2, None),
        lambda model, now, _held: model.core.claim(now, 2),
    ),
    "end one and claim": Act(
        lambda queue, held: ask(queue, "claim", 1, (held[1], 4)),
        lambda model, now, held: model.core.claim(now, 1, (held[1], 4)),
        holds=True,
    ),
    "done": Act(
        lambda queue, held: ask(queue, "done", held[1], 4),
        lambda model, now, held: model.core.done(now, held[1], 4),
        holds=True,
    ),
    "try again": Act(
        lambda queue, held: ask(queue, "failed", held[1], "no", NS, 0),
        lambda model, now, held: model.core.failed(now, held[1], "no", NS, 0),
        holds=True,
    ),
    "release": Act(
        lambda queue, held: ask(queue, "failed", held[1], "no", None, 0),
        lambda model, now, held: model.core.failed(now, held[1], "no", None, 0),
        holds=True,
    ),
    "release for later": Act(
        lambda queue, held: ask(queue, "failed", held[1], "no", None, NS),
        lambda model, now, held: model.core.failed(now, held[1], "no", None, NS),
        holds=True,
    ),
    "give back": Act(
        lambda queue, held: ask(queue, "give_back", held[1]),
        lambda model, now, held: model.core.give_back(now, held[1]),
        holds=True,
    ),
    "keep": Act(
        lambda queue, held: ask(queue, "keep", (held[0],)),
        lambda model, now, held: model.core.keep(now, (held[0],)),
        holds=True,
    ),
    "store a dead letter": Act(
        lambda queue, _held: ask(queue, "wait_push_whole", b"\x91\xc4\x01x"),
        lambda model, now, _held: model.core.wait_push_whole(now, b"\x91\xc4\x01x"),
    ),
    "kick": Act(
        lambda queue, _held: queue.kick(5),
        lambda model, now, _held: model.core.kick(now, 5),
    ),
    "remove": Act(
        lambda queue, _held: queue.remove(*range(1000)),
        lambda model, now, _held: model.core.remove(now, range(1000)),
    ),
    "clear": Act(
        lambda queue, _held: queue.clear(),
        lambda model, now, _held: model.core.clear(now),
    ),
    "pause": Act(
        lambda queue, _held: queue.pause(LONG),
        lambda model, now, _held: model.core.pause(now, NS),
    ),
    "resume": Act(
        lambda queue, _held: queue.resume(),
        lambda model, now, _held: model.core.resume(now),
        paused=True,
    ),
}


class BatchPlay(Play[BatchQueue, BatchModel, int]):
    """Does the same to a batch queue and to a core that nobody writes."""

    is_second = False  # a process that goes on with the file

    async def prepare(self, act: BatchAct) -> list[int]:
        none: list[int] = []
        await self.both(ACTS["clear"], none)
        await self.both(ACTS["resume"], none)
        await self._push(b"bad", b"batch")
        for _ in range(2):
            await self._fail(await self._claim(1), None, 0)
        await self._push(*(b"%d" % number for number in range(14)))
        await self._fail(await self._claim(2), NS, 0)
        await self._fail(await self._claim(1), None, NS)
        held = [await self._claim(1), await self._claim(2)]
        await self._push(b"buffered")
        if act.paused:
            await self.both(ACTS["pause"], none)
        return held

    async def _push(self, *items: bytes) -> None:
        await self.queue.push_many(items)
        _push(self.model, self.now, *items)

    async def _fail(self, key: int, delay: int | None, cooldown: int) -> None:
        args = key, "no", delay, cooldown
        assert await ask(self.queue, "failed", *args)
        assert self.model.core.failed(self.now, *args)

    async def _claim(self, limit: int) -> int:
        claimed = cast("Claimed", await ask(self.queue, "claim", limit, None))
        assert claimed == self.model.core.claim(self.now, limit)
        return claimed.key

    async def insert(self) -> None:
        await self.queue.push(b"z")

    def copied(self) -> BatchModel:
        return self.model.copy()

    def expected(self) -> Seen:
        return self.model.seen(self.now)

    def restarted(self, path: Path) -> None:
        self.model = self.model.stored(path, path.with_name("copy.sqlite"))
        self.is_second = True

    async def shown(self) -> object:
        told = await self.queue.statistics()
        batches = {state: await self.queue.peek(state, 100) for state in get_args(BatchState)}
        return self._facts(told, batches)

    def wanted(self) -> object:
        core, values = self.model.core, self.model.kind.values
        assert values is not None
        told = core.statistics(self.now)
        batches = {
            state: [
                attrs.evolve(each, items=cast("list[object]", values.decode(each.items)))
                for each in core.peek(self.now, state, 100)
            ]
            for state in get_args(BatchState)
        }
        return self._facts(told, batches)

    def _facts(self, told: BatchStatistics, batches: dict[str, list[StoredBatch]]) -> object:
        numbers = told.buffered, told.batches, told.items, told.pushed, told.flushed, told.ready
        shown = {
            state: [(each.id, each.items, each.claims) for each in some]
            for state, some in batches.items()
        }
        if self.is_second:  # all claims have ended at one instant, in any order
            shown["ready"].sort(key=itemgetter(0))
        return numbers, shown


async def _define(runtime: Runtime) -> BatchQueue:
    return await define_idle(runtime, max_claims=2, on_exhausted="bury")


def _run(path: Path, name: str, fault: Fault, **options: object) -> int:
    return swept(
        path,
        ACTS[name],
        fault,
        _define,
        lambda queue, disk, memory, killed: BatchPlay(
            queue, disk, BatchModel.new(**OPTIONS), memory, killed
        ),
        **options,
    )


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(("name", "fault", "way"), sweeps(ACTS))
def test_a_disk_that_fails_at_any_step_harms_no_batch_queue(
    name: str, fault: Fault, way: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"

    steps = _run(path, name, fault, **way)

    assert steps > 0 or fault == "read"


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("fault", ["io", "full"])
@pytest.mark.parametrize("name", ["push_many", "flush", "claim", "done", "clear"])
def test_a_disk_that_fails_in_a_thread_harms_no_batch_queue(
    name: str, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"

    steps = _run(path, name, cast("Fault", fault), commit="thread", durability="power")

    assert steps > 0
