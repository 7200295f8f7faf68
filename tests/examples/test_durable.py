"""The word count that survives ``kill -9``: the same totals as a plain loop, however often."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from .kit_wordcount import FOLDER, plainly, told, wordcount

if TYPE_CHECKING:
    from pathlib import Path

QUEUEACTORS = [sys.executable, "-m", "queueactors"]
CONFIG = str(FOLDER / "durable.toml")
FILES = 400
KILLS = 5


def queueactors(folder: Path, *args: str) -> str:
    """Run a command; return its output."""
    done = subprocess.run(
        [*QUEUEACTORS, *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def results(folder: Path) -> int:
    return len(list(folder.glob("var/counts/*.json")))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.no_cover
def test_the_totals_are_those_of_a_plain_loop_also_after_kills(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = wordcount()
    done = subprocess.run(
        [sys.executable, FOLDER / "durable.py"], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert [json.loads(line)["value"] for line in lines] == module.files()
    unreadable = [line for line in lines if "bad" in line.rpartition("/")[2]]
    some = [*lines[:FILES], *(line for line in unreadable if line not in lines[:FILES])]
    (tmp_path / "files.jsonl").write_text("\n".join(some))
    assert queueactors(tmp_path, "import", CONFIG, "files", "files.jsonl").startswith("files: ")
    for _ in range(KILLS):
        before = results(tmp_path)
        program = subprocess.Popen(
            [*QUEUEACTORS, "run", CONFIG, "--until-idle"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60  # noqa: TID251 - a real process
        while results(tmp_path) < before + 30:
            assert program.poll() is None
            assert time.monotonic() < deadline  # noqa: TID251
        program.kill()
        program.wait()
    assert results(tmp_path) < FILES

    out = queueactors(tmp_path, "run", CONFIG, "--until-idle")

    monkeypatch.setattr(module, "files", lambda: [json.loads(line)["value"] for line in some])
    assert told(out) == plainly(module)
    report = json.loads(queueactors(tmp_path, "store", "check", CONFIG, "--json"))
    assert [queue["messages"] for queue in report["queues"]] == [0, 0]
