"""The SQLite store keeps the contract of a log queue."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from queueactors import SqliteStore
from queueactors.testing import LOG_RULES, TimedRule, rule_name

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock


@pytest.mark.parametrize("rule", LOG_RULES, ids=rule_name)
async def test_it_keeps_the_contract(
    rule: TimedRule, tmp_path: Path, autojump_clock: MockClock
) -> None:
    numbers = count()

    await rule(lambda: SqliteStore(path=str(tmp_path / f"{next(numbers)}.sqlite"), commit="inline"))
