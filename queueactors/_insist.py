"""Ask again when the actor crashed over the question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from supervisors import ActorCrashedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CRASHES: Final = 5  # in a row over one operation, before it is given up

T = TypeVar("T")


async def insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Return the answer to an operation that may be repeated until it has not crashed an actor.

    `supervisors.ActorCrashedError` says that the operation did not happen, so asking again is
    safe. The actor is restarted at its supervisor's pace, and the call waits for that.

    Raises:
      supervisors.ActorCrashedError: If it crashed the actor five times in a row.
    """
    for _ in range(CRASHES - 1):
        try:
            return await ask()
        except ActorCrashedError:
            continue
    return await ask()
