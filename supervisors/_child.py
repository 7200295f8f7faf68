"""One incarnation of a child: its task, its shields, and what the supervisor knows of it.

The child sees it as its ``task_status``. Whether it is started, restarted or stopped is decided
by `_supervisor`.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import attrs
import trio

from ._exceptions import without_cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._errors import DownReason
    from ._registry import Registry
    from ._spec import ChildSpec

# A key, not a state: each supervised task finds its own child under it.
_current_child: ContextVar[ChildStatus] = ContextVar("supervised_child")


@runtime_checkable
class TellsDown(Protocol):
    """A `ChildSpec.start` that wants to know when nobody is about to run it any more."""

    def child_down(self, reason: DownReason) -> None:
        """Told once the child is stopped, parked, or gone with its supervisor."""


Phase = Literal["starting", "ready", "ended"]


@attrs.define(eq=False)
class ChildStatus:
    """One incarnation of a child: what its ``start`` function gets as ``task_status``.

    It is a `trio.TaskStatus`, and more: a child that has something to finish when it is asked
    to stop finishes it inside `shield`.
    """

    child: str
    path: str
    registry: Registry
    _on_end: Callable[[ChildStatus], None]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    phase: Phase = attrs.field(default="starting", init=False)
    stopping: bool = attrs.field(default=False, init=False)
    value: object = attrs.field(default=None, init=False)
    error: BaseException | None = attrs.field(default=None, init=False)
    ready_at: float | None = attrs.field(default=None, init=False)
    task: trio.lowlevel.Task | None = attrs.field(default=None, init=False)
    settled: trio.Event = attrs.field(factory=trio.Event, init=False)  # ready, or ended
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    at_end: list[Callable[[], None]] = attrs.field(factory=list, init=False)
    _shields: list[trio.CancelScope] = attrs.field(factory=list, init=False)
    _killed: bool = attrs.field(default=False, init=False)

    def started(self, value: object = None) -> None:
        """Say that the child has initialised; ``value`` goes to whoever started it.

        Raises:
          RuntimeError: If it was called before.
        """
        if self.phase != "starting":
            raise RuntimeError(f"child {self.path!r} called task_status.started() twice")
        self.phase = "ready"
        self.value = value
        self.ready_at = trio.current_time()
        self.settled.set()

    def shield(self) -> trio.CancelScope:
        """Return a new scope, shielded until the supervisor's patience ends.

        Inside it the child goes on after it was asked to stop, for the ``shutdown`` seconds of
        its spec; then the shield is taken away.
        """
        scope = trio.CancelScope(shield=not self._killed)
        self._shields.append(scope)
        return scope

    def kill(self) -> None:
        """Cancel the child and take all its shields away."""
        self._killed = True
        self.scope.cancel()
        for scope in self._shields:
            scope.shield = False

    async def run(self, spec: ChildSpec) -> None:
        """Be the child: run its start function and record how it ended. Never raises."""
        self.task = trio.lowlevel.current_task()
        _current_child.set(self)
        try:
            with self.scope:
                await spec.start(*spec.args, task_status=self)
        except BaseException as error:  # noqa: BLE001 - the supervisor decides about all
            self.error = without_cancelled(error)
        finally:
            self.phase = "ended"
            self.task = None
            for cleanup in reversed(self.at_end):
                cleanup()
            self.settled.set()
            self.ended.set()
            self._on_end(self)


def current_child() -> ChildStatus:
    """Return the supervised child that this task belongs to.

    Raises:
      RuntimeError: If it belongs to none.
    """
    try:
        return _current_child.get()
    except LookupError:
        raise RuntimeError("this task does not belong to a supervised child") from None
