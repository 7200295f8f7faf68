"""Dynamic supervisors: starting, administration, limits, names."""
# ruff: noqa: A001 - OTP's words; the body belongs to what raises

from __future__ import annotations

import re
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    IGNORE,
    Actor,
    ActorCrashedError,
    ActorDownError,
    Backoff,
    ChildCounts,
    ChildNotFoundError,
    ChildRunningError,
    ChildSpec,
    ChildSpecError,
    ChildStartError,
    DynamicChild,
    DynamicSupervisor,
    MaxChildrenError,
    NameTakenError,
    RestartType,
    SupervisorFlags,
    SupervisorStoppedError,
    child_spec,
    current_child,
    dynamic_child_spec,
    open_dynamic_supervisor,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, idle, settle, states

if TYPE_CHECKING:
    from supervisors import ChildStatus


PACE = Backoff(min=1, max=1, jitter=0)


# -- A: starting -------------------------------------------------------------------------------


async def test_start_child_returns_a_handle_of_the_running_child(stage: Stage) -> None:
    async with open_dynamic_supervisor() as pool:
        child = await pool.start_child(stage.spec("a"))

        assert (child.id, child.state, child.value) == ("a", "running", "a#1")
        assert repr(child) == "<DynamicChild 'a' of 'root', running>"


async def test_it_begins_with_no_children() -> None:
    async with open_dynamic_supervisor() as pool:
        assert pool.which_children() == ()
        assert pool.count_children() == ChildCounts(specs=0, active=0, supervisors=0, workers=0)
        assert repr(pool) == "<DynamicSupervisor 'root' dynamic, 0 children>"


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_a_child_that_ignores_is_not_kept(restart: RestartType) -> None:  # A 6, 7
    async def ignores(*, task_status: ChildStatus) -> None:
        task_status.started(IGNORE)

    async with open_dynamic_supervisor() as pool:
        child = await pool.start_child(ChildSpec(id="a", start=ignores, restart=restart))

        assert pool.which_children() == ()
        assert (child.state, child.value) == ("finished", IGNORE)


async def test_a_child_that_does_not_start_is_not_kept(stage: Stage) -> None:  # A 11
    async with open_dynamic_supervisor(intensity=0) as pool:
        stage.fails_next("a")
        with pytest.raises(ChildStartError, match="child 'a' of supervisor 'root'") as caught:
            await pool.start_child(stage.spec("a"))

        assert isinstance(caught.value.__cause__, Boom)
        assert pool.which_children() == ()
        assert (await pool.start_child(stage.spec("a"))).id == "a"


async def test_get_childspec_is_by_id(stage: Stage) -> None:  # A 14
    spec = stage.spec("a")
    async with open_dynamic_supervisor() as pool, open_dynamic_supervisor() as other:
        await pool.start_child(spec)
        foreign = await other.start_child(stage.spec("b"))

        assert pool.get_childspec("a") == spec
        with pytest.raises(ChildNotFoundError, match="there is no such child"):
            pool.get_childspec(foreign.id)


async def test_children_are_listed_in_the_order_of_their_starts(stage: Stage) -> None:
    async with open_dynamic_supervisor() as pool:
        for id in "cab":
            await pool.start_child(stage.spec(id))

        assert [child.id for child in pool.which_children()] == ["c", "a", "b"]


async def test_an_id_in_use_is_made_unique(stage: Stage) -> None:
    async with open_dynamic_supervisor() as pool:
        children = [
            await pool.start_child(ChildSpec(id=id, start=idle))
            for id in ("conn", "conn", "conn#4", "conn", "x")
        ]

        assert [child.id for child in children] == ["conn", "conn#2", "conn#4", "conn#5", "x"]
        assert pool.get_childspec("conn#5").id == "conn#5"


async def test_an_id_that_is_free_again_is_given_again() -> None:
    async with open_dynamic_supervisor() as pool:
        for _ in range(3):
            child = await pool.start_child(ChildSpec(id="conn", start=idle))
            assert child.id == "conn"
            await child.terminate()


async def test_a_child_is_named_by_its_unique_id() -> None:
    """In its task, in errors and in events: not by the id of the spec."""

    async def says_its_path(*, task_status: ChildStatus) -> None:
        task_status.started((current_child().path, trio.lowlevel.current_task().name))
        await trio.sleep_forever()

    async with open_dynamic_supervisor(name="pool") as pool:
        children = [
            await pool.start_child(ChildSpec(id="a", start=says_its_path)) for _ in range(2)
        ]

        assert [child.value for child in children] == [
            ("pool/a", "pool/a"),
            ("pool/a#2", "pool/a#2"),
        ]


async def test_context_variables_of_the_caller_do_not_leak_into_the_child() -> None:
    variable = ContextVar("variable", default="outside")

    async def says(*, task_status: ChildStatus) -> None:
        task_status.started(variable.get())
        await trio.sleep_forever()

    async with open_dynamic_supervisor() as pool:
        variable.set("of the caller")
        child = await pool.start_child(ChildSpec(id="a", start=says))

        assert child.value == "outside"


# -- B: validation -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max_children", 0, "expected max_children to be an int >= 1, got 0"),
        ("max_children", -1, "expected max_children to be an int >= 1, got -1"),
        ("max_children", 1.5, "expected max_children to be an int >= 1, got 1.5"),
        ("max_children", inf, "expected max_children to be an int >= 1, got inf"),
        ("max_children", True, "expected max_children to be an int >= 1, got True"),
        ("max_children", "9", "expected max_children to be an int >= 1, got '9'"),
        ("intensity", -1, "expected intensity to be an int >= 0, got -1"),
        ("period", 0, "expected period to be seconds > 0, got 0"),
        (
            "auto_shutdown",
            "x",
            "expected auto_shutdown to be one of never, any_significant, all_significant, got 'x'",
        ),
    ],
)
async def test_a_bad_option_is_refused(option: str, value: object, message: str) -> None:  # B 28
    exactly = f"^{re.escape(message)}$"
    options: dict[str, object] = {option: value}

    with pytest.raises(ChildSpecError, match=exactly):
        dynamic_child_spec("a", **options)  # type: ignore[arg-type]
    with pytest.raises(ChildSpecError, match=exactly):
        async with open_dynamic_supervisor(**options):  # type: ignore[arg-type]
            pytest.fail("the body must not run")
    async with open_dynamic_supervisor(max_children=2) as pool:
        with pytest.raises(ChildSpecError, match=exactly):
            await pool.reconfigure(**options)  # type: ignore[arg-type]
        assert (pool.max_children, pool.flags) == (2, SupervisorFlags())


@pytest.mark.parametrize("option", ["strategy", "children", "extra_arguments"])
async def test_an_option_that_it_does_not_have_is_refused(option: str) -> None:  # B 28
    options: dict[str, object] = {option: "one_for_one"}

    with pytest.raises(TypeError, match=option):
        async with open_dynamic_supervisor(**options):  # type: ignore[arg-type]
            pytest.fail("the body must not run")
    with pytest.raises(TypeError, match=option):
        dynamic_child_spec("a", **options)  # type: ignore[arg-type]


async def test_a_bad_spec_is_refused_at_the_call(stage: Stage) -> None:
    async with open_dynamic_supervisor() as pool:
        with pytest.raises(ChildSpecError, match="expected each child to be a ChildSpec, got 'a'"):
            await pool.start_child("a")  # type: ignore[arg-type]
        with pytest.raises(ChildSpecError, match="significant but auto_shutdown is 'never'"):
            await pool.start_child(stage.spec("a", restart="transient", significant=True))

        assert pool.which_children() == ()


async def test_an_auto_shutdown_that_does_not_fit_a_child_is_refused(stage: Stage) -> None:
    async with open_dynamic_supervisor(auto_shutdown="any_significant") as pool:
        await pool.start_child(stage.spec("a", restart="transient", significant=True))

        with pytest.raises(ChildSpecError, match="significant but auto_shutdown is 'never'"):
            await pool.reconfigure(auto_shutdown="never", max_children=1)

        assert (pool.max_children, pool.flags.auto_shutdown) == (None, "any_significant")


async def test_a_bad_name_is_refused_before_anything_is_registered(stage: Stage) -> None:
    async with open_dynamic_supervisor() as pool:
        with pytest.raises(ChildSpecError):
            await pool.start_child(dynamic_child_spec("a", name=""))

        assert pool.registry.names() == ()


# -- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", 3, ["a"]])
def test_a_bad_name_is_refused(name: str) -> None:
    message = re.escape(f"expected name to be a non-empty string, got {name!r}")

    with pytest.raises(ChildSpecError, match=f"^{message}$"):
        child_spec("a", [], name=name)
    with pytest.raises(ChildSpecError, match=f"^{message}$"):
        dynamic_child_spec("a", name=name)


# -- C: administration -------------------------------------------------------------------------


async def test_terminate_stops_this_child_only(stage: Stage) -> None:  # C 39
    async with open_dynamic_supervisor() as pool:
        first, _ = [await pool.start_child(stage.spec(id)) for id in "ab"]

        await first.terminate()

        assert states(pool) == {"b": "running"}
        assert stage.journal == ["start a", "start b", "stop a"]


async def test_terminate_twice_is_fine(stage: Stage) -> None:  # C 39
    async with open_dynamic_supervisor() as pool:
        child = await pool.start_child(stage.spec("a"))
        await child.terminate()
        await child.terminate()

        assert (child.state, child.value) == ("finished", "a#1")


async def test_two_can_terminate_a_child_at_the_same_time(stage: Stage) -> None:
    async with open_dynamic_supervisor() as pool:
        child = await pool.start_child(stage.spec("a"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.terminate)
            nursery.start_soon(child.terminate)

        assert stage.journal == ["start a", "stop a"]


async def test_the_handle_of_a_child_that_is_gone_leaves_its_successor_alone() -> None:  # C 39
    async with open_dynamic_supervisor() as pool:
        gone = await pool.start_child(ChildSpec(id="a", start=idle))
        await gone.terminate()
        successor = await pool.start_child(ChildSpec(id="a", start=idle))
        assert successor.id == gone.id

        await gone.terminate()
        with pytest.raises(ChildNotFoundError):
            await gone.restart()

        assert successor.state == "running"


async def test_the_handle_of_a_child_that_goes_meanwhile_leaves_its_successor_alone() -> None:
    """Both calls wait in the mailbox, and a start after them takes the id."""
    async with open_dynamic_supervisor() as pool:
        child = await pool.start_child(ChildSpec(id="a", start=idle))
        async with trio.open_nursery() as nursery:
            for call in (child.terminate, child.terminate):
                nursery.start_soon(call)
            nursery.start_soon(pool.start_child, ChildSpec(id="a", start=idle))

        assert set(states(pool).values()) == {"running"}


async def test_restart_of_a_running_child_is_refused(stage: Stage) -> None:  # C 39
    async with open_dynamic_supervisor() as pool:
        child = await pool.start_child(stage.spec("a"))

        with pytest.raises(
            ChildRunningError, match="child 'a' of supervisor 'root': it is running"
        ):
            await child.restart()


async def test_there_are_no_calls_by_id() -> None:  # C 39
    async with open_dynamic_supervisor() as pool:
        for method in ("terminate_child", "restart_child", "delete_child"):
            assert not hasattr(pool, method)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1000, 2000])
async def test_count_children_is_exact(number: int) -> None:  # C 41
    async with open_dynamic_supervisor() as pool:
        for _ in range(number):
            child = await pool.start_child(ChildSpec(id="a", start=idle))
        assert pool.count_children() == ChildCounts(
            specs=number, active=number, supervisors=0, workers=number
        )

        await child.terminate()

        assert pool.count_children().active == number - 1


async def test_count_children_counts_supervisors(stage: Stage) -> None:  # C 41
    async with open_dynamic_supervisor() as pool:
        for _ in range(50):
            await pool.start_child(child_spec("static", []))
            await pool.start_child(dynamic_child_spec("dynamic"))
        await pool.start_child(stage.spec("a"))

        assert pool.count_children() == ChildCounts(
            specs=101, active=101, supervisors=100, workers=1
        )


# -- max_children ------------------------------------------------------------------------------


async def test_more_than_max_children_are_refused(stage: Stage) -> None:
    async with open_dynamic_supervisor(max_children=2) as pool:
        for id in "ab":
            await pool.start_child(stage.spec(id))

        with pytest.raises(
            MaxChildrenError,
            match=r"^supervisor 'root' has its max_children of 2 already; terminate one first$",
        ):
            await pool.start_child(stage.spec("c"))

        assert stage.starts["c"] == 0


async def test_max_children_counts_those_that_restart_and_those_that_are_parked(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    async with open_dynamic_supervisor(max_children=2, intensity=2) as pool:
        waiting = await pool.start_child(stage.spec("waiting", backoff=PACE))
        stage.fails_next("waiting")
        await stage.crash("waiting")
        parked = await pool.start_child(stage.spec("parked", on_give_up="park"))
        await stage.crash("parked")
        assert states(pool) == {"waiting": "restarting", "parked": "parked"}

        for child in (waiting, parked):
            with pytest.raises(MaxChildrenError):
                await pool.start_child(stage.spec("x"))
            await child.terminate()
            await (await pool.start_child(stage.spec("y"))).terminate()
            await pool.start_child(stage.spec("z"))


@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_a_child_that_has_ended_makes_room(stage: Stage, restart: RestartType) -> None:
    async with open_dynamic_supervisor(max_children=1) as pool:
        child = await pool.start_child(stage.spec("a", restart=restart))
        await stage.leave("a")

        await pool.start_child(stage.spec("b"))

        assert states(pool) == {"b": "running"}
        assert child.state == "finished"


async def test_starts_that_fail_or_have_nothing_to_do_take_no_room(stage: Stage) -> None:
    async def ignores(*, task_status: ChildStatus) -> None:
        task_status.started(IGNORE)

    async with open_dynamic_supervisor(max_children=1) as pool:
        stage.fails_next("a")
        with pytest.raises(ChildStartError):
            await pool.start_child(stage.spec("a"))
        await pool.start_child(ChildSpec(id="b", start=ignores))

        await pool.start_child(stage.spec("c"))


async def test_a_child_that_restarts_keeps_its_room(stage: Stage) -> None:
    async with open_dynamic_supervisor(max_children=1) as pool:
        child = await pool.start_child(stage.spec("a"))
        await stage.crash("a")

        assert child.value == "a#2"


async def test_a_lower_max_children_ends_nobody(stage: Stage) -> None:
    async with open_dynamic_supervisor() as pool:
        children = [await pool.start_child(stage.spec(id)) for id in "abc"]

        await pool.reconfigure(max_children=2)

        assert set(states(pool).values()) == {"running"}
        await children[0].terminate()
        with pytest.raises(MaxChildrenError):
            await pool.start_child(stage.spec("d"))
        await children[1].terminate()
        await pool.start_child(stage.spec("d"))


# -- actors ------------------------------------------------------------------------------------


class Echo(Actor):
    """Says who it is."""

    async def init(self, *made_of: str) -> None:
        self.made_of = made_of

    async def handle_call(self, message: str) -> object:
        if message == "crash":
            raise Boom
        return (*self.made_of, message)


async def test_actors_of_one_spec_have_a_mailbox_each() -> None:
    spec = Echo.child_spec("a", "x", backoff=NO_BACKOFF)
    async with open_dynamic_supervisor(intensity=1) as pool:
        first, second = [await pool.start_child(spec) for _ in range(2)]
        with pytest.raises(ActorCrashedError, match="actor 'a' crashed"):
            await first.value.call("crash")

        assert await first.value.call("1") == ("x", "1")
        assert await second.value.call("2") == ("x", "2")
        assert (first.value.name, second.value.name) == ("a", "a#2")
        await first.terminate()
        with pytest.raises(ActorDownError, match="actor 'a' is gone"):
            await first.value.call("3")
        assert await second.value.call("3") == ("x", "3")


async def test_actors_in_supervisors_of_one_spec_have_a_mailbox_each() -> None:
    spec = child_spec("low", [child_spec("lower", [Echo.child_spec("a")])])
    async with open_dynamic_supervisor() as pool:
        supervisors = [await pool.start_child(spec) for _ in range(2)]
        actors = [each.value.value_of("lower").value_of("a") for each in supervisors]
        await supervisors[0].terminate()

        with pytest.raises(ActorDownError, match="actor 'a' is gone"):
            await actors[0].call("x")
        assert await actors[1].call("x") == ("x",)


async def test_a_name_is_taken_by_the_first_actor_of_a_spec() -> None:
    spec = Echo.child_spec("a", name="echo")
    async with open_dynamic_supervisor() as pool:
        first = await pool.start_child(spec)
        with pytest.raises(ChildStartError) as caught:
            await pool.start_child(spec)
        assert str(caught.value.__cause__) == "the name 'echo' is taken by 'root/a'"
        await first.terminate()

        again = await pool.start_child(spec)

        assert await pool.registry["echo"].call("x") == ("x",)
        assert again.value.name == "echo"


# -- as a child, by name -----------------------------------------------------------------------


async def test_a_dynamic_supervisor_can_be_a_child(stage: Stage) -> None:
    async with open_supervisor([dynamic_child_spec("pool", max_children=2)]) as top:
        pool = top.value_of("pool")
        assert isinstance(pool, DynamicSupervisor)
        await pool.start_child(stage.spec("a"))

        assert (pool.path, pool.max_children) == ("root/pool", 2)
        assert pool.registry is top.registry
        assert str(top.tree()).splitlines() == [
            "root (running, one_for_one)",
            "└─ pool (running, dynamic)",
            "   └─ a (running)",
        ]


async def test_restarted_it_begins_with_no_children(stage: Stage) -> None:
    spec = dynamic_child_spec("pool", intensity=0, backoff=NO_BACKOFF)
    async with open_supervisor([spec]) as top:
        pool = top.value_of("pool")
        child = await pool.start_child(stage.spec("a"))
        await stage.crash("a")

        again = top.value_of("pool")

        assert again is not pool
        assert again.which_children() == ()
        await child.terminate()
        with pytest.raises(SupervisorStoppedError, match="root/pool"):
            await child.restart()
        assert child.state == "stopped"


@pytest.mark.parametrize("kind", ["static", "dynamic"])
async def test_a_supervisor_can_be_found_by_its_name(kind: str) -> None:
    spec = (
        child_spec("low", [], name="pool", backoff=NO_BACKOFF)
        if kind == "static"
        else dynamic_child_spec("low", name="pool", backoff=NO_BACKOFF)
    )
    async with open_supervisor([spec]) as top:
        found = top.registry["pool"]
        assert found is top.value_of("low")

        found.stop()
        await settle()

        assert top.registry["pool"] is top.value_of("low") is not found
        await top.terminate_child("low")
        assert top.registry.whereis("pool") is None


@pytest.mark.parametrize("kind", ["static", "dynamic"])
async def test_a_name_that_is_taken_fails_the_start(kind: str) -> None:
    second = child_spec("second", [], name="pool")
    if kind == "dynamic":
        second = dynamic_child_spec("second", name="pool")
    async with open_supervisor([dynamic_child_spec("first", name="pool")]) as top:
        with pytest.raises(ChildStartError) as caught:
            await top.start_child(second)

        assert isinstance(caught.value.__cause__, NameTakenError)
        assert str(caught.value.__cause__) == "the name 'pool' is taken by 'root/first'"
        assert states(top) == {"first": "running"}


# -- waiting for the end of a child ----------------------------------------------------------


@pytest.mark.parametrize("how", ["leave", "terminate", "stop"])
async def test_the_end_of_a_child_can_be_waited_for(stage: Stage, how: str) -> None:
    ended: list[str] = []

    async def wait(child: DynamicChild) -> None:
        await child.wait()
        ended.append(child.state)

    async with trio.open_nursery() as nursery, open_dynamic_supervisor() as supervisor:
        child = await supervisor.start_child(stage.spec("a", restart="transient"))
        nursery.start_soon(wait, child)
        nursery.start_soon(wait, child)
        await stage.crash("a")
        assert ended == []  # it is back
        match how:
            case "leave":
                await stage.leave("a")
            case "terminate":
                await child.terminate()
            case _:
                supervisor.stop()
                await supervisor.wait()

    await child.wait()
    assert ended == ["stopped" if how == "stop" else "finished"] * 2


async def test_a_cancelled_wait_for_a_child_changes_nothing(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_dynamic_supervisor() as supervisor:
        child = await supervisor.start_child(stage.spec("a"))
        with trio.move_on_after(1):
            await child.wait()

        assert child.state == "running"
