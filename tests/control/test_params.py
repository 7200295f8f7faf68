"""Whatever anybody gives a method for a parameter: an answer, and everything lives on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from queueactors.control._methods import METHODS

from .kit import raw, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Events

    from .kit import Line, Raw

KINDS: dict[str, dict[str, object]] = {
    "timed": {"reservation_time": 30, "unique": True},
    "message": {},
    "batch": {"process": "builtins:print", "flush_size": 100},
    "log": {"ttl": 60},
    "capacity": {"max_elements": 3},
}
QUEUES = {
    **{f"{kind}.memory": {"kind": kind, **options} for kind, options in KINDS.items()},
    **{
        f"{kind}.disk": {"kind": kind, "store": "disk", **options}
        for kind, options in KINDS.items()
    },
    "channel.memory": {"kind": "channel", "limit": 3},
}
VALUES: list[object] = [
    *(None, True, -1, 0, 1, 2**53, 2**63, -(2**63) - 1, 10**40, 0.5, -0.5, 1e300),
    *(
        "",
        "x",
        "\0",
        "\U0001f4a5",
        "*",
        "../x",
        [],
        [1],
        [None],
        [[]],
        ["x", "x"],
        [2**70],
        {},
        [{}],
    ),
    *([{"value": 1}], [{"data": "!!"}], [{"value": "x", "mid": 5}], [{"value": "x", "mid": ""}]),
    *([{"value": "x", "priority": "a"}], [{"value": "x", "priority": 2**70}], [{"value": ["x"]}]),
    *(
        [{"value": "x", "ready_at": 2**70}],
        [{"data": "", "codec": 5}],
        [{"value": "x", "codec": []}],
    ),
    *([{"data": "oQ==", "codec": "msgpack"}], [{"data": "oQ==", "codec": "no"}]),
]
REQUIRED: dict[str, dict[str, object]] = {
    "insert": {"values": ["x"]},
    "import": {"lines": [{"value": "x"}]},
    "delete": {"key": 5},
    "release": {"key": 5},
    "remove": {"ids": [5]},
}
EXPECTED = {
    *("ValueError", "TypeError", "LookupError", "TooSlowError", "Cancelled", "CodecError"),
    *("QueueNotFoundError", "QueueFullError", "ReservationNotFoundError", "ClaimLostError"),
}


def requests(method: str) -> Iterator[dict[str, object]]:
    """Yield every parameter with every value, and otherwise what is right, for every queue."""
    fields = [field.name for field in attrs.fields(METHODS[method].params)]
    right = REQUIRED.get(method, {})
    yield {**right, "unknown": 1}
    for name in fields:
        about = [*QUEUES] if "queue" in fields and name != "queue" else [None]
        for queue in about:
            whole = right if queue is None else {**right, "queue": queue}
            for value in VALUES:
                yield {**whole, name: value}


async def answer(client: Raw, method: str, params: dict[str, object]) -> Line:
    """Return the last line about a request, which is cancelled if it waits."""
    await client.say({"id": 1, "method": method, "params": params})
    if method in {"top", "logs"} or "wait" in params:
        await client.say({"id": 1, "cancel": True})
    while True:
        line = await client.line()
        if "item" not in line:
            return line


@pytest.mark.slow
async def test_every_parameter_of_every_method_may_be_anything(
    tmp_path: Path, events: Events
) -> None:
    """But for those of `plan` and `reload`, which are files, see ``test_reload.py``."""
    wrong = []
    disk = {"disk": {"type": "sqlite"}}
    async with serving(tmp_path, store=disk, queue=QUEUES) as runtime, raw(tmp_path) as client:
        for method in sorted(set(METHODS) - {"plan", "reload"}):
            for params in requests(method):
                line: Line = {}
                with suppress(trio.TooSlowError), trio.fail_after(5):
                    line = await answer(client, method, params)
                error = line.get("error")
                if not line or (isinstance(error, dict) and error["type"] not in EXPECTED):
                    wrong.append((method, params, line))
        assert wrong == []
        assert runtime.not_ready() == ()
        restarts = [(await runtime.queue(name).statistics()).restarts for name in QUEUES]

    assert restarts == [0] * len(QUEUES)
    assert not [each for each in events if each["event"] in {"control_failed", "child_failed"}]
