"""A day of an operator: what docs/operating.md shows, in a real process; and a stop that lasts."""

from __future__ import annotations

import json
import re
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .test_control import command, listening, ok

if TYPE_CHECKING:
    from .conftest import Start

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/operating.md"
CHANGES = {  # what the page says that the operator does to the file, before a command
    "check mailer.toml": ("[queue.dead]", "max_length = 1000\n\n[queue.dead]"),
    "reload --drain": ('\n[queue.news]\nkind = "channel"\n', ""),
}
KEY = re.compile(r"key (\d+),")  # another one each day
NEWS = '\n[queue.news]\nkind = "channel"\n'
STOPPABLE = """
schema = 1
[runtime]
log_level = "critical"
[queue.jobs]
kind = "timed"
reservation_time = 30
[worker.w]
queue = "jobs"
handler = "app:say"
[supervisor.s]
strategy = "one_for_all"
intensity = 1000
[[supervisor.s.child]]
worker = "w"
[[supervisor.s.child]]
start = "app:crash"
id = "crash"
"""


def day() -> tuple[str, list[tuple[str, str]]]:
    """Return the file of the page's day, and its commands with what they print."""
    text = PAGE.read_text(encoding="utf-8").split("\n## A day\n")[1].split("\n## ")[0]
    (file,) = re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    shown = "".join(re.findall(r"^```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    steps = [step.partition("\n") for step in shown.split("$ queueactors ")[1:]]
    return file, [(asked, printed) for asked, _, printed in steps]


def timeless(printed: str) -> str:
    """Return what a command prints, without what differs from day to day."""
    printed = re.sub(r"process \d+, queueactors \S+, up since \S+", "process N", printed)
    return KEY.sub("key N,", printed)


def test_the_day_that_the_page_shows_goes_like_that(
    folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, steps = day()
    file = folder / "mailer.toml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    program = listening(start, "mailer.toml")
    (shown_key,) = KEY.findall("".join(printed for _, printed in steps))
    key = ""

    for asked, printed in steps:
        if asked in CHANGES:
            text = text.replace(*CHANGES[asked])
            text += NEWS if asked.startswith("check") else ""
            file.write_text(text, encoding="utf-8")
        told = ok(*shlex.split(asked.replace(shown_key, key)))
        key = "".join(KEY.findall(told)) or key
        assert timeless(told) == timeless(printed), asked

    assert len(steps) == 14
    program.signal(signal.SIGTERM)
    assert program.end()[0] == 0


def test_an_operators_stop_outlasts_restarts_of_the_group_and_reloads(
    folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "q.toml").write_text(STOPPABLE, encoding="utf-8")
    monkeypatch.chdir(folder)
    start("run", "q.toml")
    while command("status")[0]:  # until it listens; at this level its log says nothing
        pass

    ok("stop", "worker.w")
    ok("insert", "jobs", "never")
    begun = restarts()
    while restarts() < begun + 3:
        assert json.loads(ok("status", "--json"))["stopped"] == ["worker.w"]
    (folder / "q.toml").write_text(STOPPABLE.replace("1000", "2000"), encoding="utf-8")
    assert "intensity: 1000 -> 2000  (live)" in ok("reload")

    assert "  stopped  worker.w\n" in ok("status")
    assert "worker.w (stopped" in ok("tree")
    assert json.loads(ok("stats", "jobs", "--json"))["queue"]["at_hand"] == 1


def restarts() -> int:
    """Return how often the child that crashes was restarted."""
    groups = {each["id"]: each for each in json.loads(ok("tree", "--json"))["children"]}
    supervisor = groups["supervisors"]["children"][0]
    (found,) = [each["restarts"] for each in supervisor["children"] if each["id"] == "crash"]
    assert isinstance(found, int)
    return found


def test_a_reload_with_faults_tells_them_all_and_changes_nothing(
    folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "q.toml").write_text('schema = 1\n[queue.q]\nkind = "channel"\n', encoding="utf-8")
    monkeypatch.chdir(folder)
    listening(start)
    bad = 'schema = 1\n[queue.q]\nkind = "channel"\nlimit = -1\nnonsense = 1\n'
    (folder / "bad.toml").write_text(bad, encoding="utf-8")

    for asked in ("plan", "reload"):
        code, out, err = command(asked, "bad.toml")
        assert (code, out) == (2, "")
        assert re.findall(r"/bad.toml:(\d): queue.q.(\w+): ", err) == [
            ("4", "limit"),
            ("5", "nonsense"),
        ]
        code, out, _ = command(asked, "bad.toml", "--json")
        assert code == 2
        assert [each["line"] for each in json.loads(out)["faults"]] == [4, 5]
    assert "0 changed, 0 moved, 5 unchanged" in ok("plan", "q.toml")


def test_a_reload_of_which_a_part_does_not_start_fails(
    folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'schema = 1\n[queue.q]\nkind = "channel"\n'
    (folder / "q.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    listening(start)
    broken = '[[supervisor.s.child]]\nstart = "app:no_start"\nid = "b"\n'
    (folder / "q.toml").write_text(text + "limit = 3\n" + broken, encoding="utf-8")

    code, out, err = command("reload")

    assert code == 1
    assert "~ queue.q  done\n" in out
    assert "failed: OSError: the disk is not there" in out
    assert err.startswith("failed: ")
    assert err.count("\n") == 1
