"""The restart core: what a supervisor does about a child's exit. It never does it itself.

Pure: the instant and the random source come in, a decision goes out. The shell that cancels,
starts and waits is `_supervisor`. Source: OTP's ``supervisor``, restart intensity and
strategies; backoff and parking are ours.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

import attrs

from ._errors import Shutdown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from ._spec import ChildSpec, Strategy, SupervisorFlags


class ExitKind(Enum):
    """OTP's classes of exit reasons."""

    NORMAL = "normal"  # the child returned
    SHUTDOWN = "shutdown"  # it was asked to stop, or raised `Shutdown`
    ABNORMAL = "abnormal"  # anything else


def classify(error: BaseException | None) -> ExitKind:
    """Return the class of an exit, judging a group by its leaves.

    Args:
      error: What the child ended with, without the cancellations that its own scope absorbs;
        None if it returned.
    """
    if error is None:
        return ExitKind.NORMAL
    if isinstance(error, BaseExceptionGroup):
        rest = error.split(Shutdown)[1]
        return ExitKind.SHUTDOWN if rest is None else ExitKind.ABNORMAL
    return ExitKind.SHUTDOWN if isinstance(error, Shutdown) else ExitKind.ABNORMAL


@attrs.frozen
class Leave:
    """Do not restart. ``forget``: drop the spec too."""

    forget: bool


@attrs.frozen
class Restart:
    """Restart the child, and its group with it, after ``after_seconds``."""

    after_seconds: float


@attrs.frozen
class Park:
    """Leave this child down until an operator restarts it; go on with the others."""


@attrs.frozen
class GiveUp:
    """Stop all children and end the supervisor with these ``errors``, oldest first."""

    errors: tuple[BaseException, ...]


Decision = Leave | Restart | Park | GiveUp


@attrs.define(eq=False)
class RestartLog:
    """The sliding window of restart attempts: one per supervisor, not one per child.

    An attempt counts while ``now - t <= period`` (OTP floors to whole seconds, which makes its
    window anything up to a second longer).
    """

    intensity: int
    period: float
    _entries: deque[tuple[float, str, BaseException | None]] = attrs.field(
        factory=deque, init=False
    )

    def add(self, now: float, child: str, error: BaseException | None) -> bool:
        """Note an attempt; return whether the supervisor may go on."""
        entries = self._entries
        entries.append((now, child, error))
        while now - entries[0][0] > self.period:
            entries.popleft()
        return len(entries) <= self.intensity

    def forget(self, child: str) -> None:
        """Drop the entries of a child that was parked."""
        self._entries = deque(entry for entry in self._entries if entry[1] != child)

    def drain(self) -> tuple[BaseException, ...]:
        """Return what the attempts in the window were for, oldest first, and forget them.

        They have frames, and somebody may keep the supervisor that has given up.
        """
        errors = tuple(error for _, _, error in self._entries if error is not None)
        self._entries.clear()
        return errors


@attrs.define(eq=False)
class RestartCore:
    """Decides about exits, for one supervisor.

    Args:
      flags: The supervisor's own.
      random: For the jitter of the backoff.
    """

    flags: SupervisorFlags
    random: Random
    log: RestartLog = attrs.field(init=False)
    _in_a_row: dict[str, int] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.log = RestartLog(self.flags.intensity, self.flags.period)

    def exited(
        self,
        spec: ChildSpec,
        kind: ExitKind,
        error: BaseException | None,
        *,
        ran_for: float,
        now: float,
    ) -> Decision:
        """Decide about a child's own exit, or about its failed attempt to restart.

        Args:
          spec: The child's.
          kind: How it ended.
          error: What with; None if it returned.
          ran_for: Seconds since it had initialised; 0 if it never did.
          now: Seconds on the supervisor's clock.
        """
        if spec.restart == "temporary":
            return Leave(forget=True)
        if spec.restart == "transient" and kind is not ExitKind.ABNORMAL:
            return Leave(forget=False)
        if not self.log.add(now, spec.id, error):
            if spec.on_give_up == "park":
                self.forget(spec.id)
                return Park()
            return GiveUp(self.log.drain())
        if ran_for >= spec.backoff.reset_after:
            self._in_a_row.pop(spec.id, None)
        restarts = self._in_a_row.get(spec.id, 0)
        self._in_a_row[spec.id] = restarts + 1
        return Restart(spec.backoff.delay(restarts, self.random))

    def change(self, flags: SupervisorFlags) -> None:
        """Go by other flags from now on; what has happened in the window still counts."""
        self.flags = flags
        self.log.intensity, self.log.period = flags.intensity, flags.period

    def forget(self, child: str) -> None:
        """Drop what is known of a child that was parked, stopped or deleted."""
        self.log.forget(child)
        self.settle(child)

    def settle(self, child: str) -> None:
        """Start the backoff of a child again: an operator has acted on it."""
        self._in_a_row.pop(child, None)


def group(strategy: Strategy, order: Sequence[str], failed: str) -> Sequence[str]:
    """Return the ids that restart together with ``failed``, in start order.

    Args:
      strategy: The supervisor's.
      order: All ids, in start order.
      failed: The one whose exit leads to a restart.
    """
    match strategy:
        case "one_for_one":
            return (failed,)
        case "one_for_all":
            return order
        case "rest_for_one":
            return order[order.index(failed) :]


def ends_supervisor(flags: SupervisorFlags, spec: ChildSpec, *, others_live: bool) -> bool:
    """Return whether this child's own end, without a restart, ends the supervisor.

    Args:
      flags: The supervisor's.
      spec: Of the child that has ended by itself (an operator's stop never counts).
      others_live: Whether another significant child still runs or is about to.
    """
    if not spec.significant:
        return False
    match flags.auto_shutdown:
        case "never":
            return False
        case "any_significant":
            return True
        case "all_significant":
            return not others_live
