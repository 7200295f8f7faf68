"""A peer has an environment of its own; without one it is "not run", with the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import _peers
from bench._peers import Environment, interpreters, ours
from bench._table import NotHereError


def environment(
    script: str = "none.py", requires: tuple[str, ...] = (), least: tuple[int, ...] = (3, 11)
) -> Environment:
    return Environment(name="other", script=script, requires=requires, least=least)


@pytest.mark.slow
def test_a_peer_that_needs_a_newer_python_is_not_run() -> None:
    other = environment(least=(4, 0))

    with pytest.raises(NotHereError, match=r"^other: no Python >= 4\.0 here$"):
        other.measure("calls_1", 1)
    assert other.describe() == "other: no Python >= 4.0 here: not run"


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


@pytest.mark.slow
def test_ours_runs_in_a_process_of_its_own() -> None:
    assert ours("checkpoints", 1000) > 0
