"""Sections I and J of the conformance list, as far as flags and specs change at run time."""

from __future__ import annotations

import pytest
import trio

from supervisors import (
    Actor,
    ActorCrashedError,
    ActorRef,
    open_supervisor,
)

from .kit import NO_BACKOFF, settle


class Slow(Actor):
    """Crashes over a call after a second, and answers any other."""

    async def handle_call(self, message: str) -> str:
        if message == "crash":
            await trio.sleep(1)
            raise ValueError
        return message


async def test_an_actor_whose_spec_is_replaced_and_put_back_is_not_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What waits in its mailbox waits for its restart, as ever."""
    before, after = (Slow.child_spec("a", backoff=NO_BACKOFF) for _ in range(2))
    async with open_supervisor([before]) as supervisor, trio.open_nursery() as nursery:
        actor = supervisor.value_of("a")
        assert isinstance(actor, ActorRef)
        for spec in (after, before):
            await supervisor.reconfigure([spec])

        async def crash() -> None:
            with pytest.raises(ActorCrashedError):
                await actor.call("crash")

        nursery.start_soon(crash)
        await settle()

        assert await actor.call("still here") == "still here"
