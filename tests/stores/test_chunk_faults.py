"""A disk that fails at every step of every operation of capacity and log queues.

See `kit_faults`. Nothing stays in memory once it is written: whoever takes or reads something reads
it from the file, and that may fail, too.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final, TypeVar, cast

import pytest

from queueactors import CapacityQueue, LogQueue
from queueactors.cores import _chunks
from queueactors.engines import LocalEngine
from tests.stores.kit import LONG, ChunkModel, Seen, define_capacity, define_log
from tests.stores.kit_faults import NS, Act, Play, sweeps, swept

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stores.vfs import Fault

BIG: Final = b"x" * 20_000
SOME: Final = [b"%d" % number for number in range(300)]

CapacityAct = Act[CapacityQueue, ChunkModel, int]  # what is held is a position
LogAct = Act[LogQueue, ChunkModel, int]
Queue = TypeVar("Queue", CapacityQueue, LogQueue)


def _sized(items: list[bytes]) -> tuple[list[bytes], list[int]]:
    return items, list(map(len, items))


CAPACITY: Final[dict[str, CapacityAct]] = {
    "push": Act(
        lambda queue, _held: queue.push(b"x"),
        lambda model, now, _held: model.do("push", now, *_sized([b"x"])),
    ),
    "push many": Act(
        lambda queue, _held: queue.push(*SOME, BIG),
        lambda model, now, _held: model.do("push", now, *_sized([*SOME, BIG])),
    ),
    "wait_push": Act(
        lambda queue, _held: queue.wait_push(b"x", b"y"),
        lambda model, now, _held: model.do("wait_push", now, *_sized([b"x", b"y"])),
    ),
    "pop": Act(
        lambda queue, _held: queue.pop(),
        lambda model, now, _held: model.do("pop", now),
    ),
    "pop several chunks": Act(
        lambda queue, _held: queue.pop(5),
        lambda model, now, _held: model.do("pop", now, 5),
    ),
    "pop all": Act(
        lambda queue, _held: queue.wait_pop(10**6),
        lambda model, now, _held: model.do("pop", now, 10**6),
    ),
    "clear": Act(
        lambda queue, _held: queue.clear(),
        lambda model, now, _held: model.do("clear", now),
    ),
    "resize": Act(
        lambda queue, _held: queue.resize(5),
        lambda model, now, _held: model.do("resize", now, 5),
    ),
    "pause": Act(
        lambda queue, _held: queue.pause(LONG),
        lambda model, now, _held: model.do("pause", now, NS),
    ),
    "resume": Act(
        lambda queue, _held: queue.resume(),
        lambda model, now, _held: model.do("resume", now),
        paused=True,
    ),
}

LOG: Final[dict[str, LogAct]] = {
    "add": Act(
        lambda queue, _held: queue.add(b"x"),
        lambda model, now, _held: model.do("add", now, *_sized([b"x"])),
    ),
    "add many": Act(
        lambda queue, _held: queue.add(*SOME, BIG),
        lambda model, now, _held: model.do("add", now, *_sized([*SOME, BIG])),
    ),
    "next": Act(
        lambda queue, _held: queue.next("a", limit=5),
        lambda model, now, _held: model.do("next", now, "a", "oldest", 5),
    ),
    "next, a new label": Act(
        lambda queue, _held: queue.next("new", "newest"),
        lambda model, now, _held: model.do("next", now, "new", "newest"),
    ),
    "wait_next": Act(
        lambda queue, _held: queue.wait_next("a"),
        lambda model, now, _held: model.do("wait_next", now, "a"),
    ),
    "read": Act(
        lambda queue, _held: queue.read("a", limit=5),
        lambda model, now, _held: model.do("read", now, "a", "oldest", 5),
    ),
    "read, a new label": Act(
        lambda queue, _held: queue.read("new", limit=5),
        lambda model, now, _held: model.do("read", now, "new", "oldest", 5),
    ),
    "commit": Act(
        lambda queue, held: queue.commit("a", held[0]),
        lambda model, now, held: model.do("commit", now, "a", held[0]),
    ),
    "remove_label": Act(
        lambda queue, _held: queue.remove_label("a"),
        lambda model, now, _held: model.do("remove_label", now, "a"),
    ),
    "clear": Act(
        lambda queue, _held: queue.clear(),
        lambda model, now, _held: model.do("clear", now),
    ),
    "pause": Act(
        lambda queue, _held: queue.pause(LONG),
        lambda model, now, _held: model.do("pause", now, NS),
    ),
    "resume": Act(
        lambda queue, _held: queue.resume(),
        lambda model, now, _held: model.do("resume", now),
        paused=True,
    ),
}


class ChunkPlay(Play[Queue, ChunkModel, int]):
    """Does the same to a queue whose items are in the file and to a core that nobody writes."""

    def copied(self) -> ChunkModel:
        return self.model.copy()

    def expected(self) -> Seen:
        return self.model.seen()

    async def _see_refusal(
        self, outcome: object, *, failed: bool, lasting: bool, waits: bool
    ) -> None:
        if self.disk._fault != "read":  # noqa: SLF001 - then only reading fails, and adding does not
            await super()._see_refusal(outcome, failed=failed, lasting=lasting, waits=waits)

    async def shown(self) -> object:
        engine = self.queue._actor._engine  # noqa: SLF001
        assert isinstance(engine, LocalEngine)
        return _items(engine.core), await self.queue.len()

    def wanted(self) -> object:
        return _items(self.model.core), self.model.core.length(self.now)


def _items(core: object) -> list[object]:
    """Return all items, without taking any."""
    records = core.records  # type: ignore[attr-defined] # it is a core
    begin = getattr(records, "begin", 0)
    items: list[object] = core._chunks.gather(begin, 10**9)[0]  # type: ignore[attr-defined] # noqa: SLF001
    return items


class CapacityPlay(ChunkPlay[CapacityQueue]):
    """That of a capacity queue."""

    async def prepare(self, act: CapacityAct) -> list[int]:
        for name in ("clear", "resume"):
            await self.both(CAPACITY[name], [])
        await self.queue.resize(10**9)
        self.model.do("resize", self.now, 10**9)
        for items in ([b"1", BIG, b"2"], [b"3", BIG], [BIG], [b"4"]):
            await self.queue.push(*items)
            self.model.do("push", self.now, *_sized(items))
        assert await self.queue.pop() == self.model.do("pop", self.now)
        if act.paused:
            await self.both(CAPACITY["pause"], [])
        return []

    async def insert(self) -> None:
        await self.queue.push(b"z")


class LogPlay(ChunkPlay[LogQueue]):
    """That of a log queue."""

    async def prepare(self, act: LogAct) -> list[int]:
        for name in ("clear", "resume"):
            await self.both(LOG[name], [])
        for label in ("new", "a"):
            await self.queue.remove_label(label)
            self.model.do("remove_label", self.now, label)
        for items in ([b"1", BIG, b"2"], [b"3", BIG], [BIG], [b"4"]):
            await self.queue.add(*items)
            self.model.do("add", self.now, *_sized(items))
        assert await self.queue.next("a") == self.model.do("next", self.now, "a")
        if act.paused:
            await self.both(LOG["pause"], [])
        mark = next(each for each in self.model.core.records.messages.values() if each.value == "a")
        return [mark.first + 2]

    async def insert(self) -> None:
        await self.queue.add(b"z")


def _run(path: Path, kind: str, name: str, fault: Fault, **options: object) -> int:
    if kind == "capacity":
        return swept(
            path,
            CAPACITY[name],
            fault,
            define_capacity,
            lambda queue, disk, memory, killed: CapacityPlay(
                queue, disk, ChunkModel.new("capacity"), memory, killed
            ),
            **options,
        )
    return swept(
        path,
        LOG[name],
        fault,
        define_log,
        lambda queue, disk, memory, killed: LogPlay(
            queue, disk, ChunkModel.new("log"), memory, killed
        ),
        **options,
    )


@pytest.fixture(autouse=True)
def in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chunks, "KEPT", 0)
    monkeypatch.setattr(_chunks, "LOADED", 1)


ALL: Final = [*product(["capacity"], CAPACITY), *product(["log"], LOG)]
READING: Final = ("pop ", "next", "read")  # how the names of those begin that read the file


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(("act", "fault", "way"), sweeps(ALL))
def test_a_disk_that_fails_at_any_step_harms_no_chunks(
    act: tuple[str, str], fault: Fault, way: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"
    kind, name = act

    steps = _run(path, kind, name, fault, **way)

    idle = name == "read" and fault != "read"  # it writes nothing
    assert steps > 0 or idle or (fault == "read" and not name.startswith(READING))


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("fault", ["io", "full", "read"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *product(["capacity"], ["push many", "pop several chunks", "clear"]),
        *product(["log"], ["add many", "next", "clear"]),
    ],
)
def test_a_disk_that_fails_in_a_thread_harms_no_chunks(
    kind: str, name: str, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"

    steps = _run(path, kind, name, cast("Fault", fault), commit="thread", durability="power")

    assert steps > 0 or (fault == "read" and not name.startswith(READING))
