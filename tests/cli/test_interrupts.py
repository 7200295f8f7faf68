"""Ctrl-C, wherever it lands."""

from __future__ import annotations

import pytest
import trio

from queueactors.cli._interrupts import run_loop


@pytest.mark.parametrize("task", ["main", "other"])
def test_what_an_interrupt_makes_fail_is_not_told(task: str) -> None:
    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("by that")

    async def interrupt() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            if task == "main":
                await interrupt()
            nursery.start_soon(interrupt)

    with pytest.raises(KeyboardInterrupt):
        run_loop(main)


def test_other_errors_are_as_they_were() -> None:
    async def main() -> None:
        async with trio.open_nursery():
            raise ValueError("bad")

    with pytest.raises(ExceptionGroup) as raised:
        run_loop(main)

    assert [*map(repr, raised.value.exceptions)] == ["ValueError('bad')"]
