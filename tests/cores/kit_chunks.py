"""What the tests of the capacity and log cores share, above all a store for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from queueactors import StoreError
from queueactors.cores import Changed, _chunks
from queueactors.cores.capacity import CapacityCore, CapacityRecords, Chunk
from queueactors.cores.log import LogCore, LogRecords

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIMITS = ("ITEMS", "SIZE", "KEPT", "LOADED")
S = 1_000_000_000

Core = TypeVar("Core", CapacityCore, LogCore)


def set_limits(limits: Sequence[int]) -> list[int]:
    """Set what a chunk and the memory hold; return what that was."""
    before = [getattr(_chunks, name) for name in LIMITS]
    for name, value in zip(LIMITS, limits, strict=True):
        setattr(_chunks, name, value)
    return before


def push(core: CapacityCore, now: int, *items: object) -> int:
    """Push items, and tell how long they are, as the handle does."""
    return core.push(now, list(items), sizes(items))


def add(core: LogCore, now: int, *items: object) -> int:
    """Add items, likewise."""
    return core.add(now, list(items), sizes(items))


def sizes(items: Sequence[object]) -> list[int]:
    return [len(item) for item in items]  # type: ignore[arg-type] # bytes, mostly


def fields(chunk: Chunk) -> dict[str, object]:
    return {name: getattr(chunk, name) for name in chunk.__struct_fields__}


@attrs.frozen
class Foreign:
    """An item in a codec of its own, as a dead letter is."""

    data: bytes = b"12"

    def __len__(self) -> int:
        return len(self.data)


@attrs.define(eq=False)
class ChunkStore(Generic[Core]):
    """Keeps what a core has written, as the journal of an SQLite store does.

    What is new is inserted; of what is there already, only what can change is updated.

    Args:
      new_core: Makes a core over records.
      records: A new queue's; None: as ``new_records`` makes them.
    """

    new_core: Callable[[object, Changed, Callable[[int], list[object]]], Core]
    new_records: Callable[[], CapacityRecords | LogRecords]
    changed: Changed = attrs.field(factory=Changed)
    rows: dict[int, dict[str, object]] = attrs.field(factory=dict)
    loads: list[int] = attrs.field(factory=list)
    broken: bool = False
    core: Core = attrs.field(init=False)
    head: dict[str, int | None] = attrs.field(init=False)
    snapshot: tuple[object, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        records = self.new_records()
        self.head = records.head()
        self.core = self.new_core(records, self.changed, self.load)
        self.begin(0)

    def load(self, number: int) -> list[object]:
        """Read what a row holds."""
        if self.broken:
            raise StoreError("files", "not applied", "broken")
        self.loads.append(number)
        value = self.rows[number]["value"]
        assert isinstance(value, tuple)
        return list(value)

    def begin(self, now: int) -> None:
        """Begin a turn."""
        while not self.core.advance(now, 2):
            pass
        self.snapshot = self.core.records.snapshot()

    def write(self) -> None:
        """Write what the core has noted."""
        messages = self.core.records.messages
        cleared = self.changed.cleared
        if cleared:
            self.rows.clear()
        next_id = 1 if cleared else self.head["next_id"]
        assert next_id is not None
        for each in sorted(messages if cleared else self.changed):
            chunk = messages.get(each)
            if chunk is None:
                assert (each in self.rows) == (each < next_id)
                self.rows.pop(each, None)
            elif each < next_id:
                self.rows[each] |= {"first": chunk.first, "at": chunk.at}
            else:
                assert each not in self.rows
                assert chunk.value is not None
                row = self.rows[each] = fields(chunk)
                if chunk.state != "label":
                    assert isinstance(chunk.value, list)
                    assert len(chunk.value) == chunk.count
                    row["value"] = tuple(chunk.value)
        self.head = self.core.records.head()
        self.changed.written()

    def read(self) -> CapacityRecords | LogRecords:
        """Return the records, with the items left where they are."""
        records = self.new_records()
        for name, value in self.head.items():
            setattr(records, name, value)
        for each, row in sorted(self.rows.items()):
            chunk = records.messages[each] = Chunk(**row)  # type: ignore[arg-type] # as written
            if chunk.state != "label":
                chunk.value = None
        self.changed.written()
        return records

    def turn(self, now: int) -> Core:
        """Write, and begin the next turn."""
        self.write()
        self.begin(now)
        return self.core

    def fail(self, now: int, *, written: bool = False) -> Core:
        """Let a commit fail, or its answer be lost; ``now`` is that turn's."""
        if written:
            self.write()
        records = self.read()
        records.resume(self.snapshot)
        self.core = self.new_core(records, self.changed, self.load)
        while not self.core.advance(now, 2):
            pass
        records.resume(self.snapshot)
        return self.core

    def restart(self) -> Core:
        """Let a new actor take over the records."""
        self.core = self.new_core(self.core.records, self.changed, self.load)
        return self.core

    def end_process(self) -> Core:
        """Let a new process read what was written."""
        self.core = self.new_core(self.read(), self.changed, self.load)
        return self.core


def capacity_store(**options: object) -> ChunkStore[CapacityCore]:
    """Return a store with an empty capacity queue."""

    def new_core(
        records: object, changed: Changed, load: Callable[[int], list[object]]
    ) -> CapacityCore:
        return CapacityCore(records=records, changed=changed, load=load, **options)  # type: ignore[arg-type]

    most = options.get("max_elements")
    given = {} if most is None else {"max_elements": most}
    return ChunkStore(new_core, lambda: CapacityRecords(**given))  # type: ignore[arg-type]


def log_store(**options: object) -> ChunkStore[LogCore]:
    """Return a store with an empty log queue."""

    def new_core(records: object, changed: Changed, load: Callable[[int], list[object]]) -> LogCore:
        return LogCore(records=records, changed=changed, load=load, **options)  # type: ignore[arg-type]

    return ChunkStore(new_core, LogRecords)
