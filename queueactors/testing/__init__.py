"""For tests of this package and of yours: cancellation sweep, faults, waiting for idle."""

from queueactors._idle import wait_until_idle as run_until_idle

from ._cancel import cancel_at_every_step
from ._faults import CrashingStore, InjectedCrash

__all__ = ["CrashingStore", "InjectedCrash", "cancel_at_every_step", "run_until_idle"]
