"""The example of the web-hooks, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "webhooks.py"


@pytest.mark.slow
def test_each_event_is_told_or_ends_as_a_dead_letter(tmp_path: Path) -> None:
    for number in range(20):  # of 10 bytes and more; two of them of a size that is never taken
        (tmp_path / f"{number}.py").write_text(f"{number:02}" * 5 + "x" * (number // 10 * 3))
    (tmp_path / "twice.py").write_text("01" * 5)
    (tmp_path / "__init__.py").write_text("not wanted")

    done = subprocess.run(
        [sys.executable, "-W", "error", PROGRAM, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    asked, again, delivered, *dead, attempts = done.stdout.splitlines()
    assert asked == "asked:       {'added': 21, 'already-queued': 1}"
    assert dict(re.findall(r"'(\S+)': (\d+)", again)) == {"added": "11", "backoff": "11"}
    assert delivered == "delivered:   10 events"
    assert dead == [
        "dead:        20 events: ConnectionError: the service is down",
        "dead:        2 events: the service says 410",
    ]
    assert "'error': 22" in attempts
