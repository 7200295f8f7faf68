"""`TimedQueue.reserved` when the queue falls over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import LiveReservation, Reservation, ReservationNotFoundError
from supervisors import ActorDownError

from .kit import Boom, FaultyStore, crash_once, everything_in, running, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

    from .kit import Rig

both = pytest.mark.parametrize("keep_alive", [False, True])


@both
async def test_a_crash_at_the_end_of_a_block_does_not_bring_its_message_back(
    keep_alive: bool,  # noqa: FBT001
    autojump_clock: MockClock,
) -> None:
    async with running(FaultyStore(crash_once("delete", "delete"))) as rig:
        await rig.queue.insert("a")

        async with rig.queue.reserved(keep_alive=keep_alive):
            pass

        await settle()
        assert await rig.queue.len() == 0
        assert rig.actor.restarts == 2


@both
async def test_a_crash_while_a_message_is_given_back_is_no_obstacle(
    keep_alive: bool,  # noqa: FBT001
    autojump_clock: MockClock,
) -> None:
    async with running(FaultyStore(crash_once("release"))) as rig:
        await rig.queue.insert("a")

        with pytest.raises(Boom) as caught:
            await fail_in_block(rig, keep_alive=keep_alive)

        assert await rig.queue.try_reserve()
        assert not hasattr(caught.value, "__notes__")


async def test_a_crash_while_a_reservation_is_extended_does_not_end_the_block(
    autojump_clock: MockClock,
) -> None:
    async with running(FaultyStore(crash_once(*["touch"] * 7))) as rig:
        await rig.queue.insert("a")

        async with rig.queue.reserved(9, keep_alive=True):
            await trio.sleep(100)

        assert await rig.queue.len() == 0


async def test_a_block_that_is_kept_alive_outlives_a_stop_of_the_queue(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.insert("a")

        async with rig.queue.reserved(30, keep_alive=True):
            await rig.supervisor.terminate_child("q")
            await trio.sleep(15)
            await rig.supervisor.restart_child("q")
            await trio.sleep(100)

        assert await rig.queue.len() == 0


@both
async def test_a_message_that_cannot_be_given_back_is_noted_with_the_error(
    keep_alive: bool,  # noqa: FBT001
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.insert("a")

        with pytest.raises(Boom) as caught:
            await fail_in_block(rig, keep_alive=keep_alive, clear=True)

        (note,) = caught.value.__notes__
        assert note.startswith("its reservation was not given back: ReservationNotFoundError: ")


async def fail_in_block(rig: Rig, *, keep_alive: bool, clear: bool = False) -> None:
    async with rig.queue.reserved(keep_alive=keep_alive):
        if clear:
            await rig.queue.clear()
        raise Boom


@both
async def test_a_queue_that_is_down_at_the_end_of_a_block_is_told(
    keep_alive: bool,  # noqa: FBT001
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.insert("a")

        with pytest.raises(ActorDownError):
            await stop_in_block(rig, keep_alive=keep_alive)

        await rig.supervisor.restart_child("q")
        assert await everything_in(rig.queue) == ["a"]


async def stop_in_block(rig: Rig, *, keep_alive: bool) -> None:
    async with rig.queue.reserved(keep_alive=keep_alive):
        await rig.supervisor.terminate_child("q")


@both
async def test_a_group_of_errors_leaves_the_block_as_it_is(
    keep_alive: bool,  # noqa: FBT001
    autojump_clock: MockClock,
) -> None:
    group = ExceptionGroup("two", [Boom(1), KeyError(2)])
    async with running() as rig:
        await rig.queue.insert("a")

        with pytest.raises(ExceptionGroup) as caught:
            await raise_in_block(rig, group, keep_alive=keep_alive)

        assert caught.value is group
        assert await rig.queue.try_reserve()


async def raise_in_block(rig: Rig, error: Exception, *, keep_alive: bool) -> None:
    async with rig.queue.reserved(keep_alive=keep_alive):
        raise error


async def test_a_lost_reservation_does_not_hide_the_error_of_the_block(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.insert("a")

        with pytest.raises(Boom):
            await fail_in_block(rig, keep_alive=True, clear=True)


async def test_a_reservation_is_extended_after_a_third_of_its_time(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.insert("a")

        async with rig.queue.reserved(9, keep_alive=True) as live:
            first = live.deadline_at
            await trio.sleep(2.9)
            assert live.deadline_at == first
            await trio.sleep(0.2)
            assert live.deadline_at == first + 3_000_000_000


async def test_a_block_that_is_kept_alive_can_see_that_its_reservation_is_lost(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.insert("a", "b")

        with pytest.raises(ReservationNotFoundError):
            await see_the_loss(rig)

        async with rig.queue.reserved(9, keep_alive=True) as live:
            await trio.sleep(30)
            assert not live.lost


async def see_the_loss(rig: Rig) -> None:
    async with rig.queue.reserved(9, keep_alive=True) as live:
        await trio.sleep(4)
        await rig.queue.remove(live.id)
        await trio.sleep(1.9)
        assert not live.lost
        await trio.sleep(0.2)
        assert live.lost


def test_a_live_reservation_shows_the_present_one() -> None:
    live = LiveReservation(
        Reservation(id=1, key=2, value="v", deadline_at=3, attempt=4, inserted_at=5)
    )

    assert (live.id, live.key, live.value, live.deadline_at, live.attempt) == (1, 2, "v", 3, 4)
    assert not live.lost
    assert repr(live) == (
        "<LiveReservation of Reservation(id=1, key=2, value='v', deadline_at=3, attempt=4, "
        "inserted_at=5)>"
    )


async def test_a_live_reservation_can_be_used_like_any_other(autojump_clock: MockClock) -> None:
    async with running() as rig:
        await rig.queue.insert("a")

        with pytest.raises(ReservationNotFoundError):
            await delete_in_block(rig)

        assert await rig.queue.len() == 0


async def delete_in_block(rig: Rig) -> None:
    async with rig.queue.reserved() as live:
        await rig.queue.delete(live)
