"""The numbers of a worker."""

from __future__ import annotations

import pickle
from functools import reduce
from math import fsum, inf, nan
from operator import add
from random import Random
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queueactors import Summary, WorkerStatistics
from queueactors.workers._statistics import BUCKETS, KEYS, LEAST, MOST, Sketch, WorkerCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PERCENTS = (25, 50, 75, 90, 95, 99)
TINY = 5e-324  # the smallest float


def sketch(values: Iterable[float]) -> Sketch:
    made = Sketch()
    for value in values:
        made.add(value)
    return made


def close(summary: Summary, values: list[float]) -> bool:
    """Whether every percentile is within 1 % of the exact one, by a sorted list."""
    ordered = sorted(values)
    for percent in PERCENTS:
        exact = ordered[percent * (len(ordered) - 1) // 100]
        found = getattr(summary, f"p{percent}")
        if abs(found - exact) > (0.01 * exact if exact >= LEAST else LEAST):
            return False
    return True


SHAPES: dict[str, Callable[[Random], float]] = {
    "even": lambda dice: dice.uniform(0, 1),
    "exponential": lambda dice: dice.expovariate(20),
    "lognormal over 20 powers of ten": lambda dice: min(dice.lognormvariate(0, 8), MOST),
    "pareto": lambda dice: min(dice.paretovariate(0.5), MOST),
    "two humps": lambda dice: dice.choice([0.001, 3600.0]) * dice.uniform(0.9, 1.1),
    "mostly zero": lambda dice: max(0.0, dice.uniform(-9, 1)),
    "whole numbers": lambda dice: dice.randrange(300),
    "always the same": lambda _dice: 0.25,
    "bounds of buckets": lambda dice: 1.02 ** dice.randrange(-900, 900),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_percentiles_are_within_1_percent_of_the_exact_ones(shape: str) -> None:
    dice = Random(7)
    values = [SHAPES[shape](dice) for _ in range(5_000)]

    assert close(sketch(values).summary(), values)


VALUES = st.floats(0, MOST) | st.floats(0, 1) | st.integers(0, 1000) | st.sampled_from([0.0, 1.0])


@settings(max_examples=50)
@given(st.lists(VALUES, min_size=1))
def test_percentiles_are_as_close_for_any_values(values: list[float]) -> None:
    assert close(sketch(values).summary(), values)


@settings(max_examples=50)
@given(st.lists(VALUES, min_size=1))
def test_percentiles_rise_from_the_smallest_to_the_largest(values: list[float]) -> None:
    it = sketch(values).summary()

    rising = [it.min, *(getattr(it, f"p{percent}") for percent in PERCENTS), it.max]

    assert rising == sorted(rising)


@settings(max_examples=50)
@given(st.lists(VALUES, min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_values_makes_no_difference(values: list[float], dice: Random) -> None:
    mixed = dice.sample(values, len(values))

    one, other = sketch(values).summary(), sketch(mixed).summary()

    assert attrs.evolve(one, last=0, sum=0, mean=0) == attrs.evolve(other, last=0, sum=0, mean=0)
    assert one.sum == pytest.approx(other.sum, rel=1e-15)


@settings(max_examples=50)
@given(st.lists(VALUES, min_size=1))
def test_all_but_the_percentiles_is_exact(values: list[float]) -> None:
    it = sketch(values).summary()

    assert (it.n, it.min, it.max, it.last) == (
        len(values),
        min(values),
        max(values),
        values[-1],
    )
    assert it.sum == pytest.approx(fsum(values), rel=1e-15)
    assert it.mean == pytest.approx(fsum(values) / len(values), rel=1e-15)


def test_rounding_does_not_add_up_in_the_sum() -> None:
    values = [1e9, *[0.001] * 100_000]

    assert sketch(values).summary().sum == fsum(values)
    assert reduce(add, values) != fsum(values)  # it would, without care


def test_before_the_first_value_there_is_nothing_to_say() -> None:
    it = Sketch().summary()

    assert it == Summary()
    assert (it.n, it.sum) == (0, 0)
    assert {value for name, value in attrs.asdict(it).items() if name not in {"n", "sum"}} == {None}


@pytest.mark.parametrize("value", [0, 0.25, 7, TINY, LEAST, MOST])
def test_a_single_value_is_exactly_every_percentile(value: float) -> None:
    it = sketch([value]).summary()

    assert {getattr(it, f"p{percent}") for percent in PERCENTS} == {value}


@pytest.mark.parametrize("value", [-1, -TINY, nan, inf, -inf, MOST * 1.001])
def test_a_value_out_of_range_is_refused_and_changes_nothing(value: float) -> None:
    taken = sketch([1, 2])
    before = taken.summary()

    with pytest.raises(ValueError, match=r"^expected value to be from 0 to 1e\+15, got "):
        taken.add(value)

    assert taken.summary() == before


def test_its_memory_has_a_bound_for_any_number_of_values() -> None:
    dice = Random(7)
    taken = sketch([0, TINY, LEAST, MOST, *(1.02**power for power in range(-1046, 1744))])

    for _ in range(10_000):
        taken.add(10 ** dice.uniform(-9, 15))

    assert len(taken) <= BUCKETS < 3_000
    assert len(taken) > BUCKETS - 5  # the bound is not far off


def test_values_of_one_kind_take_little_memory() -> None:
    dice = Random(7)

    taken = sketch(dice.lognormvariate(-5, 1) for _ in range(20_000))

    assert len(taken) < 500


def test_a_summary_is_of_its_moment() -> None:
    taken = sketch([1])
    before = taken.summary()

    taken.add(5)

    assert (before.n, before.max) == (1, 1)
    assert (taken.summary().n, taken.summary().max) == (2, 5)


# -- a worker's -----------------------------------------------------------------------------------


def test_a_new_worker_has_counted_nothing() -> None:
    assert WorkerCounters().statistics() == WorkerStatistics(
        queueing_time=Summary(),
        handling_time=Summary(),
        queue_size=Summary(),
        counts=dict.fromkeys(
            ["success", "retry", "error", "snooze", "backoff", "lost", "end_of_queue"], 0
        ),
    )


def test_only_a_first_attempt_tells_how_long_a_message_was_queued() -> None:
    counters = WorkerCounters()

    counters.picked_up(3.0, 1)
    counters.picked_up(90.0, 2)

    it = counters.statistics().queueing_time
    assert (it.n, it.last) == (1, 3.0)


def test_a_message_from_the_future_was_not_queued_at_all() -> None:
    counters = WorkerCounters()

    counters.picked_up(-5.0, 1)

    assert counters.statistics().queueing_time.max == 0


@pytest.mark.parametrize("word", ["success", "retry", "error", "snooze", "lost"])
def test_each_handling_counts_by_what_came_of_it_and_by_its_time(word: str) -> None:
    counters = WorkerCounters()

    counters.handled(0.5, word)
    counters.handled(1.5, word)

    it = counters.statistics()
    assert {key: count for key, count in it.counts.items() if count} == {word: 2}
    assert (it.handling_time.n, it.handling_time.sum) == (2, 2.0)


@pytest.mark.parametrize("key", KEYS)
def test_each_key_is_counted_alone(key: str) -> None:
    counters = WorkerCounters()

    counters.count(key)

    assert counters.statistics().counts == {**dict.fromkeys(KEYS, 0), key: 1}


def test_a_key_that_is_none_is_a_mistake_and_counts_nothing() -> None:
    counters = WorkerCounters()

    with pytest.raises(KeyError):
        counters.count("succes")
    with pytest.raises(KeyError):
        counters.handled(1.0, "succes")

    assert counters.statistics() == WorkerCounters().statistics()


def test_the_queue_is_measured_at_each_look() -> None:
    counters = WorkerCounters()

    for n in (3, 0, 1000):
        counters.sized(n)

    it = counters.statistics().queue_size
    assert (it.n, it.min, it.max, it.last) == (3, 0, 1000, 1000)


def test_statistics_do_not_change_with_what_comes_later() -> None:
    counters = WorkerCounters()
    before = counters.statistics()

    counters.count("lost")

    assert before.counts["lost"] == 0


def test_statistics_can_be_pickled_and_made_a_dict() -> None:
    counters = WorkerCounters()
    counters.handled(0.5, "success")
    it = counters.statistics()

    assert pickle.loads(pickle.dumps(it)) == it  # noqa: S301
    assert attrs.asdict(it)["handling_time"]["sum"] == 0.5
