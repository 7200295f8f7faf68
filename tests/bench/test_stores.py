"""The rows of the durable store: what they ask for is there, and they say where it is measured."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn, cast

import pytest

from bench.__main__ import main
from bench._peers import Environment, here
from bench._stores import ENVIRONMENTS, ROCKSQ_WAYS, describe_disk, stores
from bench.peers._embedded import MODES, measures
from bench.peers._jobs import quantile

if TYPE_CHECKING:
    from pathlib import Path
    from types import MethodType


def asked() -> list[tuple[str, str]]:
    """Return what the rows ask for: the module or the peer, and the measure."""
    found: list[tuple[str, str]] = []
    for row in stores(50_000, 100_000, 1_000_000):
        for measure in (row.ours, *(peer.measure for peer in row.peers)):
            assert isinstance(measure, partial)
            if measure.func is here:
                found.append(measure.args[:2])
            else:
                environment = cast("MethodType", measure.func).__self__
                assert isinstance(environment, Environment)
                found.append((environment.name, measure.args[0]))
    return found


def test_every_measure_of_ours_that_a_row_asks_for_is_there() -> None:
    modules = [(name, measure) for name, measure in asked() if name.startswith("_")]

    assert {name for name, _ in modules} == {"_durable", "_named", "_raw_sqlite"}
    assert all(measure in import_module(f"bench.{name}").MEASURES for name, measure in modules)


def test_every_measure_of_a_peer_that_a_row_asks_for_is_there() -> None:
    peers = [(name, measure) for name, measure in asked() if not name.startswith("_")]

    def opened(*_arguments: object) -> NoReturn:
        raise AssertionError

    there = {environment.name: set(measures(opened, MODES)) for environment in ENVIRONMENTS} | {
        "rocksq": {
            name for way in ROCKSQ_WAYS.values() for name in measures(opened, ("process",), way)
        }
    }
    assert {name for name, _ in peers} == {environment.name for environment in ENVIRONMENTS}
    assert all(measure in there[name] for name, measure in peers)


@pytest.mark.parametrize(("percentile", "found"), [(1, 1), (50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(percentile: int, found: int) -> None:
    assert quantile([float(each) for each in range(100, 0, -1)], percentile) == found
    assert quantile([7.0], percentile) == 7.0


def test_a_store_that_never_syncs_is_no_peer_of_one_that_does() -> None:
    assert not [measure for name, measure in asked() if name == "rocksq" and "power" in measure]


def test_the_rows_that_the_design_sets_a_target_for_have_it() -> None:
    targets = {
        (row.what, peer.name): peer.target
        for row in stores(50_000, 100_000, 1_000_000)
        for peer in row.peers
        if peer.target
    }

    assert targets["sqlite, process: inserts, 50 tasks", "raw sqlite3"] == ">= 2.2x"
    assert targets["sqlite, power: inserts, 50 tasks", "raw sqlite3"] == ">= 10x"
    for what in ("50 tasks", "batches of 100"):
        for mode in MODES:
            of = f"sqlite, {mode}: insert+reserve+delete, {what}"
            ahead = {name for row, name in targets if row == of}
            assert ahead >= {"persist-queue", "litequeue", "huey"}
            assert (ahead >= set(ROCKSQ_WAYS)) == (mode == "process")


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
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "no such row", "--dir", str(missing)])

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
