"""How long it takes to import us, and to start."""

from __future__ import annotations

import os
import subprocess
import sys
import time

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
