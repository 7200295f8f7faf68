"""Calling functions of the user's, async or plain."""

from __future__ import annotations

import inspect
from math import inf
from typing import TYPE_CHECKING, cast

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ._options import Target


@attrs.define(eq=False)
class Function:
    """A function that is awaited, whatever it is: a plain one runs in a thread.

    Cancelled, the thread goes on alone and its result is not looked at.

    Args:
      function: The function; async, or plain. What a plain one returns is awaited if it can be.
    """

    function: Target
    _is_async: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._is_async = is_async(self.function)

    async def __call__(self, *args: object) -> object:
        """Call it and return its result."""
        if self._is_async:
            result = await cast("Awaitable[object]", self.function(*args))
        else:
            (result,) = await trio.to_thread.run_sync(
                _boxed,
                self.function,
                *args,
                abandon_on_cancel=True,
                limiter=trio.CapacityLimiter(1),  # an abandoned thread would keep its place
            )
        return await result if inspect.isawaitable(result) else result


def is_async(function: object) -> bool:
    """Whether calling it makes a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


def without_cancelled(error: BaseException) -> BaseException | None:
    """Return an error without the cancellations in it; None if it holds nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1]
    return None if isinstance(error, trio.Cancelled) else error


def cancellation(error: BaseException) -> BaseException:
    """Return the cancellations that a group holds."""
    group = cast("BaseExceptionGroup[BaseException]", error)
    return cast("BaseException", group.split(trio.Cancelled)[0])


def was_cancelled(error: BaseException) -> bool:
    """Whether an error of a function that was awaited is, or holds, our own cancellation."""
    rest = without_cancelled(error)
    return rest is not error and trio.current_effective_deadline() == -inf


def is_failure(error: BaseException) -> bool:
    """Whether an error is the function's own: no exit, and no Ctrl-C.

    A cancellation that nobody asked for is one: it was raised anew, or is asyncio's.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_failure, error.exceptions))
    return not isinstance(error, KeyboardInterrupt | SystemExit)


def _boxed(function: Target, *args: object) -> tuple[object]:
    """Call a function; in a tuple, because trio lets no coroutine out of a thread."""
    return (function(*args),)
