"""The log of a daemon: one object a line, whatever happens, and nothing beside it."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from math import inf, nan
from typing import TYPE_CHECKING

import pytest

from queueactors.cli._log import StatusLine, render_json

from .kit import Program, config, read_all, write

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Start

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

MODULE = """
import gc
import logging
import os
import signal
import sys
import threading
import warnings

import structlog
import trio

log = logging.getLogger("lib")
alone = logging.getLogger("alone")
alone.propagate = False

class Broken:
    def __repr__(self):
        raise RuntimeError("no repr")

    def __del__(self):
        raise RuntimeError("no end")

def boom():
    raise ValueError("in a thread")

async def unawaited():
    pass

async def everything(delivery):
    warnings.simplefilter("always")
    warnings.warn("this\\nis odd")
    log.debug("not told")
    log.info("told %s", 1)
    log.warning("%d", "no number")
    try:
        raise KeyError("k")
    except KeyError:
        log.exception("it failed")
    alone.warning("nobody hears it")
    thread = threading.Thread(target=boom, name="mine")
    thread.start()
    thread.join()
    Broken()
    unawaited()
    gc.collect()
    structlog.get_logger().info("mine", data={(1, 2): float("nan")}, broken=[Broken])

async def wait(delivery):
    print("begun", flush=True)
    await trio.sleep(0.5)
    print("done", flush=True)
"""


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "mod.py").write_text(MODULE, encoding="utf-8")
    return folder


def events(err: str) -> list[dict[str, object]]:
    """Return what is in a log, of which each line must be an object."""
    found = [json.loads(line) for line in err.split("\n")[:-1]]
    for each in found:
        assert list(each)[:3] == ["timestamp", "level", "event"]
        assert INSTANT.fullmatch(each["timestamp"])
    return found


def named(err: str, name: str) -> list[dict[str, object]]:
    return [event for event in events(err) if event["event"] == name]


# -- one line --------------------------------------------------------------------------------------


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_whatever_is_logged_is_one_strict_json_object() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    facts = {"nan": nan, "inf": [inf], "keys": {(1, 2): 3}, "odd": Odd(), "cycle": cycle, "n": 1}

    line = render_json(None, "info", {"text": "a\nb\u2028\udc80", **facts, "event": "e"})

    def refuse(word: str) -> None:
        raise ValueError(word)

    read = json.loads(line, parse_constant=refuse)
    assert "\n" not in line
    assert line.isascii()
    assert read["event"] == "e"
    assert read["text"] == "a\nb\u2028\udc80"
    assert (read["nan"], read["inf"], read["keys"]) == ("nan", "[inf]", "{(1, 2): 3}")
    assert (read["odd"], read["cycle"], read["n"]) == ("<Odd>", "[[...]]", 1)


def test_a_number_that_json_does_not_have_is_text() -> None:
    line = render_json(None, "info", {"event": "e", "seconds": inf})

    assert json.loads(line) == {"event": "e", "seconds": "inf"}


class Stream:
    """A stream that logs while it is written to, as what is collected there may do."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.line: StatusLine | None = None

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        line, self.line = self.line, None
        if line is not None:
            line.write("the end of something\n")
        self.written.append(text)
        return len(text)

    def flush(self) -> None:
        pass


def test_a_line_within_a_line_comes_after_it() -> None:
    stream = Stream()
    line = stream.line = StatusLine(stream)  # type: ignore[arg-type] # all that it needs of one

    line.write("one\n")
    line.write("two\n")

    assert stream.written == ["one\n", "the end of something\n", "two\n"]


class SlowStream(Stream):
    """A stream that takes its first line only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.busy, self.go = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.busy.set()
        self.go.wait()
        return super().write(text)


def test_a_thread_goes_on_when_its_line_is_written_whoever_else_writes() -> None:
    stream = SlowStream()
    line = StatusLine(stream)  # type: ignore[arg-type] # all that it needs of one
    seen: list[list[str]] = []

    def second() -> None:
        line.write("two\n")
        seen.append(list(stream.written))

    threads = [
        threading.Thread(target=line.write, args=("one\n",)),
        threading.Thread(target=second),
    ]
    threads[0].start()
    stream.busy.wait()
    threads[1].start()
    threads[1].join(0.05)
    stream.go.set()
    for thread in threads:
        thread.join()

    assert seen == [["one\n", "two\n"]]


# -- a process -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The log of a process in which everything happens that writes to standard error."""
    folder = tmp_path_factory.mktemp("everything")
    (folder / "mod.py").write_text(MODULE, encoding="utf-8")
    file = write(folder, config().replace("app:say", "mod:everything"))
    program = Program(
        [sys.executable, "-m", "queueactors", "run", file, "--until-idle", "--log-format", "json"],
        folder,
    )
    code, out, err = program.end()
    program.close()
    assert (code, out) == (0, "")
    return err


@pytest.mark.slow
def test_what_would_write_to_standard_error_is_an_event(everything: str) -> None:
    (odd,) = [
        each for each in named(everything, "python_warning") if each["category"] == "UserWarning"
    ]
    assert (odd["message"], odd["level"]) == ("this\nis odd", "warning")
    assert str(odd["file"]).endswith("mod.py")
    unawaited = [each["category"] for each in named(everything, "python_warning")]
    assert "RuntimeWarning" in unawaited
    (thread,) = named(everything, "thread_failed")
    assert (thread["thread"], thread["error"]) == ("mine", "ValueError: in a thread")
    assert "in boom" in str(thread["exception"])
    (ignored,) = named(everything, "exception_ignored")
    assert ignored["error"] == "RuntimeError: no end"
    assert "__del__" in str(ignored["where"])


@pytest.mark.slow
def test_the_standard_librarys_log_is_events_of_its_levels(everything: str) -> None:
    logged = named(everything, "logged")

    assert [(each["logger"], each["level"], each["message"]) for each in logged] == [
        ("lib", "info", "told 1"),
        ("lib", "warning", "%d"),
        ("lib", "error", "it failed"),
        ("alone", "warning", "nobody hears it"),
    ]
    assert "KeyError: 'k'" in str(logged[2]["exception"])


@pytest.mark.slow
def test_a_programs_own_event_is_a_line_as_well(everything: str) -> None:
    (mine,) = named(everything, "mine")

    assert mine["data"] == "{(1, 2): nan}"
    assert mine["queue"] == "jobs"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "told"),
    [("debug", {"debug", "info", "warning"}), ("critical", set())],
)
def test_the_level_is_that_of_the_configuration(
    level: str, told: set[str], folder: Path, start: Start
) -> None:
    text = config("fail").replace('name = "test"', f'name = "test"\nlog_level = "{level}"')

    code, _, err = start("run", write(folder, text), "--until-idle", "--log-format", "json").end()

    assert code == 0
    assert {each["level"] for each in events(err)} == told


@pytest.mark.slow
def test_faults_of_the_configuration_are_an_event_each(folder: Path, start: Start) -> None:
    text = config().replace("backoff = 0", "backof = 0").replace("max_reservations", "max_res")

    code, out, err = start("run", write(folder, text), "--log-format", "json").end()

    assert (code, out) == (2, "")
    assert [(each["event"], each["path"]) for each in events(err)] == [
        ("config_fault", "queue.jobs.max_res"),
        ("config_fault", "worker.w.backof"),
    ]
    assert {(each["during"], each["file"]) for each in events(err)} == {("start", "queues.toml")}
    assert all(isinstance(each["line"], int) for each in events(err))


@pytest.mark.slow
def test_what_happens_while_modules_are_imported_is_an_event_as_well(
    folder: Path, start: Start
) -> None:
    (folder / "loud.py").write_text(
        "import logging, warnings\n"
        "warnings.simplefilter('always')\n"
        "warnings.warn('at import')\n"
        "logging.basicConfig()\n"
        "logging.warning('as well')\n"
        "def handle(delivery): pass\n",
        encoding="utf-8",
    )
    file = write(folder, config().replace("app:say", "loud:handle"))

    code, _, err = start("run", file, "--until-idle", "--log-format", "json").end()

    assert code == 0
    assert [each["message"] for each in named(err, "python_warning")] == ["at import"]
    assert [each["message"] for each in named(err, "logged")] == ["as well"]


@pytest.mark.slow
def test_an_error_that_nobody_expected_is_one_event_and_exit_code_1(
    folder: Path, start: Start
) -> None:
    (folder / "odd.py").write_text(
        "import trio\n"
        "def handle(delivery): pass\n"
        "def broken(*args, **kwargs): raise RuntimeError('a defect')\n"
        "trio.run = broken\n",
        encoding="utf-8",
    )
    file = write(folder, config().replace("app:say", "odd:handle"))

    code, _, err = start("run", file, "--log-format", "json").end()

    assert code == 1
    (event,) = events(err)
    assert (event["event"], event["level"]) == ("run_crashed", "critical")
    assert event["error"] == "RuntimeError: a defect"
    assert "in broken" in str(event["exception"])


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_harm_nobody(closed: str, folder: Path) -> None:
    text = config().replace('name = "test"', 'name = "test"\n[store.disk]\ntype = "sqlite"')
    write(folder, text.replace('kind = "timed"', 'kind = "timed"\nstore = "disk"'))
    program = f"exec {sys.executable} -m queueactors run queues.toml --until-idle {closed}"

    done = subprocess.run(
        ["sh", "-c", program], cwd=folder, capture_output=True, check=False, timeout=30
    )

    assert done.returncode == 0
    with closing(sqlite3.connect(folder / "var/disk.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.slow
def test_a_collector_that_dies_on_the_way_does_not_end_the_work(folder: Path, start: Start) -> None:
    reader, writer = os.pipe()
    file = write(folder, config().replace("app:say", "mod:wait"))
    program = start("run", file, "--until-idle", "--log-format", "json", stderr=writer)
    os.close(writer)
    assert program.line() == "begun"

    os.close(reader)

    assert program.end()[:2] == (0, "done\n")


@pytest.mark.slow
def test_a_full_disk_under_the_log_does_not_end_the_work(folder: Path, start: Start) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    program = start("run", write(folder, config()), "--until-idle", stderr=full)
    os.close(full)

    assert program.end()[:2] == (0, "said x\n")


@pytest.mark.slow
def test_json_on_a_terminal_is_json(folder: Path, start: Start) -> None:
    master, slave = pty.openpty()
    file = write(folder, config("slow"))
    program = start("run", file, "--until-idle", "--log-format", "json", stderr=slave)
    os.close(slave)
    text = read_all(master)
    os.close(master)

    assert program.end()[0] == 0
    assert events(text.replace("\r\n", "\n"))
