"""Sections I and J of the conformance list, as far as flags and specs change at run time."""
# ruff: noqa: A001, ARG002, PT012 - OTP's words; handlers; the body belongs to what raises

from __future__ import annotations

from functools import partial
from itertools import permutations
from math import nan
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from supervisors import (
    Actor,
    ActorCrashedError,
    ActorDownError,
    ActorRef,
    Backoff,
    ChildSpec,
    ChildSpecError,
    RestartIntensityError,
    SupervisorFlags,
    SupervisorStoppedError,
    child_spec,
    open_dynamic_supervisor,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, settle, states, until_cancelled

if TYPE_CHECKING:
    from supervisors import AutoShutdown, ChildStatus, Strategy

PACE = Backoff(min=1, max=1, jitter=0)


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


# -- I: significance ---------------------------------------------------------------------------

MODES: list[AutoShutdown] = ["never", "any_significant", "all_significant"]


def significant(stage: Stage, ids: str) -> list[ChildSpec]:
    return stage.specs(ids, restart="transient", significant=True)


@pytest.mark.parametrize(("before", "after"), list(permutations(MODES, 2)))
async def test_a_change_of_auto_shutdown_governs_the_next_end(
    stage: Stage, before: AutoShutdown, after: AutoShutdown
) -> None:  # I 93 to 98
    ended = False
    plain, marked = stage.specs("ab", restart="transient"), significant(stage, "ab")
    specs = {"never": plain, "any_significant": marked, "all_significant": marked}
    async with open_supervisor(specs[before], auto_shutdown=before) as supervisor:
        await supervisor.reconfigure(specs[after], auto_shutdown=after)

        for number, id in enumerate("ab", start=1):
            stage.end(id)
            if (after, number) in {("any_significant", 1), ("all_significant", 2)}:
                ended = True
                await until_cancelled()
            await settle()

    assert ended is (after != "never")


async def test_never_is_refused_while_a_child_is_significant(stage: Stage) -> None:  # I 99
    async with open_supervisor(
        significant(stage, "a"), auto_shutdown="any_significant"
    ) as supervisor:
        with pytest.raises(
            ChildSpecError,
            match=r"^child 'a': it is significant but auto_shutdown is 'never'; "
            r"set auto_shutdown on the supervisor$",
        ):
            await supervisor.reconfigure(auto_shutdown="never", intensity=9)
        assert (supervisor.flags.auto_shutdown, supervisor.flags.intensity) == (
            "any_significant",
            1,
        )

        await supervisor.reconfigure(stage.specs("a"), auto_shutdown="never")

        assert supervisor.flags.auto_shutdown == "never"


async def test_a_significant_child_is_refused_without_auto_shutdown(stage: Stage) -> None:  # I 99
    async with open_supervisor(stage.specs("a")) as supervisor:
        with pytest.raises(ChildSpecError, match="significant but auto_shutdown is 'never'"):
            await supervisor.reconfigure(significant(stage, "a"))

        assert supervisor.get_childspec("a") == stage.spec("a")


@pytest.mark.parametrize("becomes", [True, False])
async def test_the_significance_of_a_running_child_counts_at_its_end(
    stage: Stage, *, becomes: bool
) -> None:  # I 99
    plain, marked = stage.specs("a", restart="transient"), significant(stage, "a")
    ended = False
    async with open_supervisor(
        plain if becomes else marked, auto_shutdown="any_significant"
    ) as supervisor:
        await supervisor.reconfigure(marked if becomes else plain)
        stage.end("a")
        if becomes:
            ended = True
            await until_cancelled()
        await settle()
        assert states(supervisor) == {"a": "finished"}

    assert ended is becomes


# -- J: flags ----------------------------------------------------------------------------------


async def test_flags_change_and_what_is_not_given_stays(stage: Stage) -> None:  # J 100
    async with open_supervisor(stage.specs("a"), intensity=3, period=7) as supervisor:
        await supervisor.reconfigure(strategy="rest_for_one", auto_shutdown="any_significant")
        assert supervisor.flags == SupervisorFlags(
            strategy="rest_for_one", intensity=3, period=7, auto_shutdown="any_significant"
        )

        await supervisor.reconfigure(intensity=0, period=0.5)

        assert supervisor.flags == SupervisorFlags(
            strategy="rest_for_one", intensity=0, period=0.5, auto_shutdown="any_significant"
        )
        assert supervisor.strategy == "rest_for_one"
        assert stage.journal == ["start a"]


async def test_two_changes_at_the_same_time_both_happen(stage: Stage) -> None:
    async with open_supervisor() as supervisor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(supervisor.reconfigure, intensity=7))
            nursery.start_soon(partial(supervisor.reconfigure, period=9))

        assert (supervisor.flags.intensity, supervisor.flags.period) == (7, 9)


async def test_a_higher_intensity_counts_at_once(stage: Stage) -> None:  # J 100
    with pytest.raises(RestartIntensityError):
        async with open_supervisor(stage.specs("a"), intensity=1) as supervisor:
            await stage.crash("a")
            await supervisor.reconfigure(intensity=3)
            await stage.crash("a")
            await stage.crash("a")
            assert states(supervisor) == {"a": "running"}
            stage.end("a", Boom())
            await until_cancelled()

    assert stage.starts["a"] == 4


async def test_a_lower_intensity_counts_the_restarts_before(stage: Stage) -> None:  # J 100
    with pytest.raises(RestartIntensityError):
        async with open_supervisor(stage.specs("a"), intensity=9) as supervisor:
            for _ in range(3):
                await stage.crash("a")
            await supervisor.reconfigure(intensity=3)
            stage.end("a", Boom())
            await until_cancelled()

    assert stage.starts["a"] == 4


async def test_restarts_of_the_others_count_after_a_lower_intensity_parks_one(
    stage: Stage,
) -> None:
    specs = [stage.spec("a"), stage.spec("b", on_give_up="park"), stage.spec("c")]
    with pytest.raises(RestartIntensityError):
        async with open_supervisor(specs, intensity=9) as supervisor:
            for id in "aabb":
                await stage.crash(id)
            await supervisor.reconfigure(intensity=2)
            await stage.crash("b")
            assert states(supervisor) == {"a": "running", "b": "parked", "c": "running"}
            stage.end("c", Boom())
            await until_cancelled()


async def test_a_shorter_period_counts_at_once(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:  # J 100
    async with open_supervisor(stage.specs("a"), intensity=1, period=100) as supervisor:
        await stage.crash("a")
        await trio.sleep(10)
        await supervisor.reconfigure(period=5)

        await stage.crash("a")

        assert states(supervisor) == {"a": "running"}


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_a_change_of_strategy_governs_the_next_crash(
    stage: Stage, strategy: Strategy
) -> None:  # J 100
    async with open_supervisor(stage.specs("abc"), strategy="one_for_one") as supervisor:
        await supervisor.reconfigure(strategy=strategy)
        await stage.crash("b")

        restarted = {id for id in "abc" if stage.starts[id] == 2}
        assert restarted == {"one_for_one": {*"b"}, "one_for_all": {*"abc"}}.get(strategy, {*"bc"})


@pytest.mark.parametrize("after", ["one_for_one", "one_for_all", "rest_for_one"])
@pytest.mark.parametrize("before", ["one_for_all", "rest_for_one"])
async def test_a_group_that_waits_comes_back_under_any_strategy(
    autojump_clock: trio.testing.MockClock, stage: Stage, before: Strategy, after: Strategy
) -> None:
    """Also when the order is another one, and the child that failed is the last."""
    specs = stage.specs("abcd", backoff=PACE)
    async with open_supervisor(specs, strategy=before, intensity=99) as supervisor:
        for _ in range(2):
            await stage.crash("b")
        assert states(supervisor)["c"] == "restarting"

        await supervisor.reconfigure([specs[i] for i in (3, 2, 0, 1)], strategy=after)
        await supervisor.terminate_child("b")
        await trio.sleep(1)
        await settle()

        assert states(supervisor) == {
            "d": "running", "c": "running", "a": "running", "b": "stopped",
        }  # fmt: skip


# -- J: specs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("strategy", "x", "expected strategy to be one of one_for_one, one_for_all, rest_for_one"),
        ("intensity", -1, "expected intensity to be an int >= 0, got -1"),
        ("intensity", False, "expected intensity to be an int >= 0, got False"),
        ("period", 0, "expected period to be seconds > 0, got 0"),
        ("period", nan, "expected period to be seconds > 0, got nan"),
        ("auto_shutdown", "x", "expected auto_shutdown to be one of never, any_significant"),
    ],
)
async def test_a_bad_flag_changes_nothing(
    stage: Stage, flag: str, value: object, message: str
) -> None:  # J 101
    flags: dict[str, object] = {"intensity": 9, flag: value}
    async with open_supervisor(stage.specs("a")) as supervisor:
        with pytest.raises(ChildSpecError, match=f"^{message}"):
            await supervisor.reconfigure(stage.specs("b"), **flags)  # type: ignore[arg-type]

        assert supervisor.flags == SupervisorFlags()
        assert list(states(supervisor)) == ["a"]


async def test_bad_specs_change_nothing(stage: Stage) -> None:  # J 101
    async with open_supervisor(stage.specs("a")) as supervisor:
        with pytest.raises(ChildSpecError, match=r"^child 'b': the id is used twice$"):
            await supervisor.reconfigure(stage.specs("bb"), intensity=9)
        with pytest.raises(ChildSpecError, match=r"^expected each child to be a ChildSpec, got"):
            await supervisor.reconfigure(["b"], intensity=9)  # type: ignore[list-item]
        with pytest.raises(TypeError):
            await supervisor.reconfigure(9)  # type: ignore[arg-type]

        assert list(states(supervisor)) == ["a"]
        assert supervisor.flags == SupervisorFlags()


async def test_new_ids_are_there_and_stopped(stage: Stage) -> None:  # J 102
    async with open_supervisor(stage.specs("a"), strategy="one_for_all") as supervisor:
        await supervisor.reconfigure(stage.specs("bc"))
        assert states(supervisor) == {"a": "running", "b": "stopped", "c": "stopped"}

        await stage.crash("a")
        assert states(supervisor) == {"a": "running", "b": "stopped", "c": "stopped"}
        assert await supervisor.restart_child("b") == "b#1"
        await supervisor.delete_child("c")

        assert states(supervisor) == {"a": "running", "b": "running"}


async def test_a_changed_spec_leaves_the_child_running_until_its_next_start(
    stage: Stage,
) -> None:  # J 103
    async with open_supervisor(stage.specs("a")) as supervisor:
        spec = ChildSpec(id="a", start=stage.play, args=("other",), backoff=NO_BACKOFF)
        await supervisor.reconfigure([spec])
        assert supervisor.get_childspec("a") is spec
        assert (stage.journal, supervisor.value_of("a")) == (["start a"], "a#1")

        await stage.crash("a")

        assert stage.journal == ["start a", "stop a", "start other"]
        assert supervisor.which_children()[0].restarts == 1


async def test_the_new_restart_type_governs_the_exit(stage: Stage) -> None:  # J 103
    async with open_supervisor(stage.specs("abc")) as supervisor:
        await supervisor.reconfigure(
            [stage.spec("b", restart="transient"), stage.spec("c", restart="temporary")]
        )
        for id in "abc":
            await stage.leave(id)
            await supervisor.reconfigure(intensity=9)

        assert states(supervisor) == {"a": "running", "b": "finished"}


async def test_the_new_shutdown_governs_the_stop(
    autojump_clock: trio.testing.MockClock,
) -> None:  # J 103
    async def shielded(*, task_status: ChildStatus) -> None:
        with task_status.shield():
            task_status.started()
            await trio.sleep_forever()

    began = trio.current_time()
    async with open_supervisor([ChildSpec(id="a", start=shielded)]) as supervisor:
        await supervisor.reconfigure([ChildSpec(id="a", start=shielded, shutdown=2)])
        await supervisor.terminate_child("a")

    assert trio.current_time() - began == 2


async def test_an_actors_terminate_gets_the_new_shutdown_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:  # J 103
    class Lingers(Actor):
        async def terminate(self, reason: BaseException | None) -> None:
            await trio.sleep(50)

    began = trio.current_time()
    spec = Lingers.child_spec("a", shutdown=2)
    async with open_supervisor([spec]) as supervisor:
        await supervisor.reconfigure([attrs.evolve(spec, shutdown=100)])

    assert trio.current_time() - began == 50


async def test_the_new_way_to_give_up_governs_the_exit(stage: Stage) -> None:  # J 103
    async with open_supervisor(stage.specs("a"), intensity=0) as supervisor:
        await supervisor.reconfigure(stage.specs("a", on_give_up="park"))
        await stage.crash("a")

        assert states(supervisor) == {"a": "parked"}


async def test_a_parked_child_stays_parked(stage: Stage) -> None:
    specs = stage.specs("a", on_give_up="park")
    async with open_supervisor(specs, intensity=0) as supervisor:
        await stage.crash("a")
        await supervisor.reconfigure(stage.specs("a"), intensity=9)
        assert states(supervisor) == {"a": "parked"}

        await supervisor.restart_child("a")
        await stage.crash("a")

        assert states(supervisor) == {"a": "running"}


async def test_a_child_that_waits_for_its_restart_starts_by_the_new_spec(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    async with open_supervisor([stage.spec("a", backoff=PACE)], intensity=9) as supervisor:
        for _ in range(2):
            await stage.crash("a")
        spec = ChildSpec(id="a", start=stage.play, args=("other",))
        await supervisor.reconfigure([spec])
        assert states(supervisor) == {"a": "restarting"}
        await trio.sleep(1)
        await settle()

        assert supervisor.value_of("a") == "other#1"


async def test_a_finished_child_that_became_temporary_is_not_brought_back(stage: Stage) -> None:
    specs = stage.specs("ab", restart="transient")
    async with open_supervisor(specs, strategy="one_for_all") as supervisor:
        await stage.leave("a")
        await supervisor.reconfigure([stage.spec("a", restart="temporary")])
        await stage.crash("b")

        assert states(supervisor) == {"b": "running"}
        assert stage.starts["a"] == 1


async def test_ids_that_are_not_given_stay_and_go_to_the_front(stage: Stage) -> None:  # J 104
    async with open_supervisor(stage.specs("abcd")) as supervisor:
        await supervisor.reconfigure(stage.specs("xcb"))

        assert list(states(supervisor)) == ["a", "d", "x", "c", "b"]
        mark = len(stage.journal)

    assert stage.since(mark) == ["stop b", "stop c", "stop d", "stop a"]


async def test_nothing_given_changes_nothing(stage: Stage) -> None:  # J 105
    async with open_supervisor(stage.specs("ba"), intensity=3) as supervisor:
        before = supervisor.which_children()
        await supervisor.reconfigure()
        await supervisor.reconfigure([])

        assert supervisor.which_children() == before
        assert supervisor.flags == SupervisorFlags(intensity=3)


async def test_a_change_is_refused_once_the_supervisor_stops(stage: Stage) -> None:
    async with open_supervisor() as supervisor:
        pass

    with pytest.raises(SupervisorStoppedError, match="supervisor 'root'"):
        await supervisor.reconfigure(stage.specs("a"))


async def test_a_restarted_supervisor_has_its_first_configuration_again(stage: Stage) -> None:
    low = child_spec("low", stage.specs("a"), backoff=NO_BACKOFF)
    async with open_supervisor([low]) as top:
        await top.value_of("low").reconfigure(stage.specs("b"), intensity=9)
        top.value_of("low").stop()
        await settle()

        assert list(states(top.value_of("low"))) == ["a"]
        assert top.value_of("low").flags == SupervisorFlags()


# -- actors ------------------------------------------------------------------------------------


async def test_a_replaced_actor_is_gone_when_it_has_ended() -> None:
    async with open_supervisor([Slow.child_spec("a")]) as supervisor:
        before = supervisor.value_of("a")
        await supervisor.reconfigure([Slow.child_spec("a", backoff=NO_BACKOFF)])
        assert await before.call("x") == "x"  # it still runs

        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")

        with pytest.raises(ActorDownError, match="actor 'a' is gone"):
            await before.call("x")
        assert await supervisor.value_of("a").call("x") == "x"


async def test_a_stopped_actor_that_is_replaced_is_gone_at_once() -> None:
    async with open_supervisor([Slow.child_spec("a")]) as supervisor:
        before = supervisor.value_of("a")
        await supervisor.terminate_child("a")
        with pytest.raises(ActorDownError, match="actor 'a' is stopped"):
            await before.call("x")

        await supervisor.reconfigure([Slow.child_spec("a")])

        with pytest.raises(ActorDownError, match="actor 'a' is gone"):
            await before.call("x")


# -- dynamic supervisors -----------------------------------------------------------------------


async def test_flags_of_a_dynamic_supervisor_change(stage: Stage) -> None:  # J 106
    async with open_dynamic_supervisor(intensity=0) as pool:
        await pool.start_child(stage.spec("a"))
        await pool.reconfigure(intensity=2, period=8, auto_shutdown="all_significant")
        assert pool.flags == SupervisorFlags(intensity=2, period=8, auto_shutdown="all_significant")

        await stage.crash("a")
        await stage.crash("a")

        assert states(pool) == {"a": "running"}
        assert pool.max_children is None
