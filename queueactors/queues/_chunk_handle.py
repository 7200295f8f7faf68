"""What the handles of log and capacity queues have in common: their items, and how they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from queueactors._codecs import LARGEST, Encoded
from queueactors._errors import CodecError

from ._handle import OptionsT, QueueHandle
from ._operations import Ask, Decoded, check_limit, operation

if TYPE_CHECKING:
    from queueactors._codecs import ChunkValues

    from ._actor import QueueActor

Item = Any  # type: ignore[explicit-any] # bytes, or what the codec decodes


class ChunkHandle(QueueHandle[OptionsT]):
    """A handle of a queue whose items are kept in chunks.

    Args:
      actor: The queue's.
      options: The queue's.
      values: How its items become bytes.
    """

    def __init__(self, actor: QueueActor, options: OptionsT, values: ChunkValues) -> None:
        super().__init__(actor, options)
        self._values = values

    @operation
    def peek(self, limit: int = 1) -> Ask[list[Item]]:  # type: ignore[misc] # any items
        """Look at the oldest items, also during a pause; none is taken, and no label moves.

        Args:
          limit: >= 1; how many at most.

        Raises:
          StoreError: If they cannot be read from the store.
          CodecError: If one cannot be decoded.
          ValueError: If ``limit`` is out of its range.
        """
        return Decoded(self._values, decoded, "peek", (check_limit(limit),))


def encoded(values: ChunkValues, items: tuple[object, ...]) -> tuple[list[object], list[int]]:
    """Return what is kept of items, and how many bytes each has.

    Raises:
      CodecError: If one cannot be encoded.
    """
    if values.plain and set(map(type, items)) <= {bytes}:
        sizes = list(map(len, cast("tuple[bytes, ...]", items)))
        if max(sizes, default=0) <= LARGEST:
            return list(items), sizes
    kept: list[object] = list(map(values.encode_item, items))
    return kept, list(map(len, cast("list[bytes | Encoded]", kept)))


def decoded(values: ChunkValues, items: list[object]) -> list[Item]:
    """Return items as they were given.

    Raises:
      CodecError: If one cannot be decoded; ``__notes__`` says which.
    """
    if values.plain and Encoded not in set(map(type, items)):
        return items
    found: list[Item] = []
    try:
        found.extend(map(values.decode_item, items))
    except CodecError as error:
        error.add_note(f"item {len(found) + 1} of {len(items)}")
        raise
    return found
