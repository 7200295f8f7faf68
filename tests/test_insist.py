"""Asking again when the actor crashed over the question."""

from __future__ import annotations

import pytest
import trio

from queueactors._insist import CRASHES, insist
from supervisors import ActorCrashedError, ActorDownError


class _Asked:
    """Crashes so many times, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.times = 0

    async def __call__(self) -> str:
        self.times += 1
        await trio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@pytest.mark.parametrize("crashes", [0, 1, CRASHES - 1])
async def test_it_asks_until_there_is_an_answer(crashes: int) -> None:
    ask = _Asked(*[ActorCrashedError("a")] * crashes)

    assert await insist(ask) == "answer"
    assert ask.times == crashes + 1


async def test_it_gives_up_after_five_crashes_in_a_row() -> None:
    ask = _Asked(*[ActorCrashedError("a")] * CRASHES)

    with pytest.raises(ActorCrashedError):
        await insist(ask)
    assert ask.times == CRASHES == 5


@pytest.mark.parametrize("error", [ActorDownError("a", "parked"), ValueError("bad")])
async def test_any_other_error_is_an_answer(error: Exception) -> None:
    ask = _Asked(ActorCrashedError("a"), error)

    with pytest.raises(type(error)):
        await insist(ask)
    assert ask.times == 2


async def test_it_can_be_cancelled() -> None:
    ask = _Asked(*[ActorCrashedError("a")] * 4)

    with trio.CancelScope() as scope:
        scope.cancel()
        await insist(ask)

    assert scope.cancelled_caught
    assert ask.times == 1
