"""The public helpers for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from structlog.testing import capture_logs

from queueactors import OptionsError, open_runtime
from queueactors.testing import CrashingStore, InjectedCrash, cancel_at_every_step
from supervisors import ActorCrashedError

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from trio.testing import MockClock


@pytest.fixture(autouse=True)
def events() -> Iterator[list[MutableMapping[str, object]]]:
    """Return the list that log events go to: tests are quiet, and can read it."""
    with capture_logs() as captured:
        yield captured


async def steps(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def test_the_sweep_cancels_after_each_step_and_ends_with_a_whole_run() -> None:
    ends: list[str] = []

    async def operation() -> None:
        try:
            await steps(3)
        except trio.Cancelled:
            ends.append("cancelled")
            raise
        ends.append("whole")

    async def check() -> None:
        ends.append("check")

    runs = await cancel_at_every_step(operation, check)

    assert runs == 4
    assert ends == ["cancelled", "check"] * 3 + ["whole", "check"]


async def test_the_sweep_goes_on_when_an_operation_completes_although_it_was_cancelled() -> None:
    ends: list[str] = []

    async def operation() -> None:
        try:
            await steps(1)
        except trio.Cancelled:
            ends.append("completed all the same")
            return
        try:
            await steps(2)
        except trio.Cancelled:
            ends.append("cancelled")
            raise
        ends.append("whole")

    async def check() -> None:
        await trio.lowlevel.checkpoint()

    assert await cancel_at_every_step(operation, check) == 4
    assert ends == ["completed all the same", "cancelled", "cancelled", "whole"]


async def test_the_sweep_tells_what_its_check_finds() -> None:
    async def check() -> None:
        raise AssertionError("broken")

    with pytest.raises(AssertionError, match=r"^broken$"):
        await cancel_at_every_step(lambda: steps(2), check)


async def test_a_crashing_store_crashes_before_every_nth_operation(
    autojump_clock: MockClock,
) -> None:
    table = {
        "store": {"bad": {"type": CrashingStore, "every": 3}},
        "queue": {"jobs": {"kind": "timed", "reservation_time": 30, "store": "bad"}},
        "supervisor": {
            "s": {"intensity": 100, "child": [{"queue": "jobs", "backoff": {"min": 0, "max": 0}}]}
        },
    }
    crashed: list[str] = []
    async with open_runtime(table) as runtime:
        queue = runtime.queue("jobs")
        for n in range(9):
            try:
                await queue.insert(n)
            except ActorCrashedError as error:
                crashed.append(repr(error.__cause__))

        assert await queue.len() == 6
        assert (await queue.statistics()).restarts == 3
    assert crashed == [repr(InjectedCrash(f"operation {n} of queue 'jobs'")) for n in (3, 6, 9)]


@pytest.mark.parametrize("every", [1, 0, True, "2"])
def test_a_crashing_store_must_let_some_operations_pass(every: int) -> None:
    with pytest.raises(OptionsError, match=r"^expected every to be an int >= 2, got "):
        CrashingStore(every)


async def test_a_crashing_store_forgets_a_queue(autojump_clock: MockClock) -> None:
    store = CrashingStore(every=100)
    await store.forget("unknown")
