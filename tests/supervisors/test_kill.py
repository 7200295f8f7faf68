"""Killing: a whole sub-tree at once, in whatever it is just doing."""

# ruff: noqa: SIM117 - callers outside the tree

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal, get_args

import attrs
import pytest
import trio

from supervisors import (
    Backoff,
    ChildSpec,
    ChildStartError,
    Supervisor,
    SupervisorsError,
    SupervisorStoppedError,
    child_spec,
    open_supervisor,
)

from .kit import Boom, settle, states, until_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisors import ChildStatus, Strategy
    from tests.conftest import Events

Moment = Literal["start", "run", "stop", "restart", "group stop", "backoff", "start by hand"]


@attrs.define(eq=False)
class Scene:
    """A sub-tree that is just doing something, and would go on for very long."""

    moment: Moment
    crash: trio.Event = attrs.field(factory=trio.Event)
    hang: bool = False
    running: int = 0

    def spec(self, strategy: Strategy) -> ChildSpec:
        pace = Backoff(min=1e6, max=1e6, jitter=0)
        worker = ChildSpec(id="x", start=self.brittle, backoff=pace)
        still = ChildSpec(id="y", start=self.stubborn, shutdown="infinity")
        self.hang = self.moment == "start"
        return child_spec("low", [worker, still], strategy=strategy, intensity=9, shutdown="brutal")

    async def brittle(self, *, task_status: ChildStatus) -> None:
        self.running += 1
        try:
            with task_status.shield():
                if self.hang:
                    await until_cancelled()
                task_status.started()
                await self.crash.wait()
            raise Boom
        finally:
            self.running -= 1

    async def stubborn(self, *, task_status: ChildStatus) -> None:
        self.running += 1
        try:
            with task_status.shield():
                task_status.started()
                await until_cancelled()
        finally:
            self.running -= 1

    async def prepare(self, low: Supervisor, nursery: trio.Nursery) -> list[str]:
        """Bring the sub-tree to its moment; return what its callers were told, when they are."""
        told: list[str] = []

        async def call(operation: Callable[[], Awaitable[object]]) -> None:
            try:
                await operation()
            except SupervisorStoppedError:
                told.append("stopped")

        match self.moment:
            case "stop":
                low.stop()
            case "restart":
                self.hang = True
                self.crash.set()
            case "group stop" | "backoff":
                crash, self.crash = self.crash, trio.Event()
                crash.set()
                await settle()
                self.crash.set()
            case "start by hand":
                self.hang = True
                another = ChildSpec(id="z", start=self.brittle, shutdown="infinity")
                nursery.start_soon(call, lambda: low.start_child(another))
        await settle()
        nursery.start_soon(call, lambda: low.terminate_child("y"))
        await settle()
        return told


@pytest.mark.parametrize("moment", [each for each in get_args(Moment) if each != "start"])
@pytest.mark.parametrize("how", ["kill", "terminate", "kill the root", "stop the root"])
async def test_a_sub_tree_is_killed_at_once_and_answers_its_callers(
    moment: Moment, how: str, autojump_clock: trio.testing.MockClock
) -> None:
    scene = Scene(moment)
    began = trio.current_time()
    strategy: Strategy = "one_for_all" if moment == "group stop" else "one_for_one"
    async with trio.open_nursery() as nursery:
        async with open_supervisor([scene.spec(strategy)], intensity=9) as supervisor:
            low = supervisor.value_of("low")
            assert isinstance(low, Supervisor)
            told = await scene.prepare(low, nursery)

            match how:
                case "kill":
                    low.kill()
                case "terminate":
                    await supervisor.terminate_child("low")
                case "kill the root":
                    supervisor.kill()
                case _:
                    supervisor.stop()
            await low.wait()

            assert trio.current_time() == began
            assert set(states(low).values()) == {"stopped"}
            supervisor.stop()
    assert scene.running == 0
    assert trio.current_time() == began
    assert told == {"stop": ["stopped"], "start by hand": ["stopped"] * 2}.get(moment, told)


@pytest.mark.parametrize("how", ["kill", "terminate", "kill the root", "stop the root"])
async def test_a_sub_tree_is_killed_while_it_starts(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    scene = Scene("start")
    began = trio.current_time()

    async def add() -> None:
        with pytest.raises((ChildStartError, SupervisorStoppedError)):
            await supervisor.start_child(scene.spec("one_for_one"))

    async with trio.open_nursery() as nursery, open_supervisor() as supervisor:
        nursery.start_soon(add)
        await settle()
        assert (scene.running, states(supervisor)) == (1, {"low": "starting"})

        match how:
            case "terminate":
                with suppress(SupervisorsError):
                    await supervisor.terminate_child("low")
            case "kill" | "kill the root":
                supervisor.kill()
            case _:
                supervisor.stop()

    assert scene.running == 0
    assert trio.current_time() == began


async def test_a_killed_supervisor_ends_without_an_error_and_its_parent_restarts_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A kill is an operator's stop of that supervisor, not of its place in the tree."""
    scene = Scene("run")
    async with open_supervisor([scene.spec("one_for_one")], intensity=9) as supervisor:
        low = supervisor.value_of("low")
        assert isinstance(low, Supervisor)
        low.kill()
        await settle()

        assert states(supervisor) == {"low": "running"}
        assert supervisor.value_of("low") is not low
        assert scene.running == 2


async def test_what_is_killed_cleans_up_together(autojump_clock: trio.testing.MockClock) -> None:
    async def tidy(*, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            await until_cancelled()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    began = trio.current_time()
    specs = [ChildSpec(id=id, start=tidy) for id in "abc"]  # noqa: A001
    async with open_supervisor(specs) as supervisor:
        await settle()
        supervisor.kill()
        await until_cancelled()

    assert trio.current_time() - began == 2


async def test_being_killed_is_no_error_of_a_child(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    """Its own scope does not absorb a cancellation that comes from farther out."""

    async def nested(*, task_status: ChildStatus) -> None:
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await until_cancelled()

    low = child_spec("low", [ChildSpec(id=id, start=nested) for id in "ab"], shutdown="brutal")  # noqa: A001
    async with open_supervisor([child_spec("mid", [low], shutdown="brutal")]):
        await settle()

    assert "child_stop_error" not in [each["event"] for each in events]


async def test_a_shield_that_is_opened_after_the_kill_is_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def late(*, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            await until_cancelled()
        finally:
            with task_status.shield():
                await trio.sleep(1000)

    began = trio.current_time()
    async with open_supervisor([ChildSpec(id="a", start=late, shutdown="brutal")]):
        await settle()

    assert trio.current_time() == began
