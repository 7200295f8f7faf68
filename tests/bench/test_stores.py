"""The command line of the benchmarks says where stores are measured."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench._stores import describe_disk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give back what `main` changes."""
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_stores_are_measured_in_the_directory_that_the_command_line_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "no such row", "--dir", str(tmp_path)])

    main()

    assert os.environ["TMPDIR"] == str(tmp_path)  # what all measuring processes inherit
    assert tempfile.gettempdir() == str(tmp_path)


def test_a_directory_that_cannot_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setattr(sys, "argv", ["bench", "--dir", str(missing)])

    with pytest.raises(SystemExit, match=r"^2$"):
        main()

    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith(f"expected --dir to be a directory to write to, got {missing}")


def test_the_disk_is_described_by_where_it_is_and_what_a_sync_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    told = describe_disk()

    where = re.escape(str(tmp_path))
    assert re.fullmatch(rf"disk: {where}, write and sync of 4 KiB [\d,]+ us", told)
