"""The errors: what they say, whose they are, and that they survive pickling."""

from __future__ import annotations

import pickle

import pytest
import trio

from queueactors import (
    OptionsError,
    QueueActorsError,
    QueueClosedError,
    QueueNotFoundError,
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
    (ReservationExpiredError([5]), "reservation 5: its deadline has passed"),
    (
        ReservationNotFoundError([5, 6]),
        (
            "reservation 5, 6: there is none with this key "
            "(taken again, prolongated, released or deleted?)"
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


def test_a_closed_queue_is_a_closed_resource() -> None:
    assert isinstance(QueueClosedError("q"), trio.ClosedResourceError)


def test_both_ways_to_lose_a_reservation_are_one() -> None:
    assert issubclass(ReservationExpiredError, ReservationError)
    assert issubclass(ReservationNotFoundError, ReservationError)


def test_what_is_not_found_is_a_lookup_error() -> None:
    assert isinstance(QueueNotFoundError("x"), LookupError)


def test_a_mistaken_option_is_a_value_error() -> None:
    assert isinstance(OptionsError([]), ValueError)
