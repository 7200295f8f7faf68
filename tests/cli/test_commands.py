"""The other commands, and what is wrong with a file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from queueactors.cli import main

from .kit import config

if TYPE_CHECKING:
    from .conftest import Start

pytestmark = pytest.mark.slow


def test_the_console_script_and_the_module_are_the_same(start: Start) -> None:
    code, out, err = start("--help").end()
    script = Path(sys.executable).with_name("queueactors")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)

    assert (code, err) == (0, "")
    for command in ("check", "init", "print", "run"):
        assert f"\n  {command} " in out
    assert out.splitlines()[1:] == done.stdout.splitlines()[1:]  # the first names the program


def test_it_tells_its_version(start: Start) -> None:
    code, out, _ = start("--version").end()

    assert code == 0
    assert out.rstrip().endswith("0.1.0")


def test_a_wrong_use_is_exit_code_2(start: Start) -> None:
    wrong = ["rn x.toml", "run", "run x.toml --until-idl", "run x.toml --log-format xml", ""]

    for program in [start(*args.split()) for args in wrong]:
        code, out, err = program.end()

        assert (code, out) == (2, "")
        assert "Usage:" in err


def test_check_counts_what_is_there(folder: Path, start: Start) -> None:
    (folder / "a.toml").write_text(config(), encoding="utf-8")

    assert start("check", "a.toml").end() == (
        0,
        "a.toml: ok (1 queue, 1 worker, 0 supervisors)\n",
        "",
    )


def test_check_tells_warnings_and_is_content(folder: Path, start: Start) -> None:
    text = 'schema = 1\n[supervisor.r]\nrestart = "temporary"\n'
    (folder / "q.toml").write_text(text, encoding="utf-8")

    code, out, err = start("check", "q.toml").end()

    assert (code, out) == (0, "q.toml: ok (0 queues, 0 workers, 1 supervisor, 1 warning)\n")
    assert err == (
        "q.toml:2: supervisor.r: warning: it is temporary: once it gives up, all below it is gone "
        "for good; a supervisor should be permanent\n"
    )


def test_print_shows_values_and_where_they_come_from(folder: Path, start: Start) -> None:
    (folder / "a.toml").write_text(config(), encoding="utf-8")

    code, out, err = start("print", "a.toml").end()

    assert (code, err) == (0, "")
    assert "a.toml:" in out
    assert "reservation_time" in out
    assert "concurrency" in out  # a default


def test_init_writes_a_file_that_passes_check_and_runs(folder: Path, start: Start) -> None:
    code, out, err = start("init").end()
    assert (code, err) == (0, "")
    assert out == "wrote queues.toml; try: queueactors check queues.toml\n"

    assert start("check", "queues.toml").end()[0] == 0
    code, out, _ = start("run", "queues.toml", "--until-idle").end()
    assert code == 0
    assert "Delivery 1" in out


def test_init_overwrites_nothing(folder: Path, start: Start) -> None:
    (folder / "mine.toml").write_text("precious", encoding="utf-8")

    assert start("init", "mine.toml").end() == (2, "", "mine.toml: File exists\n")
    assert (folder / "mine.toml").read_text(encoding="utf-8") == "precious"


def test_init_into_a_folder_that_is_not_there_is_one_line(start: Start) -> None:
    code, out, err = start("init", "no/such/a.toml").end()

    assert (code, out) == (2, "")
    assert err == "no/such/a.toml: No such file or directory\n"


def test_a_file_that_cannot_be_read_is_one_clear_line(folder: Path, start: Start) -> None:
    bad = [
        ("run", "missing.toml", "No such file"),
        ("print", "missing.toml", "No such file"),
        ("check", "missing.toml", "No such file"),
        ("check", "folder", "irectory"),
        ("check", "latin1.toml", "UTF-8"),
        ("check", "broken.toml", "broken.toml:2"),
        ("check", "empty.toml", "schema"),
    ]
    (folder / "folder").mkdir()
    (folder / "latin1.toml").write_bytes("schema = 1\nname = 'caf\xe9'\n".encode("latin-1"))
    (folder / "broken.toml").write_text("schema = 1\n[queue.jobs\n", encoding="utf-8")
    (folder / "empty.toml").write_text("", encoding="utf-8")

    programs = [start(command, file) for command, file, _ in bad]

    for program, (_, file, told) in zip(programs, bad, strict=True):
        code, out, err = program.end()
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert err.startswith(file)
        assert told in err


def test_every_fault_is_a_line_and_nothing_is_started(folder: Path, start: Start) -> None:
    (folder / "a.toml").write_text(
        config(more="concurency = 2\nmax_runtime = -1"), encoding="utf-8"
    )

    code, out, err = start("run", "a.toml").end()

    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert "did you mean 'concurrency'?" in first
    assert first.startswith("a.toml:15: worker.w.concurency: ")
    assert second.startswith("a.toml:16: worker.w.max_runtime: ")


def test_a_module_that_does_not_import_is_a_fault_and_no_traceback(
    folder: Path, start: Start
) -> None:
    bad = [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("def", "SyntaxError"),
    ]
    for n, (source, _) in enumerate(bad):
        (folder / f"bad{n}.py").write_text(source, encoding="utf-8")
        text = config().replace("app:say", f"bad{n}:say")
        (folder / f"{n}.toml").write_text(text, encoding="utf-8")

    programs = [start("check", f"{n}.toml") for n in range(len(bad))]

    for program, (n, (_, told)) in zip(programs, enumerate(bad), strict=True):
        code, out, err = program.end()
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert f"worker.w.handler: module 'bad{n}' does not import: " in err
        assert told in err


def test_check_as_json_tells_faults_and_warnings_with_their_places(
    folder: Path, start: Start
) -> None:
    bad = 'schema = 1\n[supervisor.r]\nrestart = "tempory"\n'
    (folder / "bad.toml").write_text(bad, encoding="utf-8")
    (folder / "good.toml").write_text(bad.replace("tempory", "temporary"), encoding="utf-8")

    refused, accepted = start("check", "bad.toml", "--json"), start("check", "good.toml", "--json")

    code, out, err = refused.end()
    (fault,) = json.loads(out)["faults"]
    assert (code, err, json.loads(out)["ok"]) == (2, "", False)
    assert (fault["file"], fault["line"], fault["path"]) == ("bad.toml", 3, "supervisor.r.restart")
    code, out, err = accepted.end()
    (warning,) = json.loads(out)["warnings"]
    assert (code, err, json.loads(out)["ok"]) == (0, "", True)
    assert json.loads(out)["counts"] == {"queue": 0, "worker": 0, "supervisor": 1}
    assert (warning["line"], warning["path"]) == (2, "supervisor.r")


def test_print_hides_a_secret_unless_told_otherwise(folder: Path, start: Start) -> None:
    (folder / "db").write_text("hunter2\n", encoding="utf-8")
    (folder / "a.toml").write_text(config(more='args = ["${file:db}"]'), encoding="utf-8")
    wanted = [(), ("--json",), ("--show-secrets",), ("--show-secrets", "--json")]

    told = [program.end()[1] for program in [start("print", "a.toml", *each) for each in wanted]]

    assert ["hunter2" in each for each in told] == [False, False, True, True]
    printed = json.loads(told[1])
    assert printed["config"]["worker"]["w"]["args"] == [f"${{file:{folder}/db}}"]
    assert printed["origins"]["worker.w.args"]["secret"] is True
    assert printed["config"]["worker"]["w"]["concurrency"] == 1


def test_schema_prints_a_json_schema(start: Start) -> None:
    code, out, err = start("schema").end()

    assert (code, err) == (0, "")
    assert json.loads(out)["properties"]["schema"]["const"] == 1


def test_every_command_has_help_with_an_example() -> None:
    todo: list[tuple[str, click.Command]] = [("", main)]
    without = []
    while todo:
        name, command = todo.pop()
        if isinstance(command, click.Group):
            todo += [(f"{name} {sub}".strip(), each) for sub, each in command.commands.items()]
        elif f"Example: queueactors {name}" not in " ".join((command.help or "").split()):
            without.append(name)

    assert without == []
