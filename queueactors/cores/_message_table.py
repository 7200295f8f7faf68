"""The life of a message in a message queue: one table, which the core reads.

Statuses are not kept; they follow from what is: whether the message is ready, waits for the end
of a backoff, is locked, or is finished and remembered; and whether another content of the same
``mid`` waits for its end (a requeue).

Source: seed 001, Carmine's message queue: its statuses and results, case by case, without what
its own scripts do otherwise: a finished message without a backoff is gone at once, so there is no
``done-awaiting-gc``; and a requeue comes at once when its time has come.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MessageState = Literal["ready", "backoff", "locked", "done", "requeue", "gone"]
"""Where the record of a message is; ``requeue``: it waits for the end of another of its mid."""

Status = Literal[
    "queued",
    "queued-with-backoff",
    "locked",
    "locked-with-requeue",
    "done-with-backoff",
    "done-with-requeue",
]
"""What a mid is; the first row of `STATUSES` that fits says it."""

STATUSES: Final[Mapping[tuple[str, bool], Status]] = {
    # the state of the record, and whether a requeue waits for it
    ("done", True): "done-with-requeue",
    ("done", False): "done-with-backoff",
    ("locked", True): "locked-with-requeue",
    ("locked", False): "locked",
    ("backoff", True): "queued-with-backoff",  # a requeue waits on, unseen, until
    ("backoff", False): "queued-with-backoff",
    ("ready", True): "queued",  # the message has been handled
    ("ready", False): "queued",
}

# -- enqueue ---------------------------------------------------------------------------------------

Refusal = Literal["already-queued", "locked", "backoff"]
Step = Literal["add", "update", "reset", "requeue", "update-requeue"] | Refusal


class Rule(NamedTuple):
    """What an enqueue does.

    Args:
      status: Of the mid; None: there is no such message.
      flags: What the caller must have allowed.
      step: What is done then, or why nothing is.
    """

    status: Status | None
    flags: tuple[str, ...]
    step: Step


RULES: Final = (  # the first that fits counts
    Rule(None, (), "add"),
    Rule("queued", ("can_update",), "update"),
    Rule("queued", ("reset_init_backoff",), "reset"),
    Rule("queued", (), "already-queued"),
    Rule("queued-with-backoff", ("can_update",), "update"),
    Rule("queued-with-backoff", ("reset_init_backoff",), "reset"),
    Rule("queued-with-backoff", (), "already-queued"),
    Rule("locked", ("can_requeue",), "requeue"),
    Rule("locked", (), "locked"),
    Rule("locked-with-requeue", ("can_requeue", "can_update"), "update-requeue"),
    Rule("locked-with-requeue", ("can_requeue",), "already-queued"),
    Rule("locked-with-requeue", (), "locked"),
    Rule("done-with-backoff", ("can_requeue",), "requeue"),
    Rule("done-with-backoff", (), "backoff"),
    Rule("done-with-requeue", ("can_requeue", "can_update"), "update-requeue"),
    Rule("done-with-requeue", ("can_requeue",), "already-queued"),
    Rule("done-with-requeue", (), "backoff"),
)

# -- the end of a claim ----------------------------------------------------------------------------

Result = Literal["success", "retry", "error"]
End = Literal["drop", "remember", "ready", "back off"]

ENDS: Final[Mapping[tuple[Result, bool], End]] = {
    # what became of it, and whether a backoff was given
    ("success", False): "drop",  # what waits as its requeue is ready at once
    ("success", True): "remember",  # its mid is refused until the backoff is over
    ("retry", False): "ready",
    ("retry", True): "back off",
    ("error", False): "drop",
    ("error", True): "drop",  # as in seed 001: an error has no backoff
}

# -- what passes by itself -------------------------------------------------------------------------

PASSES: Final[Mapping[MessageState, End]] = {
    "backoff": "ready",
    "locked": "ready",  # with its attempts, and with what waits as its requeue
    "done": "drop",
}

Flags = tuple[Status | None, bool, bool, bool]


def _by_flags(rules: Iterable[Rule]) -> dict[Flags, Step]:
    steps: dict[Flags, Step] = {}
    for rule in rules:
        for can_update, can_requeue, reset in product((False, True), repeat=3):
            given = {
                "can_update": can_update,
                "can_requeue": can_requeue,
                "reset_init_backoff": reset,
            }
            if all(given[flag] for flag in rule.flags):
                steps.setdefault((rule.status, *given.values()), rule.step)  # type: ignore[arg-type] # three flags
    return steps


STEPS: Final = _by_flags(RULES)
"""The same, by the status and the flags can_update, can_requeue, reset_init_backoff."""
