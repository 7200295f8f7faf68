"""What somebody who watches costs a whole daemon."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def watched_ms(queues: int, seconds: float) -> float:
    """Return the CPU milliseconds a second that one ``queueactors top`` costs, as it is by default.

    Args:
      queues: How many there are; they are idle.
      seconds: How long it is watched, and how long it is not, before.
    """
    with _daemon(queues) as (process, folder):
        before = _cost(process, seconds)
        command = [sys.executable, "-m", "queueactors", "top", "--json", "--data-dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as top:
            after = _cost(process, seconds)
            top.kill()
        return max(0.0, after - before)


@contextmanager
def _daemon(queues: int) -> Iterator[tuple[int, str]]:
    """Run a daemon; yield its process id and its ``data_dir``."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "queues.toml")
        tables = (
            f'[queue.queue{number}]\nkind = "timed"\nreservation_time = "30s"\n'
            for number in range(queues)
        )
        head = f'schema = 1\n[runtime]\ndata_dir = "{folder}"\n'
        file.write_text(head + "".join(tables), encoding="utf-8")
        with subprocess.Popen(
            [sys.executable, "-m", "queueactors", "run", file], stderr=subprocess.DEVNULL
        ) as daemon:
            try:
                while not Path(folder, "control.sock").exists() and daemon.poll() is None:
                    time.sleep(0.1)
                yield daemon.pid, folder
            finally:
                daemon.terminate()


def _cost(process: int, seconds: float) -> float:
    """Return the CPU milliseconds a second of a process, once it has settled."""
    time.sleep(seconds / 4)
    before = _cpu(process)
    time.sleep(seconds)
    return (_cpu(process) - before) / seconds


def _cpu(process: int) -> float:
    """Return the CPU milliseconds of all threads of a process so far."""
    return sum(
        int((each / "schedstat").read_text(encoding="ascii").split()[0]) / 1e6
        for each in Path(f"/proc/{process}/task").iterdir()
    )
