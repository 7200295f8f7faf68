"""Dynamic supervisors: restarts, parking, significant children."""
# ruff: noqa: A001, PT012 - OTP's words; the body belongs to what raises

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    IGNORE,
    Backoff,
    ChildCounts,
    ChildNotFoundError,
    ChildRestartingError,
    ChildSpec,
    ChildStartError,
    RestartIntensityError,
    RestartType,
    Shutdown,
    open_dynamic_supervisor,
)

from .kit import Boom, Stage, idle, settle, states, until_cancelled

if TYPE_CHECKING:
    from supervisors import ChildStatus


PACE = Backoff(min=1, max=1, jitter=0)


async def slow_to_start(seconds: float, *, task_status: ChildStatus) -> None:
    await trio.sleep(seconds)
    task_status.started()
    await trio.sleep_forever()


# -- E and F: restarts -------------------------------------------------------------------------


async def test_only_the_victim_is_replaced(stage: Stage) -> None:  # E 60
    async with open_dynamic_supervisor() as pool:
        first, second = [await pool.start_child(stage.spec(id)) for id in "ab"]
        await stage.crash("a")

        assert (first.value, second.value) == ("a#2", "b#1")
        assert [child.restarts for child in pool.which_children()] == [1, 0]
        assert stage.journal == ["start a", "start b", "stop a", "start a"]


async def test_all_children_share_one_intensity(stage: Stage) -> None:  # F 63
    with pytest.raises(RestartIntensityError, match="child 'c' exceeded its restart") as caught:
        async with open_dynamic_supervisor(intensity=2) as pool:
            children = [await pool.start_child(stage.spec(id)) for id in "abcd"]
            for id in "abc":
                await stage.crash(id)
            await until_cancelled()

    assert [str(error) for error in caught.value.exceptions] == ["a", "b", "c"]
    assert {child.state for child in children} == {"stopped"}
    assert stage.journal.count("stop d") == 1


async def test_restarts_further_apart_than_the_period_never_end_it(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:  # F 64
    async with open_dynamic_supervisor(intensity=1, period=5) as pool:
        child = await pool.start_child(stage.spec("a"))
        for _ in range(20):
            await stage.crash("a")
            await trio.sleep(5.001)

        assert child.value == "a#21"


async def test_starts_that_keep_failing_at_a_restart_end_it(stage: Stage) -> None:  # F 65
    with pytest.raises(RestartIntensityError):
        async with open_dynamic_supervisor(intensity=3) as pool:
            for id in "ab":
                await pool.start_child(stage.spec(id))
            stage.fails_next("a", 99)
            await stage.crash("a")
            await until_cancelled()

    assert stage.journal.count("fail a") == 3
    assert stage.journal[-1] == "stop b"


async def test_a_child_that_ignores_at_its_restart_is_forgotten() -> None:
    async def once(*, task_status: ChildStatus) -> None:
        starts.append(1)
        task_status.started(IGNORE if len(starts) > 1 else None)
        raise Boom

    starts: list[int] = []
    async with open_dynamic_supervisor() as pool:
        child = await pool.start_child(ChildSpec(id="a", start=once))
        await settle()

        assert states(pool) == {}
        assert (child.state, child.value) == ("finished", IGNORE)


@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_a_child_that_ends_in_order_is_forgotten(
    stage: Stage, restart: RestartType
) -> None:  # D 53
    async with open_dynamic_supervisor() as pool:
        first, second = [await pool.start_child(stage.spec(id, restart=restart)) for id in "ab"]
        await stage.leave("a")
        stage.end("b", Shutdown("done"))
        await settle()

        assert states(pool) == {}
        assert (first.state, second.state) == ("finished", "finished")
        with pytest.raises(ChildNotFoundError):
            await first.restart()


async def test_a_temporary_child_that_crashes_is_forgotten(stage: Stage) -> None:  # D 53
    async with open_dynamic_supervisor(intensity=0) as pool:
        await pool.start_child(stage.spec("a", restart="temporary"))
        await stage.crash("a")

        assert states(pool) == {}


async def test_a_new_child_of_an_old_id_begins_a_backoff_of_its_own(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    async with open_dynamic_supervisor(intensity=9) as pool:
        child = await pool.start_child(stage.spec("a", backoff=PACE))
        await stage.crash("a")
        await stage.crash("a")
        assert child.state == "restarting"
        await child.terminate()

        again = await pool.start_child(stage.spec("a", backoff=PACE))
        await stage.crash("a")

        assert (again.state, again.value) == ("running", "a#4")


# -- a restart that fails ----------------------------------------------------------------------


async def test_a_restart_that_a_waiting_call_ends_is_not_made(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    """It falls due while the supervisor is busy: the call is not next, but it comes first."""
    async with trio.open_nursery() as nursery, open_dynamic_supervisor(intensity=9) as pool:
        child = await pool.start_child(stage.spec("a", backoff=PACE))
        stage.fails_next("a")
        await stage.crash("a")
        assert child.state == "restarting"

        for spec in (ChildSpec(id="b", start=slow_to_start, args=(2,)), stage.spec("c")):
            nursery.start_soon(pool.start_child, spec)
            await trio.sleep(0.1)
        await child.terminate()

        assert states(pool) == {"b": "running", "c": "running"}
        assert stage.starts["a"] == 2


# -- G: a restart that fails -------------------------------------------------------------------


async def test_everything_is_answered_while_a_child_restarts(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:  # G 71
    async with open_dynamic_supervisor(intensity=99) as pool:
        child = await pool.start_child(stage.spec("a", backoff=PACE))
        stage.fails_next("a", 5)
        await stage.crash("a")
        await trio.sleep(2.5)

        assert (child.state, child.value) == ("restarting", "a#1")
        assert pool.value_of("a") is None
        assert pool.count_children() == ChildCounts(specs=1, active=0, supervisors=0, workers=1)
        with pytest.raises(ChildRestartingError, match="about to be restarted"):
            await child.restart()
        assert (await pool.start_child(ChildSpec(id="a", start=idle))).id == "a#2"
        await trio.sleep(3)
        assert (child.state, child.value) == ("running", "a#7")


async def test_a_supervisor_with_a_restarting_child_can_be_stopped(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:  # G 71
    async with open_dynamic_supervisor(intensity=99) as pool:
        child = await pool.start_child(stage.spec("a", backoff=PACE))
        stage.fails_next("a", 5)
        await stage.crash("a")

    assert child.state == "stopped"
    assert stage.starts["a"] == 2


async def test_terminate_ends_a_restart(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:  # G 72
    async with open_dynamic_supervisor(intensity=99) as pool:
        child = await pool.start_child(stage.spec("a", backoff=PACE))
        stage.fails_next("a")
        await stage.crash("a")

        await child.terminate()

        await trio.sleep(99)
        assert (child.state, stage.starts["a"]) == ("finished", 2)
        with pytest.raises(ChildNotFoundError, match="there is no such child"):
            await child.restart()


async def test_terminate_interrupts_a_child_that_is_being_restarted() -> None:
    async def hangs_the_second_time(*, task_status: ChildStatus) -> None:
        starts.append(1)
        if len(starts) > 1:
            await trio.sleep_forever()
        task_status.started()
        raise Boom

    starts: list[int] = []
    async with open_dynamic_supervisor() as pool:
        child = await pool.start_child(ChildSpec(id="a", start=hangs_the_second_time))
        await settle()

        await child.terminate()

        assert (child.state, len(starts)) == ("finished", 2)


# -- parking -----------------------------------------------------------------------------------


async def test_a_parked_child_restarts_by_hand(stage: Stage) -> None:
    async with open_dynamic_supervisor(intensity=0) as pool:
        child = await pool.start_child(stage.spec("a", on_give_up="park"))
        await stage.crash("a")
        assert states(pool) == {"a": "parked"}
        assert pool.which_children()[0].last_error == "Boom: a"

        assert await child.restart() == "a#2"

        assert (child.state, child.value) == ("running", "a#2")


async def test_a_parked_child_that_does_not_start_stays_parked(stage: Stage) -> None:
    async with open_dynamic_supervisor(intensity=0) as pool:
        child = await pool.start_child(stage.spec("a", on_give_up="park"))
        await stage.crash("a")
        stage.fails_next("a")

        with pytest.raises(ChildStartError):
            await child.restart()

        assert states(pool) == {"a": "parked"}
        assert await child.restart() == "a#3"


async def test_a_parked_child_can_be_terminated(stage: Stage) -> None:
    async with open_dynamic_supervisor(intensity=0) as pool:
        child = await pool.start_child(stage.spec("a", on_give_up="park"))
        await stage.crash("a")

        await child.terminate()

        assert states(pool) == {}
        assert child.state == "finished"


async def test_a_start_that_was_cancelled_leaves_a_parked_child_parked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slow_the_second_time(*, task_status: ChildStatus) -> None:
        if crashed:
            await trio.sleep(1)
        task_status.started(len(crashed))
        crashed.append(True)
        raise Boom

    crashed: list[bool] = []
    spec = ChildSpec(id="a", start=slow_the_second_time, on_give_up="park")
    async with open_dynamic_supervisor(intensity=0) as pool:
        child = await pool.start_child(spec)
        await settle()

        with trio.move_on_after(0.5):
            await child.restart()
        await settle()

        assert (child.state, child.value) == ("parked", 0)


# -- the handle --------------------------------------------------------------------------------


async def test_a_parked_child_that_has_nothing_to_do_is_gone_though_its_caller_has_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def crashes_and_then_ignores(*, task_status: ChildStatus) -> None:
        if crashed:
            task_status.started(IGNORE)
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            return
        task_status.started()
        crashed.append(True)
        raise Boom

    crashed: list[bool] = []
    spec = ChildSpec(id="a", start=crashes_and_then_ignores, on_give_up="park")
    async with open_dynamic_supervisor(intensity=0) as pool:
        child = await pool.start_child(spec)
        await settle()
        assert states(pool) == {"a": "parked"}

        with trio.move_on_after(0.5):
            await child.restart()
        await trio.sleep(1)

        assert states(pool) == {}
        assert child.state == "finished"


# -- I: significant children -------------------------------------------------------------------


async def test_the_end_of_any_significant_child_ends_it(stage: Stage) -> None:  # I 90
    async with open_dynamic_supervisor(auto_shutdown="any_significant") as pool:
        for id in "ab":
            await pool.start_child(stage.spec(id, restart="transient", significant=True))
        await pool.start_child(stage.spec("c"))
        await stage.leave("a")
        await until_cancelled()

    assert sorted(stage.journal[-2:]) == ["stop b", "stop c"]


async def test_the_end_of_the_last_significant_child_ends_it(stage: Stage) -> None:  # I 90
    async with open_dynamic_supervisor(auto_shutdown="all_significant") as pool:
        for id in "ab":
            await pool.start_child(stage.spec(id, restart="temporary", significant=True))
        await pool.start_child(stage.spec("c"))
        await stage.leave("a")
        assert states(pool) == {"b": "running", "c": "running"}
        await stage.crash("b")
        await until_cancelled()


async def test_terminating_significant_children_does_not_end_it(stage: Stage) -> None:  # I 90
    async with open_dynamic_supervisor(auto_shutdown="any_significant") as pool:
        child = await pool.start_child(stage.spec("a", restart="transient", significant=True))
        await child.terminate()
        await settle()

        await pool.start_child(stage.spec("b"))
