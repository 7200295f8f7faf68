"""The one clock: epoch nanoseconds that advance with trio's clock."""

from __future__ import annotations

import time
from math import inf, nextafter
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 1_000_000_000  # nanoseconds


@attrs.define(eq=False)
class Clock:
    """Instants that never step back, can be persisted, and obey `trio.testing.MockClock`.

    Make it with `Clock.open`, inside ``trio.run``.
    """

    _epoch_ns: int
    _opened_at: float

    @classmethod
    def open(cls, *, wall: Callable[[], int] = time.time_ns, not_before: int = 0) -> Clock:
        """Start the clock.

        Args:
          wall: Epoch nanoseconds now; read once.
          not_before: The newest persisted instant: the clock starts there if the wall is behind.
        """
        return cls(epoch_ns=max(wall(), not_before), opened_at=trio.current_time())

    def start_at(self, instant_ns: int) -> None:
        """Be at an instant at least: the newest that is persisted, before anybody goes by it."""
        self._epoch_ns += max(0, instant_ns - self.now_ns())

    def now_ns(self) -> int:
        """Return epoch nanoseconds."""
        return self._epoch_ns + int((trio.current_time() - self._opened_at) * 1e9)

    def deadline(self, at_ns: int | None) -> float:
        """Return the first instant of trio's clock at which `now_ns` has reached ``at_ns``.

        Rounded up: a timer that fires before its instant would be set again for ever.

        Args:
          at_ns: Epoch nanoseconds; None: never.
        """
        if at_ns is None:
            return inf
        elapsed = at_ns - self._epoch_ns
        at = self._opened_at + elapsed / 1e9
        while int((at - self._opened_at) * 1e9) < elapsed:
            at = nextafter(at, inf)
        return at
