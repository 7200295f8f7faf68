"""Writes the stored file of this version's schema: ``python -m tests.stores.make_file``.

Run once for each version of the schema, when it is new; what it wrote stays as it is from then on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import attrs
import trio

from queueactors import Clock, DeadLetter, open_runtime
from queueactors.stores._file import MIGRATIONS
from queueactors.stores._transfer import Export

from .kit_file import TABLES, opened

FILES: Final = Path(__file__).parent / "files"
AT: Final = 1_800_000_000 * 10**9  # epoch nanoseconds


@attrs.define
class Email:
    """What the queue ``typed`` holds."""

    to: str
    size: int = 0


def clock() -> Clock:
    """Return a clock that begins at `AT`."""
    return Clock.open(wall=lambda: AT)


async def make(path: Path) -> None:
    """Write a file with a message in every state and every codec."""
    config = {"store": {"disk": {"type": "sqlite", "path": str(path), "commit": "loop"}}}
    async with open_runtime(config, clock=clock()) as runtime:
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


def main() -> None:
    """Write the file, and what it holds beside it."""
    path = FILES / f"v{len(MIGRATIONS)}.sqlite"
    if path.exists():
        sys.exit(f"{path} is there already, and stays as it is")
    trio.run(make, path)
    path.with_name(path.name + ".lock").unlink()
    with opened(path) as file:
        Export(file, TABLES, ()).write_file(path.with_suffix(".jsonl"), lambda _done: None)


if __name__ == "__main__":
    main()
