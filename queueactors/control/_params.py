"""The parameters of the methods: a class each, and the rules that they keep."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeVar

import attrs
import msgspec

from queueactors._options import Checks
from supervisors import did_you_mean

from ._values import Json

MOST: Final = 1000  # messages that are shown, kicked or redriven at a time
INTERVAL: Final = 1.0  # seconds between two snapshots
LONGEST: Final = 3600.0  # likewise, at most

Made = TypeVar("Made")


@attrs.frozen(kw_only=True)
class Nothing:
    """No parameters."""


@attrs.frozen(kw_only=True)
class OneQueue:
    """Of a method that is about one queue.

    Args:
      queue: Its name.
    """

    queue: str


@attrs.frozen(kw_only=True)
class OneChild:
    """Of `stop`, `start` and `restart`.

    Args:
      child: A queue, a worker, or any child of the tree: its name, id or path.
    """

    child: str


@attrs.frozen(kw_only=True)
class Insert:
    """Of `insert`.

    Args:
      queue: Where to.
      values: Any JSON.
      data: Bytes, as base64.
      delay: Seconds before they can be taken: timed and message queues.
      priority: Smaller comes first: timed queues.
      mid: The message's name, of one message: message queues.
      wait: Seconds to wait for room.
    """

    queue: str
    values: list[Json] = attrs.field(factory=list)
    data: list[bytes] = attrs.field(factory=list)
    delay: float = 0
    priority: int = 0
    mid: str | None = None
    wait: float = 0

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.seconds("delay", self.delay, positive=False)
        checks.seconds("wait", self.wait, positive=False)
        if self.mid is not None and len(self.values) + len(self.data) != 1:
            checks.refuse("mid", "that of one message", self.mid)
        checks.done()


@attrs.frozen(kw_only=True)
class Import:
    """Of `import`.

    Args:
      queue: Where to.
      lines: Messages, as an export has them; all but ``value`` may be left out.
      codec: That of bytes whose lines name none; None: the queue's.
      wait: Seconds to wait for room.
    """

    queue: str
    lines: list[dict[str, Json]]
    codec: str | None = None
    wait: float = 0

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.seconds("wait", self.wait, positive=False)
        checks.done()


@attrs.frozen(kw_only=True)
class Reserve:
    """Of `reserve`.

    Args:
      queue: Where from.
      seconds: How long it is yours; None: as the queue says.
      wait: Seconds to wait for one. None: without limit.
    """

    queue: str
    seconds: float | None = None
    wait: float | None = 0

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        if self.seconds is not None:
            checks.seconds("seconds", self.seconds, positive=True)
        if self.wait is not None:
            checks.seconds("wait", self.wait, positive=False)
        checks.done()


@attrs.frozen(kw_only=True)
class Delete:
    """Of `delete`.

    Args:
      queue: The message's.
      key: That of its reservation.
    """

    queue: str
    key: int


@attrs.frozen(kw_only=True)
class Release:
    """Of `release`.

    Args:
      queue: The message's.
      key: That of its reservation.
      delay: Seconds before it can be taken again.
    """

    queue: str
    key: int
    delay: float = 0


@attrs.frozen(kw_only=True)
class Peek:
    """Of `peek`.

    Args:
      queue: Its name.
      state: What the messages wait for; None: the kind's usual one.
      limit: How many at most.
    """

    queue: str
    state: str | None = None
    limit: int = 10

    def __attrs_post_init__(self) -> None:
        _check_limit(self.limit)


@attrs.frozen(kw_only=True)
class Kick:
    """Of `kick`.

    Args:
      queue: Its name.
      limit: How many at most.
    """

    queue: str
    limit: int = 1


@attrs.frozen(kw_only=True)
class Remove:
    """Of `remove`.

    Args:
      queue: Its name.
      ids: The messages' numbers.
    """

    queue: str
    ids: list[int]


@attrs.frozen(kw_only=True)
class Redrive:
    """Of `redrive`.

    Args:
      queue: Where the dead letters are.
      to: Where to; None: each to where it came from.
      limit: How many at most.
    """

    queue: str
    to: str | None = None
    limit: int = MOST

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.integer("limit", self.limit, least=1)
        checks.done()


@attrs.frozen(kw_only=True)
class Clear:
    """Of `clear`.

    Args:
      queues: Their names.
      all: All queues, instead.
    """

    queues: list[str] = attrs.field(factory=list)
    all: bool = False

    def __attrs_post_init__(self) -> None:
        if self.all is bool(self.queues):
            raise ValueError("expected either queues or all")


@attrs.frozen(kw_only=True)
class Pause:
    """Of `pause`.

    Args:
      queue: Its name.
      seconds: How long; None: until `resume`.
    """

    queue: str
    seconds: float | None = None


@attrs.frozen(kw_only=True)
class PlanOf:
    """Of `plan`.

    Args:
      config: The path of the configuration that may come; None: the file that the runtime was
        opened with.
    """

    config: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.config is not None and not Path(self.config).is_absolute():
            raise ValueError(
                f"expected config to be an absolute path, got {self.config!r}; "
                "the runtime is in another directory"
            )


@attrs.frozen(kw_only=True)
class ReloadTo(PlanOf):
    """Of `reload`.

    Args:
      config: As for `PlanOf`.
      removed: What becomes of queues that are not in it any more.
    """

    removed: Literal["drain", "keep"] = "drain"


@attrs.frozen(kw_only=True)
class MetricsFormat:
    """Of `metrics`.

    Args:
      format: Which text.
    """

    format: Literal["prometheus", "openmetrics"] = "prometheus"


@attrs.frozen(kw_only=True)
class Interval:
    """Of `top`.

    Args:
      interval: Seconds between two snapshots, at least.
    """

    interval: float = INTERVAL

    def __attrs_post_init__(self) -> None:
        if not 0.1 <= self.interval <= LONGEST:
            raise ValueError(
                f"expected interval to be from 0.1 to {LONGEST:g} seconds, got {self.interval!r}"
            )


@attrs.frozen(kw_only=True)
class Logs:
    """Of `logs`.

    Args:
      level: The least severe events that are sent.
    """

    level: Literal["debug", "info", "warning", "error", "critical"] = "debug"


def read_params(cls: type[Made], method: str, params: msgspec.Raw) -> Made:
    """Return the parameters of a method.

    Raises:
      ValueError: If one breaks its rule.
      TypeError: If there is no such parameter, or a required one is missing.
    """
    known = [field.name for field in attrs.fields(cls)]  # type: ignore[arg-type] # an attrs class
    try:
        given = msgspec.json.decode(params, type=dict[str, Json])
        for name in given:
            if name not in known:
                hint = did_you_mean(name, known)
                raise TypeError(f"{method} has no parameter {name!r}{hint}")
        return msgspec.convert(given, cls)
    except msgspec.ValidationError as error:
        raise ValueError(f"{method}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{method}: the parameters cannot be read: {error}") from None


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST:
        raise ValueError(f"expected limit to be from 1 to {MOST}, got {limit}")
