"""What can be asked of the statistics of a queue of any kind."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class QueueStatistics:
    """The numbers of a queue. Each kind has its own, and says these in their terms."""

    @property
    def at_hand(self) -> int:
        """Messages that can be taken now."""
        raise NotImplementedError

    @property
    def in_hand(self) -> int:
        """Messages that somebody has, and that come back unless they are finished."""
        raise NotImplementedError

    @property
    def through(self) -> int:
        """Messages that are done with, since the process opened the queue."""
        raise NotImplementedError

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left that would be handled some day."""
        raise NotImplementedError
