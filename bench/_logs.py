"""Ours: a capacity queue and a log in a store on the disk. ``python -m bench._logs MEASURE COUNT``.

Beside them what a chunk costs by itself: as a row of SQLite, and appended to a file (a *segment*).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import time
from contextlib import asynccontextmanager, closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import attrs
import msgspec
import structlog

from bench.peers._logs import BATCH, items, measures
from bench.peers._measured import answer
from queueactors import CapacityQueue, LogQueue, open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SYNCHRONOUS = {"process": "NORMAL", "power": "FULL"}


@attrs.define(eq=False)
class Ours:
    """Both queues, as the peers have them."""

    queue: CapacityQueue
    log: LogQueue

    async def push(self, some: list[bytes]) -> None:
        await self.queue.push(*some)

    async def pop(self, limit: int) -> int:
        return len(await self.queue.pop(limit))

    async def add(self, some: list[bytes]) -> None:
        await self.log.add(*some)

    async def next(self, limit: int) -> int:
        return len((await self.log.next("label", limit=limit))[0])


@asynccontextmanager
async def opened(folder: Path, mode: str) -> AsyncIterator[Ours]:
    """Open both in a directory."""
    store = "memory" if mode == "memory" else "disk"
    config: dict[str, object] = {
        "runtime": {"data_dir": str(folder)},
        "queue": {
            "queue": {"kind": "capacity", "store": store},
            "log": {"kind": "log", "store": store, "ttl": "1d"},
        },
    }
    if mode != "memory":
        config["store"] = {"disk": {"type": "sqlite", "durability": mode}}
    async with open_runtime(config) as runtime:
        yield Ours(runtime.queue("queue"), runtime.queue("log"))


def rows(mode: str, count: int) -> float:
    """Return the items a second of chunks that are rows, each in a transaction."""
    source = items()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(sqlite3.connect(Path(folder) / "rows", isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[mode]}")
        connection.execute(
            "CREATE TABLE log (id INTEGER PRIMARY KEY, codec TEXT, first INTEGER, count INTEGER, "
            "size INTEGER, at INTEGER, value BLOB) STRICT"
        )
        begin = time.perf_counter()
        for number in range(count // BATCH):
            value = msgspec.msgpack.encode(list(islice(source, BATCH)))
            connection.execute("BEGIN IMMEDIATE")
            row = (number, "items:bytes", number * BATCH, BATCH, len(value), number, value)
            connection.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute("COMMIT")
        return count / (time.perf_counter() - begin)


def segments(mode: str, count: int) -> float:
    """Return the items a second of chunks that are appended to a file, with a checksum."""
    source = items()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "segment"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        begin = time.perf_counter()
        for number in range(count // BATCH):
            value = msgspec.msgpack.encode(list(islice(source, BATCH)))
            head = msgspec.msgpack.encode([number, BATCH, len(value), number, crc32(value)])
            os.writev(file, [head, value])
            if mode == "power":
                os.fdatasync(file)
        spent = time.perf_counter() - begin
        os.close(file)
        return count / spent


MEASURES: dict[str, Callable[[int], float]] = {
    f"{mode}_{name}": measure
    for mode in ("memory", "process", "power")
    for name, measure in measures(partial(opened, mode=mode)).items()
} | {
    f"{mode}_{name}": partial(measure, mode)
    for mode in SYNCHRONOUS
    for name, measure in (("rows", rows), ("segments", segments))
}


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer(MEASURES)
