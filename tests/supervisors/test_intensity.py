"""Section F of the conformance list: intensity, escalation, backoff, parking."""
# ruff: noqa: PT012 - what raises is a whole `async with`

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    Backoff,
    ChildSpec,
    RestartIntensityError,
    Supervisor,
    child_spec,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, settle, states

if TYPE_CHECKING:
    from supervisors import ChildStatus, Strategy
    from tests.conftest import Events

STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_more_restarts_than_intensity_end_the_supervisor(
    stage: Stage, strategy: Strategy
) -> None:  # F 63
    with pytest.raises(
        RestartIntensityError, match=r"'root' gave up: child 'b'.*Boom: b"
    ) as caught:
        async with open_supervisor(stage.specs("abc"), strategy=strategy, intensity=2):
            for _ in range(3):
                await stage.crash("b")
            pytest.fail("the body must be cancelled")

    assert [str(error) for error in caught.value.exceptions] == ["b", "b", "b"]
    assert isinstance(caught.value.__cause__, Boom)
    assert stage.starts["b"] == 3
    assert stage.journal[-2:] == ["stop c", "stop a"]


async def test_the_window_is_the_supervisors_not_the_childs(stage: Stage) -> None:
    with pytest.raises(RestartIntensityError):
        async with open_supervisor(stage.specs("abc"), intensity=2):
            for each in "abc":
                await stage.crash(each)
            pytest.fail("the body must be cancelled")


async def test_restarts_spaced_beyond_the_window_never_end_it(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:  # F 64
    async with open_supervisor(stage.specs("a"), intensity=1, period=5):
        for _ in range(50):
            await trio.sleep(5.001)
            await stage.crash("a")

    assert stage.starts["a"] == 51


async def test_a_restart_exactly_as_old_as_the_window_still_counts(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:  # 1.5
    with pytest.raises(RestartIntensityError):
        async with open_supervisor(stage.specs("a"), intensity=1, period=8):
            await stage.crash("a")
            await trio.sleep(8)
            await stage.crash("a")
            pytest.fail("the body must be cancelled")


async def test_the_first_exit_ends_a_supervisor_of_intensity_0(stage: Stage) -> None:
    with pytest.raises(RestartIntensityError):
        async with open_supervisor(stage.specs("a"), intensity=0):
            await stage.crash("a")
            pytest.fail("the body must be cancelled")

    assert stage.starts["a"] == 1


async def test_normal_exits_of_a_permanent_child_count(stage: Stage) -> None:
    with pytest.raises(RestartIntensityError) as caught:
        async with open_supervisor(stage.specs("a"), intensity=1):
            await stage.leave("a")
            await stage.leave("a")
            pytest.fail("the body must be cancelled")

    assert caught.value.exceptions == ()
    assert "last error" not in str(caught.value)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_failed_restart_attempts_count(stage: Stage, strategy: Strategy) -> None:  # F 65
    with pytest.raises(RestartIntensityError):
        async with open_supervisor(stage.specs("ab"), strategy=strategy, intensity=3):
            stage.fails_next("a", times=99)
            await stage.crash("a")
            pytest.fail("the body must be cancelled")

    assert stage.journal.count("fail a") == 3
    assert stage.journal.count("stop b") == 1


async def test_a_group_restart_counts_once(stage: Stage) -> None:
    async with open_supervisor(stage.specs("abc"), strategy="one_for_all", intensity=2):
        await stage.crash("a")
        await stage.crash("b")

    assert stage.starts == {"a": 3, "b": 3, "c": 3}


async def test_calls_of_the_api_do_not_count(stage: Stage) -> None:
    async with open_supervisor(stage.specs("a"), intensity=0) as supervisor:
        for _ in range(5):
            await supervisor.terminate_child("a")
            await supervisor.restart_child("a")

    assert stage.starts["a"] == 6


async def test_one_failed_restart_leaves_the_child_running(stage: Stage) -> None:  # F 66
    async with open_supervisor(stage.specs("a"), intensity=2) as supervisor:
        stage.fails_next("a")
        await stage.crash("a")

        assert states(supervisor) == {"a": "running"}
        assert supervisor.which_children()[0].last_error == "Boom: a does not start"


async def test_the_intensity_is_reached_while_a_restart_is_tried_again(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:  # F 67
    pace = Backoff(min=1, max=1, jitter=0)
    with pytest.raises(RestartIntensityError):
        async with open_supervisor(stage.specs("a", backoff=pace), intensity=3, period=100):
            stage.fails_next("a", times=99)
            await stage.crash("a")
            await trio.sleep(50)
            pytest.fail("the body must be cancelled")

    assert stage.journal.count("fail a") == 3


async def test_a_sub_tree_that_gives_up_is_restarted_by_the_upper_one(
    stage: Stage,
) -> None:  # F 68
    low = child_spec("low", stage.specs("ab"), intensity=1, backoff=NO_BACKOFF)
    tree = [stage.spec("x"), low]
    async with open_supervisor(tree, strategy="one_for_all", intensity=1) as supervisor:
        await stage.crash("a")
        assert stage.starts == {"x": 1, "a": 2, "b": 1}
        await stage.crash("a")

        assert stage.starts == {"x": 2, "a": 3, "b": 2}
        assert "RestartIntensityError" in str(supervisor.which_children()[1].last_error)


async def test_a_terminated_transient_sub_supervisor_stays_stopped_in_a_group_restart(
    stage: Stage,
) -> None:  # F 68: OTP brings it back; we remember the operator
    low = child_spec("low", stage.specs("a"), restart="transient")
    async with open_supervisor([stage.spec("x"), low], strategy="one_for_all") as supervisor:
        await supervisor.terminate_child("low")
        await stage.crash("x")

        assert states(supervisor) == {"x": "running", "low": "stopped"}


async def test_a_transient_sub_supervisor_that_gives_up_is_restarted(stage: Stage) -> None:
    """In OTP it would be gone in silence; here giving up is an error like any other."""
    low = child_spec("low", stage.specs("a"), intensity=0, restart="transient")
    async with open_supervisor([low]) as supervisor:
        await stage.crash("a")

        assert states(supervisor) == {"low": "running"}
        assert stage.starts["a"] == 2


async def test_restart_numbers_multiply_over_the_levels(stage: Stage) -> None:
    low = child_spec("low", stage.specs("a"), intensity=2, backoff=NO_BACKOFF)
    with pytest.raises(RestartIntensityError) as caught:
        async with open_supervisor([low], intensity=2):
            for _ in range(9):
                await stage.crash("a")
            pytest.fail("the body must be cancelled")

    assert caught.value.supervisor == "root"
    assert stage.starts["a"] == 9


# -- backoff (6.3) ---------------------------------------------------------------------------


async def test_restarts_are_paced(stage: Stage, autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    at: list[float] = []

    async def brittle(*, task_status: ChildStatus) -> None:
        at.append(trio.current_time() - began)
        task_status.started()
        raise Boom

    pace = Backoff(min=1, max=5, factor=2, jitter=0)
    spec = ChildSpec(id="a", start=brittle, backoff=pace)
    async with open_supervisor([spec], intensity=99, period=100):
        await trio.sleep(18)

    assert at == [0, 0, 1, 3, 7, 12, 17]


async def test_a_healthy_run_starts_the_backoff_again(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    pace = Backoff(min=1, max=5, jitter=0, reset_after=30)
    async with open_supervisor(stage.specs("a", backoff=pace), intensity=9) as supervisor:
        await stage.crash("a")
        await trio.sleep(30)
        await stage.crash("a")

        assert states(supervisor) == {"a": "running"}


async def test_an_unhealthy_run_does_not(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    pace = Backoff(min=1, max=5, jitter=0, reset_after=30)
    async with open_supervisor(stage.specs("a", backoff=pace), intensity=9) as supervisor:
        await stage.crash("a")
        await trio.sleep(29.9)
        await stage.crash("a")

        assert states(supervisor) == {"a": "restarting"}


async def test_the_jitter_comes_from_the_given_source(
    stage: Stage, autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    pace = Backoff(min=10, max=10, jitter=0.5)
    specs = stage.specs("a", backoff=pace)
    async with open_supervisor(specs, intensity=9, random=Random(7)):
        await stage.crash("a")
        await stage.crash("a")

    waits = [each["seconds"] for each in events if each["event"] == "child_backoff"]
    assert waits == [round(10 * Random(7).uniform(0.5, 1.5), 3)]


async def test_the_jitter_of_a_sub_tree_comes_from_its_own_source(
    stage: Stage, autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    pace = Backoff(min=10, max=10, jitter=0.5)
    low = child_spec("low", stage.specs("a", backoff=pace), intensity=9, random=Random(7))
    async with open_supervisor([low]):
        await stage.crash("a")
        await stage.crash("a")

    waits = [each["seconds"] for each in events if each["event"] == "child_backoff"]
    assert waits == [round(10 * Random(7).uniform(0.5, 1.5), 3)]


async def test_restart_child_starts_the_backoff_again(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    pace = Backoff(min=10, max=10, jitter=0)
    async with open_supervisor(stage.specs("a", backoff=pace), intensity=9) as supervisor:
        await stage.crash("a")
        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")
        await stage.crash("a")

        assert states(supervisor) == {"a": "running"}


async def test_a_child_that_was_deleted_leaves_no_pace_behind(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    pace = Backoff(min=10, max=10, jitter=0)
    spec = stage.spec("a", restart="transient", backoff=pace)
    async with open_supervisor([spec], intensity=9) as supervisor:
        await stage.crash("a")
        await stage.leave("a")
        await supervisor.delete_child("a")
        await supervisor.start_child(spec)
        await stage.crash("a")

        assert states(supervisor) == {"a": "running"}


# -- parking ---------------------------------------------------------------------------------


async def test_a_child_is_parked_instead_of_ending_the_supervisor(
    stage: Stage, events: Events
) -> None:
    specs = stage.specs("ab", on_give_up="park")
    async with open_supervisor(specs, intensity=1) as supervisor:
        await stage.crash("a")
        await stage.crash("a")

        assert states(supervisor) == {"a": "parked", "b": "running"}
    assert [each["error"] for each in events if each["event"] == "child_parked"] == ["Boom: a"]


async def test_the_entries_of_a_parked_child_leave_the_window(stage: Stage) -> None:
    specs = [stage.spec("a", on_give_up="park"), stage.spec("b")]
    async with open_supervisor(specs, intensity=1) as supervisor:
        await stage.crash("a")
        await stage.crash("a")
        await stage.crash("b")

        assert states(supervisor) == {"a": "parked", "b": "running"}


async def test_restart_child_brings_a_parked_child_back(stage: Stage) -> None:
    async with open_supervisor(stage.specs("a", on_give_up="park"), intensity=0) as supervisor:
        await stage.crash("a")

        assert await supervisor.restart_child("a") == "a#2"
        await stage.crash("a")
        assert states(supervisor) == {"a": "parked"}


async def test_a_group_restart_leaves_a_parked_child_alone(stage: Stage) -> None:
    specs = [stage.spec("a", on_give_up="park"), stage.spec("b")]
    async with open_supervisor(specs, strategy="one_for_all", intensity=1) as supervisor:
        await stage.crash("a")
        await stage.crash("a")
        assert states(supervisor) == {"a": "parked", "b": "running"}
        await stage.crash("b")

        assert states(supervisor) == {"a": "parked", "b": "running"}


async def test_a_parked_child_stays_parked_in_the_last_picture(stage: Stage) -> None:
    async with open_supervisor(stage.specs("a", on_give_up="park"), intensity=0) as supervisor:
        await stage.crash("a")

    assert states(supervisor) == {"a": "parked"}


async def test_wait_returns_when_a_supervisor_gives_up(stage: Stage) -> None:
    ended: list[str] = []

    async def watch(supervisor: Supervisor) -> None:
        await supervisor.wait()
        ended.append("ended")

    with pytest.raises(RestartIntensityError):
        async with trio.open_nursery() as nursery:
            with pytest.raises(RestartIntensityError) as caught:
                async with open_supervisor(stage.specs("a"), intensity=0) as supervisor:
                    nursery.start_soon(watch, supervisor)
                    await settle()
                    await stage.crash("a")
            await settle()
            assert ended == ["ended"]
        raise caught.value
