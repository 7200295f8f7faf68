"""The table of the benchmarks: what it prints of rows, peers, targets and figures of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench._table import LINE, NotHereError, Peer, Row, measure, print_table

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def always(value: float) -> Callable[[], float]:
    return lambda: value


def not_here() -> float:
    raise NotHereError("other: no Python for it")


def printed(capsys: pytest.CaptureFixture[str], row: Row) -> list[str]:
    """Return the lines under the table's head, without the spaces that align them."""
    print_table([row], rounds=1)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[2:]]


def test_a_row_has_a_line_for_each_peer(capsys: pytest.CaptureFixture[str]) -> None:
    one = Peer(name="one", measure=always(100.0), target=">= 2x")
    two = Peer(name="two", measure=always(1200.0))

    lines = printed(
        capsys, Row(what="calls", ours=always(300.0), peers=(one, two), target=">= 200 /s")
    )

    assert lines == [
        "calls 300 /s 100 /s one 3.00x >= 200 /s; >= 2x",
        "1,200 /s two 0.25x",
    ]


def test_a_row_without_peers_is_one_line_with_its_target(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(capsys, Row(what="start", ours=always(1.5), unit="s", target="< 5 s"))

    assert lines == ["start 1.50 s < 5 s"]


def test_less_is_better_turns_the_ratio_around(capsys: pytest.CaptureFixture[str]) -> None:
    peer = Peer(name="peer", measure=always(6.0))

    (line,) = printed(
        capsys,
        Row(what="memory", ours=always(2.0), peers=(peer,), unit="kB", less_is_better=True),
    )

    assert line == "memory 2.00 kB 6.00 kB peer 3.00x"


def test_nothing_is_divided_by_zero(capsys: pytest.CaptureFixture[str]) -> None:
    peer = Peer(name="peer", measure=always(0.0))

    (line,) = printed(capsys, Row(what="idle", ours=always(0.0), peers=(peer,), unit="ms/s"))

    assert line == "idle 0.00 ms/s 0.00 ms/s peer"


def test_a_missing_peer_reads_not_run_and_the_reason_stands_below(
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = Peer(name="other", measure=not_here)
    present = Peer(name="present", measure=always(100.0))

    lines = printed(capsys, Row(what="calls", ours=always(200.0), peers=(other, present)))

    assert lines == [
        "calls 200 /s not run other",
        "100 /s present 2.00x",
        "not run:",
        "calls: other: no Python for it",
    ]


def test_a_figure_from_elsewhere_stands_below_the_table_and_makes_no_ratio(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(capsys, Row(what="calls", ours=always(200.0), elsewhere="OTP 25: 945,000 /s"))

    assert lines == [
        "calls 200 /s",
        "measured by others, on another machine; no ratio can be made of it:",
        "calls: OTP 25: 945,000 /s",
    ]


def test_ours_and_the_peers_are_measured_in_turn_and_medians_count() -> None:
    order: list[str] = []

    def told(name: str, *values: float) -> Callable[[], float]:
        remaining = iter(values)

        def run() -> float:
            order.append(name)
            return next(remaining)

        return run

    peers = (
        Peer(name="one", measure=told("one", 1.0, 9.0, 2.0)),
        Peer(name="two", measure=told("two", 4.0, 4.0, 5.0)),
    )
    row = Row(what="calls", ours=told("ours", 7.0, 1.0, 3.0), peers=peers)

    assert measure(row, 3) == (3.0, [2.0, 4.0])
    assert order == ["ours", "one", "two"] * 3


def test_a_peer_that_is_not_here_is_not_asked_again() -> None:
    asked = 0

    def ask() -> float:
        nonlocal asked
        asked += 1
        raise NotHereError

    measure(Row(what="calls", ours=always(1.0), peers=(Peer(name="other", measure=ask),)), 3)

    assert asked == 1


def test_the_head_stands_over_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], rounds=5)

    assert capsys.readouterr().out.splitlines()[1] == LINE.format(
        "what", "ours", "peer", "which", "ratio", "target"
    )
