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
from typing import TYPE_CHECKING, Final, cast

import attrs
import structlog
import trio
from trio.lowlevel import checkpoint_if_cancelled

from queueactors._call import is_async
from queueactors._errors import CodecError, QueueActorsError
from queueactors._insist import insist
from queueactors._state_errors import QueueClosedError
from queueactors.cores.timed import check_unique
from supervisors import ActorError, bare_nursery, describe

from ._actor import RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from queueactors._codecs import Values
    from queueactors.cores.timed import DeadLetter
    from supervisors import ChildStatus

    from ._actor import QueueActor
    from ._options import TimedOptions

GRACE: Final = 1.0  # seconds


@attrs.define(eq=False)
class Errands:
    """Runs the errands of one queue: a child's start function.

    Args:
      actor: The queue's.
      refill: The queue's options: the refill function and its times; None: it has none.
      deliver: Inserts a dead letter into the queue that ``on_exhausted`` names; None: none does.
      values: How the queue's values are encoded; None: they are not.
    """

    actor: QueueActor
    refill: TimedOptions | None
    deliver: Callable[[DeadLetter], Awaitable[object]] | None
    values: Values | None = None
    _refill_due: trio.Event = attrs.field(factory=trio.Event, init=False)
    _letters_due: trio.Event = attrs.field(factory=trio.Event, init=False)
    # One thread: a refill that hangs must not take a new one at each interval.
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)

    def __attrs_post_init__(self) -> None:
        self.actor.on_errand = self.wake

    def wake(self) -> None:
        """Look again for something to do."""
        self._refill_due.set()
        self._letters_due.set()

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Run errands until cancelled; what a former incarnation left undone comes first."""
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
        log = log.bind(queue=self.actor.name)
        task_status.started()
        async with bare_nursery() as nursery:
            nursery.start_soon(self._refills, log)
            nursery.start_soon(self._letters, log)

    def reconfigure(
        self, refill: TimedOptions | None, deliver: Callable[[DeadLetter], Awaitable[object]] | None
    ) -> None:
        """Go by other options from now on; a refill that runs goes on."""
        self.refill, self.deliver = refill, deliver
        self.wake()

    # -- refills -------------------------------------------------------------------------------

    async def _refills(self, log: structlog.typing.FilteringBoundLogger) -> None:
        begun = False
        while True:
            self._refill_due = trio.Event()
            options = self.refill
            if options is not None:
                if not begun:  # a former incarnation may have died over one
                    await self.actor.ask("refill_lost")
                    begun = True
                if await self.actor.ask("begin_refill"):
                    await self._refill(options, log)
            await self._refill_due.wait()

    async def _refill(
        self, options: TimedOptions, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        try:
            with trio.fail_after(options.sync_timeout or inf):
                values = await self._call_refill(options)
            if options.unique:
                check_unique(values)
            if self.values is not None:
                values = list(map(self.values.encode, values))
            added = await self.actor.ask("refilled", values)
        except Exception as error:
            log.exception("refill_failed", error=describe(error))
            await self.actor.ask("refilled", None, error)
        else:
            log.info("refilled", values=len(values), inserted=added)

    async def _call_refill(self, options: TimedOptions) -> list[object]:
        function = cast("Callable[..., object]", options.sync_fn)  # type: ignore[explicit-any]
        arguments = options.sync_args
        if is_async(function):
            return _values(await cast("Awaitable[object]", function(*arguments)))

        def call() -> list[object] | tuple[Awaitable[object]]:
            result = function(*arguments)
            # In a tuple, because trio refuses to bring a coroutine back from a thread.
            return (result,) if inspect.isawaitable(result) else _values(result)

        result = await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._thread)
        return _values(await result[0]) if isinstance(result, tuple) else result

    # -- dead letters --------------------------------------------------------------------------

    async def _letters(self, log: structlog.typing.FilteringBoundLogger) -> None:
        while True:
            self._letters_due = trio.Event()
            deliver = self.deliver
            if deliver is None or await self._post(deliver, log):
                await self._letters_due.wait()
            else:
                await trio.sleep(RETRY_AFTER)

    async def _post(
        self,
        deliver: Callable[[DeadLetter], Awaitable[object]],
        log: structlog.typing.FilteringBoundLogger,
    ) -> bool:
        """Insert dead letters over there, then remove them here; return whether all went."""
        while letters := cast("list[DeadLetter]", await self.actor.ask("dead_letters")):
            for letter in letters:
                try:
                    plain = self._decoded(letter)
                    await insist(lambda: deliver(plain))  # noqa: B023 - awaited at once
                except (QueueClosedError, CodecError, TypeError) as error:  # it cannot be compared
                    log.warning("dead_letter_refused", id=letter.id, error=describe(error))
                    await self.actor.ask("bury_dead", letter.id)
                except (ActorError, QueueActorsError) as error:
                    log.warning("dead_letter_waits", id=letter.id, error=describe(error))
                    return False
                else:
                    await self._remove(letter)
        return True

    async def _remove(self, letter: DeadLetter) -> None:
        """Remove what was delivered; errands that are stopped have a moment left for that.

        Otherwise it would be delivered again. (In the store it has left this queue already, if the
        other one is in the same.)
        """
        done = False
        while not done:
            with trio.move_on_after(GRACE, shield=True):
                await self.actor.ask("remove", (letter.id,))
                done = True
            await checkpoint_if_cancelled()

    def _decoded(self, letter: DeadLetter) -> DeadLetter:
        if self.values is None:
            return letter
        return attrs.evolve(letter, value=self.values.decode(letter.value))


def _values(result: object) -> list[object]:
    """Return what a refill function returned, as a list.

    Raises:
      TypeError: If it is not an iterable of values; a string or a mapping is none.
    """
    if isinstance(result, Iterable) and not isinstance(result, str | bytes | Mapping):
        return list(result)
    raise TypeError(f"expected sync_fn to return an iterable of values, got {result!r}")
