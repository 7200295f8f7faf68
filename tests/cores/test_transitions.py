"""The table of transitions says what the timed core does: no more, and no less."""

from __future__ import annotations

from collections import Counter
from copy import copy
from functools import cache
from random import Random
from typing import TYPE_CHECKING, cast, get_args

import msgspec
import pytest

from queueactors import QueueActorsError, ReservationError
from queueactors.cores._transitions import TRANSITIONS, Case, Cause, Transition
from queueactors.cores.timed import TimedCore, TimedRecords

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueactors.cores._timed_values import Message, State

    Messages = dict[int, Message]

HISTORIES = 60
STEPS = 120
TIME: dict[State | None, Cause] = {None: "values", "reserved": "expiry", "delayed": "end of delay"}
EXHAUSTED: dict[str, Case] = {"drop": "drop", "bury": "bury", "other": "dead letter"}


class History:
    """Plays random operations on a core, and notes the steps that its messages take.

    Args:
      seed: Of the dice; it decides about the queue's options, too.
    """

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.limit = self.dice.choice((None, 1, 2))
        self.on_exhausted = self.dice.choice(("drop", "bury", "other"))
        self.core = TimedCore(
            unique=self.dice.random() < 0.3,
            max_reservations=self.limit,
            on_exhausted=self.on_exhausted,
            max_length=self.dice.choice((None, 6)),
            records=TimedRecords(initial=("first",)),
        )
        self.now = 1
        self.keys = [0]
        self.steps: Counter[Transition] = Counter()
        self.refused: Counter[str] = Counter()
        self.changed_in_vain: list[str] = []

    def play(self) -> None:
        """Let some time pass, then carry out an operation."""
        self.now += self.dice.choice((0, 0, 1, 5))
        before = self.messages()
        self.core.advance(self.now)
        self.note(None, before)
        name = self.dice.choices(list(OPERATIONS), [weight for weight, _ in OPERATIONS.values()])[0]
        arguments = OPERATIONS[name][1](self)
        before = self.messages()
        try:
            getattr(self.core, name)(self.now, *arguments)
        except QueueActorsError as error:
            self.refused[name] += 1
            stale = error.keys if isinstance(error, ReservationError) else ()
            if any(
                name != "delete" or (old is not None and old.key in stale)
                for old, _ in changed(before, self.messages())
            ):
                self.changed_in_vain.append(name)
        self.note(name, before, *arguments)
        self.keys += sorted({each.key for each in self.messages().values()} - {*self.keys})

    def note(self, name: str | None, before: Messages, *arguments: object) -> None:
        """Note the steps that an operation made; None: that the passing of time did."""
        for old, new in changed(before, self.messages()):
            here, there = state(old), state(new)
            if here == there and old and new and old.key == new.key:
                continue  # the error or the priority of a message, say
            cause = TIME[here] if name is None else cast("Cause", name)
            case = self.case(cause, old, *arguments)
            self.steps[Transition(cause, here, there, case)] += 1

    def case(self, cause: Cause, old: Message | None, *arguments: object) -> Case:
        """Return in which case of its cause a message took a step."""
        last = old is not None and self.limit is not None and old.attempt >= self.limit
        match cause:
            case "fail" | "release" | "expiry" if last or cause == "fail":
                return EXHAUSTED[self.on_exhausted]
            case "insert" | "insert_nowait" | "wait_insert" if (
                arguments[1] or arguments[3] == self.now + 1
            ):
                return "delay"
            case "release" | "snooze" if arguments[1]:
                return "delay"
            case "delete" if state(old) == "ready" and arguments[1]:
                return "expired_ok"
            case "remove" if state(old) == "dead":
                return "delivered"
        return ""

    def messages(self) -> Messages:
        """Return a copy of all records."""
        return {each: copy(message) for each, message in self.core.records.messages.items()}

    def values(self) -> list[object]:
        """Return a few values, some of them again and again."""
        return [self.dice.randrange(9) for _ in range(self.dice.randrange(4))]

    def ids(self) -> list[int]:
        """Return a few ids, of messages that are there or not."""
        return [self.dice.randint(0, self.core.records.next_id) for _ in range(3)]

    def insertion(self) -> tuple[object, ...]:
        """Return the arguments of an insert: with a delay, an instant, or neither."""
        at = self.now + self.dice.choice((-1, 0, 1))
        return (self.values(), *self.dice.choice(((0, 0, 0), (3, 0, 0), (0, 0, at))))

    def dead(self) -> int:
        """Return the id of a message that is on its way to another queue, if there is one."""
        return next((each.id for each in self.core.dead_letters(self.now)), 0)

    def delay(self) -> int:
        """Return a delay, often none."""
        return self.dice.choice((0, 0, 3))

    def key(self) -> int:
        """Return a key: mostly that of a reservation, live or expired; else an old one."""
        there = [each.key for each in self.messages().values() if each.key]
        return self.dice.choice(there if there and self.dice.random() < 0.8 else self.keys)

    def two_keys(self) -> list[int]:
        """Return one key or two."""
        return [*{self.key(), self.key()}]

    def duration(self) -> int:
        """Return how long a reservation lasts."""
        return self.dice.choice((1, 5, 20))


def changed(before: Messages, after: Messages) -> list[tuple[Message | None, Message | None]]:
    """Return what was changed, came or went: before and after."""
    both = ((before.get(each), after.get(each)) for each in {**before, **after})
    return [(old, new) for old, new in both if fields(old) != fields(new)]


def state(message: Message | None) -> State | None:
    return None if message is None else message.state


def fields(message: Message | None) -> object:
    return None if message is None else msgspec.structs.astuple(message)


# How often each comes, compared with the others; and its arguments.
OPERATIONS: dict[str, tuple[float, Callable[[History], tuple[object, ...]]]] = {
    "insert": (6, History.insertion),
    "insert_nowait": (1, History.insertion),
    "wait_insert": (4, History.insertion),
    "reserve": (9, lambda h: (h.duration(),)),
    "reserve_many": (4, lambda h: (h.dice.randint(1, 3), h.duration())),
    "prolongate": (3, lambda h: (h.key(), h.duration())),
    "touch": (3, lambda h: (h.key(), h.duration())),
    "release": (6, lambda h: (h.key(), h.delay(), None, h.dice.choice((None, "bad")))),
    "snooze": (2, lambda h: (h.key(), h.delay())),
    "fail": (2, lambda h: (h.key(), h.dice.choice((None, "bad")))),
    "delete": (4, lambda h: (h.two_keys(), h.dice.random() < 0.5)),
    "bury": (3, lambda h: (h.key(), "bad")),
    "kick": (2, lambda h: (h.dice.randint(1, 3),)),
    "remove": (2, lambda h: (h.ids(),)),
    "bury_dead": (2, lambda h: (h.dead(),)),
    "refilled": (1, lambda h: (h.dice.choice((None, h.values())),)),
    "clear": (0.5, lambda _: ()),
    "close": (0.1, lambda _: ()),
    "pause": (0.2, lambda _: (3,)),
    "resume": (0.2, lambda _: ()),
    "peek": (0.2, lambda _: ()),
    "length": (0.2, lambda _: ()),
    "size": (0.2, lambda _: ()),
    "statistics": (0.2, lambda _: ()),
    "dead_letters": (0.2, lambda _: ()),
    "sync": (0.2, lambda _: ()),
    "begin_refill": (0.2, lambda _: ()),
    "refill_lost": (0.2, lambda _: ()),
}


@cache
def histories() -> tuple[History, ...]:
    played = tuple(History(seed) for seed in range(HISTORIES))
    for history in played:
        for _ in range(STEPS):
            history.play()
    return played


def test_every_operation_of_the_core_is_played() -> None:
    assert sorted(OPERATIONS) == sorted(TimedCore.operations)


@pytest.mark.slow
def test_every_step_that_a_message_takes_is_in_the_table() -> None:
    steps = {step for history in histories() for step in history.steps}

    assert steps - {*TRANSITIONS} == set()


@pytest.mark.slow
@pytest.mark.parametrize("transition", TRANSITIONS, ids=str)
def test_every_row_of_the_table_happens(transition: Transition) -> None:
    assert any(transition in history.steps for history in histories())


@pytest.mark.slow
def test_a_refused_operation_changes_no_message_that_it_was_refused_for() -> None:
    refused = sum((history.refused for history in histories()), Counter[str]())

    assert {"prolongate", "touch", "release", "bury", "delete", "insert"} <= {*refused}
    assert [history.changed_in_vain for history in histories()] == [[]] * HISTORIES


def test_a_cause_has_one_effect_in_each_case() -> None:
    cases = [(each.cause, each.before, each.case) for each in TRANSITIONS]

    assert len({*cases}) == len(cases)


def test_every_cause_and_case_is_in_the_table() -> None:
    assert {each.cause for each in TRANSITIONS} == {*get_args(Cause)}
    assert {each.case for each in TRANSITIONS} == {*get_args(Case)}
