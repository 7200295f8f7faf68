"""How a supervisor comes into being: around a body, or as a child of another.

The only file of this package that knows signals.
"""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

import trio

from ._dynamic import DynamicSupervisor
from ._errors import SupervisorStoppedError
from ._exceptions import bare_nursery
from ._spec import ChildSpec, SupervisorFlags
from ._supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable
    from contextlib import AbstractContextManager
    from random import Random

    from ._base import BaseSupervisor
    from ._registry import Registry
    from ._spec import AutoShutdown, Strategy


@asynccontextmanager
async def open_supervisor(  # noqa: PLR0913 - all keyword-only, all with defaults
    specs: Iterable[ChildSpec] = (),
    *,
    strategy: Strategy = "one_for_one",
    intensity: int = 1,
    period: float = 5.0,
    auto_shutdown: AutoShutdown = "never",
    name: str = "root",
    signals: bool | AsyncIterable[int] = False,
    registry: Registry | None = None,
    random: Random | None = None,
) -> AsyncIterator[Supervisor]:
    """Run a supervisor around the body of an ``async with``.

    The body starts once every child has initialised, in order. When the body ends, or is
    cancelled, the children are stopped in reverse order, each given its ``shutdown`` seconds.

    Args:
      specs: The children, in start order.
      strategy: Which siblings restart with a failed child.
      intensity: Restarts allowed within ``period``; >= 0.
      period: Seconds of the sliding window; > 0.
      auto_shutdown: Whether the end of significant children ends the supervisor; the body is
        cancelled then, silently.
      name: Of the supervisor, in logs and errors.
      signals: SIGINT and SIGTERM stop the supervisor in order, and cancel the body; a second
        one kills the children. Only in the main thread. Or what iterates over
        them, if the program has taken them over itself.
      registry: Where the children's names are kept; None: a new one.
      random: For the jitter of backoffs; None: a new one.

    Yields:
      The running `Supervisor`.

    Raises:
      ChildSpecError: If a spec or a flag breaks a rule. Nothing was started.
      ChildStartError: If a child did not initialise; ``__cause__`` is its error. There is no
        retry; those started before it were stopped again.
      RestartIntensityError: If it gave up; the body was cancelled.
      SupervisorStoppedError: If a signal came before the body began; ``.signal`` is that one.
    """
    flags = SupervisorFlags(
        strategy=strategy, intensity=intensity, period=period, auto_shutdown=auto_shutdown
    )
    supervisor = Supervisor(specs, flags, name=name, registry=registry, random=random)
    async with _running(supervisor, signals=signals):
        yield supervisor


@asynccontextmanager
async def open_dynamic_supervisor(  # noqa: PLR0913 - all keyword-only, all with defaults
    *,
    max_children: int | None = None,
    intensity: int = 1,
    period: float = 5.0,
    auto_shutdown: AutoShutdown = "never",
    name: str = "root",
    signals: bool | AsyncIterable[int] = False,
    registry: Registry | None = None,
    random: Random | None = None,
) -> AsyncIterator[DynamicSupervisor]:
    """Run a dynamic supervisor around the body of an ``async with``.

    It begins with no children; `DynamicSupervisor.start_child` adds them. When the body ends, or
    is cancelled, all children are stopped together, each given its ``shutdown`` seconds.

    Args:
      max_children: How many there may be, running, waiting for their restart or parked; >= 1.
        None: any number.
      intensity: Restarts of all children together that are allowed within ``period``; >= 0.
      period: Seconds of the sliding window; > 0.
      auto_shutdown: Whether the end of significant children ends the supervisor; the body is
        cancelled then, silently.
      name: Of the supervisor, in logs and errors.
      signals: SIGINT and SIGTERM stop the supervisor, and cancel the body; a second one kills
        the children. Only in the main thread. Or what iterates over them, if the program has
        taken them over itself.
      registry: Where the children's names are kept; None: a new one.
      random: For the jitter of backoffs; None: a new one.

    Yields:
      The running `DynamicSupervisor`.

    Raises:
      ChildSpecError: If a flag breaks a rule.
      RestartIntensityError: If it gave up; the body was cancelled.
    """
    flags = SupervisorFlags(intensity=intensity, period=period, auto_shutdown=auto_shutdown)
    supervisor = DynamicSupervisor(
        flags, name=name, max_children=max_children, registry=registry, random=random
    )
    async with _running(supervisor, signals=signals):
        yield supervisor


@asynccontextmanager
async def _running(
    supervisor: BaseSupervisor, *, signals: bool | AsyncIterable[int]
) -> AsyncIterator[None]:
    started = False
    with _received(signals) as received:
        async with bare_nursery() as nursery:
            with trio.CancelScope() as body:
                if received is not None:
                    nursery.start_soon(_stop_at_signals, received, supervisor, body)
                await nursery.start(_run_root, supervisor)
                nursery.start_soon(_cancel_when_ended, supervisor, body)
                started = True
                yield
            if not started:  # there is no body to go on with
                raise SupervisorStoppedError(supervisor.path, supervisor.stop_signal)
            supervisor.stop()
            await supervisor.wait()
            nursery.cancel_scope.cancel()


def _received(
    signals: bool | AsyncIterable[int],  # noqa: FBT001 - the argument of those above
) -> AbstractContextManager[AsyncIterable[int] | None]:
    if not isinstance(signals, bool):
        return nullcontext(signals)
    return trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) if signals else nullcontext()


async def _run_root(
    supervisor: BaseSupervisor, *, task_status: trio.TaskStatus[BaseSupervisor]
) -> None:
    await supervisor.run(task_status=task_status)


async def _cancel_when_ended(supervisor: BaseSupervisor, body: trio.CancelScope) -> None:
    await supervisor.wait()
    body.cancel()


async def _stop_at_signals(
    received: AsyncIterable[int], supervisor: BaseSupervisor, body: trio.CancelScope
) -> None:
    """Cancel the body at the first signal, so that all stops in order; kill at the second."""
    async for number in received:
        name = signal.Signals(number).name
        if supervisor.stop_signal is None:
            supervisor.stop_signal = signal.Signals(number)
            supervisor.log.info("supervisor_signal", signal=name, then="stop in order")
            body.cancel()
        else:
            supervisor.log.warning("supervisor_signal", signal=name, then="kill")
            supervisor.kill()
