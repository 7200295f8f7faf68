"""The default pace of retries."""

from __future__ import annotations

from math import inf
from random import Random

from queueactors._options import check_integer, check_seconds

CAP = 36  # attempts; 2**36 s are 2,000 years
BITS = 52  # of a draw: 1 + draw / 2**52 is exact, so the upper bound is never rounded to
_DICE = Random()  # noqa: S311 - spreads retries; nothing is decided by it


def exp_backoff(
    attempt: int,
    min: float | None = None,
    max: float | None = None,
    factor: float = 1.0,
    *,
    random: Random | None = None,
) -> float:
    """Return the seconds to wait after ``attempt`` failed attempts.

    Doubles each time and is random by half: attempt 0 gives 0.5 to 1.0, 1 gives 1 to 2, 2
    gives 2 to 4 seconds, each spread evenly, the upper bound excluded. From attempt 36 on it
    stays the same.

    Args:
      attempt: How many attempts have failed, >= 0.
      min: Seconds (>= 0) that the result is raised to. None: no floor.
      max: Seconds (>= 0) that the result is then lowered to. None: no ceiling.
      factor: What the result is multiplied with (>= 0), before ``min`` and ``max``.
      random: The dice; None: this module's own.

    Raises:
      TypeError: If ``attempt`` is no int, or another argument no number.
      ValueError: If one of them is out of its range.

    Source: Carmine's ``exp-backoff``, seed 001; there in milliseconds.
    """
    check_integer("attempt", attempt, least=0)
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise TypeError(f"expected factor to be a finite number >= 0, got {factor!r}")
    if not 0 <= factor < inf:
        raise ValueError(f"expected factor to be a finite number >= 0, got {factor!r}")
    if min is not None:
        check_seconds("min", min)
    if max is not None:
        check_seconds("max", max)
    dice = _DICE if random is None else random
    power = 2.0**attempt if attempt < CAP else 2.0**CAP
    seconds = power / 2 * (1 + dice.getrandbits(BITS) / (1 << BITS)) * factor
    if min is not None and seconds < min:
        seconds = min
    if max is not None and seconds > max:
        seconds = max
    return seconds
