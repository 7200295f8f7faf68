"""Writes the stored file of this version's schema: ``python -m tests.stores.make_file``.

Run once for each version of the schema, when it is new; what it wrote stays as it is from then on.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import attrs
import structlog
import trio

from queueactors import Clock, DeadLetter, open_runtime, retry
from queueactors.stores._file import MIGRATIONS
from queueactors.stores._transfer import Export

from .kit_file import TABLES, opened

if TYPE_CHECKING:
    from queueactors import BatchQueue, Runtime

FILES: Final = Path(__file__).parent / "files"
AT: Final = 1_800_000_000 * 10**9  # epoch nanoseconds


@attrs.define
class Email:
    """What the queue ``typed`` holds."""

    to: str
    size: int = 0


class Rot13:
    """A codec of one's own, for texts."""

    name = "rot13"

    @staticmethod
    def encode(value: object) -> bytes:
        import codecs

        return codecs.encode(str(value), "rot13").encode()

    @staticmethod
    def decode(data: bytes) -> object:
        import codecs

        return codecs.encode(data.decode(), "rot13")


async def process(queue: BatchQueue, _items: list[object]) -> None:
    """Never succeed."""
    if queue.name == "hangs":
        await trio.sleep_forever()
    raise ValueError("no such page: é")


def clock() -> Clock:
    """Return a clock that begins at `AT`."""
    return Clock.open(wall=lambda: AT)


async def make(path: Path) -> None:
    """Write a file with a message in every state and every codec."""
    with TemporaryDirectory() as directory:
        there = Path(directory) / "disk.sqlite"
        config = {"store": {"disk": {"type": "sqlite", "path": str(there), "commit": "inline"}}}
        async with open_runtime(config, clock=clock()) as runtime:
            await fill(runtime)
            await fill_batches(runtime)
            await fill_chunks(runtime)
            with closing(sqlite3.connect(there)) as connection:
                # Now: batches that are being processed are given back at an orderly end.
                connection.execute("VACUUM INTO ?", (str(path),))


async def fill(runtime: Runtime) -> None:
    """Fill timed and message queues."""
    jobs = await runtime.define("jobs", reservation_time=3600, store="disk", unique=True)
    await jobs.insert("hers", "bad", "again", "ready", priority=3)
    await jobs.insert("late", delay=7200, priority=9)
    await jobs.reserve()
    await jobs.bury(await jobs.reserve(), error="no such host: é")
    await jobs.release(await jobs.reserve(), delay=1800, priority=-1, error="try again")
    await jobs.delete(await jobs.reserve())
    await jobs.insert({"a": [1, 2.5, None]}, b"\x00bytes")
    letters = await runtime.define("letters", reservation_time=1, store="disk", codec="json")
    await letters.insert(DeadLetter({"x": 1}, "jobs", 77, 5, "gone", AT - 10**12), "plain")
    await letters.pause()
    typed = await runtime.define("typed", reservation_time=1, store="disk", type=Email)
    await typed.insert(Email("ann@example.org", 5))
    pickled = await runtime.define("pickled", reservation_time=1, store="disk", codec="pickle")
    await pickled.insert({"a set"})
    mails = await runtime.define("mails", kind="message", store="disk")
    for mid in ("locked", "again", "remembered", "to come back", "requeued"):
        await mails.enqueue({"to": mid}, mid, lock_time=60 if mid == "locked" else None)
    claims = await mails.claim_many(5)
    await mails.enqueue({"to": "again, new"}, "again", can_requeue=True, lock_time=5)
    await claims[2].finish("success", backoff=7200)
    await claims[3].finish("retry", backoff=1800)
    await mails.enqueue({"to": "requeued, new"}, "requeued", can_requeue=True)
    await claims[4].finish("success", backoff=900)
    await mails.enqueue("ready", "ready")
    await mails.enqueue("late", "late", init_backoff=600)


PAGES: Final[list[object]] = [{"page": "/a"}, {"page": "/b"}, {"page": "/ü"}]
ONCE: Final = retry.Fixed(1, 0, cooldown=7200)
BATCHES: Final[dict[str, tuple[dict[str, object], list[object]]]] = {
    "hangs": ({}, PAGES),
    "rests": ({"retry": ONCE}, PAGES[:1]),
    "tries": ({"retry": retry.Fixed(2, 3600, jitter=0), "batches": 2}, PAGES),
    "gave up": ({"retry": ONCE, "max_claims": 1, "on_exhausted": "bury"}, PAGES[1:]),
    "to post": ({"retry": ONCE, "max_claims": 1, "on_exhausted": "full"}, PAGES[:2]),
    "posted": ({"retry": ONCE, "max_claims": 1, "on_exhausted": "post"}, PAGES[:2]),
    "json": ({"codec": "json"}, [1.5, None, "é"]),
    "bytes": ({"codec": "bytes"}, [b"", b"\x00", b"more"]),
    "pickle": ({"codec": "pickle"}, [{1}, {2}]),
    "own": ({"codec": Rot13}, ["Hello", "world", "!"]),
    "emails": ({"type": Email}, [Email("ann@example.org", 5), Email("bob@example.org")]),
}
KEPT: Final = ("json", "bytes", "pickle", "own", "emails")  # nobody tries them


async def fill_batches(runtime: Runtime) -> None:
    """Fill batch queues, and let some be tried once."""
    full = await runtime.define("full", reservation_time=1, store="disk", max_length=1)
    await full.insert("no room for dead letters")
    await (await define_batches(runtime, "post", process, codec="json")).pause()
    for name, (options, items) in BATCHES.items():
        queue = await define_batches(runtime, name, process, **options)
        await queue.pause()
        await queue.push_many(items)
        await queue.flush()
        if name not in KEPT:
            await queue.resume()
    await trio.sleep(0.2)


LETTER: Final = DeadLetter(b"a body", "mails", 77, 5, "gone", AT - 10**12)
ITEMS: Final[dict[str, tuple[dict[str, object], list[object]]]] = {
    "cap bytes": ({}, [b"a", b"", LETTER, b"\xff", "ü".encode()]),
    "cap json": ({"codec": "json"}, [{"page": "/ü"}, 1.5, None]),
    "cap msgpack": ({"codec": "msgpack"}, [{"page": b"\x00"}, [1, 2]]),
    "cap pickle": ({"codec": "pickle"}, [{1}, {2}]),
    "cap own": ({"codec": Rot13}, ["Hello", "world"]),
    "cap typed": ({"codec": "msgpack", "type": Email}, [Email("ann@example.org", 5), Email("b")]),
}
TTL: Final = 0.1


async def fill_chunks(runtime: Runtime) -> None:
    """Fill capacity and log queues: some of it was popped, or has expired."""
    for name, (options, items) in ITEMS.items():
        queue = await runtime.define(
            name, kind="capacity", store="disk", max_elements=99, **options
        )
        await queue.push(*items)
        await queue.push(*items)
        await queue.pop(len(items) + 1)
        await queue.resize(7)
        await queue.pause()
    for name in ("expired", "log"):
        log = await runtime.define(name, kind="log", store="disk", ttl=TTL)
        await log.next("early")
        await log.add(b"0", b"1", b"2")
        await log.next("one")
        await trio.sleep(1.5 * TTL)
        if name == "log":
            await log.add(b"3", LETTER, b"\xff")
            await log.next("ü", "newest")
            await log.read("reads", limit=2)
            await log.commit("reads", 5)
            await log.add(b"last")


async def define_batches(
    runtime: Runtime, name: str, process: object, **options: object
) -> BatchQueue:
    """Define one of the batch queues."""
    given: dict[str, object] = {"process": process, "flush_size": 2, "store": "disk"} | options
    return await runtime.define(name, kind="batch", **given)


def main() -> None:
    """Write the file, and what it holds beside it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    path = FILES / f"v{len(MIGRATIONS)}.sqlite"
    if path.exists():
        sys.exit(f"{path} is there already, and stays as it is")
    trio.run(make, path)
    with opened(path) as file:
        Export(file, TABLES, ()).write_file(path.with_suffix(".jsonl"), lambda _done: None)


if __name__ == "__main__":
    main()
