"""Section I of the conformance list: significant children and automatic shutdown."""
# ruff: noqa: SIM117 - a caller outside the tree

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import Shutdown, child_spec, open_supervisor

from .kit import Boom, Stage, open_lasting, settle, states, until_cancelled

if TYPE_CHECKING:
    from supervisors import AutoShutdown, Strategy
    from tests.conftest import Events

MODES = ["any_significant", "all_significant"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_a_child_that_is_not_significant_never_ends_the_supervisor(
    stage: Stage, mode: AutoShutdown, restart: str
) -> None:  # I 85, 86
    specs = stage.specs("abc", restart=restart)  # type: ignore[arg-type]
    async with open_lasting(specs, auto_shutdown=mode, intensity=9) as supervisor:
        await stage.leave("a")
        await stage.crash("b")
        await supervisor.terminate_child("c")
        await settle()

        assert supervisor.count_children().active == (restart == "transient")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [None, Boom(), Shutdown()])
async def test_any_exit_of_a_significant_temporary_child_ends_it(
    stage: Stage, mode: AutoShutdown, error: Exception | None, events: Events
) -> None:  # I 87
    specs = [stage.spec("x"), stage.spec("a", restart="temporary", significant=True)]

    async with open_supervisor(specs, auto_shutdown=mode):
        stage.end("a", error)
        await until_cancelled()

    assert stage.journal[-1] == "stop x"
    assert [each["child"] for each in events if each["event"] == "supervisor_auto_shutdown"] == [
        "a"
    ]


@pytest.mark.parametrize("mode", MODES)
async def test_a_normal_exit_of_a_significant_transient_child_ends_it(
    stage: Stage, mode: AutoShutdown
) -> None:  # I 88
    async with open_supervisor(
        stage.specs("a", restart="transient", significant=True), auto_shutdown=mode
    ):
        stage.end("a")
        await until_cancelled()


@pytest.mark.parametrize("mode", MODES)
async def test_a_crash_of_a_significant_transient_child_restarts_it(
    stage: Stage, mode: AutoShutdown
) -> None:  # I 88
    specs = stage.specs("a", restart="transient", significant=True)
    async with open_lasting(specs, auto_shutdown=mode) as supervisor:
        await stage.crash("a")

        assert states(supervisor) == {"a": "running"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_terminate_child_of_a_significant_child_does_not_end_it(
    stage: Stage, mode: AutoShutdown, restart: str
) -> None:  # I 87, 88
    specs = stage.specs("a", restart=restart, significant=True)  # type: ignore[arg-type]
    async with open_lasting(specs, auto_shutdown=mode) as supervisor:
        await supervisor.terminate_child("a")
        await settle()

        assert supervisor.tree().state == "running"


async def test_all_significant_waits_for_the_last(stage: Stage) -> None:  # I 89
    specs = stage.specs("abc", restart="temporary", significant=True)
    async with open_supervisor(specs, auto_shutdown="all_significant") as supervisor:
        await stage.leave("b")
        await stage.crash("a")
        assert states(supervisor) == {"c": "running"}

        stage.end("c")
        await until_cancelled()


async def test_all_significant_waits_for_one_that_restarts(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    from supervisors import Backoff

    pace = Backoff(min=10, max=10, jitter=0)
    specs = stage.specs("ab", restart="transient", significant=True, backoff=pace)
    async with open_lasting(specs, auto_shutdown="all_significant", intensity=9) as supervisor:
        await stage.crash("a")
        await stage.crash("a")
        await stage.leave("b")

        assert states(supervisor) == {"a": "restarting", "b": "finished"}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
@pytest.mark.parametrize("mode", MODES)
async def test_the_death_of_a_bystander_does_not_end_it(
    stage: Stage, strategy: Strategy, mode: AutoShutdown
) -> None:  # I 91
    specs = [stage.spec("a"), stage.spec("b", restart="temporary", significant=True)]
    async with open_lasting(specs, strategy=strategy, auto_shutdown=mode) as supervisor:
        await stage.crash("a")

        assert states(supervisor) == {"a": "running"}


async def test_an_automatic_shutdown_cascades_through_a_significant_supervisor(
    stage: Stage,
) -> None:  # I 92
    low = child_spec(
        "low",
        stage.specs("a", restart="transient", significant=True),
        auto_shutdown="any_significant",
        restart="transient",
        significant=True,
    )
    async with open_supervisor([stage.spec("x"), low], auto_shutdown="any_significant"):
        stage.end("a")
        await until_cancelled()

    assert stage.journal[-1] == "stop x"


async def test_an_automatic_shutdown_does_not_cascade_further_than_that(
    stage: Stage,
) -> None:  # I 92
    low = child_spec(
        "low",
        stage.specs("a", restart="transient", significant=True),
        auto_shutdown="any_significant",
        restart="transient",
    )
    async with open_lasting([stage.spec("x"), low], auto_shutdown="any_significant") as top:
        await stage.leave("a")

        assert states(top) == {"x": "running", "low": "finished"}


async def test_wait_returns_after_an_automatic_shutdown(stage: Stage) -> None:
    specs = stage.specs("a", restart="temporary", significant=True)
    async with trio.open_nursery() as nursery:
        async with open_supervisor(specs, auto_shutdown="any_significant") as supervisor:
            nursery.start_soon(supervisor.wait)
            stage.end("a")
            await until_cancelled()
