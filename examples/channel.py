"""A channel in place of a memory channel, in a trio program that knows nothing of queues.

Some tasks read files and send what they find; one adds it up. `count` is written for trio's own
interfaces, `trio.abc.SendChannel` and `trio.abc.ReceiveChannel`. It runs over the same files on
`trio.open_memory_channel`, and then on a channel of a runtime, which has a name, a supervisor and
numbers to look at.

    python examples/channel.py [FOLDER]
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import structlog
import trio

from queueactors import open_runtime

Found = tuple[str, int]  # a file's ending, and how many lines it has
READERS = 4


async def read(files: trio.abc.ReceiveChannel[Path], found: trio.abc.SendChannel[Found]) -> None:
    """Read files; send what is in them."""
    async for file in files:
        text = await trio.Path(file).read_text(encoding="utf-8", errors="replace")
        await found.send((file.suffix, text.count("\n")))


async def count(
    paths: list[Path],
    sending: trio.abc.SendChannel[Found],
    receiving: trio.abc.ReceiveChannel[Found],
) -> dict[str, int]:
    """Return how many lines the files of each ending have."""
    lines: dict[str, int] = {}

    async def add() -> None:
        async for ending, number in receiving:
            lines[ending] = lines.get(ending, 0) + number

    async def produce() -> None:
        hand_out, files = trio.open_memory_channel[Path](0)
        async with sending, trio.open_nursery() as readers:  # all have sent: it is closed
            for _ in range(READERS):
                readers.start_soon(read, files.clone(), sending)
            async with files, hand_out:
                for path in paths:
                    await hand_out.send(path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(add)
        nursery.start_soon(produce)
    return dict(sorted(lines.items()))


async def main(paths: list[Path]) -> None:
    """Count twice, and compare."""
    expected = await count(paths, *trio.open_memory_channel[Found](3))
    print("a memory channel:", expected)
    async with open_runtime() as runtime:
        channel = await runtime.define("found", kind="channel", limit=3)
        counted = await count(paths, channel, channel)
        print("a channel queue: ", counted)
        print("the same:", counted == expected)
        numbers = await channel.statistics()
        print("all received:", numbers.sent == numbers.received, "- closed:", numbers.closed)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent
    trio.run(main, sorted([*folder.rglob("*.py"), *folder.rglob("*.toml")]))
