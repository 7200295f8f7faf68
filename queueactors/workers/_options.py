"""The options of a worker: one class for code and for configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal

import attrs

from queueactors._options import (
    Checks,
    Means,
    Pace,
    Seconds,
    Target,
    is_generator,
    is_seconds,
    items,
)
from queueactors.retry import RetryPolicy, is_policy

from ._backoff import exp_backoff

OnException = Literal["retry", "error"]
Monitor = Literal["default", "none"] | Target | None
Throttle = Literal["auto"] | Annotated[float | Callable[[int], float | None], Means.PACE] | None

BATCH: Final = 128  # values in a delivery of a task that was spawned, as in seed 000's examples
_OWN_ATTEMPTS: Final = ("channel", "message")  # the kinds that leave them to the worker


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """How a worker feeds a queue's messages to your function.

    Args:
      queue: The queue's name: a timed, channel or message queue.
      handler: Called with one `Delivery`, and ``args``; async or plain. A plain one runs in a
        thread. It answers `Success`, `Retry`, `Error` or `Snooze`; returning anything else is
        success, too. A coroutine that it returns is awaited; a generator function is refused.
      args: More arguments for the handler, after the delivery.
      concurrency: How many handlers may run at a time (>= 1).
      on_exception: What a handler that raises has answered: ``"retry"`` or ``"error"``.
      backoff: Seconds (>= 0) before a message that failed may be taken again, or a function from
        the number of the attempt (from 1) to such seconds; if that fails: as `exp_backoff`. Or a
        retry policy (`queueactors.retry`): when it says that there is no next attempt, that was
        an ``Error``; its cooldown is not looked at.
      max_attempts: How many attempts a message gets (>= 1); the last one that fails is an
        ``Error``. None: without limit. For channel and message queues; a timed queue has
        ``max_reservations``.
      dead_letter: The name of another queue, which gets a `DeadLetter` for each message that
        ends by an ``Error``. None: they are logged and gone. For channel and message queues; a
        timed queue has ``on_exhausted``.
      throttle: Seconds (>= 0) that are at least between two pick-ups, of one message each; or a
        function from the queue's size to such seconds, or None; ``"auto"``: `default_throttle`.
        None: messages are picked up as handlers get free, several at once.
      eoq_backoff: Seconds (>= 0) that an empty queue is waited on before that counts as another
        dry run, or a function from the number of the dry run (from 1) to such seconds. A message
        ends the wait at once. None: 0.4 s to 19 s, doubling.
      monitor: Called with an `Observation` at each pick-up and each dry run; async or plain.
        ``"default"``: ``monitor_fn(1000, 21600)``. None, or ``"none"``: there is none, and the
        queue is not asked for its size.
      auto_start: Whether it takes messages as soon as it is there; seconds (>= 0): after these.
        False: from `Worker.start` on.
      max_runtime: Seconds (> 0) after which a handler is cancelled: a failed attempt. None:
        never.
      shutdown: Seconds (>= 0) that running handlers get to finish when the worker is stopped.
      batch: How many values a delivery has at most (>= 1), in a list: all that are there, up to
        so many. What becomes of it becomes of all. None: a delivery is one value. For channels.

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.
    """

    queue: str
    handler: Target
    args: tuple[object, ...] = attrs.field(default=(), converter=items)
    concurrency: int = 1
    on_exception: OnException = "retry"
    backoff: Pace | RetryPolicy = exp_backoff
    max_attempts: int | None = None
    dead_letter: str | None = None
    throttle: Throttle = None
    eoq_backoff: Pace | None = None
    monitor: Monitor = "default"
    auto_start: bool | Seconds = True
    max_runtime: Seconds | None = None
    shutdown: Seconds = 5.0
    batch: int | None = None

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.string("queue", self.queue)
        checks.target("handler", self.handler)
        if is_generator(self.handler):
            told = f"{self.handler!r} is a generator function, whose body would not run"
            checks.faults.append(("handler", told))
        checks.integer("concurrency", self.concurrency, least=1)
        checks.choice("on_exception", self.on_exception, OnException)
        for option in ("max_attempts", "batch"):
            if getattr(self, option) is not None:
                checks.integer(option, getattr(self, option), least=1)
        self._check_paces(checks)
        if self.dead_letter is not None:
            checks.string("dead_letter", self.dead_letter)
            if self.dead_letter == self.queue:
                told = "a queue cannot be its own dead letter queue; name another one"
                checks.faults.append(("dead_letter", told))
        if not (callable(self.monitor) or _is_word(self.monitor, "default", "none")):
            checks.refuse("monitor", "'default', 'none' or callable", self.monitor)
        if not isinstance(self.auto_start, bool) and not _is_wait(self.auto_start):
            checks.refuse("auto_start", "true, false or seconds >= 0", self.auto_start)
        if self.max_runtime is not None:
            checks.seconds("max_runtime", self.max_runtime, positive=True)
        checks.seconds("shutdown", self.shutdown, positive=False)
        checks.done()

    def _check_paces(self, checks: Checks) -> None:
        if not (_is_pace(self.backoff) or is_policy(self.backoff)):
            checks.refuse("backoff", "seconds >= 0, callable or a retry policy", self.backoff)
        if not (_is_pace(self.throttle) or _is_word(self.throttle, "auto")):
            checks.refuse("throttle", "'auto', seconds >= 0 or callable", self.throttle)
        if self.eoq_backoff is not None and not _is_pace(self.eoq_backoff):
            checks.refuse("eoq_backoff", "seconds >= 0 or callable", self.eoq_backoff)


def _is_wait(value: object) -> bool:
    return is_seconds(value, positive=False)


def _is_word(value: object, *words: str) -> bool:
    return value is None or (isinstance(value, str) and value in words)


def _is_pace(value: object) -> bool:
    return callable(value) or is_seconds(value, positive=False)


def unfit(options: WorkerOptions, kind: str) -> list[tuple[str, str]]:
    """Return what does not go with a queue of that kind: the option, and why."""
    found = []
    if kind not in {"timed", *_OWN_ATTEMPTS}:
        told = f"expected a timed, channel or message queue, {options.queue!r} is none"
        found.append(("queue", told))
    if kind == "timed":
        instead = {"max_attempts": "max_reservations", "dead_letter": "on_exhausted"}
        found += [
            (option, f"{option} is for channel and message queues; a timed queue has {its_own}")
            for option, its_own in instead.items()
            if getattr(options, option) is not None
        ]
    if kind != "channel" and options.batch is not None:
        found.append(("batch", f"batch is for channels; {options.queue!r} is none"))
    return found
