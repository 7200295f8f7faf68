"""Section H of the conformance list: stopping, and children that do not want to."""
# ruff: noqa: ARG002, SIM117, SLF001 - handlers; looks inside; a caller outside the tree

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    Actor,
    ActorDownError,
    ActorRef,
    ChildSpec,
    Shutdown,
    Supervisor,
    SupervisorStoppedError,
    child_spec,
    open_supervisor,
)

from .kit import Boom, Stage, hang_in_init, idle, settle, states, until_cancelled

if TYPE_CHECKING:
    from supervisors import ChildStatus, ShutdownTime
    from tests.conftest import Events


async def shielded(seconds: float, *, task_status: ChildStatus) -> None:
    """Takes its time to end, in the shield that the supervisor can take away."""
    task_status.started()
    with task_status.shield():
        await trio.sleep(seconds)


async def stubborn(seconds: float, *, task_status: ChildStatus) -> None:
    """Takes its time to end, in a shield of its own that nobody can take away."""
    with trio.CancelScope(shield=True):
        task_status.started()
        await trio.sleep(seconds)


def named(events: Events, event: str) -> list[object]:
    return [each["child"] for each in events if each["event"] == event]


async def test_infinity_waits_as_long_as_it_takes(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:  # H 73
    spec = ChildSpec(id="a", start=shielded, args=(1e6,), shutdown="infinity")
    began = trio.current_time()
    async with open_supervisor([spec]):
        pass

    assert trio.current_time() - began == 1e6
    assert named(events, "child_killed") == []


async def test_a_sub_supervisor_has_as_long_as_its_children_take(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:  # H 73
    leaves = [ChildSpec(id=id, start=shielded, args=(1000,), shutdown=2000) for id in "ab"]  # noqa: A001
    began = trio.current_time()
    async with open_supervisor([child_spec("low", leaves)]) as supervisor:
        await trio.sleep(1)
        await supervisor.terminate_child("low")

    assert trio.current_time() - began == 1000
    assert named(events, "child_killed") == []


async def test_a_child_that_takes_too_long_is_killed(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:  # H 74, 83
    specs = [
        ChildSpec(id="obedient", start=idle, shutdown=3),
        ChildSpec(id="slow", start=shielded, args=(100,), shutdown=3),
    ]
    began = trio.current_time()
    async with open_supervisor(specs):
        await settle()

    assert trio.current_time() - began == 3
    killed = [each for each in events if each["event"] == "child_killed"]
    assert [(each["child"], each["after_seconds"]) for each in killed] == [("slow", 3)]
    assert named(events, "child_stopped") == ["slow", "obedient"]


async def test_a_child_that_ends_within_its_time_is_not_killed(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    async with open_supervisor([ChildSpec(id="a", start=shielded, args=(2.9,), shutdown=3)]):
        pass

    assert named(events, "child_killed") == []


async def test_brutal_kills_at_once(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:  # H 76
    specs = [
        ChildSpec(id=str(n), start=shielded, args=(100,), shutdown="brutal") for n in range(10)
    ]
    began = trio.current_time()
    async with open_supervisor(specs):
        await settle()

    assert trio.current_time() == began
    assert named(events, "child_killed") == []


async def test_stop_times_add_up(stage: Stage, autojump_clock: trio.testing.MockClock) -> None:
    stage.slow.update(a=1, b=2, c=3)
    began = trio.current_time()
    async with open_supervisor(stage.specs("abc")):
        pass

    assert trio.current_time() - began == 6
    assert stage.journal[-3:] == ["stop c", "stop b", "stop a"]


async def test_children_that_exit_during_the_stop_change_nothing(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:  # H 78, 1.8 d
    specs = []
    stage.slow["last"] = 1
    ends = {"n": None, "s": Shutdown(), "t": Shutdown("x"), "c": Boom()}
    for restart in ("permanent", "transient", "temporary"):
        specs += [stage.spec(f"{restart}{end}", restart=restart) for end in ends]
    specs.append(stage.spec("last"))

    async def end_all() -> None:
        await trio.sleep(0.5)
        for spec in specs[:-1]:
            stage.end(spec.id, ends[spec.id[-1]])

    async with trio.open_nursery() as nursery, open_supervisor(specs, intensity=0):
        nursery.start_soon(end_all)

    assert set(stage.starts.values()) == {1}


async def test_the_body_ends_only_after_the_children(stage: Stage) -> None:  # H 84
    async with open_supervisor(stage.specs("a")):
        pass

    assert stage.journal == ["start a", "stop a"]


async def test_an_outer_cancellation_stops_in_order_over_all_levels(stage: Stage) -> None:
    tree = [
        *stage.specs("ab"),
        child_spec("mid", [*stage.specs("cd"), child_spec("low", stage.specs("ef"))]),
        *stage.specs("gh"),
    ]

    with trio.CancelScope() as scope:
        async with open_supervisor(tree):
            scope.cancel()
            await until_cancelled()

    assert scope.cancelled_caught
    assert stage.journal[-8:] == [f"stop {each}" for each in "hgfedcba"]


async def test_an_error_of_the_body_leaves_bare_after_an_ordered_stop(stage: Stage) -> None:
    with pytest.raises(Boom, match="mine"):
        async with open_supervisor(stage.specs("ab")):
            raise Boom("mine")

    assert stage.journal[-2:] == ["stop b", "stop a"]


async def test_nothing_starts_in_a_scope_that_is_cancelled_already(
    stage: Stage,
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_supervisor(stage.specs("ab")):
            pytest.fail("the body must not run")

    assert stage.journal == []


async def test_a_cancellation_interrupts_a_hanging_start(stage: Stage) -> None:
    specs = [stage.spec("a"), ChildSpec(id="b", start=hang_in_init)]

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_later, scope)
            async with open_supervisor(specs):
                pytest.fail("the body must not run")

    assert stage.journal == ["start a", "stop a"]


async def _cancel_later(scope: trio.CancelScope) -> None:
    await settle()
    scope.cancel()


async def test_stop_ends_the_body_silently(stage: Stage) -> None:
    async with open_supervisor(stage.specs("a")) as supervisor:
        supervisor.stop()
        await until_cancelled()

    assert stage.journal == ["start a", "stop a"]


# -- killing ---------------------------------------------------------------------------------


async def test_killing_a_sub_tree_takes_all_shields_away(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    leaf = ChildSpec(id="leaf", start=shielded, args=(1000,), shutdown="infinity")
    tree = child_spec("mid", [child_spec("low", [leaf, ChildSpec(id="x", start=idle)])], shutdown=2)
    began = trio.current_time()
    async with open_supervisor([tree]):
        await settle()

    assert trio.current_time() - began == 2
    assert named(events, "child_unkillable") == []


async def test_killing_a_sub_tree_that_restarts_answers_every_administration_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    below: list[Supervisor] = []

    async def caller() -> None:
        with pytest.raises(SupervisorStoppedError):
            await below[0].start_child(ChildSpec(id="a", start=hang_in_init, shutdown="infinity"))

    async with trio.open_nursery() as nursery:
        async with open_supervisor([child_spec("low", [], shutdown="brutal")]) as supervisor:
            value = supervisor.value_of("low")
            assert isinstance(value, Supervisor)
            below.append(value)
            nursery.start_soon(caller)
            await settle()


async def test_a_call_in_hand_is_answered_when_the_supervisor_is_killed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answered: list[str] = []
    leaf = ChildSpec(id="leaf", start=shielded, args=(1000,), shutdown="infinity")

    async def caller(low: Supervisor) -> None:
        try:
            await low.terminate_child("leaf")
        except SupervisorStoppedError:
            answered.append("stopped")

    async with trio.open_nursery() as nursery:
        async with open_supervisor([child_spec("low", [leaf], shutdown=1)]) as supervisor:
            low = supervisor.value_of("low")
            assert isinstance(low, Supervisor)
            nursery.start_soon(caller, low)
            await settle()

    assert answered == ["stopped"]


async def test_the_batch_of_a_killed_actor_is_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answered: list[str] = []

    class Slow(Actor):
        async def handle_call(self, message: object) -> object:
            await until_cancelled()
            return message

    async def caller(reference: ActorRef) -> None:
        try:
            await reference.call("x")
        except ActorDownError as error:
            answered.append(error.reason)

    low = child_spec("low", [Slow.child_spec("a", shutdown="infinity")], shutdown="brutal")
    async with trio.open_nursery() as nursery, open_supervisor([low]) as supervisor:
        inner = supervisor.value_of("low")
        assert isinstance(inner, Supervisor)
        reference = inner.value_of("a")
        assert isinstance(reference, ActorRef)
        for _ in range(3):
            nursery.start_soon(caller, reference)
        await settle()

    assert len(answered) == 3


class KillsAtBirth(trio.abc.Instrument):
    """Kills a supervisor between the spawn of a child's task and its first step."""

    def __init__(self, supervisor: Supervisor, child: str) -> None:
        self.supervisor, self.child = supervisor, child

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        if task.name == self.child:
            self.supervisor.kill()


class Quiet(Actor):
    async def handle_call(self, message: object) -> object:
        return message


@pytest.mark.parametrize("_number", range(20))  # trio chooses who is first
async def test_a_child_that_is_killed_before_its_first_step_does_not_begin(
    _number: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_supervisor([child_spec("low", [Quiet.child_spec("a")])]) as supervisor:
        low = supervisor.value_of("low")
        assert isinstance(low, Supervisor)
        reference = low.value_of("a")
        assert isinstance(reference, ActorRef)
        await low.terminate_child("a")
        instrument = KillsAtBirth(supervisor, "root/low/a")
        trio.lowlevel.add_instrument(instrument)
        with pytest.raises(SupervisorStoppedError):
            await low.restart_child("a")
        trio.lowlevel.remove_instrument(instrument)

    with trio.fail_after(1e5):
        with pytest.raises(ActorDownError, match="gone"):
            await reference.call("x")


async def test_a_child_that_cannot_be_killed_is_reported_with_its_stack(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    async def lair(*, task_status: ChildStatus) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
            task_status.started()

    async def helper() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)

    began = trio.current_time()
    async with open_supervisor([ChildSpec(id="a", start=lair, shutdown=2)]) as supervisor:
        await settle()
        await supervisor.terminate_child("a")
        assert trio.current_time() - began == 7

    (event,) = [each for each in events if each["event"] == "child_unkillable"]
    assert [each for each in events if each["event"] == "child_stopped"] == []
    stack = "\n".join(event["stack"])  # type: ignore[arg-type]
    assert "in lair" in stack
    assert "in helper" in stack
    assert trio.current_time() - began == 60  # a task cannot be left behind for good


async def test_children_that_cannot_be_killed_are_waited_for_together_after_a_kill(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    specs = [
        ChildSpec(id=str(n), start=stubborn, args=(30,), shutdown="infinity") for n in range(4)
    ]
    began = trio.current_time()
    async with open_supervisor(specs) as supervisor:
        await settle()
        supervisor.kill()
        await until_cancelled()

    reports = [each for each in events if each["event"] == "child_unkillable"]
    assert len(reports) == 4
    assert {child.since_at - began for child in supervisor.which_children()} == {5}
    assert trio.current_time() - began == 30


async def test_a_kill_cuts_a_patient_stop_short(autojump_clock: trio.testing.MockClock) -> None:
    spec = ChildSpec(id="a", start=shielded, args=(1000,), shutdown="infinity")

    async def kill_later(supervisor: Supervisor) -> None:
        await trio.sleep(3)
        supervisor.kill()

    began = trio.current_time()
    async with trio.open_nursery() as nursery, open_supervisor([spec]) as supervisor:
        nursery.start_soon(kill_later, supervisor)
        await settle()

    assert trio.current_time() - began == 3


async def test_a_child_that_a_kill_in_the_middle_of_a_stop_does_not_end_is_reported(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    spec = ChildSpec(id="a", start=stubborn, args=(60,), shutdown="infinity")

    async def kill_later(supervisor: Supervisor) -> None:
        await trio.sleep(3)
        supervisor.kill()

    async with trio.open_nursery() as nursery, open_supervisor([spec]) as supervisor:
        nursery.start_soon(kill_later, supervisor)
        await settle()

    assert named(events, "child_unkillable") == ["a"]


async def test_a_child_that_swallows_cancellation_does_not_stop_the_others(
    stage: Stage, events: Events
) -> None:
    rounds = 0

    async def deaf(*, task_status: ChildStatus) -> None:
        nonlocal rounds
        task_status.started()
        while rounds < 1000:
            try:
                await until_cancelled()
            except trio.Cancelled:
                rounds += 1

    async with open_supervisor([*stage.specs("ab"), ChildSpec(id="deaf", start=deaf)]):
        await settle()

    assert rounds == 1000
    assert stage.journal[-2:] == ["stop b", "stop a"]


@pytest.mark.slow
async def test_a_child_in_a_thread_is_waited_for() -> None:
    gate = threading.Event()

    async def threaded(*, task_status: ChildStatus) -> None:
        task_status.started()
        await trio.to_thread.run_sync(gate.wait)

    async with open_supervisor([ChildSpec(id="a", start=threaded, shutdown=0.01)]) as supervisor:
        await trio.testing.wait_all_tasks_blocked()
        gate.set()

    assert states(supervisor) == {"a": "stopped"}


@pytest.mark.parametrize("shutdown", [0, 1, "brutal", "infinity"])
async def test_an_actors_terminate_gets_its_shutdown_seconds(
    autojump_clock: trio.testing.MockClock, shutdown: ShutdownTime
) -> None:
    ended: list[str] = []

    class Slow(Actor):
        async def terminate(self, reason: BaseException | None) -> None:
            await trio.sleep(0.5)
            ended.append("ended")

    async with open_supervisor([Slow.child_spec("a", shutdown=shutdown)]):
        await settle()

    assert bool(ended) == (shutdown in (1, "infinity"))


async def test_a_crashed_actors_terminate_is_bounded_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Stuck(Actor):
        async def handle_cast(self, message: object) -> None:
            raise Boom

        async def terminate(self, reason: BaseException | None) -> None:
            await until_cancelled()

    async with open_supervisor([Stuck.child_spec("a", shutdown=4)]) as supervisor:
        reference = supervisor.value_of("a")
        assert isinstance(reference, ActorRef)
        reference.cast("x")
        await trio.sleep(4.1)

        assert [child.restarts for child in supervisor.which_children()] == [1]


async def test_shields_that_were_left_are_not_kept() -> None:
    async def busy(*, task_status: ChildStatus) -> None:
        task_status.started(task_status)
        for _ in range(1000):
            with task_status.shield():
                await trio.lowlevel.checkpoint()
        await until_cancelled()

    async with open_supervisor([ChildSpec(id="a", start=busy)]) as supervisor:
        await settle()
        status = supervisor.value_of("a")

        assert len(status._shields) <= 1
