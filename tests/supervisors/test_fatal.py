"""Ctrl-C, exits and bugs: what must not be treated as a crash."""
# ruff: noqa: ARG002, PT012 - handlers; what raises is a whole `async with`

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from supervisors import (
    IGNORE,
    Actor,
    ActorDownError,
    ActorRef,
    ChildSpec,
    Supervisor,
    SupervisorStoppedError,
    child_spec,
    open_supervisor,
)

from .kit import Boom, Stage, settle, states

if TYPE_CHECKING:
    from supervisors import ChildStatus
    from tests.conftest import Events

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


async def test_it_ends_the_tree_from_a_cleanup(events: Events) -> None:
    async def exiting(*, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            sys.exit(3)

    with pytest.raises(SystemExit):
        async with open_supervisor([ChildSpec(id="a", start=exiting)]):
            await settle()

    names = [each["event"] for each in events]
    assert "child_interrupted" in names
    assert "child_stop_error" not in names


async def test_the_first_of_two_exits_counts(stage: Stage) -> None:
    async def exiting_too(*, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            sys.exit(2)

    with pytest.raises(SystemExit) as caught:
        async with open_supervisor([stage.spec("a"), ChildSpec(id="b", start=exiting_too)]):
            stage.end("a", SystemExit(1))
            await trio.sleep_forever()

    assert caught.value.code == 1


async def test_it_ends_the_tree_from_a_terminate() -> None:
    class Exiting(Actor):
        async def terminate(self, reason: BaseException | None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with open_supervisor([Exiting.child_spec("a")]) as supervisor:
            await supervisor.terminate_child("a")
            await trio.sleep_forever()


@pytest.mark.parametrize("error", FATAL, ids=["ctrl-c", "exit"])
@pytest.mark.parametrize("group", [False, True])
async def test_a_call_over_which_it_was_raised_is_answered(
    error: BaseException, *, group: bool
) -> None:
    raised = BaseExceptionGroup("", [Boom(), error]) if group else error

    class Exiting(Actor):
        async def handle_call(self, message: object) -> object:
            raise raised

    with pytest.raises(type(error)):
        async with open_supervisor([Exiting.child_spec("a")]) as supervisor:
            reference = supervisor.value_of("a")
            assert isinstance(reference, ActorRef)
            pending = reference.submit("x")
            await trio.sleep_forever()

    with pytest.raises(ActorDownError, match="'a' is stopped"):
        pending.get_nowait()


async def test_ctrl_c_is_not_raised_in_the_supervisor_itself() -> None:
    """It belongs to a child or to the body: a supervisor in the middle of a step is not safe."""
    protected: list[bool] = []

    @attrs.define(eq=False)
    class Start:
        async def __call__(self, *, task_status: ChildStatus) -> None:
            protected.append(trio.lowlevel.currently_ki_protected())
            task_status.started()

        def child_down(self, reason: str) -> None:  # called by the supervisor's task
            protected.append(trio.lowlevel.currently_ki_protected())

    async with open_supervisor([ChildSpec(id="a", start=Start(), restart="temporary")]):
        await settle()

    assert protected == [False, True]


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
