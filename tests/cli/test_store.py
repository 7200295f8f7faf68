"""``export``, ``import`` and ``store`` as commands: results, exit codes, one line an error."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from queueactors.stores._file import MIGRATIONS
from queueactors.stores._owner import Owner
from tests.stores.kit_file import message, opened, put

from .kit import Program, read_all, screen

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Start

pytestmark = pytest.mark.slow

TWO = """
schema = 1
[runtime]
data_dir = "data"
[store.disk]
type = "sqlite"
[store.other]
type = "sqlite"
path = "elsewhere.sqlite"
[queue.q]
kind = "timed"
reservation_time = "30s"
store = "disk"
[queue.p]
kind = "timed"
reservation_time = "30s"
store = "other"
"""


@pytest.fixture
def store(folder: Path) -> Path:
    """A store's file with three messages in a queue."""
    with opened(folder / "a.sqlite") as file:
        put(file, "q", [message(n, {"n": n}) for n in (1, 2, 3)])
    return folder / "a.sqlite"


def test_a_queue_goes_out_and_in_again(folder: Path, store: Path, start: Start) -> None:
    (folder / "q.toml").write_text(TWO)

    assert start("export", "a.sqlite", "-o", "x.jsonl").end() == (
        0,
        "x.jsonl: 3 messages of 1 queue\n",
        "",
    )
    assert start("import", "q.toml", "q", "x.jsonl").end() == (
        0,
        "q: 3 messages from x.jsonl\n",
        "",
    )
    code, out, _ = start("import", "q.toml", "q", "x.jsonl").end()
    assert code == 0
    assert re.search(r"^q: these 3 messages were imported at 20\d\d-.*; see --again$", out)
    code, out, err = start("store", "check", "q.toml", "--store", "disk").end()
    assert (code, err) == (0, "")
    assert f"data/disk.sqlite: schema version {len(MIGRATIONS)}, " in out
    assert (
        "  queue q (timed): 3 messages, 12 B of values\n    ready 3\n    msgpack 3\n  ok\n" in out
    )


def test_lines_become_messages_of_the_kind_that_the_queue_has(folder: Path, start: Start) -> None:
    (folder / "q.toml").write_text(
        TWO.replace('kind = "timed"\nreservation_time = "30s"', 'kind = "message"')
    )
    for name in ("x", "y"):
        (folder / name).write_text(f'{{"mid": "{name}", "value": 1}}\n{{"value": 2}}\n')

    assert start("import", "q.toml", "q", "x").end() == (0, "q: 2 messages from x\n", "")
    assert start("import", "data/disk.sqlite", "q", "y").end() == (0, "q: 2 messages from y\n", "")
    (folder / "z").write_text('{"value": 0}\n{"mid": "x", "value": 0}\n')
    assert start("import", "q.toml", "q", "z").end() == (
        1,
        "",
        "z:2: mid 'x' is in queue 'q'; nothing of it was imported\n",
    )


def test_results_can_be_read_by_programs(folder: Path, store: Path, start: Start) -> None:
    def told(*args: str) -> dict[str, object]:
        code, out, err = start(*args, "--json").end()
        assert (code, err) == (0, "")
        found: dict[str, object] = json.loads(out)
        found.pop("seconds", None)
        return found

    exported = {"file": "x", "queues": {"q": 3}, "messages": 3, "resumed": 0}
    assert told("export", "a.sqlite", "q", "-o", "x") == exported
    imported = {"file": "x", "queue": "p", "messages": 3, "resumed": 0}
    assert told("import", "a.sqlite", "p", "x") == imported
    assert told("import", "a.sqlite", "p", "x") == imported | {"resumed": 3}
    checked = told("store", "check", "a.sqlite")
    assert (checked["ok"], checked["version"], checked["owner"]) == (
        True,
        len(MIGRATIONS),
        None,
    )
    vacuumed = told("store", "vacuum", "a.sqlite")
    assert vacuumed["bytes"] == store.stat().st_size


def test_an_export_can_go_to_the_output(folder: Path, store: Path, start: Start) -> None:
    code, out, err = start("export", "a.sqlite", "-o", "-").end()

    assert (code, err) == (0, "")
    assert [json.loads(line).get("value") for line in out.splitlines()[1:]] == [
        {"n": 1},
        {"n": 2},
        {"n": 3},
    ]


def test_an_owner_is_named(folder: Path, store: Path, start: Start) -> None:
    (folder / "x.jsonl").write_text('{"value": 1}\n')
    owner = Owner(store)
    owner.take()
    try:
        for args in (
            ["import", "a.sqlite", "q", "x.jsonl"],
            ["store", "vacuum", "a.sqlite"],
        ):
            code, out, err = start(*args).end()

            assert (code, out) == (1, "")
            assert re.fullmatch(
                rf"a\.sqlite belongs to process {os.getpid()} since 20\S+; stop it first\n", err
            )
        code, out, err = start("store", "check", "a.sqlite").end()
    finally:
        owner.release()
    assert (code, err) == (0, "")
    assert f"owner            process {os.getpid()} since" in out


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        ("export nix.sqlite -o x", 2, "nix.sqlite: there is no such file"),
        ("export . -o x", 2, r"\.: it is no file"),
        ("export a.sqlite r -o x", 1, "there is no queue 'r' in a.sqlite.*"),
        (
            "export a.sqlite -o there",
            1,
            "there is there already; remove it, or choose another name",
        ),
        ("export a.sqlite -o no/x", 1, r"no/x.part: No such file or directory"),
        ("export text -o x", 1, "text: file is not a database"),
        ("export other.db -o x", 1, "other.db is a database, but no store of queueactors"),
        ("export a.sqlite -o x --store disk", 2, r"--store goes with a configuration, .*\.toml"),
        ("export nix.toml -o x", 2, "nix.toml: .*"),
        ("export q.toml -o x", 2, "q.toml: say --store NAME; its stores in files: disk, other"),
        ("export q.toml q -o x", 2, "data/disk.sqlite: there is no such file"),
        ("export q.toml -o x --store dis", 2, ".*no store 'dis' in a file .did you mean 'disk'.*"),
        ("import a.sqlite q nix", 2, "nix: there is no such file"),
        ("import nix.sqlite q there", 2, "nix.sqlite: there is no such file"),
        ("import a.sqlite q there", 1, "there:1: .*; nothing of it was imported"),
        ("export damaged.sqlite -o x", 1, "damaged.sqlite: the head of a queue cannot be read: .*"),
        ("store check damaged.sqlite", 1, "damaged.sqlite: the queues cannot be read: .*"),
        ("store check nix", 2, "nix: there is no such file"),
        ("store check text", 1, "text: it cannot be read: file is not a database"),
        ("store check other.db", 1, "other.db is a database, but no store of queueactors"),
        ("store vacuum text", 1, "text: file is not a database"),
    ],
)
def test_what_is_wrong_is_one_line(  # noqa: PLR0917 - fixtures
    folder: Path, store: Path, start: Start, args: str, code: int, told: str
) -> None:
    (folder / "q.toml").write_text(TWO)
    (folder / "there").write_text("mine\n")
    (folder / "text").write_text("no database, and long enough for everybody to see that\n" * 50)
    connection = sqlite3.connect(folder / "other.db")
    connection.execute("CREATE TABLE mine (x)")
    connection.close()

    with opened(folder / "damaged.sqlite") as file:
        put(file, "q", [message(1, "x")])
    damaged = sqlite3.connect(folder / "damaged.sqlite")
    with damaged:
        damaged.execute("UPDATE queue SET head = '{'")
    damaged.close()

    got, _, err = start(*args.split()).end()

    assert got == code
    assert re.fullmatch(told + "\n", err)
    assert not (folder / "x").exists()
    assert (folder / "there").read_text() == "mine\n"


def test_faults_of_a_file_are_exit_code_1(folder: Path, start: Start) -> None:
    with opened(folder / "a.sqlite") as file:
        put(file, "q", [message(1, b"\xc1")])

    code, out, err = start("store", "check", "a.sqlite").end()

    assert code == 1
    assert err == "a.sqlite: queue 'q': 1 messages cannot be decoded: 1\n"
    assert out.endswith("  FAULTY\n")


def test_vacuum_gives_space_back(folder: Path, start: Start) -> None:
    with opened(folder / "a.sqlite") as file:
        put(file, "q", [message(n, "x" * 1000) for n in range(1, 1000)])
        file.begin()
        for _ in file.forget("q"):
            pass
        file.commit()
    before = (folder / "a.sqlite").stat().st_size

    code, out, err = start("store", "vacuum", "a.sqlite").end()

    assert (code, err) == (0, "")
    assert re.fullmatch(r"a\.sqlite: 1\.\d MB before, \d+\.\d kB now\n", out)
    assert (folder / "a.sqlite").stat().st_size < before / 10


def test_an_export_that_is_killed_goes_on(folder: Path, start: Start) -> None:
    with opened(folder / "a.sqlite") as file:
        for first in range(1, 60_000, 10_000):
            put(file, "q", [message(n, n) for n in range(first, first + 10_000)])
    assert start("export", "a.sqlite", "-o", "whole").end()[0] == 0
    part, written = folder / "x.part", 0
    for number in (signal.SIGKILL, signal.SIGINT):
        program = start("export", "a.sqlite", "-o", "x")
        while not part.exists() or part.stat().st_size <= written:
            assert program.process.poll() is None
        program.signal(number)
        code, _, err = program.end()
        written = part.stat().st_size
        if number == signal.SIGINT:
            assert (code, err) == (130, "interrupted; the same command goes on where it was\n")

    code, out, _ = start("export", "a.sqlite", "-o", "x", "--json").end()

    assert code == 0
    assert json.loads(out)["resumed"] > 0
    assert (folder / "x").read_bytes() == (folder / "whole").read_bytes()


def test_a_terminal_sees_a_bar(folder: Path, start: Start) -> None:
    with opened(folder / "a.sqlite") as file:
        for first in range(1, 60_000, 10_000):
            put(file, "q", [message(n, n) for n in range(first, first + 10_000)])
    ours, theirs = pty.openpty()
    program = start("export", "a.sqlite", "-o", "x", stderr=theirs)
    os.close(theirs)

    seen = read_all(ours)

    os.close(ours)
    assert program.end()[:2] == (0, "x: 60,000 messages of 1 queue\n")
    assert "exporting" in seen


DRIVER = """
import sys
if "--no-rich" in sys.argv:
    sys.argv.remove("--no-rich")
    sys.modules["rich"] = None
from queueactors.cli import main
main(standalone_mode=False)
print("rich.progress" in sys.modules)
"""


def test_without_rich_a_terminal_sees_a_line(folder: Path) -> None:
    with opened(folder / "a.sqlite") as file:
        for first in range(1, 60_000, 10_000):
            put(file, "q", [message(n, n) for n in range(first, first + 10_000)])
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", DRIVER, "--no-rich", "export", "a.sqlite", "-o", "x"]
    program = Program(command, folder, stderr=theirs)
    os.close(theirs)

    seen = read_all(ours)

    os.close(ours)
    assert program.end()[:2] == (0, "x: 60,000 messages of 1 queue\nFalse\n")
    assert re.search(r"exporting: [\d,]+ of 60,000, [\d,]+/s, \d+ s left", seen)
    assert screen(seen) == [""]  # nothing is left of it


def test_the_bar_is_imported_only_when_it_is_drawn(folder: Path, store: Path) -> None:
    program = Program([sys.executable, "-c", DRIVER, "export", "a.sqlite", "-o", "x"], folder)

    assert program.end() == (0, "x: 3 messages of 1 queue\nFalse\n", "")
