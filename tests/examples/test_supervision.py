"""The examples of supervision, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.slow


def run(file: str) -> tuple[list[str], str]:
    """Run an example; return the lines that it printed, and its log."""
    done = subprocess.run(
        [sys.executable, "-W", "error", FOLDER / file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_the_tree_restarts_what_hangs_on_the_broken_bus_and_stops_in_order() -> None:
    lines, log = run("tree.py")

    assert lines.pop(-2).startswith("stop store: ")  # and how many readings, which varies
    assert lines == [
        "start bus",
        "start thermometer",
        "start barometer",
        "station (running, one_for_one)",
        "├─ store (running)",
        "└─ sensors (running, rest_for_one)",
        "   ├─ bus (running)",
        "   ├─ thermometer (running)",
        "   └─ barometer (running)",
        "stop bus",
        "stop barometer",
        "stop thermometer",
        "start bus",
        "start thermometer",
        "start barometer",
        "station (running, one_for_one)",
        "├─ store (running)",
        "└─ sensors (running, rest_for_one)",
        "   ├─ bus (running, restarts 1)",
        "   ├─ thermometer (running, restarts 1)",
        "   └─ barometer (running, restarts 1)",
        "stop barometer",
        "stop thermometer",
        "stop bus",
        "ended by SIGINT",
    ]
    assert log.count("child_crashed") == 1
    assert "OSError: the bus is broken" in log


def test_the_sessions_of_the_pool_come_and_go() -> None:
    lines, log = run("pool.py")

    assert lines[:5] == [
        "pool (running, dynamic)",
        "├─ weather (running)",
        "├─ news (running)",
        "└─ sport (running)",
        "refused: supervisor 'pool' has its max_children of 3 already; terminate one first",
    ]
    assert lines.count("news: hello") == 2
    assert "weather: goodbye" in lines
    assert lines[-6:] == [
        "news has a new connection: True",
        "chess: hello",
        "pool (running, dynamic)",
        "├─ news (running, restarts 1)",
        "└─ chess (running)",
        "the pool is closed: <DynamicChild 'news' of 'pool', stopped>",
    ]
    assert log.count("child_crashed") == 1
    assert "ConnectionError: news: the server hung up" in log


def test_the_actor_fails_one_call_and_answers_the_others() -> None:
    lines, log = run("actor.py")

    assert lines == [
        "open, lent: 0",
        "ann has Emma",
        "bob waits: True",
        "bob has Emma",
        "closed by KeyError",
        "open, lent: 2",
        "cy has Persuasion",
        "di is told: KeyError('Ulysses')",
        "ed has Sanditon",
        "closed by Cancelled",
    ]
    assert log.count("child_crashed") == 1
