"""What is valid and yet worth a warning; what a trap is, `tests/supervisors/test_traps.py` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from queueactors import open_runtime
from queueactors.config import load_config

from .helpers import QUEUE, load

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

LOW = """
[supervisor.low]
intensity = 19
period = "1h"
[[supervisor.low.child]]
start = "builtins:print"
shutdown = 20
"""
HIGH = """
[supervisor.high]
intensity = 9
period = "1h"
[[supervisor.high.child]]
supervisor = "low"
"""


def warnings(text: str) -> list[str]:
    return [str(each) for each in load(text).warnings]


def test_a_plain_configuration_has_none(folder: Path) -> None:
    worker = '[worker.w]\nqueue = "a"\nhandler = "builtins:print"\n'
    child = '[supervisor.r]\n[[supervisor.r.child]]\nqueue = "a"\n'

    assert warnings(QUEUE + worker + child) == []
    assert load_config(None).warnings == ()


def test_it_stands_at_the_supervisors_own_table(folder: Path) -> None:
    assert warnings(LOW + HIGH) == [
        (
            "q.toml:3: supervisor.low: a child that always fails is started 200 times before the "
            "failure is through: over the levels, starts multiply (20 x 10); keep the "
            "intensities of the upper ones low"
        )
    ]


def test_it_stands_at_the_child(folder: Path) -> None:
    slow = "backoff = {min = 30, max = 30, jitter = 0}\n"

    (warning,) = warnings(LOW.replace("1h", "1m") + slow)

    assert warning.startswith("q.toml:6: supervisor.low.child[0]: its backoff spreads 20 failures")


def test_warnings_are_sorted_by_file_and_line(folder: Path) -> None:
    text = '[supervisor.{0}]\nrestart = "temporary"\n'

    places = [warning.split(" ")[0] for warning in warnings(text.format("b") + text.format("a"))]

    assert places == ["q.toml:2:", "q.toml:4:"]


def test_what_the_child_entry_says_counts_more(folder: Path) -> None:
    assert warnings(LOW + HIGH + 'on_give_up = "park"\n') != []
    assert warnings(LOW + HIGH.replace("9", "4") + 'shutdown = "30s"\n') == []
    (warning,) = warnings(LOW + HIGH.replace("9", "4") + 'shutdown = "10s"\n')
    assert warning.startswith("q.toml:3: supervisor.low: its children may take 20 s to stop")


@pytest.mark.parametrize(("workers", "many"), [(3, False), (4, True)])
def test_what_may_take_longer_than_systemd_waits(
    folder: Path,
    workers: int,
    many: bool,  # noqa: FBT001
) -> None:
    text = '[worker.w{}]\nqueue = "a"\nhandler = "builtins:print"\nshutdown = "30s"\n'

    found = warnings(QUEUE + "".join(map(text.format, range(workers))))

    assert [each[:37] for each in found] == ["q.toml: stopping may take 120 s, most"] * many


def test_ids_may_be_any(folder: Path) -> None:
    child = '[[supervisor.high.child]]\nstart = "builtins:print"\nid = "low"\n'

    assert len(warnings(LOW + HIGH + child)) == 1


def test_on_exhausted_without_a_limit_never_happens(folder: Path) -> None:
    dead = '[queue.b]\nkind = "timed"\nreservation_time = 1\non_exhausted = "a"\n'
    default = '[defaults.queue]\non_exhausted = "bury"\n'

    assert warnings(QUEUE + dead) == [
        "q.toml:8: queue.b.on_exhausted: without max_reservations only `fail` exhausts a message"
    ]
    assert warnings(QUEUE + dead + "max_reservations = 1\n") == []
    assert warnings(QUEUE + default) == [
        (
            "q.toml:6: defaults.queue.on_exhausted: "
            "without max_reservations only `fail` exhausts a message"
        )
    ]


async def test_a_start_logs_them(folder: Path, autojump_clock: MockClock) -> None:
    data = {"supervisor": {"r": {"restart": "temporary"}}}

    with capture_logs() as logs:
        async with open_runtime(data):
            pass

    (event,) = [each for each in logs if each["event"] == "config_warning"]
    assert event["path"] == "supervisor.r"
    assert (event["file"], event["line"], event["log_level"]) == (None, None, "warning")
    assert event["message"].startswith("it is temporary")
