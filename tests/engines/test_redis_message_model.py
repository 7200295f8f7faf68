"""A message queue's script does what the core does, whatever happens to the two."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, cast

import attrs
import pytest

from queueactors.cores.message import Enqueued, Ids, MessageCore
from queueactors.engines import ROOM, TAKERS, LocalEngine, Parked
from queueactors.engines.redis import MessageWire, RedisEngine
from queueactors.queues import MessageOptions
from queueactors.queues._operations import TakeOver
from supervisors import Operation

from .redis_direct import Direct, DirectLink, Hand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queueactors.cores.message import Claimed, MessageInfo

MILLISECOND = 1_000_000  # nanoseconds
BEGIN = 1_700_000_000_000_000_000  # epoch nanoseconds
LOCK_TIME = 20  # milliseconds

LANES = {"wait_enqueue": ROOM, "claim": TAKERS, "claim_many": TAKERS}
RESULTS: Final = ("success", "retry", "error")
# What takes several calls of a script: here already with a few messages.
TINY: Final = {
    b"STEPS_AT_ONCE = 1000": b"STEPS_AT_ONCE = 2",
    b"PAGE = 1000": b"PAGE = 2",
}
BY_KEY = ("extend", "finish", "snooze")
LOST = 4  # one that is picked beyond it may be of a claim that is lost


@attrs.frozen
class Step:
    """What is asked.

    Args:
      method: The operation's.
      args: Its arguments; the first of those in `BY_KEY` says the how-manieth newest claim it is.
      waits: Whether it waits if it has to.
    """

    method: str
    args: tuple[object, ...] = ()
    waits: bool = False


class Dice(Random):
    """Throws what is asked next."""

    def step(self) -> Step:
        """Return the next step."""
        (method,) = self.choices([*OPERATIONS], [often for often, _ in OPERATIONS.values()])
        waits = method == "wait_enqueue" or (method in LANES and self.random() < 0.3)
        return Step(method, OPERATIONS[method][1](self), waits)

    def gap(self) -> int:
        return self.choice([0] * 7 + [1, 2, 5]) * MILLISECOND

    def time(self) -> int:
        return self.choice([1, 5, 20]) * MILLISECOND

    def delay(self) -> int:
        return self.choice([0, 0, 0, 1, 2, 5]) * MILLISECOND

    def recent(self) -> int:
        """Return the how-manieth newest of all claims, or messages, that ever were."""
        return min(int(self.expovariate(0.5)), 30)

    def message(self) -> tuple[object, ...]:
        flags = [self.random() < often for often in (0.3, 0.5, 0.2)]
        lock_time = self.choice([None, self.time()])
        value = self.choice([b"", b"x", b"y", b"\0\xff"])
        return self.choice("abcdef"), value, self.delay(), lock_time, *flags


# How often each comes, compared with the others; and its arguments.
OPERATIONS: Final[dict[str, tuple[float, Callable[[Dice], tuple[object, ...]]]]] = {
    "enqueue": (8, Dice.message),
    "wait_enqueue": (3, Dice.message),
    "claim": (5, lambda _: ()),
    "claim_many": (2, lambda dice: (dice.randint(1, 3),)),
    "extend": (1, lambda dice: (dice.recent(), dice.choice([None, dice.time()]))),
    "finish": (6, lambda dice: (dice.recent(), dice.choice(RESULTS), dice.delay())),
    "snooze": (1, lambda dice: (dice.recent(), dice.delay())),
    "message_status": (0.5, lambda dice: (dice.choice("abcdef"),)),
    "queue_status": (0.5, lambda _: ()),
    "queue_size": (0.1, lambda _: ()),
    "length": (0.1, lambda _: ()),
    "remove": (0.5, lambda dice: ([dice.recent() for _ in range(dice.randint(0, 4))],)),
    "clear": (0.05, lambda _: ()),
    "pause": (0.1, lambda dice: (dice.choice([None, 2 * MILLISECOND, 10 * MILLISECOND]),)),
    "resume": (0.8, lambda _: ()),
}


@pytest.fixture
def direct(valkey: str) -> Iterator[Direct]:
    made = Direct(valkey)
    made(b"FLUSHALL")
    yield made
    made.close()


@attrs.define(eq=False)
class Both:
    """The core in a local engine, and the script in a Redis engine, at the same instants."""

    local: LocalEngine
    remote: RedisEngine
    clock: Hand
    poll: int
    core: MessageCore
    keys: list[tuple[int, int]] = attrs.field(factory=lambda: [(0, 0)], init=False)
    waiting: list[tuple[Operation, Operation]] = attrs.field(factory=list, init=False)

    async def play(self, gap: int, leaves: int | None, batch: list[Step]) -> None:
        """Let time pass, let somebody who waits leave, and ask both the same."""
        self.clock.now += gap
        if leaves is not None and self.waiting:
            for operation in self.waiting.pop(leaves % len(self.waiting)):
                operation.state = "withdrawn"
                assert operation.home is not None
                operation.home.withdrawn(operation)
        asked = [(self.operation(each, 0), self.operation(each, 1)) for each in batch]
        asked.append((Operation("statistics"), Operation("statistics")))
        await self.ask(asked)
        self.waiting = [pair for pair in self.waiting + asked if pair[0].state == "parked"]
        while not self.local.advance(self.clock.now_ns()):
            pass  # what was cleared is let go of
        if self.waiting:  # otherwise nobody need know
            # Whoever waits there looks after the end of a pause, also for those elsewhere.
            paused = self.core.statistics(self.clock.now_ns()).paused
            due = self.core.next_deadline(waiting=paused)
            poll = self.clock.now_ns() + self.poll
            at = self.remote.next_deadline()  # never too late; what it has kept may be gone
            assert at is not None
            assert at <= (poll if due is None else due)

    async def look(self) -> None:
        """Compare what both show."""
        now = self.clock.now_ns()
        assert (await self.content()) == self.core.content(now, self.core.ids(now).ids)

    def operation(self, asked: Step, side: int) -> Operation:
        """Return what a step is on one side."""
        method, args = asked.method, asked.args
        if method in BY_KEY:
            pick, others = cast("int", args[0]), args[1:]
            held = {each.key for each in self.core.records.messages.values()}
            keys = [pair for pair in self.keys if pick > LOST or pair[0] in held] or self.keys
            args = (keys[-1 - pick % len(keys)][side], *others)
        elif method == "remove":
            picks = cast("list[int]", args[0])
            args = ([self.core.records.next_id - pick for pick in picks],)
        return Operation(method, args, waits=LANES[method] if asked.waits else None)

    async def ask(self, asked: list[tuple[Operation, Operation]]) -> None:
        """Ask both, and compare what they answer."""
        now = self.clock.now_ns()
        resolved: tuple[list[Operation], list[Operation]] = ([], [])
        while not self.local.advance(now):
            pass
        await self.local.execute([each for each, _ in asked], now, resolved[0])
        await self.remote.execute([each for _, each in asked], now, resolved[1])
        for side in resolved:
            for operation in side:
                operation.resolve()
        for one, other in self.waiting + asked:
            assert one.state == other.state, one
            if one.state == "done":
                self.compare(one, other)

    def compare(self, one: Operation, other: Operation) -> None:
        """Compare two outcomes; the keys of claims are of each side's own."""
        if one.error is not None or other.error is not None:
            assert type(one.error) is type(other.error)
            if one.method not in BY_KEY:
                assert str(one.error) == str(other.error)
        elif one.method.startswith("claim") and one.value:
            claims, others = (
                cast("list[Claimed]", each.value if one.method == "claim_many" else [each.value])
                for each in (one, other)
            )
            for claim, twin in zip(claims, others, strict=True):
                assert claim._replace(key=0) == twin._replace(key=0)
                self.keys.append((claim.key, twin.key))
        else:
            assert one.value == other.value

    async def content(self) -> object:
        """Return all messages that the script shows."""
        found: dict[str, MessageInfo] = {}
        some = Ids([], 0)
        while some.after is not None:
            some = cast("Ids", await self._remotely("ids", some.after))
            found |= cast("dict[str, MessageInfo]", await self._remotely("content", some.ids))
        return found

    async def _remotely(self, method: str, *args: object) -> object:
        asked, resolved = Operation(method, args), list[Operation]()
        await self.remote.execute([asked], self.clock.now_ns(), resolved)
        return asked.value


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("max_length", [None, 1, 4])
@pytest.mark.parametrize("seed", range(3))
async def test_the_script_answers_as_the_core_does(
    direct: Direct, seed: int, max_length: int | None
) -> None:
    dice = Dice(seed)
    options = MessageOptions(lock_time=LOCK_TIME / 1000, max_length=max_length)
    wire = MessageWire("message", lambda: options, "bytes")
    clock = Hand(BEGIN)
    link = DirectLink(direct, wire, clock, TINY, poll=1e9)
    core = MessageCore(lock_time=LOCK_TIME * MILLISECOND, max_length=max_length)
    local, remote = LocalEngine(core, Parked()), RedisEngine(wire, link, Parked())
    both = Both(local, remote, clock, int(link.poll * 1e9), core)

    for moment in range(400):
        batch = [dice.step() for _ in range(dice.randint(0, 4))]
        if moment == 350:
            batch.append(Step("close"))
        leaves = dice.recent() if dice.random() < 0.1 else None
        await both.play(dice.gap(), leaves, batch)
        if moment % 5 == 0:
            await both.look()

    assert core.statistics(clock.now_ns()).succeeded > 5  # it was not for nothing


async def test_a_dead_letter_that_is_brought_again_is_not_added_again(direct: Direct) -> None:
    wire = MessageWire("message", MessageOptions, "bytes")
    engine = RedisEngine(wire, DirectLink(direct, wire, Hand(BEGIN), {}), Parked())
    rest = (0, None, False, False, False)
    resolved: list[Operation] = []

    # The last one comes from a queue that was made anew, and counts from 1 again.
    for mid, number, letter in (("a", 1, b"x"), ("b", 1, b"x"), ("c", 2, b"x"), ("d", 1, b"y")):
        brought = TakeOver[Enqueued]("wait_enqueue", "q", number, (mid, letter, *rest))
        await engine.execute([brought], BEGIN, resolved)
    await engine.execute([Operation("length")], BEGIN, resolved)

    assert [operation.value for operation in resolved[:4]] == [
        Enqueued(True, mid, "added") for mid in "abcd"
    ]
    assert resolved[4].value == 3


async def test_no_message_is_younger_than_nothing_when_the_clock_is_set_back(
    direct: Direct,
) -> None:
    clock = Hand(BEGIN)
    wire = MessageWire("message", MessageOptions, "bytes")
    engine = RedisEngine(wire, DirectLink(direct, wire, clock, {}), Parked())
    resolved: list[Operation] = []
    message = ("a", b"x", 0, None, False, False, False)

    await engine.execute([Operation("enqueue", message)], clock.now, resolved)
    clock.now -= 3600 * 10**9
    asked = [Operation("content", ([1],)), Operation("claim")]
    await engine.execute(asked, clock.now, resolved)

    shown = cast("dict[str, MessageInfo]", asked[0].value)
    assert (shown["a"].age, cast("Claimed", asked[1].value).age) == (0, 0)
