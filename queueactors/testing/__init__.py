"""For tests of this package and of yours: conformance, cancellation sweep, faults, waiting."""

from queueactors._idle import wait_until_idle as run_until_idle

from ._batch import BATCH_RULES, check_batch
from ._cancel import cancel_at_every_step
from ._capacity import CAPACITY_RULES, check_capacity
from ._channel import CHANNEL_RULES, check_channel
from ._faults import CrashingStore, InjectedCrash
from ._log import LOG_RULES, check_log
from ._message import MESSAGE_RULES, check_message
from ._timed import TIMED_RULES, check_timed
from ._timed_kit import MakeStore, TimedRule, rule_name

__all__ = [
    "BATCH_RULES",
    "CAPACITY_RULES",
    "CHANNEL_RULES",
    "LOG_RULES",
    "MESSAGE_RULES",
    "TIMED_RULES",
    "CrashingStore",
    "InjectedCrash",
    "MakeStore",
    "TimedRule",
    "cancel_at_every_step",
    "check_batch",
    "check_capacity",
    "check_channel",
    "check_log",
    "check_message",
    "check_timed",
    "rule_name",
    "run_until_idle",
]
