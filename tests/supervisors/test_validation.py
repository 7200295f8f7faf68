"""Section B of the conformance list: validation."""

from __future__ import annotations

from itertools import product
from math import inf, nan
from typing import get_args

import pytest

from supervisors import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildSpecError,
    ChildType,
    Mailbox,
    OnGiveUp,
    RestartType,
    ShutdownTime,
    Strategy,
    SupervisorFlags,
    check_childspecs,
    child_spec,
    open_supervisor,
)

from .kit import Stage, idle

BAD_FIELDS = [
    ("id", 0, "expected id to be a non-empty string, got 0"),
    ("id", "", "expected id to be a non-empty string, got ''"),
    ("start", None, "expected start to be an async function, got None"),
    ("args", [1], r"expected args to be a tuple, got \[1\]"),
    ("restart", "always", "expected restart to be one of permanent, transient, temporary, got"),
    ("shutdown", -10, "expected shutdown to be seconds >= 0, 'brutal', 'infinity' or None, got"),
    ("shutdown", nan, "expected shutdown to be seconds"),
    ("shutdown", inf, "expected shutdown to be seconds"),
    ("shutdown", True, "expected shutdown to be seconds"),
    ("shutdown", "now", "expected shutdown to be seconds"),
    ("type", "task", "expected type to be one of worker, supervisor, got 'task'"),
    ("significant", 1, "expected significant to be a bool, got 1"),
    ("init_timeout", 0, "expected init_timeout to be seconds > 0 or None, got 0"),
    ("backoff", 1.0, "expected backoff to be a Backoff, got 1.0"),
    ("on_give_up", "stay", "expected on_give_up to be one of escalate, park, got 'stay'"),
]


@pytest.mark.parametrize(("field", "value", "message"), BAD_FIELDS)
def test_a_bad_value_in_a_child_spec_is_refused(
    field: str, value: object, message: str
) -> None:  # B 21
    fields: dict[str, object] = {"id": "a", "start": idle, field: value}

    with pytest.raises(ChildSpecError, match=message):
        ChildSpec(**fields)  # type: ignore[arg-type]


def test_an_unknown_key_is_refused() -> None:  # A 15: a departure, OTP ignores it
    with pytest.raises(TypeError, match="modules"):
        ChildSpec(id="a", start=idle, modules=[])  # type: ignore[call-arg]


def test_a_missing_key_is_refused() -> None:  # A 15
    with pytest.raises(TypeError, match="start"):
        ChildSpec(id="a")  # type: ignore[call-arg]


def test_all_faults_of_a_spec_are_reported_at_once() -> None:
    with pytest.raises(ChildSpecError) as caught:
        ChildSpec(id="a", start=idle, restart="x", shutdown=-1)  # type: ignore[arg-type]

    assert len(caught.value.faults) == 2


SHUTDOWNS: list[ShutdownTime | None] = [None, 0, 0.5, 10, "brutal", "infinity"]


def test_every_combination_of_valid_values_is_accepted() -> None:  # B 22
    choices = product(
        get_args(RestartType),
        SHUTDOWNS,
        get_args(ChildType),
        (True, False),
        get_args(OnGiveUp),
    )
    specs = [
        ChildSpec(
            id=str(number),
            start=idle,
            restart=restart,
            shutdown=shutdown,
            type=type_,
            significant=significant,
            on_give_up=on_give_up,
        )
        for number, (restart, shutdown, type_, significant, on_give_up) in enumerate(choices)
        if not (significant and restart == "permanent")
    ]

    check_childspecs(specs, auto_shutdown="any_significant")

    assert len(specs) == 5 * 6 * 2 * 2


def test_duplicate_ids_are_refused() -> None:  # B 23
    with pytest.raises(ChildSpecError, match=r"^child 'a': the id is used twice$"):
        check_childspecs([ChildSpec(id="a", start=idle), ChildSpec(id="a", start=idle)])


def test_what_is_no_child_spec_is_refused() -> None:  # A 15, B 24
    with pytest.raises(ChildSpecError, match="expected each child to be a ChildSpec, got 'a'"):
        check_childspecs(["a"])  # type: ignore[list-item]


def test_what_is_no_list_is_refused() -> None:  # B 24
    with pytest.raises(TypeError):
        check_childspecs(1)  # type: ignore[arg-type]


async def test_a_spec_that_is_alone_is_refused(stage: Stage) -> None:
    message = r"^expected a list of child specs, got 'a' alone$"

    with pytest.raises(ChildSpecError, match=message):
        check_childspecs(stage.spec("a"))  # type: ignore[arg-type]
    with pytest.raises(ChildSpecError, match=message):
        async with open_supervisor(stage.spec("a")):  # type: ignore[arg-type]
            pass
    with pytest.raises(ChildSpecError, match=message):
        child_spec("low", stage.spec("a"))  # type: ignore[arg-type]


def test_a_permanent_significant_child_is_refused() -> None:  # B 25
    with pytest.raises(ChildSpecError, match="a permanent child cannot be significant"):
        ChildSpec(id="a", start=idle, significant=True)


async def test_a_significant_child_without_auto_shutdown_is_refused() -> None:  # B 25
    spec = ChildSpec(id="a", start=idle, significant=True, restart="transient")

    with pytest.raises(ChildSpecError, match="significant but auto_shutdown is 'never'"):
        async with open_supervisor([spec]):
            pytest.fail("the body must not run")


async def test_start_child_checks_significance_too() -> None:  # B 25
    spec = ChildSpec(id="a", start=idle, significant=True, restart="transient")
    async with open_supervisor() as supervisor:
        with pytest.raises(ChildSpecError, match="significant"):
            await supervisor.start_child(spec)

        assert supervisor.which_children() == ()


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("strategy", "simple_one_for_one", "expected strategy to be one of one_for_one"),
        ("intensity", -1, "expected intensity to be an int >= 0, got -1"),
        ("intensity", inf, "expected intensity to be an int >= 0, got inf"),
        ("intensity", True, "expected intensity to be an int >= 0, got True"),
        ("period", 0, "expected period to be seconds > 0, got 0"),
        ("period", inf, "expected period to be seconds > 0, got inf"),
        ("period", nan, "expected period to be seconds > 0, got nan"),
        ("auto_shutdown", "always", "expected auto_shutdown to be one of never"),
    ],
)
async def test_a_bad_flag_is_refused(flag: str, value: object, message: str) -> None:  # B 27
    flags: dict[str, object] = {flag: value}

    with pytest.raises(ChildSpecError, match=message):
        SupervisorFlags(**flags)  # type: ignore[arg-type]
    with pytest.raises(ChildSpecError, match=message):
        child_spec("a", [], **flags)  # type: ignore[arg-type]
    with pytest.raises(ChildSpecError, match=message):
        async with open_supervisor(**flags):  # type: ignore[arg-type]
            pytest.fail("the body must not run")


def test_every_combination_of_flags_is_accepted() -> None:  # B 27
    for strategy, auto_shutdown in product(get_args(Strategy), get_args(AutoShutdown)):
        SupervisorFlags(strategy=strategy, auto_shutdown=auto_shutdown, intensity=0, period=0.001)


def test_the_defaults_are_otps() -> None:  # A 20
    flags = SupervisorFlags()

    assert (flags.strategy, flags.intensity, flags.period) == ("one_for_one", 1, 5.0)
    assert flags.auto_shutdown == "never"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("min", -1, "expected backoff min to be seconds >= 0, got -1"),
        ("max", 0.01, r"expected backoff max to be >= min \(0.1\), got 0.01"),
        ("factor", 0.5, "expected backoff factor to be >= 1, got 0.5"),
        ("jitter", 1.1, "expected backoff jitter to be from 0 to 1, got 1.1"),
        ("reset_after", nan, "expected backoff reset_after to be seconds >= 0, got nan"),
    ],
)
def test_a_bad_backoff_is_refused(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Backoff(**{field: value})


@pytest.mark.parametrize("bound", [0, -1, 1.5, True])
def test_a_bad_mailbox_bound_is_refused(bound: int) -> None:
    with pytest.raises(ValueError, match="expected mailbox to be an int >= 1, got"):
        Mailbox("x", bound)


async def test_nothing_starts_when_a_nested_spec_is_wrong(stage: Stage) -> None:
    with pytest.raises(ChildSpecError, match="used twice"):
        async with open_supervisor([stage.spec("a"), child_spec("b", stage.specs("cc"))]):
            pytest.fail("the body must not run")

    assert stage.journal == []
