"""What a reload does with children: it withdraws them, and an operator's stop outlasts it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    Actor,
    ActorDownError,
    ActorRef,
    ChildNotFoundError,
    ChildSpec,
    ChildStartError,
    Supervisor,
    child_spec,
    open_supervisor,
)

from .kit import Boom, Stage, settle, states

if TYPE_CHECKING:
    from supervisors import ChildStatus, Strategy


class Echo(Actor):
    """Answers with what it gets."""

    async def handle_call(self, message: str) -> str:
        return message


async def fails(*, task_status: ChildStatus) -> None:
    await trio.lowlevel.checkpoint()
    raise Boom


async def test_a_withdrawn_child_is_stopped_and_forgotten(stage: Stage) -> None:
    async with open_supervisor(stage.specs("ab")) as supervisor:
        spec = await supervisor.withdraw_child("a")

        assert spec == stage.spec("a")
        assert states(supervisor) == {"b": "running"}
        assert stage.journal[-1] == "stop a"
        with pytest.raises(ChildNotFoundError):
            await supervisor.withdraw_child("a")


async def test_those_who_wait_for_a_withdrawn_actor_are_served_under_another_supervisor(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        open_supervisor([Echo.child_spec("a")]) as one,
        open_supervisor() as other,
        trio.open_nursery() as nursery,
    ):
        actor = one.value_of("a")
        assert isinstance(actor, ActorRef)
        answers: list[object] = []

        async def ask() -> None:
            answers.append(await actor.call("x"))

        spec = await one.withdraw_child("a")
        nursery.start_soon(ask)
        await settle()
        assert answers == []

        await other.start_child(spec)
        await settle()

        assert answers == ["x"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_withdrawal_and_its_return_restart_no_sibling_and_count_for_nothing(
    stage: Stage, strategy: Strategy
) -> None:
    async with open_supervisor(stage.specs("abc"), strategy=strategy, intensity=0) as supervisor:
        for _ in range(3):
            spec = await supervisor.withdraw_child("a")
            await supervisor.reconfigure([spec])
            await supervisor.restart_child("a")

        assert (stage.starts["a"], stage.starts["b"], stage.starts["c"]) == (4, 1, 1)
        assert list(states(supervisor)) == ["b", "c", "a"]


async def test_a_child_that_does_not_start_again_is_parked_if_asked_for(stage: Stage) -> None:
    async with open_supervisor(stage.specs("a")) as supervisor:
        await supervisor.reconfigure([ChildSpec(id="b", start=fails)])

        with pytest.raises(ChildStartError):
            await supervisor.restart_child("b", park=True)

        assert states(supervisor) == {"a": "running", "b": "parked"}


# -- an operator's stop ----------------------------------------------------------------------------


def below(root: Supervisor) -> Supervisor:
    (found,) = root.supervisors()
    return found


async def bounce(root: Supervisor) -> None:
    await root.terminate_child("pool")
    await root.restart_child("pool")


async def test_a_stop_outlasts_a_restart_of_the_supervisor(stage: Stage) -> None:
    pool = child_spec("pool", stage.specs("abc"))
    async with open_supervisor([pool]) as root:
        await below(root).terminate_child("b")

        await bounce(root)

        assert states(below(root)) == {"a": "running", "b": "stopped", "c": "running"}
        assert (stage.starts["a"], stage.starts["b"]) == (2, 1)


async def test_a_stop_outlasts_a_crash_of_the_supervisor(stage: Stage) -> None:
    pool = child_spec("pool", stage.specs("ab"), intensity=0)
    async with open_supervisor([pool], intensity=9) as root:
        await below(root).terminate_child("b")

        await stage.crash("a")
        await settle()

        assert states(below(root)) == {"a": "running", "b": "stopped"}


async def test_a_start_ends_a_stop_for_good(stage: Stage) -> None:
    pool = child_spec("pool", stage.specs("ab"))
    async with open_supervisor([pool]) as root:
        await below(root).terminate_child("b")
        await bounce(root)
        await below(root).restart_child("b")

        await bounce(root)

        assert states(below(root)) == {"a": "running", "b": "running"}


async def test_a_child_that_was_deleted_and_is_there_again_is_not_stopped(stage: Stage) -> None:
    pool = child_spec("pool", stage.specs("ab"))
    async with open_supervisor([pool]) as root:
        await below(root).terminate_child("b")
        await below(root).delete_child("b")

        await bounce(root)

        assert states(below(root)) == {"a": "running", "b": "running"}


async def test_who_calls_a_stopped_actor_after_a_restart_of_its_supervisor_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool = child_spec("pool", [Echo.child_spec("a")])
    async with open_supervisor([pool]) as root:
        actor = below(root).value_of("a")
        assert isinstance(actor, ActorRef)
        await below(root).terminate_child("a")
        await bounce(root)

        with pytest.raises(ActorDownError) as caught:
            await actor.call("x")

        assert caught.value.reason == "stopped"


async def test_specs_that_are_made_anew_share_what_an_operator_has_stopped(stage: Stage) -> None:
    stopped: set[str] = set()
    before, after = (
        child_spec("pool", stage.specs("ab"), strategy=strategy, stopped=stopped)
        for strategy in ("one_for_one", "one_for_all")
    )
    async with open_supervisor([before]) as root:
        await below(root).terminate_child("b")
        await root.reconfigure([after])

        await bounce(root)

        assert below(root).strategy == "one_for_all"
        assert states(below(root)) == {"a": "running", "b": "stopped"}
