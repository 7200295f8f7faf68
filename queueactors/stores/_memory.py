"""The memory store: the default. Its records outlive the actors, and end with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
from trio.lowlevel import checkpoint

from queueactors.engines import LocalEngine

if TYPE_CHECKING:
    from queueactors.engines import Core, Engine, Parked


class Kind(Protocol):
    """What a store needs to know of a queue's kind to keep one."""

    def new_records(self) -> object:
        """Return the records of a queue that the store holds nothing of yet."""

    def core(self, records: object) -> Core:
        """Return a core over those records; its indexes are still to be rebuilt."""


class Store(Protocol):
    """Keeps the records of queues. An attrs class whose init arguments are its options."""

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        """Return an engine for a new incarnation of a queue's actor."""

    def forget(self, queue: str) -> None:
        """Drop a queue's records."""

    def close(self) -> None:
        """Let go of everything that is in memory: nobody will ask again."""


@attrs.define(eq=False)
class MemoryStore:
    """Keeps every queue's records in this process."""

    _records: dict[str, object] = attrs.field(factory=dict, init=False)

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> LocalEngine:
        """Return an engine for a new incarnation of a queue's actor."""
        records = self._records.get(queue)
        if records is None:
            records = self._records[queue] = kind.new_records()
        core = kind.core(records)
        for _ in core.rebuild():
            await checkpoint()
        return LocalEngine(core, parked)

    def forget(self, queue: str) -> None:
        """Drop a queue's records."""
        self._records.pop(queue, None)

    def close(self) -> None:
        """Let go of all records: a value that leads back to its queue would keep both alive."""
        self._records.clear()
