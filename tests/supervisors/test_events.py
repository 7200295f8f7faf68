"""Every event of a supervisor: docs/events.md has its level and keys, and here it is emitted."""
# ruff: noqa: PT012 - what raises is a whole `async with`

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

import supervisors
from supervisors import (
    IGNORE,
    Backoff,
    ChildSpec,
    ChildStartError,
    RestartIntensityError,
    Shutdown,
    describe,
    open_supervisor,
)
from tests.listed import documented_events

from .kit import Boom, Stage, idle, settle, until_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisors import ChildStatus
    from tests.conftest import Events

Facts = dict[str, object]


@attrs.frozen
class Scenario:
    """What makes a supervisor emit an event, and the facts that it then has."""

    play: Callable[[Stage], Awaitable[None]]
    facts: list[Facts]


SCENARIOS: dict[str, Scenario] = {}


def tells(
    event: str, *facts: Facts
) -> Callable[[Callable[[Stage], Awaitable[None]]], Callable[[Stage], Awaitable[None]]]:
    def add(play: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
        SCENARIOS[event] = Scenario(play, [{"supervisor": "top", **each} for each in facts])
        return play

    return add


@tells("supervisor_started", {"children": 2})
async def _(stage: Stage) -> None:
    async with open_supervisor(stage.specs("ab"), name="top"):
        pass


@tells("supervisor_stopped", {"error": None})
async def _(stage: Stage) -> None:
    async with open_supervisor(stage.specs("ab"), name="top"):
        pass


@tells("supervisor_auto_shutdown", {"child": "a"})
async def _(stage: Stage) -> None:
    specs = stage.specs("a", restart="temporary", significant=True)
    async with open_supervisor(specs, name="top", auto_shutdown="any_significant"):
        stage.end("a")
        await until_cancelled()


@tells("restart_intensity_reached", {"child": "a"})
async def _(stage: Stage) -> None:
    with pytest.raises(RestartIntensityError):
        async with open_supervisor(stage.specs("a"), name="top", intensity=0):
            await stage.crash("a")


@tells(
    "supervisor_signal",
    {"signal": "SIGTERM", "then": "stop in order"},
    {"signal": "SIGINT", "then": "kill"},
)
async def _(stage: Stage) -> None:
    stage.slow["a"] = 1

    async with open_supervisor(stage.specs("a"), name="top", signals=True):
        signal.raise_signal(signal.SIGTERM)
        try:
            await until_cancelled()
        finally:
            signal.raise_signal(signal.SIGINT)


@tells("child_started", {"child": "a"}, {"child": "b"})
async def _(stage: Stage) -> None:
    async with open_supervisor(stage.specs("ab"), name="top"):
        pass


async def ignoring(*, task_status: ChildStatus) -> None:
    task_status.started(IGNORE)


@tells("child_ignored", {"child": "a"})
async def _(_stage: Stage) -> None:
    async with open_supervisor([ChildSpec(id="a", start=ignoring)], name="top"):
        pass


@tells("child_start_failed", {"child": "a", "exc_info": "Boom: a does not start"})
async def _(stage: Stage) -> None:
    stage.fails_next("a")
    with pytest.raises(ChildStartError):
        async with open_supervisor(stage.specs("a"), name="top"):
            pytest.fail("the body must not run")


@tells("child_crashed", {"child": "a", "exc_info": "Boom: a"})
async def _(stage: Stage) -> None:
    async with open_supervisor(stage.specs("a"), name="top"):
        await stage.crash("a")


@tells("child_exited", {"child": "a", "kind": "normal"}, {"child": "b", "kind": "shutdown"})
async def _(stage: Stage) -> None:
    async with open_supervisor(stage.specs("ab", restart="temporary"), name="top"):
        await stage.leave("a")
        stage.end("b", Shutdown())
        await settle()


@tells("child_backoff", {"child": "a", "seconds": 1.235})
async def _(stage: Stage) -> None:
    pace = Backoff(min=1.23456, max=9, jitter=0)
    async with open_supervisor(stage.specs("a", backoff=pace), name="top", intensity=9):
        await stage.crash("a")  # that restart is immediate
        await stage.crash("a")


@tells("child_restarted", {"child": "a", "restarts": 1}, {"child": "a", "restarts": 2})
async def _(stage: Stage) -> None:
    async with open_supervisor(stage.specs("a"), name="top", intensity=9):
        await stage.crash("a")
        await stage.crash("a")


@tells("child_interrupted", {"child": "a", "error": "SystemExit: 3"})
async def _(stage: Stage) -> None:
    with pytest.raises(SystemExit):
        async with open_supervisor(stage.specs("a"), name="top"):
            stage.end("a", SystemExit(3))
            await until_cancelled()


@tells("child_parked", {"child": "a", "error": "Boom: a"})
async def _(stage: Stage) -> None:
    async with open_supervisor(stage.specs("a", on_give_up="park"), name="top", intensity=0):
        await stage.crash("a")


@tells("child_stopped", {"child": "b"}, {"child": "a"})
async def _(stage: Stage) -> None:
    async with open_supervisor(stage.specs("ab"), name="top"):
        pass


@tells("child_stop_error", {"child": "a", "exc_info": "Boom: a"})
async def _(stage: Stage) -> None:
    async def failing(*, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise Boom("a")

    async with open_supervisor([ChildSpec(id="a", start=failing)], name="top"):
        await settle()


async def stubborn(*, task_status: ChildStatus) -> None:
    task_status.started()
    with trio.CancelScope(shield=True):
        await trio.sleep(30)


@tells("child_killed", {"child": "b", "after_seconds": 1.235})
async def _(_stage: Stage) -> None:
    specs = [
        ChildSpec(id="a", start=idle, shutdown="brutal"),  # no news: it was to be killed
        ChildSpec(id="b", start=stubborn, shutdown=1.23456),
    ]
    async with open_supervisor(specs, name="top"):
        await settle()


@tells("child_unkillable", {"child": "a", "stack": True})
async def _(_stage: Stage) -> None:
    async with open_supervisor([ChildSpec(id="a", start=stubborn, shutdown=1)], name="top"):
        await settle()


def facts(each: dict[str, object]) -> Facts:
    """Return the facts of an event; errors as text, and of a stack that it says where."""
    told = {key: value for key, value in each.items() if key not in ("event", "log_level")}
    if isinstance(told.get("exc_info"), BaseException):
        told["exc_info"] = describe(told["exc_info"])  # type: ignore[arg-type]
    if "stack" in told:
        told["stack"] = "in stubborn" in str(told["stack"])
    return told


@pytest.mark.parametrize("event", documented_events("supervisors"))
async def test_an_event_is_emitted_with_its_facts(
    event: str, stage: Stage, events: Events, autojump_clock: trio.testing.MockClock
) -> None:
    """That its level and keys are those of the docs, the fixture ``events`` checks in all tests."""
    await SCENARIOS[event].play(stage)

    assert [facts(dict(each)) for each in events if each["event"] == event] == SCENARIOS[
        event
    ].facts


def test_every_event_of_the_code_is_in_the_docs() -> None:
    folder = Path(supervisors.__file__).parent
    code = "".join(each.read_text() for each in folder.glob("*.py"))

    emitted = re.findall(r'log\.(?:debug|info|warning|error)\(\s*"(\w+)"', code)

    assert set(emitted) == set(documented_events("supervisors")) == set(SCENARIOS)


async def test_the_error_that_ended_a_supervisor_is_told(stage: Stage, events: Events) -> None:
    with pytest.raises(RestartIntensityError):
        async with open_supervisor(stage.specs("a"), intensity=0):
            await stage.crash("a")

    (told,) = [each["error"] for each in events if each["event"] == "supervisor_stopped"]
    assert str(told).startswith("RestartIntensityError: supervisor 'root' gave up")
