"""What a handler may answer, beside returning anything else: that is success, too.

Each is a value that says what becomes of the message; the worker carries it out.
"""

from __future__ import annotations

import attrs

from queueactors._options import check_seconds


@attrs.frozen
class Success:
    """The message is done: it is finished, and taken out of its queue.

    Args:
      backoff: Seconds (>= 0) from now in which a message with the same ``mid`` is refused: a
        window for duplicates. None: it may be enqueued again at once. Only message queues have
        that; on timed and channel queues it is logged, and there is no window.

    Raises:
      TypeError: If ``backoff`` is no number.
      ValueError: If it is negative, or not finite.
    """

    backoff: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.backoff is not None:
            check_seconds("backoff", self.backoff)


@attrs.frozen
class Retry:
    """This attempt failed: the message comes back, and the attempt counts.

    If it was the last allowed one, the message is exhausted instead. On a timed queue that is
    the queue's matter (``max_reservations``, ``on_exhausted``), on channel and message queues
    the worker's (``max_attempts``, ``dead_letter``). A channel does not know of attempts: there
    the worker keeps the message until its backoff is over, and counts.

    Args:
      backoff: Seconds (>= 0) until it may be taken again. None: as the worker's ``backoff`` says.

    Raises:
      TypeError: If ``backoff`` is no number.
      ValueError: If it is negative, or not finite.
    """

    backoff: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.backoff is not None:
            check_seconds("backoff", self.backoff)


@attrs.frozen
class Error:
    """The message cannot be handled: it is finished and not tried again, whatever may be left.

    It becomes a dead letter if there is a place for those: on channel and message queues the
    worker's ``dead_letter``, on a timed queue what ``on_exhausted`` says. Otherwise it is gone,
    and logged.

    Args:
      exception: Why, for the log and the dead letter: an exception, or words. None: no reason.

    Raises:
      TypeError: If ``exception`` is neither; an exception's class is none.
    """

    exception: BaseException | str | None = None

    def __attrs_post_init__(self) -> None:
        if self.exception is not None and not isinstance(self.exception, BaseException | str):
            raise TypeError(
                f"expected exception to be an exception, a string or None, got {self.exception!r}"
            )


@attrs.frozen
class Snooze:
    """Not now: the message comes back, and this was no attempt.

    So it never exhausts a message: on a timed queue ``max_reservations`` does not count it, on
    channel and message queues ``max_attempts`` does not.

    Args:
      seconds: Until it may be taken again, >= 0.

    Raises:
      TypeError: If ``seconds`` is no number.
      ValueError: If it is negative, or not finite.
    """

    seconds: float

    def __attrs_post_init__(self) -> None:
        check_seconds("seconds", self.seconds)


Result = Success | Retry | Error | Snooze
