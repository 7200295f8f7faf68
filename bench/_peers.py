"""Runs measuring scripts: ours, and each peer's in a virtual environment of its own.

A peer's environment is made once, in `CACHE`, with the newest interpreter on this machine that
the peer supports, and its versions are pinned. The reference on OTP is not made but found, where
the command line says. What cannot be made, found or run: `NotHereError`.
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


def here(module: str, measure: str, count: int) -> float:
    """Run a measure of a module of `bench` in a new process of this Python; return its value."""
    return _value([sys.executable, "-m", f"bench.{module}", measure, str(count)], None)


@attrs.frozen(kw_only=True)
class Environment:
    """Where a peer runs.

    Args:
      name: The peer's.
      script: The file in ``bench/peers`` that measures it.
      requires: What to install, pinned.
      least: The oldest Python that it supports.
      below: The first one that it does not support any more. None: it supports all newer ones.
    """

    name: str
    script: str
    requires: tuple[str, ...]
    least: Version
    below: Version | None = None

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


@attrs.frozen(kw_only=True)
class Reference:
    """``timed_queue_server`` on OTP, driven by a program of ours.

    Args:
      erl: The emulator: a path, or a name on the path.
      folder: A checkout of timed_queue, compiled: its modules are in it, or somewhere below.
        None: there is none.
    """

    name: str = "timed_queue on OTP"
    erl: str = "erl"
    folder: Path | None = None

    def measure(self, measure: str, count: int) -> float:
        """Run one measure in a new emulator; return its value.

        Raises:
          NotHereError: If there is no emulator or no compiled checkout, or it fails.
        """
        modules = self._modules()
        program = ROOT / "bench" / "peers" / "on_timed_queue.erl"
        run = (
            f'{{ok, Module, Code}} = compile:file("{program}", [binary]), '
            f'{{module, Module}} = code:load_binary(Module, "{program}", Code), '
            f'Module:main("{measure}", "{count}")'
        )
        try:
            return _value([self.erl, "-noinput", "-pa", str(modules), "-eval", run], None)
        except FAILED as error:
            raise NotHereError(f"{self.name}: {_reason(error)}") from error

    def describe(self) -> str:
        """Return the release of OTP, or why it does not run."""
        ask = "io:put_chars(erlang:system_info(otp_release)), halt()"
        try:
            self._modules()
            return f"{self.name} {_run([self.erl, '-noinput', '-eval', ask], None)}"
        except NotHereError as error:
            return f"{error}: not run"
        except FAILED as error:
            return f"{self.name}: {_reason(error)}: not run"

    def _modules(self) -> Path:
        if self.folder is None:
            raise NotHereError(f"{self.name}: no --timed-queue DIR given")
        found = sorted(self.folder.rglob("timed_queue_server.beam"))
        if not found:
            raise NotHereError(f"{self.name}: no timed_queue_server.beam in {self.folder}")
        return found[0].parent


@functools.cache  # a failure too: it is not tried again for each row
def _make(environment: Environment) -> tuple[Version, Path] | str:
    """Return the version and the path of its interpreter, or why there is none."""
    least, below = environment.least, environment.below
    found = [each for each in interpreters() if least <= each[0] and (not below or each[0] < below)]
    if not found:
        wanted = f">= {_dotted(least)}" + (f", < {_dotted(below)}" if below else "")
        return f"{environment.name}: no Python {wanted} here"
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
