"""The options of an SQLite store that a reload changes in place."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from queueactors import SqliteStore, StoreError, open_runtime

from .test_waiting import A_WHILE, Switch, SwitchedDriver

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock


def tables(path: Path, **options: object) -> dict[str, object]:
    return {
        "store": {"disk": {"type": "sqlite", "path": str(path / "s"), **options}},
        "queue": {"jobs": {"kind": "timed", "reservation_time": 30, "store": "disk"}},
    }


async def test_what_callers_get_while_a_store_fails_is_live(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = Switch()
    monkeypatch.setattr(SqliteStore, "driver", SwitchedDriver(switch))
    async with open_runtime(tables(tmp_path, commit="loop")) as runtime:
        jobs = runtime.queue("jobs")
        switch.broken = ("INSERT",)
        with pytest.raises(StoreError):
            await jobs.insert("refused")

        result = await runtime.reload(tables(tmp_path, commit="loop", on_failure="wait"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jobs.insert, "waits")
            await trio.sleep(A_WHILE)
            switch.broken = ()

        assert [(each.what, each.outcome) for each in result.children] == [("store", "done")]
        assert (await jobs.reserve()).value == "waits"


@attrs.define(eq=False)
class Gate(Switch):
    """Which statements wait: those that begin with one of these words."""

    open: threading.Event = attrs.field(factory=threading.Event)

    def check(self, sql: str) -> None:
        if sql.startswith(self.broken):
            self.open.wait(10)


async def test_the_timeout_of_a_commit_is_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(SqliteStore, "driver", SwitchedDriver(gate))
    async with open_runtime(tables(tmp_path, commit="thread", timeout=60)) as runtime:
        await runtime.reload(tables(tmp_path, commit="thread", timeout=0.2))
        gate.broken = ("COMMIT",)

        with trio.fail_after(5), pytest.raises(StoreError, match=r"not committed within 0.2 s"):
            await runtime.queue("jobs").insert("late")

        gate.broken = ()
        gate.open.set()
