"""What strangers have written, on somebody's terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from queueactors.cli._control import table
from queueactors.cli._text import fit, json_text, len_of, plain
from queueactors.config import load_config, make_plan, plan_text

from .kit import config, write
from .test_control import command, listening, ok

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Start

NAME = "a\x1b[31mred\x07\x9b2J\u202e\nqueue.fake"
CONFIG = r"""
schema = 1
[queue."a\u001b[31mred\u0007\u009b2J\u202e\nqueue.fake"]
kind = "timed"
reservation_time = "30s"
"""


def test_a_name_cannot_command_the_terminal() -> None:
    assert plain("a\x1b[2J\nb") == r"a\x1b[2J\nb"
    assert plain("a\x1b[2J\nb", keep="\n") == "a\\x1b[2J\nb"
    assert fit("a\x1b[2Jb", 12) == "a\\x1b[2Jb   "
    assert fit("漢字漢字", 6) == "漢字~ "


@pytest.mark.parametrize(
    ("text", "columns"),
    [("é", 1), ("e\u0301", 1), ("漢", 2), ("❤\ufe0f", 1), ("กั", 1), ("👨\u200d👩", 10)],
)
def test_a_text_is_as_wide_as_a_terminal_shows_it(text: str, columns: int) -> None:
    assert len_of(plain(text)) == columns


def test_a_table_is_straight_whatever_is_in_it() -> None:
    assert table([("NAME", "N"), ("漢字", 1), ("a\n", 20)]) == "NAME   N\n漢字   1\na\\n   20"


def test_json_has_escapes_for_what_a_terminal_would_obey() -> None:
    value = {NAME: ["\x7f\u2028", "\U000e0001", "漢 é"]}

    text = json_text(value)

    assert text.isprintable()
    assert "漢 é" in text
    assert json.loads(text) == value


def test_a_line_of_a_plan_is_one_line_whatever_its_name() -> None:
    new = load_config({"queue": {"a\n- queue.jobs": {"kind": "channel"}}})

    drawn = plan_text(make_plan(load_config({}), new))

    assert drawn.splitlines()[0] == r"+ queue.a\n- queue.jobs"


@pytest.mark.slow
def test_no_command_prints_what_a_terminal_would_obey(
    folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "q.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(folder)
    listening(start)

    told = [
        ok("queues"),
        ok("tree"),
        ok("stats", NAME),
        ok("insert", NAME, "--text", "\x9b2J"),
        ok("peek", NAME),
        ok("peek", NAME, "--json"),
        ok("stop", f"queue.{NAME}"),
        ok("status"),
        ok("top", "--once"),
        ok("queues", "--json"),
        ok("tree", "--json"),
        ok("top", "--once", "--json"),
        command("reserve", NAME)[2],
    ]

    assert not [text for text in told if "\nqueue.fake" in text]
    assert [text for text in told if not text.replace("\n", "").isprintable()] == []


@pytest.mark.slow
def test_no_line_of_the_log_has_what_a_terminal_would_obey(folder: Path, start: Start) -> None:
    values = r'["\u001b[2J\u009b2J\nfake line"]'
    file = write(folder, config("fail", values=values))

    _, _, err = start("run", file, "--until-idle").end()

    assert "ValueError: no luck with" in err
    assert all(line.isprintable() for line in err.splitlines())
