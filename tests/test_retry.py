"""Retry policies: the exact sequences of seed 003, and what cannot be."""

from __future__ import annotations

import statistics
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors import OptionsError
from queueactors.retry import Exponential, Fixed, Linear, RetryPolicy


def sequence(policy: RetryPolicy, count: int = 10) -> list[float]:
    """Return the waits of a policy, up to ``count``."""
    waits: list[float] = []
    random = Random(1)
    while len(waits) < count and (wait := policy.delay(len(waits) + 1, random)) is not None:
        waits.append(wait)
    return waits


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Fixed(3, 0.5, jitter=0), [0.5, 0.5]),
        (Fixed(1, 0.5, jitter=0), []),
        (Fixed(0, 0, jitter=0), [0] * 10),
        (Linear(5, 1, 4, jitter=0), [1, 2, 3, 4]),  # the last one is max
        (Linear(3, 1, 4, jitter=0), [1, 4]),
        (Linear(2, 1, 4, jitter=0), [1]),
        (Linear(1, 1, 4, jitter=0), []),
        (Linear(0, 1, 4, jitter=0), [1, 2, 3, 4, 4, 4, 4, 4, 4, 4]),  # by min, and stays
        (Linear(6, 1, 4, 2, jitter=0), [1, 3, 4, 4, 4]),
        (Exponential(6, 1, 10, jitter=0), [1, 2, 4, 8, 10]),
        (Exponential(5, 2, 100, 1.5, jitter=0), [2, 3, 4.5, 6.75]),  # a fraction is one
        (Exponential(0, 1, 3600, jitter=0), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]),
    ],
)
def test_the_waits_of_a_policy(policy: RetryPolicy, expected: list[float]) -> None:
    assert sequence(policy) == expected


def test_the_default_is_exponential_without_limit() -> None:
    assert Exponential() == Exponential(0, 1.0, 3600.0, 2.0, jitter=0.1, cooldown=0.0)


def test_attempts_without_limit_never_overflow() -> None:
    assert Exponential(jitter=0).delay(1_000_000, Random()) == 3600
    assert Linear(0, 1.5, 4, jitter=0).delay(10**9, Random()) == 4


@pytest.mark.parametrize(
    "policy", [Fixed(0, 10), Linear(0, 9, 10), Exponential(0, 9, 10, jitter=0.1)]
)
def test_jitter_spreads_evenly_on_both_sides(policy: RetryPolicy) -> None:
    random = Random(3)
    waits = [policy.delay(100, random) or 0 for _ in range(20_000)]

    assert all(9 <= wait <= 11 for wait in waits)
    assert statistics.mean(waits) == pytest.approx(10, rel=0.005)
    quarters = statistics.quantiles(waits, n=4)
    assert quarters == pytest.approx([9.5, 10, 10.5], rel=0.01)


@given(
    st.integers(0, 20),
    st.floats(0.001, 1e6),
    st.floats(1.001, 1000),
    st.floats(1.001, 10),
    st.floats(0, 0.99),
)
def test_waits_grow_up_to_max_and_there_are_as_many_as_attempts_allow(
    attempts: int, least: float, factor: float, base: float, jitter: float
) -> None:
    most = least * factor
    for policy in (
        Linear(attempts, least, most, jitter=0),
        Exponential(attempts, least, most, base, jitter=0),
    ):
        waits = sequence(policy, 50)

        assert len(waits) == (50 if attempts == 0 else attempts - 1)
        assert waits == sorted(waits)
        assert all(least <= wait <= most for wait in waits)
        if attempts > 2 and isinstance(policy, Linear):
            assert waits[-1] == pytest.approx(most)
    shaken = sequence(Fixed(attempts, most, jitter=jitter), 50)
    assert all(most * (1 - jitter) <= wait <= most * (1 + jitter) for wait in shaken)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: Fixed(-1, 1), "expected attempts to be an int >= 0, got -1"),
        (lambda: Fixed(1, -1), "expected interval to be seconds >= 0, got -1"),
        (lambda: Fixed(1, 1, jitter=1), "expected jitter to be a share >= 0 and < 1, got 1"),
        (lambda: Fixed(1, 1, cooldown=-1), "expected cooldown to be seconds >= 0, got -1"),
        (
            lambda: Exponential(cooldown=1),
            "cooldown needs a limit of attempts: without one it never comes to that",
        ),
        (lambda: Linear(3, 0, 1), "expected min to be seconds > 0, got 0"),
        (lambda: Linear(3, 1, 1), "expected max to be more than min, 1, got 1"),
        (lambda: Linear(3, 1, 2, 0), "expected step to be seconds > 0, got 0"),
        (lambda: Exponential(3, 2, 1), "expected max to be more than min, 2, got 1"),
        (
            lambda: Exponential(3, 1, 2, 1),
            "expected base to be a number > 1 and < 1e+09, got 1",
        ),
        (
            lambda: Exponential(3, 1, 2, float("nan")),
            "expected base to be a number > 1 and < 1e+09, got nan",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(make: object, fault: str) -> None:
    with pytest.raises(OptionsError) as caught:
        make()  # type: ignore[operator] # a function

    assert [text for _, text in caught.value.faults] == [fault]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(OptionsError) as caught:
        Linear(-1, 0, -1, 0, jitter=-1, cooldown=-1)

    assert [option for option, _ in caught.value.faults] == [
        "attempts",
        "jitter",
        "cooldown",
        "min",
        "max",
        "step",
    ]


@pytest.mark.parametrize("policy", [Fixed(0, 1), Linear(0, 1, 2), Exponential()])
def test_a_policy_is_asked_after_the_first_call(policy: RetryPolicy) -> None:
    with pytest.raises(
        ValueError, match=r"^expected attempt, the calls there were, to be >= 1, got 0$"
    ):
        policy.delay(0, Random())
    assert isinstance(policy, RetryPolicy)


def test_a_policy_of_ones_own_is_one() -> None:
    class Fibonacci:
        def delay(self, attempt: int, _random: Random) -> float | None:
            return None if attempt > 3 else [1.0, 1.0, 2.0][attempt - 1]

    assert isinstance(Fibonacci(), RetryPolicy)
    assert sequence(Fibonacci()) == [1, 1, 2]
