"""One connection of the metrics' server: reads requests, and answers them in their order.

What is answered is `_server`'s. Here is what HTTP/1.1 and strangers ask for: how long anybody is
waited for, how much is read of them, and what becomes of a request that is none. Bodies are
refused unread. h11 knows the protocol.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import attrs
import h11
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HEAD: Final = 16 * 1024  # bytes of a request's line and headers
PATIENCE: Final = 10.0  # seconds: for a whole request, also for the next one, and for an answer
SLOW: Final = 1.0  # seconds that a request, or an answer, may take while others wait for a place
READ: Final = 4096  # bytes at a time
LINGER: Final = 1.0  # seconds in which somebody who still sends may read the last answer
READERS: Final = ("GET", "HEAD")


@attrs.frozen
class Answer:
    """What somebody is told.

    Args:
      status: The code.
      content_type: Of the body.
      body: All of it, in pieces.
      headers: More headers.
    """

    status: HTTPStatus
    body: tuple[bytes, ...]
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Asked:
    """What somebody wants to know.

    Args:
      method: The method.
      path: The path, without what stands after ``?``.
      accept: What the headers ``Accept`` say; empty: none.
    """

    method: str
    path: str
    accept: str


def plain(status: HTTPStatus, *lines: str, **headers: str) -> Answer:
    """Return an answer of some lines; with none, its status is all that it tells."""
    text = "".join(f"{line}\n" for line in lines or [f"{status.value} {status.phrase}"])
    return Answer(
        status, (text.encode("utf-8", "backslashreplace"),), headers=tuple(headers.items())
    )


@attrs.define(eq=False)
class Connection:
    """Serves one connection until somebody closes it, or loses patience.

    Args:
      stream: To the client; closed in the end.
      answer: Says what a request is told.
      crowded: Says whether others wait for this one's place: then it is given up soon.
      idle: While the client has been answered, and may ask again, or may not; or is slow at its
        first request: cancelling this scope ends the connection. Given to whoever looks for a
        place.
    """

    stream: trio.abc.HalfCloseableStream
    answer: Callable[[Asked], Awaitable[Answer]]
    crowded: Callable[[], bool]
    idle: dict[trio.CancelScope, None]
    _state: h11.Connection = attrs.field(init=False)

    @_state.default
    def _new_state(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD)

    async def serve(self) -> None:
        """Answer requests. Raises nothing for what the client does."""
        try:
            async with self.stream:
                if await self._serve():
                    await self._linger()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client has left

    async def _serve(self) -> bool:
        """Answer requests; return whether the client may still be sending something."""
        first = True
        while True:
            request: h11.Request | None = None
            with trio.move_on_after(PATIENCE):
                try:
                    request = await self._request(first=first)
                except h11.RemoteProtocolError as error:
                    return await self._refuse(error)
            if request is None:
                return False
            has_body = _has_body(request)
            if has_body:
                answer = plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            else:
                answer = await self.answer(_asked(request))
            if not await self._send(answer, request, last=has_body):
                return False
            if has_body or self._state.our_state is not h11.DONE:
                return True
            self._state.start_next_cycle()
            first = False

    async def _request(self, *, first: bool) -> h11.Request | None:
        """Return the next request; None: the client is done, or its place is needed."""
        event = self._state.next_event()
        # Its place is its own until then, and for as long after that as nobody else needs it.
        own_until = trio.current_time() + (SLOW if first else 0.0)
        while event is h11.NEED_DATA:
            data = await self._receive(own_until)
            if data is None:
                return None
            self._state.receive_data(data)
            event = self._state.next_event()
            own_until = max(own_until, trio.current_time() + (0.0 if first else SLOW))
            first = True
        if not isinstance(event, h11.Request):
            return None
        if not _has_body(event):
            self._state.next_event()  # its end
        return event

    async def _receive(self, own_until: float) -> bytes | None:
        """Return what the client sends next; None: its place is needed by somebody else."""
        with trio.move_on_at(own_until):
            return bytes(await self.stream.receive_some(READ))
        if self.crowded():
            return None
        with trio.CancelScope() as scope:
            self.idle[scope] = None
            try:
                return bytes(await self.stream.receive_some(READ))
            finally:
                del self.idle[scope]
        return None

    async def _refuse(self, error: h11.RemoteProtocolError) -> bool:
        """Say what is wrong with what was to be a request."""
        if self._state.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return False
        return await self._send(plain(HTTPStatus(error.error_status_hint)), None, last=True)

    async def _send(self, answer: Answer, request: h11.Request | None, *, last: bool) -> bool:
        """Send an answer; return whether the client took it in time."""
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(sum(map(len, answer.body)))),
            ("Cache-Control", "no-store"),
            *answer.headers,
        ]
        if last or self.crowded():
            headers.append(("Connection", "close"))
        state = self._state
        response = h11.Response(
            status_code=answer.status.value, headers=headers, reason=answer.status.phrase
        )
        pieces = [state.send(response) or b""]
        if request is None or request.method != b"HEAD":
            pieces += [state.send(h11.Data(data=piece)) or b"" for piece in answer.body]
        pieces.append(state.send(h11.EndOfMessage()) or b"")
        with trio.move_on_after(SLOW if self.crowded() else PATIENCE):
            await self.stream.send_all(b"".join(pieces))
            return True
        return False

    async def _linger(self) -> None:
        """Let the client read the last answer: closed with something unread, TCP takes it back."""
        with trio.move_on_after(LINGER):
            await self.stream.send_eof()
            while await self.stream.receive_some(READ):
                pass


def _has_body(request: h11.Request) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0)
        for name, value in request.headers
    )


def _asked(request: h11.Request) -> Asked:
    path = request.target.partition(b"?")[0].decode("latin-1")
    scheme, slashes, rest = path.partition("://")  # the absolute form, which a proxy uses
    if slashes and scheme.lower() in {"http", "https"}:
        path = "/" + rest.partition("/")[2]
    accept = b",".join(value for name, value in request.headers if name == b"accept")
    return Asked(request.method.decode("ascii"), path, accept.decode("latin-1"))
