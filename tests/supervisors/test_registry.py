"""Section L of the conformance list: the registry."""
# ruff: noqa: ARG002, SLF001 - handlers; looks inside

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from supervisors import (
    Actor,
    ActorRef,
    Backoff,
    ChildSpec,
    ChildStartError,
    NameTakenError,
    NotRegisteredError,
    Registry,
    RegistryEvent,
    child_spec,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisors import ChildStatus


@attrs.define(eq=False)
class Owner:
    """A child, as far as the registry is concerned."""

    path: str = "root/a"
    phase: str = "ready"
    at_end: list[Callable[[], None]] = attrs.field(factory=list)

    def end(self) -> None:
        self.phase = "ended"
        for cleanup in self.at_end:
            cleanup()


def test_a_name_is_unique_and_the_error_names_the_owner() -> None:  # L 110
    registry = Registry()
    registry.register("x", 1, owner=Owner("root/first"))

    with pytest.raises(NameTakenError, match=r"'x' is taken by 'root/first'"):
        registry.register("x", 2, owner=Owner("root/second"))

    assert registry["x"] == 1


async def test_a_crash_frees_the_name(stage: Stage) -> None:  # L 111
    async def start(*, task_status: ChildStatus) -> None:
        task_status.registry.register(f"name {stage.starts['a']}", "value")
        await stage.play("a", task_status=task_status)

    registry = Registry()
    async with open_supervisor([ChildSpec(id="a", start=start)], registry=registry):
        assert registry.names() == ("name 0",)
        await stage.crash("a")
        assert registry.names() == ("name 1",)

    assert registry.names() == ()
    assert registry._owned == {}


async def test_a_name_is_free_when_terminate_child_returns() -> None:  # H 84
    async with open_supervisor([Actor.child_spec("a", name="x")]) as supervisor:
        await supervisor.terminate_child("a")
        assert supervisor.registry.names() == ()

        await supervisor.start_child(Actor.child_spec("b", name="x"))

        assert supervisor.registry.names() == ("x",)


async def test_a_name_is_free_when_a_failed_start_is_reported(stage: Stage) -> None:  # 1.4
    async def start(*, task_status: ChildStatus) -> None:
        task_status.registry.register("x", 1)
        await stage.play("a", task_status=task_status)

    async with open_supervisor() as supervisor:
        stage.fails_next("a")
        with pytest.raises(ChildStartError, match="Boom"):
            await supervisor.start_child(ChildSpec(id="a", start=start))

        assert await supervisor.start_child(ChildSpec(id="a", start=start)) == "a#2"


def test_the_name_of_a_dead_owner_can_be_taken_before_its_cleanup() -> None:  # L 112
    registry, dead = Registry(), Owner()
    registry.register("x", 1, owner=dead)
    dead.phase = "ended"

    registry.register("x", 2, owner=Owner())
    dead.end()

    assert registry["x"] == 2


def test_a_dead_owners_name_is_not_found() -> None:
    registry, dead = Registry(), Owner()
    registry.register("x", 1, owner=dead)
    dead.phase = "ended"

    assert registry.whereis("x") is None
    assert registry.names() == ()
    assert len(registry) == 0


def test_an_ended_child_cannot_own_a_name() -> None:
    dead = Owner(phase="ended")

    with pytest.raises(RuntimeError, match="has ended"):
        Registry().register("x", 1, owner=dead)


def test_lookup() -> None:  # L 113
    registry, owner = Registry(), Owner()
    for name in ("queue.b", "queue.a", "worker.a"):
        registry.register(name, name.upper(), owner=owner)

    assert registry.whereis("queue.a") == "QUEUE.A"
    assert registry.whereis("nothing") is None
    assert registry.names() == ("queue.a", "queue.b", "worker.a")
    assert registry.names("queue.*") == ("queue.a", "queue.b")
    assert len(registry) == 3


def test_an_unknown_name_is_an_error_that_suggests_a_near_one() -> None:
    registry = Registry()
    registry.register("mailer", 1, owner=Owner())

    with pytest.raises(NotRegisteredError, match=r"^no 'mialer' is registered \(did you mean 'm"):
        registry["mialer"]


def test_unregistering_twice_is_fine() -> None:  # L 114
    registry, owner = Registry(), Owner()
    registry.register("x", 1, owner=owner)

    registry.unregister("x")
    registry.unregister("x")
    owner.end()

    assert registry.names() == ()


async def test_listeners_get_the_events_in_order() -> None:  # L 116
    registry, owner = Registry(), Owner()
    with registry.listen() as events:
        registry.register("x", 1, owner=owner)
        registry.register("y", 2, owner=owner)
        registry.unregister("x")
        owner.end()

        got = [events.receive_nowait() for _ in range(4)]

        assert got == [
            RegistryEvent("registered", "x", 1),
            RegistryEvent("registered", "y", 2),
            RegistryEvent("unregistered", "x", 1),
            RegistryEvent("unregistered", "y", 2),
        ]
        with pytest.raises(trio.WouldBlock):
            events.receive_nowait()


async def test_a_listener_sees_a_dead_owners_name_change_hands() -> None:
    registry, dead = Registry(), Owner()
    registry.register("x", 1, owner=dead)
    dead.phase = "ended"
    with registry.listen() as events:
        registry.register("x", 2, owner=Owner())

        assert [events.receive_nowait().kind for _ in range(2)] == ["unregistered", "registered"]


async def test_a_closed_listener_is_forgotten() -> None:
    registry = Registry()
    registry.listen().close()
    registry.register("x", 1, owner=Owner())

    assert registry._listeners == []


def test_an_owner_is_tied_once_however_often_it_registers() -> None:  # L 117, 121
    registry, owner = Registry(), Owner()
    for _ in range(100):
        registry.register("x", 1, owner=owner)
        registry.unregister("x")

    assert len(owner.at_end) == 1
    assert registry._owned == {owner: {}}


def test_a_failed_registration_leaves_nothing() -> None:  # L 121
    registry, loser = Registry(), Owner()
    registry.register("x", 1, owner=Owner())
    for _ in range(100):
        with pytest.raises(NameTakenError):
            registry.register("x", 2, owner=loser)

    assert loser.at_end == []
    assert len(registry._owned) == 1


async def test_only_a_child_can_own_a_name() -> None:
    with pytest.raises(RuntimeError, match="does not belong to a supervised child"):
        Registry().register("x", 1)


async def test_waiting_for_a_name_that_is_there() -> None:
    registry = Registry()
    registry.register("x", 1, owner=Owner())

    with trio.testing.assert_checkpoints():
        assert await registry.wait_for("x") == 1


async def test_waiting_for_a_name_that_is_to_come() -> None:
    registry = Registry()
    got: list[object] = []

    async def wait() -> None:
        got.append(await registry.wait_for("x"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await settle()
        registry.register("y", 0, owner=Owner())
        await settle()
        assert got == []
        registry.register("x", 1, owner=Owner())

    assert got == [1, 1]
    assert registry._awaited == {}


async def test_a_name_that_vanishes_before_the_waiter_runs_is_waited_for_again() -> None:
    registry = Registry()
    async with trio.open_nursery() as nursery:
        got: list[object] = []

        async def wait() -> None:
            got.append(await registry.wait_for("x"))

        nursery.start_soon(wait)
        await settle()
        registry.register("x", 1, owner=Owner())
        registry.unregister("x")
        await settle()
        assert got == []
        registry.register("x", 2, owner=Owner())

    assert got == [2]


async def test_a_cancelled_wait_leaves_nothing() -> None:
    registry = Registry()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.wait_for, "x")
        await settle()
        assert list(registry._awaited) == ["x"]
        nursery.cancel_scope.cancel()

    assert registry._awaited == {}


async def test_a_cancelled_wait_does_not_harm_another_one() -> None:
    registry = Registry()
    got: list[object] = []

    async def wait() -> None:
        got.append(await registry.wait_for("x"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        async with trio.open_nursery() as impatient:
            impatient.start_soon(wait)
            await settle()
            impatient.cancel_scope.cancel()
        registry.register("x", 1, owner=Owner())
        await settle()
        nursery.cancel_scope.cancel()

    assert got == [1]


async def test_waiting_over_a_restart(stage: Stage, autojump_clock: trio.testing.MockClock) -> None:
    async def start(*, task_status: ChildStatus) -> None:
        task_status.registry.register("x", stage.starts["a"])
        await stage.play("a", task_status=task_status)

    pace = Backoff(min=3, max=3, jitter=0)
    spec = ChildSpec(id="a", start=start, backoff=pace)
    async with open_supervisor([spec], intensity=9) as supervisor:
        await stage.crash("a")
        await stage.crash("a")
        began = trio.current_time()

        assert await supervisor.registry.wait_for("x") == 2
        assert trio.current_time() - began == 3


async def test_an_actor_is_found_by_its_name_anywhere_in_the_tree() -> None:  # L 119
    class Echo(Actor):
        async def handle_call(self, message: object) -> object:
            return message

    tree = child_spec("low", [Echo.child_spec("a", name="echo")])
    async with open_supervisor([tree]) as supervisor:
        reference = supervisor.registry["echo"]

        assert isinstance(reference, ActorRef)
        assert await reference.call("hello") == "hello"


async def test_a_casts_to_an_unknown_name_is_an_error() -> None:  # M 125: a departure
    with pytest.raises(NotRegisteredError):
        Registry()["nobody"]


async def test_listeners_hear_of_a_restart_in_order() -> None:
    class Named(Actor):
        async def handle_cast(self, message: object) -> None:
            raise Boom

    spec = Named.child_spec("a", name="x", backoff=NO_BACKOFF)
    async with open_supervisor() as supervisor:
        with supervisor.registry.listen() as events:
            await supervisor.start_child(spec)
            first = supervisor.registry["x"]
            assert isinstance(first, ActorRef)
            first.cast("crash")
            await settle()
            await supervisor.terminate_child("a")

            told = [events.receive_nowait() for _ in range(4)]

    assert [each.kind for each in told] == ["registered", "unregistered"] * 2
    assert {each.name for each in told} == {"x"}


def test_the_names_of_an_owner_go_in_reverse_order() -> None:
    registry, owner = Registry(), Owner()
    for name in "abc":
        registry.register(name, 1, owner=owner)
    with registry.listen() as events:
        owner.end()

        assert [events.receive_nowait().name for _ in range(3)] == ["c", "b", "a"]


async def test_waiting_for_an_actor_over_two_restarts_and_a_stop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A name is awaited, not an incarnation: also while it fails to come back."""
    failing = False

    class Named(Actor):
        async def init(self, *args: object) -> None:
            if failing:
                raise Boom

        async def handle_cast(self, message: object) -> None:
            raise Boom

        async def handle_call(self, message: object) -> object:
            return message

    pace = Backoff(min=1, max=1, jitter=0)
    spec = Named.child_spec("a", name="x", backoff=pace)
    async with open_supervisor([spec], intensity=99) as supervisor:
        reference = supervisor.registry["x"]
        assert isinstance(reference, ActorRef)
        failing = True
        reference.cast("crash")
        await trio.sleep(3.5)
        await supervisor.terminate_child("a")
        got: list[object] = []

        async def wait() -> None:
            got.append(await supervisor.registry.wait_for("x"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(100)
            assert got == []
            failing = False
            await supervisor.restart_child("a")

        assert isinstance(got[0], ActorRef)
        assert await got[0].call("hello") == "hello"
