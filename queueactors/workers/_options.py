"""The options of a worker: one class for code and for configuration."""

from __future__ import annotations

import attrs

from queueactors._options import Checks, Pace, Seconds, Target, is_seconds, items

from ._backoff import exp_backoff


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """How a worker feeds a queue's messages to your function.

    Args:
      queue: The queue's name.
      handler: Called with one `Delivery`, and ``args``; async or plain. A plain one runs in a
        thread. Returning finishes the message, raising gives it back.
      args: More arguments for the handler, after the delivery.
      concurrency: How many handlers may run at a time (>= 1).
      backoff: Seconds (>= 0) before a message that failed is ready again, or a function from
        the number of the attempt (from 1) to such seconds.
      max_runtime: Seconds (> 0) after which a handler is cancelled: a failed attempt. None:
        never.
      shutdown: Seconds (>= 0) that running handlers get to finish when the worker is stopped.

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.
    """

    queue: str
    handler: Target
    args: tuple[object, ...] = attrs.field(default=(), converter=items)
    concurrency: int = 1
    backoff: Pace = exp_backoff
    max_runtime: Seconds | None = None
    shutdown: Seconds = 5.0

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.string("queue", self.queue)
        checks.target("handler", self.handler)
        checks.integer("concurrency", self.concurrency, least=1)
        if not callable(self.backoff) and not is_seconds(self.backoff, positive=False):
            checks.refuse("backoff", "seconds >= 0 or callable", self.backoff)
        if self.max_runtime is not None:
            checks.seconds("max_runtime", self.max_runtime, positive=True)
        checks.seconds("shutdown", self.shutdown, positive=False)
        checks.done()
