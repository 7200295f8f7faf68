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

from .kit import Boom, Stage, hang_in_init, idle, settle, states, until_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisors import ChildStatus, RestartType
    from tests.conftest import Events


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
    returns: bool = False

    async def __call__(self, *, task_status: ChildStatus) -> None:
        if self.error is not None:
            raise self.error
        task_status.started()
        if self.returns:
            return
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


async def test_a_call_while_the_supervisor_stops_is_refused_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A child that asks for something in its cleanup would wait for itself otherwise."""
    asked_at: list[float] = []

    async def asking(*, task_status: ChildStatus) -> None:
        task_status.started()
        with task_status.shield():
            await trio.sleep(1)
            with pytest.raises(SupervisorStoppedError):
                await supervisor.terminate_child("a")
            asked_at.append(trio.current_time())

    began = trio.current_time()
    async with open_supervisor(
        [ChildSpec(id="a", start=asking, shutdown="infinity")]
    ) as supervisor:
        pass

    assert [at - began for at in asked_at] == [1]


async def test_a_waiting_start_child_whose_caller_leaves_does_not_harm_the_one_before(
    stage: Stage,
) -> None:
    gate = trio.Event()

    async def slow(*, task_status: ChildStatus) -> None:
        await gate.wait()
        await stage.play("a", task_status=task_status)

    spec = ChildSpec(id="a", start=slow)
    async with open_supervisor() as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.start_child, spec)
        await settle()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as impatient:
                impatient.start_soon(supervisor.start_child, spec)
                await settle()
                scope.cancel()
        gate.set()
        await settle()

        assert states(supervisor) == {"a": "running"}


@pytest.mark.parametrize("method", ["start_child", "restart_child"])
async def test_a_start_is_undone_whose_caller_leaves_as_the_child_has_just_initialised(
    method: str,
) -> None:
    scope = trio.CancelScope()

    async def hasty(*, task_status: ChildStatus) -> None:
        task_status.started()
        scope.cancel()
        await trio.sleep_forever()

    async with open_supervisor() as supervisor:
        spec = ChildSpec(id="a", start=hasty)
        if method == "restart_child":
            await supervisor.start_child(spec)
            await supervisor.terminate_child("a")
            scope = trio.CancelScope()
        with scope:
            if method == "start_child":
                await supervisor.start_child(spec)
            else:
                await supervisor.restart_child("a")
        assert scope.cancelled_caught
        await settle()

        assert states(supervisor) == ({} if method == "start_child" else {"a": "stopped"})


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_all_calls_that_wait_together_are_answered(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    """While the first is carried out, the supervisor stops."""
    answered: list[str] = []

    async def patient(*, task_status: ChildStatus) -> None:
        task_status.started()
        with task_status.shield():
            await trio.sleep(100)

    async def call(id: str) -> None:
        try:
            await supervisor.terminate_child(id)
        except SupervisorStoppedError:
            answered.append(f"{id} refused")
        else:
            answered.append(f"{id} done")

    specs = [ChildSpec(id=id, start=patient, shutdown="infinity") for id in "abc"]  # noqa: A001
    async with (
        trio.open_nursery() as nursery,
        open_supervisor([child_spec("low", specs)]) as top,
    ):
        low = top.value_of("low")
        assert isinstance(low, Supervisor)
        supervisor = low
        began = trio.current_time()
        for id in "abc":  # noqa: A001
            nursery.start_soon(call, id)
        await settle()
        getattr(supervisor, how)()
        await supervisor.wait()
        took = trio.current_time() - began

    assert len(answered) == 3
    assert sum("refused" in each for each in answered) >= 2
    assert took == (0 if how == "kill" else 100)


async def test_terminate_child_bounds_an_initialisation_that_does_not_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Interrupted, it gets its shutdown seconds, and is killed then like any other."""

    async def deaf(*, task_status: ChildStatus) -> None:
        with task_status.shield():
            await until_cancelled()

    async def add() -> None:
        with pytest.raises(ChildStartError, match="stopped while it initialised"):
            await supervisor.start_child(ChildSpec(id="a", start=deaf, shutdown=3))

    async with open_supervisor() as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(add)
        await settle()
        began = trio.current_time()
        with pytest.raises(ChildNotFoundError):  # dropped again, as its start has failed
            await supervisor.terminate_child("a")

        assert trio.current_time() - began == 3


async def test_an_interrupted_initialisation_may_clean_up_before_the_id_is_free(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    async def tidy(*, task_status: ChildStatus) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with task_status.shield():
                await trio.sleep(2)
                stage.journal.append("tidied")

    async with open_supervisor() as supervisor:
        with trio.move_on_after(1):
            await supervisor.start_child(ChildSpec(id="a", start=tidy))
        await supervisor.start_child(stage.spec("a"))

        assert stage.journal == ["tidied", "start a"]


@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_a_start_function_is_told_of_the_end_of_its_child(restart: RestartType) -> None:
    told = _Told(returns=True)
    async with open_supervisor([ChildSpec(id="a", start=told, restart=restart)]):
        await settle()

        assert told.reasons == ["gone" if restart == "temporary" else "stopped"]


@pytest.mark.parametrize("method", ["terminate_child", "restart_child", "delete_child"])
async def test_an_id_that_cannot_be_one_is_refused_at_the_call(stage: Stage, method: str) -> None:
    async with open_supervisor(stage.specs("a")) as supervisor:
        with pytest.raises(TypeError, match="unhashable"):
            await getattr(supervisor, method)(["a"])

        assert states(supervisor) == {"a": "running"}
