"""What ``top`` is sent: what has changed since the last time, made once for all who look.

A queue whose actor has not turned is what it was, so of 1,000 queues only the busy ones cost
anything; some of the others are taken anew each time, so that nothing stays wrong for long. All of
it is made in slices, and never so often that it takes more than 1 % of a core.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib.metadata import version
from time import thread_time
from typing import TYPE_CHECKING, Final

import attrs
import msgspec
import trio

from queueactors._options import LONGEST
from queueactors._overview import SLICE, child_states, queue_overview, worker_overview
from queueactors.engines import ROOM, TAKERS
from queueactors.metrics._ready import failing

from ._values import RuntimeStatus, encode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

    from queueactors._parts import Defined
    from queueactors._runtime import Runtime
    from queueactors.workers import Worker
    from supervisors import ChildInfo

COST: Final = 100  # a round is made so many times its own duration after the last: 1 % of a core
ANEW: Final = 20  # in so many rounds each queue is taken anew, whatever its actor has done
QUIET: Final = frozenset(("running", "stopped", "finished"))  # children that make nothing unready


@attrs.define(eq=False)
class _Row:
    """A queue or a worker as it was last seen.

    Args:
      seen: What tells whether it has changed.
      data: As JSON.
      changed: The round in which it was another one before.
      at_hand: Messages that can be taken.
      in_hand: Messages that somebody has.
    """

    seen: tuple[object, ...]
    data: bytes
    changed: int
    at_hand: int = 0
    in_hand: int = 0


class Watch:
    """Looks at one runtime, for all who want to see it.

    Args:
      runtime: The runtime.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.version = version("queueactors")  # a file is read for it
        self._rows: dict[object, _Row] = {}  # by `Defined` or `Worker`
        self._queues: list[Defined] = []
        self._workers: list[Worker] = []
        self._whole = 0  # the round since which there are the same queues and workers
        self._at = 0
        self._status = b""
        self._made = -LONGEST
        self._next = -LONGEST
        self._making = trio.Lock()
        self.round = 0

    async def changes(self, interval: float) -> AsyncGenerator[msgspec.Raw, None]:
        """Yield what there is, and then what has changed, for ever.

        Args:
          interval: Seconds in between, at least.
        """
        told = -1
        while True:
            await self.look(interval * 0.9)
            before, told = told, self.round  # others may make another one while this is sent
            yield msgspec.Raw(self.since(before, interval))
            await trio.sleep(max(interval, self._next - trio.current_time()))

    async def look(self, age: float) -> None:
        """Make another round, unless there is one that is recent, or it is too early.

        Args:
          age: Seconds (>= 0) up to which the last one is recent.
        """
        async with self._making:
            now = trio.current_time()
            if now - self._made < age or now < self._next:
                return
            cost = 0.0
            begun = thread_time()
            for _ in self._steps():
                cost += thread_time() - begun
                await trio.lowlevel.checkpoint()
                begun = thread_time()
            cost += thread_time() - begun
            self._made, self._next = now, now + COST * cost

    def since(self, told: int, interval: float) -> bytes:
        """Return what has changed since a round, as a `TopChange`."""
        whole = told < self._whole
        least = -1 if whole else told
        rows = [
            b",".join([row.data for each in some if (row := self._rows[each]).changed > least])
            for some in (self._queues, self._workers)
        ]
        every = max(interval, self._next - self._made)
        facts = encode({"whole": whole, "at": self._at, "interval": round(every, 3)})
        return facts[:-1] + b',"status":%b,"queues":[%b],"workers":[%b]}' % (
            self._status,
            rows[0],
            rows[1],
        )

    def _steps(self) -> Iterator[None]:
        """Make a round; whoever looks meanwhile gets rows of this round and of the last."""
        queues, workers, supervisors = self._runtime._watched()  # noqa: SLF001 - the front ends are its own
        round_ = self.round + 1
        children = [(each, each.which_children()) for each in supervisors]
        states = child_states(children)
        yield
        rows: dict[object, _Row] = {}
        for number, queue in enumerate(queues):
            if number % SLICE == SLICE - 1:
                yield
            seen = _queue_seen(queue, states)
            known = self._rows.get(queue)
            if known is None or known.seen != seen or number % ANEW == round_ % ANEW:
                row = queue_overview(queue, states)
                data = encode(row)
                if known is None or known.data != data:
                    known = _Row(seen, data, round_, row.at_hand or 0, row.in_hand or 0)
                known.seen = seen
            rows[queue] = known
        for number, worker in enumerate(workers):
            if number % SLICE == SLICE - 1:
                yield
            seen = _worker_seen(worker, states)
            known = self._rows.get(worker)
            if known is None or known.seen != seen:
                known = _Row(seen, encode(worker_overview(worker, states)), round_)
            rows[worker] = known
        yield
        status = self._told(
            queues, workers, [info for _, infos in children for info in infos], rows
        )
        if (queues, workers) != (self._queues, self._workers):
            self._whole = round_
        self._queues, self._workers, self._rows = queues, workers, rows
        self._at, self._status, self.round = self._runtime.clock.now_ns(), status, round_

    def _told(
        self,
        queues: Sequence[Defined],
        workers: Sequence[Worker],
        children: Sequence[ChildInfo],
        rows: Mapping[object, _Row],
    ) -> bytes:
        runtime = self._runtime
        quiet = runtime.supervisor.state == "running" and all(
            each.state in QUIET for each in children
        )
        # Without a walk through the tree, if nothing is to be found there.
        stores = runtime._stores  # noqa: SLF001 - likewise
        not_ready = tuple(failing(stores)) if quiet else runtime.not_ready()
        numbers = [rows[queue] for queue in queues]
        return encode(
            status_of(
                runtime,
                not_ready=not_ready,
                parked=tuple([each.id for each in children if each.state == "parked"]),
                stopped=tuple([each.id for each in children if each.state == "stopped"]),
                queues=len(queues),
                workers=len(workers),
                messages=sum([each.at_hand for each in numbers]),
                in_hand=sum([each.in_hand for each in numbers]),
                version=self.version,
            )
        )


def status_of(  # noqa: PLR0913 - all by name
    runtime: Runtime,
    *,
    not_ready: tuple[str, ...],
    parked: tuple[str, ...],
    stopped: tuple[str, ...],
    queues: int,
    workers: int,
    messages: int,
    in_hand: int,
    version: str,
) -> RuntimeStatus:
    """Return what a runtime is at; arguments as of `RuntimeStatus`."""
    up_since = datetime.fromtimestamp(runtime.opened_at // 10**9, UTC)
    return RuntimeStatus(
        name=runtime.config.runtime.name,
        pid=os.getpid(),
        version=version,
        up_since=up_since.isoformat(timespec="seconds"),
        ready=not not_ready,
        not_ready=not_ready,
        queues=queues,
        workers=workers,
        messages=messages,
        in_hand=in_hand,
        parked=parked,
        stopped=stopped,
        config=runtime.config.file,
    )


def _queue_seen(queue: Defined, states: Mapping[int, str]) -> tuple[object, ...]:
    actor = queue.actor
    parts = (actor, *queue.beside.values()) if queue.beside else (actor,)
    parked = actor.parked
    return (
        actor.turned,
        actor.starts,
        len(actor.mailbox),
        len(parked.lane(TAKERS)),
        len(parked.lane(ROOM)),
        *[states.get(id(part)) for part in parts],
    )


def _worker_seen(worker: Worker, states: Mapping[int, str]) -> tuple[object, ...]:
    return (
        worker.is_running,
        worker.concurrency,
        worker.busy,
        worker.restarts,
        states.get(id(worker)),
        *worker.counters.counts.values(),
    )
