"""Export and import of the queues in a store's file that no runtime owns. Synchronous.

Both can be interrupted at any instant and run again. An export goes on after the last line that is
whole, if nothing in the store has changed since; otherwise it begins anew. An import notes in the
store itself, in the transaction that puts messages in, how far it is: run again with the same
lines it goes on there, and does nothing once all of them are in.

One file for both, as what one writes the other has to read.
"""

from __future__ import annotations

import os
import re
from contextlib import closing
from hashlib import sha256
from itertools import islice
from typing import IO, TYPE_CHECKING, Final, cast

import attrs
import msgspec

from queueactors._codecs import ITEMS, Encoded
from supervisors import did_you_mean

from ._chunk_lines import LineError, Positions, check_head, cut, name_of
from ._file import Changes, NotAStoreError, StoredQueue, StoreFile
from ._lines import (
    FORMAT,
    HEADER,
    Header,
    Lines,
    header_codec,
    header_line,
    read_header,
)
from ._names import Names
from ._table import BITS, MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ._table import StoredMessage, Table

PART: Final = 10_000  # messages that go into one transaction
TELL: Final = 1000  # messages between two reports of progress
LOG: Final = 64 << 20  # bytes of write-ahead log, from which on it is moved into the database


class TransferError(Exception):
    """It cannot be exported or imported; the text says what to do."""


# -- export ----------------------------------------------------------------------------------------


class Export:
    """Queues on their way out of a store's file.

    Args:
      file: The store's.
      tables: By kind.
      names: Those of the queues; none: all.

    Raises:
      NotAStoreError: If there is no such queue.
    """

    def __init__(self, file: StoreFile, tables: Mapping[str, Table], names: Sequence[str]) -> None:
        self._file = file
        self._tables = tables
        self._queues = _chosen(file, names)
        self._headers = [_header(file, queue, tables) for queue in self._queues]
        self.messages = {header.queue: header.messages for header in self._headers}
        self.resumed = 0  # messages that were written by an earlier run

    def write_file(self, path: Path, progress: Callable[[int], None]) -> None:
        """Write it to a file, under another name until it is complete.

        Args:
          path: Where to; must not exist.
          progress: Is told how many messages are written.

        Raises:
          TransferError: If the file is there already.
        """
        if path.exists():
            raise TransferError(f"{path} is there already; remove it, or choose another name")
        part = path.with_name(path.name + ".part")
        with part.open("r+b" if part.exists() else "w+b", buffering=1 << 20) as stream:
            section, after = self._resume(stream)
            stream.truncate()
            self._write(stream, section, after, progress)
            stream.flush()
            os.fsync(stream.fileno())
        part.rename(path)

    def write(self, stream: IO[bytes], progress: Callable[[int], None]) -> None:
        """Write it to a stream."""
        self._write(stream, 0, None, progress)

    def _write(
        self,
        stream: IO[bytes],
        section: int,
        after: int | None,
        progress: Callable[[int], None],
    ) -> None:
        """Write what comes after a message; None: the header has not been written either."""
        done = self.resumed
        for queue, header in list(zip(self._queues, self._headers, strict=True))[section:]:
            if after is None:
                stream.write(header_line(header))
            table = self._tables[queue.kind]
            write = Lines(table, header.codec).write
            for row in self._file.messages(queue, table, after=after or 0):
                stream.write(write(row))
                done += 1
                if done % TELL == 0:
                    progress(done)
            after = None
        progress(done)

    def _resume(self, stream: IO[bytes]) -> tuple[int, int | None]:
        """Go to the end of what is whole there; return its section, and its last message's id."""
        headers = [header_line(header) for header in self._headers]
        section, last, done, end = -1, 0, 0, 0
        for line in stream:
            if line.startswith(HEADER) and line.endswith(b"\n"):
                section, last = section + 1, 0
                if line not in headers[section : section + 1]:
                    section = -1  # another export, or something has changed since
            else:
                match = _WHOLE.match(line)
                if match is None:
                    break
                last, done = int(match[1]), done + 1
            if section < 0:
                break
            end += len(line)
        if section < 0:
            section, last, done, end = 0, 0, 0, 0
        self.resumed = done
        stream.seek(end)
        return section, last if end else None


_WHOLE: Final = re.compile(rb'\{"id":(\d+),.*\}\n\Z', re.DOTALL)


def _chosen(file: StoreFile, names: Sequence[str]) -> list[StoredQueue]:
    """Return the queues of these names, in the order of the file; all, if there is no name."""
    queues = file.queues()
    known = [queue.name for queue in queues]
    for name in names:
        if name not in known:
            raise NotAStoreError(
                f"there is no queue {name!r} in {file.path}{did_you_mean(name, known)}"
            )
    return [queue for queue in queues if not names or queue.name in names]


def _header(file: StoreFile, queue: StoredQueue, tables: Mapping[str, Table]) -> Header:
    row = next(file.messages(queue, tables[queue.kind]), None)
    return Header(
        queueactors=FORMAT,
        store=file.identity,
        queue=queue.name,
        kind=queue.kind,
        codec="msgpack" if row is None else header_codec(str(row[-1])),
        messages=file.count(queue),
        at=queue.at,
        head=dict(queue.head),
    )


# -- import ----------------------------------------------------------------------------------------


@attrs.define
class Section:
    """The lines of one queue in a file.

    Args:
      header: Its header; None: the file has none, somebody else has written it.
      first: The number of its first line in the file, from 1.
      start: Where that begins, in bytes.
      lines: How many lines it has, empty ones too.
      messages: How many messages.
      digest: Identifies its content.
    """

    header: Header | None
    first: int
    start: int
    lines: int = 0
    messages: int = 0
    digest: str = ""


class _Noted(msgspec.Struct):
    """How far an import is: in the store's file, under `_key`."""

    messages: int  # that are in
    as_it_was: bool  # they kept their ids, keys and the queue's head
    at: int  # epoch nanoseconds
    shift: int | None = None  # of positions, from those in the file to those in the queue


class Import:
    """The lines of one queue on their way into a store's file.

    Args:
      path: The file with the lines.
      queue: The name of the queue that they go to. Of a file with several queues: that one.
      tables: By kind.
      now: Epoch nanoseconds.
      kind: That of the queue, where it is known: the lines' header says the same, if there is one.

    Raises:
      TransferError: If it is not complete; or if there is no such queue in it, or no kind.
    """

    def __init__(
        self,
        path: Path,
        queue: str,
        tables: Mapping[str, Table],
        now: int,
        kind: str | None = None,
    ) -> None:
        self._path = path
        self._queue = queue
        self._now = now
        self._section = _find(path, queue, sections(path))
        header = self._section.header
        self._kind = (kind or "timed") if header is None else header.kind
        if kind not in {None, self._kind}:
            raise TransferError(
                f"{path} has a queue of kind {self._kind!r}, and queue {queue!r} is of kind "
                f"{kind!r}; nothing of it was imported"
            )
        if self._kind not in tables:
            raise TransferError(f"{path}: there is no kind of queue {self._kind!r}")
        self._table = tables[self._kind]
        self._codec = f"{ITEMS}msgpack" if self._table.lazy else "msgpack"
        self._codec = self._codec if header is None else header.codec
        self.messages = self._section.messages
        self.resumed = 0  # messages that an earlier run has put in
        self.finished_at: int | None = None  # when an earlier run had put all of them in
        self._keys: dict[int, int] = {}  # new ones, by the old: those with the same stay together

    def check(self, progress: Callable[[int], None]) -> None:
        """Read every line: so that nothing goes in if one of them is wrong.

        Raises:
          TransferError: If one is.
        """
        header, last, second = self._section.header, 0, self._table.second
        if header is not None and self._table.lazy:
            self._check_head(header)
        groups: dict[int, tuple[object, int]] = {}  # by key: the state, and a line
        positions = Positions(header)
        with closing(Names(second or "")) as names:
            for done, (number, fields) in enumerate(self.read(), 1):
                if header is not None:
                    last = self._check_numbers(number, fields, header, last)
                if second is not None:
                    self._check_name(number, fields, names)
                if fields["state"] in self._table.together:
                    self._check_group(number, fields, groups)
                if self._table.lazy:
                    self._check_position(number, fields, positions)
                if done % TELL == 0:
                    progress(done)
            for number, mid in names.alone():
                told = f"expected another message of mid {mid!r}, as state is {second!r}"
                self._refuse(number, told)
        if (wrong := positions.beyond()) is not None:
            self._refuse(*wrong)

    def _check_head(self, header: Header) -> None:
        """Refuse a header by whose numbers a log or capacity queue cannot go on."""
        number, head = self._section.first - 1, header.head
        try:
            check_head({name: head.get(name) for name in self._table.head})
        except LineError as error:
            self._refuse(number, str(error))

    def _check_position(self, number: int, fields: dict[str, object], positions: Positions) -> None:
        """Refuse chunks and labels that are not where they can be."""
        try:
            positions.place(fields)
            positions.note(number, fields, *self.kept(fields))
        except LineError as error:
            self._refuse(number, str(error))

    def kept(self, fields: dict[str, object]) -> tuple[str, bytes]:
        """Return a value's codec and bytes."""
        value = fields["value"]
        if isinstance(value, Encoded):
            return value.codec, value.data
        return self._codec, cast("bytes", value)

    def _check_name(self, number: int, fields: dict[str, object], names: Names) -> None:
        """Refuse a name that another line has."""
        mid, state = cast("str | None", fields["mid"]), cast("str", fields["state"])
        if mid is None:
            if state == self._table.second:
                self._refuse(number, f"expected mid, as state is {state!r}")
            return
        line = names.add(mid, state, number)
        if line is not None:
            self._refuse(number, f"mid {mid!r} is that of line {line}")

    def _check_group(
        self, number: int, fields: dict[str, object], groups: dict[int, tuple[object, int]]
    ) -> None:
        """Refuse a batch that has another state than the others that were claimed with it."""
        key, state = cast("int", fields["key"]), fields["state"]
        if not key:
            return
        other, line = groups.setdefault(key, (state, number))
        if other != state:
            told = f"expected state to be {other!r}, as on line {line} with the same key"
            self._refuse(number, f"{told}, got {state!r}")

    def _check_numbers(
        self, number: int, fields: dict[str, object], header: Header, last: int
    ) -> int:
        """Refuse ids and keys that cannot be; return the id."""
        own, key = cast("int", fields["id"] or 0), cast("int", fields.get("key", 0))
        next_id, last_key = header.head.get("next_id") or 0, header.head.get("last_key") or 0
        if not last < own < next_id:
            told = f"expected id to be more than {last} and below next_id, {next_id}, got {own}"
            self._refuse(number, told)
        least = int(self._has_key(fields))
        if not least <= key <= last_key:
            self._refuse(number, f"expected key from {least} to last_key, {last_key}, got {key}")
        return own

    def _has_key(self, fields: dict[str, object]) -> bool:
        """Return whether a message must have a key."""
        state = fields["state"]
        return state == self._table.held or state in self._table.together

    def _check_target(self, file: StoreFile, stored: StoredQueue, begun: int) -> None:
        """Refuse names that messages in the queue have; so many lines have been imported before."""
        with closing(Names(self._table.second or "")) as names:
            names.fill(file.mids(stored))
            for done, (number, fields) in enumerate(self.read()):
                mid = cast("str | None", fields["mid"])
                if mid is None:
                    continue
                if done < begun:  # one that is to come may wait for this one
                    names.discard(mid)
                elif mid in names:
                    self._refuse(number, f"mid {mid!r} is in queue {self._queue!r}", begun)

    def _check_labels(self, file: StoreFile, stored: StoredQueue, begun: int) -> None:
        """Refuse labels that the queue has; so many lines have been imported before."""
        rows = file.messages(stored, self._table, light=True)
        there = {name_of(str(row[-1]), cast("bytes", row[1])) for row in rows if row[1] is not None}
        for done, (number, fields) in enumerate(self.read()):
            if done >= begun and fields["state"] == self._table.lazy:
                name = name_of(*self.kept(fields))
                if name is not None and name in there:
                    self._refuse(number, f"label {name!r} is in queue {self._queue!r}", begun)

    def is_begun(self, file: StoreFile) -> bool:
        """Return whether some of these lines have come."""
        return self._noted(file, file.queue(self._queue)) is not None

    def is_complete(self, file: StoreFile) -> bool:
        """Return whether all of these lines have come."""
        noted = self._noted(file, file.queue(self._queue))
        return noted is not None and noted.messages == self.messages

    def run(self, file: StoreFile, progress: Callable[[int], None], *, again: bool) -> None:
        """Put the messages in, some in each transaction.

        Args:
          file: The store's.
          progress: Is told how many are in.
          again: Also if they are in already.

        Raises:
          NotAStoreError: If the queue there is of another kind.
          TransferError: If messages there have names that lines have.
        """
        stored = file.queue(self._queue)
        if stored is not None and stored.kind != self._kind:
            raise NotAStoreError(
                f"queue {self._queue!r} in {file.path} is of kind {stored.kind!r}, "
                f"not {self._kind!r}"
            )
        noted = self._noted(file, stored)
        if noted is not None and noted.messages == self.messages and not again:
            self.resumed, self.finished_at = noted.messages, noted.at
            return
        if noted is None or noted.messages == self.messages:
            as_it_was = stored is None and self._section.header is not None
            noted = _Noted(messages=0, as_it_was=as_it_was, at=self._now)
        self.resumed = noted.messages
        if stored is not None and self._table.second is not None:
            self._check_target(file, stored, noted.messages)
        if stored is not None and self._table.lazy:
            self._check_labels(file, stored, noted.messages)
        lines = self.read()
        for _ in range(noted.messages):
            next(lines)
        progress(noted.messages)
        if stored is None and not self.messages:
            self._put(file, [], noted)  # it has its head nevertheless
        while some := [fields for _, (_, fields) in zip(range(PART), lines)]:  # noqa: B905 - as many as there are
            noted.messages += len(some)
            self._put(file, some, noted)
            progress(noted.messages)
            if file.log_size() > LOG:
                file.checkpoint()

    def _put(self, file: StoreFile, some: list[dict[str, object]], noted: _Noted) -> None:
        """Put some messages in, and note it."""
        stored, header, table = file.queue(self._queue), self._section.header, self._table
        head = dict(self._table.head)
        if stored is not None:
            head |= stored.head
        elif header is not None:
            head |= {key: value for key, value in header.head.items() if key in head}
        if not noted.as_it_was:
            self._renumber(some, head)
            if table.lazy:
                self._move(some, head, noted)
        for fields in some:
            if fields.get("mid", "") is None:
                fields["mid"] = f"{self._section.digest[:16]}-{fields['id']}"
        at = max(self._now if header is None else header.at, 0 if stored is None else stored.at)
        number = file.last_number() + 1 if stored is None else stored.number
        base = number << BITS
        messages = [cast("StoredMessage", table.message(**fields)) for fields in some]
        changes = Changes(
            queue=self._queue,
            table=table,
            number=number,
            is_new=stored is None,
            head=msgspec.json.encode(head),
            at=at,
            cleared=False,
            kept=(),
            fresh=(),
            new=[table.new_row(base, self._codec, message) for message in messages],
            updated=(),
            gone=(),
            handed_over=(),
        )
        file.begin()
        try:
            for _ in file.apply(changes):
                pass
            file.note(self._key(number), msgspec.json.encode(noted).decode())
            file.commit()
        except BaseException:
            file.rollback()
            raise

    def _renumber(self, some: list[dict[str, object]], head: dict[str, int | None]) -> None:
        """Give messages the next ids, and keys that nobody has."""
        next_id, last_key = head["next_id"] or 1, head.get("last_key") or 0
        if next_id + len(some) > MOST:
            raise TransferError("there are no more ids in that queue; import into a new one")
        for fields in some:
            fields["id"] = next_id
            next_id += 1
            old = cast("int", fields.get("key", 0))
            if not old and not self._has_key(fields):
                continue
            key = self._keys.get(old)
            if key is None:
                key = last_key = last_key + 1
                if old and self._table.together:
                    self._keys[old] = key
            fields["key"] = key
        head["next_id"] = next_id
        if "last_key" in head:
            head["last_key"] = last_key

    def _move(
        self, some: list[dict[str, object]], head: dict[str, int | None], noted: _Noted
    ) -> None:
        """Let chunks follow those that are there, and labels stand among them as they did."""
        header, end = self._section.header, head["end"] or 0
        least = next((each["first"] for _, each in self.read() if each["state"] == "kept"), None)
        if least is None:
            least = 0 if header is None else header.head.get("end") or 0
        least = cast("int", least)
        if noted.shift is None:
            noted.shift = end - least
        begin = 0 if header is None else header.head.get("begin") or 0
        for fields in some:
            codec, data = self.kept(fields)
            left = cut(fields, begin, codec, data) if fields["state"] == "kept" else None
            if left is not None:
                fields["value"] = left if codec == self._codec else Encoded(codec, left)
            first = noted.shift + max(cast("int", fields["first"]), least)
            fields["first"] = first
            end = max(end, first + cast("int", fields["count"]))
        head["end"] = end

    def _noted(self, file: StoreFile, stored: StoredQueue | None) -> _Noted | None:
        text = None if stored is None else file.noted(self._key(stored.number))
        return None if text is None else msgspec.json.decode(text, type=_Noted)

    def _key(self, number: int) -> str:
        return f"import:{number}:{self._section.digest}"

    def read(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Yield the messages, each with the number of its line."""
        section, positions = self._section, Positions(None)
        read = Lines(self._table, self._codec, self._now).read
        with self._path.open("rb") as stream:
            stream.seek(section.start)
            for number, line in zip(  # noqa: B905 - the section's lines
                range(section.first, section.first + section.lines), stream
            ):
                if not line.isspace():
                    try:
                        fields = read(line)
                        if self._table.lazy:
                            positions.place(fields)
                    except LineError as error:
                        self._refuse(number, str(error))
                    else:
                        yield number, fields

    @property
    def codec(self) -> str:
        """The codec of lines that name none."""
        return self._codec

    @property
    def queue(self) -> str:
        """The name of the queue that they go to."""
        return self._queue

    @property
    def kind(self) -> str:
        """Its kind."""
        return self._kind

    @property
    def digest(self) -> str:
        """Identifies the lines."""
        return self._section.digest

    @property
    def head(self) -> Mapping[str, int | None]:
        """What the header says of the queue beside its messages; empty without a header."""
        return {} if self._section.header is None else self._section.header.head

    @property
    def first_line(self) -> int:
        """The number of the first line in the file, from 1."""
        return self._section.first

    def copy(self, stream: IO[bytes]) -> None:
        """Write the lines with their header, as they are."""
        section = self._section
        with self._path.open("rb") as source:
            if section.header is not None:
                stream.write(header_line(section.header))
            source.seek(section.start)
            stream.writelines(islice(source, section.lines))

    def texts(self, skip: int) -> Iterator[dict[str, object]]:
        """Yield the lines as they are written, without the first so many."""
        section = self._section
        with self._path.open("rb") as stream:
            stream.seek(section.start)
            lines = (line for line in islice(stream, section.lines) if not line.isspace())
            for line in islice(lines, skip, None):
                yield msgspec.json.decode(line, type=dict[str, object])

    def _refuse(self, line: int, what: str, begun: int = 0) -> None:
        came = f"nothing of it but the first {begun} messages" if begun else "nothing of it"
        raise TransferError(f"{self._path}:{line}: {what}; {came} was imported")


def sections(path: Path) -> list[Section]:
    """Return the sections of a file.

    Raises:
      TransferError: If a header cannot be read.
    """
    with path.open("rb") as stream:
        return list(_sections(path, stream))


def _sections(path: Path, stream: IO[bytes]) -> Iterator[Section]:
    """Yield the sections of a file."""
    section: Section | None = None
    digest, start = sha256(), 0
    for number, line in enumerate(stream, 1):
        end = start + len(line)
        if line.startswith(HEADER):
            if section is not None:
                yield attrs.evolve(section, digest=digest.hexdigest())
            try:
                header = read_header(line)
            except LineError as error:
                raise TransferError(f"{path}:{number}: {error}") from None
            section, digest = Section(header, number + 1, end), sha256()
        else:
            section = section or Section(None, 1, 0)
            section.lines += 1
            section.messages += not line.isspace()
        digest.update(line)
        start = end
    if section is not None:
        yield attrs.evolve(section, digest=digest.hexdigest())


def _find(path: Path, queue: str, sections: list[Section]) -> Section:
    """Return the section that is meant."""
    names = [section.header.queue for section in sections if section.header is not None]
    named = [each for each in sections if each.header is not None and each.header.queue == queue]
    if not sections:
        raise TransferError(f"{path} is empty")
    if len(sections) > 1 and not named:
        known = ", ".join(names)
        raise TransferError(f"{path} has no queue {queue!r}; it has {known}")
    section = sections[0] if len(sections) == 1 else named[0]
    header = section.header
    if header is not None and header.messages != section.messages:
        raise TransferError(
            f"{path} is not complete: {header.messages} messages of queue {header.queue!r} were "
            f"exported, it has {section.messages}; nothing of it was imported"
        )
    return section
