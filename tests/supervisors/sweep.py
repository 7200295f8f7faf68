"""Cancel an operation after each of its steps in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@attrs.define(eq=False)
class _CancelAfter(trio.abc.Instrument):
    """Cancels ``scope`` once ``task`` has run ``steps`` more steps."""

    scope: trio.CancelScope
    task: trio.lowlevel.Task
    steps: int

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.steps -= 1
            if self.steps == 0:
                self.scope.cancel()


async def cancel_at_every_step(
    operation: Callable[[], Awaitable[object]],
    check: Callable[[], Awaitable[object]],
) -> int:
    """Run ``operation``, cancelled after step 1, 2, 3 ..., until it completes.

    Args:
      operation: What to cancel. Must end in finitely many steps.
      check: Awaited after each run; fails if the object no longer works.

    Returns:
      The number of runs, so that a test can tell that it cancelled at all (> 1).
    """
    steps = 0
    while True:
        steps += 1
        with trio.CancelScope() as scope:
            spy = _CancelAfter(scope, trio.lowlevel.current_task(), steps)
            trio.lowlevel.add_instrument(spy)
            try:
                await operation()
            finally:
                trio.lowlevel.remove_instrument(spy)
        await check()
        if not scope.cancel_called:  # caught or not: it may complete although it is cancelled
            return steps


@attrs.define(eq=False)
class _CancelAfterAnyStep(trio.abc.Instrument):
    """Cancels ``scope`` once the whole run has made ``steps`` more steps."""

    scope: trio.CancelScope
    steps: int

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        self.steps -= 1
        if self.steps == 0:
            self.scope.cancel()


async def cancel_after_every_step_of_all(
    operation: Callable[[], Awaitable[object]],
    check: Callable[[], Awaitable[object]],
) -> int:
    """Like `cancel_at_every_step`, counting the steps of every task, not of the caller's only."""
    steps = 0
    while True:
        steps += 1
        with trio.CancelScope() as scope:
            spy = _CancelAfterAnyStep(scope, steps)
            trio.lowlevel.add_instrument(spy)
            try:
                await operation()
            finally:
                trio.lowlevel.remove_instrument(spy)
        await check()
        if not scope.cancel_called:  # caught or not: it may complete although it is cancelled
            return steps
