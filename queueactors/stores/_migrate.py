"""Queues on their way from one store to another: out as lines, in as lines, and then removed.

Whatever ends it at whatever instant, it goes on when it is run again: nobody uses a queue that is
on its way, so the same lines come out of it, and the target knows how many of them it has.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Protocol

import attrs
import trio

from queueactors._clock import Clock
from supervisors import bare_nursery, did_you_mean

from ._protocol import Place
from ._table import MOST
from ._transfer import Export, Import, TransferError, sections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from ._file import StoreFile
    from ._redis import RedisStore
    from ._redis_transfer import RedisTransfer
    from ._table import Table


class Tell(Protocol):
    """Tells how far it is."""

    def __call__(self, what: str, queue: str, /) -> Callable[[int], None]:
        """Return what is told how many lines are done."""


class Side(Protocol):
    """Where queues come from, or go to."""

    name: str
    """What it is called in messages; without a secret."""

    kinds: frozenset[str]
    """The kinds of queues that it keeps."""

    async def queues(self, names: Sequence[str]) -> dict[str, str]:
        """Return the kinds of the queues that are there, by name.

        Args:
          names: Those that are asked for; none: all.
        """

    async def has_left(self, queue: str) -> bool:
        """Return whether a queue is known to have been moved from here."""

    async def hold(self, queue: str, kind: str) -> bool:
        """Keep everybody off a queue, also if this process ends; return whether that is new."""

    async def dump(
        self, queue: str, kind: str, stream: IO[bytes], progress: Callable[[int], None]
    ) -> int:
        """Write a queue that is held, as lines; return how many."""

    async def release(self, queue: str, kind: str) -> None:
        """Let others use a queue again."""

    async def remove(self, queue: str, kind: str) -> None:
        """Remove a queue that is held."""

    async def take(self, lines: Import, progress: Callable[[int], None]) -> int:
        """Let lines become a queue; return how many of them had come before.

        Raises:
          TransferError: If they cannot.
        """

    async def finish(self) -> None:
        """Make what has come last; before anything is removed where it came from."""

    async def discard(self, lines: Import) -> None:
        """Remove what has come of lines.

        Raises:
          TransferError: If all of them have.
        """


@attrs.define
class FileSide:
    """A store's file, that nobody else has open.

    Args:
      file: It.
      tables: By kind.
    """

    file: StoreFile
    tables: Mapping[str, Table]
    name: str = attrs.field(init=False)
    kinds: frozenset[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.name, self.kinds = str(self.file.path), frozenset(self.tables)

    async def queues(self, names: Sequence[str]) -> dict[str, str]:
        """Return those that are there."""
        return {
            queue.name: queue.kind
            for queue in self.file.queues()
            if not names or queue.name in names
        }

    async def has_left(self, queue: str) -> bool:
        """Return whether it was moved."""
        return self.file.noted(f"moved:{queue}") is not None

    async def hold(self, queue: str, kind: str) -> bool:  # noqa: ARG002 - every side has it
        """Keep everybody off a queue."""
        stored = self.file.queue(queue)
        if stored is None or self.file.is_leaving(stored):
            return False
        with self._transaction():
            self.file.hold(stored)
        return True

    async def dump(
        self,
        queue: str,
        kind: str,  # noqa: ARG002 - every side has it
        stream: IO[bytes],
        progress: Callable[[int], None],
    ) -> int:
        """Write a queue as lines."""
        made = Export(self.file, self.tables, [queue])
        made.write(stream, progress)
        return made.messages[queue]

    async def release(self, queue: str, kind: str) -> None:  # noqa: ARG002 - every side has it
        """Let others use a queue again."""
        stored = self.file.queue(queue)
        if stored is not None:
            with self._transaction():
                self.file.let_go(stored)

    async def remove(self, queue: str, kind: str) -> None:  # noqa: ARG002 - every side has it
        """Remove a queue, and note that it was moved."""
        self._forget(queue, moved=True)

    def _forget(self, queue: str, *, moved: bool = False) -> None:
        with self._transaction():
            for _ in self.file.forget(queue):
                pass
            if moved:
                self.file.note(f"moved:{queue}", "")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.file.begin()
        try:
            yield
            self.file.commit()
        except BaseException:
            self.file.rollback()
            raise

    async def take(self, lines: Import, progress: Callable[[int], None]) -> int:
        """Let lines become a queue that is not there, or empty."""
        if (lines.head.get("next_id") or 0) > MOST:
            raise TransferError(f"queue {lines.queue!r} has ids that are too large for a file")
        stored = self.file.queue(lines.queue)
        if stored is not None and not lines.is_begun(self.file):
            count = self.file.count(stored)
            if self.file.is_leaving(stored):
                raise TransferError(f"queue {lines.queue!r} in {self.name} is itself on its way")
            if count:
                raise TransferError(
                    f"queue {lines.queue!r} in {self.name} is there, and not empty: it has "
                    f"{count:,} records; clear it first, or choose another store"
                )
            self._forget(lines.queue)
        lines.run(self.file, progress, again=False)
        return lines.resumed

    async def finish(self) -> None:
        """Do nothing: each transaction is durable."""

    async def discard(self, lines: Import) -> None:
        """Remove what has come of lines."""
        if lines.is_complete(self.file):
            raise TransferError(_complete(lines))
        if lines.is_begun(self.file):
            self._forget(lines.queue)


@attrs.define
class LinesSide:
    """A file of lines. As a source it stays as it is.

    Args:
      path: The file's.
      tables: By kind.
    """

    path: Path
    tables: Mapping[str, Table]
    name: str = attrs.field(init=False)
    kinds: frozenset[str] = attrs.field(init=False)
    _part: Path = attrs.field(init=False)
    _stream: IO[bytes] | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.name, self.kinds = str(self.path), frozenset(self.tables)
        self._part = self.path.with_name(self.path.name + ".part")

    async def queues(self, names: Sequence[str]) -> dict[str, str]:
        """Return those that are there."""
        found = {}
        for section in sections(self.path):
            if section.header is None:
                raise TransferError(
                    f"{self.path} has no header, that says of which queue it is; see: "
                    "queueactors import"
                )
            if not names or section.header.queue in names:
                found[section.header.queue] = section.header.kind
        return found

    async def has_left(self, queue: str) -> bool:  # noqa: ARG002 - every side has it
        """Return False: lines stay."""
        return False

    async def hold(self, queue: str, kind: str) -> bool:  # noqa: ARG002 - every side has it
        """Do nothing: nobody uses it."""
        return True

    async def dump(
        self,
        queue: str,
        kind: str,  # noqa: ARG002 - every side has it
        stream: IO[bytes],
        progress: Callable[[int], None],
    ) -> int:
        """Write a queue as lines."""
        lines = Import(self.path, queue, self.tables, 0)
        lines.copy(stream)
        progress(lines.messages)
        return lines.messages

    async def release(self, queue: str, kind: str) -> None:
        """Do nothing."""

    async def remove(self, queue: str, kind: str) -> None:
        """Do nothing: lines stay."""

    async def take(self, lines: Import, progress: Callable[[int], None]) -> int:
        """Write lines; into a file of another name until all of them are there."""
        if self.path.exists():
            if lines.digest not in {section.digest for section in sections(self.path)}:
                raise TransferError(
                    f"{self.path} is there already; remove it, or choose another name"
                )
            progress(lines.messages)
            return lines.messages
        if self._stream is None:
            self._stream = self._part.open("wb")
        lines.copy(self._stream)
        progress(lines.messages)
        return 0

    async def finish(self) -> None:
        """Give the file its name."""
        if self._stream is not None:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._part.rename(self.path)
            _sync(self.path.parent)

    async def discard(self, lines: Import) -> None:
        """Remove the file that is not complete."""
        if self.path.exists():
            raise TransferError(_complete(lines))
        self._part.unlink(missing_ok=True)


def _complete(lines: Import) -> str:
    return f"queue {lines.queue!r} has come; run it without --undo to finish it"


def _sync(folder: Path) -> None:
    """Make names in a folder outlast a power cut."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@attrs.define
class RedisSide:
    """A server.

    Args:
      transfer: The way to it.
      name: What it is called.
      lease: Microseconds for which a queue is held, from each time that it is read; None: for good.
    """

    transfer: RedisTransfer
    name: str
    lease: int | None = None
    kinds: frozenset[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        from ._redis_transfer import KINDS

        self.kinds = frozenset(KINDS)

    async def queues(self, names: Sequence[str]) -> dict[str, str]:
        """Return those that are there."""
        found = {}
        for name in names or await self.transfer.names():
            look = await self.transfer.look(name)
            if look.kind is not None and look.moving not in {"in", "gone"}:
                found[name] = look.kind
        return found

    async def has_left(self, queue: str) -> bool:
        """Return whether it was moved, not long ago."""
        return (await self.transfer.look(queue)).moving == "gone"

    async def hold(self, queue: str, kind: str) -> bool:
        """Keep everybody off a queue."""
        return await self.transfer.hold(queue, kind, self.lease)

    async def dump(
        self, queue: str, kind: str, stream: IO[bytes], progress: Callable[[int], None]
    ) -> int:
        """Write a queue as lines."""
        return await self.transfer.dump(queue, kind, stream, progress, self.lease)

    async def release(self, queue: str, kind: str) -> None:
        """Let others use a queue again."""
        await self.transfer.release(queue, kind)

    async def remove(self, queue: str, kind: str) -> None:
        """Remove a queue; for a day, others who have it open are told."""
        await self.transfer.empty(queue, kind)

    async def take(self, lines: Import, progress: Callable[[int], None]) -> int:
        """Let lines become a queue that is not there, or empty."""
        return await self.transfer.take(lines, progress)

    async def finish(self) -> None:
        """Do nothing: what is durable there is up to the server."""

    async def discard(self, lines: Import) -> None:
        """Remove what has come of lines."""
        if not await self.transfer.discard(lines):
            raise TransferError(_complete(lines))


@asynccontextmanager
async def redis_side(
    store: RedisStore, name: str, tables: Mapping[str, Table], lease: int | None = None
) -> AsyncIterator[RedisSide]:
    """Connect to a server; for the arguments see `RedisSide`.

    Raises:
      StoreError: If it cannot be reached.
    """
    from ._redis_server import Server
    from ._redis_transfer import RedisTransfer

    place = Place(name, Path(), frozenset(), Clock.open(), Random())  # noqa: S311 - for backoffs
    server = store.child(place).start
    if not isinstance(server, Server):
        raise TypeError(f"expected the store's server, got {server!r}")
    async with bare_nursery() as nursery:
        await nursery.start(server)
        side = RedisSide(RedisTransfer(store, server, tables), name, lease)
        try:
            yield side
        finally:
            nursery.cancel_scope.cancel()


@attrs.frozen
class Moved:
    """What became of a queue.

    Args:
      kind: Its kind.
      messages: The lines that it made.
      resumed: Those of them that had come before.
    """

    kind: str
    messages: int
    resumed: int


async def migrate(  # noqa: PLR0913 - all positional, but one
    source: Side,
    target: Side,
    names: Sequence[str],
    tables: Mapping[str, Table],
    tell: Tell,
    *,
    keep: bool = False,
) -> dict[str, Moved]:
    """Move queues.

    They are removed from where they are only when all of them are where they go.

    Args:
      source: Where they are.
      target: Where they go.
      names: Theirs; none: all.
      tables: By kind.
      tell: Tells how far it is.
      keep: Leave them where they are, too.

    Returns:
      What became of each; those that had been moved before are left out.

    Raises:
      TransferError: If one cannot be moved; then none of it has come.
      StoreError: If a server failed; it goes on when it is run again.
    """
    kinds = await _chosen(source, target, names)
    moved = {}
    for queue, kind in kinds.items():
        async with _lines(source, queue, kind, tables, tell) as lines:
            resumed = await target.take(lines, tell("writing", queue))
            moved[queue] = Moved(kind, lines.messages, resumed)
    await target.finish()
    for queue, kind in kinds.items():
        if keep:
            await source.release(queue, kind)
        else:
            await source.remove(queue, kind)
    return moved


async def export(
    source: Side, names: Sequence[str], stream: IO[bytes], tell: Tell
) -> dict[str, int]:
    """Write queues as lines; each is held meanwhile. Return how many lines each made.

    Raises:
      TransferError: If one is not there, or is on its way to another store.
    """
    written = {}
    for queue, kind in (await _chosen(source, source, names)).items():
        if not await source.hold(queue, kind):
            raise TransferError(f"queue {queue!r} is on its way to another store, or exported")
        try:
            written[queue] = await source.dump(queue, kind, stream, tell("exporting", queue))
        finally:
            with trio.CancelScope(shield=True):
                await source.release(queue, kind)
    return written


async def undo(
    source: Side,
    target: Side,
    names: Sequence[str],
    tables: Mapping[str, Table],
    tell: Tell,
) -> list[str]:
    """Take back what has begun and is not complete; return the queues that can be used again.

    Raises:
      TransferError: If all of one has come.
    """
    kinds = await _chosen(source, target, names)
    for queue, kind in kinds.items():
        async with _lines(source, queue, kind, tables, tell) as lines:
            await target.discard(lines)
        await source.release(queue, kind)
    return list(kinds)


async def _chosen(source: Side, target: Side, names: Sequence[str]) -> dict[str, str]:
    """Return the kinds of the queues to be moved."""
    kinds = await source.queues(names)
    for name in names:
        if name not in kinds and not await source.has_left(name):
            known = await source.queues(()) if isinstance(source, FileSide) else ()
            raise TransferError(
                f"there is no queue {name!r} in {source.name}{did_you_mean(name, known)}"
            )
    for queue, kind in kinds.items():
        if kind not in target.kinds:
            raise TransferError(
                f"queue {queue!r} is of kind {kind!r}, and {target.name} keeps none of that kind"
            )
    return kinds


@asynccontextmanager
async def _lines(
    source: Side, queue: str, kind: str, tables: Mapping[str, Table], tell: Tell
) -> AsyncIterator[Import]:
    """Keep everybody off a queue, and have it as lines.

    If that is refused, or what is done with them, it is let go: unless an earlier run has held it.
    """
    is_new = await source.hold(queue, kind)
    try:
        with NamedTemporaryFile(prefix="queueactors-", suffix=".jsonl") as spool:
            await source.dump(queue, kind, spool, tell("reading", queue))
            spool.flush()
            lines = Import(Path(spool.name), queue, tables, 0, kind)
            lines.check(tell("checking", queue))
            yield lines
    except TransferError:
        if is_new:
            with trio.CancelScope(shield=True):
                await source.release(queue, kind)
        raise
