"""Section A of the conformance list: starting."""
# ruff: noqa: A001 - OTP's word

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    IGNORE,
    Actor,
    ChildNotFoundError,
    ChildSpec,
    ChildStartError,
    NameTakenError,
    Shutdown,
    child_spec,
    open_supervisor,
)

from .kit import Boom, Stage, hang_in_init, settle, states

if TYPE_CHECKING:
    from supervisors import ChildStatus, RestartType
    from tests.conftest import Events


async def ignoring(*, task_status: ChildStatus) -> None:
    task_status.started(IGNORE)


async def returning_early(*, task_status: ChildStatus) -> None:
    await trio.lowlevel.checkpoint()


async def test_an_empty_supervisor_starts_and_stops() -> None:  # A 1
    async with open_supervisor() as supervisor:
        count = supervisor.count_children()

    assert (count.specs, count.active) == (0, 0)


async def test_a_permanent_child_that_ignores_keeps_its_spec(stage: Stage) -> None:  # A 3
    specs = [stage.spec("a"), ChildSpec(id="b", start=ignoring)]

    async with open_supervisor(specs) as supervisor:
        count = supervisor.count_children()

        assert (count.specs, count.active) == (2, 1)
        assert states(supervisor) == {"a": "running", "b": "finished"}


async def test_a_temporary_child_that_ignores_leaves_no_spec() -> None:  # A 4
    async with open_supervisor(
        [ChildSpec(id="a", start=ignoring, restart="temporary")]
    ) as supervisor:
        assert supervisor.which_children() == ()


async def test_start_child_of_an_ignoring_child_returns_ignore() -> None:  # A 5
    async with open_supervisor() as supervisor:
        value = await supervisor.start_child(ChildSpec(id="a", start=ignoring, restart="temporary"))

        assert value is IGNORE
        assert supervisor.which_children() == ()


async def test_a_child_that_ignores_and_stays_is_cancelled() -> None:
    async def staying(*, task_status: ChildStatus) -> None:
        task_status.started(IGNORE)
        await trio.sleep_forever()

    async with open_supervisor([ChildSpec(id="a", start=staying)]) as supervisor:
        assert states(supervisor) == {"a": "finished"}


async def test_an_error_after_ignore_is_logged(events: Events) -> None:
    async def raising(*, task_status: ChildStatus) -> None:
        task_status.started(IGNORE)
        raise Boom

    async with open_supervisor([ChildSpec(id="a", start=raising)]):
        assert [each["child"] for each in events if each["event"] == "child_stop_error"] == ["a"]


async def test_an_init_that_raises_fails_the_start_with_its_own_error(stage: Stage) -> None:  # A 9
    stage.fails_next("a")

    with pytest.raises(ChildStartError, match=r"child 'a' of supervisor 'root'.*Boom") as caught:
        async with open_supervisor(stage.specs("a")):
            pytest.fail("the body must not run")

    assert isinstance(caught.value.__cause__, Boom)


async def test_returning_before_started_fails_the_start() -> None:  # A 8
    with pytest.raises(ChildStartError, match="returned before it called started"):
        async with open_supervisor([ChildSpec(id="a", start=returning_early)]):
            pytest.fail("the body must not run")


async def test_shutdown_before_started_fails_the_start(stage: Stage) -> None:
    stage.failures["a"] = [Shutdown("no")]

    with pytest.raises(ChildStartError, match="shutdown: 'no'"):
        async with open_supervisor(stage.specs("a")):
            pytest.fail("the body must not run")


async def test_a_failed_start_child_drops_the_spec(stage: Stage) -> None:  # A 10
    stage.fails_next("a")
    async with open_supervisor() as supervisor:
        with pytest.raises(ChildStartError) as caught:
            await supervisor.start_child(stage.spec("a"))

        assert isinstance(caught.value.__cause__, Boom)
        assert supervisor.which_children() == ()


async def test_a_failed_restart_child_keeps_the_spec(stage: Stage) -> None:  # A 12
    async with open_supervisor(stage.specs("a")) as supervisor:
        await supervisor.terminate_child("a")
        stage.fails_next("a")

        with pytest.raises(ChildStartError):
            await supervisor.restart_child("a")

        assert states(supervisor) == {"a": "stopped"}
        assert await supervisor.restart_child("a") == "a#3"


async def test_get_childspec_shows_the_defaults(stage: Stage) -> None:  # A 13
    inner = child_spec("inner", [])
    async with open_supervisor([ChildSpec(id="a", start=ignoring), inner]) as supervisor:
        worker = supervisor.get_childspec("a")
        below = supervisor.get_childspec("inner")

    assert (worker.restart, worker.shutdown_seconds, worker.type) == ("permanent", 5.0, "worker")
    assert (below.type, below.shutdown_seconds) == ("supervisor", float("inf"))


async def test_an_unknown_id_is_not_found_and_a_near_one_is_suggested(
    stage: Stage,
) -> None:  # A 13
    async with open_supervisor([stage.spec("mailer")]) as supervisor:
        with pytest.raises(ChildNotFoundError, match="did you mean 'mailer'"):
            supervisor.get_childspec("mailr")


async def test_a_failure_deep_in_the_tree_is_visible_at_the_top(stage: Stage) -> None:  # A 16
    stage.fails_next("c")
    tree = [stage.spec("a"), child_spec("mid", [child_spec("low", stage.specs("bcd"))])]

    with pytest.raises(ChildStartError) as caught:
        async with open_supervisor(tree):
            pytest.fail("the body must not run")

    causes = [caught.value, caught.value.__cause__, caught.value.__cause__.__cause__]  # type: ignore[union-attr]
    assert [getattr(each, "child", None) for each in causes] == ["mid", "low", "c"]
    assert isinstance(causes[-1].__cause__, Boom)  # type: ignore[union-attr]
    assert stage.journal == ["start a", "start b", "fail c", "stop b", "stop a"]


async def test_a_failed_start_stops_the_earlier_children_in_reverse_without_a_retry(
    stage: Stage,
) -> None:
    stage.fails_next("c")

    with pytest.raises(ChildStartError):
        async with open_supervisor(stage.specs("abcd")):
            pytest.fail("the body must not run")

    assert stage.journal == ["start a", "start b", "fail c", "stop b", "stop a"]


async def test_children_start_in_list_order(stage: Stage) -> None:  # A 17
    async with open_supervisor(stage.specs("cab")) as supervisor:
        assert list(states(supervisor)) == ["c", "a", "b"]

    assert stage.journal[:3] == ["start c", "start a", "start b"]


async def test_a_child_starts_only_when_the_one_before_has_initialised(
    autojump_clock: trio.testing.MockClock,
) -> None:
    order: list[str] = []

    async def slow(id: str, *, task_status: ChildStatus) -> None:
        order.append(f"begin {id}")
        await trio.sleep(1)
        order.append(f"ready {id}")
        task_status.started()

    specs = [ChildSpec(id=id, start=slow, args=(id,), restart="transient") for id in "ab"]
    async with open_supervisor(specs):
        order.append("body")

    assert order == ["begin a", "ready a", "begin b", "ready b", "body"]


async def test_a_supervisor_is_a_child_of_another(stage: Stage) -> None:  # A 18
    tree = [child_spec("left", stage.specs("a")), child_spec("right", stage.specs("b"))]

    async with open_supervisor(tree) as supervisor:
        text = str(supervisor.tree())

    assert text == (
        "root (running, one_for_one)\n"
        "├─ left (running, one_for_one)\n"
        "│  └─ a (running)\n"
        "└─ right (running, one_for_one)\n"
        "   └─ b (running)"
    )


async def test_a_name_taken_by_a_live_actor_fails_the_start_and_cleans_up() -> None:  # A 19
    ended: list[object] = []

    class Named(Actor):
        async def terminate(self, reason: BaseException | None) -> None:
            ended.append(reason)

    specs = [Named.child_spec("a", name="x"), Named.child_spec("b", name="x")]

    with pytest.raises(ChildStartError, match="'x' is taken by 'root/a'") as caught:
        async with open_supervisor(specs):
            pytest.fail("the body must not run")

    assert isinstance(caught.value.__cause__, NameTakenError)
    assert len(ended) == 2


async def test_an_init_that_takes_too_long_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:  # M 122
    spec = ChildSpec(id="a", start=hang_in_init, init_timeout=3)
    began = trio.current_time()

    with pytest.raises(ChildStartError, match=r"did not call started\(\) within 3 s") as caught:
        async with open_supervisor([spec]):
            pytest.fail("the body must not run")

    assert isinstance(caught.value.__cause__, trio.TooSlowError)
    assert trio.current_time() - began == 3


async def test_an_init_timeout_of_a_supervisor_is_said_to_be_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    inner = child_spec("inner", [ChildSpec(id="a", start=hang_in_init)], init_timeout=3)

    with pytest.raises(ChildStartError, match=r"did not call started\(\) within 3 s"):
        async with open_supervisor([inner]):
            pytest.fail("the body must not run")


async def test_started_twice_is_an_error_of_the_child() -> None:
    async def eager(*, task_status: ChildStatus) -> None:
        task_status.started()
        with pytest.raises(RuntimeError, match="twice"):
            task_status.started()
        await trio.sleep_forever()

    async with open_supervisor([ChildSpec(id="a", start=eager)]) as supervisor:
        assert states(supervisor) == {"a": "running"}


async def test_a_child_that_has_ended_can_neither_start_nor_own_a_name() -> None:
    statuses: list[ChildStatus] = []

    async def brief(*, task_status: ChildStatus) -> None:
        statuses.append(task_status)
        task_status.started()

    async def failing(*, task_status: ChildStatus) -> None:
        statuses.append(task_status)
        raise Boom

    async with open_supervisor() as supervisor:
        await supervisor.start_child(ChildSpec(id="a", start=brief, restart="temporary"))
        with pytest.raises(ChildStartError):
            await supervisor.start_child(ChildSpec(id="b", start=failing))
        await settle()

        for status in statuses:
            with pytest.raises(RuntimeError, match="twice or too late"):
                status.started()
            with pytest.raises(RuntimeError, match="has ended: it cannot own 'x'"):
                status.registry.register("x", 1, owner=status)


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_start_child_returns_what_the_child_reported(
    stage: Stage, restart: RestartType
) -> None:  # C 40
    async with open_supervisor() as supervisor:
        assert await supervisor.start_child(stage.spec("a", restart=restart)) == "a#1"
        assert supervisor.value_of("a") == "a#1"
