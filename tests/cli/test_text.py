"""What strangers have written, on somebody's terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queueactors.cli._control import table
from queueactors.cli._text import fit, len_of, plain

from .kit import config
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
        ok("stop", f"queue.{NAME}"),
        ok("status"),
        ok("top", "--once"),
        command("reserve", NAME)[2],
    ]

    assert [text for text in told if not text.replace("\n", "").isprintable()] == []


@pytest.mark.slow
def test_no_line_of_the_log_has_what_a_terminal_would_obey(folder: Path, start: Start) -> None:
    values = r'["\u001b[2J\u009b2J\nfake line"]'
    (folder / "queues.toml").write_text(config("fail", values=values), encoding="utf-8")

    _, _, err = start("run", "queues.toml", "--until-idle").end()

    assert "ValueError: no luck with" in err
    assert all(line.isprintable() for line in err.splitlines())
