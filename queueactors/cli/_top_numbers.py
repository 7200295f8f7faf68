"""What `top` shows of snapshots of a runtime: a line for each queue and worker, with rates.

Pure: snapshots in, lines out. Rates are of the time between two snapshots.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from ._states import queue_words, worker_state

if TYPE_CHECKING:
    from queueactors.control import QueueRow, Top, WorkerRow

HISTORY: Final = 24  # rates that are kept of each queue and worker

# By kind: what counts as in, and as out.
_IN_OUT: Final = {
    "timed": (("inserted",), ("deleted",)),
    "message": (("added",), ("succeeded", "failed")),
    "channel": (("sent",), ("received",)),
    "log": (("added",), ("read",)),
    "capacity": (("pushed",), ("popped",)),
    "batch": (("pushed",), ("processed",)),
}
# What waits for its time, is put aside, was handed out: by whatever name the kind has for it.
_DELAYED: Final = ("delayed", "backoff", "cooling", "retrying")
_BURIED: Final = ("buried",)
_TAKEN: Final = {"timed": "reserved_total", "message": "claimed"}
_ERRORS: Final = ("retry", "error")


@attrs.frozen(kw_only=True)
class Line:
    """A queue, or a worker, as it is shown; None: it has no such number, or it is not known.

    Args:
      name: Its name.
      queue: The queue's; of a queue, its own.
      is_worker: Whether it is a worker.
      kind: The queue's kind; ``worker``.
      state: What it is at.
      ready: Messages that can be taken.
      delayed: Messages whose time has not come.
      reserved: Messages that somebody has.
      concurrency: Handlers at a time.
      buried: Messages that were put aside.
      rate_in: Messages that came in a second.
      rate_out: Messages that were done with in a second.
      history: The last rates out, oldest first.
      oldest: Seconds that the oldest ready message has waited.
      p50: Seconds that a handler takes: the median. Of a queue, of its slowest worker.
      p99: 99 % take no longer; likewise.
      wait: Seconds that 99 % of the messages waited at most for their first attempt; likewise.
      tries: Attempts for each message that was done with.
      errors: Attempts that failed.
      restarts: How often it was restarted.
      mailbox: Operations that wait for it.
    """

    name: str
    queue: str
    is_worker: bool = False
    kind: str
    state: str
    ready: int | None = None
    delayed: int | None = None
    reserved: int | None = None
    concurrency: int | None = None
    buried: int | None = None
    rate_in: float | None = None
    rate_out: float | None = None
    history: tuple[float, ...] = ()
    oldest: float | None = None
    p50: float | None = None
    p99: float | None = None
    wait: float | None = None
    tries: float | None = None
    errors: int | None = None
    restarts: int = 0
    mailbox: int | None = None


@attrs.define(eq=False)
class _Counted:
    into: int = 0
    out: int = 0
    history: deque[float] = attrs.field(factory=lambda: deque(maxlen=HISTORY))


class Numbers:
    """Makes lines of snapshots, one after the other."""

    def __init__(self) -> None:
        self._at: int | None = None
        self._counted: dict[tuple[bool, str], _Counted] = {}

    def take(self, top: Top) -> tuple[Line, ...]:
        """Return the lines of a snapshot: each queue, and below it its workers."""
        seconds = 0.0 if self._at is None else (top.at - self._at) / 1e9
        self._at = top.at
        before, self._counted = self._counted, {}
        workers: dict[str, list[WorkerRow]] = {}
        for worker in top.workers:
            workers.setdefault(worker.queue, []).append(worker)
        lines: list[Line] = []
        for queue in top.queues:
            own = workers.pop(queue.name, [])
            lines.append(self._queue(queue, own, before, seconds))
            lines += [self._worker(each, before, seconds) for each in own]
        for rest in workers.values():
            lines += [self._worker(each, before, seconds) for each in rest]
        return tuple(lines)

    def _queue(
        self,
        row: QueueRow,
        workers: list[WorkerRow],
        before: dict[tuple[bool, str], _Counted],
        seconds: float,
    ) -> Line:
        numbers = row.statistics or {}
        into, out = _IN_OUT.get(row.kind, ((), ()))
        done = _sum(numbers, out) or 0
        rates = self._rates((False, row.name), _sum(numbers, into) or 0, done, before, seconds)
        taken = numbers.get(_TAKEN.get(row.kind, ""))
        words = queue_words(row)
        return Line(
            name=row.name,
            queue=row.name,
            kind=row.kind,
            state=",".join(words) if words and row.state == "running" else row.state,
            ready=row.at_hand,
            delayed=_sum(numbers, _DELAYED),
            reserved=row.in_hand,
            buried=_sum(numbers, _BURIED),
            rate_in=rates[0],
            rate_out=rates[1],
            history=rates[2],
            oldest=numbers.get("oldest_age"),
            p50=_most([each.handling_p50 for each in workers]),
            p99=_most([each.handling_p99 for each in workers]),
            wait=_most([each.queueing_p99 for each in workers]),
            tries=taken / done if taken and done else None,
            errors=sum(map(_errors, workers)) if workers else None,
            restarts=row.restarts,
            mailbox=row.mailbox,
        )

    def _worker(
        self, row: WorkerRow, before: dict[tuple[bool, str], _Counted], seconds: float
    ) -> Line:
        done = row.counts.get("success", 0)
        rates = self._rates((True, row.name), 0, done, before, seconds)
        return Line(
            name=row.name,
            queue=row.queue,
            is_worker=True,
            kind="worker",
            state=worker_state(row),
            reserved=row.busy,
            concurrency=row.concurrency,
            rate_out=rates[1],
            history=rates[2],
            p50=row.handling_p50,
            p99=row.handling_p99,
            wait=row.queueing_p99,
            errors=_errors(row),
            restarts=row.restarts,
        )

    def _rates(
        self,
        key: tuple[bool, str],
        into: int,
        out: int,
        before: dict[tuple[bool, str], _Counted],
        seconds: float,
    ) -> tuple[float | None, float | None, tuple[float, ...]]:
        known = before.get(key)
        if known is None or seconds <= 0:
            self._counted[key] = known or _Counted(into, out)
            return None, None, () if known is None else tuple(known.history)
        # A count that goes back began anew: the runtime was started again.
        rate_in = max(into - known.into, 0) / seconds
        rate_out = max(out - known.out, 0) / seconds
        known.into, known.out = into, out
        known.history.append(rate_out)
        self._counted[key] = known
        return rate_in, rate_out, tuple(known.history)


def _sum(numbers: dict[str, int], names: tuple[str, ...]) -> int | None:
    found = [numbers[name] for name in names if name in numbers]
    return sum(found) if found else None


def _most(values: list[float | None]) -> float | None:
    return max((each for each in values if each is not None), default=None)


def _errors(worker: WorkerRow) -> int:
    return sum(worker.counts.get(name, 0) for name in _ERRORS)
