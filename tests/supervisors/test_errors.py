"""Errors: their messages, their facts, and pickling."""
# ruff: noqa: N818, TRY301 - throw-away errors

from __future__ import annotations

import pickle
import signal
from typing import NoReturn

import pytest
import trio

import supervisors
from supervisors import (
    ActorCrashedError,
    ActorDownError,
    ChildAlreadyPresentError,
    ChildAlreadyStartedError,
    ChildError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    ChildSpecError,
    ChildStartError,
    MaxChildrenError,
    NameTakenError,
    NotRegisteredError,
    RestartIntensityError,
    Shutdown,
    SupervisorsError,
    SupervisorStoppedError,
    bare_nursery,
    describe,
    did_you_mean,
)
from supervisors._exceptions import fatal, release_frames, without_cancelled

from .kit import Boom

ERRORS = [
    ActorCrashedError("a"),
    ActorDownError("a", "parked"),
    ChildAlreadyPresentError("root", "a"),
    ChildAlreadyStartedError("root", "a"),
    ChildNotFoundError("root", "a", ("b", "aa")),
    ChildRestartingError("root", "a"),
    ChildRunningError("root", "a"),
    ChildSpecError(["one", "two"]),
    ChildStartError("root", "a"),
    MaxChildrenError("root", 3),
    NameTakenError("x", "root/a"),
    NotRegisteredError("x", ("xx", "y")),
    RestartIntensityError("root", "a", (ValueError("x"),)),
    Shutdown({"why": 1}),
    Shutdown(),
    SupervisorStoppedError("root"),
    SupervisorStoppedError("root", signal.SIGTERM),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert {name: repr(value) for name, value in vars(again).items()} == {
        name: repr(value) for name, value in vars(error).items()
    }


def test_every_error_is_among_those() -> None:
    abstract = {SupervisorsError, ChildError, supervisors.ActorError}
    public = {
        each
        for each in map(supervisors.__dict__.get, supervisors.__all__)
        if isinstance(each, type) and issubclass(each, BaseException)
    }

    assert public - abstract == {type(error) for error in ERRORS}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_but_shutdown_has_the_root(error: Exception) -> None:
    assert isinstance(error, SupervisorsError) == (not isinstance(error, Shutdown))


def test_did_you_mean() -> None:
    assert did_you_mean("emial", ["email", "sms"]) == " (did you mean 'email'?)"
    assert did_you_mean("fax", ["email", "sms"]) == ""


class _Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Boom("x"), "Boom: x"),
        (Boom(), "Boom"),
        (ExceptionGroup("g", [Boom("x"), ExceptionGroup("h", [KeyError("y")])]),
         "Boom: x; KeyError: 'y'"),
        (_Mute(), "_Mute: (its message cannot be shown)"),
    ],
)  # fmt: skip
def test_describe(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_a_fatal_error_is_found_in_a_group() -> None:
    ending = SystemExit(3)

    assert fatal(BaseExceptionGroup("", [Boom(), BaseExceptionGroup("", [ending])])) is ending
    assert fatal(Boom()) is None
    assert fatal(_cancelled()) is None


def _cancelled() -> BaseException:
    found: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                found.append(error)
                raise

    trio.run(main)
    return found[0]


def test_cancellations_are_no_errors() -> None:
    cancelled, boom = _cancelled(), Boom()

    assert without_cancelled(cancelled) is None
    assert without_cancelled(boom) is boom
    assert without_cancelled(BaseExceptionGroup("", [cancelled])) is None
    rest = without_cancelled(BaseExceptionGroup("", [cancelled, boom]))
    assert isinstance(rest, ExceptionGroup)
    assert rest.exceptions == (boom,)


async def test_a_nursery_that_is_cancelled_raises_no_group() -> None:
    raised: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            async with bare_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
        except BaseException as error:
            raised.append(error)
            raise

    assert [type(error) for error in raised] == [trio.Cancelled]


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001
        return caught


def test_released_frames_stay_readable_as_a_note() -> None:
    error = _raised(Boom())
    error.add_note("mine")

    release_frames(error)

    assert error.__traceback__ is None
    assert error.__notes__[0] == "mine"
    assert "in _raised" in error.__notes__[1]


def test_releasing_twice_keeps_one_note() -> None:
    error = _raised(Boom())
    release_frames(error)
    _raised(error)

    release_frames(error)

    assert len(error.__notes__) == 1


def test_frames_are_released_in_groups_causes_and_contexts() -> None:
    cause, context, member = _raised(Boom(1)), _raised(Boom(2)), _raised(Boom(3))
    error = _raised(ExceptionGroup("", [member]))
    error.__cause__, member.__context__ = cause, context
    context.__context__ = error  # a cycle

    release_frames(error)

    assert [each.__traceback__ for each in (error, cause, context, member)] == [None] * 4


def test_an_exception_that_refuses_assignment_is_released_too() -> None:
    class Frozen(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    error = _raised(Frozen())

    release_frames(error)

    assert error.__traceback__ is None


def test_no_near_word_is_looked_for_if_there_can_be_none() -> None:
    class Unread(str):
        __slots__ = ()

        def __iter__(self) -> NoReturn:  # as difflib does, for a second each million
            raise AssertionError

    assert did_you_mean(Unread("x" * 10_000_000), ["x", "y"]) == ""
