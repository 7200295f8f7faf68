"""The default pace of retries."""

from __future__ import annotations

from random import Random

CAP = 36  # attempts; 2**36 s are 2,000 years
_DICE = Random()  # noqa: S311 - spreads retries; nothing is decided by it


def exp_backoff(
    attempt: int,
    *,
    min: float | None = None,
    max: float | None = None,
    factor: float = 1.0,
    random: Random | None = None,
) -> float:
    """Return the seconds to wait after ``attempt`` failed attempts.

    Doubles each time and is random by half: attempt 0 gives 0.5 to 1.0, 1 gives 1 to 2, 2
    gives 2 to 4 seconds. Capped at attempt 36.

    Args:
      attempt: How many attempts have failed, >= 0.
      min: Seconds that the result is raised to. None: no floor.
      max: Seconds that the result is lowered to. None: no ceiling.
      factor: What the result is multiplied with, before ``min`` and ``max``.
      random: The dice; None: this module's own.

    Source: Carmine's ``exp-backoff``, seed 001; there in milliseconds.
    """
    base = 2.0**attempt if attempt < CAP else 2.0**CAP
    dice = _DICE if random is None else random
    seconds = (base + dice.uniform(0, base)) * 0.5 * factor
    if min is not None and seconds < min:
        seconds = min
    if max is not None and seconds > max:
        seconds = max
    return seconds
