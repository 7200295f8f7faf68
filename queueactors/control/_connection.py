"""One connection of the control socket: reads requests, and answers them as they get ready.

Here is what strangers ask for: how long anybody is waited for, how much is kept of what they send
and do not read, how much they may ask for at a time, and what becomes of nonsense. What is answered
is `_methods`'s.

One task reads, one task writes, and each request is a task. A request's cancellation never cuts a
line off: what the writer has taken, goes out.
"""

from __future__ import annotations

import select
from contextlib import suppress
from math import inf
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Final, TypeGuard

import attrs
import structlog
import trio

from supervisors import bare_nursery

from ._errors import ControlError, ControlProtocolError, fault_of
from ._protocol import (
    CANCELLED,
    Cancel,
    Lines,
    Request,
    error_line,
    item_line,
    read_request,
    result_line,
)
from ._socket import send_line
from ._values import encode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import msgspec

    from ._socket import Peer

READ: Final = 1 << 16  # bytes at a time
FREE: Final = 1 << 16  # bytes of a line, or an answer, that the budget does not count
GRACE: Final = 5.0  # seconds to give back what nobody got


@attrs.define(eq=False)
class Budget:
    """Bytes that all connections together may keep of lines and answers.

    Args:
      most: How many.
    """

    most: int
    used: int = 0

    def change(self, before: int, after: int) -> None:
        """Count a thing of some size that had another one.

        Raises:
          ControlError: If there is no room for it.
        """
        more = max(after - FREE, 0) - max(before - FREE, 0)
        if more > 0 and self.used + more > self.most:
            raise ControlError(
                "Busy", f"no room for {after} bytes: others have sent much, too; try again"
            )
        self.used += more


@attrs.frozen
class Limits:
    """What a connection may take.

    Args:
      max_line: Bytes of a line.
      requests: That are under way at a time.
      timeout: Seconds for a line to end, and for what was answered to be read.
    """

    max_line: int
    requests: int
    timeout: float


@attrs.define(eq=False)
class Call:
    """A request under way.

    Args:
      method: What is wanted.
      params: The parameters, as JSON.
      peer: Who asks.
      give_back: Undoes what was done, in case nobody gets the answer. None: there is nothing.
      afterwards: Does what had to wait for the answer, which may end the connection; whether or
        not anybody got it. None: there is nothing.
    """

    method: str
    params: msgspec.Raw
    peer: Peer
    give_back: Callable[[], Awaitable[object]] | None = None
    afterwards: Callable[[], Awaitable[object]] | None = None


Reply = object  # the result; an `AsyncGenerator` is a stream of items


@attrs.define(eq=False)
class _Line:
    """A line for the writer.

    Args:
      data: The line.
      ends: The number of the request that it is the last line about. None: it is not.
    """

    data: bytes
    ends: int | None = None
    done: trio.Event = attrs.field(factory=trio.Event)
    written: bool = False


@attrs.define(eq=False)
class Connection:
    """Serves one connection until somebody closes it, or loses patience.

    Args:
      stream: To the client; closed in the end.
      peer: Who that is.
      greeting: The first line.
      answer: Carries out a request.
      limits: What the client may take.
      budget: What all of them may.
    """

    stream: trio.abc.Stream
    peer: Peer
    greeting: bytes
    answer: Callable[[Call], Awaitable[Reply]]
    limits: Limits
    budget: Budget
    idle_since: float = attrs.field(factory=trio.current_time)
    _running: dict[int, trio.CancelScope] = attrs.field(factory=dict)  # not answered yet
    _busy: int = 0  # requests that have not ended, some of which are just being answered
    _lines: Lines = attrs.field(init=False)
    _line_ends: float = inf  # by then the line that has begun must have ended
    _everything: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _done: trio.Event | None = None  # what is under way has ended
    _sender: trio.MemorySendChannel[_Line] = attrs.field(init=False)
    _outbox: trio.MemoryReceiveChannel[_Line] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._lines = Lines(self.limits.max_line)
        self._sender, self._outbox = trio.open_memory_channel[_Line](0)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, not even a line."""
        return not self._busy and not len(self._lines)

    def end(self) -> None:
        """End it now."""
        self._everything.cancel()

    async def serve(self) -> None:
        """Answer requests. Raises nothing for what the client does."""
        with self._everything, suppress(trio.BrokenResourceError):  # closing may tell that, too
            async with self.stream, bare_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._send(self.greeting)
                await self._serve(nursery)
                nursery.cancel_scope.cancel()

    async def _serve(self, requests: trio.Nursery) -> None:
        try:
            await self._read(requests)
        except (ControlProtocolError, ControlError) as error:  # nonsense, or too much of it
            await self._send(error_line(None, fault_of(error)))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has left
        else:
            if self._busy and not _has_hung_up(self.stream):
                # It has only said all that it has to say, and may wait for answers.
                self._done = trio.Event()
                with trio.move_on_after(self.limits.timeout):
                    await self._done.wait()
        finally:
            self.budget.change(len(self._lines), 0)

    # -- reading -------------------------------------------------------------------------------

    async def _read(self, requests: trio.Nursery) -> None:
        """Read until the client has nothing more to say.

        Raises:
          ControlProtocolError: If it talks nonsense, or does not end a line in time.
          ControlError: If there is no room for what it says.
        """
        while True:
            data = b""
            with trio.move_on_at(self._line_ends) as waiting:
                data = bytes(await self.stream.receive_some(READ))
            if waiting.cancelled_caught:
                told = f"expected a line to end within {self.limits.timeout:g} seconds"
                raise ControlProtocolError(told)
            if not data:
                return
            before = len(self._lines)
            for line in self._lines.feed(data):
                self.budget.change(before, 0)
                before = 0
                self._line_ends = inf
                await self._take(line, requests)
            after = len(self._lines)
            if not after:
                self._line_ends = inf
            elif self._line_ends == inf:
                self._line_ends = trio.current_time() + self.limits.timeout
            try:
                self.budget.change(before, after)
            except ControlError:
                self.budget.change(before, 0)
                self._lines = Lines(self.limits.max_line)
                raise

    async def _take(self, line: bytes, requests: trio.Nursery) -> None:
        """Begin with what a line asks for."""
        request = read_request(line)
        if request is None:
            return
        if isinstance(request, Cancel):
            if request.id in self._running:  # otherwise it has been answered
                self._running[request.id].cancel()
            return
        if request.id in self._running:
            told = f"request {request.id} is under way already; give each a number of its own"
            raise ControlProtocolError(told)
        if len(self._running) >= self.limits.requests:
            told = f"{len(self._running)} requests are under way; wait for one to end"
            await self._send(error_line(request.id, fault_of(ControlError("Busy", told))))
            return
        self.budget.change(0, len(line))
        scope = self._running[request.id] = trio.CancelScope()
        self._busy += 1
        requests.start_soon(self._run, request, scope, len(line))

    # -- answering -----------------------------------------------------------------------------

    async def _run(self, request: Request, scope: trio.CancelScope, size: int) -> None:
        """Carry a request out, and send the last line about it."""
        call = Call(request.method, request.params, self.peer)
        written = False
        kept = 0
        try:
            line = error_line(request.id, CANCELLED)
            with scope:
                line = await self._carry_out(request.id, call)
            try:
                self.budget.change(0, len(line))
                kept = len(line)
            except ControlError as error:
                line = error_line(request.id, fault_of(error))
            else:
                written = await self._send(line, ends=request.id)
                return
            await self._send(line, ends=request.id)
        finally:
            self.budget.change(size, 0)
            self.budget.change(kept, 0)
            if self._running.get(request.id) is scope:  # otherwise it has been answered
                del self._running[request.id]
            self._busy -= 1
            self.idle_since = trio.current_time()
            if self._done is not None and not self._busy:
                self._done.set()
            if call.give_back is not None and not written:
                with trio.move_on_after(GRACE, shield=True):
                    await call.give_back()
            if call.afterwards is not None:
                with trio.move_on_after(GRACE, shield=True):
                    await call.afterwards()

    async def _carry_out(self, id: int, call: Call) -> bytes:
        """Return the last line about a request."""
        try:
            reply = await self.answer(call)
            if not _is_stream(reply):
                return self._result(id, encode(reply))
            try:
                async for item in reply:
                    data = encode(item)
                    self.budget.change(0, len(data))
                    try:
                        await self._send(item_line(id, data))
                    finally:
                        self.budget.change(len(data), 0)
            finally:
                with trio.move_on_after(GRACE, shield=True):
                    await reply.aclose()
            return self._result(id, b"null")
        except Exception as error:
            fault = fault_of(error)
            if fault.args is None and not isinstance(error, ControlError | OSError):
                log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
                log.exception("control_failed", method=call.method)
            return error_line(id, fault)

    def _result(self, id: int, result: bytes) -> bytes:
        if len(result) > self.limits.max_line:
            told = f"the answer has {len(result)} bytes, and may have {self.limits.max_line}"
            raise ControlError("TooLarge", told)
        return result_line(id, result)

    # -- writing -------------------------------------------------------------------------------

    async def _send(self, data: bytes, *, ends: int | None = None) -> bool:
        """Send a line, and wait until the client's socket has it; return whether it has.

        Cancelled before the writer took it: it is not sent at all.
        """
        line = _Line(data, ends)
        await self._sender.send(line)
        with trio.CancelScope(shield=True):  # the writer ends in its time, whatever happens
            await line.done.wait()
        return line.written

    async def _write(self) -> None:
        """Send what there is to send; end the connection when nobody reads it."""
        async with self._outbox:
            async for line in self._outbox:
                if line.ends is not None:  # whoever reads it may use its number at once
                    self._running.pop(line.ends, None)
                try:
                    await send_line(self.stream, line.data, self.limits.timeout)
                    line.written = True
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    break
                except trio.TooSlowError:
                    log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
                    log.warning("control_client_dropped", pid=self.peer.pid, reason="reads nothing")
                    break
                finally:
                    line.done.set()
        self._everything.cancel()


def _is_stream(reply: object) -> TypeGuard[AsyncGenerator[object, None]]:
    return isinstance(reply, AsyncGeneratorType)


def _has_hung_up(stream: trio.abc.Stream) -> bool:
    """Whether nobody is at the other end any more, who could get answers."""
    if not isinstance(stream, trio.SocketStream):
        return False
    poll = select.poll()
    poll.register(stream.socket.fileno(), 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))
