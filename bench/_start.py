"""How long it takes to import us, to check a configuration, and to start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio

from queueactors import open_runtime


def import_ms(statement: str) -> float:
    """Return the milliseconds that a statement takes in a new interpreter, from bytecode."""
    code = f"import time; t = time.perf_counter()\n{statement}\nprint(time.perf_counter() - t)"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    return float(done.stdout) * 1e3


def check_ms(queues: int) -> float:
    """Return the milliseconds that ``queueactors check`` takes, as a process, from bytecode."""
    tables = (
        f'[queue.queue{number}]\nkind = "timed"\nreservation_time = "30s"\nmax_reservations = 5\n'
        for number in range(queues)
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "queues.toml")
        file.write_text("schema = 1\n" + "".join(tables), encoding="utf-8")
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "queueactors", "check", file],
            check=True,
            capture_output=True,
            env=environment,
        )
        return (time.perf_counter() - start) * 1e3


def start_ms(queues: int) -> float:
    """Return the milliseconds from nothing to a runtime with so many queues, and a worker."""

    async def run() -> float:
        tables = {
            f"queue{number}": {"kind": "timed", "reservation_time": 30} for number in range(queues)
        }
        worker = {"queue": "queue0", "handler": print}
        start = time.perf_counter()
        async with open_runtime({"queue": tables, "worker": {"printer": worker}}):
            return (time.perf_counter() - start) * 1e3

    return trio.run(run)
