"""What ``queueactors top`` draws: whole screens as text, of snapshots made by hand."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queueactors.cli._look import status_text
from queueactors.cli._text import len_of
from queueactors.cli._top_screen import HELP, Screen, read_keys, sparkline
from queueactors.control import QueueRow, RuntimeStatus, Top, WorkerRow

SECOND = 10**9
STATUS = RuntimeStatus(
    name="mailer",
    pid=4711,
    version="0.1.0",
    up_since="2026-01-02T03:04:05+00:00",
    ready=True,
    not_ready=(),
    queues=3,
    workers=1,
    messages=1217,
    in_hand=4,
    parked=(),
    stopped=(),
)


def queue(name: str, kind: str = "timed", state: str = "running", **statistics: object) -> QueueRow:
    ready, held = statistics.pop("at_hand", 0), statistics.pop("in_hand", 0)
    return QueueRow(
        name=name,
        kind=kind,
        store="memory",
        state=state,
        at_hand=ready if isinstance(ready, int) else None,
        in_hand=held if isinstance(held, int) else None,
        statistics=statistics or None,
    )


def snapshot(second: int = 0) -> Top:
    """Return a runtime that has been sending for some seconds."""
    return Top(
        at=second * SECOND,
        status=STATUS,
        queues=(
            queue(
                "emails",
                at_hand=1204,
                in_hand=4,
                delayed=31,
                buried=2,
                inserted=300 * second,
                deleted=250 * second,
                reserved_total=300 * second,
                oldest_age=83.0,
            ),
            queue("dead letters", at_hand=13, delayed=0, buried=0, inserted=13, oldest_age=86400.0),
            queue("events", "log", "restarting", added=7 * second, read=0),
        ),
        workers=(
            WorkerRow(
                name="sender",
                queue="emails",
                state="running",
                running=True,
                concurrency=4,
                busy=4,
                restarts=1,
                counts={"success": 250 * second, "retry": 40, "error": 3},
                handling_p50=0.012,
                handling_p99=0.2,
                queueing_p99=3.25,
            ),
        ),
    )


def example() -> Screen:
    """Return a screen that has seen two seconds; the picture of docs/operating.md."""
    screen = Screen()
    for second in (1, 2):
        screen.take(snapshot(second))
    return screen


def press(screen: Screen, *keys: str) -> Screen:
    for key in keys:
        screen.press(key)
    return screen


def names(screen: Screen, width: int = 80, height: int = 24) -> list[str]:
    """Return the first words of the rows."""
    return [line.split()[0] for line in screen.frame(width, height)[4:-1] if line]


SMALL = """\
mailer: process 4711, up since 2026-01-02T03:04:05+00:00, ready
1,217 ready, 4 in hand  3 queues  1 worker

NAME           STATE     READY   RSVD   IN/S  OUT/S OLDEST BURIED    ERR    P99
emails         running    1204      4    300    250   1.4m      2     43  200ms
  sender       running            4/4           250                   43  200ms
dead letters   running      13      0      0      0     1d      0
events         restart       0      0    7.0      0



q quit  ? help  / filter  < > sort  space pause"""


def test_a_screen_of_80_columns_has_what_matters_most() -> None:
    assert "\n".join(example().frame(80, 12)) == SMALL


WIDE = """\
mailer: process 4711, up since 2026-01-02T03:04:05+00:00, ready
1,217 ready, 4 in hand  3 queues  1 worker

NAME           STATE     READY   RSVD   IN/S  OUT/S OLDEST BURIED    ERR    P99 DELAYED RATE            P50   WAIT   MBOX  REST TRIES KIND
emails         running    1204      4    300    250   1.4m      2     43  200ms      31 █              12ms   3.2s      0     0   1.2 timed
  sender       running            4/4           250                   43  200ms         █              12ms   3.2s            1       worker
dead letters   running      13      0      0      0     1d      0                     0 ▁                               0     0       timed
events         restart       0      0    7.0      0                                     ▁                               0     0       log
"""  # noqa: E501 - a wide screen


def test_the_pictures_in_the_docs_are_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")

    assert f"$ queueactors top\n{SMALL}\n```" in page
    assert f"$ queueactors status\n{status_text(STATUS)}\n```" in page
    for column in (line.split()[0] for line in HELP if line[:1].isupper()):
        assert f"`{column}`" in page


def test_a_wide_screen_has_more_columns() -> None:
    assert example().frame(160, 10)[:8] == WIDE.splitlines()


def test_rates_are_of_the_time_between_two_snapshots() -> None:
    screen = Screen()
    screen.take(snapshot(1))
    first = screen.lines[0]

    screen.take(snapshot(5))

    assert first.rate_in is None
    assert (screen.lines[0].rate_in, screen.lines[0].rate_out) == (300.0, 250.0)


def test_a_runtime_that_began_anew_has_no_negative_rate() -> None:
    screen = Screen()
    screen.take(snapshot(9))

    screen.take(attrs.evolve(snapshot(0), at=10 * SECOND))

    assert screen.lines[0].rate_in == 0.0


def test_a_key_sorts_by_a_column_and_once_more_the_other_way_round() -> None:
    assert names(example()) == ["emails", "sender", "dead", "events"]
    assert names(press(example(), "r")) == ["emails", "dead", "events", "sender"]
    assert names(press(example(), "r", "r")) == ["events", "dead", "emails", "sender"]
    assert names(press(example(), "n")) == ["dead", "emails", "events", "sender"]
    assert names(press(example(), "n", "t")) == ["emails", "sender", "dead", "events"]
    assert " READYv " in press(example(), "r").frame(80, 24)[3]


def test_arrows_sort_by_the_next_column_and_the_one_before() -> None:
    screen = example()
    screen.frame(80, 24)

    assert press(screen, ">", ">", ">").sort == "r"
    assert press(screen, "<").sort == "s"
    assert press(screen, "<", "<", "<").sort == "9"


def test_a_filter_leaves_names_with_its_text() -> None:
    screen = press(example(), "/", *"EV", "x", "backspace")
    assert screen.frame(80, 24)[-1] == "show names with: EV_"
    assert names(screen) == ["events"]

    press(screen, "enter", "q")

    assert screen.ended
    assert screen.frame(80, 24)[-1].endswith("[filter: EV]")
    assert len(names(press(screen, "escape"))) == 4


def test_a_q_in_a_filter_is_a_letter() -> None:
    screen = press(example(), "/", "q")

    assert not screen.ended
    assert names(screen) == []


def test_a_pause_keeps_the_picture_and_the_rates_go_on() -> None:
    screen = press(example(), "space")
    before = screen.frame(80, 24)

    screen.take(attrs.evolve(snapshot(3), workers=()))
    assert screen.frame(80, 24) == before
    press(screen, "space")
    screen.take(snapshot(4))

    assert before[-1].endswith("[paused]")
    assert screen.lines[0].rate_in == 300.0


def test_help_fits_a_small_screen_and_any_key_goes_back() -> None:
    screen = press(example(), "?")
    page = screen.frame(80, 24)
    assert not any(line.endswith("~") for line in page)
    assert page[19].startswith("MBOX")

    press(screen, "x")

    assert screen.frame(80, 24) == example().frame(80, 24)


def test_many_queues_are_scrolled_and_never_past_the_end() -> None:
    many = tuple(queue(f"q{number:03}") for number in range(100))
    screen = Screen()
    screen.take(attrs.evolve(snapshot(1), queues=many, workers=()))

    assert names(screen)[0] == "q000"
    assert names(press(screen, "pagedown", "down"))[0] == "q020"
    assert names(press(screen, *["pagedown"] * 9))[-1] == "q099"
    assert names(press(screen, "up"))[-1] == "q098"


def test_a_screen_tells_what_is_wrong() -> None:
    screen = Screen(interval=1.0)
    assert screen.frame(80, 24)[0] == "waiting for the first numbers"
    bad = attrs.evolve(STATUS, ready=False, not_ready=("a is parked", "b"), parked=("a",))

    screen.take(attrs.evolve(snapshot(1), status=bad, interval=4.0))

    head = screen.frame(120, 24)
    assert head[0].endswith("NOT READY: a is parked, and 1 more")
    assert head[1].endswith("1 parked  every 4.0 s")
    screen.note = "GONE"
    assert screen.frame(80, 24)[0] == "GONE"


@pytest.mark.slow
@settings(max_examples=30)
@given(
    st.text(max_size=40),
    st.lists(st.sampled_from([*"qrnst/?<>59", "space", "escape", "enter", "down", "pageup"])),
    st.integers(1, 200),
    st.integers(1, 60),
)
def test_whatever_happens_a_screen_fits(
    name: str, keys: list[str], width: int, height: int
) -> None:
    screen = Screen()
    for second in (1, 2):
        known = snapshot(second)
        screen.take(attrs.evolve(known, queues=(queue(name, at_hand=10**9), *known.queues)))

    lines = press(screen, *keys).frame(width, height)

    assert len(lines) == height
    assert all(len_of(line) <= width and line.isprintable() for line in lines)


def test_a_short_screen_has_room_for_queues() -> None:
    screen = example()

    assert screen.frame(20, 5) == [
        "mailer: process 471~",
        "NAME        STATE",
        "emails      running",
        "  sender    running",
        "q quit  ? help  / f~",
    ]
    assert screen.head == 1


def test_help_has_no_titles() -> None:
    screen = Screen()
    screen.press("?")

    screen.frame(80, 24)

    assert screen.head is None


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("q", ["q"]),
        ("\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        ("\x1b", ["escape"]),
        ("\x1b[5~\x1b[6~", ["pageup", "pagedown"]),
        ("\x1b[1;5Cr", ["r"]),
        ("a b\r\x7f", ["a", "space", "b", "enter", "backspace"]),
        ("é\x00\x1b[", ["é"]),
    ],
)
def test_keys_are_read(sent: str, keys: list[str]) -> None:
    assert read_keys(sent) == keys


def test_a_sparkline_is_as_high_as_its_highest() -> None:
    assert sparkline([], 5) == ""
    assert sparkline([0, 0], 5) == "▁▁"
    assert sparkline([9, 0, 1, 4, 8], 4) == "▁▂▅█"
