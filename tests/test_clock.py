"""The one clock."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from queueactors import Clock

if TYPE_CHECKING:
    from trio.testing import MockClock

S = 1_000_000_000


async def test_it_starts_at_the_wall_clock_which_is_read_once(autojump_clock: MockClock) -> None:
    walls = iter([5 * S])

    clock = Clock.open(wall=lambda: next(walls))
    await trio.sleep(1.5)

    assert clock.now_ns() == 5 * S + S * 3 // 2


async def test_it_never_starts_before_the_newest_persisted_instant() -> None:
    assert Clock.open(wall=lambda: 5 * S, not_before=7 * S).now_ns() >= 7 * S
    assert Clock.open(wall=lambda: 5 * S, not_before=3 * S).now_ns() < 6 * S


async def test_it_stands_still_while_nothing_waits(autojump_clock: MockClock) -> None:
    clock = Clock.open()

    assert clock.now_ns() == clock.now_ns()


async def test_nothing_has_no_deadline() -> None:
    assert Clock.open().deadline(None) == inf


async def test_a_timer_set_to_a_deadline_fires_when_the_instant_has_come(
    autojump_clock: MockClock,
) -> None:
    clock = Clock.open(wall=lambda: 1_700_000_000 * S + 123)
    for step in (1, 7, 333, 10**6 + 1, S // 3, 10 * S + 1):
        at = clock.now_ns() + step

        await trio.sleep_until(clock.deadline(at))

        assert at <= clock.now_ns() <= at + 1


@given(
    epoch=st.integers(0, 4 * 10**18),
    opened_at=st.floats(0, 1e7),
    elapsed=st.integers(-(10**18), 10**18),
)
def test_at_a_deadline_the_clock_has_reached_its_instant(
    epoch: int, opened_at: float, elapsed: int
) -> None:
    clock = Clock(epoch_ns=epoch, opened_at=opened_at)  # the constructor's arguments

    deadline = clock.deadline(epoch + elapsed)

    assert int((deadline - opened_at) * 1e9) >= elapsed
    # No later than the resolution of trio's clock at that time demands.
    assert (deadline - opened_at) * 1e9 - elapsed <= 2000 + abs(elapsed) * 1e-6


@pytest.mark.parametrize("seconds", [1e9, 1e12])
async def test_a_far_deadline_is_found_at_once(seconds: float) -> None:
    clock = Clock.open()

    assert clock.deadline(clock.now_ns() + int(seconds * S)) < inf
