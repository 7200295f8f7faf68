"""How a supervisor comes into being: around a body, or as a child of another.

The only file of this package that knows signals.
"""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, TypedDict, Unpack

import attrs
import trio

from ._checks import text
from ._child import Owns, another
from ._dynamic import DynamicSupervisor, check_max_children
from ._errors import ChildSpecError, SupervisorStoppedError
from ._exceptions import bare_nursery
from ._spec import ChildSpec, SupervisorFlags, check_childspecs, child_list
from ._supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable
    from contextlib import AbstractContextManager
    from random import Random

    from ._backoff import Backoff
    from ._base import BaseSupervisor
    from ._child import ChildStatus
    from ._registry import Registry
    from ._spec import AutoShutdown, OnGiveUp, RestartType, ShutdownTime, Strategy


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


class ChildOptions(TypedDict, total=False):
    """The options of `ChildSpec` that a helper passes on."""

    restart: RestartType
    shutdown: ShutdownTime | None
    significant: bool
    init_timeout: float | None
    backoff: Backoff
    on_give_up: OnGiveUp


def child_spec(  # noqa: PLR0913 - all keyword-only, all with defaults
    id: str,
    children: Iterable[ChildSpec],
    *,
    strategy: Strategy = "one_for_one",
    intensity: int = 1,
    period: float = 5.0,
    auto_shutdown: AutoShutdown = "never",
    name: str | None = None,
    random: Random | None = None,
    stopped: set[str] | None = None,
    **child_options: Unpack[ChildOptions],
) -> ChildSpec:
    """Return the spec of a supervisor that is itself a child: trees of any depth.

    It reports the `Supervisor`. Restarted, it starts ``children`` again; those that were added
    later are gone, as in OTP.

    Args:
      id: Its id, and the last part of its path.
      children: Its children, in start order.
      strategy: As for `open_supervisor`; so are the next three.
      intensity: Restarts allowed within ``period``.
      period: Seconds of the sliding window.
      auto_shutdown: Whether the end of significant children ends it.
      name: To register the supervisor under, in the registry of the tree. None: not.
      random: For the jitter of backoffs; None: a new one.
      stopped: The ids of the children that an operator has stopped, and that stay stopped when the
        supervisor is started again; it keeps the set up to date. Specs that are made anew for the
        same supervisor share it. None: a new one.
      **child_options: As for `ChildSpec`.

    Raises:
      ChildSpecError: If a spec, a flag or the name breaks a rule.
    """
    flags = SupervisorFlags(
        strategy=strategy, intensity=intensity, period=period, auto_shutdown=auto_shutdown
    )
    specs = tuple(child_list(children))
    check_childspecs(specs, auto_shutdown=auto_shutdown)
    start = SupervisorStart(flags, name, random, specs, set() if stopped is None else stopped)
    return ChildSpec(id=id, start=start, type="supervisor", **child_options)


def dynamic_child_spec(  # noqa: PLR0913 - all keyword-only, all with defaults
    id: str,
    *,
    max_children: int | None = None,
    intensity: int = 1,
    period: float = 5.0,
    auto_shutdown: AutoShutdown = "never",
    name: str | None = None,
    random: Random | None = None,
    **child_options: Unpack[ChildOptions],
) -> ChildSpec:
    """Return the spec of a dynamic supervisor that is a child of another supervisor.

    It reports the `DynamicSupervisor`. Restarted, it begins with no children.

    Args:
      id: Its id, and the last part of its path.
      max_children: As for `open_dynamic_supervisor`; so are the next three.
      intensity: Restarts allowed within ``period``.
      period: Seconds of the sliding window.
      auto_shutdown: Whether the end of significant children ends it.
      name: To register the supervisor under, in the registry of the tree. None: not.
      random: For the jitter of backoffs; None: a new one.
      **child_options: As for `ChildSpec`.

    Raises:
      ChildSpecError: If a flag or the name breaks a rule.
    """
    flags = SupervisorFlags(intensity=intensity, period=period, auto_shutdown=auto_shutdown)
    check_max_children(max_children)
    start = DynamicSupervisorStart(flags, name, random, max_children)
    return ChildSpec(id=id, start=start, type="supervisor", **child_options)


@attrs.frozen(eq=False)
class _Start:
    """A start function that is a supervisor: what it is made of can be looked at."""

    flags: SupervisorFlags
    name: str | None
    random: Random | None

    def __attrs_post_init__(self) -> None:
        faults = [] if self.name is None else text("name", self.name)
        if faults:
            raise ChildSpecError(faults)

    def make(self, id: str) -> BaseSupervisor:
        """Return a new supervisor."""
        raise NotImplementedError

    async def __call__(self, *, task_status: ChildStatus) -> None:
        supervisor = self.make(task_status.child)
        if self.name is not None:
            task_status.registry.register(self.name, supervisor, owner=task_status)
        await supervisor.run(task_status=task_status)


@attrs.frozen(eq=False)
class SupervisorStart(_Start, Owns):
    """What `child_spec` starts."""

    specs: tuple[ChildSpec, ...]
    stopped: set[str]

    def make(self, id: str) -> Supervisor:
        """Return a new static supervisor."""
        return Supervisor(self.specs, self.flags, name=id, random=self.random, stopped=self.stopped)

    def another(self, _id: str, /) -> SupervisorStart:
        specs = tuple(another(spec, spec.id) for spec in self.specs)
        return attrs.evolve(self, specs=specs, stopped=set(self.stopped))


@attrs.frozen(eq=False)
class DynamicSupervisorStart(_Start):
    """What `dynamic_child_spec` starts."""

    max_children: int | None

    def make(self, id: str) -> DynamicSupervisor:
        """Return a new dynamic supervisor."""
        return DynamicSupervisor(
            self.flags, name=id, max_children=self.max_children, random=self.random
        )
