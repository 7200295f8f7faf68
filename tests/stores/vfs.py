"""A disk that fails when it is told to, and remembers what was written: a VFS of SQLite.

SQLite does all its reading and writing through a VFS. This one passes everything on to the
operating system's, counts the steps, lets some of them fail, and can write down each of them, so
that `after_power_cut` can tell what would be left.

Source: https://sqlite.org/vfs.html; "Powersafe Overwrite" in https://sqlite.org/psow.html.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Literal, cast

import apsw
import attrs

from queueactors import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from queueactors.stores._file import Connection, Driver

Kind = Literal["read", "write", "truncate", "sync", "open", "delete"]
Fault = Literal["full", "short", "readonly", "io", "fsync", "read", "corrupt", "defect"]

FAULTS: Final[dict[Fault, frozenset[Kind]]] = {
    "full": frozenset({"write"}),
    "short": frozenset({"write"}),  # half of it is written, then the disk is full
    "readonly": frozenset({"write", "truncate", "delete"}),
    "io": frozenset({"write", "truncate", "sync", "open", "delete"}),
    "fsync": frozenset({"sync"}),
    "read": frozenset({"read"}),
    "corrupt": frozenset({"read"}),  # it succeeds, with other bytes
    "defect": frozenset({"write"}),  # nothing that SQLite would say
}
SECTOR: Final = 512  # bytes that are written whole or not at all

_numbers = count()


@attrs.frozen
class Step:
    """One thing that was done to a file.

    Args:
      file: Its name, without the directory.
      kind: What was done.
      offset: Where it was written; the new size of one that was truncated.
      data: What was written.
    """

    file: str
    kind: Kind
    offset: int = 0
    data: bytes = b""


class Disk(apsw.VFS):
    """A disk that fails when it is told to.

    Attributes:
      steps: All steps that changed something, if it is recording.
      failures: How many steps have failed.
    """

    def __init__(self, *, recording: bool = False) -> None:
        self.name = f"disk-{next(_numbers)}"
        super().__init__(self.name, "")
        self.steps: list[Step] = []
        self.failures = 0
        self._recording = recording
        self._fault: Fault | None = None
        self._left = 0  # steps that succeed before it fails
        self._lasting = False

    def fail(self, fault: Fault, number: int = 1, *, lasting: bool = True) -> None:
        """Let the ``number``-th step that can fail so do it; lasting: and those after it."""
        self._fault, self._left, self._lasting = fault, number, lasting
        self.failures = 0

    def heal(self) -> None:
        """Let everything succeed again."""
        self._fault = None

    def begin(self, step: Step) -> Fault | None:
        """Return the fault that a step has; most have none."""
        fault = self._fault
        if fault is not None and step.kind in FAULTS[fault]:
            self._left -= 1
            if self._left <= 0:
                if not self._lasting:
                    self._fault = None
                self.failures += 1
                return fault
        if self._recording and step.kind != "read":
            self.steps.append(step)
        return None

    def xOpen(  # noqa: N802
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        _check(self.begin(Step(_base(path), "open")))
        return _File(self, name, flags, _base(path))

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001
        """Delete a file."""
        _check(self.begin(Step(_base(filename), "delete")))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int], base: str
    ) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._base = base

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        fault = self._disk.begin(Step(self._base, "read"))
        if fault == "corrupt":
            return bytes(each ^ 0x55 for each in super().xRead(amount, offset))
        _check(fault)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        fault = self._disk.begin(Step(self._base, "write", offset, bytes(data)))
        if fault == "short":
            super().xWrite(bytes(data)[: len(data) // 2], offset)
        _check(fault)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        _check(self._disk.begin(Step(self._base, "truncate", newsize)))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802
        """Say that it is done: the tests' processes die, their machine does not."""
        _check(self._disk.begin(Step(self._base, "sync")))


def _base(path: str | None) -> str:
    return Path(path).name if path else ""


def _check(fault: Fault | None) -> None:
    """Raise what SQLite says of a fault."""
    match fault:
        case None:
            return
        case "full" | "short":
            raise apsw.FullError("database or disk is full")
        case "readonly":
            raise apsw.ReadOnlyError("attempt to write a readonly database")
        case "defect":
            raise ZeroDivisionError("a defect")
        case _:
            raise apsw.IOError("disk I/O error")


@attrs.define
class DiskDriver:
    """Opens files on a `Disk`.

    Args:
      disk: The disk.
    """

    disk: Disk
    Error: type[Exception] = attrs.field(default=apsw.Error, init=False)

    def connect(self, path: str) -> Connection:
        """Open a file, which is made if it is not there."""
        return cast("Connection", apsw.Connection(path, vfs=self.disk.name))


def store_on(disk: Disk) -> type[SqliteStore]:
    """Return the class of stores whose files are on a disk."""

    class StoreOnDisk(SqliteStore):
        driver: ClassVar[Driver] = DiskDriver(disk)

    return StoreOnDisk


# -- power cuts ----------------------------------------------------------------------------------

Files = dict[str, bytes]


def after_power_cut(steps: Sequence[Step], random: Random) -> Iterator[tuple[str, Files]]:
    """Yield what a power cut after these steps could leave of the files, and how that came.

    What was written before a file's last sync is there. Of what came after it anything may be
    there, in any order, and a write may be torn between two sectors.

    Args:
      steps: All that was done until then.
      random: Chooses.
    """
    unsynced = {
        number
        for number, step in enumerate(steps)
        if step.kind in {"write", "truncate"}
        and not any(later.kind == "sync" and later.file == step.file for later in steps[number:])
    }
    yield "all of it", _files(steps, set(), set())
    if not unsynced:
        return
    yield "nothing unsynced", _files(steps, unsynced, set())
    last = max(unsynced)
    yield "the last write torn", _files(steps, set(), {last})
    yield "the last write dropped", _files(steps, {last}, set())
    first = min(unsynced)
    yield "the first write dropped", _files(steps, {first}, set())
    lost = {each for each in unsynced if random.random() < 0.5}
    torn = {each for each in unsynced - lost if random.random() < 0.3}
    yield f"without {sorted(lost)}, {sorted(torn)} torn", _files(steps, lost, torn)


def _files(steps: Sequence[Step], lost: set[int], torn: set[int]) -> Files:
    files: dict[str, bytearray] = {}
    for number, step in enumerate(steps):
        if step.kind == "delete":
            files.pop(step.file, None)
        elif step.kind == "open":
            files.setdefault(step.file, bytearray())
        elif number in lost:
            continue
        elif step.kind == "truncate":
            del files[step.file][step.offset :]
        elif step.kind == "write":
            data = step.data
            if number in torn:
                data = data[: len(data) // 2 // SECTOR * SECTOR]
            content = files[step.file]
            content.extend(bytes(max(0, step.offset + len(data) - len(content))))
            content[step.offset : step.offset + len(data)] = data
    return {name: bytes(content) for name, content in files.items()}
