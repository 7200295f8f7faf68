"""What each number is called: one table for each kind of queue, and those of everything else.

A new kind of queue adds its table to `KIND_TABLES`, a row for each field of its statistics; who
waits, the mailbox and restarts are in `QUEUE` for every kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import attrs

from queueactors.cores.batch import TRIGGERS
from supervisors import ChildState

from ._rows import Row
from ._values import Labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._values import FamilyType


def _gauge(field: str, name: str, help: str, **labels: str) -> Row:
    return Row(field=field, name=name, type="gauge", help=help, labels=Labels(*labels.items()))


def _flag(field: str, name: str, help: str) -> Row:
    return Row(field=field, name=name, type="gauge", help=help, is_flag=True)


def _counter(field: str, name: str, help: str, **labels: str) -> Row:
    return Row(field=field, name=name, type="counter", help=help, labels=Labels(*labels.items()))


def _seconds(field: str, name: str, help: str) -> Row:
    return Row(field=field, name=name, type="histogram", help=help, unit="seconds")


def _bytes(field: str, name: str, help: str) -> Row:
    return Row(field=field, name=name, type="gauge", help=help, unit="bytes")


def _state(field: str, state: str | None = None) -> Row:
    told = "Messages in the queue, by what they are at present."
    return _gauge(field, "queue_messages", told, state=field if state is None else state)


def _batches(field: str) -> Row:
    told = "Batches in the queue, by what they are at present."
    return _gauge(field, "queue_batches", told, state=field)


def _flushed(trigger: str) -> Row:
    told = "Items that were stored, by what caused it."
    return _counter(f"flushed.{trigger}", "queue_flushed", told, trigger=trigger)


_CLOSED: Final = _flag(
    "closed", "queue_closed", "Whether the queue takes nothing in any more: 1 if so."
)
_PAUSED: Final = _flag(
    "paused", "queue_paused", "Whether the queue hands nothing out at present: 1 if so."
)
_OLDEST: Final = Row(
    field="oldest_age",
    name="queue_oldest_age_seconds",
    type="gauge",
    help="How long the message that has been ready longest has been; absent without one.",
    unit="seconds",
    merged="max",
)
_EXPIRED: Final = _counter(
    "expired", "queue_expired", "Reservations and locks that ended by their deadline."
)
_PUSHED: Final = _counter("pushed", "queue_pushed", "Items that came.")
_CLEARED: Final = _counter("cleared", "queue_cleared", "Values that were thrown away by a clear.")

QUEUE: Final = (
    _flag("up", "queue_up", "Whether the queue's actor runs: 1 if so."),
    _gauge("mailbox", "queue_mailbox", "Operations that wait for the queue's actor."),
    _gauge("waiting", "queue_waiting", "Takers that wait for a message."),
    _gauge("room", "queue_waiting_for_room", "Callers that wait for room."),
    _counter("restarts", "queue_restarts", "How often the queue's actor was started again."),
)
"""Of every queue: `queueactors.metrics._collect.ActorNumbers`."""

KIND_TABLES: Final[Mapping[str, tuple[Row, ...]]] = {
    "timed": (
        *map(_state, ("ready", "delayed", "reserved", "buried", "dead", "set_aside")),
        _OLDEST,
        _counter("inserted", "queue_inserted", "Values that went in."),
        _counter(
            "duplicates",
            "queue_duplicates",
            "Values that did not, because they were there already.",
        ),
        _counter(
            "dropped",
            "queue_dropped",
            "Values of an insert_nowait that a full or closed queue did not take.",
        ),
        _counter("reserved_total", "queue_reservations", "Reservations given out."),
        _EXPIRED,
        _counter("released", "queue_released", "Messages given back."),
        _counter("deleted", "queue_deleted", "Messages finished."),
        _counter(
            "exhausted",
            "queue_exhausted",
            "Messages whose last allowed reservation ended, or that were given up.",
        ),
        _counter("refills", "queue_refills", "Refills begun."),
        _counter("refill_errors", "queue_refill_errors", "Refills that failed."),
        _counter(
            "left_out",
            "queue_refill_left_out",
            "Values that a refill brought and that found no room.",
        ),
        _flag("refilling", "queue_refilling", "Whether a refill runs: 1 if so."),
        _gauge("last_refill", "queue_last_refill", "How many values the last refill put in."),
        _CLOSED,
        _PAUSED,
    ),
    "message": (
        *map(_state, ("queued", "backoff", "locked", "done", "requeues", "set_aside")),
        _OLDEST,
        _counter("added", "queue_added", "Messages that went in, requeues included."),
        _counter(
            "updated", "queue_updated", "Messages that were given another content, or backoff."
        ),
        _counter(
            "refused",
            "queue_refused",
            "Enqueues that changed nothing, because of what their mid was.",
        ),
        _counter("claimed", "queue_claims", "Locks given out."),
        _EXPIRED,
        _counter("succeeded", "queue_succeeded", "Messages finished with success."),
        _counter("retried", "queue_retried", "Messages given back to be tried again."),
        _counter("failed", "queue_failed", "Messages finished with an error."),
        _counter("snoozed", "queue_snoozed", "Messages given back without counting the attempt."),
        _CLOSED,
        _PAUSED,
    ),
    "batch": (
        *map(_batches, ("ready", "cooling", "retrying", "claimed", "buried", "dead", "set_aside")),
        _gauge("buffered", "queue_buffered_items", "Items in the buffer: not stored yet."),
        _gauge("batches", "queue_stored_batches", "Stored batches, whatever they are at present."),
        _gauge("items", "queue_stored_items", "Items in stored batches."),
        _OLDEST,
        _PUSHED,
        *map(_flushed, TRIGGERS),
        _counter("processed", "queue_processed", "Items processed; merged ones count once."),
        _counter("process_errors", "queue_process_errors", "Calls of the function that failed."),
        _counter("released", "queue_batches_released", "Batches back after their last attempt."),
        _counter("exhausted", "queue_batches_exhausted", "Batches claimed too often in vain."),
        _counter("lost", "queue_lost", "Items that could not be encoded when they were flushed."),
        _CLOSED,
        _PAUSED,
    ),
    "log": (
        _state("length", "ready"),
        _state("set_aside"),
        _gauge("end", "queue_end", "Items that were ever added: the next one's number."),
        _gauge("labels", "queue_labels", "Labels that read the log."),
        _gauge(
            "behind",
            "queue_behind",
            "Items that the slowest label has not read; absent without a label.",
        ),
        _bytes("disk_size", "queue_disk_bytes", "Bytes of items that the store keeps."),
        _counter("added", "queue_items_added", "Items that went in."),
        _counter("read", "queue_items_read", "Items that were handed out, once for each label."),
        _counter("expired", "queue_items_expired", "Items whose time to live ended."),
        _CLEARED,
        _CLOSED,
        _PAUSED,
    ),
    "capacity": (
        _state("length", "ready"),
        _state("set_aside"),
        _gauge("max_elements", "queue_capacity", "Items that the queue may hold."),
        _bytes("payload_size", "queue_payload_bytes", "Bytes of the items in the queue."),
        _PUSHED,
        _counter("popped", "queue_popped", "Items that were handed out."),
        _CLEARED,
        _CLOSED,
        _PAUSED,
    ),
    "channel": (
        _state("length", "ready"),
        _gauge("limit", "queue_limit", "Values that the channel may hold; absent: any number."),
        _counter("sent", "queue_sent", "Values that went in."),
        _counter("received", "queue_received", "Values that were handed out."),
        _CLEARED,
        _CLOSED,
        _PAUSED,
    ),
}
"""Of a queue, by its kind: its statistics, but for what its actor fills in."""

PROCESS: Final = (
    _seconds("seconds", "queue_process_seconds", "How long the process function took, each time."),
)
"""Of a batch queue's calls: `queueactors.metrics._collect.ProcessNumbers`."""


def _liq(field: str, name: str, help: str, type: FamilyType = "counter", **labels: str) -> Row:
    bare, pairs = f"liq_{name}", Labels(*labels.items())
    return Row(field=field, name=bare, type=type, help=help, labels=pairs, is_bare=True)


def _liq_flushed(trigger: str) -> Row:
    cause = Labels(("type", _LIQ_TYPES.get(trigger, trigger)))
    row = _liq(f"flushed.{trigger}", "items_flushed", "Items that were flushed.")
    return attrs.evolve(row, labels=cause)


_LIQ_TYPES: Final = {"close": "context"}  # where its word is another
LIQ: Final = (
    _liq("batches", "batches", "Batches in the store.", "gauge"),
    _liq("items", "items", "Items in the store.", "gauge"),
    _liq("pushed", "items_pushed", "Items that were pushed."),
    *map(_liq_flushed, TRIGGERS),
    _liq("processed", "items_processed", "Items that were processed."),
    _liq("process_errors", "process_errors", "Calls of the process function that failed."),
)
"""Of a batch queue, by the names of seed 003: the same numbers."""

LIQ_PROCESS: Final = (
    _liq("milliseconds", "process_duration", "Milliseconds that each call took.", "histogram"),
)
"""Of a batch queue's calls, likewise."""

WORKER: Final = (
    _flag("running", "worker_running", "Whether the worker takes messages: 1 if so."),
    _gauge("concurrency", "worker_concurrency", "How many handlers may run at a time."),
    _gauge("busy", "worker_busy", "Messages that the worker has."),
    _counter("restarts", "worker_restarts", "How often the worker's task was started again."),
    *(
        _counter(
            f"counts.{word}", "worker_handled", "What came of handling a message.", result=word
        )
        for word in ("success", "retry", "error", "snooze")
    ),
    _counter("counts.backoff", "worker_backoffs", "Answers that brought a backoff of their own."),
    _counter(
        "counts.lost",
        "worker_lost",
        "Attempts whose message had become somebody else's meanwhile.",
    ),
    _counter("counts.end_of_queue", "worker_end_of_queue", "How often the queue was found empty."),
    _seconds(
        "queueing", "worker_queueing_seconds", "How long messages waited for their first attempt."
    ),
    _seconds("handling", "worker_handling_seconds", "How long the handler took, each time."),
)
"""Of every worker: `queueactors.metrics._collect.WorkerNumbers`."""

STORE: Final = (
    _flag("works", "store_up", "Whether the store can be read and written: 1 if so."),
    _counter("commits", "store_commits", "Transactions that made changes durable."),
    _counter("failures", "store_failures", "Commits that failed."),
    _seconds("commit_seconds", "store_commit_seconds", "How long commits took."),
)
"""Of every store that has them: `queueactors.stores.StoreStatistics`."""

SUPERVISOR: Final = (
    *(
        _gauge(f"states.{state}", "supervisor_children", "Children, by what they do.", state=state)
        for state in get_args(ChildState)
    ),
    _counter("restarts", "supervisor_restarts", "How often its children were started again."),
)
"""Of every supervisor: `queueactors.metrics._collect.SupervisorNumbers`."""

RUNTIME: Final = (
    _gauge("queues", "queues", "Queues that are defined."),
    _gauge("workers", "workers", "Workers that are defined."),
    _gauge(
        "parked", "parked_children", "Children that failed too often, and wait for an operator."
    ),
    Row(
        field="turns",
        name="turn_operations",
        type="histogram",
        help="Operations that a queue's actor carried out in one turn of its loop.",
    ),
)
"""Of the runtime: `queueactors.metrics._collect.RuntimeNumbers`."""
