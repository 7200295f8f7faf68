"""The word count: the same totals as a plain loop, also when all around it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
import trio
from structlog.testing import capture_logs

from queueactors import load_config, open_runtime, wait_until_idle

from .kit_wordcount import FOLDER, WordCount, plainly, told, wordcount


def run(file: str) -> tuple[str, list[dict[str, object]]]:
    """Run one of the example's configurations; return its report and its log."""
    command = [sys.executable, "-m", "queueactors", "run", str(FOLDER / file)]
    done = subprocess.run(
        [*command, "--until-idle", "--log-format", "json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, [json.loads(line) for line in done.stderr.splitlines()]


def named(log: list[dict[str, object]], name: str) -> list[dict[str, object]]:
    return [event for event in log if event["event"] == name]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.no_cover
def test_the_totals_are_the_same_when_everything_crashes() -> None:
    out, log = run("chaos.toml")

    count = told(out)
    assert count == plainly(wordcount())
    crashes = named(log, "child_crashed")
    assert {event["child"] for event in crashes} == {"queue.files"}
    assert all("InjectedCrash" in str(event["exception"]) for event in crashes)
    assert len(named(log, "child_restarted")) == len(crashes) > 5
    (numbers,) = (each for each in named(log, "queue_statistics") if each["queue"] == "files")
    assert numbers["restarts"] == len(crashes)
    assert numbers["deleted"] == count.files
    assert numbers["exhausted"] == len(count.unreadable)
    by_chance = [each for each in named(log, "handler_failed") if "by chance" in str(each["error"])]
    assert len(by_chance) > 100


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A folder with a few files, some of which are no Python."""
    for n in range(12):
        (tmp_path / f"good{n}.py").write_text(f"def one(two): return two + {n} * three\n")
    (tmp_path / "encoding.py").write_text("# coding: klingon\n")
    (tmp_path / "latin1.py").write_bytes(b"name = 'caf\xe9'\n")
    (tmp_path / "open.py").write_text("call(\n")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("file", ["queues.toml", "chaos.toml"])
async def test_a_few_files_of_ones_own_are_counted_likewise(
    file: str, few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("wordcount", "chaos"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with capture_logs(), trio.fail_after(20):
        config = load_config(FOLDER / file)
        module = cast("WordCount", sys.modules["wordcount"])
        monkeypatch.setattr(module, "LIBRARY", few)
        async with open_runtime(config) as runtime:
            await wait_until_idle(runtime)

    result = told(capsys.readouterr().out)
    assert result == plainly(module)
    assert result.files == 12
    assert {Path(path).name for path in result.unreadable} == {
        "encoding.py",
        "latin1.py",
        "open.py",
    }
