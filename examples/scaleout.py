"""Hashes the standard library in two processes that share a queue; one of them is killed.

    REDIS_URL=redis://localhost:6379 python examples/scaleout.py [FILES]

It needs ``pip install 'queueactors[redis]'`` and a Redis (>= 7.0) or Valkey server.

This process, which runs no work itself, puts the path of each Python file of the running Python's
standard library (or of the first FILES) into the queue ``files``. Two others, each with a runtime
of its own, take them from there, and put what they have hashed into the queue ``hashes``, which
this one reads. When a third is done, the one that did the last of it is killed by SIGKILL. What it
had in hand comes again when its reservations end, and the other one does it.

So each file is hashed at least once. One is hashed twice if the kill came after its hash was sent
and before its message was deleted: that is counted. The result is the same, because a hash that
comes twice says twice the same.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import attrs
import structlog
import trio

from queueactors import open_runtime, wait_until_idle

if TYPE_CHECKING:
    from queueactors import Delivery, Runtime, TimedQueue

LIBRARY: Final = Path(sysconfig.get_path("stdlib"))
NAMES: Final = ("one", "two")  # of the processes that work
HOLD: Final = 2.0  # seconds until what a killed process had comes again; workers extend it
WORK: Final = "--work"


def library() -> list[str]:
    """Return the paths of all Python files of the standard library, relative to it."""
    found = (path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py"))
    return sorted(str(path) for path in found if "site-packages" not in path.parts)


def hash_of(path: str) -> str:
    """Return the hash of a file."""
    return sha256((LIBRARY / path).read_bytes()).hexdigest()


def config(prefix: str) -> dict[str, object]:
    """Return the configuration of all three processes.

    The URL may have a password, so it is not on a command line, where others could read it.
    """
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    shared = {"type": "redis", "url": url, "prefix": prefix, "on_failure": "wait"}
    return {"store": {"shared": shared}}


async def define(runtime: Runtime) -> tuple[TimedQueue, TimedQueue]:
    """Define the queues, with the same options everywhere: they are each runtime's own."""
    files = await runtime.define(
        "files", kind="timed", store="shared", reservation_time=HOLD, unique=True
    )
    hashes = await runtime.define("hashes", kind="timed", store="shared", reservation_time=HOLD)
    return files, hashes


# -- a process that works ------------------------------------------------------------------------


async def handle(name: str, hashes: TimedQueue, delivery: Delivery) -> None:
    """Hash a file, and send the hash."""
    path = str(delivery.value)
    found = await trio.to_thread.run_sync(hash_of, path)
    await hashes.insert([path, found, name, delivery.attempt])


async def work(prefix: str, name: str) -> None:
    """Take files until killed."""
    async with open_runtime(config(prefix)) as runtime:
        files, hashes = await define(runtime)
        await runtime.start_worker(files, partial(handle, name, hashes), concurrency=4)
        await trio.sleep_forever()


# -- the process that gives and reads ------------------------------------------------------------


@attrs.define(eq=False)
class Results:
    """What has been told.

    Args:
      enough: After so many, the process that sent the last one is killed.
    """

    enough: int
    processes: dict[str, subprocess.Popen[bytes]] = attrs.field(factory=dict)
    hashes: dict[str, str] = attrs.field(factory=dict)  # by path
    times: Counter[str] = attrs.field(factory=Counter)  # how often each path was told
    by: Counter[str] = attrs.field(factory=Counter)  # how many each process has told
    again: set[str] = attrs.field(factory=set)  # paths that were handed out more than once
    killed: str = ""

    async def note(self, delivery: Delivery) -> None:
        """Note a hash: the handler of the queue ``hashes``."""
        path, found, name, attempt = delivery.value  # type: ignore[misc, has-type] # see `handle`
        self.hashes[path] = found
        self.times[path] += 1
        self.by[name] += 1
        if attempt > 1:
            self.again.add(path)
        if not self.killed and self.times.total() >= self.enough:
            self.killed = name
            self.processes[name].kill()  # SIGKILL: it cannot say goodbye

    def report(self) -> str:
        """Return the result as text."""
        lines = "".join(f"{self.hashes[path]} {path}\n" for path in sorted(self.hashes))
        shares = [f"{self.by[name]:,} hashes from {name}" for name in NAMES]
        often = sorted(Counter(self.times.values()).items())
        return f"""\
{len(self.hashes):,} files: {", ".join(shares)}
killed after {self.enough:,} hashes: {self.killed}; files handed out again: {len(self.again):,}
{", ".join(f"hashed {times}x: {many:,}" for times, many in often)}
sha256 of all: {sha256(lines.encode()).hexdigest()}"""


async def share(prefix: str, paths: list[str]) -> Results:
    """Let two processes hash files, and kill one; return what they have told."""
    results = Results(len(paths) // 3)
    async with open_runtime(config(prefix)) as runtime:
        files, hashes = await define(runtime)
        await files.insert(*paths)
        await runtime.start_worker(hashes, results.note)
        for name in NAMES:
            command = [sys.executable, __file__, WORK, prefix, name]
            results.processes[name] = subprocess.Popen(command)  # noqa: ASYNC220, S603 - at once, itself
        try:
            await wait_until_idle(runtime)  # nobody anywhere has anything left
        finally:
            for process in results.processes.values():
                process.kill()
                process.wait()
        await runtime.drop("files")  # nobody else uses them any more
        for worker in runtime.workers():
            await runtime.remove_worker(worker.name)
        await runtime.drop("hashes")
    return results


def main(arguments: list[str]) -> None:
    """Work, or let others work and print what came out."""
    if arguments[:1] == [WORK]:
        trio.run(work, *arguments[1:])
        return
    paths = library()[: int(arguments[0]) if arguments else None]
    print(trio.run(share, f"scaleout-{uuid4().hex}", paths).report())


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    main(sys.argv[1:])
