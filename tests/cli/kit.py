"""Real processes of the command line, and a module of handlers for them."""

from __future__ import annotations

import os
import re
import subprocess
import time
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PATIENCE = 30.0  # seconds, on a slow machine

MODULE = """
import sys
import time
import trio
from supervisors import Shutdown

def say(delivery):
    print("said", delivery.value, flush=True)

async def slow(delivery):
    print("begun", delivery.value, flush=True)
    await trio.sleep(0.3)
    print("done", delivery.value, flush=True)

async def endless(delivery):
    print("begun", delivery.value, flush=True)
    try:
        await trio.sleep_forever()
    finally:
        print("cut off", delivery.value, flush=True)

async def fail(delivery):
    raise ValueError("no luck with " + delivery.value)

async def leave(delivery):
    sys.exit(7)

async def crash(*, task_status):
    task_status.started()
    await trio.sleep(0.01)
    raise OSError("the disk is gone")

async def no_start(*, task_status):
    raise OSError("the disk is not there")
"""

PARKED = """
[supervisor.mine]
intensity = 0
[[supervisor.mine.child]]
start = "app:crash"
on_give_up = "park"
"""
"""A child for a configuration that is parked at once."""


def config(handler: str = "say", *, values: str = '["x"]', more: str = "") -> str:
    """Return a configuration with one queue and one worker."""
    return f"""
schema = 1
[runtime]
name = "test"
[queue.jobs]
kind = "timed"
reservation_time = "30s"
values = {values}
max_reservations = 2
on_exhausted = "bury"
[worker.w]
queue = "jobs"
handler = "app:{handler}"
backoff = 0
{more}
"""


def write(folder: Path, text: str) -> str:
    """Write a configuration's file into a folder; return its name."""
    (folder / "queues.toml").write_text(text, encoding="utf-8")
    return "queues.toml"


class Program:
    """A process under test.

    Args:
      command: What to run.
      cwd: Where.
      stdout: A file descriptor; None: a pipe.
      stderr: Likewise.
      environ: Variables that it has beside those that it needs.
    """

    def __init__(
        self,
        command: list[str],
        cwd: Path,
        *,
        stdout: int | None = None,
        stderr: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE if stderr is None else stderr,
            text=True,
            env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            | {"TERM": "xterm", "LC_ALL": "C.UTF-8"}
            | dict(environ or {}),
        )

    def line(self) -> str:
        """Wait for the next line on standard output; empty: it has ended."""
        assert self.process.stdout is not None
        with self._limit():
            return self.process.stdout.readline().rstrip("\n")

    def log(self) -> Iterator[str]:
        """Yield the lines on standard error as they come, until it ends."""
        assert self.process.stderr is not None
        with self._limit():
            yield from iter(self.process.stderr.readline, "")  # which closing this does not close

    def wait_log(self, text: str) -> None:
        """Wait for a line on standard error that has a text."""
        lines = []
        for line in self.log():
            lines.append(line)
            if text in line:
                return
        raise AssertionError(f"expected {text!r}, got {''.join(lines)}")

    @contextmanager
    def _limit(self) -> Iterator[None]:
        """Kill it if it takes too long: nobody waits for ever for what it does not say."""
        limit = Timer(PATIENCE, self.process.kill)
        limit.start()
        try:
            yield
        finally:
            limit.cancel()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return the exit code and what else came on both streams."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out or "", err or ""

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def read_all(terminal: int) -> str:
    """Read the master side of a pseudo-terminal until the other side is closed."""
    read = b""
    deadline = time.monotonic() + PATIENCE  # noqa: TID251 - of the real process
    while time.monotonic() < deadline:  # noqa: TID251
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has it open any more
            break
        if not data:
            break
        read += data
    return read.decode()


def screen(text: str, columns: int = 200) -> list[str]:
    """Return the lines that a terminal shows in the end: of all it can do, what we use."""
    rows, row, column, wrap = [""], 0, 0, True
    for control, character in re.findall(r"\x1b\[([?\d;]*[A-Za-z])|([^\x1b])", text):
        if control == "2K":
            rows[row] = ""
        elif control in {"?7l", "?7h"}:
            wrap = control == "?7h"
        elif character == "\r":
            column = 0
        elif character == "\n" or (character and wrap and column == columns):
            row, column = row + 1, 0
            rows.append("")
        if character and character not in "\r\n":
            column = min(column, columns - 1)
            rows[row] = rows[row].ljust(column)[:column] + character
            column += 1
    return [line.rstrip() for line in rows]
