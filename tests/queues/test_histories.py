"""Histories of all operations through the actor, with crashes between any two of them.

The same operations as in `tests/cores/test_model.py`, but sent to a running queue: in batches, with
callers that wait, leave and time out, and with an actor that crashes before any operation, is
stopped and started. What each of them is answered, when, and what the queue holds, is compared with
the plain list of `tests/cores/naive.py` and three plain lists of those who wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from queueactors import QueueActorsError
from queueactors.engines import ROOM, SYNCS, TAKERS, LocalEngine
from supervisors import ActorCrashedError, ActorDownError, Operation, PendingReply
from tests.cores.kit import ALL, STATES
from tests.cores.naive import NaiveQueue

from .kit import Boom, FaultyStore, KindRig, Rig, running, settle

if TYPE_CHECKING:
    from queueactors import MessageQueue
    from queueactors.engines import Engine, Method, Parked
    from queueactors.stores import Kind

TICK = 250_000_000  # nanoseconds: a power of two of a second, so that clocks are exact
VALUES: list[object] = [1, 1.0, "a", [1], {"a": 1}, None]
WAITING = {
    **dict.fromkeys(["reserve", "reserve_many", "claim", "claim_many"], TAKERS),
    **dict.fromkeys(["wait_insert", "wait_enqueue"], ROOM),
    "sync": SYNCS,
}
TAKES = {each for each, lane in WAITING.items() if lane == TAKERS}  # or answers that there is none
NOT_YET = "not yet"

T = TypeVar("T")
Naive = Any  # type: ignore[explicit-any] # each kind has its own


# -- what is played ----------------------------------------------------------------------------


@attrs.frozen
class Pick:
    """Stands for a key, or an id, that is known only when its operation is sent."""

    what: Literal["key", "keys", "id", "ids", "dead"]
    number: int


@attrs.frozen
class Ask:
    """One operation.

    Args:
      method: The core's.
      args: Its arguments, some of them yet to be picked.
      waits: Whether it waits if it cannot be answered.
      timeout: How many ticks it waits at most. None: without limit.
      crashes: Whether the actor crashes before it.
    """

    method: str
    args: tuple[object, ...] = ()
    waits: bool = False
    timeout: int | None = None
    crashes: bool = False


@attrs.frozen
class Leave:
    """The caller that waits at that place in its line is cancelled."""

    lane: str
    number: int


Batch = tuple[Ask | Leave, ...]
Step = Batch | int | Literal["stop"]  # a batch; or so many ticks pass; or it is stopped and started

values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=3).map(tuple)
delays = st.sampled_from([0, 0, 0, TICK, 3 * TICK])
durations = st.sampled_from([TICK, 2 * TICK, 4 * TICK])
priorities = st.sampled_from([0, 0, 0, -1, 1])
numbers = st.integers(0, 5)
errors = st.sampled_from([None, "bad"])


def picks(*what: Literal["key", "keys", "id", "ids", "dead"]) -> st.SearchStrategy[Pick]:
    return st.builds(Pick, st.sampled_from(what), numbers)


def asks(method: str, *args: st.SearchStrategy[object]) -> st.SearchStrategy[Ask]:
    waits = st.booleans() if method in TAKES else st.just(method in WAITING)
    return st.builds(
        Ask,
        st.just(method),
        st.tuples(*args),
        waits,
        st.sampled_from([None, None, 0, 1, 3]),
        st.sampled_from([False] * 9 + [True]),
    )


def often(*weighted: tuple[int, st.SearchStrategy[T]]) -> st.SearchStrategy[T]:
    """Return one of some strategies, each so often; `one_of` weighs all alike."""
    return st.sampled_from([each for weight, each in weighted for _ in range(weight)]).flatmap(_it)


def _it(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    return strategy


def _batch(asked: list[Ask | Leave]) -> Batch:
    return tuple(asked)


ASKS: st.SearchStrategy[Ask | Leave] = often(
    (5, asks("insert", values, delays, priorities)),
    (1, asks("insert_nowait", values, delays, priorities, st.just(0))),
    (3, asks("wait_insert", values, delays, priorities)),
    (5, asks("reserve", durations)),
    (2, asks("reserve_many", st.integers(1, 3), durations)),
    (1, asks("prolongate", picks("key"), durations)),
    (1, asks("touch", picks("key"), durations)),
    (2, asks("release", picks("key"), delays, st.none() | priorities, errors)),
    (3, asks("delete", picks("keys"), st.booleans())),
    (1, asks("bury", picks("key"), errors)),
    (1, asks("kick", st.integers(1, 3))),
    (1, asks("remove", picks("ids"))),
    (1, asks("bury_dead", picks("dead"))),
    (1, asks("pause", durations) | st.just(Ask("pause", (None,)))),
    (2, st.just(Ask("resume"))),
    (1, asks("sync")),
    (1, asks("begin_refill")),
    (1, asks("refilled", st.none() | values, st.none()) | asks("refill_lost")),
    (2, st.sampled_from([Ask("length", crashes=True)] * 9 + [Ask("close"), Ask("clear")])),
    (2, st.builds(Leave, st.sampled_from([ROOM, TAKERS, SYNCS]), st.integers(0, 2))),
)
REFILL = st.tuples(asks("sync"), asks("begin_refill"), asks("refilled", values, st.none()))
STEPS: st.SearchStrategy[Step] = often(
    (12, st.lists(ASKS, min_size=1, max_size=6).map(_batch)),
    (1, REFILL),
    (5, st.integers(1, 4)),
    (1, st.just("stop")),
)
OPTIONS = st.fixed_dictionaries(
    {
        "unique": st.booleans(),
        "max_reservations": st.sampled_from([None, None, 1, 2]),
        "on_exhausted": st.sampled_from(["drop", "bury", "other"]),
        "max_length": st.sampled_from([None, 1, 3]),
        "refilled": st.booleans(),
    }
)


# -- what must come of it ----------------------------------------------------------------------


@attrs.define(eq=False)
class Expected:
    """An operation, and what it must be answered."""

    ask: Ask
    args: tuple[object, ...]
    deadline_at: int | None
    doomed: bool
    outcome: object = NOT_YET


@attrs.define(eq=False)
class NaiveActor:
    """A plain list with three lines of callers before it."""

    naive: Naive
    lanes: dict[str, list[Expected]] = attrs.field(
        factory=lambda: {ROOM: [], TAKERS: [], SYNCS: []}
    )
    crashes: int = 0

    def __attrs_post_init__(self) -> None:
        self.naive.inserters = cast("list[object]", self.lanes[ROOM])
        self.naive.syncers = cast("list[object]", self.lanes[SYNCS])

    def do(self, expected: Expected, now: int) -> None:
        crashes = self.crashes
        lane = self.lanes[WAITING[expected.ask.method]] if expected.ask.waits else None
        if lane or not self.answers(expected, now):
            cast("list[Expected]", lane).append(expected)
        self.serve(now)
        if self.crashes > crashes:
            self.time_out(now)  # the next incarnation begins with that

    def answers(self, expected: Expected, now: int) -> bool:
        """Carry one out; return whether it need not wait."""
        if expected.doomed:
            expected.outcome = ActorCrashedError
            expected.doomed = False
            self.crashes += 1
            return True
        self.naive.advance(now)
        try:
            value = getattr(self.naive, expected.ask.method)(now, *expected.args)
        except QueueActorsError as error:
            expected.outcome = type(error), error.args
            return True
        if expected.ask.waits and (value is None or value == []):
            return False
        expected.outcome = value
        return True

    def serve(self, now: int) -> None:
        for lane in self.lanes.values():
            while lane and self.answers(lane[0], now):
                del lane[0]

    def pass_time(self, now: int, until: int) -> None:
        """Let everything happen that happens by itself, each at its instant."""
        while True:
            self.naive.advance(now)
            self.serve(now)
            if self.time_out(now):
                self.serve(now)
            instants = [
                expected.deadline_at
                for lane in self.lanes.values()
                for expected in lane
                if expected.deadline_at is not None
            ]
            due = self.naive.next_deadline(waiting=bool(self.lanes[TAKERS]))
            if due is not None and due > now:
                instants.append(due)
            if min(instants, default=until) >= until and now == until:
                return
            now = min([until, *instants])

    def time_out(self, now: int) -> bool:
        """End the waits that are over; return whether those behind may go in instead."""
        crowd = len(self.lanes[ROOM])
        for lane in self.lanes.values():
            for expected in list(lane):
                if expected.deadline_at is not None and expected.deadline_at <= now:
                    lane.remove(expected)
                    expected.outcome = trio.TooSlowError
        return len(self.lanes[ROOM]) < crowd

    def stop(self) -> None:
        for lane in self.lanes.values():
            for expected in lane:
                expected.outcome = ActorDownError
            lane.clear()


# -- both ----------------------------------------------------------------------------------------


@attrs.define(eq=False)
class DoomedStore(FaultyStore):
    """A memory store whose queue crashes before those operations that are marked."""

    doomed: set[Operation | None] = attrs.field(factory=set)

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        engine = await self.memory.open_engine(queue, kind, parked)
        assert isinstance(engine, LocalEngine)

        def wrap(method: Method) -> Method:
            def call(*args: object) -> object:
                if engine.culprit in self.doomed:
                    self.doomed.remove(engine.culprit)
                    raise Boom
                return method(*args)

            return call

        engine.wrap(wrap)
        return engine


@attrs.define(eq=False)
class Play:
    """Does the same to both, and compares all that can be seen."""

    rig: Rig | KindRig[MessageQueue]
    store: DoomedStore
    model: NaiveActor
    sent: list[tuple[Expected, Operation]] = attrs.field(factory=list)
    keys: list[int] = attrs.field(factory=lambda: [0])

    @property
    def now(self) -> int:
        return self.rig.queue.clock.now_ns()

    async def step(self, step: Step) -> None:
        if isinstance(step, int):
            now = self.now
            await trio.sleep(step * TICK / 1e9)
            await settle()
            self.model.pass_time(now, now + step * TICK)
        elif step == "stop":
            await self.rig.supervisor.terminate_child("q")
            self.model.stop()
            await self.rig.supervisor.restart_child("q")
        else:
            for each in step:
                if isinstance(each, Leave):
                    self.leave(each)
            self.rig.mailbox.wake()  # whoever comes to the front may be one to crash over
            self.model.serve(self.now)
            for each in step:
                if isinstance(each, Ask):
                    self.send(each)
            await settle()
            self.model.pass_time(self.now, self.now)
        await self.compare()

    def send(self, ask: Ask) -> None:
        args = tuple(self.pick(each) if isinstance(each, Pick) else each for each in ask.args)
        if ask.method == "refilled" and not self.model.naive.refilling:
            return
        deadline_at = None
        if ask.waits and ask.timeout is not None:
            deadline_at = self.now + ask.timeout * TICK
        waits = WAITING[ask.method] if ask.waits else None
        operation = Operation(ask.method, args, waits=waits, deadline_at=deadline_at)
        if ask.crashes:
            self.store.doomed.add(operation)
        self.rig.mailbox.cast(operation)
        expected = Expected(ask, args, deadline_at, ask.crashes)
        self.model.do(expected, self.now)
        self.sent.append((expected, operation))

    def leave(self, leave: Leave) -> None:
        """Let a caller leave that waits already when the batch begins, if there is one."""
        lane = self.model.lanes[leave.lane]
        if leave.number < len(lane):
            left = lane.pop(leave.number)
            (operation,) = [operation for expected, operation in self.sent if expected is left]
            operation.abort(lambda: None)
            self.sent.remove((left, operation))

    def pick(self, pick: Pick) -> object:
        naive = self.model.naive
        held = [item.key for item in naive.items if item.key is not None]
        self.keys += sorted(set(held) - set(self.keys))
        keys = held if held and pick.number < 5 else self.keys
        dead = [0, *(item.id for item in naive.first("dead"))]
        match pick.what:
            case "key":
                return keys[-1 - pick.number % len(keys)]
            case "keys":
                return tuple(keys[pick.number % len(keys) :][:3])
            case "ids":
                return (naive.next_id - pick.number, naive.next_id - 2 * pick.number)
            case "dead":
                return dead[-1 - pick.number % len(dead)]
            case _:
                raise AssertionError(pick)

    async def compare(self) -> None:
        told = await self.ask("statistics")  # first: all who stand at the front are tried again
        self.model.serve(self.now)
        for expected, operation in self.sent:
            assert outcome(operation) == expected.outcome, expected
        self.sent = [(each, it) for each, it in self.sent if each.outcome is NOT_YET]
        lanes = self.rig.actor.parked
        for name, lane in self.model.lanes.items():
            waiting = [operation for each in lane for it, operation in self.sent if it is each]
            assert list(lanes.lane(name)) == waiting
        assert self.rig.actor.restarts >= self.model.crashes
        naive = self.model.naive
        naive.advance(self.now)
        assert told == naive.statistics(self.now)
        await self.look()

    async def look(self) -> None:
        """Fail if what the queue shows is not what is in the plain list."""
        naive = self.model.naive
        for state in STATES:
            assert await self.ask("peek", state, ALL) == naive.peek(state)
        letters = await self.ask("dead_letters")
        assert sorted(cast("list[object]", letters), key=_id) == naive.dead_letters(self.now)

    async def ask(self, method: str, *args: object) -> object:
        operation = Operation(method, args)
        self.rig.mailbox.cast(operation)
        return await PendingReply[object](operation).get()


def _id(letter: object) -> int:
    return letter.id  # type: ignore[attr-defined, no-any-return] # of a DeadLetter


def outcome(operation: Operation) -> object:
    """Return what an operation was answered."""
    if operation.state != "done":
        return NOT_YET
    error = operation.error
    if isinstance(error, QueueActorsError):
        return type(error), error.args
    return operation.value if error is None else type(error)


async def play(steps: list[Step], options: dict[str, object]) -> Play:
    options = dict(options)
    refilled = options.pop("refilled", False)
    naive = NaiveQueue(
        name="q",
        interval=2 * TICK if refilled else None,
        **({"unique": False, "max_reservations": None, "on_exhausted": "drop"} | options),  # type: ignore[arg-type]
    )
    if refilled:  # nobody runs it: the history says when it begins and ends
        options |= {"sync_fn": list, "sync_interval": 2 * TICK / 1e9}
    store = DoomedStore()
    async with running(store, **options) as rig:  # type: ignore[arg-type] # they are the queue's
        played = Play(rig, store, NaiveActor(naive))
        for step in steps:
            with trio.fail_after(3600):
                await played.step(step)
    return played


@pytest.mark.slow
@pytest.mark.no_cover
@given(steps=st.lists(STEPS, min_size=8, max_size=30), options=OPTIONS)
@settings(max_examples=150)
def test_any_history_with_crashes_goes_as_without_them(
    steps: list[Step], options: dict[str, object]
) -> None:
    trio.run(play, steps, options, clock=MockClock(autojump_threshold=0))
