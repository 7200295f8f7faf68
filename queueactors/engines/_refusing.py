"""What a queue that is being drained answers: it takes nothing in, and hands out all it has.

It is not closed: that would be for good, and would end a batch queue's processing. So what takes
in is put out of action in the engine, for as long as the actor says so.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from queueactors._state_errors import QueueClosedError
from queueactors.cores.channel import ChannelCore
from queueactors.cores.timed import TimedCore

if TYPE_CHECKING:
    from ._protocol import Method

ADDS: Final = frozenset(
    {
        "add",
        "enqueue",
        "insert",
        "push",
        "push_whole",
        "send",
        "wait_enqueue",
        "wait_insert",
        "wait_push",
        "wait_push_whole",
    }
)
"""The operations of all kinds that take something in, and may be refused."""
_INSIDE: Final = ("push", "wait_push")  # those that may come from a batch queue's own process


def refuse_adds(core: object, name: str, methods: dict[str, Method]) -> None:
    """Let a core's operations take nothing in any more.

    Args:
      core: The core.
      name: The queue's.
      methods: Its operations, which are changed.
    """

    def refuse(operation: str, now: int, *args: object) -> object:
        if operation in _INSIDE and args[1:] and args[1] is True:
            return plain[operation](now, *args)  # the process function brings something back
        raise QueueClosedError(name)

    plain = dict(methods)
    for operation in ADDS & set(methods):
        methods[operation] = partial(refuse, operation)
    if isinstance(core, ChannelCore):
        core.places.closed = True  # for those who do not ask
        methods["try_send"] = lambda _now, _value: False
    if isinstance(core, TimedCore):
        core.drains = True
        methods["insert_nowait"] = partial(core.drop, error=QueueClosedError(name))


def accept_adds(core: object) -> None:
    """Undo what `refuse_adds` did to the core itself."""
    if isinstance(core, ChannelCore):
        core.places.closed = core.records.closed
    if isinstance(core, TimedCore):
        core.drains = False
