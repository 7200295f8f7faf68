"""The children of one supervisor: their places, in start order, and when they restart.

Only the supervisor's own task changes it, between two awaits. What is done to a child is
`_supervisor`'s; what its exit leads to is decided by `_restart`.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Final

import attrs
import trio

from ._errors import ChildNotFoundError
from ._restart import group
from ._spec import ChildInfo, ChildSpec, ChildState, Strategy, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._child import ChildStatus
    from ._mailbox import Operation


OVER: Final = ("finished", "stopped")  # states in which nobody is about to start it again


@attrs.define(eq=False)
class Child:
    """A child's place in its supervisor: the spec, and the incarnation if there is one."""

    spec: ChildSpec
    state: ChildState = "starting"
    since_at: float = attrs.field(factory=trio.current_time)
    status: ChildStatus | None = None
    value: Value = None  # what the last incarnation has reported
    restarts: int = 0
    last_error: str | None = None
    due: float | None = None  # trio time of the next attempt to restart it and its group
    termination: Operation | None = None  # the last call of terminate_child
    over: trio.Event | None = None  # somebody waits until it is down for good

    def become(self, state: ChildState, now: float | None = None) -> None:
        self.state = state
        self.since_at = trio.current_time() if now is None else now
        if self.over is not None and state in OVER:
            self.over.set()

    def started(self, value: object, now: float) -> None:
        """Note that an incarnation has initialised: called by its own task, at once."""
        self.value = value
        self.due = None
        self.restarts += self.state == "restarting"
        self.become("running", now)

    @property
    def unwanted(self) -> bool:
        """Whether a call of terminate_child waits in the mailbox."""
        return self.termination is not None and self.termination.state == "queued"

    def info(self) -> ChildInfo:
        return ChildInfo(
            id=self.spec.id,
            state=self.state,
            type=self.spec.type,
            restarts=self.restarts,
            last_error=self.last_error,
            since_at=self.since_at,
        )


@attrs.define(eq=False)
class Children:
    """All children of one supervisor, in start order."""

    supervisor: str  # its path, for errors
    _by_id: dict[str, Child] = attrs.field(factory=dict, init=False)
    # A heap; an entry is stale where the child's own date differs.
    _due: list[tuple[float, int, Child]] = attrs.field(factory=list, init=False)
    _due_count: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Child]:
        """Iterate over them as they are now: they may change meanwhile."""
        return iter(list(self._by_id.values()))

    def __reversed__(self) -> Iterator[Child]:
        return reversed(list(self._by_id.values()))

    def __getitem__(self, id: str) -> Child:
        child = self._by_id.get(id)
        if child is None:
            raise ChildNotFoundError(self.supervisor, id, tuple(self._by_id))
        return child

    def get(self, id: str) -> Child | None:
        return self._by_id.get(id)

    def add(self, child: Child) -> None:
        """Put a child at the end of the order."""
        self._by_id[child.spec.id] = child

    def remove(self, child: Child) -> None:
        """Take a child out. One that another has replaced: nothing happens."""
        if self._by_id.get(child.spec.id) is child:
            del self._by_id[child.spec.id]

    def reorder(self, ids: Iterable[str]) -> None:
        """Put those ids at the end, in that order."""
        for each in ids:
            self._by_id[each] = self._by_id.pop(each)

    def group(self, strategy: Strategy, failed: Child) -> list[Child]:
        """Return those that restart together with ``failed``, in start order."""
        if strategy == "one_for_one":
            return [failed]
        order = list(self._by_id)
        return [self._by_id[each] for each in group(strategy, order, failed.spec.id)]

    def schedule(self, child: Child, at: float) -> None:
        """Set the date of the next attempt to restart a child and its group."""
        child.due = at
        self._due_count += 1
        heappush(self._due, (at, self._due_count, child))

    def unschedule(self, child: Child, strategy: Strategy) -> None:
        """Drop a pending restart; the rest of its group still comes back, when it was due."""
        due, child.due = child.due, None
        if due is None:
            return
        for heir in self.group(strategy, child):
            if heir is not child and heir.state == "restarting" and heir.due is None:
                self.schedule(heir, due)
                return

    def schedule_all(self) -> None:
        """Give a date to all who wait for another's: the groups are no longer what they were."""
        at = self.next_due()
        for child in self:
            if child.state == "restarting" and child.due is None:
                self.schedule(child, at)

    def pop_due(self, now: float) -> Child | None:
        """Return the child whose restart is due longest, and clear its date; None: none is."""
        if self.next_due() > now:
            return None
        child = heappop(self._due)[2]
        child.due = None
        return child

    def next_due(self) -> float:
        """Return the date of the next restart; infinity: none is pending."""
        while self._due and self._due[0][2].due != self._due[0][0]:
            heappop(self._due)
        return self._due[0][0] if self._due else inf
