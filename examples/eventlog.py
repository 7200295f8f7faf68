"""One event log, three readers at their own pace; stopped in the middle, and it goes on.

    python examples/eventlog.py SOURCE FOLDER [--stop-after SECONDS]

Each line of the file ``SOURCE`` is an event, which is added to a log queue in ``FOLDER``: by
itself any text will do; try a log of your machine. Three readers, each with a label of its own:

- the *tail* prints the newest events as they come, and does not mind what it has missed;
- the *indexer* counts words, a hundred events at a time, and must not lose or count one twice: it
  writes what it has counted together with its position, and commits the label after that;
- the *archiver* is slow: it writes them to ``FOLDER/archive``, ten at a time. It may write some
  twice when it is killed; each line has the event's number, so that whoever reads it can tell.

Stopped, killed or finished, start it again with the same arguments: each part goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections import Counter
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
import trio

from queueactors import QueueClosedError, open_runtime

if TYPE_CHECKING:
    from queueactors import LogQueue

TOP: Final = 5  # words that are shown
SHOWN: Final = 3  # events that the tail prints


def write(path: Path, text: str) -> None:
    """Write a file so that it is the old one or the new one, whatever happens meanwhile."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def counted(path: Path) -> tuple[Counter[str], int]:
    """Return how often each word was there, and in how many events."""
    if not path.exists():
        return Counter(), 0
    kept = json.loads(path.read_text(encoding="utf-8"))
    return Counter(kept["words"]), kept["position"]


async def add(source: Path, events: LogQueue) -> None:
    """Add what is new in the source; then take nothing in any more, so that readers end."""
    known = (await events.statistics()).end
    with source.open("rb") as stream:
        for number, line in enumerate(stream):
            if number >= known:
                await events.add(line.rstrip(b"\n"))
    await events.close()


async def tail(events: LogQueue) -> None:
    """Print the newest events, but not all that come while it prints."""
    shown = 0
    with suppress(QueueClosedError):
        while shown < SHOWN:
            (line, *_), _ = await events.wait_next("tail", "newest", limit=1000)
            print("tail:", line.decode(errors="replace")[:60])
            shown += 1


async def index(events: LogQueue, path: Path) -> None:
    """Count words, exactly."""
    words, position = counted(path)
    with suppress(QueueClosedError):
        while True:
            read = await events.wait_read("indexer", limit=100)
            first = read.position - len(read.items)
            for number, line in enumerate(read.items, first):
                if number >= position:  # else it was counted, and killed before it could say so
                    words.update(line.decode(errors="replace").split())
            position = max(position, read.position)
            write(path, json.dumps({"words": words, "position": position}))
            await events.commit("indexer", read.position)


async def archive(events: LogQueue, path: Path) -> None:
    """Write every event to a file, slowly; after a kill perhaps some of them again."""
    with suppress(QueueClosedError), path.open("ab") as stream:
        while True:
            read = await events.wait_read("archiver", limit=10)
            first = read.position - len(read.items)
            for number, line in enumerate(read.items, first):
                stream.write(b"%d %b\n" % (number, line))
            stream.flush()
            await trio.sleep(0.001)
            await events.commit("archiver", read.position)


async def main(source: Path, folder: Path, seconds: float) -> None:
    """Run all of it, until everything is read or the time is up."""
    config = {
        "runtime": {"data_dir": str(folder)},
        "store": {"disk": {"type": "sqlite"}},
        "queue": {"events": {"kind": "log", "store": "disk", "ttl": "7d"}},
    }
    with trio.move_on_after(seconds) as limit:
        async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
            events: LogQueue = runtime.queue("events")
            nursery.start_soon(tail, events)
            nursery.start_soon(index, events, folder / "index.json")
            nursery.start_soon(archive, events, folder / "archive")
            nursery.start_soon(add, source, events)
    if limit.cancelled_caught:
        print("stopped in the middle; start it again")
        return
    words, position = counted(folder / "index.json")
    print(f"{position:,} events, {len(words):,} words")
    for word, count in words.most_common(TOP):
        print(f"{count:8,}  {word}")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stop-after", type=float, default=inf, metavar="SECONDS")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    trio.run(main, given.source, given.folder, given.stop_after)
