"""What was thrown away at once and is let go of bit by bit.

Freeing a million objects stops the loop for half a second; so an index that is not needed any
more is emptied by slices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Trash:
    """Containers that nobody uses any more. True as long as something is in them."""

    __slots__ = ("_pops",)

    def __init__(self) -> None:
        self._pops: list[Callable[[], object]] = []

    def __bool__(self) -> bool:
        return bool(self._pops)

    def throw(self, *pops: Callable[[], object]) -> None:
        """Take over containers by their ``pop``; their owner must not use them again."""
        self._pops.extend(pops)

    def sweep(self, limit: int) -> None:
        """Let go of up to ``limit`` entries."""
        while self._pops:
            pop = self._pops[-1]
            try:
                while limit > 0:
                    limit -= 1
                    pop()
            except LookupError:  # it is empty
                del self._pops[-1]
            else:
                return
