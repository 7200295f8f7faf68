"""The queue kinds there are, by the name that a definition or a configuration uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from . import _batch_kind, _chunk_kind, _message_kind, _timed_kind
from ._batch import BatchQueue
from ._capacity import CapacityQueue
from ._channel import ChannelKind, ChannelQueue
from ._kind_options import KIND_OPTIONS
from ._log import LogQueue
from ._message import MessageQueue
from ._processing import Processing
from ._timed import TimedQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from queueactors._codecs import Values
    from queueactors.stores import Table

    from ._actor import QueueActor
    from ._batch_options import BatchOptions
    from ._kind_options import Options

Queue = BatchQueue | CapacityQueue | ChannelQueue | LogQueue | MessageQueue | TimedQueue
AnyQueue = Any  # type: ignore[explicit-any] # a name does not tell of what kind its queue is
Own = Any  # type: ignore[explicit-any] # each kind's own class


@attrs.frozen
class QueueKind:
    """The parts of one kind.

    Args:
      options: Its option class.
      kind: Makes what a store needs: from the queue's name and options, and from how its values
        are encoded, if they are.
      handle: Makes the public handle, from the actor, the options, what ``kind`` made, and dice.
      table: How its messages stand in a store's file; None: only memory can keep them.
    """

    options: type[Options]
    kind: Callable[[str, Own, Values | None], Own]
    handle: Callable[[QueueActor, Own, Own, Random], Queue]
    table: Table | None


def _batch_queue(
    actor: QueueActor, options: BatchOptions, kind: _batch_kind.BatchKind, random: Random
) -> BatchQueue:
    processing = Processing(actor, options, kind, random)
    processing.inside = BatchQueue(actor, options, kind, processing, inside=True)
    return BatchQueue(actor, options, kind, processing)


KINDS: Final[Mapping[str, QueueKind]] = {
    "timed": QueueKind(
        KIND_OPTIONS["timed"],
        _timed_kind.TimedKind,
        lambda actor, options, kind, _random: TimedQueue(actor, options, kind.values),
        _timed_kind.TABLE,
    ),
    "message": QueueKind(
        KIND_OPTIONS["message"],
        _message_kind.MessageKind,
        lambda actor, options, kind, _random: MessageQueue(actor, options, kind.values),
        _message_kind.TABLE,
    ),
    "batch": QueueKind(
        KIND_OPTIONS["batch"],
        _batch_kind.BatchKind.of,
        _batch_queue,
        _batch_kind.TABLE,
    ),
    "log": QueueKind(
        KIND_OPTIONS["log"],
        _chunk_kind.LogKind.of,
        lambda actor, options, kind, _random: LogQueue(actor, options, kind.values),
        _chunk_kind.LOG,
    ),
    "capacity": QueueKind(
        KIND_OPTIONS["capacity"],
        _chunk_kind.CapacityKind.of,
        lambda actor, options, kind, _random: CapacityQueue(actor, options, kind.values),
        _chunk_kind.CAPACITY,
    ),
    "channel": QueueKind(
        KIND_OPTIONS["channel"],
        lambda name, options, _values: ChannelKind(name, options),
        lambda actor, options, kind, _random: ChannelQueue(actor, options, kind.places),
        None,
    ),
}
