"""The memory store: the default. Its records outlive the actors, and end with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import attrs

from queueactors._errors import StoreError

if TYPE_CHECKING:
    from queueactors.engines import LocalEngine, Parked, Records

    from ._protocol import Kind, Place


@attrs.define(eq=False)
class MemoryStore:
    """Keeps every queue's records in this process."""

    durable: ClassVar[bool] = False
    _records: dict[str, object] = attrs.field(factory=dict, init=False)

    def child(self, _place: Place) -> None:
        """Return None: it needs no task of its own."""

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> LocalEngine:
        """Return an engine for a new incarnation of a queue's actor.

        Raises:
          StoreError: If there is one of another kind, and something in it.
        """
        from trio.lowlevel import checkpoint  # not when a configuration is only looked at

        from queueactors.engines import LocalEngine

        records, fresh = self._records.get(queue), kind.new_records()
        if type(records) is not type(fresh):
            if records is not None and not cast("Records", records).is_empty:
                told = f"queue {queue!r} is kept in memory as one of another kind, and not empty"
                raise StoreError("memory", "not applied", told)
            records = self._records[queue] = fresh
        core = kind.core(records, None)
        for _ in core.rebuild():
            await checkpoint()
        return LocalEngine(core, parked)

    async def forget(self, queue: str) -> None:
        """Drop a queue's records."""
        self._records.pop(queue, None)

    def close(self) -> None:
        """Let go of all records: a value that leads back to its queue would keep both alive."""
        self._records.clear()
