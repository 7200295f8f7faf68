"""Stores: where the records of queues are kept."""

from typing import TYPE_CHECKING

from supervisors._lazy import lazy_exports

if TYPE_CHECKING:
    from ._memory import MemoryStore
    from ._protocol import Kind, Place, Store, StoreStatistics
    from ._redis import RedisStore
    from ._sqlite import SqliteStore
    from ._table import StoredMessage, Table
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "._memory": "MemoryStore",
            "._protocol": "Kind Place Store StoreStatistics",
            "._table": "StoredMessage Table",
            "._sqlite": "SqliteStore",
            "._redis": "RedisStore",
        },
    )

__all__ = [
    "Kind",
    "MemoryStore",
    "Place",
    "RedisStore",
    "SqliteStore",
    "Store",
    "StoreStatistics",
    "StoredMessage",
    "Table",
]
