"""The ways in which ``queueactors run`` ends that `test_run` does not have, as processes.

There: idle, a signal, SIGINT and a second signal, what does not start, what gives up, what is
parked, an exit in a handler, a closed output. All of it is the table in docs/operating.md.
"""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .kit import config, write

if TYPE_CHECKING:
    from .conftest import Start

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
TERM, INT = signal.SIGTERM, signal.SIGINT

STARTS = """
import os
import time
import trio

async def slow_start(*, task_status):
    print("starting", flush=True)
    await trio.sleep(60)

async def stubborn_start(*, task_status):
    print("starting", flush=True)
    with task_status.shield():
        await trio.sleep(60)

async def parked(*, task_status):
    task_status.started()
    print("fails", flush=True)
    raise OSError("the disk is gone")
"""

CHILD = """
[supervisor.mine]
intensity = 0
[[supervisor.mine.child]]
start = "starts:{}"
shutdown = "1h"
"""
OWN_IMPORT = """
import sys
import time
print("importing", flush=True)
time.sleep({})
here = sys.path.pop(0)
del sys.modules["click"]
import click
sys.path.insert(0, here)
"""
DURABLE = """
schema = 1
[runtime]
log_level = "info"
[store.disk]
type = "sqlite"
[queue.jobs]
kind = "timed"
store = "disk"
reservation_time = "30s"
values = ["x"]
[worker.w]
queue = "jobs"
handler = "app:say"
"""


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "starts.py").write_text(STARTS, encoding="utf-8")
    return folder


@pytest.mark.parametrize(("number", "expected"), [(TERM, 0), (INT, 130)])
def test_a_signal_during_the_start_ends_it_in_order(
    number: signal.Signals, expected: int, folder: Path, start: Start
) -> None:
    program = start("run", write(folder, config(more=CHILD.format("slow_start"))))
    assert program.line() == "starting"

    program.signal(number)
    code, _, err = program.end()

    assert code == expected
    assert "Traceback" not in err
    assert "supervisor_stopped" in err.splitlines()[-1]


def test_sigterm_while_modules_are_imported_ends_it_at_once(folder: Path, start: Start) -> None:
    (folder / "heavy.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(60)\n", encoding="utf-8"
    )
    program = start("run", write(folder, config().replace("app:say", "heavy:handle")))
    assert program.line() == "importing"

    program.signal(TERM)

    assert program.end() == (0, "", "")


@pytest.mark.parametrize(("number", "expected"), [(TERM, 0), (INT, 130)])
def test_a_signal_while_the_command_itself_is_imported_ends_it_at_once(
    number: signal.Signals, expected: int, folder: Path, start: Start
) -> None:
    (folder / "click.py").write_text(OWN_IMPORT.format(60), encoding="utf-8")
    program = start("run", write(folder, config()))
    assert program.line() == "importing"

    program.signal(number)

    assert program.end() == (expected, "", "")


def test_a_hangup_while_the_command_itself_is_imported_is_a_reload_once_all_is_up(
    folder: Path, start: Start
) -> None:
    (folder / "click.py").write_text(OWN_IMPORT.format(0.5), encoding="utf-8")
    program = start("run", write(folder, config()))
    assert program.line() == "importing"

    program.signal(signal.SIGHUP)

    program.wait_log(" reloaded ")
    program.signal(TERM)
    assert program.end()[0] == 0


def test_a_hangup_while_modules_are_imported_is_a_reload_once_all_is_up(
    folder: Path, start: Start
) -> None:
    (folder / "heavy.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(0.5)\ndef handle(delivery): ...\n",
        encoding="utf-8",
    )
    file = write(folder, config().replace("app:say", "heavy:handle"))
    program = start("run", file)
    assert program.line() == "importing"

    program.signal(signal.SIGHUP)

    program.wait_log(" reloaded ")
    program.signal(TERM)
    assert program.end()[0] == 0


def test_a_hangup_during_the_stop_is_too_late(folder: Path, start: Start) -> None:
    program = start("run", write(folder, config("slow")))
    assert program.line() == "begun x"
    program.signal(TERM)
    program.wait_log("supervisor_signal")

    program.signal(signal.SIGHUP)
    code, out, err = program.end()

    assert (code, out) == (0, "done x\n")
    assert "reload" not in err


def test_a_signal_after_the_end_changes_nothing_about_it(folder: Path, start: Start) -> None:
    (folder / "late.py").write_text(
        "import atexit, sys, time\n"
        "@atexit.register\n"
        "def leave():\n"
        "    print('leaving', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "async def handle(delivery): print('handled')\n",  # kept until the end
        encoding="utf-8",
    )
    program = start("run", write(folder, config().replace("app:say", "late:handle")))
    program.wait_log("control_listening")
    program.signal(INT)
    program.wait_log("leaving")

    program.signal(TERM)

    assert program.end()[:2] == (130, "handled\n")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(TERM, TERM, 0), (TERM, INT, 0)],
)
def test_a_second_signal_ends_it_at_once_and_the_first_says_how(
    first: signal.Signals,
    second: signal.Signals,
    expected: int,
    folder: Path,
    start: Start,
) -> None:
    program = start("run", write(folder, config("endless", more='shutdown = "1h"')))
    assert program.line() == "begun x"
    program.signal(first)
    program.wait_log("supervisor_signal")

    program.signal(second)
    code, out, err = program.end()

    assert (code, out) == (expected, "cut off x\n")
    assert "then=kill" in err


def test_a_second_signal_ends_a_start_that_does_not_end(folder: Path, start: Start) -> None:
    program = start("run", write(folder, config(more=CHILD.format("stubborn_start"))))
    assert program.line() == "starting"
    program.signal(TERM)
    program.wait_log("supervisor_signal")

    program.signal(TERM)

    assert program.end()[0] == 0


def test_something_parked_is_1_when_it_ends_by_itself_and_not_when_it_was_told_to(
    folder: Path, start: Start
) -> None:
    file = write(folder, config(more=CHILD.format("parked") + 'on_give_up = "park"\n'))
    alone = start("run", file, "--until-idle").end()[0]  # before the other: there is one socket
    told = start("run", file)
    assert {told.line(), told.line()} == {"fails", "said x"}

    told.signal(TERM)

    assert (alone, told.end()[0]) == (1, 0)


@pytest.mark.parametrize(
    "args",
    [["queues.toml", "--no-such-option"], ["wrong.toml"]],
)
def test_a_wrong_use_or_configuration_is_2(args: list[str], folder: Path, start: Start) -> None:
    write(folder, config())
    (folder / "wrong.toml").write_text("schema = 2\n", encoding="utf-8")

    code, out, err = start("run", *args).end()

    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_a_second_daemon_on_the_same_data_is_1_and_told_whose_it_is(
    folder: Path, start: Start
) -> None:
    file = write(folder, DURABLE)
    first = start("run", file)
    assert first.line() == "said x"

    code, out, err = start("run", file, "--log-format", "json").end()

    assert (code, out) == (1, "")
    last = json.loads(err.splitlines()[-1])
    assert last["event"] == "run_failed"
    assert re.fullmatch(
        rf"StoreLockedError: store 'disk': {folder}/var/disk\.sqlite belongs to process "
        rf"{first.process.pid} since \S+\+00:00; one process at a time can use it: stop that one, "
        r"or give this one a data_dir, or a path, of its own",
        last["error"],
    )
    first.signal(TERM)
    assert first.end()[0] == 0
    assert start("run", file, "--until-idle").end()[0] == 0  # the lock went with the process


def test_the_page_lists_these_codes() -> None:
    page = PAGE.read_text(encoding="utf-8").partition("## Exit codes")[2].partition("\n## ")[0]

    codes = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)

    assert sorted(set(codes)) == ["0", "1", "130", "2"]
