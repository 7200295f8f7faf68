"""The buffers of a batch queue that are built in.

Source: seed 003, ``liq``: its buffers ``Appending`` and ``Merging``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator


class Appending(list[object]):
    """Keeps the items as they come, in their order."""

    push = list.append


class Merging:
    """Keeps one item for each key: what comes is merged into what is there.

    They come out in the order in which their keys came in.

    Args:
      key: Returns an item's key.
      merge: Returns what becomes of the item that is there and the one that comes. It must not
        matter how the items were grouped before (associative), as what was merged when it was
        flushed is merged again when it is claimed; and it should leave both as they are.
      check: Is called with what comes of it; raises if that cannot be kept.
    """

    __slots__ = ("_check", "_items", "_key", "_merge")

    def __init__(
        self,
        key: Callable[[object], Hashable],
        merge: Callable[[object, object], object],
        check: Callable[[object], object] | None = None,
    ) -> None:
        self._key = key
        self._merge = merge
        self._check = check
        self._items: dict[Hashable, object] = {}

    def __repr__(self) -> str:
        return f"<Merging buffer of {len(self._items)} items>"

    def push(self, item: object) -> None:
        """Take in an item; if a function of the user's raises, nothing has changed."""
        items = self._items
        key = self._key(item)
        if key in items:
            item = self._merge(items[key], item)
            if self._check is not None:
                self._check(item)
        items[key] = item

    def __len__(self) -> int:
        """Return how many different keys there are."""
        return len(self._items)

    def __iter__(self) -> Iterator[object]:
        """Yield the items, in the order in which their keys came."""
        return iter(self._items.values())
