"""Stores' files for tests: opened, filled, read back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import msgspec

from queueactors.cores.batch import Batch
from queueactors.cores.message import QueuedMessage
from queueactors.cores.timed import Message
from queueactors.queues import KINDS
from queueactors.stores._file import Changes, StandardDriver, StoreFile
from queueactors.stores._table import BITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from queueactors.stores import StoredMessage

TABLES = {name: kind.table for name, kind in KINDS.items() if kind.table}
TABLE = TABLES["timed"]
AT = 1_700_000_000 * 10**9  # epoch nanoseconds


@contextmanager
def opened(path: Path) -> Iterator[StoreFile]:
    """Open a store's file."""
    file = StoreFile(path, "process", StandardDriver())
    try:
        yield file
    finally:
        file.close()


def message(id: int, value: object, **facts: object) -> Message:
    """Return a message; its value is bytes or an `Encoded`, or what msgpack encodes."""
    data = value if isinstance(value, bytes | msgspec.Struct) else msgspec.msgpack.encode(value)
    given = {"state": "ready", "priority": 0, "inserted_at": AT, "ready_at": AT} | facts
    return Message(id, data, **given)  # type: ignore[arg-type] # by name


def named(id: int, mid: str, value: object = None, **facts: object) -> QueuedMessage:
    """Return a message of a message queue."""
    given = {"state": "ready", "mid": mid, "enqueued_at": AT, "ready_at": AT} | facts
    return QueuedMessage(id, msgspec.msgpack.encode(value), **given)  # type: ignore[arg-type] # by name


def batch(id: int, *items: object, **facts: object) -> Batch:
    """Return a batch of a batch queue."""
    given = {
        "value": msgspec.msgpack.encode(items),
        "state": "ready",
        "size": len(items),
        "pushed_at": AT,
        "ready_at": AT,
    } | facts
    return Batch(id, **given)  # type: ignore[arg-type] # by name


def put(
    file: StoreFile,
    queue: str,
    messages: Sequence[Message] | Sequence[QueuedMessage] | Sequence[Batch],
    *,
    codec: str = "msgpack",
    at: int = AT,
    **head: int | None,
) -> None:
    """Put messages into a queue of a file."""
    kinds = {QueuedMessage: "message", Batch: "batch"}
    table = TABLES[kinds.get(type(messages[0]), "timed") if messages else "timed"]
    stored = file.queue(queue)
    next_id = max((each.id for each in messages), default=0) + 1
    last_key = max((each.key for each in messages), default=0)
    number = file.last_number() + 1 if stored is None else stored.number
    changes = Changes(
        queue=queue,
        table=table,
        number=number,
        is_new=stored is None,
        head=msgspec.json.encode(
            {**table.head, "next_id": next_id, "last_key": last_key, **head},
        ),
        at=at,
        cleared=False,
        kept=(),
        fresh=(),
        new=[table.new_row(number << BITS, codec, cast("StoredMessage", m)) for m in messages],
        updated=(),
        gone=(),
        handed_over=(),
    )
    file.begin()
    for _ in file.apply(changes):
        pass
    file.commit()


def rows(file: StoreFile, queue: str) -> list[tuple[object, ...]]:
    """Return the rows of a queue, codec last."""
    stored = file.queue(queue)
    return [] if stored is None else list(file.messages(stored, TABLES[stored.kind]))


def head(file: StoreFile, queue: str) -> dict[str, int | None]:
    """Return what a queue is beside its messages."""
    stored = file.queue(queue)
    assert stored is not None
    return dict(stored.head)
