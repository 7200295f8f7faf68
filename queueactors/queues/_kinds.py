"""The queue kinds there are, by the name that a definition or a configuration uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from . import _message_kind, _timed_kind
from ._channel import ChannelKind, ChannelQueue
from ._message import MessageQueue
from ._options import ChannelOptions, MessageOptions, TimedOptions
from ._timed import TimedQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queueactors._codecs import Values
    from queueactors.stores import Table

    from ._actor import QueueActor

Options = ChannelOptions | MessageOptions | TimedOptions
Queue = ChannelQueue | MessageQueue | TimedQueue
AnyQueue = Any  # type: ignore[explicit-any] # a name does not tell of what kind its queue is
AnyOptions = Any  # type: ignore[explicit-any] # likewise
Own = Any  # type: ignore[explicit-any] # each kind's own class


@attrs.frozen
class QueueKind:
    """The parts of one kind.

    Args:
      options: Its option class.
      kind: Makes what a store needs: from the queue's name and options, and from how its values
        are encoded, if they are.
      handle: Makes the public handle, from the actor, the options and what ``kind`` made.
      table: How its messages stand in a store's file; None: only memory can keep them.
    """

    options: type[Options]
    kind: Callable[[str, Own, Values | None], Own]
    handle: Callable[[QueueActor, Own, Own], Queue]
    table: Table | None


KINDS: Final[Mapping[str, QueueKind]] = {
    "timed": QueueKind(
        TimedOptions,
        _timed_kind.TimedKind,
        lambda actor, options, kind: TimedQueue(actor, options, kind.values),
        _timed_kind.TABLE,
    ),
    "message": QueueKind(
        MessageOptions,
        _message_kind.MessageKind,
        lambda actor, options, kind: MessageQueue(actor, options, kind.values),
        _message_kind.TABLE,
    ),
    "channel": QueueKind(
        ChannelOptions,
        lambda name, options, _values: ChannelKind(name, options),
        lambda actor, options, kind: ChannelQueue(actor, options, kind.places),
        None,
    ),
}
