"""Counts the identifiers in the Python files of the running Python's own standard library.

A job with real input and real failures: some of those files are not UTF-8 or not Python, on
purpose. They are tried ``max_reservations`` times and then arrive in another queue, whose worker
notes them: reported by name, not lost.
"""

from __future__ import annotations

import keyword
import sysconfig
import tokenize
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueactors import DeadLetter, Delivery

LIBRARY = Path(sysconfig.get_path("stdlib"))
MOST = 20  # how many identifiers the report shows

counted: dict[str, Counter[str]] = {}  # by path, so counting a file twice changes nothing
unreadable: dict[str, str] = {}  # by path: what its last attempt failed with
_named: list[str] = []


def files() -> list[str]:
    """Return the paths of all Python files of the standard library."""
    return sorted(str(path) for path in LIBRARY.rglob("*.py") if "site-packages" not in path.parts)


def refill() -> list[str]:
    """Name each file once a process: the queue's refill function."""
    if _named:
        return []
    _named.extend(files())
    return _named


def identifiers(path: str) -> Iterator[str]:
    """Yield every identifier in a file that is no keyword.

    Raises:
      SyntaxError, UnicodeDecodeError, tokenize.TokenError: If it is not Python.
    """
    with tokenize.open(path) as lines:
        for token in tokenize.generate_tokens(lines.readline):
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                yield token.string


def count(delivery: Delivery) -> None:
    """Count one file: the handler of the queue ``files``. Plain, so it runs in a thread."""
    path = str(delivery.value)
    counted[path] = Counter(identifiers(path))


def note(delivery: Delivery) -> None:
    """Note a file that failed too often: the handler of the queue ``unreadable``."""
    letter: DeadLetter = delivery.value  # type: ignore[assignment] # what that queue holds
    unreadable[str(letter.value)] = str(letter.error)


def report() -> str:
    """Return the result as text."""
    total: Counter[str] = Counter()
    for counts in counted.values():
        total.update(counts)
    lines = [f"{name:<24} {n:>9,}" for name, n in total.most_common(MOST)]
    lines.append("")
    lines.append(f"{len(counted):,} files, {total.total():,} identifiers, {len(total):,} different")
    lines.append(f"{len(unreadable):,} files could not be read:")
    lines += [f"  {path}: {error}" for path, error in sorted(unreadable.items())]
    return "\n".join(lines)


async def reporter(*, task_status: trio.TaskStatus[None]) -> None:
    """Print the result at the end: a child that starts first, and so stops last."""
    task_status.started()
    try:
        await trio.sleep_forever()
    finally:
        print(report())
