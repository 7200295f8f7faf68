"""The values that a configuration consists of once it is checked: frozen, nothing started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from queueactors._options import Checks, Seconds, Target
from queueactors.metrics._options import MetricsOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueactors.queues._kind_options import AnyOptions
    from queueactors.workers._options import WorkerOptions
    from supervisors import ChildOptions, OnGiveUp, SupervisorFlags

    from ._faults import Fault


@attrs.frozen(kw_only=True)
class RuntimeOptions:
    """What concerns the runtime as a whole.

    Args:
      name: Its name, in logs and in the tree.
      data_dir: The directory for what the runtime keeps on disk, relative to where it is started.
      log_level: The least severe events that are logged.

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.
    """

    name: str = "queueactors"
    data_dir: str = "var"
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.string("name", self.name)
        checks.path("data_dir", self.data_dir)
        checks.done()


@attrs.frozen(kw_only=True)
class ControlOptions:
    """The control socket, by which an operator talks to the runtime: see docs/control.md.

    Args:
      socket: Where it is, relative to where the runtime is started; or true:
        ``<data_dir>/control.sock``; or false: there is none. None: ``queueactors run`` has one,
        if it can make it, and a program of yours has none.
      clients: Connections at a time (>= 1).
      timeout: Seconds (> 0) for a request to come whole, and for an answer to be read.
      max_line: Bytes that a request, or an answer, may have (>= 1024).

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.
    """

    socket: bool | str | None = None
    clients: int = 100
    timeout: Seconds = 10.0
    max_line: int = 64 << 20

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        if isinstance(self.socket, str):
            checks.path("socket", self.socket)
        checks.integer("clients", self.clients, least=1)
        checks.seconds("timeout", self.timeout, positive=True)
        checks.integer("max_line", self.max_line, least=1024)
        checks.done()

    def path(self, data_dir: str) -> Path | None:
        """Return where the socket is, if there is one."""
        if self.socket is False:
            return None
        if isinstance(self.socket, str):
            return Path(self.socket)
        return Path(data_dir) / "control.sock"


@attrs.frozen(kw_only=True)
class StoreConfig:
    """A store that queues can be kept in.

    Args:
      type: ``"memory"``, or the target of a class of yours.
      factory: The class; called as ``factory(**options)``.
      options: Those that were given, checked against the class, and its own plain defaults.
    """

    type: str
    factory: Target
    options: Mapping[str, object] = attrs.field(repr=False)  # often with a password


@attrs.frozen(kw_only=True)
class QueueConfig:
    """A queue.

    Args:
      name: Its name.
      kind: What kind of queue it is.
      options: The options of that kind.
    """

    name: str
    kind: str
    options: AnyOptions


@attrs.frozen(kw_only=True)
class ChildConfig:
    """A child of a supervisor of yours.

    Args:
      id: Its id: given, or ``"<what>.<name>"``.
      what: What sort of child it is.
      name: The name of the queue, worker or supervisor; for ``start`` the name of its function.
      start: The child's start function, of a ``start`` child. None: another sort of child.
      args: The arguments of ``start``.
      options: The child options that were given; the others are left to whoever starts it.
    """

    id: str
    what: Literal["queue", "worker", "supervisor", "start"]
    name: str
    start: Target | None = None
    args: tuple[object, ...] = ()
    options: ChildOptions


@attrs.frozen(kw_only=True)
class SupervisorConfig:
    """A supervisor of yours.

    Args:
      name: Its name.
      flags: How it treats its children as a group.
      on_give_up: What happens to it when it exceeds its intensity.
      options: The options that were given for it as a child, ``on_give_up`` aside. What the child
        that places it says counts more.
      children: Its children, in start order.
    """

    name: str
    flags: SupervisorFlags
    on_give_up: OnGiveUp
    options: ChildOptions
    children: tuple[ChildConfig, ...]


@attrs.frozen
class Origin:
    """Where a value of the configuration came from.

    Args:
      file: The file. None: a mapping.
      line: Its line there. None: a mapping.
      table: The defaults table that it came from. None: it was given where it applies.
      variables: The names of the environment variables in it.
      secret: Whether some of it must not be shown.
      written: The value as the configuration writes it, secrets as ``${NAME}`` or ``***``.
      clear: Likewise, with the secrets themselves.
      masked: Whether there is a ``***`` in ``written``: a secret that stands in the file itself.
    """

    file: str | None
    line: int | None
    table: str | None
    variables: tuple[str, ...]
    secret: bool
    written: object
    clear: object = attrs.field(repr=False)
    masked: bool = False

    def __str__(self) -> str:
        parts = [f"${{{name}}}" for name in self.variables]
        parts += [] if self.table is None else [self.table]
        parts += ["*** is a secret"] if self.masked else []
        place = [str(part) for part in (self.file, self.line) if part is not None]
        return ", ".join([*parts, ":".join(place) or "given"])


@attrs.frozen(kw_only=True)
class Config:
    """A whole configuration, checked. Two are equal if they say the same, wherever they come from.

    Args:
      schema: The version of the format.
      runtime: What concerns the runtime as a whole.
      metrics: What the metrics are called, and where they are served.
      control: The control socket.
      stores: By name, in the order given; ``memory`` is always there.
      supervisors: By name, in the order given.
      queues: By name, in the order given.
      workers: By name, in the order given.
      file: The file it was read from. None: none.
      origins: Where each value that is not a default came from, by its dotted path.
      warnings: What is valid and yet likely to surprise, sorted by file and line.
    """

    schema: int = 1
    runtime: RuntimeOptions = RuntimeOptions()
    metrics: MetricsOptions = attrs.field(factory=MetricsOptions)
    control: ControlOptions = ControlOptions()
    stores: Mapping[str, StoreConfig] = attrs.field(factory=dict)
    supervisors: Mapping[str, SupervisorConfig] = attrs.field(factory=dict)
    queues: Mapping[str, QueueConfig] = attrs.field(factory=dict)
    workers: Mapping[str, WorkerOptions] = attrs.field(factory=dict)
    file: str | None = attrs.field(default=None, eq=False)
    origins: Mapping[str, Origin] = attrs.field(factory=dict, eq=False, repr=False)
    warnings: tuple[Fault, ...] = attrs.field(default=(), eq=False)

    @property
    def roots(self) -> tuple[SupervisorConfig, ...]:
        """The supervisors that no other one has as a child, in the order given."""
        placed = {
            child.name
            for supervisor in self.supervisors.values()
            for child in supervisor.children
            if child.what == "supervisor"
        }
        return tuple(each for name, each in self.supervisors.items() if name not in placed)
