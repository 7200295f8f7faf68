"""What a session sends again, or too late, is not done again; and what scripts keep in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from queueactors import QueueClosedError, Reservation
from queueactors.engines import Parked
from queueactors.engines.redis import RedisEngine, TimedWire
from queueactors.queues._operations import TakeOver
from supervisors import Operation

from .redis_direct import Direct, DirectLink, Hand

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = 1_800_000_000 * 10**9
SESSION = b"{q}:session:here"


@attrs.define(eq=False)
class Session:
    """A runtime's way to a queue, whose batches are numbered by hand.

    Args:
      direct: Sends the commands.
    """

    direct: Direct
    limits: dict[str, object] = attrs.field(
        factory=lambda: {"unique": False, "on_exhausted": "drop"}
    )
    link: DirectLink = attrs.field(init=False)
    engine: RedisEngine = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.direct(b"FLUSHALL")
        wire = TimedWire("q", lambda: dict(self.limits), "bytes")
        self.link = DirectLink(self.direct, wire, Hand(BEGIN), {})
        self.engine = RedisEngine(wire, self.link, Parked())

    def ask(self, number: int, method: str, *args: object) -> object:
        """Send a batch of one operation under a number; return the answer."""
        return self.send(number, Operation(method, args))

    def send(self, number: int, operation: Operation) -> object:
        """Likewise."""
        self.link.calls = number - 1
        trio.run(self.engine.execute, [operation], BEGIN, [])
        if operation.error is not None:
            raise operation.error
        return operation.value


@pytest.fixture
def session(valkey: str) -> Iterator[Session]:
    direct = Direct(valkey)
    yield Session(direct)
    direct.close()


def test_a_batch_that_is_sent_again_is_answered_as_before(session: Session) -> None:
    first = session.ask(1, "insert", [b"a", b"b"], 0, 0)

    again = session.ask(1, "insert", [b"a", b"b"], 0, 0)

    assert (first, again) == (2, 2)
    assert session.ask(2, "length") == 2


def test_a_batch_that_comes_after_a_later_one_changes_nothing(session: Session) -> None:
    session.ask(2, "insert", [b"a"], 0, 0)

    with pytest.raises(RuntimeError, match=r"^OVERTAKEN "):
        session.ask(1, "insert", [b"late"], 0, 0)

    assert session.ask(3, "length") == 1


def test_a_session_is_forgotten_in_the_end(session: Session) -> None:
    session.ask(1, "insert", [b"a"], 0, 0)

    left = session.direct(b"PTTL", SESSION)

    assert isinstance(left, int)
    assert 0 < left <= 3_600_000


def test_a_session_is_remembered_for_half_its_time_after_each_batch(session: Session) -> None:
    session.ask(1, "insert", [b"a"], 0, 0)
    session.direct(b"PEXPIRE", SESSION, b"1900000")  # as if half an hour had gone by
    session.link.clock.now += 1700 * 10**9
    session.ask(3, "insert", [b"b"], 0, 0)
    left = session.direct(b"PTTL", SESSION)

    session.link.clock.now += 200 * 10**9
    session.ask(5, "insert", [b"c"], 0, 0)

    assert isinstance(left, int)
    assert left <= 1_900_000  # it is not renewed each time
    renewed = session.direct(b"PTTL", SESSION)
    assert isinstance(renewed, int)
    assert renewed > 3_500_000


def test_a_session_is_remembered_for_its_time_when_the_clock_is_set_back(session: Session) -> None:
    session.ask(1, "insert", [b"a"], 0, 0)
    session.direct(b"PEXPIRE", SESSION, b"1000")
    session.link.clock.now -= 10**9
    session.ask(3, "insert", [b"b"], 0, 0)

    renewed = session.direct(b"PTTL", SESSION)

    assert isinstance(renewed, int)
    assert renewed > 3_500_000


def test_a_dead_letter_that_is_brought_again_is_not_added_again(session: Session) -> None:
    letters = ((1, b"x"), (1, b"x"), (2, b"x"), (1, b"y"))  # the last one is of a queue made anew

    answers = [
        session.send(number, TakeOver[int]("wait_insert", "q", letter, ([body], 0, 0)))
        for number, (letter, body) in enumerate(letters, 1)
    ]

    assert answers == [1, 1, 1, 1]
    assert session.ask(9, "length") == 3


def test_of_letters_taken_over_long_ago_none_is_remembered(session: Session) -> None:
    for number in (1, 2):
        session.send(number, TakeOver[int]("wait_insert", "q", number, ([b"x"], 0, 0)))
        session.link.clock.now += 8 * 86400 * 10**9

    assert session.direct(b"ZCARD", b"{q}:taken_over") == 1


def test_a_refill_that_has_begun_may_be_begun_again_by_its_own_runtime(session: Session) -> None:
    session.limits["sync_interval"] = 1_000_000
    session.ask(1, "reserve", 10**9)

    answers = [session.ask(number, "begin_refill") for number in (2, 3)]

    assert answers == [True, True]


def test_a_value_that_was_finished_where_the_queue_is_not_unique_goes_in_again(
    session: Session,
) -> None:
    session.limits["unique"] = True
    session.ask(1, "insert", [b"a"], 0, 0)
    session.limits["unique"] = False
    taken = session.ask(2, "reserve", 10**9)
    assert isinstance(taken, Reservation)
    session.ask(3, "delete", [taken.key])
    session.limits["unique"] = True

    again = [session.ask(number, "insert", [b"a"], 0, 0) for number in (4, 5)]

    assert again == [1, 0]


def test_a_queue_that_drains_takes_nothing_in(session: Session) -> None:
    session.engine.drain(True)

    with pytest.raises(QueueClosedError):
        session.ask(1, "insert", [b"a"], 0, 0)

    assert session.ask(2, "length") == 0


def test_messages_come_back_in_the_order_in_which_they_ran_out(session: Session) -> None:
    session.ask(1, "insert", [b"a", b"b"], 0, 0)
    session.ask(2, "reserve", 5 * 10**9)
    session.ask(3, "reserve", 3 * 10**9)
    session.link.clock.now += 10 * 10**9

    taken = [session.ask(number, "reserve", 10**9) for number in (4, 5)]

    assert [each.value for each in taken if isinstance(each, Reservation)] == [b"b", b"a"]


def test_a_letter_that_is_buried_and_removed_leaves_its_value_to_who_has_it(
    session: Session,
) -> None:
    session.limits |= {"unique": True, "max_reservations": 1, "on_exhausted": "dead"}
    session.ask(1, "insert", [b"a"], 0, 0)
    dead = session.ask(2, "reserve", 10**9)
    assert isinstance(dead, Reservation)
    session.ask(3, "release", dead.key, 0, None, None)
    session.ask(4, "insert", [b"a"], 0, 0)

    session.ask(5, "bury_dead", dead.id)
    session.ask(6, "remove", [dead.id])

    assert session.ask(7, "insert", [b"a"], 0, 0) == 0
