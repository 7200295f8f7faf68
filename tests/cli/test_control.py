"""The commands that talk to a running runtime: real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from queueactors.cli import main
from queueactors.cli._control import table

from .kit import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Start
    from .kit import Program

pytestmark = pytest.mark.slow

CONFIG = """
schema = 1
[runtime]
name = "mailer"
[store.disk]
type = "sqlite"
[queue.emails]
kind = "timed"
store = "disk"
reservation_time = "30s"
max_reservations = 1
on_exhausted = "dead"
[queue.dead]
kind = "timed"
reservation_time = "30s"
[queue.news]
kind = "log"
ttl = "1h"
"""


@pytest.fixture
def daemon(folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A daemon that answers at its socket; commands find it, as they run in its folder."""
    (folder / "q.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(folder)
    return listening(start)


def listening(start: Start, file: str = "q.toml") -> Program:
    program = start("run", file)
    program.wait_log("control_listening")
    return program


def command(*args: str) -> tuple[int, str, str]:
    """Run a command in this process, which is ten times faster; return what a process would."""
    result = CliRunner().invoke(main, args)
    return result.exit_code, result.stdout, result.stderr


def ok(*args: str) -> str:
    """Return what a command that succeeds prints."""
    code, out, err = command(*args)
    assert (code, err) == (0, "")
    return out


def test_an_operator_can_do_a_days_work(daemon: Program, start: Start) -> None:
    told = ok("status")
    assert told.startswith(f"mailer: process {daemon.process.pid}, queueactors 0.1.0, up since 2")
    assert "\n  ready\n  3 queues, 0 workers, 0 messages ready" in told
    assert ok("insert", "emails", '{"to": "ann"}', "plain", "NaN") == "emails: 3 messages in\n"
    assert ok("peek", "emails").splitlines() == [
        "id 1, ready",
        '  {"to":"ann"}',
        "id 2, ready",
        '  "plain"',
        "id 3, ready",
        '  "NaN"',
    ]
    taken = json.loads(ok("reserve", "emails", "--json"))
    assert taken["value"] == {"to": "ann"}
    assert ok("release", "emails", str(taken["key"])) == "emails: given back\n"
    assert ok("redrive", "dead") == "dead: 1 to emails\n"
    lines = ok("queues").splitlines()
    head = "QUEUE KIND STORE STATE READY IN HAND WAITING MAILBOX RESTARTS"
    assert " ".join(lines[0].split()) == head
    assert lines[1].split() == ["emails", "timed", "disk", "running", "3", "0", "0", "0", "0"]
    assert ok("stop", "emails") == "emails: stopped\n"
    assert "  stopped  queue.emails\n" in ok("status", "--config", "q.toml")
    assert ok("start", "emails") == "emails: started\n"
    assert "queue.emails (running)" in ok("tree")
    assert ok("clear", "--all", "--yes") == "cleared: emails\n"
    daemon.signal(signal.SIGTERM)
    assert daemon.end()[0] == 0


def test_what_goes_wrong_is_one_line_and_an_exit_code(daemon: Program, start: Start) -> None:
    wrong = {
        ("stats", "emial"): (1, "there is no queue 'emial'"),
        ("reserve", "emails"): (1, "emails: there is no message ready"),
        ("reserve", "news"): (
            2,
            "queue 'news' is of kind log, and reserve is for timed, message; ",
        ),
        ("insert", "emails", "x", "--delay", "-1"): (
            2,
            "insert: expected delay to be seconds >= 0",
        ),
        ("clear",): (2, "say which queues, or --all"),
        ("clear", "--all"): (2, "--all removes all messages of all queues; say --yes, too"),
        ("stop", "nobody"): (1, "there is no child 'nobody'"),
        ("status", "--socket", "nowhere"): (1, "nowhere: no runtime answers there; start one with"),
        ("status", "--config", "none.toml"): (2, "none.toml: "),
    }
    for args, (code, told) in wrong.items():
        ended, out, err = command(*args)

        assert (ended, out) == (code, "")
        assert err.startswith(told)
        assert err.count("\n") == 1


def test_a_second_daemon_on_one_data_dir_is_refused(daemon: Program, start: Start) -> None:
    code, _, err = start("run", "q.toml").end()
    assert code == 1
    assert f"belongs to process {daemon.process.pid}" in err

    assert ok("status").startswith(f"mailer: process {daemon.process.pid},")


def test_a_second_daemon_is_refused_by_the_socket_alone(folder: Path, start: Start) -> None:
    (folder / "q.toml").write_text('schema = 1\n[queue.q]\nkind = "channel"\n', encoding="utf-8")
    first = listening(start)
    code, _, err = start("run", "q.toml").end()

    assert code == 1
    told = f"the control socket var/control.sock belongs to process {first.process.pid} since 2"
    assert told in err
    first.signal(signal.SIGINT)
    assert first.end()[0] == 130


def test_a_killed_daemon_is_told_and_its_socket_replaced(
    daemon: Program, folder: Path, start: Start
) -> None:
    ok("insert", "emails", "kept")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "var/control.sock"))
        client.sendall(b'{"id": 1, "method": "logs"}\n')
        daemon.process.kill()
        daemon.process.wait(PATIENCE)
        client.settimeout(PATIENCE)
        with suppress(ConnectionResetError):
            while client.recv(4096):
                pass
    code, _, err = command("status")
    assert code == 1
    assert err.startswith("var/control.sock: no runtime answers there; ")
    listening(start)

    assert '"kept"' in ok("peek", "emails")


def test_export_and_import_work_while_the_runtime_runs(
    daemon: Program, folder: Path, start: Start
) -> None:
    ok("insert", "emails", "1", "2", "x")

    assert ok("export", "q.toml", "emails", "-o", "out.jsonl").startswith("out.jsonl: 3 mess")
    assert ok("import", "var/disk.sqlite", "emails", "out.jsonl") == (
        "emails: 3 messages from out.jsonl\n"
    )
    assert ok("import", "q.toml", "emails", "out.jsonl", "--skip", "2") == (
        "emails: 1 message from out.jsonl\n"
    )
    values = [json.loads(line)["value"] for line in ok("peek", "emails", "--json").splitlines()]
    assert values == [1, 2, "x", 1, 2, "x", "x"]


def test_what_is_in_memory_is_shown_and_taken_in_but_not_exported(
    daemon: Program, folder: Path
) -> None:
    (folder / "in.jsonl").write_text('{"value": "x"}\n', encoding="utf-8")

    assert ok("import", "q.toml", "dead", "in.jsonl") == "dead: 1 message from in.jsonl\n"
    assert ok("peek", "dead") == 'id 1, ready\n  "x"\n'
    ok("insert", "news", "a", "b")
    assert ok("peek", "news") == '"a"\n"b"\n'
    told = "queue 'dead' is in no file, so it cannot be exported; look at it with"
    assert command("export", "q.toml", "dead", "-o", "out") == (
        2,
        "",
        f"q.toml: {told}: queueactors peek dead --json\n",
    )
    daemon.process.kill()
    daemon.process.wait(PATIENCE)
    code, _, err = command("import", "q.toml", "dead", "in.jsonl")  # it led into the file before
    assert code == 1
    assert "no runtime answers there; start one with" in err


def test_a_command_that_waits_ends_with_ctrl_c(daemon: Program, start: Start) -> None:
    waiting = start("reserve", "emails", "--wait", "60")
    while json.loads(ok("stats", "emails", "--json"))["queue"]["waiting"] == 0:
        assert waiting.process.poll() is None
    waiting.signal(signal.SIGINT)

    assert waiting.end() == (130, "", "")
    while json.loads(ok("stats", "emails", "--json"))["queue"]["waiting"]:
        pass


def test_an_output_that_takes_nothing_is_told_or_nobody_is(daemon: Program, start: Start) -> None:
    ok("insert", "emails", "1")
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        program = start("reserve", "emails", stdout=full.fileno())
        assert program.end() == (1, "", "the output: No space left on device\n")
    assert json.loads(ok("stats", "emails", "--json"))["queue"]["in_hand"] == 0  # given back
    ok("insert", "emails", "2")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        program = start("peek", "emails", stdout=writing)
        assert program.end() == (1, "", "")
    finally:
        os.close(writing)


def test_a_shell_is_told_the_names(daemon: Program, folder: Path, start: Start) -> None:
    from click.shell_completion import ShellComplete

    place = str(folder / "var/control.sock")
    completion = ShellComplete(main, {}, "queueactors", "_QUEUEACTORS_COMPLETE")

    found = completion.get_completions(["stats", "--socket", place], "e")
    nothing = completion.get_completions(["stats", "--socket", place + "x"], "")

    assert [each.value for each in found] == ["emails"]
    assert nothing == []


def test_every_command_has_help_with_an_example() -> None:
    runner = CliRunner()
    for name, command in main.commands.items():
        if name in {"run", "check", "print", "init", "schema", "store"}:
            continue
        told = runner.invoke(command, ["--help"]).output

        assert f"Example: queueactors {name}" in told
        assert "--json" in told


def test_a_table_is_as_wide_as_it_must() -> None:
    assert table([("A", "NUMBER"), ("long name", 5), ("b", None)]).splitlines() == [
        "A          NUMBER",
        "long name       5",
        "b               -",
    ]
