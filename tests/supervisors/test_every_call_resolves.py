"""Every call resolves: whatever happens to the actor, its supervisor and the caller.

Random schedules of calls, crashes, stops, restarts and cancellations; a call that nobody
answers would wait until `_PATIENCE` ends, which no schedule lasts for.
"""
# ruff: noqa: ARG002, C901, PT017 - handlers; one table of actions; an assertion in passing

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from random import Random

import attrs
import pytest
import trio

from supervisors import (
    Actor,
    ActorCrashedError,
    ActorDownError,
    ActorRef,
    Backoff,
    ChildSpec,
    LaterReply,
    PendingReply,
    RestartIntensityError,
    Shutdown,
    Supervisor,
    SupervisorsError,
    child_spec,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom

_PATIENCE = 1e5  # virtual seconds; no handler and no backoff takes more than 20
_PACES = [NO_BACKOFF, Backoff(min=1, max=5, jitter=0.5)]
_MESSAGES = [
    "answer", "answer", "slow", "crash", "slow crash", "group crash", "later", "later elsewhere",
    "later, then crash", "dropped", "shutdown", "raise Shutdown in a group", "call itself",
    "return",
]  # fmt: skip

OUTCOMES = [
    "answered", "crashed", "cancelled", "stopped", "parked", "gone",
    "submitted and answered", "submitted and failed",
]  # fmt: skip


@attrs.frozen
class Message:
    """What to do, and a number to answer with."""

    what: str
    number: int


@attrs.define(eq=False)
class World:
    """Everything that a schedule shares."""

    random: Random
    nursery: trio.Nursery
    outcomes: Counter[str] = attrs.field(factory=Counter)
    calls: int = 0
    ended: int = 0
    supervisors: dict[str, Supervisor] = attrs.field(factory=dict)
    refs: dict[str, ActorRef] = attrs.field(factory=dict)
    submitted: list[tuple[Message, PendingReply[object]]] = attrs.field(factory=list)


class Moody(Actor):
    """Does what the message says; its start and its end may fail, too."""

    async def init(self, *args: object) -> None:
        self.world: World = args[0]  # type: ignore[assignment]
        self.id = str(args[1])
        if self.id in self.world.refs:  # else the first start: it must not fail
            await trio.sleep(self.world.random.choice([0, 0, 0, 1]))
            if self.world.random.random() < 0.15:
                raise Boom("init")

    async def handle_call(self, message: object) -> object:
        assert isinstance(message, Message)
        match message.what:
            case "slow":
                await trio.sleep(self.world.random.choice([0.5, 3]))
            case "crash":
                raise Boom
            case "slow crash":
                await trio.sleep(1)
                raise Boom
            case "group crash":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep, 2)
                    nursery.start_soon(self.handle_cast, message)
            case "later":
                self.answer_later(message)
                return "ignored"
            case "later elsewhere":
                self.world.nursery.start_soon(_answer, self.reply_later(), message.number, 2)
            case "later, then crash":
                self.answer_later(message)
                raise Boom
            case "dropped":
                self.reply_later()
            case "shutdown":
                raise Shutdown
            case "raise Shutdown in a group":
                raise ExceptionGroup("", [Shutdown(), Shutdown()])
            case "call itself":
                with pytest.raises(RuntimeError, match="calls itself"):
                    await self.world.refs[self.id].call(message)
        return message.number

    def answer_later(self, message: Message) -> None:
        seconds = self.world.random.choice([0, 1, 4])
        self.world.nursery.start_soon(_answer, self.reply_later(), message.number, seconds)

    async def handle_cast(self, message: object) -> None:
        raise Boom

    async def terminate(self, reason: BaseException | None) -> None:
        await trio.sleep(self.world.random.choice([0, 0, 1, 20]))
        if self.world.random.random() < 0.1:
            raise Boom("terminate")


async def _answer(reply: LaterReply, number: int, seconds: float) -> None:
    await trio.sleep(seconds)
    reply.send(number)


async def _call(world: World, reference: ActorRef, message: Message, patience: float) -> None:
    """Make a call that may be cancelled, and note how it ended."""
    outcome = "cancelled"
    with trio.move_on_after(patience):
        try:
            assert await reference.call(message) == message.number
            outcome = "answered"
        except ActorCrashedError as error:
            assert "crash" in message.what
            assert isinstance(error.__cause__, Boom | ExceptionGroup)
            outcome = "crashed"
        except ActorDownError as error:
            outcome = error.reason
    world.outcomes[outcome] += 1
    world.ended += 1


async def _operate(world: World, step: str, id: str) -> None:
    """Do an operator's act, whatever it answers; it must end, too."""
    low = world.supervisors["low"]
    top = world.supervisors["top"]
    world.calls += 1
    with suppress(SupervisorsError):
        match step:
            case "terminate":
                await low.terminate_child(id)
            case "restart":
                await low.restart_child(id)
            case "terminate low":
                await top.terminate_child("low")
            case "restart low":
                await top.restart_child("low")
            case "kill low":
                low.kill()
    below = top.value_of("low")
    if isinstance(below, Supervisor):
        world.supervisors["low"] = below
    world.ended += 1


def _specs(world: World) -> list[ChildSpec]:
    random = world.random
    return [
        Moody.child_spec(
            id,
            world,
            id,
            mailbox=random.choice([1, 3, 1024]),
            restart=random.choice(["permanent", "permanent", "transient", "temporary"]),
            shutdown=random.choice([0.5, 5, "brutal", "infinity"]),
            backoff=random.choice(_PACES),
            on_give_up=random.choice(["escalate", "park"]),
        )
        for id in "abc"  # noqa: A001
    ]


async def _schedule(world: World, end_by: str) -> None:
    random, top = world.random, world.supervisors["top"]
    low = world.supervisors["low"]
    for id in "abc":  # noqa: A001
        reference = low.value_of(id)
        assert isinstance(reference, ActorRef)
        world.refs[id] = reference
    for number in range(100):
        id = random.choice("abc")  # noqa: A001
        message = Message(random.choice(_MESSAGES), number)
        step = random.choice(
            ["call"] * 12 + ["submit"] * 4 + ["cast"] + ["sleep"] * 8
            + ["terminate"] * 2 + ["restart"] * 5 + ["restart low"] * 3
            + random.choice([[], ["terminate low"], ["kill low"]])
        )  # fmt: skip
        match step:
            case "call":
                world.calls += 1
                patience = random.choice([0, 0.5, 1, 3, _PATIENCE, _PATIENCE, _PATIENCE])
                world.nursery.start_soon(_call, world, world.refs[id], message, patience)
            case "submit":
                with suppress(trio.WouldBlock, ActorDownError):
                    world.submitted.append((message, world.refs[id].submit(message)))
            case "cast":
                with suppress(trio.WouldBlock, ActorDownError):
                    world.refs[id].cast(message)
            case "sleep":
                await trio.sleep(random.choice([0, 0, 0.25, 1, 5]))
            case _:
                world.nursery.start_soon(_operate, world, step, id)
        if random.random() < 0.3:
            await trio.lowlevel.checkpoint()
    match end_by:
        case "stop":
            top.stop()
        case "kill":
            top.kill()
        case "error":
            raise Boom("the body")
        case _:
            pass


async def play(seed: int) -> Counter[str]:
    """Play one schedule; return how its calls ended."""
    random = Random(seed)
    end_by = random.choice(["end", "stop", "kill", "error"])
    with trio.fail_after(_PATIENCE * 0.9):
        async with trio.open_nursery() as nursery:
            world = World(random, nursery)
            low = child_spec(
                "low",
                _specs(world),
                strategy=random.choice(["one_for_one", "one_for_all", "rest_for_one"]),
                intensity=random.choice([2, 999, 999]),
                shutdown=random.choice([1, "infinity"]),
            )
            try:
                async with open_supervisor([low], intensity=random.choice([0, 99])) as top:
                    below = top.value_of("low")
                    assert isinstance(below, Supervisor)
                    world.supervisors |= {"top": top, "low": below}
                    await _schedule(world, end_by)
            except* (RestartIntensityError, Boom):  # or both at once
                top.kill()  # it has ended
    assert world.ended == world.calls
    for message, reply in world.submitted:
        assert reply.is_ready, message
        try:
            assert reply.get_nowait() == message.number
        except (ActorCrashedError, ActorDownError):
            world.outcomes["submitted and failed"] += 1
        else:
            world.outcomes["submitted and answered"] += 1
    return world.outcomes


@pytest.mark.parametrize("chunk", range(5))
async def test_every_call_of_a_random_schedule_resolves(
    chunk: int, autojump_clock: trio.testing.MockClock
) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(chunk * 50, chunk * 50 + 50):
        outcomes += await play(seed)

    assert outcomes.keys() <= set(OUTCOMES)
    assert all(outcomes[each] > 20 for each in OUTCOMES if each != "parked")
