"""The standard library's sqlite3 on our table of batches: a plain loop, without a queue.

What our store has at least to do for the same items, in the same codec: a row for each flush, in a
transaction of its own; the rows of a claim are marked in another; and deleted with the next claim.
The file is made by our store. ``python -m bench._raw_batches MEASURE COUNT``.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
import trio

from bench._batches import SHAPES, Event, Shape, events, merge
from bench._raw_sqlite import SYNCHRONOUS
from bench.peers._embedded import MODES
from bench.peers._measured import answer
from queueactors import open_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CLAIM: Final = "UPDATE batch SET state = 'claimed', claims = 1, key = ?, attempt = 1 WHERE id = ?"
DELETE: Final = "DELETE FROM batch WHERE id = ?"
DECODE: Final = msgspec.msgpack.Decoder(list[Event]).decode


class Table:
    """The table of batches in a new file of our store, empty."""

    def __init__(self, path: Path, mode: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[mode]}")
        found = self.connection.execute("SELECT * FROM batch")
        columns = [column[0] for column in found.description]
        self._row = list(found.fetchone())
        self._id, self._value = columns.index("id"), columns.index("value")
        self._number: int = self._row[self._id]
        self.connection.execute(DELETE, (self._number,))
        marks = ", ".join("?" for _ in columns)
        self._insert = f"INSERT INTO batch VALUES ({marks})"  # noqa: S608 - only question marks

    def flush(self, items: Iterable[Event]) -> tuple[int, bytes]:
        """Insert a batch; return its number and what was kept."""
        self._number += 1
        value = msgspec.msgpack.encode(list(items))
        row = self._row.copy()
        row[self._id], row[self._value] = self._number, value
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(self._insert, [row])
        self.connection.execute("COMMIT")
        return self._number, value

    def claim(self, numbers: list[int], ended: list[int]) -> None:
        """Mark batches, and delete those before."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(DELETE, [(number,) for number in ended])
        self.connection.executemany(CLAIM, [(number, number) for number in numbers])
        self.connection.execute("COMMIT")


@contextmanager
def opened(mode: str) -> Iterator[Table]:
    """Open a new table."""

    async def make(folder: str) -> None:
        config = {"runtime": {"data_dir": folder}, "store": {"disk": {"type": "sqlite"}}}
        async with open_runtime(config) as runtime:
            queue = await runtime.define(
                "bench", kind="batch", process=print, store="disk", type=Event
            )
            await queue.pause()
            await queue.push(Event(1), stored=True)

    with tempfile.TemporaryDirectory() as folder:
        trio.run(make, folder)
        (path,) = Path(folder).glob("*.sqlite")
        table = Table(path, mode)
        yield table
        table.connection.close()


def merged(items: Iterable[Event]) -> Iterable[Event]:
    """Return one item for each key."""
    found: dict[int, Event] = {}
    for event in items:
        old = found.get(event.key)
        found[event.key] = event if old is None else merge(old, event)
    return found.values()


def per_second(mode: str, shape: Shape, count: int) -> float:
    """Return the items a second that are inserted, marked, decoded and deleted."""
    each = shape["flush_size"] or shape["flush_pushes"]
    merging = "merge" in shape
    with opened(mode) as table:
        source = events()
        ended: list[int] = []
        processed = 0
        begin = time.perf_counter()
        while processed < count:
            batches: list[tuple[int, bytes]] = []
            taken = 0
            while len(batches) < shape["batches"] and (
                size := min(each, count - processed - taken)
            ):
                some = islice(source, size)
                batches.append(table.flush(merged(some) if merging else some))
                taken += size
            numbers = [number for number, _ in batches]
            table.claim(numbers, ended)
            ended = numbers
            lists = [DECODE(value) for _, value in batches]
            if merging:
                processed += sum([event.count for event in merged(chain(*lists))])
            else:
                processed += sum(map(len, lists))
        table.claim([], ended)
        return count / (time.perf_counter() - begin)


MEASURES: dict[str, Callable[[int], float]] = {
    f"{mode}_{name}": partial(per_second, mode, shape)
    for mode in MODES
    for name, shape in SHAPES.items()
}

if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer(MEASURES)
