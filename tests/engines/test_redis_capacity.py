"""The Redis store keeps the contract of a capacity queue."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from queueactors.stores._redis import RedisStore
from queueactors.testing import CAPACITY_RULES, TimedRule, rule_name

from .redis_kit import no_jumps

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize("rule", CAPACITY_RULES, ids=rule_name)
async def test_it_keeps_the_contract(
    rule: TimedRule, valkey: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_jumps(monkeypatch)

    await rule(lambda: RedisStore(url=valkey, prefix=uuid4().hex, clock="caller"))
