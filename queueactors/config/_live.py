"""How a change of each option is applied while the runtime runs: one table for each sort of part.

``live``: in place. ``beside``: what processes the batches is started again, the queue is not.
``restart``: the child is started again; those who wait for a queue go on waiting. ``later``: it
counts for a queue, or a worker, that is not there yet. ``never``: not while the runtime runs.
A test holds the tables to the options, and docs/reload.md tells them to people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

How = Literal["live", "beside", "restart", "later", "never"]

_STORED: Final[Mapping[str, How]] = {
    "store": "never",
    "codec": "never",
    "type": "never",
    "mailbox": "live",
}
PLAIN: Final[Mapping[str, How]] = {**_STORED, "codec": "later", "type": "later"}
QUEUES: Final[Mapping[str, Mapping[str, How]]] = {
    "timed": {
        **_STORED,
        "reservation_time": "live",
        "unique": "restart",
        "max_reservations": "live",
        "on_exhausted": "live",
        "max_length": "live",
        "values": "later",
        "sync_fn": "live",
        "sync_args": "live",
        "sync_interval": "live",
        "sync_timeout": "live",
    },
    "message": {**_STORED, "lock_time": "live", "max_length": "live"},
    "batch": {
        **_STORED,
        "process": "live",
        "buffer": "never",
        "merge_key": "never",
        "merge": "never",
        "flush_size": "live",
        "flush_pushes": "live",
        "flush_timeout": "live",
        "workers": "beside",
        "batches": "live",
        "retry": "live",
        "max_claims": "live",
        "on_exhausted": "live",
        "on_process_error": "live",
        "on_internal_error": "live",
        "max_length": "live",
    },
    "log": {**_STORED, "ttl": "live"},
    "capacity": {**_STORED, "max_elements": "live"},
    "channel": {"store": "never", "limit": "live", "snapshot": "live", "mailbox": "live"},
}
WORKER: Final[Mapping[str, How]] = {
    "queue": "restart",
    "handler": "restart",
    "args": "restart",
    "batch": "restart",
    "concurrency": "live",
    "on_exception": "live",
    "backoff": "live",
    "max_attempts": "live",
    "dead_letter": "live",
    "throttle": "live",
    "eoq_backoff": "live",
    "monitor": "live",
    "auto_start": "later",
    "max_runtime": "live",
    "shutdown": "live",
}
STORES: Final[Mapping[str, Mapping[str, How]]] = {
    "sqlite": {"timeout": "live", "on_failure": "live", "release_on_start": "later"},
    "redis": {"poll": "live", "timeout": "live", "on_failure": "live"},
}
"""Of a store; what is not there cannot change while the runtime runs."""
RUNTIME: Final[Mapping[str, How]] = {"name": "never", "data_dir": "never", "log_level": "live"}
CONTROL: Final[Mapping[str, How]] = {
    "socket": "restart",
    "clients": "restart",
    "timeout": "restart",
    "max_line": "restart",
}
CHILD: Final[Mapping[str, How]] = {
    "restart": "live",
    "shutdown": "live",
    "significant": "live",
    "init_timeout": "live",
    "backoff": "live",
    "on_give_up": "live",
    "start": "restart",
    "args": "restart",
}
SUPERVISOR: Final[Mapping[str, How]] = {
    "strategy": "live",
    "intensity": "live",
    "period": "live",
    "auto_shutdown": "live",
}
