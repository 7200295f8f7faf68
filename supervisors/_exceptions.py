"""Exceptions as facts: groups without their wrapping, and errors without their frames."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from ._errors import leaves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

_ORDINARY = (Exception, trio.Cancelled)
_RELEASED = "Traceback (its frames were released):"


@asynccontextmanager
async def bare_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery that is an implementation detail: one error leaves it as it is.

    Two errors leave it as a group. Cancellations beside an error are what it caused.
    """
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        error = _bare(group)
    if error is not None:
        raise error


def _bare(group: BaseExceptionGroup[BaseException]) -> BaseException:
    rest = group.split(trio.Cancelled)[1]
    if rest is None:
        return leaves(group)[0]
    return rest.exceptions[0] if len(rest.exceptions) == 1 else rest


def without_cancelled(error: BaseException) -> BaseException | None:
    """Return an error without the cancellations in it; None if it holds nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1]
    return None if isinstance(error, trio.Cancelled) else error


def release_groups(error: BaseException) -> None:
    """Let go of the frames of the groups that `without_cancelled` has made, not of their leaves."""
    if isinstance(error, BaseExceptionGroup):
        error.with_traceback(None)
        for each in error.exceptions:
            release_groups(each)


def fatal(error: BaseException) -> BaseException | None:
    """Return the Ctrl-C or the exit that an error holds: never a crash. None: it is one."""
    for leaf in leaves(error):
        if not isinstance(leaf, _ORDINARY):
            return leaf
    return None


def release_frames(error: BaseException) -> None:
    """Let go of the frames of an error that is kept: they hold the dead actor's state.

    Where each frame was stays readable, as a note of the error. (Clearing the frames instead
    would close a coroutine that is merely suspended, before Python 3.13.)
    """
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
        pending += (each.__cause__, each.__context__)
        if isinstance(each, AttributeError):
            each.obj = None  # often the actor itself
        if each.__traceback__ is None:
            continue
        lines = [_RELEASED]
        at: TracebackType | None = each.__traceback__
        while at is not None:
            code = at.tb_frame.f_code
            lines.append(f'  File "{code.co_filename}", line {at.tb_lineno}, in {code.co_name}')
            at = at.tb_next
        notes = getattr(each, "__notes__", [])
        kept = [note for note in notes if not str(note).startswith(_RELEASED)]
        # Not by assignment: a frozen dataclass that is an exception refuses any.
        BaseException.__setattr__(each, "__notes__", [*kept, "\n".join(lines)])
        each.with_traceback(None)
