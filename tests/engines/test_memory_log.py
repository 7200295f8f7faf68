"""The memory store keeps the contract of a log queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queueactors import MemoryStore
from queueactors.testing import LOG_RULES, TimedRule, check_log, rule_name

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize("rule", LOG_RULES, ids=rule_name)
async def test_it_keeps_the_contract(rule: TimedRule, autojump_clock: MockClock) -> None:
    await rule(MemoryStore)


@pytest.mark.slow
async def test_check_log_checks_every_rule(autojump_clock: MockClock) -> None:
    made = 0

    def make() -> MemoryStore:
        nonlocal made
        made += 1
        return MemoryStore()

    await check_log(make)

    assert made >= len(LOG_RULES)


async def test_check_log_names_the_rule_that_does_not_hold(autojump_clock: MockClock) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        await check_log(lambda: 1 / 0)  # type: ignore[arg-type, return-value] # on purpose

    assert caught.value.__notes__ == [f"rule: {rule_name(LOG_RULES[0])}"]
