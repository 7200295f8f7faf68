"""Dynamic supervisors: section by section what the conformance list says of them, and more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    IGNORE,
    Actor,
    ActorCrashedError,
    ActorDownError,
    Backoff,
    ChildSpec,
    ChildSpecError,
    ChildStartError,
    SupervisorStoppedError,
    child_spec,
    dynamic_child_spec,
    open_dynamic_supervisor,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, settle, states

if TYPE_CHECKING:
    from supervisors import ChildStatus, DynamicChild

PACE = Backoff(min=1, max=1, jitter=0)


async def slow_to_start(seconds: float, *, task_status: ChildStatus) -> None:
    await trio.sleep(seconds)
    task_status.started()
    await trio.sleep_forever()


# -- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", 3, ["a"]])
def test_a_bad_name_is_refused(name: str) -> None:
    message = re.escape(f"expected name to be a non-empty string, got {name!r}")

    with pytest.raises(ChildSpecError, match=f"^{message}$"):
        child_spec("a", [], name=name)
    with pytest.raises(ChildSpecError, match=f"^{message}$"):
        dynamic_child_spec("a", name=name)


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


# -- a child that calls its own supervisor -----------------------------------------------------


@pytest.mark.parametrize("restarting", [False, True])
async def test_a_child_cannot_call_its_supervisor_before_it_has_initialised(
    stage: Stage, *, restarting: bool
) -> None:
    """The supervisor waits for the child, the child for the supervisor: a deadlock in OTP."""
    errors: list[str] = []
    crash = trio.Event()

    async def starts_a_sibling(*, task_status: ChildStatus) -> None:
        if not restarting or crash.is_set():
            try:
                await pool.start_child(stage.spec("sibling"))
            except RuntimeError as error:
                errors.append(str(error))
                raise
        task_status.started()
        await crash.wait()
        raise Boom

    spec = ChildSpec(id="a", start=starts_a_sibling, backoff=NO_BACKOFF, on_give_up="park")
    async with open_dynamic_supervisor(intensity=2) as pool:
        if restarting:
            child = await pool.start_child(spec)
            crash.set()
            await settle()
            assert child.state == "parked"
        else:
            with pytest.raises(ChildStartError):
                await pool.start_child(spec)
        assert stage.starts["sibling"] == 0

    assert set(errors) == {
        "child 'root/a' calls 'root' before it has initialised; it would wait for ever"
    }


@pytest.mark.parametrize("method", ["terminate_child", "restart_child", "delete_child"])
async def test_no_call_of_an_initialising_child_waits_for_ever(method: str, stage: Stage) -> None:
    async def calls(*, task_status: ChildStatus) -> None:
        await getattr(supervisor, method)("a")

    async with open_supervisor(stage.specs("a")) as supervisor:
        with pytest.raises(ChildStartError, match="before it has initialised"):
            await supervisor.start_child(ChildSpec(id="b", start=calls))

        assert states(supervisor) == {"a": "running"}


async def test_a_grandchild_cannot_call_the_top_before_it_has_initialised(stage: Stage) -> None:
    """Two supervisors wait for it, one above the other."""

    async def starts_an_aunt(*, task_status: ChildStatus) -> None:
        await top.start_child(stage.spec("aunt"))

    async with open_supervisor() as top:
        with pytest.raises(ChildStartError) as caught:
            await top.start_child(child_spec("low", [ChildSpec(id="a", start=starts_an_aunt)]))

        assert str(caught.value).endswith(
            "RuntimeError: child 'root/low/a' calls 'root' before it has initialised; "
            "it would wait for ever"
        )
        assert states(top) == {}


async def test_a_child_can_call_another_supervisor_before_it_has_initialised(stage: Stage) -> None:
    async def starts_a_worker(*, task_status: ChildStatus) -> None:
        task_status.started(await pool.start_child(stage.spec("worker")))
        await trio.sleep_forever()

    spec = ChildSpec(id="a", start=starts_a_worker)
    async with open_dynamic_supervisor() as pool, open_supervisor([spec]):
        assert states(pool) == {"worker": "running"}


async def test_a_task_of_an_initialising_child_can_call_its_supervisor(stage: Stage) -> None:
    """Its call waits until the child, which does not wait for it, has initialised."""

    async def starts_a_sibling(*, task_status: ChildStatus) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.start_child, stage.spec("sibling"))
            await settle()
            task_status.started()
            await trio.sleep_forever()

    async with open_dynamic_supervisor() as pool:
        await pool.start_child(ChildSpec(id="a", start=starts_a_sibling))
        await settle()

        assert states(pool) == {"a": "running", "sibling": "running"}


async def test_a_running_child_can_start_and_stop_its_siblings_and_itself(stage: Stage) -> None:
    async def busy(*, task_status: ChildStatus) -> None:
        task_status.started()
        sibling = await pool.start_child(stage.spec("sibling"))
        await sibling.terminate()
        await pool.start_child(stage.spec("another"))
        await itself[0].terminate()

    itself: list[DynamicChild] = []
    async with open_dynamic_supervisor() as pool:
        itself.append(await pool.start_child(ChildSpec(id="a", start=busy)))
        await settle()

        assert states(pool) == {"another": "running"}


# -- stopping ----------------------------------------------------------------------------------


async def in_a_shield(*, task_status: ChildStatus) -> None:
    """Ends when its supervisor takes the shield away, not before."""
    with task_status.shield():
        task_status.started()
        await trio.sleep_forever()


async def out_of_reach(seconds: float, *, task_status: ChildStatus) -> None:
    """Ends in its own time, whatever its supervisor does."""
    with trio.CancelScope(shield=True):
        task_status.started()
        await trio.sleep(seconds)


async def test_children_of_a_killed_supervisor_are_stopped(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    async with open_supervisor() as top:
        pool = await top.start_child(dynamic_child_spec("pool", shutdown=1))
        for spec in (stage.spec("a"), ChildSpec(id="b", start=in_a_shield, shutdown="infinity")):
            await pool.start_child(spec)

        await top.terminate_child("pool")

        assert states(pool) == {"a": "stopped", "b": "stopped"}


async def test_no_child_of_an_ended_supervisor_is_parked(stage: Stage) -> None:
    async with open_dynamic_supervisor(intensity=0) as pool:
        child = await pool.start_child(stage.spec("a", on_give_up="park"))
        await stage.crash("a")
        assert states(pool) == {"a": "parked"}

    assert states(pool) == {"a": "stopped"}
    await child.terminate()


async def test_a_child_that_is_stuck_in_its_start_does_not_delay_a_stop(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    async def stuck(*, task_status: ChildStatus) -> None:
        with task_status.shield():
            await trio.sleep_forever()

    stopped_at: list[float] = []

    async def obedient(*, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            stopped_at.append(trio.current_time())

    async def start_stuck() -> None:
        with pytest.raises(SupervisorStoppedError):
            await pool.start_child(ChildSpec(id="stuck", start=stuck, shutdown=3))

    began = trio.current_time()
    async with trio.open_nursery() as nursery, open_dynamic_supervisor() as pool:
        await pool.start_child(ChildSpec(id="a", start=obedient))
        nursery.start_soon(start_stuck)
        await settle()

    assert stopped_at == [began]
    assert trio.current_time() == began + 3


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


# -- actors ------------------------------------------------------------------------------------


class Echo(Actor):
    """Says who it is."""

    async def init(self, *made_of: str) -> None:
        self.made_of = made_of

    async def handle_call(self, message: str) -> object:
        if message == "crash":
            raise Boom
        return (*self.made_of, message)


async def test_actors_of_one_spec_have_a_mailbox_each() -> None:
    spec = Echo.child_spec("a", "x", backoff=NO_BACKOFF)
    async with open_dynamic_supervisor(intensity=1) as pool:
        first, second = [await pool.start_child(spec) for _ in range(2)]
        with pytest.raises(ActorCrashedError, match="actor 'a' crashed"):
            await first.value.call("crash")

        assert await first.value.call("1") == ("x", "1")
        assert await second.value.call("2") == ("x", "2")
        assert (first.value.name, second.value.name) == ("a", "a#2")
        await first.terminate()
        with pytest.raises(ActorDownError, match="actor 'a' is gone"):
            await first.value.call("3")
        assert await second.value.call("3") == ("x", "3")


async def test_actors_in_supervisors_of_one_spec_have_a_mailbox_each() -> None:
    spec = child_spec("low", [child_spec("lower", [Echo.child_spec("a")])])
    async with open_dynamic_supervisor() as pool:
        supervisors = [await pool.start_child(spec) for _ in range(2)]
        actors = [each.value.value_of("lower").value_of("a") for each in supervisors]
        await supervisors[0].terminate()

        with pytest.raises(ActorDownError, match="actor 'a' is gone"):
            await actors[0].call("x")
        assert await actors[1].call("x") == ("x",)


async def test_a_name_is_taken_by_the_first_actor_of_a_spec() -> None:
    spec = Echo.child_spec("a", name="echo")
    async with open_dynamic_supervisor() as pool:
        first = await pool.start_child(spec)
        with pytest.raises(ChildStartError) as caught:
            await pool.start_child(spec)
        assert str(caught.value.__cause__) == "the name 'echo' is taken by 'root/a'"
        await first.terminate()

        again = await pool.start_child(spec)

        assert await pool.registry["echo"].call("x") == ("x",)
        assert again.value.name == "echo"
