"""The static supervisor: children known by id, in an order that means something.

What its administration calls answer, and nothing else: the rest is `_base`. Source: OTP's
``supervisor``, administration functions and ``code_change``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from ._base import BaseSupervisor
from ._child import hears_of_end, tell_down
from ._children import Child
from ._errors import (
    ChildAlreadyPresentError,
    ChildAlreadyStartedError,
    ChildRestartingError,
    ChildRunningError,
)
from ._spec import ChildSpec, SupervisorFlags, Value, check_childspecs, child_list

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from ._mailbox import Operation
    from ._registry import Registry
    from ._spec import AutoShutdown, Strategy


class Supervisor(BaseSupervisor):
    """A running supervisor. Made by `open_supervisor`, or as a child by `child_spec`.

    Every administration call is served by the supervisor's own task, in order. Cancelled
    before its turn, it did not happen. Cancelled while a child initialises for it, that is
    undone; any other goes on without its caller. A child that has not initialised cannot call
    a supervisor that waits for it: `RuntimeError`. One that is being stopped can, but nobody
    answers before it has ended or is given up.
    """

    _keeps_specs: ClassVar[bool] = True

    def __init__(  # noqa: PLR0913 - all but two keyword-only
        self,
        specs: Iterable[ChildSpec],
        flags: SupervisorFlags,
        *,
        name: str,
        registry: Registry | None = None,
        random: Random | None = None,
        stopped: set[str] | None = None,
    ) -> None:
        specs = child_list(specs)
        check_childspecs(specs, auto_shutdown=flags.auto_shutdown)
        super().__init__(specs, flags, name=name, registry=registry, random=random)
        if stopped is not None:
            self._wanted_down = stopped

    def supervisors(self) -> tuple[Supervisor, ...]:
        """Return its children that are static supervisors and run, in start order."""
        running = [
            child.value
            for child in self._children
            if child.status is not None and child.status.phase == "ready"
        ]
        return tuple(value for value in running if isinstance(value, Supervisor))

    async def start_child(self, spec: ChildSpec) -> Value:
        """Add a child at the end of the order, start it, and return the value it reported.

        Raises:
          ChildAlreadyStartedError: If that id is running.
          ChildAlreadyPresentError: If a spec of that id is kept; use `restart_child`.
          ChildSpecError: If the spec does not fit this supervisor.
          ChildStartError: If it did not initialise; its spec is dropped again.
          SupervisorStoppedError: If the supervisor has ended.
        """
        check_childspecs([spec], auto_shutdown=self.flags.auto_shutdown)
        return await self._call(self._add, spec)

    async def terminate_child(self, id: str) -> None:
        """Stop a child, or its pending restart; it stays stopped. No effect on siblings.

        The spec is kept for `restart_child`, unless the child is temporary. A second time:
        nothing happens. A child that is just initialising is interrupted.

        Raises:
          ChildNotFoundError: If there is no such child.
          SupervisorStoppedError: If the supervisor has ended.
        """
        await self._call_terminate(self._children.get(id), self._terminate_by_id, id)

    async def withdraw_child(self, id: str) -> ChildSpec:
        """Stop a child and forget its spec, for somebody who will start it again; return the spec.

        Unlike `terminate_child` it does not tell the child that it is down: those who wait for an
        actor go on waiting, for the incarnation to come, here or under another supervisor. A
        child that is just initialising is interrupted.

        Raises:
          ChildNotFoundError: If there is no such child.
          SupervisorStoppedError: If the supervisor has ended.
        """
        spec: ChildSpec = await self._call_terminate(self._children.get(id), self._withdraw, id)
        return spec

    async def restart_child(self, id: str, *, park: bool = False) -> Value:
        """Start a child that is stopped, finished or parked; return the value it reported.

        Args:
          id: The child's.
          park: One that does not initialise is parked then.

        Raises:
          ChildNotFoundError: If there is no such child.
          ChildRunningError: If it runs.
          ChildRestartingError: If it is about to be restarted anyway.
          ChildStartError: If it did not initialise. A parked child stays parked, any other is
            stopped then, unless ``park`` says otherwise.
          SupervisorStoppedError: If the supervisor has ended.
        """
        hash(id)  # an error here is the caller's own
        return await self._call(self._start_again, id, park)

    async def delete_child(self, id: str) -> None:
        """Forget the spec of a child that does not run.

        Raises:
          ChildNotFoundError: If there is no such child.
          ChildRunningError: If it runs.
          ChildRestartingError: If it is about to be restarted.
          SupervisorStoppedError: If the supervisor has ended.
        """
        hash(id)  # an error here is the caller's own
        await self._call(self._delete, id)

    async def reconfigure(
        self,
        specs: Iterable[ChildSpec] | None = None,
        *,
        strategy: Strategy | None = None,
        intensity: int | None = None,
        period: float | None = None,
        auto_shutdown: AutoShutdown | None = None,
    ) -> None:
        """Change flags and child specs while everything runs; no child is started or stopped.

        What is None stays as it is. A spec of a known id replaces the old one: it governs the
        child's exit and stop from now on, and its next start. A new id is there, stopped, until
        `restart_child`. An id that is not among ``specs`` is kept. Order: those that are kept
        but not given, then ``specs``. The restarts within the window still count. Change a spec
        with `attrs.evolve`: another `Actor.child_spec` has another mailbox, and references to the
        first end with the incarnation that runs.

        Raises:
          ChildSpecError: If a spec or a flag breaks a rule. Nothing has changed.
          SupervisorStoppedError: If the supervisor has ended.

        Source: OTP's ``supervisor:code_change``.
        """
        given: dict[str, Value] = {
            "strategy": strategy,
            "intensity": intensity,
            "period": period,
            "auto_shutdown": auto_shutdown,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        specs = [] if specs is None else child_list(specs)
        flags = attrs.evolve(self.flags, **changes)
        check_childspecs(specs, auto_shutdown=flags.auto_shutdown)
        await self._call(self._change, specs, changes)

    # -- in the supervisor's own task --------------------------------------------------------

    async def _add(self, operation: Operation, spec: ChildSpec) -> object:
        known = self._children.get(spec.id)
        if known is not None:
            if known.state == "running":
                raise ChildAlreadyStartedError(self.path, spec.id)
            raise ChildAlreadyPresentError(self.path, spec.id)
        child = Child(spec)
        self._children.add(child)
        return await self._start_by_hand(operation, child, forget=True)

    async def _start_again(self, operation: Operation, id: str, park: bool) -> object:  # noqa: FBT001
        child = self._down(id)
        self._core.settle(id)
        self._wanted_down.discard(id)
        if park:
            child.become("parked")
        return await self._start_by_hand(operation, child, forget=False)

    async def _terminate_by_id(self, _operation: Operation, id: str) -> None:
        await self._terminate(self._children[id])

    async def _withdraw(self, _operation: Operation, id: str) -> ChildSpec:
        child = self._children[id]
        await self._stop_together([child])
        self._children.unschedule(child, self.flags.strategy)
        self._forget(child)
        return child.spec

    async def _delete(self, _operation: Operation, id: str) -> None:
        child = self._down(id)
        self._tell_down(child, "gone")
        self._forget(child)

    def _down(self, id: str) -> Child:
        child = self._children[id]
        if child.state == "running":
            raise ChildRunningError(self.path, id)
        if child.state == "restarting":
            raise ChildRestartingError(self.path, id)
        return child

    async def _change(
        self, _operation: Operation, specs: list[ChildSpec], changes: dict[str, Value]
    ) -> None:
        flags = attrs.evolve(self.flags, **changes)  # others may have changed them meanwhile
        ids = {spec.id for spec in specs}
        kept = [child.spec for child in self._children if child.spec.id not in ids]
        check_childspecs([*kept, *specs], auto_shutdown=flags.auto_shutdown)
        self._change_flags(flags)
        for spec in specs:
            child = self._children.get(spec.id)
            if child is None:
                self._children.add(Child(spec, state="stopped"))
                self._wanted_down.add(spec.id)
            else:
                self._replace_spec(child, spec)
        self._children.reorder([spec.id for spec in specs])
        self._children.schedule_all()

    def _replace_spec(self, child: Child, spec: ChildSpec) -> None:
        replaced: object = child.spec.start
        child.spec = spec
        if child.status is not None:
            child.status.shutdown_seconds = spec.shutdown_seconds
        if replaced is spec.start or not hears_of_end(replaced):
            return  # nothing to tell: and what runs for years must not keep what it replaced

        def gone() -> None:
            present: object = child.spec.start
            if present is not replaced:  # it may have been put back
                tell_down(replaced, "gone")

        if child.status is None:
            gone()
        else:  # what runs is the last of its kind
            child.status.at_end.append(gone)
