"""The default paces of a worker: between two pick-ups, and at the end of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueactors._options import check_integer

from ._backoff import exp_backoff

if TYPE_CHECKING:
    from random import Random

HUNDREDS: Final = 256  # messages that wait; more, and the pace is 20 a second
SOME: Final = 128  # likewise, 10 a second
STEPS: Final = 4  # doublings of the wait at the end of the queue: 8 to 16 s


def default_throttle(queue_size: int) -> float:
    """Return the seconds from one pick-up to the next: ``throttle="auto"``.

    0.05 with more than 256 messages in the queue, 0.1 with more than 128, otherwise 0.2.

    Args:
      queue_size: How many messages wait.

    Source: Carmine's ``default-throttle-ms-fn``, seed 001.
    """
    if queue_size > HUNDREDS:
        return 0.05
    return 0.1 if queue_size > SOME else 0.2


def end_of_queue_backoff(dry_runs: int, random: Random) -> float:
    """Return the seconds to wait at the end of the queue, unless a message comes.

    Doubles with each time, from 0.5-1 s to 8-16 s, all of it give or take a fifth: so workers
    that stand at the end of one queue drift apart. 0.4 s is the least.

    Args:
      dry_runs: How often in a row the queue was found empty, this time included; >= 1.
      random: The dice.

    Raises:
      TypeError: If ``dry_runs`` is no int.
      ValueError: If it is < 1.

    Source: Carmine's ``eoq-backoff-ms`` and the jitter of its sleep, seed 001.
    """
    check_integer("dry_runs", dry_runs, least=1)
    seconds = exp_backoff(min(STEPS, dry_runs - 1), random=random)
    return seconds * (0.8 + 0.4 * random.random())
