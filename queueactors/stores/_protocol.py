"""What a store is, and what it needs to know of a kind of queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from queueactors.engines import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from random import Random

    from queueactors._clock import Clock
    from queueactors._codecs import Values
    from queueactors._histogram import Buckets
    from queueactors.cores import Changed
    from queueactors.engines import Core, Engine, Parked
    from queueactors.engines.redis import Wire
    from supervisors import ChildSpec

    from ._table import StoredMessage, Table

    ReadValue = Callable[[int], tuple[bytes, str]]


class StoredRecords(Records, Protocol):
    """Records that can be written: one for each message, and a head."""

    @property
    def messages(self) -> Mapping[int, StoredMessage]:
        """By id; ids increase and are never used again."""

    def head(self) -> dict[str, int | None]:
        """Return what there is beside the messages; ``next_id`` is more than each id."""


class Kind(Protocol):
    """What a store needs to know of a queue's kind to keep one."""

    @property
    def values(self) -> Values | None:
        """How its values are encoded; None: they are not."""

    @property
    def table(self) -> Table:
        """How its messages stand in a table."""

    def new_records(self) -> StoredRecords:
        """Return the records of a queue that the store holds nothing of yet."""

    def stored_records(
        self,
        head: Mapping[str, int | None],
        messages: Mapping[int, StoredMessage],
        set_aside: int,
    ) -> StoredRecords:
        """Return the records that were written.

        Args:
          head: What there is beside the messages.
          messages: By id.
          set_aside: How many there are that cannot be decoded.
        """

    def core(self, records: object, changed: Changed | None, /) -> Core:
        """Return a core over those records; its indexes are still to be rebuilt.

        Args:
          records: What it works on.
          changed: Where it notes the ids of what it changes; None: nowhere.
        """


class LazyKind(Kind, Protocol):
    """A kind whose table is lazy."""

    def core(
        self, records: object, changed: Changed | None, value: ReadValue | None = ..., /
    ) -> Core:
        """Return a core over those records, as each kind does.

        Args:
          records: What it works on.
          changed: Where it notes the ids of what it changes; None: nowhere.
          value: Reads what a message holds, and its codec's name.
        """


class RemoteKind(Kind, Protocol):
    """A kind whose queues a server can keep."""

    def wire(self) -> Wire:
        """Return how its operations travel."""


@attrs.frozen(kw_only=True)
class StoreStatistics:
    """A store's numbers; counters run since it was opened first, over restarts.

    Args:
      works: Whether it can be read and written at present, as far as is known.
      commits: How many there were; each serves all queues that had something to write.
      failures: How many commits failed.
      commit_seconds: How long those took that did not.
    """

    works: bool
    commits: int
    failures: int
    commit_seconds: Buckets


class Store(Protocol):
    """Keeps the records of queues. An attrs class whose init arguments are its options.

    It may have a method ``statistics()`` that returns `StoreStatistics`, without waiting, or None:
    then it is in the metrics, and the runtime is ready only while it works. A method
    ``let_go(queue)``, for what it has in memory of a queue that a reload has taken out. And
    ``keeps``: the kinds of queues that it keeps, if not all.
    """

    @property
    def durable(self) -> bool:
        """Whether it keeps encoded values, and not the objects themselves."""

    def child(self, place: Place, /) -> ChildSpec | None:
        """Return what runs in the supervisor tree before all queues; None: nothing."""

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        """Return an engine for a new incarnation of a queue's actor."""

    async def forget(self, queue: str) -> None:
        """Drop a queue and all that it holds, for good. Its actor does not run any more.

        Raises:
          StoreError: If it is still there.
        """

    def close(self) -> None:
        """Let go of everything that is in memory: nobody will ask again."""


@attrs.frozen
class Place:
    """Where a store is: what its runtime tells it.

    Args:
      name: The store's name.
      directory: Where the runtime keeps what it keeps on disk.
      queues: The names of the queues that the configuration puts into it.
      clock: The runtime's.
      random: For the jitter of backoffs.
    """

    name: str
    directory: Path
    queues: frozenset[str]
    clock: Clock
    random: Random
