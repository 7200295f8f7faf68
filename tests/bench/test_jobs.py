"""The rows of jobs: what they ask for is there; how messages are counted, and waits measured."""

from __future__ import annotations

import asyncio  # noqa: TID251 - what peers run on
import threading
import time
from typing import TYPE_CHECKING, cast

import pytest
import structlog.testing

from bench import _jobs
from bench._job_rows import ENVIRONMENTS, WORKERS, jobs
from bench._peers import ROOT, Environment, here
from bench.peers import _jobs as shared
from bench.peers._jobs import (
    BATCH,
    PAUSE,
    AsyncioCountdown,
    AsyncioEntrance,
    Countdown,
    Entrance,
    chunks,
    measures,
    pauses,
)

if TYPE_CHECKING:
    from functools import partial
    from types import MethodType

    from bench._table import Row

FEW = 20  # messages
MESSAGES = [bytes([number]) for number in range(5)]
LATE = 0.02  # seconds


def some_jobs() -> list[Row]:
    return jobs(50_000)


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("name", _jobs.MEASURES)
def test_a_measure_of_a_worker_on_a_message_queue_returns_a_number(name: str) -> None:
    with structlog.testing.capture_logs():
        assert _jobs.MEASURES[name](FEW) > 0


def test_every_measure_of_ours_that_a_row_of_jobs_asks_for_is_there() -> None:
    ours = [cast("partial[float]", row.ours) for row in some_jobs()]

    assert all(each.func is here and each.args[0] == "_jobs" for each in ours)
    on_a_server = {name for name in _jobs.MEASURES if name.startswith("redis_")}  # other rows'
    assert {each.args[1] for each in ours} == set(_jobs.MEASURES) - on_a_server


def test_every_measure_of_a_peer_that_a_row_of_jobs_asks_for_is_one_of_its_names() -> None:
    peers = {environment.name: environment for environment in ENVIRONMENTS}
    there = {
        name
        for suffix in {worker.suffix for worker in WORKERS}
        for name in measures(lambda *_: 0.0, lambda *_: [], suffix=suffix)
    }
    asked = [cast("partial[float]", peer.measure) for row in some_jobs() for peer in row.peers]

    for each in asked:
        environment = cast("MethodType", each.func).__self__
        assert isinstance(environment, Environment)
        assert environment == peers[environment.name]
        assert each.args[0] in there


def test_peers_get_as_many_messages_as_ours_but_for_those_that_fork_or_let_them_wait() -> None:
    for row in some_jobs():
        count = cast("partial[float]", row.ours).args[2]
        fewer = {
            peer.name for peer in row.peers if cast("partial[float]", peer.measure).args[1] < count
        }

        assert fewer == ({"huey", "arq"} if row.unit == "us" else {"rq"}) & {
            peer.name for peer in row.peers
        }


def test_the_scripts_of_the_peers_of_jobs_are_there() -> None:
    scripts = [environment.script for environment in ENVIRONMENTS]

    assert len(set(scripts)) == len(scripts)
    for script in scripts:
        assert (ROOT / "bench" / "peers" / script).is_file()


def test_a_peer_has_each_of_the_workers_that_the_rows_name() -> None:
    for worker in WORKERS:
        script = (ROOT / "bench" / "peers" / worker.environment.script).read_text("utf-8")

        assert not worker.suffix or f'"{worker.suffix}"' in script


def test_an_idle_worker_is_to_pick_up_within_a_millisecond() -> None:
    waits = [row for row in some_jobs() if "picks up" in row.what]

    assert len(waits) == 4
    assert {(row.target, row.less_is_better, row.unit) for row in waits} == {
        ("< 1,000 us", True, "us")
    }
    assert all(row.elsewhere.startswith("Carmine") for row in waits)


def test_pauses_are_the_same_for_everybody_and_none_is_too_long() -> None:
    some = list(pauses(200))

    assert some == list(pauses(200))
    assert 0 <= min(some) < 0.1 * PAUSE
    assert 0.9 * PAUSE < max(some) <= PAUSE


def test_chunks_are_all_of_the_messages_in_order() -> None:
    messages = [bytes([number]) for number in range(BATCH + 1)]

    assert [len(chunk) for chunk in chunks(messages)] == [BATCH, 1]
    assert [message for chunk in chunks(messages) for message in chunk] == messages


def test_a_countdown_ends_with_the_last_message() -> None:
    left = Countdown(2)
    threads = [threading.Thread(target=left.one) for _ in range(2)]
    for thread in threads:
        thread.start()

    left.wait()

    for thread in threads:
        thread.join()


def test_a_countdown_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "PATIENCE", 0.01)
    left = Countdown(2)
    left.one()

    with pytest.raises(AssertionError, match=r"^expected all messages to be handled, 1 are not$"):
        left.wait()


def test_an_asyncio_countdown_ends_with_the_last_message_or_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared, "PATIENCE", 0.01)

    async def count(handled: int) -> None:
        left = AsyncioCountdown(2)
        for _ in range(handled):
            await left.one({"a": "context"})
        await left.wait()

    asyncio.run(count(2))
    with pytest.raises(AssertionError, match=r"^expected all messages to be handled, 1 are not$"):
        asyncio.run(count(1))


@pytest.mark.slow
def test_a_wait_lasts_from_the_enqueue_to_the_handler() -> None:
    entrance = Entrance()

    def enqueue(_message: bytes) -> None:
        threading.Timer(LATE, entrance.enter).start()
        time.sleep(LATE / 2)  # an enqueue that takes its time: that is part of the wait

    found = entrance.waits(enqueue, MESSAGES)

    assert len(found) == len(MESSAGES)
    assert min(found) >= LATE


@pytest.mark.slow
def test_a_wait_in_asyncio_lasts_from_the_enqueue_to_the_handler() -> None:
    async def run() -> list[float]:
        entrance = AsyncioEntrance()
        loop = asyncio.get_running_loop()

        async def enqueue(_message: bytes) -> None:
            loop.call_later(LATE, entrance.enter)
            await asyncio.sleep(LATE / 2)

        return await entrance.waits(enqueue, MESSAGES)

    found = asyncio.run(run())

    assert len(found) == len(MESSAGES)
    assert min(found) >= 0.9 * LATE  # the loop's clock is coarser than ours


def test_a_message_that_no_handler_gets_ends_the_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "PATIENCE", 0.01)

    with pytest.raises(AssertionError, match=r"^expected all messages to be handled, b'\\x00' is "):
        Entrance().waits(lambda _message: None, MESSAGES)


def test_the_measures_of_waits_are_percentiles_in_microseconds() -> None:
    asked: list[tuple[str, int]] = []

    def waits(mode: str, count: int) -> list[float]:
        asked.append((mode, count))
        return [number / 1e6 for number in range(1, count + 1)]

    found = measures(None, waits, modes=("memory",), suffix="_polled")

    assert set(found) == {"memory_p50_polled", "memory_p99_polled"}
    assert found["memory_p99_polled"](200) == pytest.approx(198.0)
    assert asked == [("memory", 200)]


def test_a_rate_is_asked_for_its_mode_and_concurrency() -> None:
    asked: list[tuple[str, int, int]] = []

    def rate(mode: str, concurrency: int, count: int) -> float:
        asked.append((mode, concurrency, count))
        return 1.0

    found = measures(rate, None, modes=("process",), concurrencies=(50,))

    assert set(found) == {"process_50"}
    assert found["process_50"](7) == 1.0
    assert asked == [("process", 50, 7)]
