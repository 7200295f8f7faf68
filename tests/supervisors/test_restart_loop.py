"""Section G of the conformance list: a child that loops in failed restarts is controllable."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    Backoff,
    ChildAlreadyPresentError,
    ChildCounts,
    ChildRestartingError,
    ChildSpec,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, hang_in_init, settle, states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from supervisors import ChildStatus, Strategy, Supervisor

PACE = Backoff(min=1, max=1, jitter=0)


every_strategy = pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])


@asynccontextmanager
async def looping(stage: Stage, strategy: Strategy) -> AsyncIterator[Supervisor]:
    """Open a supervisor whose child ``b`` fails to restart, again and again."""
    async with open_supervisor(
        stage.specs("ab", backoff=PACE), strategy=strategy, intensity=10**6
    ) as supervisor:
        stage.fails_next("b", times=10**3)
        await stage.crash("b")
        await trio.sleep(10.5)
        assert states(supervisor)["b"] == "restarting"
        yield supervisor


@every_strategy
async def test_start_child_is_refused(
    stage: Stage, strategy: Strategy, autojump_clock: trio.testing.MockClock
) -> None:  # G 69 to 71
    async with looping(stage, strategy) as supervisor:
        with pytest.raises(ChildAlreadyPresentError):
            await supervisor.start_child(stage.spec("b"))


@every_strategy
async def test_restart_child_is_refused(
    stage: Stage, strategy: Strategy, autojump_clock: trio.testing.MockClock
) -> None:
    async with looping(stage, strategy) as supervisor:
        with pytest.raises(ChildRestartingError):
            await supervisor.restart_child("b")


@every_strategy
async def test_delete_child_is_refused(
    stage: Stage, strategy: Strategy, autojump_clock: trio.testing.MockClock
) -> None:
    async with looping(stage, strategy) as supervisor:
        with pytest.raises(ChildRestartingError):
            await supervisor.delete_child("b")


@every_strategy
async def test_counts_are_right(
    stage: Stage, strategy: Strategy, autojump_clock: trio.testing.MockClock
) -> None:
    async with looping(stage, strategy) as supervisor:
        active = 1 if supervisor.flags.strategy != "one_for_all" else 0
        assert supervisor.count_children() == ChildCounts(
            specs=2, active=active, supervisors=0, workers=2
        )


@every_strategy
async def test_terminate_child_ends_the_loop(
    stage: Stage, strategy: Strategy, autojump_clock: trio.testing.MockClock
) -> None:
    async with looping(stage, strategy) as supervisor:
        await supervisor.terminate_child("b")
        fails = stage.journal.count("fail b")
        await trio.sleep(100)

        assert states(supervisor) == {"a": "running", "b": "stopped"}
        assert stage.journal.count("fail b") == fails


@every_strategy
async def test_the_child_comes_back_when_the_cause_is_gone(
    stage: Stage, strategy: Strategy, autojump_clock: trio.testing.MockClock
) -> None:
    async with looping(stage, strategy) as supervisor:
        stage.failures.clear()
        await trio.sleep(2)

        assert states(supervisor) == {"a": "running", "b": "running"}


@every_strategy
async def test_restart_child_works_after_terminate_child(
    stage: Stage, strategy: Strategy, autojump_clock: trio.testing.MockClock
) -> None:
    async with looping(stage, strategy) as supervisor:
        await supervisor.terminate_child("b")
        stage.failures.clear()

        await supervisor.restart_child("b")

        assert states(supervisor)["b"] == "running"


@every_strategy
async def test_the_supervisor_can_be_stopped(
    stage: Stage, strategy: Strategy, autojump_clock: trio.testing.MockClock
) -> None:
    async with looping(stage, strategy) as supervisor:
        began = trio.current_time()
        supervisor.stop()
        await supervisor.wait()

        assert trio.current_time() == began


async def test_calls_are_served_between_attempts_without_backoff(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    """As in OTP: an attempt that fails at once, and in no time, does not starve them."""

    async def brittle(*, task_status: ChildStatus) -> None:
        if stage.starts["a"]:
            stage.starts["a"] += 1
            await trio.lowlevel.checkpoint()
            raise Boom
        await stage.play("a", task_status=task_status)

    spec = ChildSpec(id="a", start=brittle, backoff=NO_BACKOFF)
    async with open_supervisor([spec], intensity=10**6) as supervisor:
        stage.end("a", Boom())
        while stage.starts["a"] < 20:
            await trio.lowlevel.checkpoint()
        await supervisor.terminate_child("a")

        assert states(supervisor) == {"a": "stopped"}


async def test_a_restart_that_an_operator_is_about_to_cancel_waits_for_that(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    """Another call is served first, and no time passes between the two."""
    stage.slow["b"] = 1
    async with open_supervisor(stage.specs("abc")) as supervisor:
        async with trio.open_nursery() as nursery:
            for each in "bca":
                nursery.start_soon(supervisor.terminate_child, each)
                await settle()
            stage.end("a", Boom())

        assert set(states(supervisor).values()) == {"stopped"}
        assert stage.starts["a"] == 1


async def test_a_stop_interrupts_a_restart_that_hangs(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    hang = False

    async def start(*, task_status: ChildStatus) -> None:
        if hang:
            await hang_in_init(task_status=task_status)
        await stage.play("a", task_status=task_status)

    async with open_supervisor([ChildSpec(id="a", start=start)]) as supervisor:
        hang = True
        await stage.crash("a")
        assert states(supervisor) == {"a": "restarting"}

    assert states(supervisor) == {"a": "stopped"}


async def test_a_stop_during_a_restart_starts_no_other_that_is_due_too(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    started: list[str] = []
    hang = False

    async def start(id: str, *, task_status: ChildStatus) -> None:
        started.append(id)
        if hang:
            await hang_in_init(task_status=task_status)
        await stage.play(id, task_status=task_status)

    specs = [ChildSpec(id=id, start=start, args=(id,), backoff=PACE) for id in "ab"]  # noqa: A001
    async with open_supervisor(specs, intensity=9) as supervisor:
        for each in "aabb":
            await stage.crash(each)
        hang = True
        started.clear()
        await trio.sleep(1.5)
        assert started == ["a"]

    assert started == ["a"]
    assert set(states(supervisor).values()) == {"stopped"}


async def test_a_stop_during_an_administration_call_starts_nothing_more(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    """The call took long, a restart has become due meanwhile, and it would hang."""
    hang = False

    async def start(*, task_status: ChildStatus) -> None:
        if hang:
            await hang_in_init(task_status=task_status)
        await stage.play("a", task_status=task_status)

    stage.slow["b"] = 3
    specs = [ChildSpec(id="a", start=start, backoff=PACE), stage.spec("b")]
    async with trio.open_nursery() as nursery:
        async with open_supervisor(specs, intensity=9) as supervisor:
            await stage.crash("a")
            await stage.crash("a")
            hang = True
            nursery.start_soon(supervisor.terminate_child, "b")
            await trio.sleep(2)
        assert states(supervisor) == {"a": "stopped", "b": "stopped"}


async def test_an_unrelated_call_during_backoff_changes_no_date(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_supervisor(stage.specs("ab", backoff=PACE), intensity=9) as supervisor:
        await stage.crash("a")
        await stage.crash("a")
        at = trio.current_time()
        await trio.sleep(0.5)
        await supervisor.terminate_child("b")
        await trio.sleep(0.6)
        await settle()

        assert supervisor.which_children()[0].since_at == at + 1


async def test_a_date_that_was_cancelled_is_not_kept(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    """It lies in the heap beside another one that is due."""
    async with open_supervisor(stage.specs("ab", backoff=PACE), intensity=99) as supervisor:
        for each in "aabb":
            await stage.crash(each)
        await trio.sleep(0.5)
        await supervisor.terminate_child("b")
        await supervisor.restart_child("b")
        for each in "bb":
            await stage.crash(each)
        await trio.sleep(0.75)

        assert states(supervisor) == {"a": "running", "b": "restarting"}
