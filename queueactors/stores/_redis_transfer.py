"""A queue on a Redis server as lines, and lines as a queue there; see `_lines`, ``transfer.lua``.

A server knows microseconds, and numbers up to 2^53. So instants are rounded up; and keys that are
larger, as those of a file are, are not kept: a reservation lasts as long as it would have, and its
key proves nothing. Items have no chunks there: they come out in chunks of their own.
"""

from __future__ import annotations

from itertools import islice
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final, cast
from urllib.parse import unquote

import attrs
import msgspec

from queueactors._codecs import Encoded
from queueactors.engines.redis import to_nanos, transfer_script

from ._chunk_lines import cut
from ._lines import FORMAT, Header, Lines, header_codec, header_line
from ._redis_link import QueueLink
from ._redis_rows import PARTS, Held, Reader
from ._transfer import TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from queueactors.engines.redis import Wire

    from ._protocol import Kind
    from ._redis import RedisStore
    from ._redis_rows import Fields
    from ._redis_server import Server
    from ._table import Table
    from ._transfer import Import

PAGE: Final = 1000  # records that are asked for, or sent, at once
BYTES: Final = 4 << 20  # of their values, from which on no more are sent at once
KINDS: Final = tuple(PARTS)
"""The kinds of queues that a server keeps."""


@attrs.frozen
class Found:
    """What a server says of a queue.

    Args:
      kind: Its kind; None: there is no such queue.
      moving: How it is moved: ``"out"``, ``"in"`` or ``"gone"``; None: it is not.
    """

    kind: str | None
    moving: str | None


class RedisTransfer:
    """Moves queues to a server, and from it.

    Args:
      store: Where it is.
      server: The connection.
      tables: By kind.
    """

    def __init__(self, store: RedisStore, server: Server, tables: Mapping[str, Table]) -> None:
        self._store = store
        self._server = server
        self._tables = tables

    async def ask(
        self, queue: str, kind: str, *request: object, values: Sequence[bytes] = ()
    ) -> tuple[object, Sequence[bytes]]:
        """Carry out an operation of ``transfer.lua``; return its answer, and the values in it.

        Raises:
          StoreError: If it was not carried out; or if nobody knows.
        """
        wire = cast("Wire", PARTS[kind].wire)  # of which it takes the keys only
        link = QueueLink(self._store, self._server, queue, cast("Kind", None), wire, None)
        packed = msgspec.msgpack.encode(request)
        answer, *found = await link.call(transfer_script(kind), (link.now(), packed, *values))
        return msgspec.msgpack.decode(answer)[0], found

    # -- what is there -------------------------------------------------------------------------

    async def look(self, queue: str) -> Found:
        """Return what there is of a queue."""
        answer, _ = await self.ask(queue, "timed", "look")
        kind, moving, _came = cast("tuple[str | bool, str | bool, str | bool]", answer)
        return Found(cast("str", kind) or None, cast("str", moving) or None)

    async def names(self) -> list[str]:
        """Return the names of all queues.

        Raises:
          TransferError: If no one server knows all of them.
        """
        before, after = f"{self._store.prefix}:{{", "}:head"
        pattern = "".join(f"\\{each}" if each in "*?[]\\^" else each for each in before)
        names: set[str] = set()
        cursor = "0"
        while True:
            # Of whatever queue: an empty name is no hash tag, and then a cluster refuses the keys.
            answer, values = await self.ask("q", "timed", "names", cursor, f"{pattern}*{after}")
            if not answer:
                raise TransferError(
                    "in a cluster nobody knows all queues: name those that are meant"
                )
            cursor, first, many = cast("tuple[str, int, int]", answer)
            for key in values[first - 1 : first - 1 + many]:
                names.add(unquote(key.decode().removeprefix(before).removesuffix(after)))
            if cursor == "0":
                return sorted(names)

    # -- out -----------------------------------------------------------------------------------

    async def hold(self, queue: str, kind: str, lease: int | None = None) -> bool:
        """Keep everybody off a queue; return whether that is new.

        Args:
          queue: Its name.
          kind: Its kind.
          lease: Microseconds, from each time that something of it is asked; None: for good.

        Raises:
          TransferError: If somebody exports it.
        """
        answer, _ = await self.ask(queue, kind, "hold", lease or False)
        if answer is False:
            raise TransferError(f"queue {queue!r} is exported at present; try again")
        return bool(cast("Sequence[object]", answer)[0])

    async def release(self, queue: str, kind: str) -> None:
        """Let others use a queue again."""
        await self.ask(queue, kind, "release")

    async def empty(self, queue: str, kind: str) -> None:
        """Remove a queue that is held.

        Raises:
          TransferError: If it is not.
        """
        answer, _ = await self.ask(queue, kind, "empty")
        if answer is False:
            told = "somebody has let others use it meanwhile; it is in both stores now"
            raise TransferError(f"queue {queue!r} is not removed: {told}")

    async def dump(
        self,
        queue: str,
        kind: str,
        stream: IO[bytes],
        progress: Callable[[int], None],
        lease: int | None = None,
    ) -> int:
        """Write a queue that is held as the section of a file of lines; return how many lines.

        The same lines come out as long as it is held.

        Raises:
          TransferError: If it is not held any more.
        """
        answer, _ = await self.ask(queue, kind, "hold", lease or False)
        _, at, records, facts = cast("tuple[bool, int, int, dict[str, int]]", answer)
        held = Held(at, records, dict(facts))
        table, part = self._tables[kind], PARTS[kind]

        async def ask(operation: str, argument: object) -> tuple[Sequence[object], Sequence[bytes]]:
            request = operation, argument, lease or False
            answer, values = await self.ask(queue, kind, *request)
            if answer is False:
                told = f"somebody has let others use queue {queue!r} meanwhile; try again"
                raise TransferError(told)
            return cast("Sequence[object]", answer), values

        codec, write, done = "msgpack", None, 0
        with TemporaryFile() as lines:
            async for row in part.rows(Reader(ask, held, PAGE)):
                if write is None:
                    codec = header_codec(str(row[-1]))
                    write = Lines(table, codec).write
                lines.write(write(row))
                done += 1
                if done % PAGE == 0:
                    progress(done)
            progress(done)
            header = Header(
                queueactors=FORMAT,
                store="redis",
                queue=queue,
                kind=kind,
                codec=codec,
                messages=done,
                at=to_nanos(held.at),
                head=part.head(held, done),
            )
            lines.seek(0)
            stream.write(header_line(header))
            copyfileobj(lines, stream)
        return done

    # -- in ------------------------------------------------------------------------------------

    async def take(self, lines: Import, progress: Callable[[int], None]) -> int:
        """Let lines become a queue, that is not there, or empty; return how many came before.

        What was interrupted goes on where it was, if it is given the same lines.

        Raises:
          TransferError: If they cannot.
        """
        queue, kind, came = lines.queue, lines.kind, lines.digest
        part = PARTS[kind]
        anew = part.check(lines)
        answer, _ = await self.ask(queue, kind, "begin", came, part.facts(lines))
        state, *more = cast("tuple[str, int]", answer)
        if state == "complete":
            progress(lines.messages)
            return lines.messages
        if state != "coming":
            raise TransferError(_refusal(queue, state, *more))
        before = done = more[0]
        progress(done)
        records = enumerate((fields for _, fields in lines.read()), 1)
        for some in _pages(islice(records, before, None)):
            rows, values = [], cast("list[bytes]", [])
            for number, fields in some:
                _cut(fields, lines)
                rows += part.pack(fields, lines.codec, values, number if anew else None)
            answer, _ = await self.ask(
                queue, kind, "write", came, done, len(some), rows, values=values
            )
            if answer != done + len(some):
                raise TransferError(f"somebody else changes queue {queue!r} meanwhile; try again")
            done += len(some)
            progress(done)
        await self.ask(queue, kind, "finish", came)
        return before

    async def discard(self, lines: Import) -> bool:
        """Remove what has come of lines; return False if all of them have."""
        answer, _ = await self.ask(lines.queue, lines.kind, "discard", lines.digest)
        return bool(answer)


def _cut(fields: Fields, lines: Import) -> None:
    """Take away what was popped of some items that are kept together."""
    begin = lines.head.get("begin") or 0
    if begin and fields["state"] == "kept":
        codec, data = lines.kept(fields)
        left = cut(fields, begin, codec, data)
        if left is not None:
            fields["value"] = Encoded(codec, left)


def _refusal(queue: str, state: str, fact: object = None) -> str:
    told = {
        "another": "other lines have begun to come; finish that, or take it back with --undo",
        "leaving": "it is on its way to another store",
        "kind": f"it is of kind {fact!r} there",
        "filled": "it is there, and not empty; clear it first, or choose another prefix",
    }
    return f"queue {queue!r} cannot come: {told[state]}"


def _pages(records: Iterable[tuple[int, Fields]]) -> Iterable[list[tuple[int, Fields]]]:
    """Yield what is sent together."""
    page: list[tuple[int, Fields]] = []
    size = 0
    for number, fields in records:
        page.append((number, fields))
        size += len(cast("bytes", fields["value"])) + cast("int", fields.get("count", 0)) * 64
        if len(page) == PAGE or size >= BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page
