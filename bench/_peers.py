"""Runs measuring scripts: ours, and each peer's in a virtual environment of its own.

A peer's environment is made once, in `CACHE`, with the newest interpreter on this machine that
the peer supports, and its versions are pinned. What cannot be made or run: `NotHereError`.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from bench._table import NotHereError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".bench"
MINORS = range(11, 30)  # of the Pythons looked for
TIMEOUT = 600  # seconds

FAILED = (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired)

Version = tuple[int, ...]


def ours(measure: str, count: int) -> float:
    """Run one of our own measures in a new process; return its value."""
    return _value([sys.executable, "-m", "bench._supervision", measure, str(count)], None)


@attrs.frozen(kw_only=True)
class Environment:
    """Where a peer runs.

    Args:
      name: The peer's.
      script: The file in ``bench/peers`` that measures it.
      requires: What to install, pinned.
      least: The oldest Python that it supports.
    """

    name: str
    script: str
    requires: tuple[str, ...]
    least: Version

    def measure(self, measure: str, count: int) -> float:
        """Run one measure in a new process; return its value.

        Raises:
          NotHereError: If the peer cannot be installed or fails.
        """
        script = ROOT / "bench" / "peers" / self.script
        try:
            return _value([str(self.python()), str(script), measure, str(count)], _clean())
        except FAILED as error:
            raise NotHereError(f"{self.name}: {_reason(error)}") from error

    def describe(self) -> str:
        """Return the peer's versions and its interpreter's, or why it does not run."""
        made = _make(self)
        if isinstance(made, str):
            return f"{made}: not run"
        return f"{', '.join(self.requires)} on CPython {_dotted(made[0])}"

    def python(self) -> Path:
        """Return the environment's interpreter.

        Raises:
          NotHereError: If the environment cannot be made.
        """
        made = _make(self)
        if isinstance(made, str):
            raise NotHereError(made)
        return made[1]


@functools.cache  # a failure too: it is not tried again for each row
def _make(environment: Environment) -> tuple[Version, Path] | str:
    """Return the version and the path of its interpreter, or why there is none."""
    found = [each for each in interpreters() if each[0] >= environment.least]
    if not found:
        return f"{environment.name}: no Python >= {_dotted(environment.least)} here"
    version, interpreter = max(found)
    pins = "-".join(environment.requires).replace("==", "-")
    folder = CACHE / f"{pins}-python-{_dotted(version)}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        try:
            _run([interpreter, "-m", "venv", "--clear", folder], _clean())
            _run([python, "-m", "pip", "install", "--quiet", *environment.requires], _clean())
        except FAILED as error:
            return f"{environment.name}: {_reason(error)}"
        complete.touch()
    return version, python


@functools.cache
def interpreters() -> list[tuple[Version, Path]]:
    """Return the released Pythons on the path and in pyenv's folder, and this one."""
    paths = {Path(sys.executable), *Path.home().glob(".pyenv/versions/*/bin/python3")}
    for minor in MINORS:
        found = shutil.which(f"python3.{minor}")
        if found is not None:
            paths.add(Path(found))
    ask = "import sys; assert sys.version_info[3] == 'final'; print(*sys.version_info[:3])"
    versions: list[tuple[Version, Path]] = []
    for path in sorted(paths):
        try:
            told = _run([path, "-c", ask], _clean())
        except FAILED:
            continue  # not released, or pyenv's stand-in for a version that is not selected
        versions.append((tuple(map(int, told.split())), path))
    return versions


def _value(command: list[str], environment: dict[str, str] | None) -> float:
    return float(json.loads(_run(command, environment))["value"])


def _run(command: Sequence[str | Path], environment: dict[str, str] | None) -> str:
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=TIMEOUT,
    )
    return done.stdout


def _clean() -> dict[str, str]:
    """Return the environment variables without those that lead Python to our packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _reason(error: Exception) -> str:
    told = getattr(error, "stderr", None) or str(error)
    return str(told).strip().splitlines()[-1]


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
