"""What may be said of a worker, in code and in a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queueactors import ConfigError, OptionsError, WorkerOptions, load_config

from .kit import answers, any_queue

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("on_exception", "ignore", "on_exception to be 'retry' or 'error', got 'ignore'"),
        ("max_attempts", 0, "max_attempts to be an int >= 1, got 0"),
        ("batch", True, "batch to be an int >= 1, got True"),
        ("throttle", -1, "throttle to be 'auto', seconds >= 0 or callable, got -1"),
        ("throttle", "fast", "throttle to be 'auto', seconds >= 0 or callable, got 'fast'"),
        ("eoq_backoff", "auto", "eoq_backoff to be seconds >= 0 or callable, got 'auto'"),
        ("monitor", 5, "monitor to be 'default', 'none' or callable, got 5"),
        ("auto_start", -1, "auto_start to be true, false or seconds >= 0, got -1"),
        ("dead_letter", "", "dead_letter to be a non-empty string, got ''"),
    ],
)
def test_an_option_that_breaks_its_rule_is_refused(option: str, value: object, told: str) -> None:
    with pytest.raises(OptionsError) as caught:
        WorkerOptions(queue="q", handler=print, **{option: value})  # type: ignore[arg-type]

    assert str(caught.value) == f"expected {told}"


def test_a_queue_cannot_be_its_own_dead_letter_queue() -> None:
    with pytest.raises(OptionsError, match=r"^a queue cannot be its own dead letter queue"):
        WorkerOptions(queue="q", handler=print, dead_letter="q")


UNFIT = [
    ("timed", "max_attempts", 3, "a timed queue has max_reservations"),
    ("timed", "dead_letter", "dead", "a timed queue has on_exhausted"),
    ("timed", "batch", 5, "batch is for channels; 'jobs' is none"),
    ("message", "batch", 5, "batch is for channels; 'jobs' is none"),
]


@pytest.mark.parametrize(("kind", "option", "value", "told"), UNFIT)
async def test_an_option_that_is_not_for_the_kind_of_queue_is_refused_in_code(
    kind: str, option: str, value: object, told: str, autojump_clock: MockClock
) -> None:
    async with any_queue(kind, dead="channel") as (runtime, queue):
        with pytest.raises(ValueError, match=rf"{told}$"):
            await runtime.start_worker(queue, answers(), name=None, **{option: value})
        assert runtime.workers() == ()


@pytest.mark.parametrize(("kind", "option", "value", "told"), UNFIT)
def test_an_option_that_is_not_for_the_kind_of_queue_is_a_config_fault(
    kind: str, option: str, value: object, told: str
) -> None:
    timed = {"kind": "timed", "reservation_time": 1}
    queues = {"jobs": timed if kind == "timed" else {"kind": kind}, "dead": {"kind": "channel"}}
    worker = {"queue": "jobs", "handler": print, option: value}
    with pytest.raises(ConfigError) as caught:
        load_config({"queue": queues, "worker": {"w": worker}})

    (fault,) = caught.value.faults
    assert fault.path == f"worker.w.{option}"
    assert fault.message.endswith(told)


async def test_a_dead_letter_queue_must_be_defined_first(autojump_clock: MockClock) -> None:
    async with any_queue("channel", dead="timed") as (runtime, queue):
        with pytest.raises(ValueError, match=r"^there is no queue 'dea' for dead_letter \(did you"):
            await runtime.start_worker(queue, answers(), dead_letter="dea")
        await runtime.start_worker(queue, answers(), dead_letter="dead")
        with pytest.raises(ValueError, match=r"^dead letters of worker 'jobs' go to queue 'dead'$"):
            await runtime.drop("dead")


async def test_only_a_channel_has_tasks(autojump_clock: MockClock) -> None:
    async with any_queue("timed") as (runtime, queue):
        with pytest.raises(ValueError, match=r"^batch is for channels; 'jobs' is none$"):
            await runtime.spawn_task(queue, answers())
