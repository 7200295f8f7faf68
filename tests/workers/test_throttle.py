"""The default paces of a worker."""

from __future__ import annotations

from random import Random
from statistics import fmean, pstdev

import pytest

from queueactors import default_throttle
from queueactors.workers._throttle import end_of_queue_backoff

DRAWS = 20_000


@pytest.mark.parametrize(
    ("queue_size", "seconds"),
    [(0, 0.2), (128, 0.2), (129, 0.1), (256, 0.1), (257, 0.05), (10**9, 0.05)],
)
def test_the_longer_the_queue_the_faster_the_pace(queue_size: int, seconds: float) -> None:
    assert default_throttle(queue_size) == seconds


@pytest.mark.parametrize(
    ("dry_runs", "half"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 8), (10**6, 8)]
)
def test_the_wait_at_the_end_doubles_up_to_the_fifth_time(dry_runs: int, half: float) -> None:
    dice = Random(7)

    drawn = [end_of_queue_backoff(dry_runs, dice) / half for _ in range(DRAWS)]

    assert 0.8 <= min(drawn) < 0.85
    assert 2.3 < max(drawn) <= 2.4


def test_the_wait_at_the_end_is_a_doubled_wait_give_or_take_a_fifth() -> None:
    dice = Random(7)

    drawn = [end_of_queue_backoff(1, dice) for _ in range(DRAWS)]

    # The product of an even draw from [0.5, 1) and one from [0.8, 1.2), independent of it:
    # mean 0.75 * 1; variance (0.75^2 + 1/48) * (1 + 0.16/12) - 0.75^2.
    assert fmean(drawn) == pytest.approx(0.75, rel=0.01)
    assert pstdev(drawn) == pytest.approx(0.1691, rel=0.02)


class Lowest(Random):
    """Dice that always show the least."""

    def random(self) -> float:
        return 0.0

    def getrandbits(self, _k: int) -> int:
        return 0


def test_the_least_wait_at_the_end_is_four_tenths_of_a_second() -> None:
    assert end_of_queue_backoff(1, Lowest()) == pytest.approx(0.4)


@pytest.mark.parametrize("dry_runs", [0, -1])
def test_less_than_one_dry_run_is_a_mistake(dry_runs: int) -> None:
    with pytest.raises(ValueError, match=rf"^expected dry_runs to be an int >= 1, got {dry_runs}$"):
        end_of_queue_backoff(dry_runs, Random(1))


@pytest.mark.parametrize("dry_runs", [1.0, True, None, "1"])
def test_what_is_no_whole_number_of_dry_runs_is_refused(dry_runs: object) -> None:
    with pytest.raises(TypeError, match=r"^expected dry_runs to be an int >= 1, got "):
        end_of_queue_backoff(dry_runs, Random(1))  # type: ignore[arg-type] # on purpose
