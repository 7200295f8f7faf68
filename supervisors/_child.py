"""One incarnation of a child: its task, its shields, and what the supervisor knows of it.

The child sees it as its ``task_status``. Whether it is started, restarted or stopped is decided
by `_supervisor`.
"""

from __future__ import annotations

import traceback
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Literal, Protocol
from weakref import WeakSet

import attrs
import trio

from ._exceptions import without_cancelled
from ._spec import IGNORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._errors import DownReason
    from ._registry import Registry
    from ._spec import ChildSpec

# A key, not a state: each supervised task finds its own child under it.
_current_child: ContextVar[ChildStatus] = ContextVar("supervised_child")


class TellsDown(Protocol):
    """A `ChildSpec.start` that wants to know when nobody is about to run it any more."""

    def child_down(self, reason: DownReason) -> None:
        """Told once the child is stopped, parked, or gone with its supervisor."""


def tell_down(start: object, reason: DownReason) -> None:
    """Tell a start function of that kind; any other is no matter."""
    # Not isinstance() with a protocol: that took a tenth of the time of a stop.
    told = getattr(start, "child_down", None)
    if told is not None:
        told(reason)


def hears_of_end(start: object) -> bool:
    """Whether a start function is of that kind."""
    return getattr(start, "child_down", None) is not None


Phase = Literal["starting", "ready", "ended"]


@attrs.define(eq=False)
class ChildStatus:
    """One incarnation of a child: what its ``start`` function gets as ``task_status``.

    It is a `trio.TaskStatus`, and more: a child that has something to finish when it is asked
    to stop finishes it inside `shield`. ``path`` is the child's name after those of the supervisors
    above it, ``registry`` holds the names of its tree.
    """

    child: str
    path: str
    registry: Registry
    _on_start: Callable[[object, float], None]
    _on_end: Callable[[ChildStatus], None]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    phase: Phase = attrs.field(default="starting", init=False)
    stopping: bool = attrs.field(default=False, init=False)
    killed_at: float | None = attrs.field(default=None, init=False)
    shutdown_seconds: float = attrs.field(default=inf, init=False)
    patience: trio.CancelScope | None = attrs.field(default=None, init=False)  # of a stop
    value: object = attrs.field(default=None, init=False)
    error: BaseException | None = attrs.field(default=None, init=False)
    ready_at: float | None = attrs.field(default=None, init=False)
    task: trio.lowlevel.Task | None = attrs.field(default=None, init=False)
    settled: trio.Event = attrs.field(factory=trio.Event, init=False)  # or given up
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    at_end: list[Callable[[], None]] = attrs.field(factory=list, init=False)
    _shields: WeakSet[trio.CancelScope] | None = attrs.field(default=None, init=False)

    def started(self, value: object = None) -> None:
        """Say that the child has initialised; ``value`` goes to whoever started it.

        Raises:
          RuntimeError: If it was called before.
        """
        if self.phase != "starting":
            raise RuntimeError(
                f"child {self.path!r} called task_status.started() twice or too late"
            )
        self.phase = "ready"
        self.value = value
        self.ready_at = trio.current_time()
        if value is not IGNORE and not self.stopping:
            self._on_start(value, self.ready_at)
        self.settled.set()

    def shield(self) -> trio.CancelScope:
        """Return a new scope, shielded until the supervisor's patience ends.

        Inside it the child goes on after it was asked to stop, for the ``shutdown`` seconds of
        its spec; then the shield is taken away.
        """
        scope = trio.CancelScope(shield=self.killed_at is None)
        if self._shields is None:
            self._shields = WeakSet()  # weak: a child may open one for every message
        self._shields.add(scope)
        return scope

    def ask_to_stop(self) -> None:
        """Cancel the child, from now on at every checkpoint outside its shields."""
        self.stopping = True
        self.scope.cancel()

    def interrupt(self) -> None:
        """Ask it to stop if it is still initialising; its supervisor bounds that."""
        if self.phase == "starting":
            self.ask_to_stop()
            self.settled.set()

    def kill(self) -> None:
        """Cancel the child and take all its shields away. More than once: no change."""
        if self.killed_at is None:
            self.killed_at = trio.current_time()
        self.scope.cancel()
        for scope in self._shields or ():
            scope.shield = False
        if self.patience is not None:
            self.patience.cancel()

    def stack(self) -> list[str]:
        """Return where the child stands, one frame a line, and where its own tasks do."""
        return [] if self.task is None else _stack(self.task)

    async def run(self, spec: ChildSpec) -> None:
        """Be the child: run its start function and record how it ended. Never raises."""
        self.task = trio.lowlevel.current_task()
        self.shutdown_seconds = spec.shutdown_seconds
        _current_child.set(self)
        try:
            with self.scope:
                # One that is down before its first step must not begin: whoever waits for it
                # has been told already, and nobody would be told again.
                await trio.lowlevel.checkpoint_if_cancelled()
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


def _stack(task: trio.lowlevel.Task) -> list[str]:
    summary = traceback.StackSummary.extract(task.iter_await_frames())
    lines = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in summary]
    for nursery in task.child_nurseries:
        for each in nursery.child_tasks:
            lines += [f"task {each.name}:", *_stack(each)]
    return lines


def initialising_children(task: trio.lowlevel.Task) -> Iterator[ChildStatus]:
    """Yield the child that ``task`` is, its supervisor, and so on up, while they initialise."""
    while (status := task.context.get(_current_child)) is not None:
        if status.task is not task or status.phase != "starting" or task.parent_nursery is None:
            return
        yield status
        task = task.parent_nursery.parent_task


def current_child() -> ChildStatus:
    """Return the supervised child that this task belongs to.

    Raises:
      RuntimeError: If it belongs to none.
    """
    try:
        return _current_child.get()
    except LookupError:
        raise RuntimeError(
            "this task does not belong to a supervised child; call it from a child's own task"
        ) from None
