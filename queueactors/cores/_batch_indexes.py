"""The indexes of a batch queue: all that can be rebuilt from its records.

Which batch can be claimed next, which belong together, and what happens by itself, and when.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Final

from ._agenda import Agenda
from ._batch_values import NEVER, Batch, BatchRecords
from ._trash import Trash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ._changed import Changed

SLICE: Final = 1000  # batches that become due, or are let go of, between two turns of others


class BatchIndexes:
    """Which batch is where, and what happens next by itself.

    Args:
      records: What they are built from, by `rebuild`.
      changed: Where to note what a store has to write; None: it writes nothing.
    """

    def __init__(self, records: BatchRecords, changed: Changed | None) -> None:
        self.records = records
        self.notices: list[tuple[str, dict[str, object]]] = []  # for the log: event, facts
        self._messages = records.messages
        self._counters = records.counters
        self._changed = changed
        self._trash = Trash()
        self._empty()

    def _empty(self) -> None:
        # Batches by their id, and those that belong together by their claim's key, negative.
        self._ready: OrderedDict[int, None] = OrderedDict()  # in the order of becoming so
        self._cooling = Agenda[int]()  # what waits for an instant
        self._groups: dict[int, list[Batch]] = {}  # by key: claimed, or to be tried again
        self._buried: dict[int, Batch] = {}
        self._dead: dict[int, Batch] = {}
        self._resting = self._retrying = self._claimed = 0  # batches in these states
        self._items = 0  # in all batches

    def rebuild(self) -> Iterator[None]:
        """Build all indexes from the records; yield whenever others may run."""
        ready: list[tuple[int, int]] = []  # instants, and numbers as in `_ready`
        batches = iter(self._messages.values())
        while some := list(islice(batches, SLICE)):
            for batch in some:
                self._items += batch.size
                self._place(batch, ready)
            yield
        self._place_groups(ready)
        ready.sort()
        entries = iter(ready)
        while parts := list(islice(entries, SLICE)):
            for _, number in parts:
                self._ready[number] = None
            yield
        if self._changed is not None:  # a commit failed that was to write these
            self._changed.update(self.records.unwritten())

    def _place(self, batch: Batch, ready: list[tuple[int, int]]) -> None:
        """Put a batch where its record says."""
        match batch.state:
            case "ready":
                ready.append((batch.ready_at, batch.id))
            case "cooling":
                self._cooling.put(batch.id, batch.ready_at, batch.id)
                self._resting += 1
            case "retry":
                self._groups.setdefault(batch.key, []).append(batch)
                self._retrying += 1
            case "claimed":
                self._groups.setdefault(batch.key, []).append(batch)
                self._claimed += 1
            case "buried":
                self._buried[batch.id] = batch
            case "dead":
                self._dead[batch.id] = batch

    def _place_groups(self, ready: list[tuple[int, int]]) -> None:
        """Put what belongs together where its records say, and what waited for what has passed."""
        ended = []  # claims, with the process that had them
        for key, group in self._groups.items():
            first = group[0]
            if first.state == "retry":
                self._cooling.put(-key, first.ready_at, -key)
            elif first.deadline_at < NEVER:
                ended.append((key, first.deadline_at))
        # An instant that others have been ready since has passed: so the order is as it was.
        passed = max(ready, default=(0, 0))[0]
        while (due := self._cooling.first()) is not None and due[0] <= passed:
            at, number, _ = due
            self._cooling.pop()
            ready.append((at, number))
            if number > 0:
                self._resting -= 1
                self._messages[number].state = "ready"
        for key, at in ended:
            self._cooling.put(-key, at, -key)

    def _throw_away(self) -> None:
        """Forget all batches."""
        self._trash.throw(
            self._messages.popitem,
            self._ready.popitem,
            *self._cooling.containers(),
            self._groups.popitem,
            self._buried.popitem,
            self._dead.popitem,
        )
        self._empty()
        if self._changed is not None:
            self._changed.clear()
            self._changed.cleared = True
        self._messages = self.records.messages = {}

    # -- one batch -----------------------------------------------------------------------------

    def _add(self, batches: list[Batch]) -> None:
        """Put new batches into the indexes, and note that they are to be written."""
        for batch in batches:
            self._items += batch.size
            self._ready[batch.id] = None
        self._note(batches)

    def _claim_of(self, key: int) -> list[Batch] | None:
        """Return the batches of a claim; None: it has ended, perhaps with its process."""
        group = self._groups.get(key)
        return group if group is not None and group[0].deadline_at == NEVER else None

    def _take_out(self, batch: Batch) -> None:
        """Remove a batch from the index that it is in."""
        self._items -= batch.size
        match batch.state:
            case "ready":
                del self._ready[batch.id]
            case "cooling":
                self._cooling.take(batch.id)
                self._resting -= 1
            case "buried":
                del self._buried[batch.id]
            case "dead":
                del self._dead[batch.id]
            case _:
                group = self._groups[batch.key]
                if batch.state == "claimed":
                    self._claimed -= 1
                else:
                    self._retrying -= 1
                rest = [each for each in group if each is not batch]
                if rest:
                    self._groups[batch.key] = rest
                    return
                del self._groups[batch.key]
                self._ready.pop(-batch.key, None)
                self._cooling.take(-batch.key)

    def _length(self) -> int:
        return len(self.records.intake.buffer) + self._items

    def _claimable(self) -> int:
        """Return how many batches can be claimed now, those of a next attempt aside."""
        others = len(self._buried) + len(self._dead) + self._claimed + self._retrying
        return len(self._messages) - others - self._resting

    def _oldest_age(self, now: int) -> float | None:
        for number in self._ready:
            batch = self._messages[number] if number > 0 else self._groups[-number][0]
            return (now - batch.ready_at) / 1e9
        return None

    def _note(self, batches: Collection[Batch]) -> None:
        """Note that batches are about to change."""
        if self._changed is not None:
            self._changed.update(batch.id for batch in batches)

    def _notice(self, event: str, **facts: object) -> None:
        self.notices.append((event, facts))
