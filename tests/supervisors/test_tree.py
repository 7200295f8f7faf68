"""Introspection: what `tree` and `which_children` show, in every state and at any depth."""
# ruff: noqa: PT012 - what raises is a whole `async with`

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from supervisors import (
    Backoff,
    ChildSpec,
    ChildStartError,
    RestartIntensityError,
    Supervisor,
    SupervisorStoppedError,
    Tree,
    child_spec,
    open_supervisor,
)

from .kit import Boom, Stage, settle, states, until_cancelled

if TYPE_CHECKING:
    from supervisors import ChildStatus

SLOW = Backoff(min=10, max=10, jitter=0)
DEPTH = 50


async def test_the_tree_shows_every_state(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    async def hang_after_the_first(*, task_status: ChildStatus) -> None:
        if stage.starts["i"]:
            await until_cancelled()
        await stage.play("i", task_status=task_status)

    async def call(method: str, id: str) -> None:
        with pytest.raises((SupervisorStoppedError, ChildStartError)):
            await getattr(low, method)(id)

    low_spec = child_spec(
        "low",
        [ChildSpec(id="i", start=hang_after_the_first)],
        strategy="rest_for_one",
        intensity=0,
    )
    specs = [
        stage.spec("running"),
        stage.spec("restarting", backoff=SLOW),
        stage.spec("parked", on_give_up="park"),
        stage.spec("finished", restart="transient"),
        stage.spec("stopped"),
        low_spec,
        stage.spec("stopping"),
    ]
    stage.slow["stopping"] = 1
    async with (
        trio.open_nursery() as nursery,
        open_supervisor(specs, strategy="one_for_one", intensity=2) as supervisor,
    ):
        await stage.crash("running")
        await trio.sleep(6)
        for _ in range(3):
            await stage.crash("parked")
        await trio.sleep(6)
        for _ in range(2):
            await stage.crash("restarting")
        await stage.leave("finished")
        await supervisor.terminate_child("stopped")
        low = supervisor.value_of("low")
        assert isinstance(low, Supervisor)
        await low.terminate_child("i")
        nursery.start_soon(call, "restart_child", "i")
        nursery.start_soon(supervisor.terminate_child, "stopping")
        await settle()

        tree = supervisor.tree()

        def leaf(id: str, restarts: int = 0) -> Tree:
            return Tree(id=id, state=id, type="worker", restarts=restarts)  # type: ignore[arg-type]

        assert tree == Tree(
            id="root",
            state="running",
            type="supervisor",
            strategy="one_for_one",
            children=(
                leaf("running", restarts=1),
                leaf("restarting", restarts=1),
                leaf("parked", restarts=2),
                leaf("finished"),
                leaf("stopped"),
                Tree(
                    id="low",
                    state="running",
                    type="supervisor",
                    strategy="rest_for_one",
                    children=(Tree(id="i", state="starting", type="worker"),),
                ),
                leaf("stopping"),
            ),
        )
        assert str(tree) == (
            "root (running, one_for_one)\n"
            "├─ running (running, restarts 1)\n"
            "├─ restarting (restarting, restarts 1)\n"
            "├─ parked (parked, restarts 2)\n"
            "├─ finished (finished)\n"
            "├─ stopped (stopped)\n"
            "├─ low (running, rest_for_one)\n"
            "│  └─ i (starting)\n"
            "└─ stopping (stopping)"
        )
        assert [child.type for child in supervisor.which_children()] == [
            *["worker"] * 5, "supervisor", "worker"
        ]  # fmt: skip


async def test_a_tree_that_stops_shows_it(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    stage.slow["b"] = 2
    tree = [stage.spec("a"), child_spec("low", stage.specs("bc")), stage.spec("d")]

    pictures: list[str] = []
    async with trio.open_nursery() as nursery, open_supervisor(tree) as supervisor:
        nursery.start_soon(_picture_after_a_second, supervisor, pictures)

    assert pictures[0] == (
        "root (stopping, one_for_one)\n"
        "├─ a (running)\n"
        "├─ low (stopping, one_for_one)\n"
        "│  ├─ b (stopping)\n"
        "│  └─ c (stopped)\n"
        "└─ d (stopped)"
    )
    assert str(supervisor.tree()) == (
        "root (stopped, one_for_one)\n├─ a (stopped)\n├─ low (stopped)\n└─ d (stopped)"
    )


async def _picture_after_a_second(supervisor: Supervisor, pictures: list[str]) -> None:
    await trio.sleep(1)
    pictures.append(str(supervisor.tree()))


async def test_a_sub_supervisor_that_does_not_run_is_still_a_supervisor(stage: Stage) -> None:
    async with open_supervisor([child_spec("low", stage.specs("a"))]) as supervisor:
        await supervisor.terminate_child("low")

        assert supervisor.tree().children == (Tree(id="low", state="stopped", type="supervisor"),)


async def test_the_child_that_tipped_its_supervisor_does_not_seem_to_run(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    stage.slow["b"] = 2
    pictures: list[str] = []

    async with trio.open_nursery() as nursery:
        with pytest.raises(RestartIntensityError):
            async with open_supervisor(stage.specs("ab"), intensity=0) as supervisor:
                nursery.start_soon(_picture_after_a_second, supervisor, pictures)
                await stage.crash("a")

    assert pictures == ["root (stopping, one_for_one)\n├─ a (stopped)\n└─ b (stopping)"]


async def test_a_tree_is_a_frozen_value(stage: Stage) -> None:
    async with open_supervisor(stage.specs("a")) as supervisor:
        before = supervisor.tree()
        await supervisor.terminate_child("a")

        assert before.children[0].state == "running"
        assert supervisor.tree() != before
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            before.state = "stopped"  # type: ignore[misc]


async def test_nothing_is_the_value_of_a_child_before_it_has_initialised(stage: Stage) -> None:
    async def eager(*, task_status: ChildStatus) -> None:
        task_status.value = "too early"
        await until_cancelled()

    async def add() -> None:
        with pytest.raises(SupervisorStoppedError):
            await supervisor.start_child(ChildSpec(id="a", start=eager))

    async with open_supervisor() as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(add)
        await settle()
        assert supervisor.value_of("a") is None
        supervisor.stop()


async def test_a_childs_task_has_the_name_of_its_path(stage: Stage) -> None:
    names: list[str] = []

    async def child(*, task_status: ChildStatus) -> None:
        names.extend((trio.lowlevel.current_task().name, task_status.path))
        task_status.started()
        await until_cancelled()

    low = child_spec("low", [ChildSpec(id="a", start=child)])
    async with open_supervisor([child_spec("mid", [low])], name="top"):
        pass

    assert names == ["top/mid/low/a"] * 2


# -- depth -----------------------------------------------------------------------------------


def deep(stage: Stage, intensity: int = 1, leaf: ChildSpec | None = None) -> list[ChildSpec]:
    """Return one worker and one sub-tree a level; at the bottom two workers."""
    specs = [leaf or stage.spec("leaf"), stage.spec("last")]
    for level in range(DEPTH, 0, -1):
        specs = [
            stage.spec(f"w{level}"),
            child_spec(f"s{level}", specs, intensity=intensity),
        ]
    return specs


async def test_a_deep_tree_starts_and_stops_in_order(stage: Stage) -> None:
    async with open_supervisor(deep(stage)) as supervisor:
        tree = supervisor.tree()
        lines = str(tree).splitlines()

    ids = [line.removeprefix("start ") for line in stage.journal if line.startswith("start")]
    assert ids == [*[f"w{level}" for level in range(1, DEPTH + 1)], "leaf", "last"]
    assert stage.journal[len(ids) :] == [f"stop {id}" for id in reversed(ids)]  # noqa: A001
    assert len(lines) == 1 + 2 * DEPTH + 2
    assert lines[-1] == "   " * DEPTH + "└─ last (running)"


async def test_a_crash_at_the_bottom_of_a_deep_tree_stays_there(stage: Stage) -> None:
    async with open_supervisor(deep(stage)):
        mark = len(stage.journal)
        await stage.crash("leaf")

        assert stage.since(mark) == ["stop leaf", "start leaf"]


async def test_giving_up_goes_all_the_way_up_a_deep_tree(stage: Stage) -> None:
    with pytest.raises(RestartIntensityError) as caught:
        async with open_supervisor(deep(stage, intensity=0), intensity=0):
            await stage.crash("leaf")

    error: BaseException | None = caught.value
    for level in range(DEPTH + 1):
        assert isinstance(error, RestartIntensityError)
        assert error.supervisor.count("/") == level
        error = error.__cause__
    assert isinstance(error, Boom)
    assert all(count == 1 for count in stage.starts.values())


async def test_a_failed_start_at_the_bottom_of_a_deep_tree_is_seen_at_the_top(
    stage: Stage,
) -> None:
    stage.fails_next("last")

    with pytest.raises(ChildStartError, match="Boom: last does not start") as caught:
        async with open_supervisor(deep(stage)):
            pytest.fail("the body must not run")

    path: list[str] = []
    error: BaseException | None = caught.value
    while isinstance(error, ChildStartError):
        path.append(error.child)
        error = error.__cause__
    assert path == [*[f"s{level}" for level in range(1, DEPTH + 1)], "last"]


async def test_a_deep_tree_is_stopped_by_force_at_once(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    async def shielded(*, task_status: ChildStatus) -> None:
        task_status.started()
        with task_status.shield():
            await until_cancelled()

    leaf = ChildSpec(id="leaf", start=shielded, shutdown="infinity")
    top = child_spec("top", deep(stage, leaf=leaf), shutdown=3)
    began = trio.current_time()
    async with open_supervisor([top]) as supervisor:
        await settle()
        await supervisor.terminate_child("top")

        assert trio.current_time() - began == 3
        assert states(supervisor) == {"top": "stopped"}
    assert set(stage.starts) == {
        line.removeprefix("stop ") for line in stage.journal if line.startswith("stop")
    }


async def test_states_are_counted_with_those_that_no_child_is_in(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_supervisor(stage.specs("abc"), intensity=2) as supervisor:
        await supervisor.terminate_child("a")

        assert supervisor.count_states() == {
            "starting": 0,
            "running": 2,
            "restarting": 0,
            "stopping": 0,
            "stopped": 1,
            "finished": 0,
            "parked": 0,
        }


async def test_restarts_of_children_that_are_gone_still_count(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_supervisor(stage.specs("abc"), strategy="one_for_all", intensity=2) as root:
        await stage.crash("a")
        await root.terminate_child("a")
        await root.restart_child("a")  # an operator's is none
        await root.terminate_child("a")
        await root.delete_child("a")
        await stage.crash("b")

        assert root.restarts == 3 + 2


async def test_only_supervisors_that_run_are_told(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    specs = [child_spec("low", [child_spec("lower", [])]), stage.spec("a"), child_spec("off", [])]
    async with open_supervisor(specs) as root:
        await root.terminate_child("off")

        (low,) = root.supervisors()
        assert low is root.value_of("low")
        assert [each.path for each in low.supervisors()] == ["root/low/lower"]
        assert [each.path for each in root.supervisors()] == ["root/low"]
