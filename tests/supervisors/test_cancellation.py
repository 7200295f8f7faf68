"""Cancel every public async operation after each of its steps: everything still works."""
# ruff: noqa: ARG002, A001, B023, SLF001 - handlers; looks inside

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    Actor,
    ActorRef,
    ChildSpec,
    ChildStartError,
    PendingReply,
    Registry,
    Supervisor,
    SupervisorsError,
    SupervisorStoppedError,
    child_spec,
    dynamic_child_spec,
    open_dynamic_supervisor,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, settle, states, until_cancelled
from .sweep import cancel_after_every_step_of_all, cancel_at_every_step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisors import ChildStatus, DynamicChild, DynamicSupervisor, Strategy

    Sweep = Callable[
        [Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]], Awaitable[int]
    ]

both_sweeps = pytest.mark.parametrize(
    "sweep", [cancel_at_every_step, cancel_after_every_step_of_all]
)


@both_sweeps
async def test_start_child_happens_or_it_does_not(stage: Stage, sweep: Sweep) -> None:
    async with open_supervisor(stage.specs("x")) as supervisor:

        async def operation() -> None:
            await supervisor.start_child(stage.spec("a"))

        async def check() -> None:
            await settle()
            if "a" in states(supervisor):  # done, though its caller may have left just after
                assert states(supervisor)["a"] == "running"
                await supervisor.terminate_child("a")
                await supervisor.delete_child("a")
            assert states(supervisor) == {"x": "running"}
            assert stage.journal.count("start a") == stage.journal.count("stop a")

        assert await sweep(operation, check) > 1


@both_sweeps
async def test_start_child_of_a_slow_child_is_undone(
    autojump_clock: trio.testing.MockClock, sweep: Sweep
) -> None:
    async def slow(*, task_status: ChildStatus) -> None:
        await trio.sleep(1)
        task_status.started()
        await trio.sleep_forever()

    async with open_supervisor() as supervisor:

        async def operation() -> None:
            await supervisor.start_child(ChildSpec(id="a", start=slow))

        async def check() -> None:
            await settle()
            for id in states(supervisor):
                assert states(supervisor)[id] == "running"
                await supervisor.terminate_child(id)
                await supervisor.delete_child(id)

        assert await sweep(operation, check) > 1


@both_sweeps
@pytest.mark.parametrize("method", ["terminate_child", "restart_child", "delete_child"])
async def test_a_call_on_a_child_happens_or_it_does_not(
    stage: Stage, sweep: Sweep, method: str
) -> None:
    stopped_first = method != "terminate_child"
    async with open_supervisor(stage.specs("ax")) as supervisor:
        if stopped_first:
            await supervisor.terminate_child("a")

        async def operation() -> None:
            await getattr(supervisor, method)("a")

        async def check() -> None:
            await settle()
            state = states(supervisor).get("a")
            assert state in {"running", "stopped", None}
            if state is None:
                await supervisor.start_child(stage.spec("a"))
            elif state == "stopped":
                await supervisor.restart_child("a")
            if stopped_first:
                await supervisor.terminate_child("a")
            assert states(supervisor)["x"] == "running"

        assert await sweep(operation, check) > 1


@both_sweeps
async def test_wait(sweep: Sweep, stage: Stage) -> None:
    async with trio.open_nursery() as nursery, open_supervisor(stage.specs("a")) as supervisor:

        async def operation() -> None:
            nursery.start_soon(settle)
            with trio.move_on_after(0):
                await supervisor.wait()

        async def check() -> None:
            assert states(supervisor) == {"a": "running"}

        await sweep(operation, check)


class Echo(Actor):
    """Answers, slowly or fast, and counts."""

    async def init(self, *args: object) -> None:
        self.handled = 0

    async def handle_call(self, message: object) -> object:
        self.handled += message == "count me"
        if message == "crash":
            raise Boom
        if message == "slow":
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        return self.handled


def _ref(supervisor: Supervisor) -> ActorRef:
    reference = supervisor.value_of("a")
    assert isinstance(reference, ActorRef)
    return reference


@both_sweeps
@pytest.mark.parametrize("message", ["fast", "slow", "crash"])
async def test_actor_calls(sweep: Sweep, message: str) -> None:
    spec = Echo.child_spec("a", backoff=NO_BACKOFF)
    async with open_supervisor([spec], intensity=1000) as supervisor:
        actor = _ref(supervisor)

        async def operation() -> None:
            try:
                await actor.call(message)
            except SupervisorsError:
                assert message == "crash"

        async def check() -> None:
            await settle()
            assert "0 waiting" in repr(actor)
            await actor.call("check")

        assert await sweep(operation, check) > 1


async def test_a_call_cancelled_before_it_is_taken_is_not_carried_out() -> None:
    async with open_supervisor([Echo.child_spec("a")]) as supervisor:
        actor = _ref(supervisor)
        with trio.CancelScope() as scope:
            scope.cancel()
            await actor.call("count me")

        assert await actor.call("how many") == 0


@both_sweeps
async def test_getting_a_pending_reply(sweep: Sweep) -> None:
    async with open_supervisor([Echo.child_spec("a")]) as supervisor:
        actor = _ref(supervisor)
        replies: list[PendingReply[object]] = []

        async def operation() -> None:
            replies.append(actor.submit("count me"))
            await replies[-1].get()

        async def check() -> None:
            assert await replies[-1].get() == len(replies)

        assert await sweep(operation, check) > 1


@both_sweeps
async def test_waiting_for_a_name(sweep: Sweep) -> None:
    registry = Registry()

    async def named(*, task_status: ChildStatus) -> None:
        registry.register("x", 1)
        task_status.started()
        await trio.sleep_forever()

    async with open_supervisor() as supervisor, trio.open_nursery() as nursery:

        async def operation() -> None:
            nursery.start_soon(supervisor.start_child, ChildSpec(id="a", start=named))
            assert await registry.wait_for("x") == 1

        async def check() -> None:
            await settle()
            assert registry._awaited == {}
            await supervisor.terminate_child("a")
            await supervisor.delete_child("a")
            assert registry.names() == ()

        assert await sweep(operation, check) > 1


@both_sweeps
@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_opening_running_and_closing_a_tree(sweep: Sweep, strategy: Strategy) -> None:
    """Whenever it is cancelled: all that started has stopped, in reverse order per level."""
    stage = Stage()

    async def operation() -> None:
        stage.journal.clear()
        low = child_spec("low", stage.specs("cd"), strategy=strategy, intensity=9)
        async with open_supervisor(
            [*stage.specs("ab"), low, stage.spec("e")], strategy=strategy, intensity=9
        ) as supervisor:
            inner = supervisor.value_of("low")
            assert isinstance(inner, Supervisor)
            stage.end("c", Boom())
            await inner.start_child(stage.spec("f"))
            stage.end("b", Boom())
            await supervisor.terminate_child("e")
            await settle()

    async def check() -> None:
        live: list[str] = []
        for line in stage.journal:
            what, id = line.split()
            if what == "start":
                live.append(id)
            else:
                live.remove(id)
        assert live == []
        await settle()

    assert await sweep(operation, check) > 3


@both_sweeps
async def test_closing_a_tree_with_a_slow_child(
    sweep: Sweep, autojump_clock: trio.testing.MockClock
) -> None:
    stage = Stage()
    stage.slow["b"] = 1

    async def operation() -> None:
        stage.journal.clear()
        async with open_supervisor([*stage.specs("a"), child_spec("low", stage.specs("bc"))]):
            pass

    async def check() -> None:
        starts = [each[-1] for each in stage.journal if each.startswith("start")]
        stops = [each[-1] for each in stage.journal if each.startswith("stop")]
        assert stops == starts[::-1]

    assert await sweep(operation, check) > 3


async def test_killing_a_sub_tree_at_every_step_of_its_life(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Killed while it starts, restarts or stops: it ends at once, and every caller is answered."""

    async def shielded(*, task_status: ChildStatus) -> None:
        with task_status.shield():
            await trio.lowlevel.checkpoint()
            task_status.started()
            await trio.sleep_forever()

    crash = trio.Event()

    async def crashing(*, task_status: ChildStatus) -> None:
        await trio.lowlevel.checkpoint()
        task_status.started()
        await crash.wait()
        raise Boom

    for steps in range(60):
        crash = trio.Event()
        leaves = [
            ChildSpec(id="s", start=shielded, shutdown="infinity"),
            ChildSpec(id="c", start=crashing, backoff=NO_BACKOFF),
        ]
        low = child_spec("low", leaves, strategy="one_for_all", intensity=99)
        answered = 0

        async def caller(inner: Supervisor) -> None:
            nonlocal answered
            with suppress(SupervisorsError):
                await inner.terminate_child("s")
            answered += 1

        async def add(supervisor: Supervisor) -> None:
            with suppress(SupervisorsError):
                await supervisor.start_child(low)

        began = trio.current_time()
        async with trio.open_nursery() as nursery, open_supervisor() as supervisor:
            nursery.start_soon(add, supervisor)
            inner: object = None
            for step in range(steps):
                await trio.lowlevel.checkpoint()
                if step == 20:
                    crash.set()
                if step == 30:
                    inner = supervisor.value_of("low")
                    assert isinstance(inner, Supervisor)
                    nursery.start_soon(caller, inner)
            supervisor.kill()
            await until_cancelled()
        assert trio.current_time() == began
        assert answered == (inner is not None)


# -- dynamic supervisors and reconfiguration ---------------------------------------------------


@both_sweeps
@pytest.mark.parametrize("seconds", [0, 1])
async def test_a_dynamic_start_happens_or_it_does_not(
    autojump_clock: trio.testing.MockClock, sweep: Sweep, seconds: float
) -> None:
    live: set[str] = set()

    async def child(*, task_status: ChildStatus) -> None:
        live.add(task_status.child)
        try:
            await trio.sleep(seconds)
            task_status.started()
            await trio.sleep_forever()
        finally:
            live.discard(task_status.child)

    handles: list[DynamicChild] = []
    async with open_dynamic_supervisor(max_children=1) as pool:

        async def operation() -> None:
            handles.append(await pool.start_child(ChildSpec(id="a", start=child)))

        async def check() -> None:
            await settle()
            # Without a handle, it did not happen.
            assert live == set(states(pool)) == {handle.id for handle in handles}
            while handles:
                await handles.pop().terminate()

        assert await sweep(operation, check) > 1


@both_sweeps
async def test_a_dynamic_terminate_happens_or_it_does_not(
    autojump_clock: trio.testing.MockClock, stage: Stage, sweep: Sweep
) -> None:
    stage.slow["a"] = 1
    async with open_dynamic_supervisor(max_children=1) as pool:
        handles = [await pool.start_child(stage.spec("a"))]

        async def operation() -> None:
            await handles[0].terminate()

        async def check() -> None:
            await trio.sleep(2)
            state = handles[0].state
            assert states(pool) == ({"a": "running"} if state == "running" else {})
            if state != "running":
                assert state == "finished"
                handles[0] = await pool.start_child(stage.spec("a"))

        assert await sweep(operation, check) > 1


@both_sweeps
@pytest.mark.parametrize("outcome", ["works", "fails"])
async def test_a_restart_of_a_parked_child_happens_or_it_does_not(
    autojump_clock: trio.testing.MockClock, sweep: Sweep, outcome: str
) -> None:
    crashes = [True]
    live: list[int] = []

    async def child(*, task_status: ChildStatus) -> None:
        live.append(1)
        try:
            if crashes:
                task_status.started("first")
                crashes.clear()
                raise Boom
            await trio.sleep(1)
            if outcome == "fails":
                raise Boom
            task_status.started("again")
            await trio.sleep_forever()
        finally:
            live.pop()

    async with open_dynamic_supervisor(intensity=0) as pool:
        handles: list[DynamicChild] = []

        async def park() -> None:
            crashes.append(True)
            handles[:] = [await pool.start_child(ChildSpec(id="a", start=child, on_give_up="park"))]
            await settle()
            assert handles[0].state == "parked"

        crashes.clear()
        await park()

        async def operation() -> None:
            with suppress(ChildStartError):
                await handles[0].restart()

        async def check() -> None:
            await settle()
            state = handles[0].state
            assert (len(live), state) in {(0, "parked"), (1, "running")}
            assert states(pool) == {"a": state}
            if state == "running":
                await handles[0].terminate()
                await park()

        assert await sweep(operation, check) > 1


@both_sweeps
async def test_a_reconfiguration_happens_or_it_does_not(stage: Stage, sweep: Sweep) -> None:
    async with open_supervisor(stage.specs("a")) as supervisor:

        async def operation() -> None:
            await supervisor.reconfigure(
                [stage.spec("b"), stage.spec("a", restart="transient")], intensity=9
            )

        async def check() -> None:
            await settle()
            happened = supervisor.flags.intensity == 9
            assert list(states(supervisor)) == (["b", "a"] if happened else ["a"])
            assert (supervisor.get_childspec("a").restart == "transient") is happened
            if happened:
                await supervisor.reconfigure(stage.specs("a"), intensity=1)
                await supervisor.delete_child("b")

        assert await sweep(operation, check) > 1


@both_sweeps
async def test_a_dynamic_reconfiguration_happens_or_it_does_not(sweep: Sweep) -> None:
    async with open_dynamic_supervisor() as pool:

        async def operation() -> None:
            await pool.reconfigure(max_children=9, intensity=9)

        async def check() -> None:
            await settle()
            assert (pool.max_children, pool.flags.intensity) in {(None, 1), (9, 9)}
            pool.max_children = None
            await pool.reconfigure(intensity=1)

        assert await sweep(operation, check) > 1


@both_sweeps
async def test_opening_running_and_closing_a_dynamic_tree(
    autojump_clock: trio.testing.MockClock, sweep: Sweep
) -> None:
    """Whenever it is cancelled: all that started has stopped."""
    stage = Stage()

    async def operation() -> None:
        stage.journal.clear()
        async with open_dynamic_supervisor(intensity=9) as pool:
            low = await pool.start_child(dynamic_child_spec("low", intensity=9))
            high = await pool.start_child(child_spec("high", stage.specs("ab"), intensity=9))
            child = await low.value.start_child(stage.spec("c"))
            await high.value.reconfigure(stage.specs("bad"), strategy="one_for_all")
            await high.value.restart_child("d")
            stage.end("c", Boom())
            stage.end("b", Boom())
            await child.terminate()
            await low.value.start_child(stage.spec("e"))
            await high.terminate()

    async def check() -> None:
        await settle()
        for id in "abcde":
            assert stage.journal.count(f"start {id}") == stage.journal.count(f"stop {id}")

    assert await sweep(operation, check) > 3


async def test_killing_a_dynamic_supervisor_at_every_step_of_its_life(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Killed while children start, restart or stop: it ends at once, every caller is answered."""

    async def shielded(*, task_status: ChildStatus) -> None:
        with task_status.shield():
            await trio.lowlevel.checkpoint()
            task_status.started()
            await trio.sleep_forever()

    async def crashing(*, task_status: ChildStatus) -> None:
        with task_status.shield():
            await trio.lowlevel.checkpoint()
            task_status.started()
            await trio.lowlevel.checkpoint()
            raise Boom

    answered: list[str] = []

    async def live(pool: DynamicSupervisor) -> None:
        try:
            stuck = ChildSpec(id="s", start=shielded, shutdown="infinity")
            children = [await pool.start_child(stuck) for _ in range(2)]
            await pool.start_child(ChildSpec(id="c", start=crashing, backoff=NO_BACKOFF))
            await pool.reconfigure(intensity=9999)
            with trio.move_on_after(0):
                await children[0].terminate()
            await children[1].terminate()
        except SupervisorStoppedError:
            answered.append("refused")
        else:
            answered.append("done")

    for steps in range(50):
        began = trio.current_time()
        answered.clear()
        async with trio.open_nursery() as nursery, open_supervisor() as top:
            pool = await top.start_child(dynamic_child_spec("pool", intensity=99, shutdown=1))
            nursery.start_soon(live, pool)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            pool.kill()
            await pool.wait()
            assert set(states(pool).values()) <= {"stopped"}
            await settle()
            assert len(answered) == 1
        assert trio.current_time() == began
