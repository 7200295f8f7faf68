"""The pace of retries."""

from __future__ import annotations

from math import inf, nan
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors import exp_backoff


class Shows(Random):
    """Dice that always show the same."""

    def __init__(self, part: float) -> None:
        super().__init__()
        self.part = part

    def getrandbits(self, k: int) -> int:
        return min(int(self.part * (1 << k)), (1 << k) - 1)


@given(st.integers(0, 40), st.integers())
def test_it_is_at_least_half_a_power_of_two_and_less_than_that_power(
    attempt: int, seed: int
) -> None:
    power = 2.0 ** min(attempt, 36)

    assert power / 2 <= exp_backoff(attempt, random=Random(seed)) < power


@given(st.integers(0, 40), st.floats(1e-200, 1e200))
def test_its_bounds_are_exact_with_any_factor(attempt: int, factor: float) -> None:
    power = 2.0 ** min(attempt, 36)

    assert exp_backoff(attempt, factor=factor, random=Shows(0)) == power / 2 * factor
    assert exp_backoff(attempt, factor=factor, random=Shows(1)) < power * factor
    assert exp_backoff(attempt, factor=factor, random=Shows(1)) == pytest.approx(power * factor)


@pytest.mark.parametrize("attempt", [0, 1, 5, 36])
def test_it_is_spread_evenly_over_its_range(attempt: int) -> None:
    dice = Random(7)
    half = 2.0**attempt / 2

    drawn = sorted((exp_backoff(attempt, random=dice) - half) / half for _ in range(10_000))

    assert fmean(drawn) == pytest.approx(0.5, abs=0.01)
    assert pstdev(drawn) == pytest.approx((1 / 12) ** 0.5, abs=0.01)
    # The Kolmogorov-Smirnov distance, and its 1 % quantile for so many draws.
    assert max(abs(i / 10_000 - value) for i, value in enumerate(drawn)) < 1.63 / 100


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


def test_its_numbers_may_be_given_by_position() -> None:
    assert exp_backoff(9, 1.0, 3.0) == 3.0
    assert exp_backoff(0, 3.0) == 3.0
    assert exp_backoff(3, None, None, 0.0) == 0.0


@pytest.mark.parametrize("attempt", [-1, -36])
def test_fewer_attempts_than_none_are_a_mistake(attempt: int) -> None:
    with pytest.raises(ValueError, match=rf"^expected attempt to be an int >= 0, got {attempt}$"):
        exp_backoff(attempt)


@pytest.mark.parametrize("attempt", [1.0, "1", None, True])
def test_what_is_no_whole_number_of_attempts_is_refused(attempt: object) -> None:
    with pytest.raises(TypeError, match=r"^expected attempt to be an int >= 0, got "):
        exp_backoff(attempt)  # type: ignore[arg-type] # on purpose


@pytest.mark.parametrize("limit", ["min", "max"])
@pytest.mark.parametrize("seconds", [-1, nan, inf])
def test_limits_are_finite_seconds_from_0(limit: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=rf"^expected {limit} to be seconds >= 0, got {seconds}$"):
        exp_backoff(1, **{limit: seconds})  # type: ignore[arg-type] # not the dice


@pytest.mark.parametrize("limit", ["min", "max"])
@pytest.mark.parametrize("seconds", ["1", True])
def test_limits_are_numbers(limit: str, seconds: object) -> None:
    with pytest.raises(TypeError, match=rf"^expected {limit} to be seconds >= 0, got "):
        exp_backoff(1, **{limit: seconds})  # type: ignore[arg-type] # on purpose


@pytest.mark.parametrize("factor", [-1, -1e-9, nan, inf])
def test_a_factor_is_finite_and_not_negative(factor: float) -> None:
    with pytest.raises(ValueError, match=r"^expected factor to be a finite number >= 0, got "):
        exp_backoff(1, factor=factor)


@pytest.mark.parametrize("factor", ["1", None, True])
def test_a_factor_is_a_number(factor: object) -> None:
    with pytest.raises(TypeError, match=r"^expected factor to be a finite number >= 0, got "):
        exp_backoff(1, factor=factor)  # type: ignore[arg-type] # on purpose
