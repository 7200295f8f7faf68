"""References (4.9): no error that somebody keeps keeps the state of a dead actor alive.

What leaves `open_supervisor` is an exception like any other: whoever keeps it keeps its frames.
"""
# ruff: noqa: ARG002, PT012, TRY301 - handlers; what raises is a whole `async with`

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    Actor,
    ActorCrashedError,
    ActorRef,
    ChildStartError,
    RestartIntensityError,
    RestartType,
    Supervisor,
    child_spec,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, settle, states, until_cancelled

if TYPE_CHECKING:
    from tests.conftest import Events


class Heavy(Actor):
    """Has state whose life can be watched."""

    alive: weakref.ref[Heavy]  # the first incarnation
    made = 0

    async def init(self, *args: object) -> None:
        if not Heavy.made:
            Heavy.alive = weakref.ref(self)
        Heavy.made += 1
        if "init fails" in args:
            raise Boom
        if "init hangs" in args:
            await until_cancelled()

    async def handle_cast(self, message: object) -> None:
        match message:
            case "crash":
                raise Boom
            case "caused":
                try:
                    raise Boom
                except Boom as error:
                    raise ValueError from error
            case "group":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.handle_cast, "crash")
            case "attribute":
                self.no_such_attribute  # type: ignore[attr-defined] # noqa: B018

    async def handle_call(self, message: object) -> object:
        if message == "exit":
            raise SystemExit
        if message == "group when stopped":
            async with trio.open_nursery() as nursery, trio.open_nursery():
                nursery.start_soon(self.handle_call, "raise when stopped")
                await until_cancelled()
        if message == "raise when stopped":
            try:
                await until_cancelled()
            finally:
                raise Boom
        raise Boom


class FailsToStop(Heavy):
    async def terminate(self, reason: BaseException | None) -> None:
        raise Boom


@pytest.fixture(autouse=True)
def nobody() -> None:
    Heavy.made = 0


def ref(supervisor: Supervisor) -> ActorRef:
    reference = supervisor.value_of("a")
    assert isinstance(reference, ActorRef)
    return reference


def is_let_go() -> bool:
    gc.collect()
    return Heavy.alive() is None


@pytest.mark.parametrize("how", ["crash", "caused", "group", "attribute", "call", "stop"])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_the_state_of_a_dead_actor_is_let_go(
    how: str, restart: RestartType, events: Events
) -> None:
    """Also of one whose errors are in the captured log, in the restart log and with a caller."""
    spec = Heavy.child_spec("a", restart=restart, backoff=NO_BACKOFF)
    async with open_supervisor([spec], intensity=9) as supervisor:
        pending = None
        if how == "stop":
            await supervisor.terminate_child("a")
        elif how == "call":
            pending = ref(supervisor).submit("x")
        else:
            ref(supervisor).cast(how)
        await settle()

        assert is_let_go()
        assert (pending is not None) == (how == "call")
        assert [each for each in events if "exc_info" in each] or how == "stop"


async def test_the_state_is_let_go_though_a_caller_keeps_its_error() -> None:
    async with open_supervisor([Heavy.child_spec("a")]) as supervisor:
        with pytest.raises(ActorCrashedError) as kept:
            await ref(supervisor).call("x")
        await settle()

        assert is_let_go()
        assert isinstance(kept.value.__cause__, Boom)
        assert "in handle_call" in kept.value.__cause__.__notes__[0]  # where it was is still told


@pytest.mark.parametrize("message", ["raise when stopped", "group when stopped"])
async def test_the_state_of_an_actor_that_fails_in_the_middle_of_a_call_at_its_stop_is_let_go(
    message: str,
) -> None:
    async with open_supervisor([Heavy.child_spec("a")]) as supervisor:
        pending = ref(supervisor).submit(message)
        await settle()
        await supervisor.terminate_child("a")

        with pytest.raises(ActorCrashedError) as kept:
            pending.get_nowait()
        assert is_let_go()
        assert "Cancelled" not in repr(kept.value.__cause__)


async def test_the_state_of_an_actor_whose_stop_fails_is_let_go(events: Events) -> None:
    async with open_supervisor([FailsToStop.child_spec("a")]) as supervisor:
        await supervisor.terminate_child("a")

        assert [each["event"] for each in events][-1] == "child_stop_error"
        assert supervisor.which_children()[0].last_error == "Boom"
        assert is_let_go()


async def test_the_state_of_an_actor_that_fails_twice_is_let_go() -> None:
    """The error of its terminate() has the one of its handler as context."""
    async with open_supervisor([FailsToStop.child_spec("a")]) as supervisor:
        ref(supervisor).cast("crash")
        await settle()

        assert supervisor.which_children()[0].restarts == 1
        assert is_let_go()


async def test_the_state_of_a_parked_actor_is_let_go() -> None:
    async with open_supervisor(
        [Heavy.child_spec("a", on_give_up="park")], intensity=0
    ) as supervisor:
        with pytest.raises(ActorCrashedError):
            await ref(supervisor).call("x")
        await settle()

        assert states(supervisor) == {"a": "parked"}
        assert is_let_go()


@pytest.mark.parametrize("how", ["init fails", "init hangs"])
async def test_the_state_of_an_actor_that_failed_to_start_is_let_go(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_supervisor() as supervisor:
        with pytest.raises(ChildStartError) as kept:
            await supervisor.start_child(Heavy.child_spec("a", how, init_timeout=3))

        assert is_let_go()
        assert kept.value.__cause__ is not None


async def test_the_state_of_an_actor_that_failed_to_restart_is_let_go() -> None:
    args: list[object] = []

    class Moody(Heavy):
        async def init(self, *_args: object) -> None:
            await super().init(*args)

    async with open_supervisor([Moody.child_spec("a", backoff=NO_BACKOFF)], intensity=9) as top:
        args.append("init fails")
        Heavy.made = 0
        await top.terminate_child("a")
        with pytest.raises(ChildStartError) as kept:
            await top.restart_child("a")

        assert is_let_go()
        assert isinstance(kept.value.__cause__, Boom)


async def test_the_states_of_a_sub_tree_that_gave_up_are_let_go() -> None:
    low_spec = child_spec("low", [Heavy.child_spec("a", backoff=NO_BACKOFF)], intensity=1)
    async with open_supervisor([low_spec], intensity=9) as supervisor:
        low = supervisor.value_of("low")
        assert isinstance(low, Supervisor)  # kept, and so is what it remembers
        for _ in range(2):
            with pytest.raises(ActorCrashedError):
                await ref(low).call("x")
            await settle()
            assert is_let_go()

        assert supervisor.which_children()[0].restarts == 1


async def test_the_error_that_ends_the_root_keeps_its_frames_for_whoever_handles_it() -> None:
    with pytest.raises(RestartIntensityError) as caught:
        async with open_supervisor([Heavy.child_spec("a")], intensity=0) as supervisor:
            ref(supervisor).cast("crash")
            await until_cancelled()

    assert isinstance(caught.value.__cause__, Boom)
    assert caught.value.__cause__.__traceback__ is not None


@pytest.mark.parametrize("message", ["x", "exit"])
async def test_the_state_is_let_go_with_the_error_that_ended_the_root(
    message: str, events: Events
) -> None:
    """A supervisor that has ended, and that somebody keeps, does not hold it."""
    try:
        async with open_supervisor([Heavy.child_spec("a")], intensity=0) as supervisor:
            ref(supervisor).submit(message)
            await until_cancelled()
    except (RestartIntensityError, SystemExit):  # pytest.raises would keep it
        events.clear()  # the log that the test captures has it, too

    assert is_let_go()
    assert states(supervisor) == {"a": "stopped"}
