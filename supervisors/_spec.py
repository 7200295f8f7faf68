"""Child specs and the other frozen values of a supervisor's public face."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal, final

import attrs

from ._backoff import Backoff
from ._checks import boolean, function, instance, integer, one_of, seconds, text
from ._errors import ChildSpecError

RestartType = Literal["permanent", "transient", "temporary"]
ShutdownTime = float | Literal["brutal", "infinity"]
ChildType = Literal["worker", "supervisor"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]
OnGiveUp = Literal["escalate", "park"]
ChildState = Literal[
    "starting", "running", "restarting", "stopping", "stopped", "finished", "parked"
]
StartFunction = Callable[..., Awaitable[object]]  # type: ignore[explicit-any] # user's own
Value = Any  # type: ignore[explicit-any] # what a child reports, a handler answers, a name means

MAILBOX: Final = 1024  # default bound of a mailbox, in casts and submitted operations
WORKER_SHUTDOWN: Final = 5.0  # seconds; OTP's default for a worker


@final
class _Ignore:
    """The type of `IGNORE`."""

    def __repr__(self) -> str:
        return "supervisors.IGNORE"


IGNORE: Final = _Ignore()
"""``task_status.started(IGNORE)``: the child has nothing to do; no failure, no restart."""


@attrs.frozen(kw_only=True)
class ChildSpec:
    """How to start, restart and stop one child.

    Args:
      id: Its name, unique within its supervisor.
      start: An async function that *is* the child: called as
        ``start(*args, task_status=...)`` in a task of its own. It calls
        ``task_status.started(value)`` when it can serve, and then runs until it is done or
        cancelled. Returning or raising before that is a failed start.
      args: Its positional arguments.
      restart: ``permanent``: restarted whatever its exit was. ``transient``: only after an
        error. ``temporary``: never, and its spec is dropped when it ends.
      shutdown: Seconds (>= 0) between asking the child to stop (cancelling it) and killing it;
        ``"brutal"``: kill at once; ``"infinity"``: wait as long as it takes. None: 5 s for a
        worker, infinity for a supervisor.
      type: ``supervisor`` if it has children of its own.
      significant: Its own end may stop the whole supervisor, see ``auto_shutdown``.
      init_timeout: Seconds (> 0) that it may take to call ``started``. None: no limit.
      backoff: The pace of its restarts.
      on_give_up: What happens to it when its exit exceeds the supervisor's intensity:
        ``escalate`` ends the supervisor, ``park`` leaves this child down until
        `restart_child`, and the supervisor goes on.

    Raises:
      ChildSpecError: If a value breaks a rule; ``.faults`` has every one.

    Source: OTP's ``supervisor`` behaviour, child specification; ``init_timeout``, ``backoff``
    and ``on_give_up`` are ours.
    """

    id: str
    start: StartFunction
    args: tuple[object, ...] = ()
    restart: RestartType = "permanent"
    shutdown: ShutdownTime | None = None
    type: ChildType = "worker"
    significant: bool = False
    init_timeout: float | None = None
    backoff: Backoff = Backoff()  # noqa: RUF009 - frozen
    on_give_up: OnGiveUp = "escalate"

    def __attrs_post_init__(self) -> None:
        faults = [f"child {self.id!r}: {fault}" for fault in self._faults()]
        if faults:
            raise ChildSpecError(faults)

    def _faults(self) -> list[str]:
        faults: list[str] = []
        faults += text("id", self.id)
        faults += function("start", self.start)
        faults += instance("args", self.args, tuple, "a tuple")
        faults += one_of("restart", self.restart, RestartType)
        faults += one_of("type", self.type, ChildType)
        faults += one_of("on_give_up", self.on_give_up, OnGiveUp)
        if self.shutdown not in (None, "brutal", "infinity"):
            or_else = ", 'brutal', 'infinity' or None"
            faults += seconds("shutdown", self.shutdown, positive=False, or_else=or_else)
        faults += boolean("significant", self.significant)
        if self.significant is True and self.restart == "permanent":
            faults.append("a permanent child cannot be significant: it never ends for good")
        if self.init_timeout is not None:
            faults += seconds("init_timeout", self.init_timeout, positive=True, or_else=" or None")
        faults += instance("backoff", self.backoff, Backoff, "a Backoff")
        return faults

    @property
    def shutdown_seconds(self) -> float:
        """Seconds between asking and killing; ``inf`` for ``"infinity"``, 0 for ``"brutal"``."""
        match self.shutdown:
            case None:
                return WORKER_SHUTDOWN if self.type == "worker" else float("inf")
            case "infinity":
                return float("inf")
            case "brutal":
                return 0.0
            case given:
                return float(given)


@attrs.frozen(kw_only=True)
class SupervisorFlags:
    """How a supervisor treats its children as a group.

    Args:
      strategy: Which siblings restart with a failed child.
      intensity: Restarts allowed within ``period``; >= 0.
      period: Seconds of the sliding window; > 0.
      auto_shutdown: Whether the end of ``any_significant`` or of ``all_significant`` children
        ends the supervisor.

    Raises:
      ChildSpecError: If a value breaks a rule; ``.faults`` has every one.
    """

    strategy: Strategy = "one_for_one"
    intensity: int = 1
    period: float = 5.0
    auto_shutdown: AutoShutdown = "never"

    def __attrs_post_init__(self) -> None:
        faults = one_of("strategy", self.strategy, Strategy)
        faults += one_of("auto_shutdown", self.auto_shutdown, AutoShutdown)
        faults += integer("intensity", self.intensity, least=0)
        faults += seconds("period", self.period, positive=True)
        if faults:
            raise ChildSpecError(faults)


class Owns:
    """A `ChildSpec.start` that owns what only one child can have, such as a mailbox."""

    __slots__ = ()

    def another(self, id: str, /) -> StartFunction:
        """Return the same for another child, with that id."""
        raise NotImplementedError


def another(spec: ChildSpec, id: str) -> ChildSpec:
    """Return the spec of another child like that one, sharing nothing with it."""
    start: object = spec.start
    if isinstance(start, Owns):
        return attrs.evolve(spec, id=id, start=start.another(id))
    return spec if spec.id == id else attrs.evolve(spec, id=id)


def child_list(specs: Iterable[ChildSpec]) -> list[ChildSpec]:
    """Return the specs as a list; one alone is a `ChildSpecError`, not a `TypeError`."""
    if isinstance(specs, ChildSpec):
        raise ChildSpecError([f"expected a list of child specs, got {specs.id!r} alone"])
    return list(specs)


def check_childspecs(
    specs: Iterable[ChildSpec], *, auto_shutdown: AutoShutdown | None = None
) -> None:
    """Check that ``specs`` can be the children of one supervisor, without starting anything.

    Args:
      specs: The child specs.
      auto_shutdown: The supervisor's own; None: not known, so significance is not checked.

    Raises:
      ChildSpecError: With every fault at once in ``.faults``.
    """
    faults: list[str] = []
    seen: set[str] = set()
    for spec in child_list(specs):
        wrong = instance("each child", spec, ChildSpec, "a ChildSpec")
        if wrong:
            faults += wrong
            continue
        if spec.id in seen:
            faults.append(f"child {spec.id!r}: the id is used twice")
        seen.add(spec.id)
        if spec.significant and auto_shutdown == "never":
            faults.append(
                f"child {spec.id!r}: it is significant but auto_shutdown is 'never'; "
                "set auto_shutdown on the supervisor"
            )
    if faults:
        raise ChildSpecError(faults)


def check_max_children(max_children: int | None) -> None:
    """Check the option; a `ChildSpecError` says what is wrong with it."""
    if max_children is None:
        return
    faults = integer("max_children", max_children, least=1)
    if faults:
        raise ChildSpecError(faults)


@attrs.frozen(kw_only=True)
class ChildInfo:
    """One child, as `which_children` shows it.

    Args:
      id: Its id.
      state: Where it is in its life.
      type: Worker or supervisor.
      restarts: How often it was restarted since its spec was added.
      last_error: The last crash as text, ``"Type: message"``; None: none yet.
      since_at: Seconds on trio's clock since when it is in this state.
    """

    id: str
    state: ChildState
    type: ChildType
    restarts: int
    last_error: str | None
    since_at: float


@attrs.frozen(kw_only=True)
class ChildCounts:
    """How many children there are.

    Args:
      specs: All, running or not.
      active: Those that run.
      supervisors: Those of type supervisor, running or not.
      workers: Those of type worker, running or not.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


@attrs.frozen(kw_only=True)
class Tree:
    """A supervisor and everything below it at one instant; ``str()`` draws it.

    Args:
      id: The supervisor's name, or the child's id.
      state: Where it is in its life.
      type: Worker or supervisor.
      restarts: How often it was restarted.
      strategy: Of a supervisor; None for a worker.
      children: In start order.
    """

    id: str
    state: ChildState
    type: ChildType
    restarts: int = 0
    strategy: str | None = None
    children: tuple[Tree, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        facts: list[str] = [self.state]
        if self.strategy is not None:
            facts.append(self.strategy)
        if self.restarts:
            facts.append(f"restarts {self.restarts}")
        lines = [f"{self.id} ({', '.join(facts)})"]
        for child in self.children:
            last = child is self.children[-1]
            head, *rest = child._lines()  # noqa: SLF001 - its own class
            lines.append(("└─ " if last else "├─ ") + head)
            lines += [("   " if last else "│  ") + line for line in rest]
        return lines
