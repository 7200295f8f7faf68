"""Errors that are trio's as well: what is refused because of what the queue is at present.

They are apart from the others for what must not wait for trio: options, and configurations.
"""

from __future__ import annotations

from typing import ClassVar

import trio

from ._errors import QueueActorsError


class _QueueStateError(QueueActorsError):
    """Base of what is refused because of what the queue is at present.

    Args:
      queue: Its name.
    """

    told: ClassVar[str]

    def __init__(self, queue: str) -> None:
        super().__init__(queue)
        self.queue = queue

    def __str__(self) -> str:
        return self.told.format(queue=repr(self.queue))


class QueueClosedError(_QueueStateError, trio.ClosedResourceError):
    """The queue was closed: it takes nothing in, and has nothing left to hand out.

    Args:
      queue: Its name.
    """

    told = "queue {queue} is closed"


class QueueEndedError(_QueueStateError, trio.EndOfChannel):
    """The channel was closed, and all that was in it has been received.

    Args:
      queue: Its name.
    """

    told = "channel {queue} is closed, and nothing is left in it"


class QueueBusyError(_QueueStateError, trio.BusyResourceError):
    """Another task waits for the channel's next value: it has one receiver.

    Args:
      queue: Its name.
    """

    told = "another task is receiving from channel {queue}; it has one receiver"
