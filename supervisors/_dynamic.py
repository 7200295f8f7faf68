"""The dynamic supervisor: any number of children that come and go, in no order.

What its administration calls answer, and how it stops; the rest is `_base`. Source: Elixir's
``DynamicSupervisor`` and OTP's ``simple_one_for_one``; ids, parking and handles are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
import trio

from ._base import BaseSupervisor
from ._children import OVER, Child
from ._errors import (
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    MaxChildrenError,
)
from ._spec import (
    ChildSpec,
    ChildState,
    SupervisorFlags,
    Value,
    another,
    check_childspecs,
    check_max_children,
)

if TYPE_CHECKING:
    from random import Random

    from ._mailbox import Operation
    from ._registry import Registry
    from ._spec import AutoShutdown


class DynamicSupervisor(BaseSupervisor):
    """A running dynamic supervisor. Made by `open_dynamic_supervisor` or `dynamic_child_spec`.

    Its children start one after the other, when they are asked for; they restart one by one,
    and stop all together. A child that has ended and is not to be restarted is forgotten.

    Every administration call is served by the supervisor's own task, in order. Cancelled
    before its turn, it did not happen. Cancelled while a child initialises for it, that is
    undone; any other goes on without its caller. A child that has not initialised cannot call
    a supervisor that waits for it: `RuntimeError`. One that is being stopped can, but nobody
    answers before it has ended or is given up.
    """

    _keeps_specs: ClassVar[bool] = False

    def __init__(
        self,
        flags: SupervisorFlags,
        *,
        name: str,
        max_children: int | None = None,
        registry: Registry | None = None,
        random: Random | None = None,
    ) -> None:
        check_max_children(max_children)
        super().__init__((), flags, name=name, registry=registry, random=random)
        self.max_children = max_children
        self._starts = 0

    @property
    def strategy(self) -> str:
        """Always ``dynamic``."""
        return "dynamic"

    async def start_child(self, spec: ChildSpec) -> DynamicChild:
        """Start a child and return its handle.

        The same spec may be started any number of times: an id that is in use is made unique
        by a number, ``conn#2``, and each actor has a mailbox of its own. A child that reports
        `IGNORE` is not kept.

        Raises:
          MaxChildrenError: If there are ``max_children`` already, running, waiting for their
            restart or parked.
          ChildSpecError: If the spec does not fit this supervisor.
          ChildStartError: If it did not initialise. It is not kept.
          SupervisorStoppedError: If the supervisor has ended.
        """
        check_childspecs([spec], auto_shutdown=self.flags.auto_shutdown)
        child: DynamicChild = await self._call(self._add, spec)
        return child

    async def reconfigure(
        self,
        *,
        max_children: int | None = None,
        intensity: int | None = None,
        period: float | None = None,
        auto_shutdown: AutoShutdown | None = None,
    ) -> None:
        """Change flags while everything runs. What is None stays as it is.

        A lower ``max_children`` ends nobody. The restarts within the window still count.

        Raises:
          ChildSpecError: If a flag breaks a rule, or does not fit a child. Nothing has changed.
          SupervisorStoppedError: If the supervisor has ended.
        """
        check_max_children(max_children)
        given: dict[str, Value] = {
            "intensity": intensity,
            "period": period,
            "auto_shutdown": auto_shutdown,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        attrs.evolve(self.flags, **changes)
        await self._call(self._change, max_children, changes)

    async def _terminate_child(self, child: Child) -> None:
        await self._call_terminate(child, self._terminate_if_here, child)

    async def _restart_child(self, child: Child) -> Value:
        return await self._call(self._start_parked, child)

    # -- in the supervisor's own task --------------------------------------------------------

    async def _add(self, operation: Operation, spec: ChildSpec) -> DynamicChild:
        if self.max_children is not None and len(self._children) >= self.max_children:
            raise MaxChildrenError(self.path, self.max_children)
        self._starts += 1
        number = self._starts
        unique = spec.id
        while self._children.get(unique) is not None:
            unique = f"{spec.id}#{number}"
            number += 1
        child = Child(another(spec, unique))
        self._children.add(child)
        await self._start_by_hand(operation, child, forget=True)
        return DynamicChild(self, child)

    async def _terminate_if_here(self, _operation: Operation, child: Child) -> None:
        if self._has(child):
            await self._terminate(child)

    async def _start_parked(self, operation: Operation, child: Child) -> Value:
        id = child.spec.id  # noqa: A001 - OTP's word
        if not self._has(child):
            raise ChildNotFoundError(self.path, id)
        if child.state == "running":
            raise ChildRunningError(self.path, id)
        if child.state == "restarting":
            raise ChildRestartingError(self.path, id)
        self._core.settle(id)
        return await self._start_by_hand(operation, child, forget=False)

    async def _change(
        self, _operation: Operation, max_children: int | None, changes: dict[str, Value]
    ) -> None:
        flags = attrs.evolve(self.flags, **changes)  # others may have changed them meanwhile
        check_childspecs(
            [child.spec for child in self._children], auto_shutdown=flags.auto_shutdown
        )
        self._change_flags(flags)
        if max_children is not None:
            self.max_children = max_children

    def _has(self, child: Child) -> bool:
        return self._children.get(child.spec.id) is child

    async def _stop_all(self) -> None:
        """Stop all children together: in no order, and within the longest of their times."""
        await self._stop_together(self._children)
        for child in self._children:
            self._note_down(child)

    def _note_down(self, child: Child) -> None:
        child.due = None
        child.become("stopped")  # nobody can restart a parked one any more


class DynamicChild:
    """One child of a dynamic supervisor: the way to stop it, across its restarts."""

    __slots__ = ("_child", "_supervisor")

    def __init__(self, supervisor: DynamicSupervisor, child: Child) -> None:
        self._supervisor = supervisor
        self._child = child

    def __repr__(self) -> str:
        return f"<DynamicChild {self.id!r} of {self._supervisor.path!r}, {self.state}>"

    @property
    def id(self) -> str:
        """Its id, unique among the children that there are."""
        return self._child.spec.id

    @property
    def state(self) -> ChildState:
        """Where it is in its life; ``finished`` or ``stopped``: it is gone."""
        return self._child.state

    @property
    def value(self) -> Value:
        """What its last incarnation has reported; `IGNORE` if it had nothing to do."""
        return self._child.value

    async def terminate(self) -> None:
        """Stop the child, or its pending restart. One that is gone: nothing happens.

        Cancelled before its turn, it did not happen; afterwards it goes on without its caller.

        Raises:
          SupervisorStoppedError: If the supervisor stops or has ended, and the child with it.
        """
        if self._child.state in OVER:
            await trio.lowlevel.checkpoint()
            return
        await self._supervisor._terminate_child(self._child)  # noqa: SLF001 - its own handle

    async def wait(self) -> None:
        """Wait until the child is gone: it has ended for good, or its supervisor has stopped it.

        A child that waits for its restart, or is parked, is not. Cancelling the wait changes
        nothing.
        """
        child = self._child
        if child.state in OVER:
            await trio.lowlevel.checkpoint()
            return
        if child.over is None:
            child.over = trio.Event()
        await child.over.wait()

    async def restart(self) -> Value:
        """Start the child again after it was parked; return the value it reported.

        Raises:
          ChildNotFoundError: If it is gone.
          ChildRunningError: If it runs.
          ChildRestartingError: If it is about to be restarted anyway.
          ChildStartError: If it did not initialise; it stays parked.
          SupervisorStoppedError: If the supervisor has ended.
        """
        return await self._supervisor._restart_child(self._child)  # noqa: SLF001 - its own handle
