"""The monitor that warns of a long queue."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, Literal

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from queueactors import Observation, monitor_fn

from .kit import named

if TYPE_CHECKING:
    from tests.conftest import Events


def seen(
    queue_size: int, result: Literal["picked-up", "end-of-queue"] = "picked-up"
) -> Observation:
    return Observation(queue_size=queue_size, dry_runs=0, result=result)


async def test_it_warns_of_more_than_its_size(autojump_clock: MockClock, events: Events) -> None:
    monitor = monitor_fn(10)

    monitor(seen(10))
    assert not named(events, "queue_large")
    monitor(seen(11))

    assert named(events, "queue_large") == [
        {"event": "queue_large", "log_level": "warning", "queue_size": 11, "max_size": 10}
    ]


async def test_it_warns_at_most_once_in_its_time(autojump_clock: MockClock, events: Events) -> None:
    monitor = monitor_fn(10, warn_every=60)
    monitor(seen(11))

    await trio.sleep(59.9)
    monitor(seen(12))
    assert len(named(events, "queue_large")) == 1
    await trio.sleep(0.2)
    monitor(seen(13))

    assert [event["queue_size"] for event in named(events, "queue_large")] == [11, 13]


async def test_its_time_runs_from_the_warning_not_from_what_it_did_not_say(
    autojump_clock: MockClock, events: Events
) -> None:
    monitor = monitor_fn(10, warn_every=60)

    for _ in range(7):  # from second 0 to second 180
        monitor(seen(11))
        await trio.sleep(30)

    assert len(named(events, "queue_large")) == 4


async def test_a_time_of_0_warns_each_time(autojump_clock: MockClock, events: Events) -> None:
    monitor = monitor_fn(10, 0)

    monitor(seen(11))
    monitor(seen(12))

    assert len(named(events, "queue_large")) == 2


async def test_a_size_of_0_warns_of_one_message(autojump_clock: MockClock, events: Events) -> None:
    monitor = monitor_fn(0)

    monitor(seen(0))
    assert not named(events, "queue_large")
    monitor(seen(1))

    assert len(named(events, "queue_large")) == 1


async def test_by_default_it_warns_of_1001_messages_each_6_hours(
    autojump_clock: MockClock, events: Events
) -> None:
    monitor = monitor_fn()

    monitor(seen(1000))
    assert not named(events, "queue_large")
    monitor(seen(1001))
    await trio.sleep(6 * 3600 - 1)
    monitor(seen(1001))
    assert len(named(events, "queue_large")) == 1
    await trio.sleep(2)
    monitor(seen(1001))

    assert len(named(events, "queue_large")) == 2


async def test_two_monitors_warn_each_for_itself(autojump_clock: MockClock, events: Events) -> None:
    for monitor in (monitor_fn(10), monitor_fn(10)):
        monitor(seen(11))

    assert len(named(events, "queue_large")) == 2


def test_another_run_with_an_earlier_clock_warns_anew() -> None:
    monitor = monitor_fn(10)

    async def run(start: float) -> None:
        await trio.sleep(start)
        monitor(seen(11))

    with capture_logs() as events:
        trio.run(run, 1000.0, clock=MockClock(autojump_threshold=0))
        trio.run(run, 5.0, clock=MockClock(autojump_threshold=0))

    assert len(named(list(events), "queue_large")) == 2


@pytest.mark.parametrize("size", [1.0, "1", None, True])
def test_a_size_that_is_no_whole_number_is_refused(size: object) -> None:
    with pytest.raises(TypeError, match=r"^expected max_size to be an int >= 0, got "):
        monitor_fn(size)  # type: ignore[arg-type] # on purpose


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected max_size to be an int >= 0, got -1$"):
        monitor_fn(-1)


@pytest.mark.parametrize("seconds", ["1", None, True])
def test_a_time_that_is_no_number_is_refused(seconds: object) -> None:
    with pytest.raises(TypeError, match=r"^expected warn_every to be seconds >= 0, got "):
        monitor_fn(1, seconds)  # type: ignore[arg-type] # on purpose


@pytest.mark.parametrize("seconds", [-1, nan, inf])
def test_a_time_out_of_its_range_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"^expected warn_every to be seconds >= 0, got "):
        monitor_fn(1, seconds)


def test_an_observation_does_not_change() -> None:
    observation = seen(5, "end-of-queue")

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        observation.queue_size = 6  # type: ignore[misc] # on purpose

    assert (observation.queue_size, observation.result) == (5, "end-of-queue")
