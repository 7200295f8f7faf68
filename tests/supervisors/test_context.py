"""Context variables (4.10): a child sees what was set where its tree was opened, and no more.

It sees the same at its first start and at each restart, whoever asked for it: what
`open_supervisor` found around it, like any task of trio.
"""
# ruff: noqa: ARG002 - handlers

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest
import trio
from structlog.contextvars import bind_contextvars, get_contextvars

from supervisors import (
    Actor,
    ActorCrashedError,
    ActorRef,
    ChildSpec,
    Supervisor,
    child_spec,
    current_child,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, settle, states

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisors import ChildStatus

request_id: ContextVar[str] = ContextVar("request_id", default="none")
Seen = tuple[str, dict[str, object]]


def here() -> Seen:
    """Return what is set here, in both kinds of variables."""
    return request_id.get(), get_contextvars()


def mark(name: str) -> None:
    """Set both."""
    request_id.set(name)
    bind_contextvars(by=name)


class Witness(Actor):
    """Writes down what it sees, wherever it runs."""

    async def init(self, seen: list[Seen]) -> None:
        self.seen = seen
        self.seen.append(here())

    async def handle_call(self, message: object) -> object:
        self.seen.append(here())
        if message == "crash":
            raise Boom
        mark("the child")
        return message

    async def terminate(self, reason: BaseException | None) -> None:
        self.seen.append(here())


async def in_a_request(operation: Callable[[], object]) -> None:
    """Do something in a task of its own, which has its own variables."""

    async def request() -> None:
        mark("a request")
        await operation()  # type: ignore[misc]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(request)


def ref(supervisor: Supervisor, id: str = "a") -> ActorRef:
    reference = supervisor.value_of(id)
    assert isinstance(reference, ActorRef)
    return reference


OPENED: Seen = ("the opener", {"by": "the opener"})


@pytest.mark.parametrize("how", ["at the start", "start_child", "below"])
async def test_a_child_sees_the_same_at_its_start_and_at_every_restart(how: str) -> None:
    seen: list[Seen] = []
    spec = Witness.child_spec("a", seen, backoff=NO_BACKOFF)
    mark("the opener")
    async with open_supervisor([spec] if how == "at the start" else [], intensity=9) as top:
        mark("the body")
        supervisor = top
        if how == "start_child":
            await in_a_request(lambda: top.start_child(spec))
        elif how == "below":
            await in_a_request(lambda: top.start_child(child_spec("low", [spec])))
            supervisor = top.value_of("low")

        async def crash() -> None:
            with pytest.raises(ActorCrashedError):
                await ref(supervisor).call("crash")

        await in_a_request(crash)
        await settle()
        await in_a_request(lambda: supervisor.terminate_child("a"))
        await in_a_request(lambda: supervisor.restart_child("a"))
        await in_a_request(lambda: ref(supervisor).call("x"))
        assert states(supervisor) == {"a": "running"}

    # init, crash, terminate; init, terminate; init, call; and terminate sees its own change
    assert seen[:-1] == [OPENED] * 7
    assert seen[-1] == ("the child", {"by": "the child"})


async def test_what_a_child_sets_stays_in_that_incarnation() -> None:
    seen: list[Seen] = []
    specs = [Witness.child_spec(id, seen, backoff=NO_BACKOFF) for id in "ab"]  # noqa: A001
    async with open_supervisor(specs) as supervisor:
        await ref(supervisor).call("mark")
        await ref(supervisor, "b").call("x")
        with pytest.raises(ActorCrashedError):
            await ref(supervisor).call("crash")
        await settle()
        await ref(supervisor).call("x")

        crashed = seen.index(("the child", {"by": "the child"}))
        clear: Seen = ("none", {})
        assert seen[:crashed] == [clear] * 4
        assert seen[-2:] == [clear] * 2
        assert here() == clear


async def test_each_incarnation_finds_itself_as_the_current_child() -> None:
    found: list[bool] = []

    async def child(*, task_status: ChildStatus) -> None:
        found.append(current_child() is task_status)
        task_status.started(task_status)
        await trio.sleep_forever()

    async def asking(*, task_status: ChildStatus) -> None:
        """A child that starts another one, below somebody else."""
        task_status.started()
        await top.start_child(ChildSpec(id="a", start=child))
        await top.terminate_child("a")
        await top.restart_child("a")
        found.append(current_child() is task_status)
        await trio.sleep_forever()

    async with open_supervisor() as top:
        await top.start_child(child_spec("low", [ChildSpec(id="asking", start=asking)]))
        await settle()

    assert found == [True] * 3


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
