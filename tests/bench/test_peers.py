"""A peer has an environment of its own; without one it is "not run", with the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from bench import _peers
from bench._peers import Environment, Reference, here, interpreters
from bench._table import NotHereError


def environment(
    script: str = "none.py",
    requires: tuple[str, ...] = (),
    least: tuple[int, ...] = (3, 11),
    below: tuple[int, ...] | None = None,
) -> Environment:
    return Environment(name="other", script=script, requires=requires, least=least, below=below)


@pytest.mark.slow
def test_a_peer_that_needs_a_newer_python_is_not_run() -> None:
    other = environment(least=(4, 0))

    with pytest.raises(NotHereError, match=r"^other: no Python >= 4\.0 here$"):
        other.measure("calls_1", 1)
    assert other.describe() == "other: no Python >= 4.0 here: not run"


@pytest.mark.slow
def test_a_peer_that_needs_an_older_python_is_not_run() -> None:
    other = environment(below=(3, 11))

    with pytest.raises(NotHereError, match=r"^other: no Python >= 3\.11, < 3\.11 here$"):
        other.measure("calls_1", 1)


@pytest.mark.slow
def test_a_peer_runs_on_the_newest_python_that_it_supports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_peers, "CACHE", tmp_path)
    this = (sys.version_info[:3], Path(sys.executable))
    newer = ((*this[0][:2], this[0][2] + 1), tmp_path / "newer")
    monkeypatch.setattr(_peers, "interpreters", lambda: [this, newer])
    (tmp_path / "says.py").write_text("import sys; print('{\"value\": %d}' % sys.version_info[2])")

    other = environment(script=str(tmp_path / "says.py"), requires=("pip",), below=newer[0])

    assert other.measure("calls_1", 1) == this[0][2]


@pytest.mark.slow
def test_a_peer_that_cannot_be_installed_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_peers, "CACHE", tmp_path)
    other = environment(requires=("./no-such-package",))

    with pytest.raises(NotHereError, match=r"^other: .*no-such-package"):
        other.measure("calls_1", 1)


@pytest.mark.slow
def test_a_peer_that_fails_is_not_run_and_an_environment_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_peers, "CACHE", tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/ours")
    (tmp_path / "fails.py").write_text("import sys; sys.exit(f'no {sys.argv[1]}, {sys.path}')")
    other = environment(script=str(tmp_path / "fails.py"), requires=("pip",))

    with pytest.raises(NotHereError, match=r"^other: no calls_1") as raised:
        other.measure("calls_1", 1)
    assert "/ours" not in str(raised.value)  # it does not see what we see
    python = other.python()
    assert python.parent.parent.parent == tmp_path
    _peers._make.cache_clear()  # as another run finds it
    (python.parent.parent / "kept").touch()
    assert other.python() == python
    assert (python.parent.parent / "kept").exists()


@pytest.mark.slow
def test_the_interpreters_that_are_found_include_this_one() -> None:
    assert (sys.version_info[:3], Path(sys.executable)) in interpreters()


def emulator(folder: Path, script: str) -> str:
    """Make a program that stands for ``erl``."""
    program = folder / "erl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def checkout(folder: Path) -> Path:
    """Make what looks like a compiled checkout of timed_queue."""
    (folder / "lib" / "ebin").mkdir(parents=True)
    (folder / "lib" / "ebin" / "timed_queue_server.beam").touch()
    return folder


def test_the_reference_is_not_run_without_its_folder() -> None:
    reference = Reference()

    with pytest.raises(NotHereError, match=r"^timed_queue on OTP: no --timed-queue DIR given$"):
        reference.measure("cycles_1", 1)
    assert reference.describe() == "timed_queue on OTP: no --timed-queue DIR given: not run"


def test_the_reference_is_not_run_if_it_is_not_compiled(tmp_path: Path) -> None:
    reference = Reference(folder=tmp_path)

    with pytest.raises(NotHereError, match=r"^timed_queue on OTP: no timed_queue_server\.beam in "):
        reference.measure("cycles_1", 1)


def test_the_reference_is_not_run_without_an_emulator(tmp_path: Path) -> None:
    reference = Reference(erl="/no/such/erl", folder=checkout(tmp_path))

    with pytest.raises(NotHereError, match=r"^timed_queue on OTP: .*/no/such/erl"):
        reference.measure("cycles_1", 1)
    assert reference.describe().endswith("/no/such/erl': not run")


def test_the_reference_runs_with_its_modules_on_the_path(tmp_path: Path) -> None:
    erl = emulator(
        tmp_path, 'case "$*" in *"-pa $(dirname "$0")/lib/ebin"*) echo \'{"value": 7.5}\';; esac'
    )
    reference = Reference(erl=erl, folder=checkout(tmp_path))

    assert reference.measure("cycles_1", 1) == 7.5


@pytest.mark.slow
@pytest.mark.skipif(which("erl") is None or which("erlc") is None, reason="needs Erlang")
@pytest.mark.parametrize("measure", ["cycles_1", "cycles_100", "batches"])
def test_the_program_that_drives_the_reference_runs(measure: str, tmp_path: Path) -> None:
    source = tmp_path / "timed_queue_server.erl"
    source.write_text("""
        -module(timed_queue_server).
        -export([start_link/1, insert/2, reserve/1, delete/2]).
        start_link(#{queue_name := _, reservation_time := _, values := [_ | _]}) -> {ok, self()}.
        insert(_, [_ | _]) -> ok.
        reserve(_) -> {1, value}.
        delete(_, 1) -> ok.
    """)
    subprocess.run(["erlc", "-o", tmp_path, source], check=True)

    reference = Reference(folder=tmp_path)

    assert reference.describe().startswith("timed_queue on OTP ")
    assert reference.measure(measure, 1000) > 0


@pytest.mark.slow
def test_ours_runs_in_a_process_of_its_own() -> None:
    assert here("_supervision", "checkpoints", 1000) > 0
