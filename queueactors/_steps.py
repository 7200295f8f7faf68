"""Work in steps: a generator that yields now and then, so that others may run, and has a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from trio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


def at_once(steps: Generator[None, None, T]) -> T:
    """Return what steps make; nothing else runs meanwhile."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("T", end.value)


async def in_turns(steps: Generator[None, None, T]) -> T:
    """Return what steps make; others run in between."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("T", end.value)
        await checkpoint()
