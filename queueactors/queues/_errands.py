"""Errands: what a core asks for and cannot do itself, because it takes time.

Two things: to call the refill function when takers found nothing, and to carry exhausted
messages to the queue for dead letters. A child of its own beside the queue actor, so that
neither blocks the queue, and so that a refill outlives a crash of the queue's actor: its values
are inserted by whatever incarnation is there when it ends.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING, cast

import attrs
import structlog
import trio

from queueactors._errors import QueueActorsError, QueueClosedError
from queueactors._insist import insist
from supervisors import ActorError, Operation, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from queueactors.cores.timed import DeadLetter
    from supervisors import ChildStatus

    from ._actor import QueueActor
    from ._options import TimedOptions

RETRY_AFTER = 5.0  # seconds until a dead letter is offered again to a queue that is down


@attrs.define(eq=False)
class Errands:
    """Runs the errands of one queue: a child's start function.

    Args:
      actor: The queue's.
      options: The queue's: the refill function and its times.
      deliver: Inserts a dead letter into the queue that ``on_exhausted`` names.
    """

    actor: QueueActor
    options: TimedOptions
    deliver: Callable[[DeadLetter], Awaitable[object]] | None
    _due: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.actor.on_errand = self.wake

    def wake(self) -> None:
        """Look again for something to do."""
        self._due.set()

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Run errands until cancelled."""
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
        log = log.bind(queue=self.actor.name)
        task_status.started()
        if self.options.sync_fn is not None:
            await self._ask("refill_lost")  # a former incarnation may have died over one
        retry_after = 0.0  # what a former incarnation left undone is looked for at once
        async with trio.open_nursery() as nursery:
            while True:
                with trio.move_on_after(retry_after):
                    await self._due.wait()
                self._due = trio.Event()
                if self.options.sync_fn is not None and await self._ask("begin_refill"):
                    nursery.start_soon(self._refill, log)
                retry_after = inf if await self._post(log) else RETRY_AFTER

    async def _refill(self, log: structlog.typing.FilteringBoundLogger) -> None:
        values: list[object] | None = None
        try:
            with trio.fail_after(self.options.sync_timeout or inf):
                values = await self._call_refill()
            added = await self._ask("refilled", values)
        except Exception as error:
            log.exception("refill_failed", error=describe(error))
            await self._ask("refilled", None)
        else:
            log.info("refilled", values=len(values), inserted=added)

    async def _call_refill(self) -> list[object]:
        function = cast("Callable[..., object]", self.options.sync_fn)  # type: ignore[explicit-any]
        if inspect.iscoroutinefunction(function):
            return _values(await function(*self.options.sync_args))
        return await trio.to_thread.run_sync(
            lambda: _values(function(*self.options.sync_args)), abandon_on_cancel=True
        )

    async def _post(self, log: structlog.typing.FilteringBoundLogger) -> bool:
        """Insert dead letters over there, then remove them here; return whether all went."""
        if self.deliver is None:
            return True
        for letter in cast("list[DeadLetter]", await self._ask("dead_letters")):
            try:
                await self.deliver(letter)
            except QueueClosedError as error:
                log.warning("dead_letter_refused", id=letter.id, error=describe(error))
                await self._ask("bury_dead", letter.id)
            except (ActorError, QueueActorsError) as error:
                log.warning("dead_letter_waits", id=letter.id, error=describe(error))
                return False
            else:
                await self._ask("remove", (letter.id,))
        return True

    async def _ask(self, method: str, *args: object) -> object:
        return await insist(lambda: self.actor.mailbox.call(Operation(method, args)))


def _values(result: object) -> list[object]:
    """Return what a refill function returned, as a list.

    Raises:
      TypeError: If it is not an iterable of values; a string or a mapping is none.
    """
    if isinstance(result, Iterable) and not isinstance(result, str | bytes | Mapping):
        return list(result)
    raise TypeError(f"expected sync_fn to return an iterable of values, got {result!r}")
