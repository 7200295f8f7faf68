"""What travels through the control socket: values as JSON, and the results of its methods.

A queue's value is JSON where it can be (``value``). Bytes that are text are that text in a queue
whose codec is ``bytes``; other bytes are base64 (``data``), as in an export. Anything else is only
shown (``repr``).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from queueactors.cores._timed_values import DeadLetter

Json = Any  # type: ignore[explicit-any] # what a value is, only the queue's users know

SHOWN: Final = 1000  # characters of what can only be shown


@attrs.frozen(kw_only=True)
class RuntimeStatus:
    """A runtime at one instant.

    Args:
      name: Its name.
      pid: The process that it runs in.
      version: Of queueactors.
      up_since: When it was started, as ISO 8601 text, UTC.
      ready: Whether everything is up.
      not_ready: What is not, a line each.
      queues: How many queues there are.
      workers: Likewise of workers.
      messages: What can be taken from all queues now.
      in_hand: What somebody has taken from them.
      parked: The ids of children that failed too often, and wait for an operator.
      stopped: The ids of children that an operator has stopped.
      config: The file of its configuration; None: there is none.
    """

    name: str
    pid: int
    version: str
    up_since: str
    ready: bool
    not_ready: tuple[str, ...]
    queues: int
    workers: int
    messages: int
    in_hand: int
    parked: tuple[str, ...]
    stopped: tuple[str, ...]
    config: str | None = None


@attrs.frozen(kw_only=True)
class QueueRow:
    """A queue at one instant; see `queueactors._overview.QueueOverview`.

    Args:
      name: Its name.
      kind: Its kind.
      store: The name of its store.
      state: Where it is in its life.
      mailbox: Operations that wait for it.
      waiting: Callers that wait for a message.
      room: Callers that wait for room.
      restarts: How often it was restarted.
      at_hand: Messages that can be taken now; None: not known.
      in_hand: Messages that somebody has; None: likewise.
      statistics: The numbers of its kind, by name; None: likewise.
    """

    name: str
    kind: str
    store: str
    state: str
    mailbox: int = 0
    waiting: int = 0
    room: int = 0
    restarts: int = 0
    at_hand: int | None = None
    in_hand: int | None = None
    statistics: dict[str, Json] | None = None


@attrs.frozen(kw_only=True)
class WorkerRow:
    """A worker at one instant; see `queueactors._overview.WorkerOverview`.

    Args:
      name: Its name.
      queue: The name of its queue.
      state: Where it is in its life.
      running: Whether it takes messages.
      concurrency: Handlers at a time.
      busy: Messages that it has.
      restarts: How often it was restarted.
      counts: How often its handlers ended how.
      handling_p50: Seconds that a handler took: the median; None: there was none.
      handling_p99: 99 % took no longer; likewise.
      queueing_p99: Seconds that messages waited for their first attempt; 99 % no longer; likewise.
    """

    name: str
    queue: str
    state: str
    running: bool
    concurrency: int
    busy: int
    restarts: int
    counts: dict[str, int]
    handling_p50: float | None = None
    handling_p99: float | None = None
    queueing_p99: float | None = None


@attrs.frozen(kw_only=True)
class Top:
    """Everything at one instant: what a live view draws.

    Args:
      at: Epoch nanoseconds.
      status: The runtime.
      queues: The queues, in the order of their definition.
      workers: The workers, likewise.
      interval: Seconds until the next one, at least.
    """

    at: int
    status: RuntimeStatus
    queues: tuple[QueueRow, ...]
    workers: tuple[WorkerRow, ...]
    interval: float = 1.0


@attrs.frozen(kw_only=True)
class TopChange:
    """What `top` sends: what has changed since what it sent before.

    Args:
      whole: Whether it is everything, and nothing of what was before holds any more.
      at: As in `Top`.
      status: As in `Top`.
      queues: Those that have changed; the age of the oldest message goes on by itself.
      workers: Those that have changed.
      interval: As in `Top`.
    """

    whole: bool
    at: int
    status: RuntimeStatus
    queues: tuple[QueueRow, ...]
    workers: tuple[WorkerRow, ...]
    interval: float = 1.0


@attrs.frozen(kw_only=True)
class Peeked:
    """A message, or a batch, that was looked at.

    Args:
      id: Its number; None: it has none.
      state: What it waits for.
      value: Its value, if that is JSON, or text. Of a batch, the list of its items.
      data: Bytes that are no text, as base64; None: it is something else.
      repr: What Python shows of a value that is neither; None: likewise.
      attempts: How often it was handed out.
      mid: Its name, in a message queue.
      priority: In a timed queue.
      inserted_at: Epoch nanoseconds; None: not known.
      ready_at: Epoch nanoseconds, since or from when it can be taken; None: likewise.
      error: What went wrong last; None: nothing.
      dead_letter: Where it is from, if it is a dead letter.
    """

    id: int | None = None
    state: str = "ready"
    value: Json = None
    data: str | None = None
    repr: str | None = None
    attempts: int = 0
    mid: str | None = None
    priority: int | None = None
    inserted_at: int | None = None
    ready_at: int | None = None
    error: str | None = None
    dead_letter: dict[str, Json] | None = None


@attrs.frozen(kw_only=True)
class Taken:
    """A message that was reserved, or claimed, and is held by nobody but who knows its key.

    Args:
      id: Its number.
      key: What `ControlClient.delete` and `ControlClient.release` ask for.
      attempt: The number of this delivery, from 1.
      deadline_at: Epoch nanoseconds at which it comes back by itself.
      mid: Its name, in a message queue.
      value: As in `Peeked`.
      data: As in `Peeked`.
      repr: As in `Peeked`.
      dead_letter: As in `Peeked`.
    """

    id: int
    key: int
    attempt: int
    deadline_at: int
    mid: str | None = None
    value: Json = None
    data: str | None = None
    repr: str | None = None
    dead_letter: dict[str, Json] | None = None


@attrs.frozen(kw_only=True)
class Redriven:
    """What came of dead letters that were to go back.

    Args:
      moved: How many went, by the queue that they went to.
      left: How many stayed: they are no dead letters, and no queue was named for them.
      error: Why it ended early; None: it did not.
    """

    moved: dict[str, int]
    left: int = 0
    error: str | None = None


def encode(value: object) -> bytes:
    """Return a result as JSON; what cannot be is shown.

    Raises:
      TypeError: If no JSON can be made of it, which is a bug.
    """
    return _ENCODER.encode(value)


def shown(value: object, *, text: bool) -> dict[str, object]:
    """Return how a queue's value travels.

    Args:
      value: The value.
      text: Whether bytes that are text travel as that: the queue's codec is ``bytes``.
    """
    facts: dict[str, object] = {}
    if isinstance(value, DeadLetter):
        facts["dead_letter"] = {
            "queue": value.queue,
            "id": value.id,
            "attempts": value.attempts,
            "error": value.error,
            "inserted_at": value.inserted_at,
        }
        value = value.value
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        if text:
            try:
                return facts | {"value": data.decode()}
            except UnicodeDecodeError:
                pass
        return facts | {"data": b64encode(data).decode()}
    if text and isinstance(value, list):
        value = [_text(item) for item in value]
    try:
        return facts | {"value": msgspec.Raw(msgspec.json.encode(value))}
    except Exception:  # noqa: BLE001 - whatever it is, it is no JSON
        return facts | {"repr": _repr(value)}


def _text(item: object) -> object:
    """Return an item of bytes as text, if it is that."""
    if isinstance(item, bytes):
        try:
            return item.decode()
        except UnicodeDecodeError:
            return item
    return item


def _repr(value: object) -> str:
    try:
        told = repr(value)
    except Exception:  # noqa: BLE001 - a stranger's __repr__
        told = f"<{type(value).__name__}>"
    return told[:SHOWN].encode("utf-8", "backslashreplace").decode("utf-8")


def _other(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return _repr(value)


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_other)
