"""The public client of the control socket."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Literal, Self, TypeVar, cast

import attrs
import msgspec
import trio

from supervisors import Tree, bare_nursery

from ._errors import (
    ControlClosedError,
    ControlError,
    ControlProtocolError,
    ControlUnreachableError,
    error_of,
)
from ._protocol import (
    Answer,
    Greeting,
    Lines,
    cancel_line,
    read_answer,
    read_greeting,
    request_line,
)
from ._socket import PATIENCE, STUCK, connect, send_line
from ._values import (
    Json,
    Peeked,
    QueueRow,
    Redriven,
    RuntimeStatus,
    Taken,
    Top,
    TopChange,
    WorkerRow,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType

    from queueactors._reload import ReloadResult
    from queueactors.config import Plan

DEFAULT: Final = "var/control.sock"
MOST: Final = 1 << 30  # bytes of an answer: the runtime has a limit of its own
GRACE: Final = 2.0  # seconds for the end of a request that is cancelled
ITEMS: Final = 64  # of a stream that wait for whoever reads it
LINES: Final = 500  # lines of an import in one request
BYTES: Final = 1 << 20  # likewise

T = TypeVar("T")


class ControlStream(Generic[T]):
    """What a method yields, as it comes: iterate over it; leaving its ``async with`` ends it.

    What is not read holds up all of the connection: read on, or end it.
    """

    def __init__(self, client: ControlClient, request: _Request, made: type[T]) -> None:
        self._client = client
        self._request: _Request | None = request
        self._made = made

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return msgspec.json.decode(await self._item(), type=self._made)

    async def _item(self) -> msgspec.Raw:
        """Return the next item as it came."""
        if self._request is None:
            raise StopAsyncIteration
        answer = await self._client._next(self._request)  # noqa: SLF001 - the two are one thing
        if answer.item is msgspec.UNSET:
            self._request = None
            _check(answer)
            raise StopAsyncIteration
        return answer.item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it. A second time: nothing happens."""
        request, self._request = self._request, None
        if request is not None:
            await self._client._cancel(request)  # noqa: SLF001 - likewise


class _TopStream(ControlStream[Top]):
    """Everything, again and again; only what has changed travels, and is put together here."""

    def __init__(self, client: ControlClient, request: _Request) -> None:
        super().__init__(client, request, Top)
        self._queues: dict[str, QueueRow] = {}
        self._workers: dict[str, WorkerRow] = {}
        self._since: dict[str, int] = {}  # when the row of a queue was made

    async def __anext__(self) -> Top:
        change = msgspec.json.decode(await self._item(), type=TopChange)
        if change.whole:
            self._queues, self._workers, self._since = {}, {}, {}
        self._queues.update((each.name, each) for each in change.queues)
        self._workers.update((each.name, each) for each in change.workers)
        self._since.update((each.name, change.at) for each in change.queues)
        at = change.at
        return Top(
            at=at,
            status=change.status,
            queues=tuple(
                [_aged(row, at - self._since[name]) for name, row in self._queues.items()]
            ),
            workers=tuple(self._workers.values()),
            interval=change.interval,
        )


def _aged(row: QueueRow, passed: int) -> QueueRow:
    """Return a queue in which nothing has happened for so many nanoseconds."""
    numbers = row.statistics
    oldest = None if numbers is None or passed <= 0 else numbers.get("oldest_age")
    if oldest is None:
        return row
    return attrs.evolve(row, statistics={**(numbers or {}), "oldest_age": oldest + passed / 1e9})


@attrs.define(eq=False)
class _Request:
    id: int
    sender: trio.MemorySendChannel[Answer]
    answers: trio.MemoryReceiveChannel[Answer]


class ControlClient:
    """A connection to a running runtime. Made by `open_control`.

    Any number of tasks may use it at once. Each method ends with the error that the runtime had,
    as the class that it is over there: `QueueNotFoundError`, `QueueFullError`,
    `supervisors.ActorDownError` and so on; with `ControlError` if that class is not known here;
    with `ControlClosedError` if the connection ends. Cancelled: the request is cancelled over
    there, too; if it had happened already, its result is returned.

    Args:
      path: The socket's.
      greeting: What the runtime has said of itself.
      stream: The connection.
    """

    def __init__(self, path: Path, greeting: Greeting, stream: trio.abc.Stream) -> None:
        self.path = path
        self.name = greeting.name
        self.pid = greeting.pid
        self._stream = stream
        self._sending = trio.Lock()
        self._requests: dict[int, _Request] = {}
        self._last_id = 0
        self._ended: Exception | None = None

    def __repr__(self) -> str:
        return f"<ControlClient of {self.name!r}, process {self.pid}>"

    # -- what there is -------------------------------------------------------------------------

    async def status(self) -> RuntimeStatus:
        """Return what the runtime is at."""
        return await self.call("status", made=RuntimeStatus)

    async def tree(self) -> Tree:
        """Return its supervisor tree; ``str()`` draws it."""
        return await self.call("tree", made=Tree)

    async def queues(self) -> tuple[QueueRow, ...]:
        """Return all queues, in the order of their definition."""
        return await self.call("queues", made=tuple[QueueRow, ...])

    async def workers(self) -> tuple[WorkerRow, ...]:
        """Return all workers, in the order of their definition."""
        return await self.call("workers", made=tuple[WorkerRow, ...])

    async def stats(self, queue: str) -> tuple[QueueRow, tuple[WorkerRow, ...]]:
        """Return the numbers of a queue, and of its workers.

        Raises:
          QueueNotFoundError: If there is no such queue.
        """
        made = await self.call("stats", {"queue": queue}, made=_Stats)
        return made.queue, made.workers

    async def metrics(self, format: Literal["prometheus", "openmetrics"] = "prometheus") -> str:
        """Return all metrics as text."""
        return await self.call("metrics", {"format": format}, made=str)

    async def top(self, interval: float = 1.0) -> ControlStream[Top]:
        """Return a stream of everything, at an instant each.

        Args:
          interval: Seconds in between (0.1 to 3600), at least: the runtime makes fewer rather than
            spend more than 1 % of a core on them.
        """
        return _TopStream(self, await self._ask("top", {"interval": interval}))

    async def logs(self, level: str = "debug") -> ControlStream[dict[str, Json]]:
        """Return a stream of the log events that come from now on.

        Who reads too slowly loses some, and gets an event ``events_dropped`` with their ``count``.

        Args:
          level: The least severe that are wanted. What the runtime does not log is not sent.
        """
        return await self.stream("logs", {"level": level}, made=dict[str, Json])

    # -- messages --------------------------------------------------------------------------------

    async def insert(  # noqa: PLR0913 - all by name
        self,
        queue: str,
        *values: object,
        data: Sequence[bytes] = (),
        delay: float = 0,
        priority: int = 0,
        mid: str | None = None,
        wait: float = 0,
    ) -> dict[str, Json]:
        """Put messages into a queue of any kind.

        Args:
          queue: Its name.
          *values: Anything that is JSON.
          data: Bytes.
          delay: Seconds (>= 0) before they can be taken: timed and message queues.
          priority: Smaller is handed out first: timed queues.
          mid: The message's name, of one message: message queues.
          wait: Seconds (>= 0) to wait for room. 0: not at all.

        Returns:
          ``inserted``: how many went in; ``refused``: how many the queue had already.

        Raises:
          QueueNotFoundError: If there is no such queue.
          QueueFullError: If there is no room.
          trio.TooSlowError: If there was none in time.
          QueueClosedError: If it is closed.
          ValueError: If an argument is not for its kind, or out of its range.
        """
        params: dict[str, object] = {"queue": queue, "values": list(values)}
        optional = {"data": list(data), "delay": delay, "priority": priority, "mid": mid}
        params |= {key: value for key, value in optional.items() if value}
        if wait:
            params["wait"] = wait
        return await self.call("insert", params, made=dict[str, Json])

    async def import_lines(
        self, queue: str, lines: Iterable[Mapping[str, object]], *, codec: str | None = None
    ) -> AsyncIterator[dict[str, Json]]:
        """Put the lines of an export into a queue; yield after each part what came of it.

        They are new messages: of a line, the value, ``mid``, ``priority`` and ``ready_at`` count.

        Args:
          queue: Its name.
          lines: The lines, decoded.
          codec: That of ``data`` in lines that name none.

        Yields:
          ``inserted`` and ``refused``, of so many lines; and ``error``: what was wrong with the
          line after these; then nothing comes after it.
        """
        part: list[Mapping[str, object]] = []
        size = 0
        for line in lines:
            part.append(line)
            size += len(msgspec.json.encode(line))
            if len(part) == LINES or size >= BYTES:
                result = await self._import(queue, part, codec)
                yield result
                if "error" in result:
                    return
                part, size = [], 0
        if part:
            yield await self._import(queue, part, codec)

    async def _import(
        self, queue: str, lines: list[Mapping[str, object]], codec: str | None
    ) -> dict[str, Json]:
        params: dict[str, object] = {"queue": queue, "lines": lines, "codec": codec}
        return await self.call("import", params, made=dict[str, Json])

    async def reserve(
        self, queue: str, *, seconds: float | None = None, wait: float | None = 0
    ) -> Taken | None:
        """Take the first message of a timed or message queue; None if there is none in time.

        Finish it with `delete`, or give it back with `release`; otherwise it comes back by itself.
        If the connection ends before it arrives here, it is given back at once.

        Args:
          queue: Its name.
          seconds: How long it is yours; None: as the queue says. Timed queues.
          wait: Seconds (>= 0) to wait for one. None: without limit.
        """
        params = {"queue": queue, "seconds": seconds, "wait": wait}
        return await self.call("reserve", params, made=_MAYBE_TAKEN)

    async def delete(self, queue: str, key: int) -> None:
        """Finish a message that was taken.

        Raises:
          ReservationError: If it is not yours any more; of a message queue, `ClaimLostError`.
        """
        await self.call("delete", {"queue": queue, "key": key}, made=object)

    async def release(self, queue: str, key: int, *, delay: float = 0) -> None:
        """Give a message back that was taken, and let it wait ``delay`` seconds.

        Raises what `delete` does.
        """
        await self.call("release", {"queue": queue, "key": key, "delay": delay}, made=object)

    async def peek(
        self, queue: str, state: str | None = None, *, limit: int = 10
    ) -> ControlStream[Peeked]:
        """Return a stream of the first messages, or items, of a queue of any kind.

        Args:
          queue: Its name.
          state: What they wait for, in the words of the kind: timed, message and batch queues.
            None: what is ready; in a message queue, whatever they wait for.
          limit: How many at most (1 to 1000).
        """
        params = {"queue": queue, "state": state, "limit": limit}
        return await self.stream("peek", params, made=Peeked)

    async def kick(self, queue: str, limit: int = 1) -> int:
        """Let buried messages, or batches, be taken again; return how many."""
        return await self._count("kicked", "kick", {"queue": queue, "limit": limit})

    async def remove(self, queue: str, *ids: int) -> int:
        """Take messages out by their numbers, in whatever state; return how many there were."""
        return await self._count("removed", "remove", {"queue": queue, "ids": list(ids)})

    async def redrive(self, queue: str, to: str | None = None, *, limit: int = 1000) -> Redriven:
        """Put the dead letters in a queue back to where they came from.

        Each is put there first and then finished here: after a crash in between it is in both.

        Args:
          queue: Where they are: a timed or message queue.
          to: Another queue for all of them, also for what is no dead letter.
          limit: How many at most (>= 1).
        """
        params = {"queue": queue, "to": to, "limit": limit}
        return await self.call("redrive", params, made=Redriven)

    async def clear(self, *queues: str) -> tuple[str, ...]:
        """Remove all messages of some queues; return the names of those that held any."""
        return (await self.call("clear", {"queues": list(queues)}, made=_Cleared)).cleared

    async def clear_all(self) -> tuple[str, ...]:
        """Remove all messages of all queues; return the names of those that held any."""
        return (await self.call("clear", {"all": True}, made=_Cleared)).cleared

    # -- operation -------------------------------------------------------------------------------

    async def pause(self, queue: str, seconds: float | None = None) -> None:
        """Let nobody take anything from a queue, for a time; None: until `resume`."""
        await self.call("pause", {"queue": queue, "seconds": seconds}, made=object)

    async def resume(self, queue: str) -> None:
        """End a pause."""
        await self.call("resume", {"queue": queue}, made=object)

    async def stop(self, child: str) -> None:
        """Stop a queue, a worker, or any other child; see `Runtime.stop`."""
        await self.call("stop", {"child": child}, made=object)

    async def start(self, child: str) -> None:
        """Start what was stopped or parked; see `Runtime.start`."""
        await self.call("start", {"child": child}, made=object)

    async def restart(self, child: str) -> None:
        """Stop and start; see `Runtime.restart`."""
        await self.call("restart", {"child": child}, made=object)

    async def plan(self, config: str | PathLike[str] | None = None) -> Plan:
        """Return what a reload would do; nothing happens. See `Runtime.plan`.

        Args:
          config: A file, which the runtime reads. None: the one that it was opened with.

        Raises:
          ConfigError: If the configuration has faults.
        """
        from queueactors.config import Plan

        return await self.call("plan", {"config": _absolute(config)}, made=Plan)

    async def reload(
        self,
        config: str | PathLike[str] | None = None,
        *,
        removed: Literal["drain", "keep"] = "drain",
    ) -> ReloadResult:
        """Change what runs to another configuration; see `Runtime.reload`.

        If ``[control]`` changes, this connection ends soon after the answer; that part is
        ``"pending"`` in it.

        Args:
          config: A file, which the runtime reads. None: the one that it was opened with.
          removed: What becomes of queues that are not in it any more.

        Raises:
          ConfigError: If the configuration has faults, or something in it cannot be changed while
            the runtime runs. Nothing has changed.
          ReloadRefusedError: If another reload is under way, or the runtime is stopping.
        """
        from queueactors._reload import ReloadResult

        params = {"config": _absolute(config), "removed": removed}
        return await self.call("reload", params, made=ReloadResult)

    # -- anything --------------------------------------------------------------------------------

    async def call(
        self, method: str, params: Mapping[str, object] | None = None, *, made: type[T]
    ) -> T:
        """Call any method that has a result.

        Args:
          method: Its name.
          params: Its parameters.
          made: The class of the result.
        """
        request = await self._ask(method, params or {})
        try:
            answer = await self._next(request)
        except trio.Cancelled:
            late = await self._cancel(request)
            if late is None or late.result is msgspec.UNSET:
                raise
            answer = late  # it had happened
        _check(answer)
        return msgspec.json.decode(cast("msgspec.Raw", answer.result), type=made)

    async def stream(
        self, method: str, params: Mapping[str, object], *, made: type[T]
    ) -> ControlStream[T]:
        """Call any method that yields items; arguments as for `call`, ``made`` for each item."""
        return ControlStream(self, await self._ask(method, params), made)

    async def _count(self, name: str, method: str, params: Mapping[str, object]) -> int:
        return (await self.call(method, params, made=dict[str, int]))[name]

    async def _ask(self, method: str, params: Mapping[str, object]) -> _Request:
        if self._ended is not None:
            raise self._ended
        self._last_id += 1
        sender, answers = trio.open_memory_channel[Answer](ITEMS)
        request = _Request(self._last_id, sender, answers)
        line = request_line(request.id, method, dict(params))
        self._requests[request.id] = request
        try:
            await self._send(line)
        except BaseException:
            del self._requests[request.id]
            raise
        return request

    async def _send(self, line: bytes) -> None:
        async with self._sending:
            try:
                # A line that is cut off would take all others with it.
                with trio.CancelScope(shield=True):
                    await send_line(self._stream, line, PATIENCE)
            except trio.TooSlowError:
                self._ended = ControlClosedError(str(self.path), STUCK)
                await trio.aclose_forcefully(self._stream)
                await trio.lowlevel.checkpoint()
                raise self._closed() from None
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await trio.lowlevel.checkpoint()
                raise self._closed() from None

    async def _next(self, request: _Request) -> Answer:
        try:
            answer = await request.answers.receive()
        except trio.EndOfChannel:
            raise self._closed() from None
        if answer.item is msgspec.UNSET:
            self._requests.pop(request.id, None)
        return answer

    async def _cancel(self, request: _Request) -> Answer | None:
        """End a request; return its end, if that comes in time."""
        if request.id not in self._requests:
            return None
        with trio.move_on_after(GRACE, shield=True):
            try:
                await self._send(cancel_line(request.id))
                async for answer in request.answers:
                    if answer.item is msgspec.UNSET:
                        return answer
            except ControlClosedError:
                pass
            finally:
                self._requests.pop(request.id, None)
                request.answers.close()
        return None

    def _closed(self) -> Exception:
        if self._ended is not None:
            return self._ended
        return ControlClosedError(str(self.path))

    # -- the connection --------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection  # Ctrl-C is for whoever waits, not for what he waits for
    async def _read(self, lines: Lines, first: list[bytes]) -> None:
        """Hand answers to those who wait for them, until the connection ends."""
        try:
            for line in first:
                await self._take(read_answer(line))
            async for data in cast("trio.abc.ReceiveStream", self._stream):
                for line in lines.feed(bytes(data)):
                    await self._take(read_answer(line))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except ControlProtocolError as error:
            self._ended = error
        finally:
            self._ended = self._ended or ControlClosedError(str(self.path))
            for request in self._requests.values():
                request.sender.close()

    async def _take(self, answer: Answer) -> None:
        if answer.id is None:
            if answer.error is not None:
                self._ended = ControlClosedError(str(self.path), answer.error.message)
            return
        request = self._requests.get(answer.id)
        if request is None:
            return  # nobody wants it any more
        try:
            await request.sender.send(answer)
        except trio.BrokenResourceError:
            return


@attrs.frozen
class _Stats:
    queue: QueueRow
    workers: tuple[WorkerRow, ...]


@attrs.frozen
class _Cleared:
    cleared: tuple[str, ...]


_MAYBE_TAKEN = cast("type[Taken | None]", Taken | None)


def _absolute(path: str | PathLike[str] | None) -> str | None:
    """Return a path as the runtime finds it, which is in another directory."""
    return None if path is None else str(Path(os.fspath(path)).absolute())


def _check(answer: Answer) -> None:
    if answer.error is not None:
        raise error_of(answer.error)


@asynccontextmanager
async def open_control(path: str | PathLike[str] = DEFAULT) -> AsyncIterator[ControlClient]:
    """Connect to a running runtime, around the body of an ``async with``.

    Args:
      path: Its control socket: ``<data_dir>/control.sock`` unless its configuration says another.

    Yields:
      The `ControlClient`.

    Raises:
      ControlUnreachableError: If no runtime answers there, or one of another user.
      ControlProtocolError: If it speaks another version of the protocol.
      ControlError: If it has no place for another client.
    """
    where = Path(os.fspath(path))
    async with await connect(where) as stream:
        lines = Lines(MOST)
        greeting, first = await _greeted(where, stream, lines)
        client = ControlClient(where, greeting, stream)
        async with bare_nursery() as nursery:
            nursery.start_soon(client._read, lines, first)  # noqa: SLF001 - the two are one thing
            yield client
            nursery.cancel_scope.cancel()


async def _greeted(
    path: Path, stream: trio.SocketStream, lines: Lines
) -> tuple[Greeting, list[bytes]]:
    """Return the greeting, and lines that came with it."""
    found: list[bytes] = []
    with trio.move_on_after(PATIENCE):
        while not found:
            try:
                data = bytes(await stream.receive_some())
            except trio.BrokenResourceError:
                data = b""
            if not data:
                raise ControlUnreachableError(str(path), "what answers there says nothing")
            found += lines.feed(data)
    if not found:
        raise ControlUnreachableError(str(path), STUCK)
    refused = read_answer(found[0]).error
    if refused is not None and refused.type != "ControlProtocolError":
        raise ControlError(refused.type, refused.message)
    return read_greeting(found[0]), found[1:]
