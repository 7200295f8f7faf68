"""What a command does not import: nobody waits for what it has no use for."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

RUNNING = {  # what queues run on, and what only runs
    "queueactors._parts",
    "queueactors._runtime",
    "queueactors.cli._run",
    "queueactors.cores.timed",
    "queueactors.engines",
    "queueactors.queues._actor",
    "queueactors.stores._actor",
    "queueactors.workers._worker",
    "structlog",
    "supervisors._supervisor",
}
EXTRAS = {"apsw", "coredis", "h11", "prometheus_client", "rich"}
CONFIG = """
schema = 1
[metrics]
listen = "127.0.0.1:9464"
[store.disk]
type = "sqlite"
[queue]
a = { kind = "timed", store = "disk", reservation_time = "30s" }
b = { kind = "message" }
c = { kind = "batch", process = "builtins:print" }
d = { kind = "log", ttl = "1h" }
e = { kind = "capacity" }
f = { kind = "channel" }
[worker.w]
queue = "a"
handler = "builtins:print"
[supervisor.s]
child = [{ queue = "b" }]
"""
PROGRAM = """
import contextlib, io, json, sys
from queueactors.cli import main
found = {}
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main(command, prog_name="queueactors")
        except SystemExit as end:
            there = sorted({*json.loads(sys.argv[2])} & {*sys.modules})
            found[" ".join(command)] = [end.code, *there]
print(json.dumps(found))
"""


def imported(folder: Path, unwanted: set[str], *commands: str) -> dict[str, list[object]]:
    """Return the exit code of each command, and what is there after it that is not wanted."""
    (folder / "q.toml").write_text(CONFIG, encoding="utf-8")
    given = json.dumps([each.split() for each in commands]), json.dumps([*unwanted])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *given],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[object]] = json.loads(done.stdout)
    assert [*found] == [*commands], done.stderr
    return found


def test_a_configuration_is_looked_at_without_trio_and_without_what_would_run_it(
    tmp_path: Path,
) -> None:
    commands = ("check q.toml", "print q.toml", "schema", "plan q.toml --against q.toml")

    found = imported(tmp_path, {*RUNNING, *EXTRAS, "trio"}, *commands)

    assert found == {each: [0] for each in commands}


def test_help_imports_what_no_command_needs(tmp_path: Path) -> None:
    config = {"queueactors.config", "queueactors.queues", "sqlite3", "tomllib", "http.client"}

    found = imported(tmp_path, {*RUNNING, *EXTRAS, *config, "trio"}, "--version", "--help")

    assert found == {"--version": [0], "--help": [0]}


def test_a_command_about_a_running_daemon_imports_nothing_that_runs_one(tmp_path: Path) -> None:
    commands = ("status", "queues", "stats a", "top --once", "stop a")

    found = imported(tmp_path, {*RUNNING, *EXTRAS, "sqlite3"}, *commands)

    assert found == {each: [1] for each in commands}  # nobody is there
