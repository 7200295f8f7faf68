"""Every error of `supervisors`: one class per decision that a caller can take.

The facts are attributes, the constructor's arguments are the facts, and so every error
survives pickling. Messages name the thing, the rule, and what to do.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from signal import Signals

DownReason = Literal["stopped", "parked", "gone"]


LONGEST = 200  # characters of a word that is looked for: of a million it takes 0.1 s


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known word, or nothing."""
    told = str(word)
    if len(told) > LONGEST:
        return ""
    near = get_close_matches(told, [str(name) for name in known], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


class SupervisorsError(Exception):
    """The root of this package's errors."""


class Shutdown(Exception):  # noqa: N818 - OTP's word, and not an error
    """Raise it in a child to end in an orderly way: OTP's exit reason ``shutdown``.

    Args:
      info: Why; kept for the log. None: no more to say.
    """

    def __init__(self, info: object = None) -> None:
        super().__init__(info)
        self.info = info

    def __str__(self) -> str:
        return "shutdown" if self.info is None else f"shutdown: {self.info!r}"


class ChildSpecError(SupervisorsError, ValueError):
    """Child specs or supervisor flags break a rule. Nothing was started.

    Args:
      faults: Every fault found, one sentence each.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(tuple(faults))
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "; ".join(self.faults)


class ChildError(SupervisorsError):
    """Base of the errors that are about one child of one supervisor.

    Args:
      supervisor: The supervisor's path.
      child: The child's id.
    """

    rule = "it failed"

    def __init__(self, supervisor: str, child: str) -> None:
        super().__init__(supervisor, child)
        self.supervisor = supervisor
        self.child = child

    def __str__(self) -> str:
        return f"child {self.child!r} of supervisor {self.supervisor!r}: {self.rule}"


class ChildStartError(ChildError):
    """A child failed before it had initialised; ``__cause__`` is its own error."""

    rule = "it failed to start"

    def __str__(self) -> str:
        cause = self.__cause__
        told = "" if cause is None else f": {type(cause).__name__}: {cause}"
        return super().__str__() + told


class ChildNotFoundError(ChildError, LookupError):
    """The supervisor has no child of that id."""

    rule = "there is no such child"

    def __init__(self, supervisor: str, child: str, known: Sequence[str] = ()) -> None:
        super().__init__(supervisor, child)
        self.known = tuple(known)
        self.args = (supervisor, child, self.known)

    def __str__(self) -> str:
        return f"{super().__str__()}{did_you_mean(self.child, self.known)}"


class ChildAlreadyStartedError(ChildError):
    """`start_child` of an id that is running."""

    rule = "it is running already; call terminate_child first, or choose another id"


class ChildAlreadyPresentError(ChildError):
    """`start_child` of an id whose spec is kept although it does not run."""

    rule = "its spec is here already; use restart_child, or delete_child before adding another"


class ChildRunningError(ChildError):
    """`restart_child` or `delete_child` of a running child."""

    rule = "it is running; call terminate_child first"


class ChildRestartingError(ChildError):
    """`restart_child` or `delete_child` of a child that is waiting for its restart."""

    rule = "it is about to be restarted; call terminate_child to stop that"


class MaxChildrenError(SupervisorsError):
    """A dynamic supervisor is full.

    Args:
      supervisor: Its path.
      max_children: Its limit.
    """

    def __init__(self, supervisor: str, max_children: int) -> None:
        super().__init__(supervisor, max_children)
        self.supervisor = supervisor
        self.max_children = max_children

    def __str__(self) -> str:
        return (
            f"supervisor {self.supervisor!r} has its max_children of {self.max_children} already; "
            "terminate one first"
        )


class SupervisorStoppedError(SupervisorsError):
    """An administration call on a supervisor that has ended, or is about to.

    Also what `open_supervisor` raises if a signal stops it before its children are up.

    Args:
      supervisor: Its path.
      signal: The signal that stopped it while it started; None: it had started.
    """

    def __init__(self, supervisor: str, signal: Signals | None = None) -> None:
        super().__init__(supervisor, signal)
        self.supervisor = supervisor
        self.signal = signal

    def __str__(self) -> str:
        if self.signal is not None:
            return f"supervisor {self.supervisor!r} was stopped by {self.signal.name} at its start"
        return f"supervisor {self.supervisor!r} is not running any more"


class RestartIntensityError(SupervisorsError):
    """More restarts than ``intensity`` within ``period``: the supervisor has given up.

    Args:
      supervisor: Its path.
      child: The id of the child whose exit tipped it.
      exceptions: What the children in the window failed with, oldest first; an orderly exit
        of a permanent child counts too and leaves no exception.
    """

    def __init__(
        self, supervisor: str, child: str, exceptions: Sequence[BaseException] = ()
    ) -> None:
        super().__init__(supervisor, child, tuple(exceptions))
        self.supervisor = supervisor
        self.child = child
        self.exceptions = tuple(exceptions)

    def __str__(self) -> str:
        last = self.exceptions[-1] if self.exceptions else None
        told = "" if last is None else f"; last error: {type(last).__name__}: {last}"
        return (
            f"supervisor {self.supervisor!r} gave up: child {self.child!r} "
            f"exceeded its restart intensity{told}"
        )


class ActorError(SupervisorsError):
    """Base of the errors that a call to an actor can end with."""


class ActorCrashedError(ActorError):
    """The actor crashed over this very operation, which did not happen.

    ``__cause__`` is the actor's own error. The actor restarts; try again if you like.

    Args:
      actor: The actor's name.
    """

    def __init__(self, actor: str) -> None:
        super().__init__(actor)
        self.actor = actor

    def __str__(self) -> str:
        cause = self.__cause__
        told = "" if cause is None else f": {type(cause).__name__}: {cause}"
        return f"actor {self.actor!r} crashed over this operation{told}"


class ActorDownError(ActorError):
    """The actor does not run, and nobody is about to restart it.

    Args:
      actor: The actor's name.
      reason: ``"stopped"`` by an operator or by its own end, ``"parked"`` after too many
        failures (`restart_child` brings it back), or ``"gone"`` with its supervisor or spec.
    """

    def __init__(self, actor: str, reason: DownReason) -> None:
        super().__init__(actor, reason)
        self.actor = actor
        self.reason: DownReason = reason

    def __str__(self) -> str:
        return f"actor {self.actor!r} is {self.reason}"


class NotRegisteredError(SupervisorsError, LookupError):
    """No such name in the registry.

    Args:
      name: The name that was asked for.
      known: The names that are there.
    """

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        super().__init__(name, tuple(known))
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        return f"no {self.name!r} is registered{did_you_mean(self.name, self.known)}"


class NameTakenError(SupervisorsError):
    """The name belongs to another live child.

    Args:
      name: The name.
      owner: The path of the child that holds it.
    """

    def __init__(self, name: str, owner: str) -> None:
        super().__init__(name, owner)
        self.name = name
        self.owner = owner

    def __str__(self) -> str:
        return f"the name {self.name!r} is taken by {self.owner!r}"


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors that a group holds at any depth, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


def describe(error: BaseException) -> str:
    """Return an error as ``Type: message``, a group by its leaves."""
    return "; ".join(map(_describe, leaves(error)))


def _describe(leaf: BaseException) -> str:
    try:
        told = str(leaf)
    except Exception:  # noqa: BLE001 - a stranger's __str__ must not end a supervisor
        told = "(its message cannot be shown)"
    return f"{type(leaf).__name__}: {told}" if told else type(leaf).__name__
