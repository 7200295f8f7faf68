"""Dynamic supervisors: section by section what the conformance list says of them, and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from supervisors import Backoff, ChildSpec, open_dynamic_supervisor

from .kit import Stage, states

if TYPE_CHECKING:
    from supervisors import ChildStatus

PACE = Backoff(min=1, max=1, jitter=0)


async def slow_to_start(seconds: float, *, task_status: ChildStatus) -> None:
    await trio.sleep(seconds)
    task_status.started()
    await trio.sleep_forever()


# -- a restart that fails ----------------------------------------------------------------------


async def test_a_restart_that_a_waiting_call_ends_is_not_made(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    """It falls due while the supervisor is busy: the call is not next, but it comes first."""
    async with trio.open_nursery() as nursery, open_dynamic_supervisor(intensity=9) as pool:
        child = await pool.start_child(stage.spec("a", backoff=PACE))
        stage.fails_next("a")
        await stage.crash("a")
        assert child.state == "restarting"

        for spec in (ChildSpec(id="b", start=slow_to_start, args=(2,)), stage.spec("c")):
            nursery.start_soon(pool.start_child, spec)
            await trio.sleep(0.1)
        await child.terminate()

        assert states(pool) == {"b": "running", "c": "running"}
        assert stage.starts["a"] == 2
