"""Dynamic supervisors: stopping, stuck children, and children that call their supervisor."""
# ruff: noqa: A001, PT012 - OTP's words; the body belongs to what raises

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest
import trio

from supervisors import (
    ChildSpec,
    ChildStartError,
    RestartType,
    Shutdown,
    SupervisorStoppedError,
    child_spec,
    dynamic_child_spec,
    open_dynamic_supervisor,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, idle, settle, states, until_cancelled

if TYPE_CHECKING:
    from supervisors import ChildStatus, DynamicChild
    from tests.conftest import Events


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


def of(events: Events, event: str) -> list[object]:
    return [each["child"] for each in events if each["event"] == event]


# -- stopping ----------------------------------------------------------------------------------


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


# -- H: stopping -------------------------------------------------------------------------------


async def test_an_obedient_child_stops_and_a_stuck_one_is_killed(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:  # H 75
    began = trio.current_time()
    async with open_dynamic_supervisor() as pool:
        await pool.start_child(ChildSpec(id="stuck", start=in_a_shield, shutdown=3))
        await pool.start_child(ChildSpec(id="obedient", start=idle, shutdown=3))

    assert trio.current_time() - began == 3
    assert of(events, "child_killed") == ["stuck"]
    assert set(of(events, "child_stopped")) == {"stuck", "obedient"}


async def test_ten_children_are_killed_at_once(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:  # H 77
    began = trio.current_time()
    async with open_dynamic_supervisor() as pool:
        for _ in range(10):
            await pool.start_child(ChildSpec(id="a", start=in_a_shield, shutdown="brutal"))

    assert trio.current_time() == began
    assert len(of(events, "child_stopped")) == 10
    assert of(events, "child_killed") == []  # it was their own rule


async def test_errors_of_children_that_stop_change_nothing(
    stage: Stage, events: Events
) -> None:  # H 79
    async def ends_with(error: Exception | None, *, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            if error is not None:
                raise error

    errors = {"boom": Boom("x"), "shutdown": Shutdown(1), "normal": None}
    async with open_dynamic_supervisor(intensity=0) as pool:
        for id, error in errors.items():
            for restart in get_args(RestartType):
                await pool.start_child(
                    ChildSpec(id=id, start=ends_with, args=(error,), restart=restart)
                )

    assert of(events, "child_stop_error") == ["boom", "boom#2", "boom#3"]
    assert len(of(events, "child_stopped")) == 6


async def test_children_stop_together(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:  # H 80
    began = trio.current_time()
    async with open_dynamic_supervisor() as pool:
        for id in "abcdefghij":
            stage.slow[id] = 2
            await pool.start_child(stage.spec(id))
        await settle()

    assert trio.current_time() - began == 2


async def test_each_child_is_given_its_own_time_to_stop(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:  # H 82
    began = trio.current_time()
    async with open_dynamic_supervisor() as pool:
        await pool.start_child(ChildSpec(id="infinity", start=idle, shutdown="infinity"))
        for shutdown in (4, "brutal", 2.5, 0, 2.5, None):
            spec = ChildSpec(id=str(shutdown), start=out_of_reach, args=(9.5,), shutdown=shutdown)
            await pool.start_child(spec)

    killed = [
        (each["child"], each["after_seconds"]) for each in events if each["event"] == "child_killed"
    ]
    assert killed == [("0", 0), ("2.5", 2.5), ("2.5#6", 2.5), ("4", 4), ("None", 5)]
    # Those that were killed by 4.5 s had five seconds more by 9.5.
    assert of(events, "child_unkillable") == ["brutal", "0", "2.5", "2.5#6", "4"]
    assert trio.current_time() - began == 9.5


async def test_a_child_out_of_reach_does_not_delay_the_kill_of_another(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    async def dies_at(*, task_status: ChildStatus) -> None:
        try:
            await in_a_shield(task_status=task_status)
        finally:
            died_at.append(trio.current_time() - began)

    died_at: list[float] = []
    began = trio.current_time()
    async with open_dynamic_supervisor() as pool:
        for shutdown in (1, "brutal", 3):
            await pool.start_child(
                ChildSpec(id="rock", start=out_of_reach, args=(30,), shutdown=shutdown)
            )
            await pool.start_child(ChildSpec(id="a", start=dies_at, shutdown=shutdown))

    assert died_at == [0, 1, 3]
    assert len(of(events, "child_unkillable")) == 3
    assert trio.current_time() - began == 30


async def test_terminate_leaves_an_unkillable_child_behind(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    began = trio.current_time()
    async with open_dynamic_supervisor(max_children=1) as pool:
        child = await pool.start_child(
            ChildSpec(id="rock", start=out_of_reach, args=(100,), shutdown=1)
        )

        await child.terminate()

        assert trio.current_time() - began == 6
        assert states(pool) == {}
        await pool.start_child(ChildSpec(id="rock", start=idle))
        [report] = [each for each in events if each["event"] == "child_unkillable"]
        assert "in out_of_reach" in str(report["stack"])
    assert trio.current_time() - began == 100


async def test_kill_ends_all_at_once_in_the_middle_of_a_stop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    async with trio.open_nursery() as nursery, open_dynamic_supervisor() as pool:
        for shutdown in ("infinity", 50, "infinity", "brutal"):
            await pool.start_child(ChildSpec(id="a", start=in_a_shield, shutdown=shutdown))

        async def kill_later() -> None:
            await trio.sleep(2)
            pool.kill()

        nursery.start_soon(kill_later)
        pool.stop()
        await until_cancelled()

    assert trio.current_time() - began == 2


async def test_kill_ends_a_terminate_that_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    async with trio.open_nursery() as nursery, open_dynamic_supervisor() as pool:
        child = await pool.start_child(ChildSpec(id="a", start=in_a_shield, shutdown="infinity"))
        nursery.start_soon(child.terminate)
        await trio.sleep(1)
        pool.kill()
        await until_cancelled()

    assert trio.current_time() - began == 1
    assert child.state == "finished"


async def test_supervisors_below_stop_together_and_each_of_them_in_order(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    began = trio.current_time()
    stage.slow = dict.fromkeys("abcd", 1)
    async with open_dynamic_supervisor() as pool:
        await pool.start_child(child_spec("one", stage.specs("ab")))
        await pool.start_child(child_spec("two", stage.specs("cd")))
        mark = len(stage.journal)

    stops = [line[-1] for line in stage.since(mark)]
    assert trio.current_time() - began == 2
    assert set(stops[:2]) == {"b", "d"}


async def test_a_call_after_the_end_is_refused(stage: Stage) -> None:
    async with open_dynamic_supervisor() as pool:
        child = await pool.start_child(stage.spec("a"))

    for call in (child.restart, lambda: pool.start_child(stage.spec("b")), pool.reconfigure):
        with pytest.raises(SupervisorStoppedError, match="supervisor 'root' is not running"):
            await call()
    await child.terminate()  # it is gone
    assert (child.state, child.value) == ("stopped", "a#1")


async def test_a_call_during_the_stop_is_refused(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    stage.slow["a"] = 1
    refused: list[str] = []

    async def calls(*children: DynamicChild) -> None:
        for call in (children[0].terminate, lambda: pool.start_child(stage.spec("c"))):
            try:
                await call()
            except SupervisorStoppedError as error:
                refused.append(error.supervisor)

    async with trio.open_nursery() as nursery, open_dynamic_supervisor() as pool:
        child = await pool.start_child(stage.spec("a"))
        pool.stop()
        nursery.start_soon(calls, child)
        await until_cancelled()

    assert refused == ["root", "root"]


async def test_an_error_of_the_body_stops_the_children_and_leaves_bare(stage: Stage) -> None:
    with pytest.raises(Boom, match="body"):
        async with open_dynamic_supervisor() as pool:
            await pool.start_child(stage.spec("a"))
            raise Boom("body")

    assert stage.journal == ["start a", "stop a"]


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
