"""Section E of the conformance list: strategies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import IGNORE, Backoff, ChildSpec, Shutdown, child_spec, open_supervisor

from .kit import NO_BACKOFF, Boom, Stage, settle, states

if TYPE_CHECKING:
    from supervisors import ChildStatus, Strategy

SLOW = Backoff(min=10, max=10, jitter=0)


async def test_one_for_one_restarts_only_the_failed_child(stage: Stage) -> None:  # E 55
    async with open_supervisor(stage.specs("abc")):
        mark = len(stage.journal)
        await stage.crash("b")

        assert stage.since(mark) == ["stop b", "start b"]


async def test_one_for_all_restarts_all(stage: Stage) -> None:  # E 56
    async with open_supervisor(stage.specs("abc"), strategy="one_for_all"):
        mark = len(stage.journal)
        await stage.crash("b")

        assert stage.since(mark) == [
            "stop b", "stop c", "stop a", "start a", "start b", "start c"
        ]  # fmt: skip


async def test_rest_for_one_restarts_the_failed_child_and_those_after_it(
    stage: Stage,
) -> None:  # E 57, 58
    async with open_supervisor(stage.specs("abcd"), strategy="rest_for_one"):
        mark = len(stage.journal)
        await stage.crash("b")

        assert stage.since(mark) == [
            "stop b", "stop d", "stop c", "start b", "start c", "start d"
        ]  # fmt: skip


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_the_whole_supervisor_stops_in_reverse_order(
    stage: Stage, strategy: Strategy
) -> None:  # E 59
    async with open_supervisor(stage.specs("abc"), strategy=strategy):
        mark = len(stage.journal)

    assert stage.since(mark) == ["stop c", "stop b", "stop a"]


async def test_one_for_all_starts_again_from_the_first_when_one_fails_to_restart(
    stage: Stage,
) -> None:  # E 61
    async with open_supervisor(stage.specs("abc"), strategy="one_for_all", intensity=9):
        stage.fails_next("b", times=2)
        mark = len(stage.journal)
        await stage.crash("c")

        assert stage.since(mark) == [
            "stop c", "stop b", "stop a",
            "start a", "fail b", "stop a",
            "start a", "fail b", "stop a",
            "start a", "start b", "start c",
        ]  # fmt: skip


async def test_rest_for_one_tries_again_from_the_one_that_failed_to_restart(
    stage: Stage,
) -> None:  # E 62
    async with open_supervisor(stage.specs("abcd"), strategy="rest_for_one", intensity=9):
        stage.fails_next("c", times=2)
        mark = len(stage.journal)
        await stage.crash("b")

        assert stage.since(mark) == [
            "stop b", "stop d", "stop c",
            "start b", "fail c", "fail c", "start c", "start d",
        ]  # fmt: skip


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_group_restart_leaves_an_operators_stop_alone(
    stage: Stage, strategy: Strategy
) -> None:  # our departure from 1.6
    async with open_supervisor(stage.specs("ab"), strategy=strategy) as supervisor:
        await supervisor.terminate_child("b")
        await stage.crash("a")

        assert states(supervisor) == {"a": "running", "b": "stopped"}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_group_restart_revives_a_finished_transient_child(
    stage: Stage, strategy: Strategy
) -> None:  # 1.6
    specs = [stage.spec("a"), stage.spec("b", restart="transient")]
    async with open_supervisor(specs, strategy=strategy) as supervisor:
        await stage.leave("b")
        await stage.crash("a")

        assert states(supervisor) == {"a": "running", "b": "running"}


async def test_a_sibling_that_crashes_while_its_group_stops_is_not_counted(
    stage: Stage,
) -> None:  # 1.8 a
    async def brittle(*, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise Boom

    specs = [stage.spec("a"), ChildSpec(id="b", start=brittle, backoff=NO_BACKOFF)]
    async with open_supervisor(specs, strategy="one_for_all", intensity=1) as supervisor:
        await stage.crash("a")

        assert states(supervisor) == {"a": "running", "b": "running"}
        assert supervisor.which_children()[1].last_error == "Boom"


async def test_siblings_that_crash_together_are_one_group_restart(stage: Stage) -> None:  # 1.8 a
    async with open_supervisor(
        stage.specs("abc"), strategy="one_for_all", intensity=1
    ) as supervisor:
        for each in "abc":
            stage.end(each, Boom())
        await settle()

        assert set(states(supervisor).values()) == {"running"}
        assert stage.starts == {"a": 2, "b": 2, "c": 2}


async def test_a_crash_during_a_group_start_is_handled_after_it(stage: Stage) -> None:  # 1.8 b
    gate = trio.Event()
    gate.set()

    async def slow(*, task_status: ChildStatus) -> None:
        await gate.wait()
        await stage.play("b", task_status=task_status)

    specs = [stage.spec("a"), ChildSpec(id="b", start=slow, backoff=NO_BACKOFF)]
    async with open_supervisor(specs, strategy="one_for_all", intensity=2) as supervisor:
        gate = trio.Event()
        await stage.crash("a")
        await stage.crash("a")  # the new one, while b initialises
        mark = len(stage.journal)
        gate.set()
        await settle()

        assert stage.since(mark) == ["start b", "stop b", "start a", "start b"]
        assert [child.restarts for child in supervisor.which_children()] == [2, 2]


async def test_a_group_goes_on_when_a_member_ends_in_its_initialisation(stage: Stage) -> None:
    specs = [stage.spec("a", restart="transient"), stage.spec("b")]
    async with open_supervisor(specs, strategy="one_for_all") as supervisor:
        stage.failures["a"] = [Shutdown("not needed any more")]
        await stage.crash("b")

        assert states(supervisor) == {"a": "finished", "b": "running"}


async def test_a_group_goes_on_when_a_member_is_parked(stage: Stage) -> None:
    specs = [stage.spec("a", on_give_up="park"), stage.spec("b")]
    async with open_supervisor(specs, strategy="one_for_all", intensity=2) as supervisor:
        stage.fails_next("a", times=2)
        await stage.crash("b")

        assert states(supervisor) == {"a": "parked", "b": "running"}


async def test_a_group_goes_on_when_a_member_ignores(stage: Stage) -> None:
    ignores = False

    async def start(*, task_status: ChildStatus) -> None:
        task_status.started(IGNORE if ignores else None)
        await trio.sleep_forever()

    specs = [ChildSpec(id="a", start=start), stage.spec("b")]
    async with open_supervisor(specs, strategy="one_for_all") as supervisor:
        ignores = True
        await stage.crash("b")

        assert states(supervisor) == {"a": "finished", "b": "running"}
        assert [child.restarts for child in supervisor.which_children()] == [0, 1]


async def test_ignore_at_a_restart_leaves_the_child_finished(stage: Stage) -> None:  # 1.7
    ignores = False

    async def start(*, task_status: ChildStatus) -> None:
        if ignores:
            task_status.started(IGNORE)
        else:
            await stage.play("a", task_status=task_status)

    async with open_supervisor([ChildSpec(id="a", start=start)]) as supervisor:
        ignores = True
        await stage.crash("a")

        assert states(supervisor) == {"a": "finished"}


async def test_terminating_the_leader_of_a_waiting_group_lets_the_others_come_back(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    specs = stage.specs("abc", backoff=SLOW)
    async with open_supervisor(specs, strategy="one_for_all", intensity=9) as supervisor:
        await stage.crash("b")
        await stage.crash("b")
        at = trio.current_time()
        await supervisor.terminate_child("b")
        mark = len(stage.journal)
        await trio.sleep(9.9)
        assert stage.since(mark) == []
        await trio.sleep(0.2)

        assert states(supervisor) == {"a": "running", "b": "stopped", "c": "running"}
        assert supervisor.which_children()[0].since_at == at + 10


async def test_terminating_a_waiting_group_one_by_one_leaves_nothing_behind(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    specs = stage.specs("abc", backoff=SLOW)
    async with open_supervisor(specs, strategy="one_for_all", intensity=9) as supervisor:
        await stage.crash("b")
        await stage.crash("b")
        for each in "bac":
            await supervisor.terminate_child(each)
        mark = len(stage.journal)
        await trio.sleep(100)

        assert set(states(supervisor).values()) == {"stopped"}
        assert stage.since(mark) == []


async def test_an_earlier_crash_takes_over_a_waiting_group(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    specs = [stage.spec("a"), *stage.specs("bc", backoff=SLOW)]
    async with open_supervisor(specs, strategy="rest_for_one", intensity=9) as supervisor:
        await stage.crash("b")
        await stage.crash("b")
        assert states(supervisor) == {"a": "running", "b": "restarting", "c": "restarting"}
        mark = len(stage.journal)
        await stage.crash("a")

        assert stage.since(mark) == ["stop a", "start a", "start b", "start c"]
        mark = len(stage.journal)
        await trio.sleep(100)
        assert stage.since(mark) == []


async def test_an_earlier_crash_takes_the_date_of_a_waiting_group_away(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    soon = Backoff(min=1, max=1, jitter=0)
    specs = [stage.spec("a", backoff=SLOW), *stage.specs("bc", backoff=soon)]
    async with open_supervisor(specs, strategy="rest_for_one", intensity=9):
        await stage.crash("a")
        for _ in range(2):
            await stage.crash("b")
        mark = len(stage.journal)
        await stage.crash("a")
        assert stage.since(mark) == ["stop a"]
        await trio.sleep(9.5)
        assert stage.since(mark) == ["stop a"]
        await trio.sleep(1)

        assert stage.since(mark) == ["stop a", "start a", "start b", "start c"]


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])
async def test_children_that_crash_at_once_all_come_back(stage: Stage, strategy: Strategy) -> None:
    specs = [stage.spec(str(number)) for number in range(10)]
    async with open_supervisor(specs, strategy=strategy, intensity=10) as supervisor:
        for spec in specs:
            stage.end(spec.id, Boom())
        await settle()

        assert set(states(supervisor).values()) == {"running"}
        assert set(stage.starts.values()) == {2}


async def test_children_that_end_at_once_are_all_noticed(stage: Stage) -> None:
    """Also when there is nothing to restart, so that nothing else wakes the supervisor."""
    specs = [stage.spec(str(number), restart="temporary") for number in range(10)]
    async with open_supervisor([*specs, stage.spec("last")]) as supervisor:
        for spec in specs:
            stage.end(spec.id, Boom())
        await settle()

        assert states(supervisor) == {"last": "running"}


async def test_restarts_that_wait_are_independent_in_one_for_one(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    specs = [
        stage.spec("a", backoff=Backoff(min=5, max=5, jitter=0)),
        stage.spec("b", backoff=Backoff(min=1, max=1, jitter=0)),
    ]
    async with open_supervisor(specs, intensity=9):
        for each in "aabb":
            await stage.crash(each)
        mark = len(stage.journal)
        await trio.sleep(2)
        assert stage.since(mark) == ["start b"]
        await trio.sleep(4)
        assert stage.since(mark) == ["start b", "start a"]


async def test_a_restarted_supervisor_starts_its_children_again_but_not_added_ones(
    stage: Stage,
) -> None:  # F 68
    inner = child_spec("inner", stage.specs("a"), intensity=0)
    async with open_supervisor([inner]) as supervisor:
        below = supervisor.value_of("inner")
        await below.start_child(stage.spec("b"))
        await stage.crash("a")

        assert supervisor.tree().children[0].restarts == 1
        assert [each.id for each in supervisor.tree().children[0].children] == ["a"]
        assert stage.journal == ["start a", "start b", "stop a", "stop b", "start a"]
