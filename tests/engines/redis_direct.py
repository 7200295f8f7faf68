"""A way to a server for tests that play many short histories: one blocking socket, no runtime."""

from __future__ import annotations

import socket
from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from queueactors._clock import Clock
from queueactors.engines.redis import to_micros

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

    from queueactors.engines.redis import Script, Wire

SESSION: Final = "here"


class Direct:
    """Sends commands to a server, one after the other.

    Args:
      url: As the fixture ``valkey`` has it.
    """

    def __init__(self, url: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(url.removeprefix("unix://"))
        self._lines: BinaryIO = self._socket.makefile("rb")

    def __call__(self, *words: bytes) -> object:
        """Return what a command answers."""
        parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        self._socket.sendall(b"*%d\r\n%b" % (len(words), parts))
        return self._read()

    def _read(self) -> object:
        line = self._lines.readline()[:-2]
        kind, rest = line[:1], line[1:]
        match kind:
            case b"$":
                return self._lines.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
            case b"*":
                return [self._read() for _ in range(int(rest))]
            case b":":
                return int(rest)
            case b"-":
                raise RuntimeError(rest.decode())
            case _:
                return rest

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Hand(Clock):
    """A clock whose hand is set.

    Args:
      now: Epoch nanoseconds.
    """

    def __init__(self, now: int) -> None:
        super().__init__(now, 0.0)
        self.now = now

    def now_ns(self) -> int:
        return self.now


@attrs.define(eq=False)
class DirectLink:
    """The way to the server for one queue, see `queueactors.engines.redis.Link`.

    Args:
      direct: Sends the commands.
      wire: The queue's.
      clock: What time it is.
      changes: Parts of the script, and what stands there instead: limits that a test can reach.
    """

    direct: Direct
    wire: Wire
    clock: Hand
    changes: Mapping[bytes, bytes] = attrs.field(factory=dict)
    session: str = SESSION
    channel: str = "{q}:wake:"
    poll: float = 5.0
    closed: bool = False
    waits: bool = False
    counts: Counter[str] = attrs.field(factory=Counter)
    calls: int = 0

    def now(self) -> bytes:
        return b"%d" % to_micros(self.clock.now_ns())

    @property
    def works(self) -> bool:
        return True

    async def call(
        self, script: Script, arguments: Sequence[bytes], _goes_on: object = None
    ) -> list[bytes]:
        self.calls += 1
        own = (f"session:{self.session}", "head", "room", "takers", "syncs")
        keys = [f"{{q}}:{name}".encode() for name in (*own, *self.wire.keys)]
        now, *others = arguments
        count, number = b"%d" % len(keys), b"%d" % self.calls
        text = script.text
        for part, other in self.changes.items():
            assert part in text
            text = text.replace(part, other)
        words = (count, *keys, now, number, b"3600000", *others)
        answer = self.direct(b"EVAL", text, *words)
        assert isinstance(answer, list)
        return answer

    async def recovered(self) -> None:
        raise AssertionError("it is never away")

    def listen(self) -> None:
        pass
