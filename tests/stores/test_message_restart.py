"""What a restart of the process leaves of a message queue, and the few things that it ends."""

from __future__ import annotations

import shutil
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from queueactors import ClaimLostError, StoreError
from tests.stores.kit import (
    LONG,
    MessageModel,
    define_messages,
    in_memory,
    on_disk,
    running,
)
from tests.stores.test_message_faults import ACTS, Held
from tests.stores.test_restart import SECOND, START, World
from tests.stores.vfs import Disk, store_on
from tests.torture import TORTURE

if TYPE_CHECKING:
    from pathlib import Path

    from queueactors import MessageQueue, Runtime


@attrs.define
class Email:
    """What a typed queue holds."""

    to: str


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "store.sqlite")


# -- all of it -----------------------------------------------------------------------------------


async def _lives(world: World, random: Random) -> int:
    """Do anything in any order, with restarts in between; return how much was done."""
    model = MessageModel.new()
    done = 0
    for _ in range(12):
        async with world.life() as runtime:
            queue = await define_messages(runtime)
            for _ in range(random.randrange(25)):
                await trio.sleep(random.choice([0, 0, 1, 3e5]))
                await _both(queue, model, random)
                done += 1
            assert in_memory(runtime) == model.seen(queue.clock.now_ns())
        world.pass_time(random.choice([0, 1, 3e5]))
        async with world.life() as runtime:
            queue = await define_messages(runtime)
            assert await queue.queue_content() == model.core.content(
                queue.clock.now_ns(), model.core.ids(queue.clock.now_ns()).ids
            )
            assert in_memory(runtime) == model.seen(queue.clock.now_ns())
    return done


async def _both(queue: MessageQueue, model: MessageModel, random: Random) -> None:
    """Do something to both that need not wait."""
    now = queue.clock.now_ns()
    model.core.advance(now)
    names = [each for each in ACTS if each not in {"clear", "claim"}]
    held = [
        Held(each.key, each.id, each.mid, each.deadline_at)
        for each in model.core.records.messages.values()
        if each.state == "locked"
    ]
    if model.core.queue_status(now).nqueued and model.core.records.paused_until is None:
        names += ["claim", "claim_many"] * 4
    elif "claim_many" in names:
        names.remove("claim_many")
    if len(held) < 2:
        names = [each for each in names if not ACTS[each].holds]
    act = ACTS[random.choice(names)]
    answer = await act.real(queue, held[:2])
    assert answer == act.plain(model.core, now, held[:2])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3 * TORTURE))
def test_any_history_with_restarts_goes_as_without_them(seed: int, world: World) -> None:
    clock = MockClock(autojump_threshold=0)

    done = trio.run(partial(_lives, world, Random(seed)), clock=clock)

    assert done > 30


async def _read_again(path: Path, disk: Disk, random: Random) -> None:
    """Do anything, while the file is read again and again because a commit failed."""
    model = MessageModel.new()
    async with running(path, make=store_on(disk)) as runtime:
        queue = await define_messages(runtime)
        for _ in range(60):
            await trio.sleep(random.choice([0, 0, 1, 3e5]))
            if random.random() < 0.3:
                disk.fail("full", lasting=False)
                with pytest.raises(StoreError):
                    await queue.enqueue(b"not applied")
                await trio.sleep(100)
            await _both(queue, model, random)
            await queue.len()  # it has been read again
            now = queue.clock.now_ns()
            assert in_memory(runtime) == model.seen(now)
            assert MessageModel.read(path, path.with_name("copy")).seen(now) == model.seen(now)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2 * TORTURE))
def test_any_history_goes_as_in_memory_however_often_the_file_is_read_again(
    seed: int, tmp_path: Path
) -> None:
    disk = Disk()
    clock = MockClock(autojump_threshold=0)

    trio.run(_read_again, tmp_path / "store.sqlite", disk, Random(seed), clock=clock)

    disk.unregister()


# -- each thing by itself ------------------------------------------------------------------------


async def fill(queue: MessageQueue) -> dict[str, int]:
    """Let there be a message of each status; return the keys of the claims."""
    for mid in ("locked", "requeued", "done", "done again", "back"):
        await queue.enqueue(mid.encode(), mid, lock_time=50)
    keys = {claim.mid: claim.key for claim in await queue.claim_many(5)}
    await queue.enqueue(b"2nd", "requeued", can_requeue=True, lock_time=7)
    await queue.finish(keys.pop("done"), "success", 100)
    await queue.enqueue(b"2nd", "done again", can_requeue=True)
    await queue.finish(keys.pop("done again"), "success", 200)
    await queue.finish(keys.pop("back"), "retry", 300)
    await queue.enqueue(b"late", "late", init_backoff=400)
    await queue.enqueue(b"ready", "ready")
    return keys


STATUSES = {
    "locked": "locked",
    "requeued": "locked-with-requeue",
    "done": "done-with-backoff",
    "done again": "done-with-requeue",
    "back": "queued-with-backoff",
    "late": "queued-with-backoff",
    "ready": "queued",
}


@pytest.mark.parametrize("killed", [False, True])
async def test_every_message_is_what_it_was(
    world: World, autojump_clock: MockClock, *, killed: bool
) -> None:
    async with world.life() as runtime:
        queue = await define_messages(runtime)
        keys = await fill(queue)
        await trio.sleep(10)
        before = await queue.queue_content(), in_memory(runtime)
        if killed:
            on_disk(world.path, world.path.with_name("killed"))
    if killed:
        shutil.move(world.path.with_name("killed"), world.path)

    async with world.life() as runtime:
        queue = await define_messages(runtime)
        found = await queue.queue_content()
        assert (found, in_memory(runtime)) == before
        assert {mid: info.status for mid, info in found.items()} == STATUSES
        assert found["back"].backoff == 290
        assert found["back"].attempts == 1
        assert found["done"].backoff == 90
        assert found["ready"].age == 10
        await queue.finish(keys["locked"])
        assert await queue.extend(keys["requeued"], 5) == START + 15 * SECOND
        await queue.finish(keys["requeued"])
        assert await queue.message_status("locked") is None
        assert await queue.message_status("requeued") == "queued"
        first, second = await queue.claim_many(9)
        assert (first.message, first.lock_time, first.attempt) == (b"ready", 1e6, 1)
        assert (second.message, second.lock_time, second.attempt) == (b"2nd", 7, 1)
        assert second.key > first.key > max(keys.values())


async def test_what_ended_meanwhile_has_ended_then(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        queue = await define_messages(runtime)
        keys = await fill(queue)
    world.pass_time(250)

    async with world.life() as runtime:
        queue = await define_messages(runtime)
        found = await queue.queue_content()
        assert {mid: info.status for mid, info in found.items()} == {
            "locked": "queued",
            "requeued": "queued",
            "done again": "queued",
            "back": "queued-with-backoff",
            "late": "queued-with-backoff",
            "ready": "queued",
        }
        for key in keys.values():
            with pytest.raises(ClaimLostError):
                await queue.finish(key)
        with pytest.raises(ClaimLostError):
            await queue.extend(keys["locked"])
        again = await queue.enqueue(b"new", "done")
        assert again.action == "added"
        claims = await queue.claim_many(9)
        # in the order of the instants at which they became ready
        assert [(each.mid, each.message, each.attempt) for each in claims] == [
            ("ready", b"ready", 1),
            ("locked", b"locked", 2),
            ("requeued", b"requeued", 2),
            ("done again", b"2nd", 1),
            ("done", b"new", 1),
        ]
        assert claims[3].age == 50  # since its turn came
        assert await queue.message_status("requeued") == "locked-with-requeue"


async def test_the_rows_of_what_ended_meanwhile_go(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        queue = await define_messages(runtime)
        for number in range(5):
            await queue.enqueue(b"x", str(number))
            await (await queue.claim()).finish("success", 10)
    copy = world.path.with_name("copy")
    assert len(on_disk(world.path, copy).messages) == 5
    world.pass_time(11)

    async with world.life() as runtime:
        queue = await define_messages(runtime)
        assert await queue.len() == 0
        assert on_disk(world.path, copy).messages == {}


async def test_what_is_to_come_comes_at_its_instant(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        await fill(await define_messages(runtime))
    world.pass_time(40)

    async with world.life() as runtime:
        queue = await define_messages(runtime)
        came = []
        for _ in range(6):
            claim = await queue.claim()
            came.append((claim.mid, (runtime.clock.now_ns() - START) // SECOND))
            await claim.extend(LONG)
        assert came == [
            ("ready", 40),
            ("locked", 50),
            ("requeued", 50),
            ("done again", 200),
            ("back", 300),
            ("late", 400),
        ]


async def test_an_update_is_what_comes_out(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        queue = await define_messages(runtime)
        await queue.enqueue(b"1", "a")
        await queue.enqueue(b"1", "b")
        await queue.enqueue(b"1", "c", init_backoff=5)
        await queue.enqueue(b"2", "a", can_update=True, lock_time=3)
        await queue.enqueue(b"2", "c", can_update=True, reset_init_backoff=True, init_backoff=1)
        claim = await queue.claim()
        await queue.enqueue(b"2", "a", can_requeue=True)
        await queue.enqueue(b"3", "a", can_requeue=True, can_update=True)
        assert (claim.message, claim.lock_time) == (b"2", 3)

    async with world.life() as runtime:
        queue = await define_messages(runtime)
        await queue.finish(claim.key)
        claims = [await queue.claim() for _ in range(3)]
        assert [(each.mid, each.message) for each in claims] == [
            ("b", b"1"),
            ("a", b"3"),
            ("c", b"2"),
        ]
        assert runtime.clock.now_ns() == START + SECOND


async def test_keys_and_ids_are_not_used_again(world: World, autojump_clock: MockClock) -> None:
    keys, ids = [], []
    for _ in range(4):
        async with world.life() as runtime:
            queue = await define_messages(runtime)
            await queue.enqueue(b"1", "x")
            claim = await queue.claim()
            keys.append(claim.key)
            ids.append(claim.id)
            await claim.finish()
        world.pass_time(-1000)  # somebody has set the clock

    assert keys == sorted(set(keys))
    assert ids == sorted(set(ids))


async def test_a_pause_goes_on(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        queue, stopped = await _two(runtime)
        await queue.enqueue(b"1")
        await stopped.enqueue(b"1")
        await queue.pause(10)
        await stopped.pause()
    world.pass_time(4)

    async with world.life() as runtime:
        queue, stopped = await _two(runtime)
        assert (await queue.statistics()).paused
        await queue.claim()
        assert runtime.clock.now_ns() == START + 10 * SECOND
        assert await stopped.try_claim() is None
        await stopped.resume()
        assert await stopped.try_claim() is not None


async def _two(runtime: Runtime) -> tuple[MessageQueue, MessageQueue]:
    return await define_messages(runtime), await define_messages(runtime, "stopped")


async def test_a_new_life_counts_from_zero_and_takes_in_again(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_messages(runtime)
        await fill(queue)
        await queue.close()

    async with world.life() as runtime:
        queue = await define_messages(runtime)
        told = await queue.statistics()
        assert (told.added, told.claimed, told.closed) == (0, 0, False)
        assert (told.queued, told.locked, told.backoff, told.done, told.requeues) == (1, 2, 2, 2, 2)
        assert (await queue.enqueue(b"2")).success


async def test_max_length_counts_what_is_there(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        await fill(await define_messages(runtime))

    async with world.life() as runtime:
        queue = await define_messages(runtime, max_length=8)  # 7 to handle, 2 of them requeues
        assert await queue.enqueue(b"1")
        with pytest.raises(trio.TooSlowError):
            await queue.wait_enqueue(b"2", timeout=1)


# -- release_on_start ----------------------------------------------------------------------------


async def test_release_on_start_ends_the_locks_of_the_dead(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_messages(runtime)
        keys = await fill(queue)

    async with world.life(release_on_start=True) as runtime:
        queue = await define_messages(runtime)
        assert await queue.message_status("done") == "done-with-backoff"
        with pytest.raises(ClaimLostError):
            await queue.finish(keys["locked"])
        claims = await queue.claim_many(9)
        assert sorted((each.mid, each.attempt) for each in claims) == [
            ("locked", 2),
            ("ready", 1),
            ("requeued", 2),
        ]
        await runtime.restart("q")
        assert await queue.message_status("requeued") == "locked-with-requeue"
        await queue.finish(claims[0].key)


# -- codecs --------------------------------------------------------------------------------------


async def test_a_typed_message_comes_back_in_its_class(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_messages(runtime, codec="msgpack", type=Email)
        await queue.enqueue(Email("ann"), "a")
        await queue.enqueue(Email("bob"), "a", can_update=True)

    async with world.life() as runtime:
        queue = await define_messages(runtime, codec="msgpack", type=Email)
        assert (await queue.queue_content())["a"].message == Email("bob")
        assert (await queue.claim()).message == Email("bob")


async def test_an_update_is_in_the_codec_that_the_queue_has_now(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_messages(runtime, codec="json")
        await queue.enqueue("1", "a")
        await queue.enqueue("1", "b")

    async with world.life() as runtime:
        queue = await define_messages(runtime, codec="msgpack")
        await queue.enqueue(b"2", "a", can_update=True)
        await queue.claim()

    async with world.life(release_on_start=True) as runtime:
        queue = await define_messages(runtime, codec="bytes")
        found = await queue.queue_content()
        assert {mid: info.message for mid, info in found.items()} == {"a": b"2", "b": "1"}


async def test_what_cannot_be_decoded_is_set_aside_with_its_name(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_messages(runtime, codec="pickle")
        await queue.enqueue({"a set"}, "a")
        await queue.enqueue({"another"}, "b")

    async with world.life() as runtime:
        queue = await define_messages(runtime, codec="msgpack")
        told = await queue.statistics()
        assert (told.set_aside, told.queued) == (2, 0)
        assert await queue.message_status("a") is None
        assert (await queue.enqueue("mine", "a")).action == "added"
        await queue.enqueue("other", "c")
        await queue.clear()
        assert (await queue.enqueue("mine", "a")).action == "added"

    async with world.life() as runtime:
        queue = await define_messages(runtime, codec="pickle", type=None)
        found = {mid: info.message for mid, info in (await queue.queue_content()).items()}
        assert found == {"a": {"a set"}, "b": {"another"}, "a#5": "mine"}
