"""The rows of the Redis store: what they ask for is there, and measures something."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

import pytest

from bench import _jobs, _redis
from bench._peers import here
from bench._redis_rows import redis
from bench._redis_work import JOBS, share

if TYPE_CHECKING:
    from functools import partial

FEW = 200  # operations


def asked() -> set[tuple[str, str, int]]:
    """Return the modules, measures and counts that the rows ask for on our own interpreter."""
    found = (
        cast("partial[float]", each)
        for row in redis(FEW, FEW)
        for each in (row.ours, *(peer.measure for peer in row.peers))
    )
    return {cast("tuple[str, str, int]", each.args) for each in found if each.func is here}


def test_every_measure_on_our_interpreter_that_a_row_asks_for_is_there() -> None:
    measures = asked()

    assert len(measures) > 50
    for module, measure, count in measures:
        assert measure in import_module(f"bench.{module}").MEASURES
        assert count > 0


def test_every_measure_of_jobs_on_a_server_is_asked_for_by_a_row() -> None:
    names = {name for name in _jobs.MEASURES if name.startswith("redis_")}

    assert names == {measure for module, measure, _ in asked() if module == "_jobs"}


@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if job.batched])
def test_tasks_that_do_lists_do_at_least_one_each(name: str) -> None:
    assert share(JOBS[name], 500, FEW) == 100
    assert share(JOBS[name], 1, 250) == 200


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(
    "name",
    [
        *(f"{name}_50_1" for name in JOBS),
        "cycles_1_4",
        "inserts_50_1_cpu",
        "inserts_50_1_script",
        "inserts_50_1_batch",
        "sets_50_1_cpu",
        "inserts_50_ceiling",
        "cycles_50_ceiling",
        "handles_50_ceiling",
        "wake_up_p50",
        "pop_p99",
        "many_cycles",
        "deep_cycles_cpu",
        "memory",
    ],
)
def test_a_measure_of_redis_queues_returns_a_number(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_redis, "OPERATIONS", 100)
    count = 5 if name.startswith(("wake_up", "pop_", "many")) else FEW

    assert _redis.MEASURES[name](count) > 0
