"""What `queueactors run` tells now and then of how far it is."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import trio
from structlog.testing import capture_logs

from queueactors import open_runtime
from queueactors.cli._log import StatusLine
from queueactors.cli._run import _show_progress

if TYPE_CHECKING:
    from trio.testing import MockClock

QUEUE = {"kind": "timed", "reservation_time": 30}


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


async def test_progress_is_told_without_asking_a_queue(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"q": QUEUE}}) as runtime:
        await runtime.queue("q").insert("a", "b")
        async with runtime.queue("q").reserved():
            pass
        actor = runtime._queues["q"].actor  # noqa: SLF001 - nothing public tells its turns
        turned = actor.turned

        with capture_logs() as logs, trio.move_on_after(25):
            await _show_progress(runtime, StatusLine(StringIO()))

        told = [(each["done"], each["ready"]) for each in logs if each["event"] == "progress"]
        assert told == [(1, 1), (1, 1)]
        assert actor.turned == turned


async def test_the_more_queues_the_less_often_a_terminal_is_told(
    autojump_clock: MockClock,
) -> None:
    drawn = []
    for count in (1, 200):
        terminal = Terminal()
        async with open_runtime({"queue": {f"q{n}": QUEUE for n in range(count)}}) as runtime:
            with trio.move_on_after(10.1):
                await _show_progress(runtime, StatusLine(terminal))
        drawn.append(terminal.getvalue().count("done 0"))

    assert drawn == [40, 20]
