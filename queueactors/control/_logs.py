"""Log events for whoever listens: a processor that is there only meanwhile.

It is put before the last of structlog's processors, so that events have what the others add, and
taken out with the last listener: nobody pays for it otherwise. Nobody is waited for: a listener
that is behind loses the oldest events, and is told how many.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs
import msgspec
import structlog
import trio

from supervisors import describe

from ._values import encode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, MutableMapping

KEPT: Final = 1000  # events for a listener that is behind
LARGEST: Final = 16 * 1024  # bytes of an event; of a larger one only its name is sent
LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@attrs.define(eq=False)
class _Listener:
    least: int  # its level's place in `LEVELS`
    events: deque[bytes] = attrs.field(factory=lambda: deque(maxlen=KEPT))
    dropped: int = 0
    woken: trio.Event = attrs.field(factory=trio.Event)


class LogTap:
    """Hands log events on to those who listen."""

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []
        self._processors: list[object] | None = None  # those that this is among
        self._token: trio.lowlevel.TrioToken | None = None

    def __call__(
        self, _logger: object, method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        """Hand an event on, as structlog's processor; from any thread."""
        level = "error" if method == "exception" else method
        number = LEVELS.index(level) if level in LEVELS else len(LEVELS)
        wanting = [each for each in self._listeners if number >= each.least]
        if wanting:
            data = _encoded(event, level)
            for each in wanting:
                if len(each.events) == KEPT:
                    each.dropped += 1
                each.events.append(data)
            if self._token is not None:
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(self._wake, idempotent=True)
        return event

    def _wake(self) -> None:
        for each in self._listeners:
            each.woken.set()

    async def listen(self, level: str) -> AsyncGenerator[object, None]:
        """Yield log events as they come, from that level on.

        What a slow listener has lost is an event of its own: ``events_dropped``, with ``count``.
        """
        listener = _Listener(LEVELS.index(level))
        self._add(listener)
        try:
            while True:
                await listener.woken.wait()
                listener.woken = trio.Event()
                while listener.events:
                    if listener.dropped:
                        dropped, listener.dropped = listener.dropped, 0
                        yield {"event": "events_dropped", "level": "warning", "count": dropped}
                    yield msgspec.Raw(listener.events.popleft())
        finally:
            self._remove(listener)

    def _add(self, listener: _Listener) -> None:
        if not self._listeners:
            self._token = trio.lowlevel.current_trio_token()
            self._processors = structlog.get_config()["processors"]
            self._processors.insert(max(len(self._processors) - 1, 0), self)
        self._listeners.append(listener)

    def _remove(self, listener: _Listener) -> None:
        self._listeners.remove(listener)
        if not self._listeners and self._processors is not None:
            with suppress(ValueError):  # somebody has configured structlog anew
                self._processors.remove(self)
            self._processors = None


def _encoded(event: MutableMapping[str, object], level: str) -> bytes:
    facts = {key: value for key, value in event.items() if not key.startswith("_")}
    error = facts.pop("exc_info", None)
    if isinstance(error, tuple) and len(error) == 3:
        error = error[1]
    if isinstance(error, BaseException):
        facts.setdefault("exception", describe(error))
    facts.setdefault("level", level)
    with suppress(Exception):  # whatever it is, it cannot be told
        data = encode(facts)
        if len(data) <= LARGEST:
            return data
    return encode({"event": str(event.get("event"))[:100], "level": level, "cut": True})
