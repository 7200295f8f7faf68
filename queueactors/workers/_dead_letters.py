"""Posting dead letters: what a worker gives up, to the queue that its ``dead_letter`` names."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from queueactors._insist import insist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from queueactors.cores.timed import DeadLetter
    from queueactors.queues import AnyQueue

# The operation of each kind that waits for room, the better one first.
_POSTS = {"timed": ("wait_insert",), "channel": ("send",), "message": ("wait_enqueue", "enqueue")}


async def post(queue: AnyQueue, letter: DeadLetter) -> None:
    """Put a dead letter into a queue of whatever kind; wait for room.

    Raises:
      QueueActorsError: If the queue does not take it.
      supervisors.ActorError: If it is down.
      TypeError: If it cannot take such a value.
    """
    names = _POSTS[queue.kind]
    name = next(each for each in names if hasattr(queue, each))
    put = cast("Callable[[DeadLetter], Awaitable[object]]", getattr(queue, name))
    await insist(lambda: put(letter))
