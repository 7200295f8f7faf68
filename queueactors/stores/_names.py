"""Which names a queue's messages have, while they are imported: none may be there twice.

In a temporary database, which goes to the disk when it is large: a million names take 2 MB of
memory.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Names:
    """The names of messages, each with the line that it stands in.

    Args:
      second: The state in which a message may have another's name, see `Table`.
    """

    def __init__(self, second: str) -> None:
        self._second = second
        self._taken = sqlite3.connect("", isolation_level=None)
        self._taken.execute(
            "CREATE TABLE name (mid TEXT, second INTEGER, line INTEGER, "
            "PRIMARY KEY (mid, second)) WITHOUT ROWID"
        )
        self._taken.execute("BEGIN")

    def close(self) -> None:
        """Forget all of them."""
        self._taken.close()

    def add(self, mid: str, state: str, line: int) -> int | None:
        """Add a message; return the line of another that it must not have the name of."""
        key = mid, state == self._second
        sql = "INSERT OR IGNORE INTO name VALUES (?, ?, ?)"
        if self._taken.execute(sql, (*key, line)).rowcount:
            return None
        sql = "SELECT line FROM name WHERE mid = ? AND second = ?"
        return int(self._taken.execute(sql, key).fetchone()[0])

    def alone(self) -> Iterator[tuple[int, str]]:
        """Yield the line and the name of those that have no other to be second to."""
        firsts = "SELECT mid FROM name WHERE second = 0"
        sql = f"SELECT line, mid FROM name WHERE second = 1 AND mid NOT IN ({firsts}) ORDER BY line"
        yield from self._taken.execute(sql)

    def fill(self, mids: Iterable[str]) -> None:
        """Add the names of messages that stand in no line; any of them may be there twice."""
        sql = "INSERT OR IGNORE INTO name VALUES (?, 0, 0)"
        self._taken.executemany(sql, ((mid,) for mid in mids))

    def discard(self, mid: str) -> None:
        """Forget a name."""
        self._taken.execute("DELETE FROM name WHERE mid = ?", (mid,))

    def __contains__(self, mid: str) -> bool:
        """Return whether a message has that name."""
        found = self._taken.execute("SELECT 1 FROM name WHERE mid = ?", (mid,))
        return found.fetchone() is not None
