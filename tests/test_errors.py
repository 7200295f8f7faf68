"""The errors: what they say, whose they are, and that they survive pickling."""

from __future__ import annotations

import pickle

import pytest
import trio

from queueactors import (
    ClaimLostError,
    OptionsError,
    PositionError,
    QueueActorsError,
    QueueBusyError,
    QueueClosedError,
    QueueEndedError,
    QueueFullError,
    QueueNotFoundError,
    RefillError,
    ReservationError,
    ReservationExpiredError,
    ReservationNotFoundError,
    StoreError,
    WorkerNotFoundError,
)

ERRORS: list[tuple[QueueActorsError, str]] = [
    (
        QueueNotFoundError("mials", ["mails", "other"]),
        "there is no queue 'mials' (did you mean 'mails'?)",
    ),
    (QueueNotFoundError("x"), "there is no queue 'x'"),
    (WorkerNotFoundError("x"), "there is no worker 'x'"),
    (QueueClosedError("mails"), "queue 'mails' is closed"),
    (QueueEndedError("mails"), "channel 'mails' is closed, and nothing is left in it"),
    (
        QueueBusyError("mails"),
        "another task is receiving from channel 'mails'; it has one receiver",
    ),
    (
        QueueFullError("mails", 2, 1, 5),
        "queue 'mails' is full: 2 new values, room for 1 (max_length 5)",
    ),
    (
        QueueFullError("mails", 1, None, 5),
        "queue 'mails' is full: 1 new value, others wait for room (max_length 5)",
    ),
    (
        QueueFullError("mails", 6, 1, 5),
        (
            "queue 'mails' never has room for 6 new values: its max_length is 5; "
            "give it fewer at a time"
        ),
    ),
    (
        QueueFullError("mails", 2, 1, 5, "max_elements"),
        "queue 'mails' is full: 2 new values, room for 1 (max_elements 5)",
    ),
    (
        QueueFullError("mails", 6, 1, 5, "max_elements"),
        (
            "queue 'mails' never has room for 6 new values: its max_elements is 5; "
            "give it fewer at a time"
        ),
    ),
    (
        PositionError("events", "index", 3, 5, 9),
        "queue 'events': expected position of label 'index' to be from 5 to 9, got 3",
    ),
    (
        PositionError("events", "index", 3, None, 9),
        "queue 'events': there is no label 'index'; read with it first",
    ),
    (RefillError("mails", "KeyError: 1"), "the refill of queue 'mails' failed: KeyError: 1"),
    (ReservationExpiredError([5]), "reservation 5: its deadline has passed"),
    (
        ReservationNotFoundError([5, 6]),
        (
            "reservation 5, 6: there is none with this key "
            "(taken again, prolongated, released or deleted?)"
        ),
    ),
    (
        ClaimLostError("mails", 5),
        (
            "claim 5 on queue 'mails' is lost "
            "(its lock ended, or it was finished or removed); extend() a claim in time"
        ),
    ),
    (
        StoreError("disk", "not applied"),
        "store 'disk' failed; the operation's outcome: not applied",
    ),
    (OptionsError([("a", "a is bad"), ("b", "b is bad")]), "a is bad; b is bad"),
]
each = pytest.mark.parametrize(
    ("error", "text"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS]
)


@each
def test_an_error_says_what_is_wrong(error: QueueActorsError, text: str) -> None:
    assert str(error) == text


@each
def test_an_error_survives_pickling(error: QueueActorsError, text: str) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert type(copy) is type(error)
    assert str(copy) == text
    assert vars(copy) == vars(error)


def test_only_more_than_the_queue_may_hold_never_fits() -> None:
    assert not QueueFullError("q", 5, 0, 5).never_fits
    assert QueueFullError("q", 6, 0, 5).never_fits


def test_a_closed_queue_is_a_closed_resource() -> None:
    assert isinstance(QueueClosedError("q"), trio.ClosedResourceError)


def test_both_ways_to_lose_a_reservation_are_one() -> None:
    assert issubclass(ReservationExpiredError, ReservationError)
    assert issubclass(ReservationNotFoundError, ReservationError)


def test_what_is_not_found_is_a_lookup_error() -> None:
    assert isinstance(QueueNotFoundError("x"), LookupError)


def test_a_mistaken_option_is_a_value_error() -> None:
    assert isinstance(OptionsError([]), ValueError)
