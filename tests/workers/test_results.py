"""What a handler may answer."""

from __future__ import annotations

import pickle
from math import inf, nan
from typing import TYPE_CHECKING

import attrs
import pytest

from queueactors import Error, Retry, Snooze, Success

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueactors.workers._results import Result

TIMED = [
    pytest.param(Success, "backoff", id="success"),
    pytest.param(Retry, "backoff", id="retry"),
    pytest.param(Snooze, "seconds", id="snooze"),
]


@pytest.mark.parametrize(("make", "name"), TIMED)
@pytest.mark.parametrize("seconds", [0, 0.0, 1, 0.5, 1e8])
def test_a_duration_is_a_number_of_seconds(
    make: Callable[[object], Result], name: str, seconds: float
) -> None:
    assert getattr(make(seconds), name) == seconds


@pytest.mark.parametrize(("make", "name"), TIMED)
@pytest.mark.parametrize("seconds", [-1, -1e-9, nan, inf, -inf])
def test_a_duration_out_of_its_range_is_refused(
    make: Callable[[object], Result], name: str, seconds: float
) -> None:
    with pytest.raises(ValueError, match=rf"^expected {name} to be seconds >= 0, got {seconds}$"):
        make(seconds)


@pytest.mark.parametrize(("make", "name"), TIMED)
def test_a_duration_of_a_lifetime_is_refused(make: Callable[[object], Result], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^expected {name} to be seconds below 1e\+09, got "):
        make(1e9)


@pytest.mark.parametrize(("make", "name"), TIMED)
@pytest.mark.parametrize("seconds", ["5", b"5", True, [], 1j, ValueError("5")])
def test_what_is_no_number_is_no_duration(
    make: Callable[[object], Result], name: str, seconds: object
) -> None:
    with pytest.raises(TypeError, match=rf"^expected {name} to be seconds >= 0, got "):
        make(seconds)


def test_only_a_snooze_must_say_how_long() -> None:
    assert Success().backoff is None
    assert Retry().backoff is None
    with pytest.raises(TypeError):
        Snooze()  # type: ignore[call-arg] # on purpose
    with pytest.raises(TypeError, match="seconds"):
        Snooze(None)  # type: ignore[arg-type] # on purpose


@pytest.mark.parametrize("why", [None, "words", "", ValueError("x"), KeyboardInterrupt()])
def test_an_error_has_a_reason_or_none(why: BaseException | str | None) -> None:
    assert Error(why).exception is why


@pytest.mark.parametrize("why", [ValueError, 5, b"words", object()])
def test_anything_else_is_no_reason(why: object) -> None:
    with pytest.raises(
        TypeError, match=r"^expected exception to be an exception, a string or None, got "
    ):
        Error(why)  # type: ignore[arg-type] # on purpose


RESULTS = [Success(), Success(1.5), Retry(2), Error("words"), Snooze(3)]


@pytest.mark.parametrize("result", RESULTS, ids=repr)
def test_a_result_does_not_change(result: Result) -> None:
    for field in attrs.fields(type(result)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(result, field.name, None)


@pytest.mark.parametrize("result", RESULTS, ids=repr)
def test_a_result_equals_its_copy_and_no_other_kind(result: Result) -> None:
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301
    assert [other for other in RESULTS if other == result] == [result]
