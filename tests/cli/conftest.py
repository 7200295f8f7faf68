"""Fixtures of all these tests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

import pytest

from .kit import MODULE, Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module of handlers."""
    (tmp_path / "app.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


class Start(Protocol):
    """Starts a program with arguments."""

    def __call__(
        self,
        *args: str,
        stdout: int | None = None,
        stderr: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Program: ...


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """A function that starts ``queueactors`` with arguments; what still runs is killed."""
    started: list[Program] = []

    def run(
        *args: str,
        stdout: int | None = None,
        stderr: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Program:
        command = [sys.executable, "-W", "error", "-m", "queueactors", *args]
        program = Program(command, folder, stdout=stdout, stderr=stderr, environ=environ)
        started.append(program)
        return program

    yield run
    for program in started:
        program.close()
