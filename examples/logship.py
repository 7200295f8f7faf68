"""Ships the lines of a growing log, in batches, through a channel.

One task follows the log as ``tail -F`` does, over rotations too, and sends its lines into a
channel; a worker takes what is there, up to 500 lines, and appends it to an archive as one gzip
member. When the archive is slow the channel is full, and the follower waits. A batch that cannot
be written is tried again; meanwhile others go on.

How far the log has been shipped is kept beside the archive, and moves on only over what is
written. So whatever is killed, each line arrives: at least once. (Not those of a file that is
rotated away while no shipper runs.)

    python examples/logship.py LOG ARCHIVE.gz [--until-quiet SECONDS]

Read the archive with ``zcat``.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
import trio

from queueactors import Delivery, open_runtime, wait_until_idle

if TYPE_CHECKING:
    from queueactors import ChannelQueue

LOOK: Final = 0.05  # seconds between two looks at the end of the log
BATCH: Final = 500  # lines
LIMIT: Final = 5000  # lines that may wait: then the follower waits


class Line(NamedTuple):
    """A line of the log."""

    number: int  # since the program began
    inode: int  # of the file that it is in, and
    end: int  # where it ends there, in bytes
    text: bytes


class Position:
    """How far the log has been shipped: which file, and how many bytes of it."""

    def __init__(self, archive: Path) -> None:
        self._path = archive.with_name(archive.name + ".position")
        self._next = 0  # the first line that is not shipped
        self._ahead: dict[int, Line] = {}  # those that are, though one before them is not
        self.inode, self.offset = 0, 0
        self.written = 0  # bytes of the archive: what comes after them is half a member
        if self._path.exists():
            numbers = map(int, self._path.read_text(encoding="ascii").split())
            self.inode, self.offset, self.written = numbers
        elif archive.exists():
            self.written = archive.stat().st_size

    def shipped(self, lines: list[Line], written: int) -> None:
        """Note what has been written, up to which byte of the archive, and keep it."""
        self.written = written
        self._ahead.update((line.number, line) for line in lines)
        while (line := self._ahead.pop(self._next, None)) is not None:
            self._next += 1
            self.inode, self.offset = line.inode, line.end
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(f"{self.inode} {self.offset} {self.written}", encoding="ascii")
        part.replace(self._path)


async def follow(log: Path, start: Position, channel: ChannelQueue, quiet: float | None) -> None:
    """Send each line of a log as it comes; return when nothing has come for ``quiet`` seconds."""
    silent_since = trio.current_time()
    number, stream, inode, offset = 0, None, start.inode, start.offset
    while quiet is None or trio.current_time() - silent_since < quiet:
        found = _inode(log)
        if stream is not None:  # also if it was replaced: something may be left in it
            if os.fstat(stream.fileno()).st_size < offset:
                offset = 0  # it was truncated
            stream.seek(offset)
            for text in stream:
                if not text.endswith(b"\n"):
                    break  # the rest of it is still to come
                offset += len(text)
                await channel.send(Line(number, inode, offset, text))
                number += 1
                silent_since = trio.current_time()
        if found is not None and (stream is None or found != inode):
            if stream is not None:
                stream.close()
            stream = log.open("rb")
            if found != inode:
                inode, offset = os.fstat(stream.fileno()).st_ino, 0
        else:
            await trio.sleep(LOOK)
    if stream is not None:
        stream.close()


def _inode(path: Path) -> int | None:
    """Return which file is there; None: there is none, as between two steps of a rotation."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def ship(delivery: Delivery, archive: Path, position: Position) -> None:
    """Append a batch of lines to the archive: in a thread, and once more if it raises."""
    lines = delivery.value
    archive.touch()
    with archive.open("r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.truncate(stream.seek(min(position.written, end)))  # a failed attempt's remains
        stream.write(gzip.compress(b"".join(line.text for line in lines)))
        stream.flush()
        os.fsync(stream.fileno())
        written = stream.tell()
    position.shipped(lines, written)


async def main(log: Path, archive: Path, quiet: float | None) -> None:
    """Ship until the log is quiet, or for ever."""
    position = Position(archive)
    async with open_runtime(signals=True) as runtime:
        channel = await runtime.define("lines", kind="channel", limit=LIMIT, snapshot=False)
        worker = await runtime.spawn_task(
            channel,
            ship,
            args=[archive, position],
            batch=BATCH,
            monitor=None,  # a full channel is no news here
        )
        await follow(log, position, channel, quiet)
        await wait_until_idle(runtime)
        sent = (await channel.statistics()).sent
        batches = worker.status().statistics.counts["success"]
        print(f"{sent} lines in {batches} batches")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parser = argparse.ArgumentParser(description="Ship the lines of a growing log.")
    parser.add_argument("log", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--until-quiet", type=float, metavar="SECONDS")
    given = parser.parse_args()
    trio.run(main, given.log, given.archive, given.until_quiet)
