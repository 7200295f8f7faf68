"""The Redis engine: what a core decides elsewhere, a script decides on the server.

Decide and commit are one step there, so any number of runtimes on any number of machines share a
queue. Imported only where a store of that type is configured.
"""

from ._chunks import CapacityWire, LogWire
from ._engine import Link, RedisEngine
from ._message import MessageWire
from ._timed import TimedWire
from ._wire import (
    Script,
    ServerFullError,
    Wire,
    drop_script,
    from_body,
    to_body,
    to_micros,
    to_nanos,
    transfer_script,
)

__all__ = [
    "CapacityWire",
    "Link",
    "LogWire",
    "MessageWire",
    "RedisEngine",
    "Script",
    "ServerFullError",
    "TimedWire",
    "Wire",
    "drop_script",
    "from_body",
    "to_body",
    "to_micros",
    "to_nanos",
    "transfer_script",
]
