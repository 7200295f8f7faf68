from __future__ import annotations

from math import isinf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors.config._durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30.0),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("7d", 604_800.0),
        ("1.5h", 5400.0),
        ("0s", 0.0),
        ("0.1s", 0.1),
    ],
)
def test_a_unit_says_how_many_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "30", "s", "-1s", "+1s", "1 s", " 1s", "1s\n", "1.s", ".5s", "1S", "1m30s", "1e3s", "٣s"],
)
def test_anything_else_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


def test_a_number_too_large_is_infinite() -> None:
    assert isinf(parse_duration("9" * 400 + "s") or 0)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    seconds = parse_duration(text)

    assert seconds is None or seconds >= 0
