"""The Redis store keeps the contract of a timed queue."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from queueactors.stores._redis import RedisStore
from queueactors.testing import TIMED_RULES, TimedRule, rule_name
from queueactors.testing._timed_kit import a_runtime

from .redis_kit import no_jumps

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize("rule", TIMED_RULES, ids=rule_name)
async def test_it_keeps_the_contract(
    rule: TimedRule, valkey: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_jumps(monkeypatch)

    await rule(lambda: RedisStore(url=valkey, prefix=uuid4().hex, clock="caller"))


async def test_who_waits_is_served_when_very_many_become_ready_at_once(
    valkey: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_jumps(monkeypatch)
    store = RedisStore(url=valkey, prefix=uuid4().hex, clock="caller")
    async with a_runtime(lambda: store) as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        await queue.insert(*range(2500), delay=1)

        taken = await queue.reserve()

        assert (taken.value, (await queue.statistics()).restarts) == (0, 0)
