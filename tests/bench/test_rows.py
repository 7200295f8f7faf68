"""Every row of the benchmarks measures something. How much is not asserted."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

import pytest
import structlog.testing

from bench import (
    _batches,
    _channel,
    _deep,
    _durable,
    _metrics,
    _named,
    _pauses,
    _plain,
    _plain_channel,
    _raw_batches,
    _raw_sqlite,
    _supervision,
    _timed,
)
from bench.__main__ import rows, supervision
from bench._batch_rows import batches
from bench._peers import Reference, here

if TYPE_CHECKING:
    from collections.abc import Iterable
    from functools import partial

    from _pytest.mark.structures import ParameterSet

    from bench._table import Row

WAITS = ("power_", "process_cycles_1")
MESSAGES, ACTORS, DEPTH = 400, 5, 400
FEW = 100  # messages, where each may wait for the disk
IDLE = {"many_idle", "memory"}  # so few actors may need neither time nor a page of memory


def some_rows() -> list[Row]:
    return rows(MESSAGES, ACTORS, DEPTH, Reference(), MESSAGES)


def own_process(row: Row) -> tuple[str, str] | None:
    """Return the module and the measure that a row runs in a new process, if it does."""
    ours = cast("partial[float]", row.ours)
    return ours.args[:2] if ours.func is here else None


def one_row_of_each() -> list[Row]:
    """Return a row for each module that measures in a new process, and all that run in this one."""
    found: dict[str, Row] = {}
    for row in some_rows():
        asked = own_process(row)
        found.setdefault(row.what if asked is None else asked[0], row)
    return list(found.values())


def some_slow(names: Iterable[str]) -> list[ParameterSet]:
    """Mark what waits for the disk again and again."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name.startswith(WAITS) else [])
        for name in names
    ]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "many_idle" else [])
        for name in _supervision.MEASURES
    ],
)
def test_a_measure_of_the_supervisors_returns_a_number(name: str) -> None:
    with structlog.testing.capture_logs():
        value = _supervision.run(name, MESSAGES if name.startswith("calls") else ACTORS)

    assert value >= 0 if name in IDLE else value > 0


@pytest.mark.parametrize("name", _timed.MEASURES)
def test_a_measure_of_the_timed_queue_returns_a_number(name: str) -> None:
    with structlog.testing.capture_logs():
        assert _timed.run(name, MESSAGES) > 0


@pytest.mark.parametrize("name", some_slow(_named.MEASURES))
def test_a_measure_of_a_durable_message_queue_returns_a_number(name: str) -> None:
    assert _named.run(name, FEW) > 0


@pytest.mark.parametrize("name", _metrics.MEASURES)
def test_a_measure_of_the_metrics_returns_a_number(name: str) -> None:
    assert _metrics.run(name, 10) >= 0


@pytest.mark.parametrize("name", some_slow(_batches.MEASURES))
def test_a_measure_of_the_batch_queue_returns_a_number(name: str) -> None:
    with structlog.testing.capture_logs():
        assert _batches.run(name, FEW) > 0


@pytest.mark.parametrize("name", some_slow(_raw_batches.MEASURES))
def test_a_measure_of_raw_sqlite_beside_the_batch_queue_returns_a_number(name: str) -> None:
    with structlog.testing.capture_logs():
        assert _raw_batches.MEASURES[name](FEW) > 0


def test_every_measure_of_raw_sqlite_that_a_row_of_the_batch_queue_asks_for_is_there() -> None:
    peers = [peer for row in batches(MESSAGES) for peer in row.peers]

    asked = [cast("partial[float]", peer.measure).args for peer in peers]
    assert {module for module, *_ in asked} == {"_raw_batches"}
    assert all(name in _raw_batches.MEASURES and count > 0 for _, name, count in asked)


@pytest.mark.parametrize("name", _channel.MEASURES)
def test_a_measure_of_the_channel_returns_a_number(name: str) -> None:
    with structlog.testing.capture_logs():
        assert _channel.run(name, MESSAGES) > 0


@pytest.mark.parametrize("name", _plain_channel.MEASURES)
def test_a_measure_of_a_peer_of_the_channel_returns_a_number(name: str) -> None:
    assert _plain_channel.MEASURES[name](MESSAGES) > 0


@pytest.mark.parametrize("name", some_slow(_durable.MEASURES))
def test_a_measure_of_a_durable_queue_returns_a_number(name: str) -> None:
    with structlog.testing.capture_logs():
        value = _durable.run(name, FEW)

    assert value >= 0 if name.endswith(("longest_50", "late_50")) else value > 0


@pytest.mark.parametrize("name", some_slow(_raw_sqlite.MEASURES))
def test_a_measure_of_raw_sqlite_returns_a_number(name: str) -> None:
    with structlog.testing.capture_logs():
        assert _raw_sqlite.MEASURES[name](FEW) > 0


@pytest.mark.parametrize("name", _plain.MEASURES)
def test_a_measure_of_a_peer_without_the_features_returns_a_number(name: str) -> None:
    assert _plain.MEASURES[name](MESSAGES) > 0


@pytest.mark.parametrize("name", _deep.MEASURES)
def test_a_measure_of_a_deep_queue_returns_a_number(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_deep, "CPU_SECONDS", 0.01)
    value = _deep.MEASURES[name](DEPTH)

    assert value >= 0 if name.startswith("memory") else value > 0


@pytest.mark.parametrize("name", _pauses.MEASURES)
def test_a_measure_of_a_pause_returns_a_number(name: str) -> None:
    with structlog.testing.capture_logs():
        assert _pauses.MEASURES[name](DEPTH) > 0


def test_every_measure_of_ours_that_a_row_asks_for_is_there() -> None:
    asked = {each for row in some_rows() if (each := own_process(row))}

    assert len(asked) > 50
    assert all(measure in import_module(f"bench.{name}").MEASURES for name, measure in asked)


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("row", [pytest.param(row, id=row.what) for row in one_row_of_each()])
def test_our_part_of_a_row_runs(row: Row) -> None:
    assert row.ours() >= 0


def test_the_names_of_the_rows_differ_and_fit_their_column() -> None:
    names = [row.what for row in rows(50_000, 10_000, 1_000_000, Reference())]

    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 58


def test_figures_of_another_machine_say_whose_they_are() -> None:
    told = [row.elsewhere for row in supervision(50_000, 10_000) if row.elsewhere]

    assert told
    assert all(text.startswith(("OTP 25: ", "430,000 /CPU s on CPython 3.11")) for text in told)
    of_liq = [row.elsewhere for row in batches(50_000) if row.elsewhere]
    assert len(of_liq) == 9
    assert all(text.startswith("liq, in Go: ") for text in of_liq)
