"""Histories of capacity and log queues, played on the Python core and on the script.

Batch by batch, at the same instants, with callers that wait and leave: what each is answered, and
when, and what the queue tells of itself, must be the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from queueactors import QueueClosedError
from queueactors._codecs import Encoded
from queueactors.cores.capacity import CapacityCore, CapacityRecords
from queueactors.cores.log import LogCore, LogStatistics
from queueactors.engines import ROOM, TAKERS, LocalEngine, Parked
from queueactors.engines.redis import CapacityWire, LogWire, RedisEngine
from queueactors.queues import CapacityOptions, LogOptions
from queueactors.queues._operations import TakeOver
from supervisors import Operation
from tests.torture import TORTURE

from .redis_direct import Direct, DirectLink, Hand

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN: Final = 1_800_000_000 * 10**9
TICK: Final = 10**6  # nanoseconds
TTL: Final = 8 * TICK
TINY: Final = {
    b"PART, PART_SIZE = 1000, 1048576": b"PART, PART_SIZE = 3, 4",
    b"STEPS, ENTRIES, SIZE = 2000, 16, 67108864": b"STEPS, ENTRIES, SIZE = 1, 1, 8",
}
Answer = Any  # type: ignore[explicit-any] # each operation's own


@attrs.frozen
class Ask:
    """One operation.

    Args:
      method: The core's.
      args: Its arguments.
      waits: The lane in which it waits if it cannot be answered.
    """

    method: str
    args: tuple[object, ...] = ()
    waits: str | None = None


@attrs.frozen
class Leave:
    """The caller that waits at that place in its lane is cancelled."""

    lane: str
    number: int


@attrs.frozen
class Step:
    """A batch.

    Args:
      ticks: Those that pass before it.
      batch: Its operations.
      leaves: Who leaves before it.
    """

    ticks: int
    batch: list[Ask]
    leaves: list[Leave]


def asks(
    method: str, *args: st.SearchStrategy[Answer], waits: str | None = None
) -> st.SearchStrategy[Ask]:
    return st.builds(Ask, st.just(method), st.tuples(*args), st.just(waits))


def often(*weighted: tuple[int, st.SearchStrategy[Ask]]) -> st.SearchStrategy[Ask]:
    return st.sampled_from([each for weight, each in weighted for _ in range(weight)]).flatmap(
        lambda strategy: strategy
    )


def sized(items: list[bytes | Encoded]) -> tuple[object, ...]:
    return items, [len(item) for item in items]


def steps(ask: st.SearchStrategy[Ask]) -> st.SearchStrategy[list[Step]]:
    step = st.builds(
        Step,
        st.sampled_from([0, 0, 1, 2, 4, 7, 8, 9]),
        st.lists(ask, min_size=1, max_size=6),
        st.lists(st.builds(Leave, st.sampled_from([ROOM, TAKERS]), numbers), max_size=1),
    )
    return st.lists(step, min_size=1, max_size=12)


numbers = st.integers(0, 3)
limits = st.sampled_from([1, 1, 2, 3, 9, 10**12])
item = st.binary(max_size=3) | st.builds(Encoded, st.just("json"), st.binary(max_size=2))
lots = st.lists(item, min_size=1, max_size=4)
durations = st.sampled_from([TICK, 4 * TICK, 9 * TICK])
whole = often(
    (1, asks("clear")),
    (2, asks("pause", st.none() | durations)),
    (4, asks("resume")),
    (2, asks("length")),
)
seldom = often((20, asks("length")), (1, asks("close")))

CAPACITY: Final = steps(
    often(
        (4, lots.map(lambda items: Ask("push", sized(items)))),
        (1, st.just(Ask("push", ([], [])))),
        (3, lots.map(lambda items: Ask("wait_push", sized(items), ROOM))),
        (4, asks("pop", limits)),
        (3, asks("pop", limits, waits=TAKERS)),
        (1, asks("resize", st.integers(1, 9))),
        (1, asks("is_empty") | asks("payload_size")),
        (1, whole),
        (1, seldom),
    )
)

labels = st.sampled_from(["a", "a", "b", "ü", ""])
starts = st.sampled_from(["oldest", "newest"])
LOG: Final = steps(
    often(
        (5, lots.map(lambda items: Ask("add", sized(items)))),
        (3, asks("next", labels, starts, limits)),
        (4, asks("wait_next", labels, starts, limits, waits=TAKERS)),
        (2, asks("read", labels, starts, limits)),
        (3, asks("wait_read", labels, starts, limits, waits=TAKERS)),
        (2, asks("commit", labels, st.sampled_from([-1, 0, 1, 2, 3, 5, 8, 1 << 70]))),
        (2, asks("remove_label", labels)),
        (1, asks("labels")),
        (1, whole),
        (1, seldom),
    )
)


class Both:
    """One queue in this process, and the same on the server.

    Args:
      direct: Sends commands to the server.
      kind: The queue's.
      options: The queue's.
    """

    def __init__(
        self,
        direct: Direct,
        kind: Literal["capacity", "log"],
        options: CapacityOptions | LogOptions,
    ) -> None:
        direct(b"FLUSHALL")
        self.direct = direct
        self.clock = Hand(BEGIN)
        wire: CapacityWire | LogWire
        core: CapacityCore | LogCore
        if isinstance(options, CapacityOptions):
            records = CapacityRecords(max_elements=options.max_elements)
            core = CapacityCore(name="q", records=records, max_elements=options.max_elements)
            wire, changes = CapacityWire("q", "bytes", lambda: options.max_elements), {}
        else:
            core = LogCore(name="q", ttl=None if options.ttl is None else TTL)
            wire, changes = LogWire("q", "bytes", lambda: options.ttl), TINY
        self.kind = kind
        self.core = core
        self.local = LocalEngine(core, Parked(queue="q"))
        link = DirectLink(direct, wire, self.clock, changes)
        self.remote = RedisEngine(wire, link, Parked(queue="q"))
        self.pairs: list[tuple[Operation, Operation]] = []
        self.answered: tuple[set[Operation], set[Operation]] = (set(), set())

    async def play(self, steps: list[Step]) -> None:
        for step in steps:
            self.clock.now += step.ticks * TICK
            for leave in step.leaves:
                self.leave(leave)
            new = [
                tuple(Operation(ask.method, ask.args, waits=ask.waits) for _ in range(2))
                for ask in step.batch
            ]
            self.pairs += [(local, remote) for local, remote in new]
            while not self.local.advance(self.clock.now):
                pass
            for engine, side in ((self.local, 0), (self.remote, 1)):
                resolved: list[Operation] = []
                await engine.execute([pair[side] for pair in new], self.clock.now, resolved)
                self.answered[side].update(resolved)
            self.compare()

    def leave(self, leave: Leave) -> None:
        for engine in (self.local, self.remote):
            lane = engine.parked.lane(leave.lane)
            if leave.number < len(lane):
                operation = list(lane)[leave.number]
                lane.withdrawn(operation)
                operation.state, operation.home = "withdrawn", None

    def compare(self) -> None:
        for local, remote in self.pairs:
            what = (local.method, local.args)
            assert (what, self.told(remote, 1)) == (what, self.told(local, 0))
        numbers = self.core.statistics(self.clock.now)
        assert self.seen(self.remote.statistics(self.clock.now)) == self.seen(numbers)
        if self.kind == "log":
            self.look_at_times()

    def look_at_times(self) -> None:
        """See that the items on the server are those of which it knows when they came."""
        items: Answer = self.direct(b"XRANGE", b"{q}:items", b"-", b"+")
        times: Answer = self.direct(b"XRANGE", b"{q}:times", b"-", b"+")
        numbers = [int(each.partition(b"-")[0]) for each, _ in items]
        known = [
            int(each.partition(b"-")[2]) + number
            for each, (_, many, _, _) in times
            for number in range(int(many))
        ]
        assert all(int(many) <= 3 for _, (_, many, _, _) in times)
        size = sum(int(size) for _, (_, _, _, size) in times)
        assert numbers == known
        assert int(self.direct(b"HGET", b"{q}:head", b"size") or 0) == size  # type: ignore[call-overload] # bytes

    def told(self, operation: Operation, side: int) -> object:
        if operation not in self.answered[side]:
            return operation.state
        if operation.error is not None:
            return type(operation.error), str(operation.error)
        return self.seen(operation.value)

    def seen(self, value: Answer) -> object:
        """Return what must be the same: not how much room expired items still have."""
        return attrs.evolve(value, disk_size=0) if hasattr(value, "disk_size") else value


@pytest.fixture
def direct(valkey: str) -> Iterator[Direct]:
    made = Direct(valkey)
    yield made
    made.close()


ours = settings(
    max_examples=80 * TORTURE,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.slow
@ours
@given(steps=CAPACITY, most=st.sampled_from([2, 5, 100]))
def test_a_capacity_queue_answers_as_the_core_does(
    direct: Direct, steps: list[Step], most: int
) -> None:
    both = Both(direct, "capacity", CapacityOptions(max_elements=most))

    trio.run(both.play, steps)


ADD: Final = Ask("add", ([b"x"], [1]))
WAITS: Final = [Ask("wait_next", (label, "oldest", 1), TAKERS) for label in "ab"]


@pytest.mark.slow
@ours
@given(steps=LOG, ttl=st.sampled_from([None, TTL / 1e9]))
@example(steps=[Step(0, [ADD, Ask("clear"), ADD], []), Step(9, [ADD, *WAITS], [])], ttl=TTL / 1e9)
@example(
    steps=[Step(0, [WAITS[0]], []), Step(0, [Ask("length"), WAITS[1], ADD, WAITS[1]], [])], ttl=None
)
@example(steps=[Step(0, [Ask("close"), WAITS[0]], []), Step(0, [Ask("labels")], [])], ttl=None)
@example(
    steps=[
        Step(0, [ADD, Ask("pause", (TICK,)), WAITS[0], Ask("add", ([b"y"], [1]))], []),
        Step(1, [Ask("next", ("a", "oldest", 1))], []),
    ],
    ttl=None,
)
@example(steps=[Step(0, [ADD, ADD] * 3, []), Step(9, [Ask("clear")], [])], ttl=TTL / 1e9)
def test_a_log_queue_answers_as_the_core_does(
    direct: Direct, steps: list[Step], ttl: float | None
) -> None:
    both = Both(direct, "log", LogOptions(ttl=ttl))

    trio.run(both.play, steps)


def test_who_waits_in_a_closed_log_asks_again_when_all_has_expired(direct: Direct) -> None:
    both = Both(direct, "log", LogOptions(ttl=TTL / 1e9))
    batch = [ADD, Ask("pause", (None,)), Ask("close"), WAITS[0]]

    trio.run(both.play, [Step(0, batch, [])])

    assert both.remote.next_deadline() == BEGIN + TTL


def test_who_waits_asks_again_soon_while_room_is_to_be_given_back(direct: Direct) -> None:
    both = Both(direct, "log", LogOptions(ttl=TTL / 1e9))
    steps = [Step(1, [ADD, ADD], []) for _ in range(6)] + [Step(20, WAITS, [])]

    trio.run(both.play, steps)

    assert both.remote.next_deadline() == both.clock.now + 10**8


@pytest.mark.parametrize("kind", ["capacity", "log"])
def test_a_dead_letter_that_is_brought_again_is_not_added_again(
    direct: Direct, kind: Literal["capacity", "log"]
) -> None:
    options = CapacityOptions() if kind == "capacity" else LogOptions()
    both = Both(direct, kind, options)
    method = "wait_push" if kind == "capacity" else "add"
    brought = [TakeOver[int](method, "q", number, ([b"x"], [1])) for number in (1, 1, 2)]
    length = Operation("length")
    resolved: list[Operation] = []

    for operation in (*brought, length):
        trio.run(both.remote.execute, [operation], both.clock.now, resolved)

    assert [operation.value for operation in resolved] == [1, 1, 1, 2]


@pytest.mark.parametrize("kind", ["capacity", "log"])
def test_a_queue_that_is_drained_no_more_takes_in_again(
    direct: Direct, kind: Literal["capacity", "log"]
) -> None:
    options = CapacityOptions() if kind == "capacity" else LogOptions()
    both = Both(direct, kind, options)
    resolved: list[Operation] = []

    for drains in (True, False):
        both.remote.drain(drains)
        came = Operation("push" if kind == "capacity" else "add", ([b"x"], [1]))
        trio.run(both.remote.execute, [came], both.clock.now, resolved)

    assert [type(each.error) for each in resolved] == [QueueClosedError, type(None)]


def test_what_a_log_has_set_aside_stays_so_until_a_runtime_begins(direct: Direct) -> None:
    both = Both(direct, "log", LogOptions())
    add = Operation("add", ([Encoded("nobodys", b"x")], [1]))
    resolved: list[Operation] = []

    for operation in (add, Operation("peek", (1,)), Operation("length"), Operation("length")):
        trio.run(both.remote.execute, [operation], both.clock.now, resolved)

    numbers = both.remote.statistics(both.clock.now)
    assert isinstance(numbers, LogStatistics)
    assert (numbers.set_aside, len(both.remote.notices)) == (1, 1)
