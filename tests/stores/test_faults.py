"""A disk that fails at every step of every operation.

Each caller gets an answer; what it says is what happened; nothing is half done, in memory or in the
file; and service goes on by itself once the cause is gone. The measure is a plain list.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Final

import attrs
import pytest
import trio
from trio.testing import MockClock

from queueactors import StoreError
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
from tests.stores.vfs import Disk, Fault, store_on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from queueactors import Reservation, TimedQueue
    from tests.cores.naive import NaiveQueue

NS: Final = int(LONG * 1e9)
A_WHILE: Final = 100.0  # seconds, after which the store has tried again
DONE: Final = object()  # of a cast


@attrs.frozen
class Act:
    """An operation, and the same on a plain list.

    Args:
      real: Calls the queue; it may use two reservations that it holds.
      plain: Does it to the list.
      paused: Whether it is done to a queue that is paused.
    """

    real: Callable[[TimedQueue, list[Reservation]], Awaitable[object]]
    plain: Callable[[NaiveQueue, int, list[Reservation]], object]
    paused: bool = False


async def _insert_nowait(queue: TimedQueue, _held: list[Reservation]) -> object:
    queue.insert_nowait(b"x", b"y")
    await queue.len()
    return DONE


async def _delete_nowait(queue: TimedQueue, held: list[Reservation]) -> object:
    queue.delete_nowait(*held)
    await queue.len()
    return DONE


ACTS: Final[dict[str, Act]] = {
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


@attrs.define(eq=False)
class Play:
    """Does the same to a queue on a failing disk and to a plain list."""

    queue: TimedQueue
    disk: Disk
    naive: NaiveQueue
    memory: Callable[[], Seen]
    killed: Callable[[], Seen]  # what would be there if the process were killed now
    answered_at: int = 0  # when the last call was

    @property
    def now(self) -> int:
        return self.queue.clock.now_ns()

    async def both(self, act: Act, held: list[Reservation]) -> object:
        """Do it while nothing fails."""
        answer = await act.real(self.queue, held)
        assert answer == act.plain(self.naive, self.now, held)
        return answer

    async def prepare(self, act: Act) -> list[Reservation]:
        """Let there be messages in each state; return two that are reserved."""
        queue, naive = self.queue, self.naive
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

    async def compare(self, *, either: NaiveQueue | None = None) -> None:
        """See that all agree: what users see, what is in memory, and what is on disk."""
        self.naive.advance(self.now)
        user = await shown(self.queue)
        memory, disk = self.memory(), self.killed()
        if either is not None and memory != expected(self.naive):
            self.naive = either
        assert memory == expected(self.naive)
        assert user == [
            self.naive.peek(state) for state in ("ready", "delayed", "reserved", "buried")
        ]
        assert disk == memory

    async def fail(
        self, act: Act, fault: Fault, number: int, *, lasting: bool, waits: bool
    ) -> bool:
        """Let the n-th step fail; return whether there was one."""
        held = await self.prepare(act)
        begun_at = self.now
        self.disk.fail(fault, number, lasting=lasting)

        outcome = await self._call(act, held, lasting=lasting, waits=waits)
        done = deepcopy(self.naive)  # what waited for the store is carried out when it is answered
        at = begun_at if isinstance(outcome, StoreError) else self.answered_at
        answer = act.plain(done, at, held)

        failed = self.disk.failures > 0
        if isinstance(outcome, StoreError) and outcome.outcome == "not applied":
            assert self.killed() == expected(self.naive)
        await self._see_refusal(outcome, failed=failed, lasting=lasting, waits=waits)
        self.disk.heal()
        await trio.sleep(A_WHILE)
        if isinstance(outcome, StoreError):
            assert failed
            unknown = outcome.outcome == "unknown"
            await self.compare(either=done if unknown else None)
        else:
            assert outcome == answer
            before, self.naive = self.naive, done
            cast_ = answer is DONE and failed  # nobody was told
            await self.compare(either=before if cast_ else None)
        return failed

    async def _call(
        self, act: Act, held: list[Reservation], *, lasting: bool, waits: bool
    ) -> object:
        """Return the answer, or the error."""
        outcome: object = None

        async def call() -> None:
            nonlocal outcome
            try:
                outcome = await act.real(self.queue, held)
                self.answered_at = self.now
            except StoreError as error:
                outcome = error

        with trio.fail_after(A_WHILE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                if waits and lasting:
                    await trio.sleep(A_WHILE / 10)
                    self.disk.heal()
        return outcome

    async def _see_refusal(
        self, outcome: object, *, failed: bool, lasting: bool, waits: bool
    ) -> None:
        """While it fails nobody else gets in."""
        if failed and lasting and not waits and isinstance(outcome, StoreError):
            for _ in range(2):
                with pytest.raises(StoreError) as caught:
                    await self.queue.insert(b"z")
                assert caught.value.outcome == "not applied"
                await trio.sleep(1)


VALUES: Final = [b"1", b"2", b"3", b"4", b"5"]


async def sweep(path: Path, act: Act, fault: Fault, **options: object) -> int:
    """Let one step after the other fail, once and for a while; return how many there were."""
    disk = Disk()
    waits = options.get("on_failure") == "wait"
    steps = 0
    try:
        async with running(path, store_on(disk), **options) as runtime:  # type: ignore[arg-type] # the store's
            queue = await define(runtime)
            killed = partial(on_disk, path, path.with_name("copy.sqlite"))
            play = Play(queue, disk, a_model(), partial(in_memory, runtime), killed)
            for lasting in (False, True):
                number = 1
                while await play.fail(act, fault, number, lasting=lasting, waits=waits):
                    number += 1
                    steps += 1
        async with running(path) as runtime:
            play.queue = await define(runtime)
            play.memory = partial(in_memory, runtime)
            await play.compare()
    finally:
        disk.unregister()
    return steps


def _run(path: Path, name: str, fault: Fault, threshold: float = 0.0, **options: object) -> int:
    clock = MockClock(autojump_threshold=threshold)
    return trio.run(lambda: sweep(path, ACTS[name], fault, **options), clock=clock)


MODES: Final = [
    *product(["full", "short", "readonly", "io", "fsync", "read"], ["error", "wait"], ["power"]),
    ("io", "error", "process"),
    ("io", "wait", "process"),
]


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(("fault", "on_failure", "durability"), MODES)
@pytest.mark.parametrize("name", ACTS)
def test_a_disk_that_fails_at_any_step_harms_nothing(
    name: str, fault: Fault, on_failure: str, durability: str, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"

    steps = _run(path, name, fault, on_failure=on_failure, durability=durability)

    assert steps > 0 or fault == "read"


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(("fault", "on_failure"), list(product(["io", "full"], ["error", "wait"])))
@pytest.mark.parametrize("name", ["insert", "reserve_many", "delete", "clear"])
def test_a_disk_that_fails_in_a_thread_harms_nothing(
    name: str, fault: Fault, on_failure: str, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"

    # The clock must not jump while the thread works; if it does, the outcome is unknown.
    steps = _run(
        path, name, fault, 0.02, commit="thread", on_failure=on_failure, durability="power"
    )

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
    clock = MockClock(autojump_threshold=0.02 if commit == "thread" else 0)
    path = tmp_path / "store.sqlite"

    steps = trio.run(partial(_several, path, fault, commit=commit, durability="power"), clock=clock)

    assert steps >= (1 if fault == "fsync" else 3)
