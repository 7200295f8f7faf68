"""Backoff: how long to wait before the next restart of a child that keeps failing.

A value, not a sleeper: `delay` answers in seconds and the supervisor waits. OTP has none;
this one follows Kubernetes (the first restart is immediate) and Akka (reset after a healthy
run).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ._checks import seconds

if TYPE_CHECKING:
    from random import Random


@attrs.frozen(kw_only=True)
class Backoff:
    """An exponential pace with unbiased jitter.

    Args:
      min: Seconds before the second restart in a row; >= 0. The first is immediate.
      max: Seconds that the pace grows to, before jitter; >= ``min``.
        ``Backoff(min=0, max=0)`` does not wait at all, as in OTP.
      factor: How much longer each wait is than the one before; >= 1.
      jitter: The random part, from 0 to 1: a wait of d becomes d * (1 ± jitter), evenly
        distributed, so that its mean stays d.
      reset_after: Seconds of uninterrupted running after which the count starts again; >= 0.

    Raises:
      ValueError: If a value is out of its range.
    """

    min: float = 0.1
    max: float = 30.0
    factor: float = 2.0
    jitter: float = 0.2
    reset_after: float = 60.0

    def __attrs_post_init__(self) -> None:
        faults = [
            fault
            for name in ("min", "max", "factor", "jitter", "reset_after")
            for fault in seconds(f"backoff {name}", getattr(self, name), positive=False)
        ]
        if not faults:
            if self.max < self.min:
                faults.append(f"expected backoff max to be >= min ({self.min}), got {self.max!r}")
            if self.factor < 1:
                faults.append(f"expected backoff factor to be >= 1, got {self.factor!r}")
            if self.jitter > 1:
                faults.append(f"expected backoff jitter to be from 0 to 1, got {self.jitter!r}")
        if faults:
            raise ValueError("; ".join(faults))

    def delay(self, restarts: int, random: Random) -> float:
        """Return the seconds to wait, after ``restarts`` restarts in a row (>= 0)."""
        pace = self._pace(restarts)
        return pace and pace * random.uniform(1 - self.jitter, 1 + self.jitter)

    def shortest(self, restarts: int) -> float:
        """Return the least that `delay` can return, in seconds."""
        return self._pace(restarts) * (1 - self.jitter)

    def _pace(self, restarts: int) -> float:
        if restarts == 0 or self.min == 0:
            return 0.0
        try:
            return min(self.max, self.min * float(self.factor) ** (restarts - 1))
        except OverflowError:  # the power, after some 1,000 restarts
            return self.max
