"""A histogram: how many values there were up to each of some bounds.

Fixed bounds, so that those of many processes can be added up. What a worker observes is in a
sketch instead (`queueactors.workers`), from which a histogram is read when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import attrs


@attrs.frozen
class Buckets:
    """What a histogram has counted, at one instant.

    Args:
      bounds: The largest value of each bucket, ascending.
      counts: How many values were in each bucket, and above the last bound: one more than bounds.
      sum: All values together.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def n(self) -> int:
        """How many values there were."""
        return sum(self.counts)


class Doubling:
    """Counts whole numbers from 1 in buckets that double: up to 1, 2, 4, 8 and so on.

    In half the time that a `Histogram` takes to find the bucket: for what each turn of a loop does.

    Args:
      most: The last bucket's largest number, a power of two; what is larger has one of its own.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, most: int) -> None:
        self._bounds = tuple(float(1 << power) for power in range(most.bit_length()))
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0

    def __repr__(self) -> str:
        return f"<Doubling of {sum(self._counts)} numbers>"

    def observe(self, number: int) -> None:
        """Count a number, from 1 to twice the largest."""
        self._counts[(number - 1).bit_length()] += 1
        self._sum += number

    def buckets(self) -> Buckets:
        """Return what was counted so far."""
        return Buckets(self._bounds, tuple(self._counts), float(self._sum))


class Histogram:
    """Counts values by bucket.

    Args:
      bounds: The largest value of each bucket, ascending; what is larger has a bucket of its own.

    Raises:
      ValueError: If the bounds do not ascend.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        if any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(f"expected bounds to ascend, got {bounds!r}")
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def __repr__(self) -> str:
        return f"<Histogram of {sum(self._counts)} values>"

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def buckets(self) -> Buckets:
        """Return what was counted so far."""
        return Buckets(self._bounds, tuple(self._counts), self._sum)
