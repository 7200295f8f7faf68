"""The checks of option values, the options of a timed queue, and a trap of a batch queue."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan

import pytest

from queueactors import BatchOptions, OptionsError, TimedOptions
from queueactors._options import EARLIEST, LATEST, LONGEST, instant, is_seconds, items, nanoseconds

NOW = 1_767_225_600 * 10**9  # in 2026


@pytest.mark.parametrize("value", [0.5, 1, 1e8, 5e-324])
def test_a_positive_number_is_a_duration(value: float) -> None:
    assert is_seconds(value, positive=True)


@pytest.mark.parametrize(
    "value", [-1, -0.001, nan, inf, -inf, LONGEST, 10**400, True, "1", None, b"1", 1j]
)
def test_anything_else_is_none(value: object) -> None:
    assert not is_seconds(value, positive=False)
    with pytest.raises(ValueError, match=r"^expected x to be seconds .*, got "):
        nanoseconds("x", value, positive=False)


def test_0_is_a_duration_only_where_it_may_be() -> None:
    assert is_seconds(0, positive=False)
    assert not is_seconds(0, positive=True)
    with pytest.raises(ValueError, match=r"^expected x to be seconds > 0, got 0$"):
        nanoseconds("x", 0)
    with pytest.raises(ValueError, match=r"^expected x to be seconds >= 0, got -1$"):
        nanoseconds("x", -1, positive=False)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(1, 10**9), (0.1, 10**8), (1.5e-9, 2), (1e-12, 1), (5e-324, 1)]
)
def test_a_positive_duration_is_at_least_a_nanosecond(seconds: float, expected: int) -> None:
    assert nanoseconds("x", seconds) == expected


def test_a_duration_of_0_is_0() -> None:
    assert nanoseconds("x", 0.0, positive=False) == 0


@pytest.mark.parametrize("bad", ["ab", b"ab", {"a": 1}, 5, None])
def test_a_list_of_values_is_a_list(bad: object) -> None:
    with pytest.raises(TypeError, match=r"^expected a list of values, got "):
        items(bad)  # type: ignore[arg-type] # on purpose


def test_any_iterable_will_do() -> None:
    assert items(iter([1, 2])) == (1, 2)


def function() -> list[object]:
    return []


def test_the_defaults_of_a_timed_queue() -> None:
    options = TimedOptions(reservation_time=30)

    assert options.dead_letter is None
    assert (options.unique, options.max_reservations, options.values) == (False, None, ())


@pytest.mark.parametrize(
    ("on_exhausted", "queue"), [("drop", None), ("bury", None), ("failed", "failed")]
)
def test_on_exhausted_names_a_queue_unless_it_is_a_word(
    on_exhausted: str, queue: str | None
) -> None:
    assert TimedOptions(reservation_time=1, on_exhausted=on_exhausted).dead_letter == queue


class Incomparable:
    def __hash__(self) -> int:
        raise NoHashError("no")


class NoHashError(Exception):
    """Any error."""


def test_a_queue_may_begin_full() -> None:
    assert TimedOptions(reservation_time=1, max_length=2, values=[1, 2]).max_length == 2


def test_values_that_cannot_be_compared_are_fine_where_they_need_not_be() -> None:
    assert TimedOptions(reservation_time=1, values=[Incomparable()]).values


# -- instants ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (EARLIEST, EARLIEST),
        (LATEST - 1, LATEST - 1),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1000),
        (
            datetime(2026, 1, 1, 1, 0, 0, 1, tzinfo=timezone(timedelta(hours=1))),
            1767225600000001000,
        ),
    ],
)
def test_an_instant_is_exact(given: object, expected: int) -> None:
    assert instant("at", given, now=NOW) == expected


@pytest.mark.parametrize("bad", [True, 1.5, "now", None, timedelta(1)])
def test_what_is_no_instant_is_refused(bad: object) -> None:
    rule = r"^expected at to be epoch nanoseconds or a datetime with a time zone, got "
    with pytest.raises(TypeError, match=rule):
        instant("at", bad, now=NOW)


def test_a_datetime_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected at to have a time zone, got datetime"):
        instant("at", datetime(2026, 1, 1), now=NOW)  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize("late", [LATEST, datetime(2263, 1, 1, tzinfo=UTC)])
def test_an_instant_must_fit_into_64_bits(late: object) -> None:
    with pytest.raises(ValueError, match=r"^expected at to be before the year 2262, got "):
        instant("at", late, now=NOW)


@pytest.mark.parametrize("seconds", [EARLIEST - 1, 1_767_225_600, 0, -5])
def test_an_int_that_was_plainly_meant_in_seconds_is_no_instant(seconds: int) -> None:
    rule = f"^expected at to be epoch nanoseconds, got {seconds}, which is before 2001; was it "
    with pytest.raises(ValueError, match=rule):
        instant("at", seconds, now=NOW)


def test_on_a_clock_that_begins_at_0_any_int_is_an_instant() -> None:
    assert instant("at", 5, now=EARLIEST - 1) == 5


BAD: list[tuple[dict[str, object], str]] = [
    ({"reservation_time": 0}, "expected reservation_time to be seconds > 0, got 0"),
    ({"reservation_time": nan}, "expected reservation_time to be seconds > 0, got nan"),
    ({"unique": 1}, "expected unique to be true or false, got 1"),
    ({"max_reservations": 0}, "expected max_reservations to be an int >= 1, got 0"),
    ({"max_reservations": True}, "expected max_reservations to be an int >= 1, got True"),
    ({"max_length": 0}, "expected max_length to be an int >= 1, got 0"),
    ({"max_length": "9", "values": [1]}, "expected max_length to be an int >= 1, got '9'"),
    (
        {"max_length": 1, "values": ["a", "b"]},
        "expected values to be at most 1 values (max_length), got ('a', 'b')",
    ),
    (
        {"unique": True, "values": [Incomparable()]},
        "expected values of a unique queue to be comparable, got a Incomparable: no",
    ),
    ({"on_exhausted": ""}, "expected on_exhausted to be a non-empty string, got ''"),
    ({"store": None}, "expected store to be a non-empty string, got None"),
    ({"mailbox": 0}, "expected mailbox to be an int >= 1, got 0"),
    ({"sync_fn": 5, "sync_interval": 1}, "expected sync_fn to be callable, got 5"),
    ({"sync_fn": function}, "sync_fn needs a sync_interval"),
    ({"sync_interval": 1}, "sync_interval needs a sync_fn"),
    ({"sync_args": [1]}, "sync_args needs a sync_fn"),
    ({"sync_timeout": 1}, "sync_timeout needs a sync_fn"),
    (
        {"sync_fn": function, "sync_interval": -1},
        "expected sync_interval to be seconds >= 0, got -1",
    ),
    (
        {"sync_fn": function, "sync_interval": 0, "sync_timeout": 0},
        "expected sync_timeout to be seconds > 0, got 0",
    ),
]


@pytest.mark.parametrize(("given", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_option_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(OptionsError) as caught:
        TimedOptions(**({"reservation_time": 1} | given))  # type: ignore[arg-type] # on purpose

    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError)


def test_every_fault_is_reported_at_once() -> None:
    with pytest.raises(OptionsError) as caught:
        TimedOptions(reservation_time=-1, max_reservations=0, store="", mailbox=-5)

    assert [option for option, _ in caught.value.faults] == [
        "reservation_time",
        "max_reservations",
        "store",
        "mailbox",
    ]
    assert pickle.loads(pickle.dumps(caught.value)).faults == caught.value.faults  # noqa: S301


def test_a_merging_buffer_that_is_flushed_at_each_item_is_a_trap() -> None:
    def traps(**options: object) -> list[tuple[str, str]]:
        made = BatchOptions(process=print, flush_timeout=1, **options)  # type: ignore[arg-type] # valid ones
        return made.traps

    merging = {"buffer": "merging", "merge_key": len, "merge": max}

    why = "each item is flushed alone, so nothing is merged before it is stored"
    assert traps(**merging) == [("flush_size", why)]
    assert not traps(**merging, flush_size=0)
    assert not traps()
