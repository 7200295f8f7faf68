"""A worker of any kind of queue is stopped, killed or crashed after each step of what happens."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import attrs
import pytest
import trio

from queueactors import Retry, wait_until_idle
from queueactors.workers._pick_up import PickUps

from .kit import KINDS, any_queue, count, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from queueactors import Delivery

End = Literal["stop", "kill", "worker.stop", "crash"]


@attrs.define(eq=False)
class _AfterStep(trio.abc.Instrument):
    """Does something once ``steps`` more steps of any task have been taken."""

    steps: int
    act: Callable[[], object]
    done: bool = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self.steps -= 1
        if self.steps == 0:
            self.done = True
            self.act()


class Crash(Exception):  # noqa: N818 - what it is
    """Of the worker's task."""


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["stop", "kill", "worker.stop", "crash"])
async def test_whenever_a_worker_ends_each_message_is_finished_or_there_exactly_once(
    end: End, kind: str, autojump_clock: MockClock
) -> None:
    values = ["fails", "long", "short", "more"]
    step = 0
    spy = None
    while spy is None or spy.done:
        step += 1
        done: list[str] = []

        async def handler(delivery: Delivery) -> object:
            value = delivery.value
            assert delivery.attempt <= 2
            await trio.sleep(1 if value == "long" else 0)
            if value == "fails" and delivery.attempt == 1:
                return Retry(1)
            done.append(value)  # noqa: B023 - of this run
            return None

        async with any_queue(kind, *values) as (runtime, queue):
            shutdown: float = 0 if end == "kill" else 60
            worker = await runtime.start_worker(
                queue, handler, name="w", concurrency=2, shutdown=shutdown
            )
            enough = trio.Event()
            spy = _AfterStep(step, enough.set)
            trio.lowlevel.add_instrument(spy)
            with trio.move_on_after(20):
                await enough.wait()
            trio.lowlevel.remove_instrument(spy)
            if end == "crash":
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(PickUps, "take", _crash)
                    worker.scale(3)
                    await put(queue, "wake")
                    with trio.move_on_after(2):
                        while not worker.status().restarts:
                            await trio.lowlevel.checkpoint()
                await wait_until_idle(runtime)
            else:
                await (worker.stop() if end == "worker.stop" else runtime.stop("w"))
                left = await queue.len()
                assert worker.busy == 0, step
                assert len(done) + left == len(values), (step, done, left)
                await worker.start()
                await wait_until_idle(runtime)
            expected = Counter([*values, "wake"] if end == "crash" else values)
            assert Counter(done) == expected, step
            assert count(worker, "lost") == 0
    assert step > 30


async def _crash(*_args: object) -> list[object]:
    await trio.lowlevel.checkpoint()
    raise Crash
