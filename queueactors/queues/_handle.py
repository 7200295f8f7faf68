"""What the handles of all queue kinds have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ._options import QueueOptions

if TYPE_CHECKING:
    from queueactors._clock import Clock

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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, store {self.options.store!r}>"

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._actor.name

    @property
    def clock(self) -> Clock:
        """The clock that all instants of the queue are on."""
        return self._actor.clock

    @property
    def inflight_ops(self) -> int:
        """How many casts and submitted operations wait for the queue; ``mailbox`` is the bound."""
        return self._mailbox.casts
