"""Processing: a batch queue's workers claim batches and call the process function for them.

A child of its own beside the queue actor, so that neither blocks the other. Between two attempts
a batch waits in the queue, not here: a worker is free for another one at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

import attrs
import structlog
import trio
from trio.lowlevel import checkpoint_if_cancelled

from queueactors._call import Function, cancellation, is_failure, was_cancelled, without_cancelled
from queueactors._errors import StoreError
from queueactors._histogram import Histogram
from queueactors._insist import insist
from queueactors._options import check_seconds
from queueactors._state_errors import QueueClosedError
from queueactors.engines import TAKERS
from queueactors.retry import FOR_EVER
from supervisors import ActorDownError, ActorError, Operation, bare_nursery, describe

from ._actor import RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from random import Random

    from queueactors._options import Target
    from queueactors.cores.batch import Claimed
    from supervisors import ChildStatus

    from ._actor import QueueActor
    from ._batch import BatchQueue
    from ._batch_kind import BatchKind
    from ._batch_options import BatchOptions

GRACE: Final = 1.0  # seconds that one who is cancelled has to tell the queue
BOUNDS: Final = tuple(0.001 * 2**power for power in range(12))  # seconds; seed 003's, to 2.048

Log = structlog.typing.FilteringBoundLogger


@attrs.define(eq=False)
class Processing:
    """Runs the process function of one queue: a child's start function.

    Args:
      actor: The queue's.
      options: The queue's.
      kind: Makes items of what was stored.
      random: For the jitter of waits.
    """

    actor: QueueActor
    options: BatchOptions
    kind: BatchKind
    random: Random
    inside: BatchQueue = attrs.field(init=False)  # the handle that the function gets
    _function: Function = attrs.field(init=False)
    _durations: Histogram = attrs.field(factory=lambda: Histogram(BOUNDS), init=False)
    _keys: set[int] = attrs.field(factory=set, init=False)  # of the claims it has
    _asking: set[Operation] = attrs.field(factory=set, init=False)  # for claims
    _scope: trio.CancelScope | None = attrs.field(default=None, init=False)  # around all workers
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)  # none of them runs

    def __attrs_post_init__(self) -> None:
        self._function = Function(self.options.process)
        self.actor.durations = self._durations
        self._ended.set()

    def reconfigure(self, options: BatchOptions) -> None:
        """Go by other options from now on; calls that run go on. How many may: from a restart."""
        self.options = options
        self._function = Function(options.process)

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Process batches until cancelled; what a former incarnation had is free at once."""
        log: Log = structlog.get_logger("queueactors")
        log = log.bind(queue=self.actor.name)
        self._keys.clear()
        self._ended = trio.Event()
        task_status.started()
        try:
            with trio.CancelScope() as self._scope:
                await self.actor.ask("keep", ())
                async with bare_nursery() as nursery:
                    for _ in range(self.options.workers):
                        nursery.start_soon(self._work, log)
        finally:
            self._scope = None
            self._ended.set()
        await trio.sleep_forever()  # a child that ends would be started again

    async def end(self, seconds: float) -> bool:
        """Cancel all calls, for good, and wait for their ends; return False if some go on.

        Args:
          seconds: To wait at most.
        """
        if self._scope is not None:
            self._scope.cancel()
        with trio.move_on_after(seconds):
            await self._ended.wait()
        return self._ended.is_set()

    # -- one worker ------------------------------------------------------------------------------

    async def _work(self, log: Log) -> None:
        """Claim and process, until the queue is closed."""
        ended: tuple[int, int] | None = None  # the claim before, and how many items it was
        try:
            while True:
                claimed: Claimed | None = None
                if ended is not None:
                    claimed = await self._claim(log, ended)
                    self._keys.discard(ended[0])
                    ended = None
                if claimed is None:
                    claimed = await self._claim(log)
                if claimed is not None:
                    ended = await self._process(claimed, log)
        except QueueClosedError:
            ended = None  # that was told, too
        finally:
            if ended is not None:
                await self._tell_at_last("done", *ended)

    async def _claim(self, log: Log, ended: tuple[int, int] | None = None) -> Claimed | None:
        """Wait for the next batches.

        Args:
          log: The log.
          ended: What was processed before. It ends in the same turn of the queue, and in the same
            commit; so this does not wait: an operation that does may stand behind others, and
            would end nothing until it has its turn. None is returned if there are no batches.

        Raises:
          QueueClosedError: If there will be none; ``ended`` has happened.
        """
        arguments = (self.options.batches, ended)
        waits = TAKERS if ended is None else None
        while True:
            try:
                return await insist(lambda: self._ask_for_claim(arguments, waits))
            except ActorDownError:
                await trio.sleep(RETRY_AFTER)
            except StoreError as error:
                # Perhaps it is claimed all the same, and nobody would know of it.
                await self._failed_inside(error, log)
                await trio.sleep(RETRY_AFTER)
                await self.actor.ask("keep", self.known())

    async def _ask_for_claim(
        self, arguments: tuple[object, ...], waits: str | None
    ) -> Claimed | None:
        operation = Operation("claim", arguments, waits=waits)
        self._asking.add(operation)
        try:
            return cast("Claimed | None", await self.actor.mailbox.call(operation))
        finally:
            self._asking.discard(operation)

    def known(self) -> Known:
        """Return the keys of the claims that somebody here knows of, or is about to."""
        return Known(self._keys, self._asking)

    async def _process(self, claimed: Claimed, log: Log) -> tuple[int, int] | None:
        """Call the function; return what ended with success, to be told with the next claim."""
        key = claimed.key
        log = log.bind(ids=claimed.ids, attempt=claimed.attempt, claims=claimed.claims)
        self._keys.add(key)
        done = False
        try:
            items = await self._items(claimed, log)
            done = items is not None and await self._call(claimed, items, log)
            return (key, len(items)) if done and items is not None else None
        finally:
            if not done:  # otherwise nobody else may have it until that was told
                self._keys.discard(key)

    async def _items(self, claimed: Claimed, log: Log) -> list[object] | None:
        """Return the items of what was claimed; None: they cannot be had, and the queue knows."""
        try:
            return self.kind.merged(claimed.values)
        except Exception as error:
            log.exception("batch_not_read", error=describe(error))
            await self._failed_inside(error, log)
            await self._retry(claimed, error, log)
            return None

    async def _call(self, claimed: Claimed, items: list[object], log: Log) -> bool:
        """Call the function; return whether it did it. Otherwise the queue knows what to do."""
        name, began = self.actor.name, trio.current_time()
        try:
            await checkpoint_if_cancelled()  # it was closed, or stopped, in the turn of the claim
            with structlog.contextvars.bound_contextvars(
                queue=name, ids=claimed.ids, attempt=claimed.attempt
            ):
                await self._function(self.inside, items)
        except BaseException as error:
            cancelled = was_cancelled(error)
            if cancelled or not is_failure(error):
                await self._tell_at_last("give_back", claimed.key)
                rest = without_cancelled(error)
                if cancelled and isinstance(rest, Exception):
                    log.warning("batch_failed", error=describe(rest), exc_info=rest)
                    raise cancellation(error) from None
                raise
            self._durations.observe(trio.current_time() - began)
            log.warning(
                "batch_failed",
                error=describe(error),
                exc_info=error if claimed.attempt == 1 else None,  # one traceback is enough
            )
            try:
                await self._retry(claimed, error, log)
            finally:
                await self._handle_error(self.options.on_process_error, error, log)
            return False
        self._durations.observe(trio.current_time() - began)
        return True

    async def _retry(self, claimed: Claimed, error: BaseException, log: Log) -> None:
        """Tell the queue when batches are to be tried again."""
        delay, cooldown = self._delay(claimed.attempt, log)
        arguments = (claimed.key, _encodable(describe(error)), delay, cooldown)
        try:
            await self.actor.ask("failed", *arguments)
        except trio.Cancelled:
            await self._tell_at_last("failed", *arguments)
            raise

    def _delay(self, attempt: int, log: Log) -> tuple[int | None, int]:
        """Return what the retry policy says: the wait, and the rest after the last attempt."""
        policy = self.options.retry
        try:
            seconds = policy.delay(attempt, self.random)
            rest: object = getattr(policy, "cooldown", 0.0)
            check_seconds("the delay of the retry policy", 0.0 if seconds is None else seconds)
            check_seconds("the cooldown of the retry policy", rest)
        except Exception as error:
            log.exception("retry_failed", error=describe(error))
            seconds, rest = FOR_EVER.delay(attempt, self.random), 0.0
        wait = None if seconds is None else round(seconds * 1e9)
        return wait, round(cast("float", rest) * 1e9)

    async def _failed_inside(self, error: Exception, log: Log) -> None:
        await self._handle_error(self.options.on_internal_error, error, log)

    @staticmethod
    async def _handle_error(handler: Target | None, error: BaseException, log: Log) -> None:
        """Call an error handler of the user's."""
        if handler is None:
            return
        try:
            result = handler(error)
            if inspect.isawaitable(result):
                await cast("Awaitable[object]", result)
        except Exception as failure:
            log.exception("error_handler_failed", error=describe(failure))

    # -- telling the queue -----------------------------------------------------------------------

    async def _tell_at_last(self, method: str, *args: object) -> None:
        """Call the queue's actor though this task is cancelled; leave word if it is down."""
        call: Callable[[], Awaitable[object]] = lambda: self.actor.mailbox.call(  # noqa: E731
            Operation(method, args)
        )
        with trio.move_on_after(GRACE, shield=True) as patience, suppress(ActorError, StoreError):
            await insist(call)
        if patience.cancelled_caught:
            with suppress(trio.WouldBlock, ActorError):  # then the next incarnation asks to `keep`
                self.actor.mailbox.cast(Operation(method, args))


@attrs.frozen
class Known(Collection[int]):
    """The keys of claims that are known, at the instant of the question.

    Live, because the queue may decide a claim and a ``keep`` in one turn: the one who is to have
    that claim has not heard of it.

    Args:
      keys: Of the claims that somebody has.
      asking: The operations that ask for claims.
    """

    keys: set[int]
    asking: set[Operation]

    def __contains__(self, key: object) -> bool:
        """Whether somebody has that claim, or is about to."""
        return key in self.keys or key in self._told()

    def __iter__(self) -> Iterator[int]:
        """Yield all of them."""
        yield from self.keys
        yield from self._told()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.keys) + len(self._told())

    def _told(self) -> list[int]:
        claims = (cast("Claimed | None", operation.value) for operation in self.asking)
        return [claimed.key for claimed in claims if claimed is not None]


def _encodable(text: str) -> str:
    """Return a text that can be stored: one with a lone surrogate cannot."""
    return text.encode(errors="backslashreplace").decode()
