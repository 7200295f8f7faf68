"""The options of log and capacity queues: one class each for code and for configuration."""

from __future__ import annotations

import attrs

from queueactors._options import Checks, CodecName, Seconds
from queueactors.cores._chunks import MOST

from ._options import StoredOptions


@attrs.frozen(kw_only=True)
class CapacityOptions(StoredOptions):
    """How a capacity queue behaves.

    Args:
      max_elements: How many items it may hold (>= 1). The store keeps that number: what is said
        here counts for a new queue, and `CapacityQueue.resize` changes it.
      store: The name of the store that keeps the queue.
      codec: How items become bytes, in memory, too: ``"bytes"`` (bytes only), ``"msgpack"``,
        ``"json"``, ``"pickle"``, or one of your own, as in `TimedOptions`.
      type: The class that msgpack and json decode items into, as in `TimedOptions`.
      mailbox: How many casts and submitted operations may wait for the queue (>= 1).

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.

    Source: seed 004, RocksQ's ``PersistentQueueWithCapacity``.
    """

    codec: CodecName = "bytes"
    max_elements: int = MOST

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.integer("max_elements", self.max_elements, least=1)
        self._check_stored(checks)
        checks.done()


@attrs.frozen(kw_only=True)
class LogOptions(StoredOptions):
    """How a log queue behaves.

    Args:
      ttl: Seconds (> 0) that an item can be read. None: for ever.
      store: The name of the store that keeps the queue.
      codec: How items become bytes, as in `CapacityOptions`.
      type: The class that msgpack and json decode items into, as in `TimedOptions`.
      mailbox: How many casts and submitted operations may wait for the queue (>= 1).

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.

    Source: seed 004, RocksQ's ``MpmcQueue``.
    """

    codec: CodecName = "bytes"
    ttl: Seconds | None = None

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        if self.ttl is not None:
            checks.seconds("ttl", self.ttl, positive=True)
        self._check_stored(checks)
        checks.done()

    @property
    def traps(self) -> list[tuple[str, str]]:
        """What is valid and yet likely to surprise: the option, and why."""
        if self.ttl is not None:
            return []
        return [("ttl", "without it nothing is ever removed, and the log grows without end")]
