"""A supervisor as a child of another: its spec, which can be looked at before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

import attrs

from ._checks import text
from ._errors import ChildSpecError
from ._spec import (
    ChildSpec,
    Owns,
    SupervisorFlags,
    another,
    check_childspecs,
    check_max_children,
    child_list,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from ._backoff import Backoff
    from ._base import BaseSupervisor
    from ._child import ChildStatus
    from ._dynamic import DynamicSupervisor
    from ._spec import AutoShutdown, OnGiveUp, RestartType, ShutdownTime, Strategy
    from ._supervisor import Supervisor


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
        from ._supervisor import Supervisor  # whoever only looks at a spec does without trio

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
        from ._dynamic import DynamicSupervisor

        return DynamicSupervisor(
            self.flags, name=id, max_children=self.max_children, random=self.random
        )
