"""Every row of the benchmarks measures something. How much is not asserted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog.testing

from bench import _supervision
from bench.__main__ import rows, supervision

if TYPE_CHECKING:
    from bench._table import Row

MESSAGES, ACTORS = 400, 5
IDLE = {"many_idle", "memory"}  # so few actors may need neither time nor a page of memory


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


@pytest.mark.slow
@pytest.mark.parametrize("row", [pytest.param(row, id=row.what) for row in rows(MESSAGES, ACTORS)])
def test_our_part_of_a_row_runs(row: Row) -> None:
    assert row.ours() >= 0


def test_the_names_of_the_rows_differ_and_fit_their_column() -> None:
    names = [row.what for row in rows(50_000, 10_000)]

    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 58


def test_figures_of_another_machine_say_whose_they_are() -> None:
    told = [row.elsewhere for row in supervision(50_000, 10_000) if row.elsewhere]

    assert told
    assert all(text.startswith(("OTP 25: ", "430,000 /CPU s on CPython 3.11")) for text in told)
