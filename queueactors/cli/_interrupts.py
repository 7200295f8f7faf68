"""What Ctrl-C does to a command."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")


def run_loop(main: Callable[[], Awaitable[T]]) -> T:
    """Run trio's loop.

    Raises:
      KeyboardInterrupt: At Ctrl-C, in whichever task it lands, and whatever that made fail.
    """
    import trio

    try:
        return trio.run(main, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
    raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Say at Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on where it was", err=True)
        raise
