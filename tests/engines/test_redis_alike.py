"""A queue on a server and one in memory answer alike, whatever is asked of the two at once.

What is asked in one step comes as one batch, with runs of the same operation, which the scripts
carry out as one.
"""

from __future__ import annotations

from itertools import zip_longest
from operator import add
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import attrs
import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from queueactors import (
    Claim,
    ClaimLostError,
    Clock,
    Config,
    DeadLetter,
    Reservation,
    ReservationError,
    open_runtime,
)
from queueactors.config import StoreConfig
from queueactors.cores import QueueStatistics
from queueactors.cores.log import LogStatistics
from queueactors.stores import MemoryStore
from queueactors.stores._redis import RedisStore
from tests.torture import TORTURE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queueactors import Runtime
    from supervisors import PendingReply
    from tests.conftest import Events

SECOND: Final = 1_000_000_000
HERE, THERE = "nearby", "faraway"
PATIENCE: Final = 3.0  # real seconds, for what is to happen at once
LIMIT: Final = 1000
STATES: Final = ("ready", "delayed", "reserved", "buried")
CASTS: Final = ("insert_nowait", "delete_nowait", "push_nowait", "add_nowait")
ACTORS: Final = ("mailbox", "waiting", "inserting", "enqueueing", "pushing", "adding")
OWN: Final = ("key", "queue")  # what is each claim's own
Some = Any  # type: ignore[explicit-any] # each operation's own


@attrs.frozen
class Run:
    """Operations in a row.

    Args:
      method: What all of them do.
      each: The arguments, operation by operation.
      options: What all of them have.
    """

    method: str
    each: list[tuple[Some, ...]]
    options: dict[str, Some] = attrs.field(factory=dict)


@attrs.frozen
class Key:
    """One of the last reservations, or claims."""

    number: int


@attrs.frozen
class Step:
    """What happens at once.

    Args:
      seconds: Those that pass before it.
      leaves: Who of those who wait leaves before it; None: nobody.
      runs: What is asked.
      drains: Whether the queue takes nothing in any more; None: as before.
    """

    seconds: int
    leaves: int | None
    runs: list[Run]
    drains: bool | None


times = st.integers(1, 3) | st.integers(1, 8)
seconds = st.sampled_from([1, 2, 3, 5])
delays = st.sampled_from([0, 0, 0, 0, 1, 4])
numbers = st.integers(0, 5)
values = st.sampled_from([b"a", b"b", b"c", b"d", b"", b"\0\xff"])
timeouts = st.sampled_from([None, None, 0, 2])
keys = st.builds(Key, numbers)


def same(
    method: str, *args: st.SearchStrategy[Some], **options: st.SearchStrategy[Some]
) -> st.SearchStrategy[Run]:
    """Return runs of operations that are the same."""
    each = st.tuples(times, st.tuples(*args)).map(lambda both: [both[1]] * both[0])
    return st.builds(Run, st.just(method), each, st.fixed_dictionaries(options))


def like(
    method: str | tuple[str, ...],
    arguments: st.SearchStrategy[Some],
    **options: st.SearchStrategy[Some],
) -> st.SearchStrategy[Run]:
    """Return runs of operations with other values, or keys, most of them with one."""
    one = st.tuples(arguments)
    some = one | one | one | st.lists(arguments, min_size=0, max_size=3).map(tuple)
    each = times.flatmap(lambda many: st.lists(one, min_size=many, max_size=many)) | st.lists(
        some, min_size=1, max_size=8
    )
    return st.builds(
        Run,
        st.sampled_from([method] if isinstance(method, str) else method),
        each,
        st.fixed_dictionaries(options),
    )


def mixed(method: str, *args: st.SearchStrategy[Some]) -> st.SearchStrategy[Run]:
    """Return runs of operations with other arguments each."""
    each = st.lists(st.tuples(*args), min_size=2, max_size=8)
    return st.builds(Run, st.just(method), each)


def often(*weighted: tuple[int, st.SearchStrategy[Run]]) -> st.SearchStrategy[Run]:
    return st.sampled_from([each for weight, each in weighted for _ in range(weight)]).flatmap(
        lambda strategy: strategy
    )


def steps(run: st.SearchStrategy[Run]) -> st.SearchStrategy[list[Step]]:
    step = st.builds(
        Step,
        st.sampled_from([0, 0, 0, 1, 1, 2, 5, 9]),
        st.sampled_from([None, None, None, 0, 1]),
        st.lists(run, min_size=1, max_size=6),
        st.sampled_from([None] * 18 + [True, False, False]),
    )
    some = st.lists(step, min_size=1, max_size=10)
    close = st.just([Step(0, None, [Run("close", [()])], None)])
    closed = st.builds(add, close, st.lists(step, min_size=1, max_size=4))
    return st.builds(add, some, st.just([]) | st.just([]) | closed)


def whole() -> st.SearchStrategy[Run]:
    return often(
        (2, same("statistics")),
        (2, same("len")),
        (1, same("clear")),
        (1, same("pause", st.sampled_from([None, 1, 3]))),
        (4, same("resume")),
    )


TIMED: Final = often(
    (
        6,
        like(
            ("insert", "insert_nowait"),
            values,
            delay=delays,
            priority=st.sampled_from([0, 0, 0, 1, -1]),
        ),
    ),
    (1, like("insert", values, at=st.integers(0, 9))),
    (3, like("wait_insert", values, delay=delays, timeout=timeouts)),
    (4, same("try_reserve", seconds)),
    (2, mixed("try_reserve", seconds) | mixed("reserve", seconds)),
    (4, same("reserve", seconds, timeout=timeouts)),
    (2, same("reserve_many", st.integers(1, 4), seconds, timeout=timeouts)),
    (5, like("delete", keys)),
    (2, like("delete", keys, expired_ok=st.booleans())),
    (1, like("delete_nowait", keys)),
    (1, same("release", keys, delays, error=st.sampled_from([None, "ü"]))),
    (1, same("release", keys, priority=st.sampled_from([-5, 7]))),
    (1, same("bury", keys) | same("fail", keys, st.sampled_from([None, "e"]))),
    (1, same("touch", keys, seconds) | same("prolongate", keys, seconds)),
    (1, same("snooze", keys, delays)),
    (1, same("kick", st.integers(1, 3)) | like("remove", st.integers(1, 12))),
    (1, same("peek", st.sampled_from(STATES), st.integers(1, 3))),
    (1, same("sync")),
    (2, whole()),
)
MESSAGE: Final = often(
    (
        6,
        same(
            "enqueue",
            values,
            st.sampled_from("abcdef"),
            init_backoff=delays,
            lock_time=st.sampled_from([None, 2]),
            can_update=st.booleans(),
            can_requeue=st.booleans(),
            reset_init_backoff=st.booleans(),
        ),
    ),
    (
        3,
        same(
            "wait_enqueue",
            values,
            st.sampled_from("abcdef"),
            can_requeue=st.booleans(),
            timeout=timeouts,
        ),
    ),
    (4, same("try_claim")),
    (4, same("claim", timeout=timeouts)),
    (2, same("claim_many", st.integers(1, 4), timeout=timeouts)),
    (6, same("finish", keys, st.sampled_from(["success", "retry", "error"]), delays)),
    (1, same("extend", keys, seconds | st.none()) | same("snooze", keys, delays)),
    (
        1,
        same("message_status", st.sampled_from("abcdef"))
        | same("queue_status")
        | same("queue_size"),
    ),
    (1, like("remove", st.integers(1, 12))),
    (2, whole()),
)
CAPACITY: Final = often(
    (6, like(("push", "push_nowait"), values)),
    (3, like("wait_push", values, timeout=timeouts)),
    (4, same("pop", st.integers(1, 3))),
    (4, same("wait_pop", st.integers(1, 3), timeout=timeouts)),
    (1, same("peek", st.integers(1, 3)) | same("is_empty") | same("payload_size")),
    (1, same("resize", st.integers(1, 9))),
    (2, whole()),
)
labels = st.sampled_from(["a", "a", "b", "ü"])
starts = st.sampled_from(["oldest", "newest"])
LOG: Final = often(
    (6, like(("add", "add_nowait"), values)),
    (3, same("next", labels, starts, st.integers(1, 3))),
    (3, same("wait_next", labels, starts, st.integers(1, 3), timeout=timeouts)),
    (2, same("read", labels, starts, st.integers(1, 3))),
    (2, same("wait_read", labels, starts, st.integers(1, 3), timeout=timeouts)),
    (2, same("commit", labels, st.integers(-1, 9))),
    (1, same("labels") | same("remove_label", labels) | same("peek", st.integers(1, 3))),
    (2, whole()),
)


@attrs.define(eq=False)
class Asked:
    """One operation, of both queues."""

    method: str
    replies: tuple[PendingReply[object], PendingReply[object]]

    def is_late(self, now: int) -> bool:
        deadline_at = self.replies[0]._operation.deadline_at  # noqa: SLF001
        return deadline_at is not None and deadline_at <= now


class Refill:
    """Brings values, and fails at each third call."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> list[bytes]:
        self.calls += 1
        if self.calls % 3 == 0:
            raise OSError("no refill")
        return [b"r%d" % (self.calls % 4), b"a", b"s"][: 1 + self.calls % 3]


@attrs.define(eq=False)
class Twins:
    """A queue in memory, and the same on a server."""

    mock: MockClock
    clock: Clock
    runtime: Runtime
    queues: list[Some]
    events: Events
    asked: list[Asked] = attrs.field(factory=list)
    keys: list[tuple[int, ...]] = attrs.field(factory=lambda: [(1, 1)])

    async def play(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.mock.jump(step.seconds)
            if any(each.is_late(self.clock.now_ns()) for each in self.asked):
                await self.settled()  # who is asked for in that moment may come to it on a server
            if step.leaves is not None:
                self.leave(step.leaves)
            for queue in self.queues:
                if step.drains is not None:
                    queue._actor.drains = step.drains  # noqa: SLF001 - what a reload sets
            for run in step.runs:
                for arguments in run.each:
                    self.ask(run, arguments)
            await self.settled()
        self.mock.jump(60)
        await self.settled()

    def leave(self, number: int) -> None:
        """Let somebody who waits leave."""
        waiting = [each for each in self.asked if not each.replies[0].is_ready]
        if number < len(waiting):
            self.asked.remove(waiting[number])
            for reply in waiting[number].replies:
                operation = reply._operation  # noqa: SLF001
                assert operation.home is not None
                operation.state = "withdrawn"
                operation.home.withdrawn(operation)

    def ask(self, run: Run, arguments: tuple[Some, ...]) -> None:
        """Ask both the same, without waiting."""
        replies = []
        options = dict(run.options)
        if "at" in options:
            options["at"] = self.clock.now_ns() + options["at"] * SECOND
        for side, queue in enumerate(self.queues):
            own = [self.key(each, side) if isinstance(each, Key) else each for each in arguments]
            if run.method == "sync" and queue.options.sync_fn is None:
                return
            if run.method in CASTS:
                getattr(queue, run.method)(*own, **options)
            else:
                replies.append(getattr(queue.submit, run.method)(*own, **options))
        if replies:
            self.asked.append(Asked(run.method, tuple(replies)))

    def key(self, key: Key, side: int) -> int:
        return self.keys[-1 - key.number % len(self.keys)][side]

    async def settled(self) -> None:
        """See that both are alike: that in memory is ready at once, the other one very soon."""
        began = perf_counter()
        while True:
            await wait_all_tasks_blocked()
            views = await self.view(0), await self.view(1)
            if views[0] == views[1]:
                break
            if perf_counter() - began > PATIENCE:
                found = list(differences(*views))
                assert not found, found[:3]
        for asked in self.asked:
            if asked.replies[0].is_ready:
                taken = [taken_of(reply) for reply in asked.replies]
                self.keys += [tuple(one.key for one in both) for both in zip(*taken, strict=True)]
        self.asked = [each for each in self.asked if not each.replies[0].is_ready]

    async def view(self, side: int) -> dict[str, list[Some]]:
        """Return all that can be seen of one of them."""
        queue = self.queues[side]
        found: dict[str, list[Some]] = {
            "answers": [(each.method, self.told(each, side)) for each in self.asked],
            "statistics": [self.seen(await queue.statistics(), side)],
        }
        match queue.kind:
            case "timed":
                for state in STATES:
                    found[state] = self.seen(await queue.peek(state, LIMIT), side)
                dead = self.runtime.queue(f"dead-{queue.name}")
                letters = [each.value for each in await dead.peek("ready", LIMIT)]
                letters.sort(key=lambda letter: letter.id)  # of one instant, the order is free
                found["dead"] = self.seen(letters, side)
            case "message":
                found["content"] = sorted((await queue.queue_content()).items())
            case _:
                found["content"] = self.seen(await queue.peek(LIMIT), side)
        found["events"] = [
            {name: self.seen(fact, side) for name, fact in each.items() if name != "exc_info"}
            for each in self.events
            if each.get("queue") == queue.name
        ]
        return found

    def told(self, asked: Asked, side: int) -> object:
        """Return what came of an operation."""
        reply = asked.replies[side]
        if not reply.is_ready:
            return "waits"
        try:
            answer = reply.get_nowait()
            if isinstance(answer, QueueStatistics):  # the actor's own: when the answer comes
                own = {name: 0 for name in ACTORS if hasattr(answer, name)}
                answer = attrs.evolve(answer, **own)
            return self.seen(answer, side)
        except ReservationError as error:
            every = [pair[side] for pair in self.keys]
            return type(error), [every.index(key) for key in error.keys]
        except ClaimLostError:  # its text names the key
            return ClaimLostError
        except Exception as error:  # noqa: BLE001 - any
            return type(error), self.seen(str(error), side)

    def seen(self, value: Some, side: int) -> Some:  # noqa: PLR0911 - one case each
        """Return a value without what the two may differ in: names, and what keys are."""
        match value:
            case str():
                return value.replace(THERE, HERE) if side else value
            case Reservation():
                return value._replace(key=0)
            case Claim():
                return [getattr(value, name) for name in Claim.__slots__ if name not in OWN]
            case list():
                return [self.seen(each, side) for each in value]
            case DeadLetter():
                return attrs.evolve(value, queue=self.seen(value.queue, side))
            case LogStatistics():
                return attrs.evolve(value, disk_size=0)  # in memory there are chunks
        return value


def differences(
    here: dict[str, list[Some]], there: dict[str, list[Some]]
) -> Iterator[tuple[object, ...]]:
    """Return what differs: where, and what there is in memory and on the server."""
    for name, each in here.items():
        for number, pair in enumerate(zip_longest(each, there[name])):
            if pair[0] != pair[1]:
                yield name, number, *pair


def taken_of(reply: PendingReply[Some]) -> list[Some]:
    """Return the reservations, or claims, in an answer."""
    try:
        answer = reply.get_nowait()
    except Exception:  # noqa: BLE001 - any
        return []
    every = answer if type(answer) is list else [answer]
    return [each for each in every if hasattr(each, "key")]


async def play(  # noqa: PLR0917 - trio passes positions
    url: str,
    events: Events,
    kind: str,
    mock: MockClock,
    steps: Sequence[Step],
    options: dict[str, Some],
) -> None:
    """Play a history."""
    events.clear()
    clock = Clock.open()
    clock.start_at(clock.now_ns() // SECOND * SECOND + SECOND)

    def make() -> RedisStore:
        return RedisStore(url=url, prefix=uuid4().hex, clock="caller", poll=3600.0)

    stores = {
        "memory": StoreConfig(type="memory", factory=MemoryStore, options={}),
        "server": StoreConfig(type="redis", factory=make, options={}),
    }
    async with open_runtime(Config(stores=stores), clock=clock) as runtime:
        queues = []
        for name, store in ((HERE, "memory"), (THERE, "server")):
            own = dict(options)
            if kind == "timed":
                await runtime.define(f"dead-{name}", kind="timed", reservation_time=60)
                if own.get("on_exhausted") == "queue":
                    own["on_exhausted"] = f"dead-{name}"
                if own.get("sync_interval") is not None:
                    own["sync_fn"] = Refill()
            queues.append(await runtime.define(name, kind=kind, store=store, codec="bytes", **own))
        await Twins(mock, clock, runtime, queues, events).play(steps)


TIMED_OPTIONS: Final = st.fixed_dictionaries(
    {
        "reservation_time": st.just(5),
        "unique": st.booleans(),
        "max_length": st.sampled_from([None, None, 1, 3, 6]),
        "max_reservations": st.sampled_from([None, 1, 2]),
        "on_exhausted": st.sampled_from(["drop", "bury", "queue"]),
    },
    optional={"sync_interval": st.sampled_from([0, 2, 5])},
)
MESSAGE_OPTIONS: Final = st.fixed_dictionaries(
    {"lock_time": st.just(4), "max_length": st.sampled_from([None, 1, 3, 6])}
)
CAPACITY_OPTIONS: Final = st.fixed_dictionaries({"max_elements": st.sampled_from([1, 3, 8, 100])})
LOG_OPTIONS: Final = st.fixed_dictionaries({"ttl": st.sampled_from([None, 4])})

KINDS: Final = {
    "timed": (steps(TIMED), TIMED_OPTIONS),
    "message": (steps(MESSAGE), MESSAGE_OPTIONS),
    "capacity": (steps(CAPACITY), CAPACITY_OPTIONS),
    "log": (steps(LOG), LOG_OPTIONS),
}


def check(url: str, events: Events, kind: str, many: int, phases: tuple[Phase, ...]) -> None:
    @given(*KINDS[kind])
    @settings(
        max_examples=many,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    def they_are_alike(steps: list[Step], options: dict[str, Some]) -> None:
        mock = MockClock()
        trio.run(play, url, events, kind, mock, steps, options, clock=mock)

    they_are_alike()


@pytest.mark.parametrize("kind", [*KINDS])
def test_a_queue_on_a_server_answers_as_one_in_memory(
    valkey: str, events: Events, kind: str
) -> None:
    check(valkey, events, kind, 15, (Phase.generate,))  # to shrink takes minutes


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("kind", [*KINDS])
def test_a_queue_on_a_server_always_answers_as_one_in_memory(
    valkey: str, events: Events, kind: str
) -> None:
    check(valkey, events, kind, 75 * TORTURE, (Phase.reuse, Phase.generate, Phase.shrink))
