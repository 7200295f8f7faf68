"""Two processes share a queue on a server, and one is killed: each file is hashed all the same."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

PROGRAM: Final = Path(__file__).parents[2] / "examples" / "scaleout.py"
FILES: Final = 300


def plainly() -> str:
    """Return the hash of all hashes, as a plain loop computes it."""
    example = runpy.run_path(str(PROGRAM))
    lines = [f"{example['hash_of'](path)} {path}\n" for path in example["library"]()[:FILES]]
    return sha256("".join(lines).encode()).hexdigest()


@pytest.mark.slow
@pytest.mark.no_cover
def test_each_file_is_hashed_though_a_process_is_killed(valkey: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM), str(FILES)],
        env=os.environ | {"REDIS_URL": valkey},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    first, second, third, last = done.stdout.splitlines()
    assert first.startswith(f"{FILES} files: ")
    assert re.fullmatch(r"killed after 100 hashes: (one|two); files handed out again: \d", second)
    times = {int(many): int(files) for many, files in re.findall(r"hashed (\d)x: (\d+)", third)}
    assert sum(times.values()) == FILES
    assert times.keys() <= {1, 2}
    assert last == f"sha256 of all: {plainly()}"
