"""Ctrl-C, exits, bugs, context and references: what must not be treated as a crash, or kept."""
# ruff: noqa: ARG002, PT012 - handlers; what raises is a whole `async with`

from __future__ import annotations

import contextvars
import gc
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    IGNORE,
    Actor,
    ActorCrashedError,
    ActorRef,
    ChildSpec,
    ChildStartError,
    RestartType,
    Supervisor,
    SupervisorStoppedError,
    child_spec,
    current_child,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, idle, settle, states

if TYPE_CHECKING:
    from supervisors import ChildStatus

    from .conftest import Events

FATAL = [KeyboardInterrupt(), SystemExit(3)]


@pytest.mark.parametrize("error", FATAL, ids=["ctrl-c", "exit"])
@pytest.mark.parametrize("group", [False, True])
async def test_it_ends_the_tree_in_order_and_leaves_bare(
    stage: Stage, events: Events, error: BaseException, *, group: bool
) -> None:
    low = child_spec("low", stage.specs("ab"))
    raised = BaseExceptionGroup("", [Boom(), error]) if group else error

    with pytest.raises(type(error)) as caught:
        async with open_supervisor([*stage.specs("xy"), low, stage.spec("z")]):
            stage.end("a", raised)
            await trio.sleep_forever()

    assert caught.value is error
    assert stage.journal[-5:] == [f"stop {each}" for each in "abzyx"]
    assert set(stage.starts.values()) == {1}
    assert "child_crashed" not in [each["event"] for each in events]
    told = [each["error"] for each in events if each["event"] == "child_interrupted"]
    assert ("Boom" in str(told[0])) == group  # what was beside it is not lost


@pytest.mark.parametrize("error", FATAL, ids=["ctrl-c", "exit"])
async def test_it_ends_the_tree_from_an_initialisation(stage: Stage, error: BaseException) -> None:
    stage.failures["b"] = [error]

    with pytest.raises(type(error)):
        async with open_supervisor(stage.specs("abc")):
            pytest.fail("the body must not run")

    assert stage.journal == ["start a", "fail b", "stop a"]


@pytest.mark.parametrize("error", FATAL, ids=["ctrl-c", "exit"])
async def test_it_ends_the_tree_from_a_restart(stage: Stage, error: BaseException) -> None:
    with pytest.raises(type(error)):
        async with open_supervisor(stage.specs("a"), intensity=9):
            stage.failures["a"] = [error]
            await stage.crash("a")
            await trio.sleep_forever()

    assert stage.starts["a"] == 2


async def test_it_ends_the_tree_from_a_start_by_hand(stage: Stage) -> None:
    stage.failures["a"] = [SystemExit(3)]

    with pytest.raises(SystemExit):
        async with open_supervisor() as supervisor:
            with pytest.raises(SupervisorStoppedError):
                await supervisor.start_child(stage.spec("a"))
            await trio.sleep_forever()


async def test_it_ends_the_tree_from_a_cleanup() -> None:
    async def exiting(*, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            sys.exit(3)

    with pytest.raises(SystemExit):
        async with open_supervisor([ChildSpec(id="a", start=exiting)]):
            await settle()


async def test_it_ends_the_tree_from_a_child_that_ignored() -> None:
    async def exiting(*, task_status: ChildStatus) -> None:
        task_status.started(IGNORE)
        sys.exit(3)

    with pytest.raises(SystemExit):
        async with open_supervisor([ChildSpec(id="a", start=exiting)]):
            await trio.sleep_forever()


async def test_it_ends_the_tree_from_a_killed_sub_tree(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def exiting(*, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            with task_status.shield():
                await trio.sleep_forever()
        finally:
            sys.exit(3)

    leaf = ChildSpec(id="leaf", start=exiting, shutdown="infinity")
    with pytest.raises(SystemExit):
        async with open_supervisor([child_spec("low", [leaf], shutdown=1)]):
            await settle()


async def test_errors_of_a_killed_sub_tree_are_logged(
    autojump_clock: trio.testing.MockClock, events: Events
) -> None:
    async def failing(*, task_status: ChildStatus) -> None:
        task_status.started()
        with task_status.shield():
            try:
                await trio.sleep_forever()
            finally:
                raise Boom

    leaf = ChildSpec(id="leaf", start=failing, shutdown="infinity")
    async with open_supervisor([child_spec("low", [leaf], shutdown=1)]):
        await settle()

    assert [each["child"] for each in events if each["event"] == "child_stop_error"] == ["leaf"]


async def test_a_bug_in_a_supervisor_ends_it_and_answers_its_callers(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def buggy(*_args: object) -> object:
        raise LookupError("a bug")

    async with open_supervisor([child_spec("low", stage.specs("a"))]) as top:
        low = top.value_of("low")
        assert isinstance(low, Supervisor)
        monkeypatch.setattr(low, "_add", buggy)

        with pytest.raises(SupervisorStoppedError):
            await low.start_child(stage.spec("bug"))
        await settle()

        assert states(top) == {"low": "running"}
        assert top.which_children()[0].last_error == "LookupError: a bug"
        assert stage.journal == ["start a", "stop a", "start a"]


# -- context variables (4.10) ----------------------------------------------------------------

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


async def test_the_context_of_a_requester_does_not_leak_into_a_child() -> None:
    seen: list[str] = []

    async def child(*, task_status: ChildStatus) -> None:
        seen.append(request_id.get())
        task_status.started()
        await trio.sleep_forever()

    async def requester(supervisor: Supervisor) -> None:
        request_id.set("mine")
        await supervisor.start_child(ChildSpec(id="a", start=child))

    async with open_supervisor() as supervisor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(requester, supervisor)
        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")

    assert seen == ["none", "none"]


async def test_each_task_of_a_child_finds_its_child() -> None:
    paths: list[str] = []

    async def child(*, task_status: ChildStatus) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(grandchild)
            task_status.started()

    async def grandchild() -> None:
        paths.append(current_child().path)

    async with open_supervisor([child_spec("low", [ChildSpec(id="a", start=child)], intensity=9)]):
        pass

    assert paths[0] == "root/low/a"


async def test_who_is_no_child_finds_none() -> None:
    with pytest.raises(RuntimeError, match="does not belong to a supervised child"):
        current_child()


# -- references (4.9) ------------------------------------------------------------------------


class Heavy(Actor):
    """Has state whose life can be watched."""

    alive: list[weakref.ref[Heavy]]

    async def init(self, *args: object) -> None:
        Heavy.alive.append(weakref.ref(self))

    async def handle_cast(self, message: object) -> None:
        match message:
            case "crash":
                raise Boom
            case "group":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.handle_cast, "crash")
            case "attribute":
                self.no_such_attribute  # type: ignore[attr-defined] # noqa: B018

    async def handle_call(self, message: object) -> object:
        raise Boom


@pytest.mark.parametrize("how", ["crash", "group", "attribute", "call", "stop"])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_the_state_of_a_dead_actor_is_let_go(how: str, restart: RestartType) -> None:
    Heavy.alive = []
    held: list[object] = []
    spec = Heavy.child_spec("a", restart=restart, backoff=NO_BACKOFF)
    async with open_supervisor([spec], intensity=9) as supervisor:
        reference = supervisor.value_of("a")
        assert isinstance(reference, ActorRef)
        if how == "stop":
            await supervisor.terminate_child("a")
        elif how == "call":
            held.append(reference.submit("x"))  # and the error in it is kept
        else:
            reference.cast(how)
        await settle()
        gc.collect()

        assert Heavy.alive[0]() is None


async def test_the_state_of_a_parked_actor_is_let_go() -> None:
    Heavy.alive = []
    spec = Heavy.child_spec("a", on_give_up="park")
    async with open_supervisor([spec], intensity=0) as supervisor:
        reference = supervisor.value_of("a")
        assert isinstance(reference, ActorRef)
        with pytest.raises(ActorCrashedError):
            await reference.call("x")
        await settle()
        gc.collect()

        assert states(supervisor) == {"a": "parked"}
        assert Heavy.alive[0]() is None


async def test_the_state_of_an_actor_that_failed_to_start_is_let_go(events: Events) -> None:
    Heavy.alive = []

    class Broken(Heavy):
        async def init(self, *args: object) -> None:
            await super().init(*args)
            raise Boom

    async with open_supervisor([ChildSpec(id="x", start=idle)]) as supervisor:
        with suppress(ChildStartError):  # pytest.raises would keep it
            await supervisor.start_child(Broken.child_spec("a"))
        events.clear()  # the captured log has the error, too
        await settle()
        gc.collect()

        assert Heavy.alive[0]() is None
