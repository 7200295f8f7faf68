"""The errors of the control socket, and how errors travel through it.

An error goes as its class's name, its text and its facts; the other side makes the same error of
the facts if it knows the class, and has the same text then, and a `ControlError` otherwise.
"""

from __future__ import annotations

from typing import Final

import msgspec
import trio

import queueactors._errors as own
import queueactors._state_errors as states
import supervisors
from queueactors._errors import QueueActorsError
from supervisors import SupervisorsError


class ControlError(QueueActorsError):
    """The runtime has refused a request, or failed at it, with an error that is not known here.

    Args:
      type: The name of its class over there.
      message: Its text.
    """

    def __init__(self, type: str, message: str) -> None:
        super().__init__(type, message)
        self.type = type
        self.message = message

    def __str__(self) -> str:
        return self.message or self.type


class ControlProtocolError(QueueActorsError):
    """What came is not the protocol's, or of another version; or more than its limits allow."""


class ControlUnreachableError(QueueActorsError):
    """Nobody answers at the control socket, or not whom one can trust.

    Args:
      path: The socket's.
      reason: Why not, and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class ControlClosedError(QueueActorsError):
    """The connection has ended; what became of the request is not known.

    Args:
      path: The socket's.
      reason: What the runtime has said about it, or what is wrong with it; empty: not known.
    """

    def __init__(self, path: str, reason: str = "") -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        why = self.reason and f": {self.reason}"
        return f"{self.path}: the connection to the runtime has ended{why}"


class ControlLockedError(QueueActorsError):
    """Another process has the control socket.

    Args:
      path: The socket's.
      pid: The owner's process id; None: it could not be read.
      started_at: When the owner made it, as ISO 8601 text; None: likewise.
    """

    def __init__(self, path: str, pid: int | None, started_at: str | None) -> None:
        super().__init__(path, pid, started_at)
        self.path = path
        self.pid = pid
        self.started_at = started_at

    def __str__(self) -> str:
        owner = own.owner_text(self.pid, self.started_at, None)
        return (
            f"the control socket {self.path} belongs to {owner}; stop it first, or "
            "give this runtime another [runtime] data_dir or [control] socket"
        )


class Fault(msgspec.Struct, omit_defaults=True):
    """An error on its way.

    Args:
      type: The name of its class.
      message: Its text.
      args: Its facts, if they can travel.
    """

    type: str
    message: str
    args: list[object] | None = None


def fault_of(error: BaseException) -> Fault:
    """Return an error as it travels."""
    if isinstance(error, ControlError):
        return Fault(error.type, error.message)
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - a stranger's __str__
        message = "(its message cannot be shown)"
    message = message.encode("utf-8", "backslashreplace").decode("utf-8")
    name = type(error).__name__
    if _class_of(name) is not type(error):
        return Fault(name, message)
    try:
        args = msgspec.json.decode(msgspec.json.encode(error.args), type=list[object])
    except Exception:  # noqa: BLE001 - whatever they are, they cannot travel
        return Fault(name, message)
    return Fault(name, message, args)


def error_of(fault: Fault) -> Exception:
    """Return the error that has come."""
    known = _class_of(fault.type)
    if known is None or fault.args is None:
        return ControlError(fault.type, fault.message)
    try:
        made = known(*_args_of(fault))
        told = str(made)
    except Exception:  # noqa: BLE001 - it is another version's
        return ControlError(fault.type, fault.message)
    return made if told == fault.message else ControlError(fault.type, fault.message)


def _class_of(name: str) -> type[Exception] | None:
    """Return the error of that name; None: it is none that travels as it is."""
    if name == "ConfigError":
        from queueactors.config import ConfigError  # importing this package must not cost it

        return ConfigError
    return KNOWN.get(name)


def _args_of(fault: Fault) -> list[object]:
    """Return an error's facts, as its class takes them."""
    if fault.type != "ConfigError":
        return fault.args or []
    from queueactors.config import Fault as ConfigFault

    return [*msgspec.convert(fault.args, list[list[ConfigFault]])]


def _known() -> dict[str, type[Exception]]:
    """Return the errors that travel as they are, by name."""
    found: dict[str, type[Exception]] = {
        each.__name__: each
        for each in (ValueError, TypeError, LookupError, trio.TooSlowError, ControlProtocolError)
    }
    theirs = {name: getattr(supervisors, name) for name in supervisors.__all__ if "Error" in name}
    for errors, root in (
        (vars(own), QueueActorsError),
        (vars(states), QueueActorsError),
        (theirs, SupervisorsError),
    ):
        found |= {
            name: each
            for name, each in errors.items()
            if isinstance(each, type) and issubclass(each, root) and not name.startswith("_")
        }
    return found


KNOWN: Final = _known()
