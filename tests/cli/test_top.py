"""``queueactors top`` as a process: on a pseudo terminal, and without one."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import pytest

from queueactors.cli._top import Painter

from .kit import PATIENCE
from .test_control import CONFIG, command, listening, ok

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Start
    from .kit import Program

SHOWN = {"?1049": True, "?25": False, "?7": False}  # modes of a terminal while it is ours
_PIECE = re.compile(r"\x1b\[(\?1049|\?25|\?7)?([\d;]*)([A-Za-z])|([^\x1b]+)")


class Display:
    """A terminal that knows what `top` uses, and nothing else."""

    def __init__(self) -> None:
        self.rows: dict[int, str] = {}
        self.modes: dict[str, bool] = {}
        self._row, self._column = 1, 1

    def feed(self, text: str) -> None:
        """Take what a program has written.

        Raises:
          ValueError: If it is anything else.
        """
        at = 0
        while at < len(text):
            found = _PIECE.match(text, at)
            if found is None:
                raise ValueError(f"what is {text[at : at + 20]!r}?")
            at = found.end()
            mode, numbers, letter, plain = found.groups()
            if plain is not None:
                row = self.rows.get(self._row, "").ljust(self._column - 1)
                end = self._column - 1 + len(plain)
                self.rows[self._row] = row[: self._column - 1] + plain + row[end:]
                self._column += len(plain)
            elif mode is not None:
                self.modes[mode] = letter == "h"
            elif letter == "H":
                self._row, self._column = map(int, numbers.split(";"))
            elif letter == "K":
                self.rows.pop(self._row, None)
            elif letter == "J":
                self.rows.clear()
            elif letter != "m":
                raise ValueError(f"what is {found.group()!r}?")

    def __str__(self) -> str:
        last = max(self.rows, default=0)
        return "\n".join(self.rows.get(row, "").rstrip() for row in range(1, last + 1))


class Terminal:
    """A pseudo terminal with a process on it."""

    def __init__(self, folder: Path, *args: str, term: str = "xterm") -> None:
        self._ours, theirs = pty.openpty()
        self.resize(80, 24, tell=False)
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.display = Display()
        command = [sys.executable, "-W", "error", "-m", "queueactors", "top", *args]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TERM": term},
            process_group=0,  # one of its own can be stopped
        )

    def resize(self, columns: int, lines: int, *, tell: bool = True) -> None:
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    def press(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def until(self, shown: Callable[[str], bool]) -> str:
        """Read until the screen shows something; return it."""
        end = time.monotonic() + PATIENCE  # noqa: TID251 - a real process
        while not shown(str(self.display)):
            assert time.monotonic() < end, str(self.display)  # noqa: TID251 - likewise
            self._read(0.1)
        return str(self.display)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        self.display.feed(os.read(self._ours, 1 << 20).decode())
        return True

    def drain(self) -> None:
        """Read all that is there."""
        while self._read(0):
            pass

    def restore(self) -> None:
        termios.tcsetattr(self._theirs, termios.TCSANOW, self.before)

    def hang_up(self) -> None:
        os.close(self._theirs)
        os.close(self._ours)
        self._ours = self._theirs = -1

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(PATIENCE)
        self.drain()
        return code

    def is_restored(self) -> bool:
        modes = self.display.modes
        as_before = termios.tcgetattr(self._theirs) == self.before
        return as_before and modes == {"?1049": False, "?25": True, "?7": True}

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        if self._ours >= 0:
            self.hang_up()


@pytest.fixture
def daemon(folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> Program:
    (folder / "q.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(folder)
    return listening(start)


@pytest.fixture
def terminal(daemon: Program, folder: Path) -> Iterator[Terminal]:
    made = Terminal(folder, "--interval", "0.1")
    yield made
    made.close()


@pytest.mark.slow
def test_a_terminal_shows_queues_as_they_change(terminal: Terminal) -> None:
    shown = terminal.until(lambda text: "news" in text)
    assert shown.splitlines()[0].startswith("mailer: process ")
    assert shown.splitlines()[3].split()[:4] == ["NAME", "STATE", "READY", "RSVD"]
    assert terminal.display.modes == SHOWN

    ok("insert", "emails", "1", "2", "3")

    terminal.until(lambda text: "emails         running       3" in text)
    terminal.press("/new\r")
    terminal.until(lambda text: "emails" not in text and "[filter: new]" in text)
    terminal.resize(160, 30)
    terminal.until(lambda text: "KIND" in text)
    terminal.press("q")
    assert terminal.end() == 0
    assert terminal.is_restored()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        ([signal.SIGINT], 130),
        ([signal.SIGQUIT], 131),
        ([signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT], None),  # both at once
    ],
)
def test_a_terminal_is_as_before_whatever_ends_it(
    terminal: Terminal, ends: list[signal.Signals], code: int | None
) -> None:
    terminal.until(lambda text: "news" in text)

    for end in ends:
        terminal.process.send_signal(end)

    assert terminal.end() == code or code is None
    assert terminal.is_restored()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTSTP, signal.SIGSTOP])
def test_after_a_stop_all_is_drawn_anew(terminal: Terminal, stop: signal.Signals) -> None:
    shown = terminal.until(lambda text: "news" in text)

    terminal.process.send_signal(stop)

    os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED)
    terminal.drain()
    assert terminal.is_restored() or stop == signal.SIGSTOP  # which nobody can take
    terminal.restore()  # as a shell does
    terminal.display.feed("\x1b[?1049l\x1b[2J$ fg")

    terminal.process.send_signal(signal.SIGCONT)

    again = terminal.until(lambda text: "q quit" in text and "$" not in text)
    assert again.splitlines()[3:] == shown.splitlines()[3:]
    assert terminal.display.modes == SHOWN
    terminal.press("q")
    assert terminal.end() == 0
    assert terminal.is_restored()


@pytest.mark.slow
def test_a_terminal_that_is_gone_ends_it_without_a_word(terminal: Terminal) -> None:
    terminal.until(lambda text: "news" in text)

    terminal.hang_up()

    assert terminal.process.wait(PATIENCE) == 129
    assert terminal.process.stderr is not None
    assert terminal.process.stderr.read() == ""


@pytest.mark.slow
@pytest.mark.parametrize("term", ["", "dumb"])
def test_a_dumb_terminal_gets_lines(daemon: Program, folder: Path, term: str) -> None:
    made = Terminal(folder, term=term)
    try:
        shown = made.until(lambda text: "news" in text)
    finally:
        made.close()

    assert shown.startswith("emails state=running ready=0")
    assert made.display.modes == {}


@pytest.mark.slow
def test_a_runtime_that_is_gone_is_waited_for(
    terminal: Terminal, daemon: Program, start: Start
) -> None:
    terminal.until(lambda text: "news" in text)

    daemon.signal(signal.SIGTERM)
    daemon.end()

    terminal.until(lambda text: text.startswith("GONE: "))
    listening(start)
    terminal.until(lambda text: text.startswith("mailer: process "))


@pytest.mark.slow
def test_without_a_terminal_it_is_lines(daemon: Program, start: Start) -> None:
    ok("insert", "emails", "1")
    plain = ok("top", "--once").splitlines()
    document = json.loads(ok("top", "--once", "--json"))
    assert plain[0] == (
        "emails state=running ready=1 delayed=0 reserved=0 buried=0 oldest=0.0 restarts=0"
    )
    assert [each["name"] for each in document["queues"]] == ["emails", "dead", "news"]

    again = start("top", "--interval", "0.1", "--json")

    ages = [json.loads(again.line())["queues"][0]["statistics"]["oldest_age"] for _ in range(3)]
    assert ages[0] < ages[1] < ages[2]


@pytest.mark.slow
def test_a_runtime_that_never_was_is_told_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)

    for args in ((), ("--once",)):
        code, out, err = command("top", *args)

        assert (code, out, err.count("\n")) == (1, "", 1)


def test_only_lines_that_have_changed_are_written() -> None:
    painter, display = Painter(), Display()
    display.feed(painter.paint(["a", "b", "c", "d", "e"], (10, 5)))

    change = painter.paint(["a", "B", "c", "d", "e"], (10, 5))
    display.feed(change)

    assert change == "\x1b[2;1H\x1b[2KB"
    assert str(display) == "a\nB\nc\nd\ne"
    assert painter.paint(["a", "B", "c", "d", "e"], (10, 5)) == ""


def test_another_size_draws_everything_anew() -> None:
    painter, display = Painter(), Display()
    display.feed(painter.paint(["a", "b", "c", "d", "e"], (10, 5)))

    display.feed(painter.paint(["a", "b"], (10, 2)))

    assert str(display) == "a\nb"
