"""Section D of the conformance list: restart types."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from supervisors import ChildSpec, Shutdown, open_supervisor

from .kit import Boom, Stage, settle, states

if TYPE_CHECKING:
    from supervisors import ChildStatus, RestartType, Strategy
    from tests.conftest import Events

ENDINGS = {
    "normal": None,
    "shutdown": Shutdown(),
    "shutdown with info": Shutdown("done"),
    "group of shutdowns": ExceptionGroup("", [Shutdown(), ExceptionGroup("", [Shutdown()])]),
    "crash": Boom(),
    "mixed group": ExceptionGroup("", [Shutdown(), Boom()]),
}
ABNORMAL = {"crash", "mixed group"}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_the_restart_type_and_the_exit_decide(
    stage: Stage, restart: RestartType, ending: str
) -> None:  # D 43 to 51
    async with open_supervisor(stage.specs("a", restart=restart)) as supervisor:
        stage.end("a", ENDINGS[ending])
        await settle()

        restarted = restart == "permanent" or (restart == "transient" and ending in ABNORMAL)
        left = {} if restart == "temporary" else {"a": "finished"}
        assert states(supervisor) == ({"a": "running"} if restarted else left)
        assert stage.starts["a"] == 1 + restarted


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_temporary_bystander_does_not_come_back(
    stage: Stage, strategy: Strategy
) -> None:  # D 52
    specs = [stage.spec("a"), stage.spec("b", restart="temporary"), stage.spec("c")]
    async with open_supervisor(specs, strategy=strategy) as supervisor:
        await stage.crash("a")

        assert states(supervisor) == {"a": "running", "c": "running"}
        assert stage.starts["b"] == 1


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@pytest.mark.parametrize("how", ["crash", "normal", "api"])
async def test_the_spec_of_a_temporary_child_vanishes(
    stage: Stage, strategy: Strategy, how: str
) -> None:  # D 53
    specs = [stage.spec("a", restart="temporary"), stage.spec("b")]
    async with open_supervisor(specs, strategy=strategy) as supervisor:
        if how == "api":
            await supervisor.terminate_child("a")
        else:
            stage.end("a", Boom() if how == "crash" else None)
            await settle()

        assert states(supervisor) == {"b": "running"}


async def test_a_temporary_childs_exit_has_no_effect_on_siblings(stage: Stage) -> None:
    specs = [stage.spec("a", restart="temporary"), stage.spec("b")]
    async with open_supervisor(specs, strategy="one_for_all", intensity=0):
        await stage.crash("a")

        assert stage.starts["b"] == 1


async def test_the_arguments_of_an_ended_temporary_child_are_let_go() -> None:  # D 54
    class Cargo:
        pass

    async def start(_cargo: Cargo, *, task_status: ChildStatus) -> None:
        task_status.started()

    cargo = Cargo()
    alive = weakref.ref(cargo)
    async with open_supervisor() as supervisor:
        await supervisor.start_child(
            ChildSpec(id="a", start=start, args=(cargo,), restart="temporary")
        )
        await settle()
        del cargo
        gc.collect()

        assert alive() is None


async def test_a_normal_exit_of_a_permanent_child_is_logged(stage: Stage, events: Events) -> None:
    async with open_supervisor(stage.specs("a")):
        await stage.leave("a")

    exits = [each for each in events if each["event"] == "child_exited"]
    assert [(each["child"], each["kind"]) for each in exits] == [("a", "normal")]


async def test_a_crash_of_a_temporary_child_is_logged(stage: Stage, events: Events) -> None:
    async with open_supervisor(stage.specs("a", restart="temporary")):
        await stage.crash("a")

    crashes = [each for each in events if each["event"] == "child_crashed"]
    assert [(each["child"], each["log_level"]) for each in crashes] == [("a", "error")]
