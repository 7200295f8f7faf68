"""One transaction of an SQLite store, and what has become of it when it fails. Synchronous."""

from __future__ import annotations

import re
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal

from supervisors import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._file import Changes, StoreFile


Outcome = Literal["not applied", "unknown"]
TRIES: Final = 5  # commits that are measured at start


class Transaction:
    """What some queues have to write, in one transaction.

    Args:
      file: Where.
      parts: What: changes, or the name of a queue that is to be removed.
    """

    def __init__(self, file: StoreFile, parts: list[Changes | str]) -> None:
        self.rows = sum(0 if isinstance(part, str) else part.rows for part in parts)
        self._file = file
        self._parts = parts
        self._committing = False
        self.given_up = False  # it must not begin any more

    def steps(self) -> Iterator[None]:
        """Carry it out; yield whenever others may run."""
        file = self._file
        file.begin()
        if self.given_up:  # others may have written since; from here on they cannot
            raise TimeoutError("it was given up")
        for part in self._parts:
            steps = file.forget(part) if isinstance(part, str) else file.apply(part)
            next(steps, None)  # a small part is no reason to let others run
            for _ in steps:
                yield
        self._committing = True
        file.commit()

    def run(self) -> None:
        """Carry it out at once, in a thread."""
        file = self._file
        file.busy = True
        try:
            for _ in self.steps():
                pass
        except BaseException:
            file.rollback()  # if it was given up, nobody else does it
            raise
        finally:
            file.busy = False
            if file.abandoned:
                file.close()

    def outcome(self, error: BaseException) -> Outcome:
        """Return what has become of it, now that it failed with ``error``."""
        if self._file.busy:
            return "unknown"  # a thread is still at it
        if not self._committing:
            return "not applied"
        return "not applied" if _REFUSED.search(describe(error)) else "unknown"


# What SQLite says when a commit has not begun to write, or has undone it: no room, no right.
_REFUSED: Final = re.compile("full|locked|busy|readonly|read-only", re.IGNORECASE)


def measure(file: StoreFile) -> float:
    """Return the seconds that a small commit takes, the least of some: others use the disk, too."""
    seconds = []
    for _ in range(TRIES):
        start = perf_counter()
        file.begin()
        file.touch()
        file.commit()
        seconds.append(perf_counter() - start)
    return min(seconds)
