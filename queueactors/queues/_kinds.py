"""The queue kinds there are, by the name that a definition or a configuration uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ._options import TimedOptions
from ._timed import TimedQueue
from ._timed_kind import TABLE, TimedKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queueactors._codecs import Values
    from queueactors.stores import Kind, Table

    from ._actor import QueueActor

Options = TimedOptions
Queue = TimedQueue


@attrs.frozen
class QueueKind:
    """The parts of one kind.

    Args:
      options: Its option class.
      kind: Makes what a store needs: from the queue's name and options, and from how its values
        are encoded, if they are.
      handle: Makes the public handle.
      table: How its messages stand in a store's file.
    """

    options: type[Options]
    kind: Callable[[str, Options, Values | None], Kind]
    handle: Callable[[QueueActor, Options, Values | None], Queue]
    table: Table


KINDS: Final[Mapping[str, QueueKind]] = {
    "timed": QueueKind(TimedOptions, TimedKind, TimedQueue, TABLE),
}
