"""A worker's numbers: how long messages waited and were handled, and what came of them.

Percentiles come from a sketch: counts in buckets whose bounds grow by 2 %. A bucket's middle is
within 1 % of everything in it, whatever the distribution, and the number of buckets has a bound.
The order of the values makes no difference. Source: DDSketch, in Masson, Rim, Lee, "DDSketch: a
fast and fully-mergeable quantile sketch with relative-error guarantees", PVLDB 12(12), 2019,
section 2; with a fixed range instead of the paper's collapsing buckets.
"""

from __future__ import annotations

from bisect import bisect_left
from math import ceil, log
from typing import TYPE_CHECKING, Final

import attrs

from queueactors._histogram import Buckets

if TYPE_CHECKING:
    from collections.abc import Mapping

GROWTH: Final = 1.02  # from bucket to bucket: (1.02 - 1) / (1.02 + 1) is 0.0099, below 1 %
LEAST: Final = 1e-9  # a nanosecond, the clock's resolution; what is less counts as 0
MOST: Final = 1e15  # 30 million years, or more messages than fit anywhere
_SCALE: Final = 1 / log(GROWTH)
BUCKETS: Final = ceil(log(MOST) * _SCALE) - ceil(log(LEAST) * _SCALE) + 1  # at most; some 2,800
KEYS: Final = ("success", "retry", "error", "snooze", "backoff", "lost", "end_of_queue")


@attrs.frozen(kw_only=True)
class Summary:
    """What many values have in common. Before the first one, all but ``n`` and ``sum`` is None.

    Percentiles are within 1 % of a value that was there: of those in order, number
    ``p / 100 * (n - 1)``, counted from 0 and rounded down. The others are exact.

    Args:
      n: How many values there were.
      sum: All of them together.
      min: The smallest.
      max: The largest.
      last: The latest.
      mean: ``sum / n``.
      p25: A quarter of them is not larger.
      p50: The median.
      p75: Three quarters are not larger.
      p90: 90 % are not larger.
      p95: 95 % are not larger.
      p99: 99 % are not larger.
    """

    n: int = 0
    sum: float = 0.0
    min: float | None = None
    max: float | None = None
    last: float | None = None
    mean: float | None = None
    p25: float | None = None
    p50: float | None = None
    p75: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


class Sketch:
    """Takes in any number of values >= 0, in bounded memory, and sums them up when asked."""

    __slots__ = ("_buckets", "_last", "_max", "_min", "_n", "_rest", "_sum", "_zeros")

    def __init__(self) -> None:
        self._n = 0
        self._sum = 0.0
        self._rest = 0.0  # what rounding has added to the sum so far: Kahan's summation
        self._min = MOST
        self._max = 0.0
        self._last = 0.0
        self._zeros = 0  # how many values were below `LEAST`
        self._buckets: dict[int, int] = {}  # i: how many were in (GROWTH ** (i - 1), GROWTH ** i]

    def __repr__(self) -> str:
        return f"<Sketch of {self._n} values>"

    def __len__(self) -> int:
        """Return how many buckets are in use, at most `BUCKETS`: the measure of its memory."""
        return len(self._buckets)

    def add(self, value: float) -> None:
        """Take in a value.

        Args:
          value: From 0 to `MOST`.

        Raises:
          ValueError: If it is out of its range. Nothing was taken in.
        """
        if LEAST <= value <= MOST:
            bucket = ceil(log(value) * _SCALE)
            buckets = self._buckets
            buckets[bucket] = buckets.get(bucket, 0) + 1
        elif 0 <= value < LEAST:
            self._zeros += 1
        else:
            raise ValueError(f"expected value to be from 0 to {MOST:.0e}, got {value!r}")
        self._n += 1
        self._last = value
        total = self._sum
        part = value - self._rest
        self._sum = new = total + part
        self._rest = new - total - part
        if value < self._min:  # noqa: PLR1730 - a call for each value would cost a fifth more
            self._min = value
        if value > self._max:  # noqa: PLR1730
            self._max = value

    def summary(self) -> Summary:
        """Return the numbers of all values so far."""
        if not self._n:
            return Summary()
        p25, p50, p75, p90, p95, p99 = self._percentiles(25, 50, 75, 90, 95, 99)
        return Summary(
            n=self._n,
            sum=self._sum,
            min=self._min,
            max=self._max,
            last=self._last,
            mean=self._sum / self._n,
            p25=p25,
            p50=p50,
            p75=p75,
            p90=p90,
            p95=p95,
            p99=p99,
        )

    def buckets(self, bounds: tuple[float, ...]) -> Buckets:
        """Return how many values were up to each bound; within 2 % of a bound, to either side.

        So counting a value costs the same with and without a histogram of it. What has been said
        to be above a bound once is said to be above it for ever: a counter never goes back.

        Args:
          bounds: Ascending, from `LEAST` to `MOST`.
        """
        counts = [0] * (len(bounds) + 1)
        counts[0] = self._zeros
        last = [round(log(bound) * _SCALE) for bound in bounds]  # the bucket that it is nearest to
        for bucket, count in self._buckets.items():
            counts[bisect_left(last, bucket)] += count
        return Buckets(bounds, tuple(counts), self._sum)

    def _percentiles(self, *percents: int) -> list[float]:
        """Return what stands at so many percent; in one pass, so they must rise."""
        buckets = iter(sorted(self._buckets.items()))
        passed, middle = self._zeros, 0.0
        found: list[float] = []
        for percent in percents:
            rank = percent * (self._n - 1) // 100
            while passed <= rank:
                bucket, count = next(buckets)
                passed += count
                middle = 2 * GROWTH**bucket / (GROWTH + 1)
            found.append(min(max(middle, self._min), self._max))
        return found


@attrs.frozen(kw_only=True)
class WorkerStatistics:
    """What a worker has done since it was defined; kept across restarts and stops.

    Args:
      queueing_time: Seconds that messages waited for their first attempt.
      handling_time: Seconds that the handler took, each time.
      queue_size: The queue's length, at each pick-up and each end of the queue that was observed.
      counts: ``success``, ``retry``, ``error`` and ``snooze``: what came of handling a message;
        ``backoff``: how many of these brought a backoff of their own; ``lost``: attempts whose
        message had become somebody else's meanwhile; ``end_of_queue``: how often the queue was
        found empty.
    """

    queueing_time: Summary
    handling_time: Summary
    queue_size: Summary
    counts: Mapping[str, int]


class WorkerCounters:
    """Counts for a worker; its `statistics` are what others see."""

    def __init__(self) -> None:
        self._queueing_time = Sketch()
        self._handling_time = Sketch()
        self._queue_size = Sketch()
        self._counts = dict.fromkeys(KEYS, 0)

    def picked_up(self, age: float, attempt: int) -> None:
        """Note how old a message was when it was taken; only the first attempt tells of the queue.

        Args:
          age: Seconds since it went in. Negative (another machine's clock wrote it): counts as 0.
          attempt: From 1.
        """
        if attempt == 1:
            self._queueing_time.add(age if age > 0 else 0.0)

    def handled(self, seconds: float, word: str) -> None:
        """Note that a handler ended.

        Args:
          seconds: How long it took, >= 0.
          word: What came of it: a key of the counts.
        """
        self._counts[word] += 1
        self._handling_time.add(seconds)

    def count(self, key: str) -> None:
        """Add 1 to one of the counts."""
        self._counts[key] += 1

    def sized(self, n: int) -> None:
        """Note the queue's length."""
        self._queue_size.add(n)

    @property
    def counts(self) -> Mapping[str, int]:
        """The counts by result, as they are now."""
        return self._counts

    def queueing_buckets(self, bounds: tuple[float, ...]) -> Buckets:
        """Return how many messages waited for up to so many seconds, see `Sketch.buckets`."""
        return self._queueing_time.buckets(bounds)

    def handling_buckets(self, bounds: tuple[float, ...]) -> Buckets:
        """Return how often a handler took up to so many seconds, see `Sketch.buckets`."""
        return self._handling_time.buckets(bounds)

    def statistics(self) -> WorkerStatistics:
        """Return the numbers so far."""
        return WorkerStatistics(
            queueing_time=self._queueing_time.summary(),
            handling_time=self._handling_time.summary(),
            queue_size=self._queue_size.summary(),
            counts=self._counts.copy(),
        )
