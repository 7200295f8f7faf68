"""The example of the event log, in processes of its own, stopped and killed in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "eventlog.py"
PATIENCE = 60  # seconds


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", PROGRAM, folder / "source", folder / "log", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path, *more: str) -> str:
    program = start(folder, *more)
    out, err = program.communicate(timeout=PATIENCE)
    assert (program.returncode, err) == (0, "")
    return out


def archived(folder: Path) -> list[bytes]:
    """Return the archive's lines; a kill may tear the last one."""
    path = folder / "log" / "archive"
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def make(folder: Path, events: int) -> Counter[str]:
    """Write the source; return how often each word is in it."""
    lines = [f"event {number} of {number % 7} words" for number in range(events)]
    (folder / "source").write_text("\n".join(lines) + "\n", encoding="ascii")
    return Counter(word for line in lines for word in line.split())


def check(folder: Path, words: Counter[str], events: int) -> None:
    kept = json.loads((folder / "log" / "index.json").read_text(encoding="utf-8"))
    assert (Counter(kept["words"]), kept["position"]) == (words, events)
    whole = {line for line in archived(folder) if line.endswith(b" words\n")}
    assert {int(line.split()[0]) for line in whole} == set(range(events))
    for line in whole:
        number = int(line.split()[0])
        assert line == b"%d event %d of %d words\n" % (number, number, number % 7)


@pytest.mark.slow
def test_three_readers_at_their_own_pace_all_get_to_the_end(tmp_path: Path) -> None:
    words = make(tmp_path, 1000)

    out = finish(tmp_path)

    check(tmp_path, words, 1000)
    assert "1,000 events, 1,003 words" in out
    assert len(archived(tmp_path)) == 1000


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped_or_killed(tmp_path: Path) -> None:
    words = make(tmp_path, 3000)
    out = finish(tmp_path, "--stop-after", "0.5")
    assert "stopped in the middle" in out
    for _ in range(3):
        program, before = start(tmp_path), len(archived(tmp_path))
        deadline = time.monotonic() + PATIENCE  # noqa: TID251 - a real process
        while len(archived(tmp_path)) < before + 100:
            assert time.monotonic() < deadline  # noqa: TID251
            time.sleep(0.01)
        program.send_signal(signal.SIGKILL)
        program.communicate()

    finish(tmp_path)

    check(tmp_path, words, 3000)
