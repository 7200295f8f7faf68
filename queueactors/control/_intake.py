"""Puts what came as JSON into a queue, of whatever kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from queueactors._codecs import BUILT_IN, make_codec
from queueactors._errors import QueueFullError
from queueactors._state_errors import QueueClosedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queueactors.queues import AnyQueue

    from ._params import Import

LISTS = ("batch", "log", "capacity")  # kinds of which a line of an export has several items


def values_of(
    queue: AnyQueue, values: Sequence[object], data: Sequence[bytes] = ()
) -> list[object]:
    """Return what goes into a queue.

    Args:
      queue: The queue; texts become bytes if its codec is ``bytes``, and JSON its class if it has
        one.
      values: Any JSON.
      data: Bytes.

    Raises:
      ValueError: If a value does not fit the queue's class.
    """
    return [*(_value(queue, value) for value in values), *data]


def _value(queue: AnyQueue, value: object) -> object:
    if getattr(queue.options, "codec", None) == "bytes":
        if isinstance(value, str):
            return value.encode()
        told = "give it as a text, or on the command line with --text"
        raise ValueError(f"queue {queue.name!r} takes bytes, got {value!r}; {told}")
    type_ = getattr(queue.options, "type", None)
    if type_ is None:
        return value
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise ValueError(f"queue {queue.name!r} takes {type_.__name__}: {error}") from None


async def put_in(  # noqa: PLR0913 - all by name
    queue: AnyQueue,
    values: Sequence[object],
    *,
    delay: float = 0,
    priority: int = 0,
    mid: str | None = None,
    at: int | None = None,
    wait: float = 0,
) -> dict[str, object]:
    """Put values into a queue; return how many went in, and how many it had already.

    All or none, but in a channel or a message queue, where it is one by one.

    Args:
      queue: The queue.
      values: The values.
      delay: Seconds before they can be taken: timed and message queues.
      priority: Timed queues.
      mid: Message queues, of one value.
      at: Epoch nanoseconds from which on they can be taken: timed queues.
      wait: Seconds to wait for room. 0: not at all.

    Raises:
      ValueError: If the kind of the queue has no such thing.
      QueueFullError: If there is no room.
      trio.TooSlowError: If there was none in time.
    """
    _check_kind(queue, delay=delay, priority=priority, mid=mid)
    waits = {"timeout": wait} if wait else {}
    match queue.kind:
        case "timed":
            put = queue.wait_insert if wait else queue.insert
            if at is not None:
                inserted = await put(*values, at=at, priority=priority, **waits)
            else:
                inserted = await put(*values, delay=delay, priority=priority, **waits)
            return {"inserted": inserted, "refused": len(values) - inserted}
        case "message":
            return await _enqueue(queue, values, mid, delay, waits)
        case "channel":
            for number, value in enumerate(values):
                await _send(queue, value, wait, len(values) - number)
        case "batch":
            await (queue.wait_push(*values, **waits) if wait else queue.push_many(values))
        case "log":
            await queue.add(*values)
        case _:
            await (queue.wait_push(*values, **waits) if wait else queue.push(*values))
    return {"inserted": len(values), "refused": 0}


def _check_kind(queue: AnyQueue, *, delay: float, priority: int, mid: str | None) -> None:
    for what, value, kinds in (
        ("delay", delay, ("timed", "message")),
        ("priority", priority, ("timed",)),
        ("mid", mid, ("message",)),
    ):
        if value and queue.kind not in kinds:
            raise ValueError(
                f"queue {queue.name!r} is of kind {queue.kind}, and {what} is for "
                f"{' and '.join(kinds)} queues"
            )


async def _enqueue(
    queue: AnyQueue,
    values: Sequence[object],
    mid: str | None,
    delay: float,
    waits: Mapping[str, float],
) -> dict[str, object]:
    enqueue = queue.wait_enqueue if waits else queue.enqueue
    done = [await enqueue(value, mid, init_backoff=delay, **waits) for value in values]
    inserted = sum(each.success for each in done)
    facts: dict[str, object] = {"inserted": inserted, "refused": len(done) - inserted}
    refusals = {each.error for each in done if each.error}
    return facts | ({"error": ", ".join(sorted(refusals))} if refusals else {})


async def _send(queue: AnyQueue, value: object, wait: float, left: int) -> None:
    if wait:
        await queue.send_timeout(value, wait)
    elif not await queue.try_send(value):
        if await queue.is_closed():
            raise QueueClosedError(queue.name)
        raise QueueFullError(queue.name, left, 0, queue.options.limit, "limit")


async def put_lines(queue: AnyQueue, params: Import) -> dict[str, object]:
    """Put the lines of an export into a queue, in order; what is in one line goes in as one.

    They are new messages: of what a line says, the value, ``mid``, ``priority`` and ``ready_at``
    count.

    Returns:
      How many lines went in, and how many the queue had already. ``error``: what was wrong with
      the next one; it, and what follows, did not go in.
    """
    inserted = refused = 0
    for line in params.lines:
        try:
            values = _values_of_line(queue, line, params.codec)
            facts = _facts(queue, line)
            told = await put_in(queue, values, wait=params.wait, **facts)  # type: ignore[arg-type] # by name
        except Exception as error:
            if not inserted + refused:
                raise
            return {"inserted": inserted, "refused": refused, "error": str(error)}
        if told["refused"]:
            refused += 1
        else:
            inserted += 1
    return {"inserted": inserted, "refused": refused}


def _values_of_line(queue: AnyQueue, line: Mapping[str, object], codec: str | None) -> list[object]:
    """Return the values in a line.

    Raises:
      ValueError: If there are none that can be read.
    """
    if ("value" in line) is ("data" in line):
        raise ValueError("expected either value or data")
    if "value" in line:
        value = line["value"]
        if queue.kind not in LISTS:
            return [_value(queue, value)]
        if not isinstance(value, list):
            raise ValueError("expected value to be a list of items")
        return [_value(queue, item) for item in value]
    named = cast("str", line.get("codec", codec or getattr(queue.options, "codec", "bytes")))
    if queue.kind in LISTS or named not in BUILT_IN or named == "pickle":
        raise ValueError(
            f"data in codec {named} cannot be imported while the runtime runs; stop it first"
        )
    try:
        data = msgspec.convert(line["data"], bytes)
        return [make_codec(named).decode(data)]
    except Exception as error:  # noqa: BLE001 - a codec's own
        raise ValueError(f"the data cannot be decoded: {error}") from None


def _facts(queue: AnyQueue, line: Mapping[str, object]) -> dict[str, object]:
    """Return what else of a line counts."""
    facts: dict[str, object] = {}
    if queue.kind == "timed":
        facts["priority"] = line.get("priority", 0)
        ready_at = line.get("ready_at")
        if isinstance(ready_at, int) and ready_at > queue.clock.now_ns():
            facts["at"] = ready_at
    elif queue.kind == "message":
        facts["mid"] = line.get("mid")
    return facts
