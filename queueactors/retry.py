"""Retry policies: how often something that failed is tried again, and when.

A policy is asked after each call that failed, and says how many seconds to wait before the next,
or that there is none. It has no state: one may serve any number of queues and workers.

Source: seed 003, ``liq``: its policies and their rules. There a fractional base is cut to an
integer after the power, and a linear policy of one or two attempts cannot be made; here both do
what they say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Protocol, runtime_checkable

import attrs

from ._options import Checks, Means, Seconds

if TYPE_CHECKING:
    from random import Random

__all__ = ["FOR_EVER", "Exponential", "Fixed", "Linear", "Retry", "RetryPolicy"]


@runtime_checkable
class RetryPolicy(Protocol):
    """What a policy is: write your own with this one method."""

    def delay(self, attempt: int, random: Random, /) -> float | None:
        """Return the seconds (>= 0) to wait before the next call; None: there is none.

        Args:
          attempt: How many calls there were, all of them failed (>= 1).
          random: The dice, for jitter.
        """


Retry = Annotated[RetryPolicy, Means.RETRY]


@attrs.frozen
class Fixed:
    """Waits equally long each time.

    Args:
      attempts: How many calls there are in all (>= 0). 0: without limit.
      interval: Seconds (>= 0) before each call but the first.
      jitter: The share (>= 0, < 1) by which a wait is longer or shorter, at random.
      cooldown: Seconds (>= 0) of rest after the last call, where what failed is taken up again
        after that; only with a limit of attempts.

    Raises:
      OptionsError: If an argument breaks its rule; ``.faults`` has every one.
    """

    attempts: int
    interval: Seconds
    jitter: float = attrs.field(default=0.1, kw_only=True)
    cooldown: Seconds = attrs.field(default=0.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        checks = _checked(self.attempts, self.jitter, self.cooldown)
        checks.seconds("interval", self.interval, positive=False)
        checks.done()

    def delay(self, attempt: int, random: Random) -> float | None:
        """Return the seconds to wait after so many calls, see `RetryPolicy.delay`."""
        return _delay(self.attempts, attempt, self.interval, self.jitter, random)


@attrs.frozen
class Linear:
    """Waits longer each time, by the same step.

    Args:
      attempts: As for `Fixed`.
      min: Seconds (> 0) before the second call.
      max: Seconds (> ``min``) that no wait exceeds, but for jitter.
      step: Seconds (> 0) by which each wait is longer. None: such that the last one is ``max``;
        without a limit of attempts, ``min``.
      jitter: As for `Fixed`.
      cooldown: As for `Fixed`.

    Raises:
      OptionsError: If an argument breaks its rule; ``.faults`` has every one.
    """

    attempts: int
    min: Seconds
    max: Seconds
    step: Seconds | None = None
    jitter: float = attrs.field(default=0.1, kw_only=True)
    cooldown: Seconds = attrs.field(default=0.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        checks = _checked(self.attempts, self.jitter, self.cooldown)
        _check_range(checks, self.min, self.max)
        if self.step is not None:
            checks.seconds("step", self.step, positive=True)
        checks.done()

    def delay(self, attempt: int, random: Random) -> float | None:
        """Return the seconds to wait after so many calls, see `RetryPolicy.delay`."""
        step = self.step
        if step is None:
            waits = self.attempts - 1
            step = (self.max - self.min) / (waits - 1) if waits > 1 else self.min
        wait = _at_most(self.max, self.min + step * (attempt - 1))
        return _delay(self.attempts, attempt, wait, self.jitter, random)


@attrs.frozen
class Exponential:
    """Waits longer each time, by the same factor.

    Args:
      attempts: As for `Fixed`.
      min: Seconds (> 0) before the second call.
      max: Seconds (> ``min``) that no wait exceeds, but for jitter.
      base: By what (> 1) each wait is longer than the one before.
      jitter: As for `Fixed`.
      cooldown: As for `Fixed`.

    Raises:
      OptionsError: If an argument breaks its rule; ``.faults`` has every one.
    """

    attempts: int = 0
    min: Seconds = 1.0
    max: Seconds = 3600.0
    base: float = 2.0
    jitter: float = attrs.field(default=0.1, kw_only=True)
    cooldown: Seconds = attrs.field(default=0.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        checks = _checked(self.attempts, self.jitter, self.cooldown)
        _check_range(checks, self.min, self.max)
        base: object = self.base
        if not isinstance(base, int | float) or isinstance(base, bool) or not 1 < base < _LARGEST:
            checks.refuse("base", f"a number > 1 and < {_LARGEST:.0e}", base)
        checks.done()

    def delay(self, attempt: int, random: Random) -> float | None:
        """Return the seconds to wait after so many calls, see `RetryPolicy.delay`."""
        try:
            wait = _at_most(self.max, self.min * float(self.base) ** (attempt - 1))
        except OverflowError:
            wait = self.max
        return _delay(self.attempts, attempt, wait, self.jitter, random)


def is_policy(given: object) -> bool:
    """Whether something is a retry policy, and not merely the class of one."""
    return isinstance(given, RetryPolicy) and not isinstance(given, type)


_LARGEST: Final = 1e9


def _checked(attempts: object, jitter: object, cooldown: object) -> Checks:
    """Return the checks of what all policies have, to go on with."""
    checks = Checks()
    checks.integer("attempts", attempts, least=0)
    if not isinstance(jitter, int | float) or isinstance(jitter, bool) or not 0 <= jitter < 1:
        checks.refuse("jitter", "a share >= 0 and < 1", jitter)
    checks.seconds("cooldown", cooldown, positive=False)
    if attempts == 0 and cooldown:
        checks.faults.append(
            ("cooldown", "cooldown needs a limit of attempts: without one it never comes to that")
        )
    return checks


def _check_range(checks: Checks, least: object, most: object) -> None:
    before = len(checks.faults)
    checks.seconds("min", least, positive=True)
    checks.seconds("max", most, positive=True)
    if len(checks.faults) == before and not least < most:  # type: ignore[operator] # two numbers
        checks.refuse("max", f"more than min, {least!r}", most)


def _at_most(most: float, wait: float) -> float:
    return min(most, wait)


def _delay(attempts: int, attempt: int, wait: float, jitter: float, random: Random) -> float | None:
    """Return the wait, with jitter; None if there were enough attempts.

    Raises:
      ValueError: If ``attempt`` is no number of calls.
    """
    if attempt < 1:
        raise ValueError(f"expected attempt, the calls there were, to be >= 1, got {attempt!r}")
    if attempts and attempt >= attempts:
        return None
    return wait * (1 + random.uniform(-jitter, jitter)) if jitter else wait


FOR_EVER: Final = Exponential()
"""Without a limit of attempts, from a second to an hour: what is done where nothing is said."""
