"""Idle: who waits costs nothing, and who spins is not the supervisor."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs
import trio

from supervisors import Actor, ChildSpec, child_spec, open_supervisor

from .kit import Stage, idle, settle, until_cancelled

if TYPE_CHECKING:
    from supervisors import ChildStatus


@attrs.define(eq=False)
class CountSteps(trio.abc.Instrument):
    """Counts the steps of every task, by its name."""

    steps: Counter[str] = attrs.field(factory=Counter)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps[task.name] += 1


async def test_a_thousand_idle_children_take_no_step(
    autojump_clock: trio.testing.MockClock,
) -> None:
    below = child_spec("low", [ChildSpec(id=str(n), start=idle) for n in range(100)])
    specs = [ChildSpec(id=str(n), start=idle) for n in range(800)]
    actors = [Actor.child_spec(f"actor {n}") for n in range(100)]
    async with open_supervisor([*specs, *actors, below]) as supervisor:
        await settle()
        trio.lowlevel.add_instrument(spy := CountSteps())
        await trio.sleep(3600)
        trio.lowlevel.remove_instrument(spy)

        assert supervisor.count_children().active == 901
        assert list(spy.steps) == [trio.lowlevel.current_task().name]


async def test_a_child_that_swallows_cancellation_spins_alone(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    """Nobody can stop it (4.3), but its supervisor only waits for it."""

    async def deaf(*, task_status: ChildStatus) -> None:
        task_status.started()
        for _ in range(5000):
            try:
                await until_cancelled()
            except trio.Cancelled:
                continue

    spy = CountSteps()
    async with open_supervisor([*stage.specs("ab"), ChildSpec(id="deaf", start=deaf)]):
        await settle()
        trio.lowlevel.add_instrument(spy)
    trio.lowlevel.remove_instrument(spy)

    assert spy.steps.pop("root/deaf") >= 5000
    assert spy.steps.total() < 50
