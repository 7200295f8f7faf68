"""The control socket: what an operator asks of a running runtime, and tells it.

Start with `open_control`; docs/control.md has the protocol and every method.
"""

from ._client import ControlClient, ControlStream, open_control
from ._errors import (
    ControlClosedError,
    ControlError,
    ControlLockedError,
    ControlProtocolError,
    ControlUnreachableError,
)
from ._values import Peeked, QueueRow, Redriven, RuntimeStatus, Taken, Top, WorkerRow

__all__ = [
    "ControlClient",
    "ControlClosedError",
    "ControlError",
    "ControlLockedError",
    "ControlProtocolError",
    "ControlStream",
    "ControlUnreachableError",
    "Peeked",
    "QueueRow",
    "Redriven",
    "RuntimeStatus",
    "Taken",
    "Top",
    "WorkerRow",
    "open_control",
]
