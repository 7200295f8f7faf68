"""``queueactors run`` as a process: its ends, its signals, its output."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import termios
from typing import TYPE_CHECKING

import pytest

from .kit import PARKED, Program, config, read_all, screen, write

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Start

pytestmark = pytest.mark.slow


def events(err: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in err.split("\n")[:-1]]


def named(err: str, name: str) -> list[dict[str, object]]:
    return [event for event in events(err) if event["event"] == name]


def test_until_idle_it_ends_by_itself_when_everything_is_done(folder: Path, start: Start) -> None:
    file = write(folder, config(values='["x", "y"]'))

    code, out, err = start("run", file, "--until-idle").end()

    assert code == 0
    assert out == "said x\nsaid y\n"
    assert "said" not in err
    assert "\x1b" not in err
    assert "\r" not in err
    assert "worker_statistics" in err


def test_json_log_lines_are_one_object_each(folder: Path, start: Start) -> None:
    file = write(folder, config("fail", values=r'["a\"b\n\u2028c"]'))

    code, out, err = start("run", file, "--until-idle", "--log-format", "json").end()

    assert (code, out) == (0, "")
    assert all({"event", "level", "timestamp"} <= set(event) for event in events(err))
    first, second = named(err, "handler_failed")
    assert "Traceback" in str(first["exception"])
    assert second["error"] == 'ValueError: no luck with a"b\n\u2028c'
    (numbers,) = named(err, "queue_statistics")
    assert (numbers["queue"], numbers["buried"], numbers["restarts"]) == ("jobs", 1, 0)
    (numbers,) = named(err, "worker_statistics")
    assert (numbers["worker"], numbers["retry"], numbers["restarts"]) == ("w", 2, 0)
    assert isinstance(numbers["handling_p99"], float)  # seconds


def test_a_log_line_takes_whatever_a_message_is(folder: Path, start: Start) -> None:
    (folder / "odd.py").write_text(
        "def handle(delivery):\n"
        "    raise ValueError('\\udc80 ' + str(2**80), {(1, 2): object()})\n",
        encoding="utf-8",
    )
    file = write(folder, config().replace("app:say", "odd:handle"))

    for each in ("json", "console"):  # one at a time has the control socket
        code, _, err = start("run", file, "--until-idle", "--log-format", each).end()
        assert code == 0
        assert "handler_failed" in err
        assert "child_crashed" not in err


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_lets_workers_finish_what_they_began(
    number: signal.Signals, expected: int, folder: Path, start: Start
) -> None:
    program = start("run", write(folder, config("slow", values='["x", "y"]')))
    assert program.line() == "begun x"

    program.signal(number)
    code, out, err = program.end()

    assert code == expected
    assert out == "done x\n"
    assert "Traceback" not in err


def test_a_second_signal_stops_at_once(folder: Path, start: Start) -> None:
    program = start("run", write(folder, config("endless", more='shutdown = "1h"')))
    assert program.line() == "begun x"
    program.signal(signal.SIGINT)
    program.wait_log("supervisor_signal")

    program.signal(signal.SIGTERM)
    code, out, err = program.end()

    assert code == 130  # the first one says how
    assert out == "cut off x\n"
    assert "Traceback" not in err


def test_ctrl_c_while_modules_are_imported_is_told_by_the_exit_code(
    folder: Path, start: Start
) -> None:
    (folder / "slow.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(30)\n", encoding="utf-8"
    )
    program = start("check", write(folder, config().replace("app:say", "slow:handle")))
    assert program.line() == "importing"

    program.signal(signal.SIGINT)

    assert program.end() == (130, "", "")


def test_without_until_idle_it_runs_on(folder: Path, start: Start) -> None:
    program = start("run", write(folder, config()))
    assert program.line() == "said x"
    with pytest.raises(Exception, match=r"timed out"):
        program.process.wait(0.3)

    program.signal(signal.SIGTERM)
    assert program.end()[0] == 0


GIVES_UP = """
[[supervisor.mine.child]]
start = "app:crash"
backoff = { min = 0, max = 0 }
[supervisor.mine]
"""


def test_a_supervisor_that_gave_up_is_one_clear_line_and_exit_code_1(
    folder: Path, start: Start
) -> None:
    file = write(folder, config(more=GIVES_UP))

    code, _, err = start("run", file, "--log-format", "json").end()

    assert code == 1
    (event,) = named(err, "run_failed")
    assert event["level"] == "critical"
    assert event["error"] == "OSError: the disk is gone"
    assert event["supervisor"] == "test/supervisors/supervisor.mine"
    assert event["child"] == "start.crash"
    assert events(err)[-1]["event"] == "run_failed"


def test_for_people_it_is_one_line_as_well(folder: Path, start: Start) -> None:
    file = write(folder, config(more=GIVES_UP))

    code, _, err = start("run", file).end()

    assert code == 1
    last = err.splitlines()[-1]
    assert "run_failed" in last
    assert "OSError: the disk is gone" in last
    assert "supervisor.mine" in last


def test_a_child_that_does_not_start_is_reported_likewise(folder: Path, start: Start) -> None:
    more = '[supervisor.mine]\n[[supervisor.mine.child]]\nstart = "app:no_start"\n'
    file = write(folder, config(more=more))

    code, out, err = start("run", file, "--log-format", "json").end()

    assert (code, out) == (1, "")
    (event,) = named(err, "run_failed")
    assert event["error"] == "OSError: the disk is not there"
    assert event["child"] == "start.no_start"


def test_a_child_that_was_parked_makes_it_exit_code_1(folder: Path, start: Start) -> None:
    file = write(folder, config("slow", more=PARKED))

    code, out, err = start("run", file, "--until-idle", "--log-format", "json").end()

    assert code == 1
    assert out == "begun x\ndone x\n"
    assert [event["child"] for event in named(err, "child_is_parked")] == ["start.crash"]


def test_an_exit_in_a_handler_is_the_exit_code(folder: Path, start: Start) -> None:
    code, _, err = start("run", write(folder, config("leave"))).end()

    assert code == 7
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["print", "run"])
def test_a_reader_of_the_output_that_has_left_is_no_traceback(
    command: str, folder: Path, start: Start
) -> None:
    text = config(values=str([str(n) for n in range(50)]))
    file = write(folder, text.replace("app:say", "builtins:print"))
    reader, writer = os.pipe()
    os.close(reader)

    program = start(command, file, *(["--until-idle"] if command == "run" else []), stdout=writer)
    os.close(writer)
    code, _, err = program.end()

    assert code == 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_a_reader_of_the_log_that_has_left_does_not_end_the_work(
    folder: Path, start: Start
) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    program = start("run", write(folder, config()), "--until-idle", stderr=writer)
    os.close(writer)
    code, out, _ = program.end()

    assert code == 0
    assert out == "said x\n"


@pytest.mark.parametrize("columns", [200, 20])
def test_on_a_terminal_the_status_line_appears_and_leaves_nothing_behind(
    columns: int, folder: Path, start: Start
) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    file = write(folder, config("slow", values='["w", "x", "y", "z"]'))

    program = start("run", file, "--until-idle", stderr=slave)
    os.close(slave)
    text = read_all(master)
    os.close(master)
    code, out, _ = program.end()

    assert code == 0
    assert out.endswith("done z\n")
    assert "done 1   ready 2   reserved 1" in text
    lines = screen(text, columns)
    assert not any("reserved 1  " in line for line in lines)
    assert lines[-1] == ""
    if columns == 200:
        assert all(" [" in line for line in lines[:-1])  # whole lines of the log, nothing else


def test_on_a_terminal_a_signal_leaves_nothing_behind_either(folder: Path, start: Start) -> None:
    master, slave = pty.openpty()
    program = start("run", write(folder, config("endless", more="shutdown = 0")), stderr=slave)
    os.close(slave)
    assert program.line() == "begun x"
    text = ""
    while "reserved 1" not in text:
        text += os.read(master, 65536).decode()

    program.signal(signal.SIGINT)
    text += read_all(master)
    os.close(master)

    assert program.end()[0] == 130
    assert not any("ready 0" in line for line in screen(text))


# -- reloading ---------------------------------------------------------------------------------


FEEDER = """
TOTAL = 3000
SEEN = set()

async def take(delivery):
    value = delivery.value
    if value in SEEN:
        print("twice", value, flush=True)
    SEEN.add(value)
    if value + 10 < TOTAL:
        await delivery.queue.insert(value + 10)
    if value == 10:
        print("begun", flush=True)
    if len(SEEN) == TOTAL:
        print("all", flush=True)
"""

LOADED = """
schema = 1
[runtime]
log_level = "{level}"
[queue.jobs]
kind = "timed"
reservation_time = "30s"
max_length = {limit}
unique = {unique}
values = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
[worker.w]
queue = "jobs"
handler = "feeder:take"
concurrency = {concurrency}
throttle = "1ms"
"""


def test_hangups_under_load_lose_nothing_and_hand_nothing_out_twice(
    folder: Path, start: Start
) -> None:
    (folder / "feeder.py").write_text(FEEDER, encoding="utf-8")

    def rewrite(number: int) -> str:
        return write(
            folder,
            LOADED.format(
                level="info",
                limit=100 + number,
                unique="true" if number % 2 else "false",
                concurrency=1 + number % 3,
            ),
        )

    program = start("run", rewrite(0), "--log-format", "json")
    assert program.line() == "begun"
    for number in range(1, 8):
        rewrite(number)
        program.signal(signal.SIGHUP)
        wait_for(program, "reloaded")

    assert program.line() == "all"
    program.signal(signal.SIGTERM)
    code, out, err = program.end()
    assert (code, out) == (0, "")
    assert [event["restarts"] for event in named(err, "queue_statistics")] == [7]
    assert not named(err, "reload_refused")


def test_a_hangup_with_faults_changes_nothing_and_tells_each(folder: Path, start: Start) -> None:
    file = write(folder, config("endless"))
    program = start("run", file, "--log-format", "json")
    assert program.line() == "begun x"
    write(folder, config("endless", more="concurency = 2\nnonsense = 3"))

    program.signal(signal.SIGHUP)
    assert wait_for(program, "config_fault")["during"] == "reload"
    refused = wait_for(program, "reload_refused")

    write(folder, config("endless").replace('name = "test"', 'name = "test"\nlog_level = "error"'))
    program.signal(signal.SIGHUP)
    assert wait_for(program, "reloaded")["changed"] == 1
    program.signal(signal.SIGTERM)
    code, out, err = program.end()
    assert (code, out) == (0, "cut off x\n")
    assert refused["error"] == "the configuration has faults (2); nothing has changed"
    assert events(err) == []  # the level is another one now


def test_the_plan_between_two_files_is_printed(folder: Path, start: Start) -> None:
    write(folder, config())
    (folder / "new.toml").write_text(config().replace("max_reservations = 2", ""))
    (folder / "bad.toml").write_text(
        config(more='[store.disk]\ntype = "sqlite"').replace(
            'kind = "timed"', 'kind = "timed"\nstore = "disk"'
        )
    )

    code, out, _ = start("plan", "new.toml", "--against", "queues.toml").end()
    refused, faulty, _ = start("plan", "bad.toml", "--against", "queues.toml", "--json").end()

    assert code == 0
    assert "~ queue.jobs\n    max_reservations: 2 -> not set  (live)" in out
    assert refused == 2
    assert json.loads(faulty)["faults"][0]["path"] == "queue.jobs.store"


def wait_for(program: Program, name: str) -> dict[str, object]:
    """Read the log up to an event."""
    lines = []
    for line in program.log():
        lines.append(line)
        event: dict[str, object] = json.loads(line)
        if event["event"] == name:
            return event
    raise AssertionError("".join(lines))
