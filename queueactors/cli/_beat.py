"""What a service manager is told while a runtime starts, runs and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from supervisors import describe

if TYPE_CHECKING:
    from queueactors._runtime import Runtime

    from ._notify import Notifier

EVERY: Final = 5.0  # seconds between two looks at the runtime; less if the watchdog asks for it


@attrs.define(eq=False)
class Beat:
    """Tells how a runtime is, again and again, as long as its loop turns.

    The watchdog is fed from before the start until after the stop, both of which may take their
    time. It is not fed any more once the runtime has given up: from then on nothing is served, and
    if the stop hangs as well, somebody has to end it.

    Args:
      notifier: Who is told.
    """

    notifier: Notifier
    _runtime: Runtime | None = None
    _asked: bool = False  # to stop
    _failed: bool = False

    async def run(self) -> None:
        """Tell until cancelled."""
        if not self.notifier.is_heard:
            return
        every = EVERY if self.notifier.watchdog is None else min(EVERY, self.notifier.watchdog / 2)
        while True:
            self._look()
            await trio.sleep(every)

    def started(self, runtime: Runtime) -> None:
        """Everything configured is up."""
        self._runtime = runtime
        self.notifier.ready()
        self._look()

    def stopping(self) -> None:
        """The runtime, or its start, is about to stop: it was asked to, or has ended by itself."""
        if self._asked:
            return
        self._asked = True
        if self._runtime is not None:
            # One that has given up stops before anybody asks.
            signal = self._runtime.supervisor.stop_signal
            self._failed = self._runtime.supervisor.state != "running" and signal is None
        self.notifier.stopping()
        self._look()

    def _look(self) -> None:
        runtime = self._runtime
        if runtime is not None and not self._asked and runtime.supervisor.state != "running":
            self.stopping()
            return
        if not self._failed:
            self.notifier.feed()
        self.notifier.status(self._text(runtime))

    def _text(self, runtime: Runtime | None) -> str:
        if self._failed:
            return "failed: the runtime has given up, and stops"
        if self._asked:
            return "stopping"
        if runtime is None:
            return "starting"
        try:
            missing = runtime.not_ready()
        except Exception as error:  # noqa: BLE001 - a store of somebody's; the daemon needs none of it
            missing = (f"nobody knows: {describe(error)}",)
        return status_text(len(runtime.queues()), len(runtime.workers()), missing)


def status_text(queues: int, workers: int, missing: tuple[str, ...]) -> str:
    """Return how a runtime is, in one line."""
    counts = f"{_count(queues, 'queue')}, {_count(workers, 'worker')}"
    if not missing:
        return f"{counts}: ready"
    more = f", and {len(missing) - 1} more" if missing[1:] else ""
    return f"{counts}: not ready: {missing[0]}{more}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
