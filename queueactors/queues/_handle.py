"""What the handles of all queue kinds have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from queueactors._options import nanoseconds

from ._operations import Ask, operation, submitted
from ._options import QueueOptions

if TYPE_CHECKING:
    from queueactors._clock import Clock
    from supervisors import StartFunction

    from ._actor import QueueActor

OptionsT = TypeVar("OptionsT", bound=QueueOptions)


class QueueHandle(Generic[OptionsT]):
    """Stands for a queue, by name. Cheap; valid across restarts.

    Args:
      actor: The queue's.
      options: The queue's.
    """

    kind: ClassVar[str]

    def __init__(self, actor: QueueActor, options: OptionsT) -> None:
        self._actor = actor
        self._mailbox = actor.mailbox
        self.options = options

    def _reconfigure(self, options: OptionsT) -> None:
        """Go by other options from now on: the runtime calls it, when it reloads."""
        self.options = options
        self._mailbox.bound = options.mailbox

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, store {self.options.store!r}>"

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._actor.name

    @property
    def companions(self) -> dict[str, StartFunction]:
        """What runs beside the queue's actor, as children of its supervisor; by its sort."""
        return {}

    @property
    def clock(self) -> Clock:
        """The clock that all instants of the queue are on."""
        return self._actor.clock

    @property
    def inflight_ops(self) -> int:
        """How many casts and submitted operations wait for the queue; ``mailbox`` is the bound."""
        return self._mailbox.casts

    @operation
    def pause(self, seconds: float | None = None) -> Ask[None]:
        """Hand nothing out; what comes in still goes in, as far as there is room.

        What was handed out goes on. It survives restarts. A second pause replaces the first.

        Args:
          seconds: Until it ends by itself (> 0). None: until `resume`.
        """
        return Ask("pause", (None if seconds is None else nanoseconds("seconds", seconds),))

    @operation
    def resume(self) -> Ask[None]:
        """Hand out again. If the queue is not paused: nothing happens."""
        return Ask("resume")

    def _deadline(self, timeout: float | None) -> int | None:
        """Return the epoch nanoseconds at which a wait ends; None: never."""
        if timeout is None:
            return None
        return self._actor.clock.now_ns() + nanoseconds("timeout", timeout, positive=False)


AnyHandle = QueueHandle[Any]  # type: ignore[explicit-any] # of any kind
HandleT = TypeVar("HandleT", bound=AnyHandle)


class SubmitView(Generic[HandleT]):
    """The operations of a queue, sent without waiting: each returns a `PendingReply`.

    Arguments and checks at the call are the same. Each raises `trio.WouldBlock` if the mailbox
    is full, and then nothing was sent. A reply may be dropped: the operation is carried out all
    the same, also one that takes a message that nobody looks at.

    Args:
      queue: The queue.
    """

    def __init__(self, queue: HandleT) -> None:
        self._queue = queue

    def __repr__(self) -> str:
        return f"{self._queue!r}.submit"

    pause = submitted(AnyHandle.pause)
    resume = submitted(AnyHandle.resume)
