"""Stores: where the records of queues are kept."""

from typing import TYPE_CHECKING

from ._memory import MemoryStore
from ._protocol import Kind, Place, Store, StoreStatistics
from ._table import StoredMessage, Table

if TYPE_CHECKING:
    from ._sqlite import SqliteStore

__all__ = [
    "Kind",
    "MemoryStore",
    "Place",
    "SqliteStore",
    "Store",
    "StoreStatistics",
    "StoredMessage",
    "Table",
]


def __getattr__(name: str) -> object:
    """Import SQLite when it is asked for: a program may do without it."""
    if name == "SqliteStore":
        from ._sqlite import SqliteStore

        return SqliteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
