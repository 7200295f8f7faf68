"""Section C of the conformance list: administration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from supervisors import (
    Backoff,
    ChildAlreadyPresentError,
    ChildAlreadyStartedError,
    ChildCounts,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    ChildSpec,
    ChildStartError,
    Supervisor,
    SupervisorStoppedError,
    child_spec,
    open_supervisor,
)

from .kit import Boom, Stage, hang_in_init, idle, settle, states

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisors import ChildStatus

    from .conftest import Events


async def test_start_child_of_a_running_id_is_refused(stage: Stage) -> None:  # C 30
    async with open_supervisor(stage.specs("a")) as supervisor:
        with pytest.raises(ChildAlreadyStartedError, match="child 'a' of supervisor 'root'"):
            await supervisor.start_child(stage.spec("a"))

        assert stage.starts["a"] == 1


async def test_start_child_of_a_stopped_id_is_refused(stage: Stage) -> None:  # C 31
    async with open_supervisor(stage.specs("a")) as supervisor:
        await supervisor.terminate_child("a")

        with pytest.raises(ChildAlreadyPresentError, match="use restart_child"):
            await supervisor.start_child(stage.spec("a"))


async def test_start_child_appends_to_the_order(stage: Stage) -> None:
    async with open_supervisor(stage.specs("bc")) as supervisor:
        await supervisor.start_child(stage.spec("a"))

        assert list(states(supervisor)) == ["b", "c", "a"]

    assert stage.journal[-3:] == ["stop a", "stop c", "stop b"]


async def test_terminate_child_of_an_unknown_id_is_refused(stage: Stage) -> None:  # C 32
    async with open_supervisor(stage.specs("a")) as supervisor:
        with pytest.raises(ChildNotFoundError):
            await supervisor.terminate_child("b")


async def test_terminate_child_twice_is_fine(stage: Stage) -> None:  # C 32
    async with open_supervisor(stage.specs("a")) as supervisor:
        await supervisor.terminate_child("a")
        await supervisor.terminate_child("a")

        assert stage.journal == ["start a", "stop a"]


async def test_a_terminated_child_keeps_its_spec(stage: Stage) -> None:  # C 33
    async with open_supervisor(stage.specs("a")) as supervisor:
        await supervisor.terminate_child("a")

        assert states(supervisor) == {"a": "stopped"}
        assert supervisor.count_children() == ChildCounts(
            specs=1, active=0, supervisors=0, workers=1
        )
        assert supervisor.value_of("a") is None


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_terminate_child_has_no_effect_on_siblings(stage: Stage, strategy: str) -> None:
    async with open_supervisor(stage.specs("abc"), strategy=strategy) as supervisor:  # type: ignore[arg-type]
        await supervisor.terminate_child("b")
        await settle()

        assert stage.journal == ["start a", "start b", "start c", "stop b"]


async def test_restart_child_of_a_stopped_child(stage: Stage) -> None:  # C 34
    async with open_supervisor(stage.specs("a")) as supervisor:
        await supervisor.terminate_child("a")

        assert await supervisor.restart_child("a") == "a#2"
        assert states(supervisor) == {"a": "running"}


async def test_restart_child_of_a_finished_child(stage: Stage) -> None:  # C 34
    async with open_supervisor(stage.specs("a", restart="transient")) as supervisor:
        await stage.leave("a")
        assert states(supervisor) == {"a": "finished"}

        assert await supervisor.restart_child("a") == "a#2"


async def test_restart_child_of_a_running_child_is_refused(stage: Stage) -> None:  # C 34
    async with open_supervisor(stage.specs("a")) as supervisor:
        with pytest.raises(ChildRunningError, match="call terminate_child first"):
            await supervisor.restart_child("a")


async def test_restart_child_of_an_unknown_child_is_refused() -> None:  # C 34
    async with open_supervisor() as supervisor:
        with pytest.raises(ChildNotFoundError):
            await supervisor.restart_child("a")


async def test_delete_child_of_a_running_child_is_refused(stage: Stage) -> None:  # C 35
    async with open_supervisor(stage.specs("a")) as supervisor:
        with pytest.raises(ChildRunningError, match="call terminate_child first"):
            await supervisor.delete_child("a")


async def test_delete_child_of_an_unknown_child_is_refused() -> None:  # C 35
    async with open_supervisor() as supervisor:
        with pytest.raises(ChildNotFoundError):
            await supervisor.delete_child("a")


async def test_after_delete_child_the_id_is_free(stage: Stage) -> None:  # C 35, 36
    async with open_supervisor(stage.specs("a")) as supervisor:
        await supervisor.terminate_child("a")
        await supervisor.delete_child("a")
        assert supervisor.which_children() == ()

        assert await supervisor.start_child(stage.spec("a")) == "a#2"


async def test_terminate_delete_and_start_move_a_child_to_the_end(stage: Stage) -> None:
    async with open_supervisor(stage.specs("ab")) as supervisor:
        await supervisor.terminate_child("a")
        await supervisor.delete_child("a")
        await supervisor.start_child(stage.spec("a"))

        assert list(states(supervisor)) == ["b", "a"]


CALLS: list[Callable[[Supervisor], Awaitable[object]]] = [
    lambda supervisor: supervisor.start_child(ChildSpec(id="b", start=idle)),
    lambda supervisor: supervisor.terminate_child("a"),
    lambda supervisor: supervisor.restart_child("a"),
    lambda supervisor: supervisor.delete_child("a"),
]


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_to_an_ended_supervisor_fails(
    stage: Stage, call: Callable[[Supervisor], Awaitable[object]]
) -> None:  # C 38
    async with open_supervisor(stage.specs("a")) as supervisor:
        pass

    with pytest.raises(SupervisorStoppedError, match="'root' is not running any more"):
        await call(supervisor)


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_that_waits_while_the_supervisor_stops_fails(
    stage: Stage,
    autojump_clock: trio.testing.MockClock,
    call: Callable[[Supervisor], Awaitable[object]],
) -> None:
    stage.slow["a"] = 1

    async def caller() -> None:
        with pytest.raises(SupervisorStoppedError):
            await call(supervisor)

    async with trio.open_nursery() as nursery, open_supervisor(stage.specs("a")) as supervisor:
        nursery.start_soon(supervisor.terminate_child, "a")
        await settle()
        nursery.start_soon(caller)
        await settle()


async def test_an_ended_supervisor_can_still_be_looked_at(stage: Stage) -> None:  # C 38
    async with open_supervisor(stage.specs("a")) as supervisor:
        pass

    assert states(supervisor) == {"a": "stopped"}
    assert supervisor.count_children().active == 0


async def test_counts_are_exact_for_thousands_of_children(stage: Stage) -> None:  # C 41
    async with open_supervisor([child_spec("below", [])]) as supervisor:
        for number in range(2000):
            await supervisor.start_child(stage.spec(str(number)))

        assert supervisor.count_children() == ChildCounts(
            specs=2001, active=2001, supervisors=1, workers=2000
        )


async def test_a_restarting_child_counts_as_a_worker_but_not_as_active(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:  # C 42
    slow = Backoff(min=10, max=10, jitter=0)
    async with open_supervisor(stage.specs("ab", backoff=slow), intensity=9) as supervisor:
        await stage.crash("a")
        await stage.crash("a")

        assert states(supervisor) == {"a": "restarting", "b": "running"}
        assert supervisor.count_children() == ChildCounts(
            specs=2, active=1, supervisors=0, workers=2
        )


async def test_which_children_shows_restarts_and_the_last_error(stage: Stage) -> None:
    async with open_supervisor(stage.specs("a")) as supervisor:
        await stage.crash("a")
        (child,) = supervisor.which_children()

        assert (child.restarts, child.last_error, child.type) == (1, "Boom: a", "worker")


async def test_since_at_is_the_time_of_the_last_change(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_supervisor(stage.specs("a")) as supervisor:
        await trio.sleep(7)
        await supervisor.terminate_child("a")
        (child,) = supervisor.which_children()

        assert child.since_at == trio.current_time()


async def test_terminate_child_interrupts_an_initialisation() -> None:
    raised: list[Exception] = []

    async def add() -> None:
        try:
            await supervisor.start_child(ChildSpec(id="a", start=hang_in_init))
        except ChildStartError as error:
            raised.append(error)

    async with open_supervisor() as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(add)
        await settle()
        with pytest.raises(ChildNotFoundError):  # dropped again, as its start has failed
            await supervisor.terminate_child("a")

    assert "stopped while it initialised" in str(raised[0])


async def test_terminate_child_of_a_restarting_child_is_not_counted_as_a_failure(
    stage: Stage,
) -> None:
    """Its initialisation hangs; interrupting it is the operator's act, not a crash."""
    hang = False

    async def play(*, task_status: ChildStatus) -> None:
        if hang:
            await trio.sleep_forever()
        await stage.play("a", task_status=task_status)

    async with open_supervisor([ChildSpec(id="a", start=play)], intensity=1) as supervisor:
        hang = True
        await stage.crash("a")
        await supervisor.terminate_child("a")

        assert states(supervisor) == {"a": "stopped"}
        hang = False
        assert await supervisor.restart_child("a") == "a#2"


async def test_terminate_child_reaches_a_child_whose_restart_is_about_to_hang(
    stage: Stage,
) -> None:
    """It waits in the mailbox while a sibling of the group still initialises."""
    hang = False
    gate = trio.Event()

    async def first(*, task_status: ChildStatus) -> None:
        if hang:
            await gate.wait()
        await stage.play("a", task_status=task_status)

    async def second(*, task_status: ChildStatus) -> None:
        if hang:
            await trio.sleep_forever()
        await stage.play("b", task_status=task_status)

    specs = [ChildSpec(id="a", start=first), ChildSpec(id="b", start=second)]
    async with open_supervisor(specs, strategy="one_for_all") as supervisor:
        hang = True
        await stage.crash("a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.terminate_child, "b")
            await settle()
            gate.set()

        assert states(supervisor) == {"a": "running", "b": "stopped"}


async def test_a_start_child_whose_caller_leaves_is_undone(stage: Stage) -> None:
    gate = trio.Event()

    async def slow(*, task_status: ChildStatus) -> None:
        with trio.CancelScope(shield=True):
            await gate.wait()
        task_status.started()
        await trio.sleep_forever()

    async with open_supervisor() as supervisor:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervisor.start_child, ChildSpec(id="a", start=slow))
                await settle()
                scope.cancel()
        gate.set()
        await settle()

        assert supervisor.which_children() == ()


async def test_a_temporary_child_that_ignores_after_its_caller_left_harms_nobody() -> None:
    gate = trio.Event()

    async def slow(*, task_status: ChildStatus) -> None:
        from supervisors import IGNORE

        with trio.CancelScope(shield=True):
            await gate.wait()
        task_status.started(IGNORE)

    spec = ChildSpec(id="a", start=slow, restart="temporary")
    async with open_supervisor([ChildSpec(id="b", start=idle)]) as supervisor:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervisor.start_child, spec)
                await settle()
                scope.cancel()
        gate.set()
        await settle()

        assert states(supervisor) == {"b": "running"}


async def test_a_child_can_terminate_itself(stage: Stage) -> None:
    async def suicidal(*, task_status: ChildStatus) -> None:
        task_status.started()
        await supervisor.terminate_child("a")

    async with open_supervisor() as supervisor:
        await supervisor.start_child(ChildSpec(id="a", start=suicidal))
        await settle()

        assert states(supervisor) == {"a": "stopped"}


@attrs.define(eq=False)
class _Told:
    """A start function that writes down what it is told."""

    reasons: list[str] = attrs.field(factory=list)
    error: BaseException | None = None

    async def __call__(self, *, task_status: ChildStatus) -> None:
        if self.error is not None:
            raise self.error
        task_status.started()
        await trio.sleep_forever()

    def child_down(self, reason: str) -> None:
        self.reasons.append(reason)


async def test_a_start_function_is_told_that_nobody_will_run_it() -> None:
    told = _Told()
    async with open_supervisor([ChildSpec(id="a", start=told)]) as supervisor:
        await supervisor.terminate_child("a")
        assert told.reasons == ["stopped"]
        await supervisor.delete_child("a")
        assert told.reasons == ["stopped", "gone"]


async def test_a_start_function_is_told_when_the_supervisor_does_not_come_up() -> None:
    early, bad, never = _Told(), _Told(error=Boom()), _Told()
    specs = [ChildSpec(id=str(n), start=each) for n, each in enumerate((early, bad, never))]

    with pytest.raises(ChildStartError):
        async with open_supervisor(specs):
            pytest.fail("the body must not run")

    assert [each.reasons for each in (early, bad, never)] == [["gone"]] * 3


async def test_a_start_function_is_told_when_its_start_by_hand_fails() -> None:
    told = _Told(error=Boom())
    async with open_supervisor() as supervisor:
        with pytest.raises(ChildStartError):
            await supervisor.start_child(ChildSpec(id="a", start=told))

        assert told.reasons == ["gone"]


async def test_restart_child_of_a_child_in_backoff_is_refused(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    slow = Backoff(min=10, max=10, jitter=0)
    async with open_supervisor(stage.specs("a", backoff=slow), intensity=9) as supervisor:
        await stage.crash("a")
        await stage.crash("a")
        await wait_all_tasks_blocked()

        with pytest.raises(ChildRestartingError, match="call terminate_child to stop that"):
            await supervisor.restart_child("a")


async def test_every_administration_event_names_the_supervisor(
    stage: Stage, events: Events
) -> None:
    async with open_supervisor([child_spec("inner", stage.specs("a"))], name="top"):
        await stage.crash("a")

    assert {each["supervisor"] for each in events} == {"top", "top/inner"}


async def test_a_terminate_child_whose_caller_leaves_does_not_count_as_a_failure_either(
    stage: Stage,
) -> None:
    """It interrupts an initialisation that ends well all the same, and is then withdrawn."""
    gate = trio.Event()

    async def play(*, task_status: ChildStatus) -> None:
        if stage.starts["a"] == 1:
            with trio.CancelScope(shield=True):
                await gate.wait()
        await stage.play("a", task_status=task_status)

    async with open_supervisor([ChildSpec(id="a", start=play)], intensity=1) as supervisor:
        await stage.crash("a")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervisor.terminate_child, "a")
                await settle()
                scope.cancel()
        gate.set()
        await settle()

        assert states(supervisor) == {"a": "running"}
        assert stage.starts["a"] == 3
