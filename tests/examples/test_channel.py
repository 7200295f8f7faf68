"""The example of the channel, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_a_program_for_memory_channels_does_the_same_on_a_channel_queue(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for number in range(20):
        (tmp_path / "below" / f"{number}.py").write_text("line\n" * number)
    (tmp_path / "x.toml").write_text("a = 1\n")

    done = subprocess.run(
        [sys.executable, "-W", "error", FOLDER / "channel.py", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "a memory channel: {'.py': 190, '.toml': 1}",
        "a channel queue:  {'.py': 190, '.toml': 1}",
        "the same: True",
        "all received: True - closed: True",
    ]
