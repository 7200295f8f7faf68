"""The pace of retries."""

from __future__ import annotations

from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors import exp_backoff


@given(st.integers(0, 36), st.integers())
def test_it_lies_between_half_a_power_of_two_and_that_power(attempt: int, seed: int) -> None:
    seconds = exp_backoff(attempt, random=Random(seed))

    assert 2.0**attempt / 2 <= seconds <= 2.0**attempt


@pytest.mark.parametrize("attempt", [0, 1, 5])
def test_it_is_spread_evenly_over_its_range(attempt: int) -> None:
    dice = Random(7)
    half = 2.0**attempt / 2

    drawn = sorted((exp_backoff(attempt, random=dice) - half) / half for _ in range(10_000))

    assert fmean(drawn) == pytest.approx(0.5, abs=0.02)
    for part in (0.1, 0.25, 0.75, 0.9):
        assert drawn[int(part * len(drawn))] == pytest.approx(part, abs=0.03)


def test_it_stops_growing_at_attempt_36() -> None:
    assert exp_backoff(10_000, random=Random(1)) == exp_backoff(36, random=Random(1))
    assert exp_backoff(37, random=Random(1)) == exp_backoff(36, random=Random(1))
    assert exp_backoff(35, random=Random(1)) < exp_backoff(36, random=Random(1))


def test_min_and_max_are_its_limits() -> None:
    assert exp_backoff(0, min=3.0) == 3.0
    assert exp_backoff(9, max=3.0) == 3.0
    assert exp_backoff(0, min=4.0, max=3.0) == 3.0  # max counts more, as in the seed


def test_the_factor_comes_before_the_limits() -> None:
    assert exp_backoff(3, factor=0.001, random=Random(1)) == pytest.approx(
        exp_backoff(3, random=Random(1)) / 1000
    )
    assert exp_backoff(3, factor=0.001, min=0.5) == 0.5
    assert exp_backoff(3, factor=1000, max=9.0) == 9.0


def test_without_dice_of_its_own_it_still_differs_from_call_to_call() -> None:
    assert len({exp_backoff(1) for _ in range(20)}) > 1
