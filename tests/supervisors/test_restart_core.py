"""The pure core of restarts, and the pace of backoff."""
# ruff: noqa: A001 - OTP's word

from __future__ import annotations

from random import Random
from statistics import mean

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisors import Backoff, ChildSpec, Shutdown, SupervisorFlags
from supervisors._restart import (
    ExitKind,
    GiveUp,
    Leave,
    Park,
    Restart,
    RestartCore,
    RestartLog,
    classify,
    ends_supervisor,
    group,
)

from .kit import Boom, idle

# Multiples of a power of two: sums are exact, so that edges of the window are hit.
gaps = st.lists(st.sampled_from([0, 0, 0.25, 1, 2, 3, 5, 8]), max_size=60)


@given(gaps=gaps, intensity=st.integers(0, 6), period=st.sampled_from([0.25, 1, 3, 5]))
def test_the_window_agrees_with_a_plain_list(
    gaps: list[float], intensity: int, period: float
) -> None:
    log = RestartLog(intensity, period)
    now = 0.0
    times: list[float] = []

    for gap in gaps:
        now += gap
        times.append(now)
        in_window = [at for at in times if now - at <= period]

        assert log.add(now, "a", None) == (len(in_window) <= intensity)


@given(
    events=st.lists(st.tuples(st.sampled_from([0, 0.25, 1, 5]), st.sampled_from("ab")), max_size=50)
)
def test_forgetting_a_child_in_the_window_agrees_with_a_plain_list(
    events: list[tuple[float, str]],
) -> None:
    log = RestartLog(2, 3)
    now = 0.0
    entries: list[tuple[float, str]] = []
    for gap, child in events:
        now += gap
        entries.append((now, child))
        allowed = sum(now - at <= 3 for at, _ in entries) <= 2

        assert log.add(now, child, None) == allowed
        if not allowed:
            log.forget(child)
            entries = [entry for entry in entries if entry[1] != child]


def test_the_log_is_bounded() -> None:
    """By the period; and by the intensity, as nobody goes on after it was exceeded."""
    log = RestartLog(1000, 3)
    for number in range(1000):
        log.add(float(number), "a", Boom(number))

    assert [error.args for error in log.drain()] == [(996,), (997,), (998,), (999,)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, ExitKind.NORMAL),
        (Shutdown(), ExitKind.SHUTDOWN),
        (Boom(), ExitKind.ABNORMAL),
        (ExceptionGroup("", [Shutdown()]), ExitKind.SHUTDOWN),
        (ExceptionGroup("", [Shutdown(), ExceptionGroup("", [Boom()])]), ExitKind.ABNORMAL),
    ],
)
def test_an_exit_is_classified_by_its_leaves(error: Exception | None, kind: ExitKind) -> None:
    assert classify(error) is kind


def test_the_groups_of_the_strategies() -> None:
    order = ["a", "b", "c"]

    assert list(group("one_for_one", order, "b")) == ["b"]
    assert list(group("one_for_all", order, "b")) == ["a", "b", "c"]
    assert list(group("rest_for_one", order, "b")) == ["b", "c"]


@pytest.mark.parametrize("others_live", [True, False])
def test_who_ends_the_supervisor(*, others_live: bool) -> None:
    important = ChildSpec(id="a", start=idle, restart="transient", significant=True)
    plain = ChildSpec(id="b", start=idle)
    any_ = SupervisorFlags(auto_shutdown="any_significant")
    all_ = SupervisorFlags(auto_shutdown="all_significant")

    assert ends_supervisor(any_, important, others_live=others_live)
    assert ends_supervisor(all_, important, others_live=others_live) == (not others_live)
    assert not ends_supervisor(any_, plain, others_live=others_live)
    assert not ends_supervisor(SupervisorFlags(), important, others_live=others_live)


def _core(intensity: int) -> RestartCore:
    return RestartCore(SupervisorFlags(intensity=intensity, period=10), Random(1))


def test_decisions_are_values() -> None:
    core = _core(1)
    child = ChildSpec(id="a", start=idle)
    parking = ChildSpec(id="p", start=idle, on_give_up="park")
    transient = ChildSpec(id="t", start=idle, restart="transient")
    temporary = ChildSpec(id="u", start=idle, restart="temporary")
    boom = Boom()

    assert core.exited(transient, ExitKind.NORMAL, None, ran_for=1, now=0) == Leave(forget=False)
    assert core.exited(temporary, ExitKind.ABNORMAL, boom, ran_for=1, now=0) == Leave(forget=True)
    assert core.exited(child, ExitKind.ABNORMAL, boom, ran_for=1, now=0) == Restart(0.0)
    assert core.exited(parking, ExitKind.NORMAL, None, ran_for=1, now=1) == Park()
    assert core.exited(child, ExitKind.ABNORMAL, boom, ran_for=1, now=2) == GiveUp((boom, boom))


def test_each_child_has_a_backoff_of_its_own() -> None:
    core = _core(99)
    pace = Backoff(min=1, max=8, jitter=0)
    a, b = (ChildSpec(id=id, start=idle, backoff=pace) for id in "ab")

    waits = [core.exited(each, ExitKind.NORMAL, None, ran_for=0, now=0) for each in (a, a, a, b)]

    assert waits == [Restart(0), Restart(1), Restart(2), Restart(0)]


@given(
    low=st.floats(0, 1e300),
    more=st.floats(0, 1e300),
    factor=st.floats(1, 1e300),
    restarts=st.integers(0, 10**9),
)
@example(low=5e-324, more=1e300, factor=2, restarts=1025)
@example(low=0.1, more=29.9, factor=2, restarts=10**9)
def test_a_delay_stays_between_min_and_max(
    low: float, more: float, factor: float, restarts: int
) -> None:
    pace = Backoff(min=low, max=low + more, factor=factor, jitter=0)

    delay = pace.delay(restarts, Random(0))

    assert delay == 0 if restarts == 0 else low <= delay <= low + more


def test_delays_grow_by_the_factor_up_to_max() -> None:
    pace = Backoff(min=0.5, max=10, factor=3, jitter=0)

    assert [pace.delay(n, Random(0)) for n in range(6)] == [0, 0.5, 1.5, 4.5, 10, 10]


def test_a_pace_of_0_never_grows() -> None:
    """Not even after so many restarts that the power overflows."""
    pace = Backoff(min=0, max=10)

    assert {pace.delay(n, Random(0)) for n in (0, 1, 2, 10**6)} == {0}


def test_the_jitter_is_even_and_its_mean_is_the_delay() -> None:
    pace = Backoff(min=10, max=10, jitter=0.2)
    random = Random(3)

    delays = [pace.delay(1, random) for _ in range(40_000)]

    assert mean(delays) == pytest.approx(10, abs=0.02)
    assert min(delays) >= 8
    assert max(delays) <= 12
    tenths = [0] * 10
    for delay in delays:
        tenths[min(9, int((delay - 8) / 0.4))] += 1
    assert all(3_700 < count < 4_300 for count in tenths)
