"""The life of a message: which cause leads it from which state to which.

The core does not read this table: its operations do what the table says, and
`tests/cores/test_transitions.py` holds each of them to it. The diagram in `docs/timed-queue.md`
is drawn from it. What is not in the table does not happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from ._timed_values import State

Cause = Literal[
    # operations, by the names of their methods
    "insert",
    "insert_nowait",
    "wait_insert",
    "refilled",
    "reserve",
    "reserve_many",
    "prolongate",
    "touch",
    "release",
    "snooze",
    "fail",
    "delete",
    "bury",
    "kick",
    "remove",
    "clear",
    "bury_dead",
    # the passing of time, with whatever operation is the next
    "values",  # those that a new queue is to hold go in as soon as it knows the time
    "expiry",
    "end of delay",
]

Case = Literal[
    "",  # always, or in no other case of the same cause
    "delay",  # there is one, or an instant that has not come
    "expired_ok",  # that option, and nobody has taken the message since it expired
    "drop",  # it was the last allowed reservation, or ended by `fail`; `on_exhausted` says so
    "bury",  # likewise
    "dead letter",  # likewise: it says the name of a queue
    "delivered",  # that queue has the dead letter
]


class Transition(NamedTuple):
    """A step in the life of a message.

    Args:
      cause: What takes the step.
      before: The state that it leaves; None: the message was not in the queue.
      after: The state that it enters; None: it is not in the queue any more. The same as
        before: it is reserved under a new key.
      case: When the cause takes this step and not another.
    """

    cause: Cause
    before: State | None
    after: State | None
    case: Case = ""


TRANSITIONS: Final = (
    Transition("insert", None, "ready"),
    Transition("insert", None, "delayed", "delay"),
    Transition("insert_nowait", None, "ready"),
    Transition("insert_nowait", None, "delayed", "delay"),
    Transition("wait_insert", None, "ready"),
    Transition("wait_insert", None, "delayed", "delay"),
    Transition("values", None, "ready"),
    Transition("refilled", None, "ready"),
    Transition("end of delay", "delayed", "ready"),
    Transition("reserve", "ready", "reserved"),
    Transition("reserve_many", "ready", "reserved"),
    Transition("prolongate", "reserved", "reserved"),
    Transition("touch", "reserved", "reserved"),
    Transition("delete", "reserved", None),
    Transition("delete", "ready", None, "expired_ok"),
    Transition("release", "reserved", "ready"),
    Transition("release", "reserved", "delayed", "delay"),
    Transition("release", "reserved", None, "drop"),
    Transition("release", "reserved", "buried", "bury"),
    Transition("release", "reserved", "dead", "dead letter"),
    Transition("snooze", "reserved", "ready"),
    Transition("snooze", "reserved", "delayed", "delay"),
    Transition("fail", "reserved", None, "drop"),
    Transition("fail", "reserved", "buried", "bury"),
    Transition("fail", "reserved", "dead", "dead letter"),
    Transition("expiry", "reserved", "ready"),
    Transition("expiry", "reserved", None, "drop"),
    Transition("expiry", "reserved", "buried", "bury"),
    Transition("expiry", "reserved", "dead", "dead letter"),
    Transition("bury", "reserved", "buried"),
    Transition("kick", "buried", "ready"),
    Transition("remove", "dead", None, "delivered"),
    Transition("bury_dead", "dead", "buried"),
    Transition("remove", "ready", None),
    Transition("remove", "delayed", None),
    Transition("remove", "reserved", None),
    Transition("remove", "buried", None),
    Transition("clear", "ready", None),
    Transition("clear", "delayed", None),
    Transition("clear", "reserved", None),
    Transition("clear", "buried", None),
)
