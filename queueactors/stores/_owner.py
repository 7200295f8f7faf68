"""One owner: who has a store's file, and nobody else has it meanwhile.

The lock is the kernel's, on a file beside the store's: it goes with its process, however that
ends. So what is left of a dead process stands in nobody's way.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import attrs

from queueactors._errors import owner_text

if TYPE_CHECKING:
    from pathlib import Path


@attrs.frozen
class OwnedError(Exception):
    """Somebody else has it.

    Args:
      pid: The owner's process id; None: it could not be read.
      started_at: When it took the lock, as ISO 8601 text; None: likewise.
      host: On which machine or in which container, if it is not this one: there its process id
        is somebody else. None: on this one, or likewise.
    """

    pid: int | None
    started_at: str | None
    host: str | None = None

    def __str__(self) -> str:
        return owner_text(self.pid, self.started_at, self.host)


class Owner:
    """Holds the lock of a file, from `take` to `release`.

    Args:
      path: The file's; the lock is ``<path>.lock``.
    """

    def __init__(self, path: Path) -> None:
        path = path.resolve()  # one file has one lock, whatever leads to it
        self.path = path.with_name(path.name + ".lock")
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock; a second time: nothing happens.

        Raises:
          OwnedError: If another process, or another store of this one, has it.
          OSError: If the lock's file cannot be made.
        """
        if self._descriptor is not None:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW  # a link is somebody's trap
        descriptor = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owned = _owned(descriptor)
            os.close(descriptor)
            raise owned from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        now = datetime.now(UTC).isoformat(timespec="seconds")
        facts = {"pid": os.getpid(), "started_at": now, "host": socket.gethostname()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(facts).encode(), 0)

    def check(self) -> None:
        """See that nobody has it at this instant.

        Raises:
          OwnedError: If somebody has.
          OSError: If the lock's file cannot be read.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _owned(descriptor) from None
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Give the lock back; the file stays: who removes it could remove somebody else's."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _owned(descriptor: int) -> OwnedError:
    facts = _read(descriptor)
    host = cast("str | None", facts.get("host"))
    return OwnedError(
        cast("int | None", facts.get("pid")),
        cast("str | None", facts.get("started_at")),
        None if host == socket.gethostname() else host,
    )


def _read(descriptor: int) -> dict[str, object]:
    with suppress(OSError, ValueError):
        facts = json.loads(os.pread(descriptor, 4096, 0))
        if isinstance(facts, dict):
            return facts
    return {}
