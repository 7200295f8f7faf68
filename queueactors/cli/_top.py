"""``queueactors top``: the terminal around `_top_screen`, or lines without one.

One write a frame, of the lines that have changed, on the alternate screen. The terminal is as it
was before, however it ends.
"""

from __future__ import annotations

import errno
import os
import select
import shutil
import signal
import sys
import termios
import tty
from codecs import getincrementaldecoder
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeAlias

import attrs
import click
import trio

from supervisors import bare_nursery

from ._control import talk
from ._interrupts import run_loop
from ._text import json_text, plain, say
from ._top_screen import Screen, read_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from typing import Self

    from queueactors.control import ControlClient, Top

    from ._top_numbers import Line

P = ParamSpec("P")

AGAIN: Final = 1.0  # seconds between two looks for a runtime that is gone
ESCAPE: Final = 0.05  # seconds for the rest of a key: Esc alone is one, too
# Alternate screen, no cursor, empty; and what is wider than we think goes into no other line.
ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
LEAVE: Final = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
ENDS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
STOPS: Final = (signal.SIGTSTP, signal.SIGCONT)


def watch(path: Path, interval: float, *, as_json: bool, once: bool) -> None:
    """Show what a runtime does, until somebody ends it; see the command.

    Args:
      path: The runtime's control socket.
      interval: Seconds between two looks, at least.
      as_json: JSON documents instead of lines.
      once: Show it once.
    """
    drawn = not as_json and not once and sys.stdin.isatty() and sys.stdout.isatty()
    drawn = drawn and os.environ.get("TERM", "") not in {"", "dumb"}  # one that obeys nothing
    show: Callable[[Top], None] = _print_json if as_json else _Plain()
    if once:
        show = _print_json if as_json else _print_frame if sys.stdout.isatty() else _Plain()

        async def look(client: ControlClient) -> None:
            async with await client.top(interval) as stream:
                show(await anext(stream))

        talk(path, look)
        return

    async def greet(client: ControlClient) -> None:
        await client.status()

    talk(path, greet)  # a wrong path is told at once, on the screen that one has
    code = run_loop(partial(_draw if drawn else _print, path, interval, show))
    if code:
        sys.exit(code)


async def _follow(
    path: Path, interval: float, show: Callable[[Top], None], lost: Callable[[str], None]
) -> None:
    """Show a runtime's snapshots; whenever it is gone, say so and wait for it."""
    from queueactors import QueueActorsError
    from queueactors.control import open_control

    while True:
        try:
            async with open_control(path) as client, await client.top(interval) as stream:
                async for snapshot in stream:
                    show(snapshot)
        except (QueueActorsError, OSError) as error:
            lost(" ".join(str(error).splitlines()))
        await trio.sleep(AGAIN)


# -- without a terminal ----------------------------------------------------------------------


async def _print(path: Path, interval: float, show: Callable[[Top], None]) -> int:
    told = ""

    def lost(why: str) -> None:
        nonlocal told
        if why != told:
            say(f"{why}; waiting for it", err=True)
        told = why

    def shown(snapshot: Top) -> None:
        nonlocal told
        told = ""
        show(snapshot)

    await _follow(path, interval, shown, lost)
    return 0  # never


def _print_json(snapshot: Top) -> None:
    click.echo(json_text(snapshot))


def _print_frame(snapshot: Top) -> None:
    screen = Screen()
    screen.take(snapshot)
    say(*screen.text(shutil.get_terminal_size().columns))


class _Plain:
    """Prints a line for each queue."""

    def __init__(self) -> None:
        self._screen = Screen()

    def __call__(self, snapshot: Top) -> None:
        self._screen.take(snapshot)
        lines = [_plain(each) for each in self._screen.lines if not each.is_worker]
        if lines:
            say(*lines)


def _plain(line: Line) -> str:
    """Return a queue as a name and pairs; what it has no number for is left out."""
    facts: dict[str, object] = {
        "state": line.state,
        "ready": line.ready,
        "delayed": line.delayed,
        "reserved": line.reserved,
        "buried": line.buried,
        "in": _rounded(line.rate_in),
        "out": _rounded(line.rate_out),
        "oldest": _rounded(line.oldest),
        "errors": line.errors,
        "restarts": line.restarts,
    }
    told = [f"{key}={value}" for key, value in facts.items() if value is not None]
    return " ".join([plain(line.name), *told])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


# -- on a terminal -----------------------------------------------------------------------------


_Attributes: TypeAlias = "list[int | list[bytes | int]]"  # of `termios`


@attrs.define(eq=False)
class _Terminal:
    """The terminal, taken over: keys come at once and are not shown.

    Args:
      keys: Where they come from.
    """

    keys: int
    _before: _Attributes | None = None  # how it was; None: it is not ours

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, termios.error):  # it is gone
            self.give_back()

    def take(self) -> None:
        """Take it over, also if it is so already: somebody may have changed it meanwhile."""
        if self._before is None:
            self._before = termios.tcgetattr(self.keys)
        _insist(tty.setcbreak, self.keys)
        _write(ENTER)

    def give_back(self) -> None:
        """Let it be as it was."""
        try:
            _write(LEAVE)
        finally:
            before, self._before = self._before, None
            if before is not None:
                _insist(termios.tcsetattr, self.keys, termios.TCSADRAIN, before)


def _insist(change: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Change the terminal; a job in the background is stopped at that, and tries again later."""
    while True:
        try:
            change(*args, **kwargs)
        except termios.error as error:
            if error.args[0] != errno.EINTR:
                raise
        else:
            return


def _write(text: str) -> None:
    data = text.encode(sys.stdout.encoding, "replace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


@attrs.define(eq=False)
class Painter:
    """Knows what is on the terminal, and returns what has to be written to change it."""

    _before: list[str] = attrs.field(factory=list)
    _size: tuple[int, int] = (0, 0)

    def forget(self) -> None:
        """Somebody else has written there."""
        self._size = (0, 0)

    def paint(self, lines: list[str], size: tuple[int, int], head: int | None = None) -> str:
        """Return what makes ``lines`` of what is there; only those that have changed.

        Args:
          lines: The screen.
          size: Its columns and lines; after a change all is drawn anew.
          head: The line that is shown reversed.
        """
        text = ""
        if size != self._size:
            text, self._before, self._size = "\x1b[2J", [], size
        shown = list(lines)
        if head is not None:
            shown[head] = f"\x1b[7m{lines[head].ljust(size[0])}\x1b[0m"
        for number, line in enumerate(shown):
            if number >= len(self._before) or self._before[number] != line:
                text += f"\x1b[{number + 1};1H\x1b[2K{line}"
        self._before = shown
        return text


async def _draw(path: Path, interval: float, _show: Callable[[Top], None]) -> int:
    """Draw until somebody ends it; return the exit code."""
    # The signals around the terminal: one that nobody has taken ends the process in the end.
    with (
        trio.open_signal_receiver(*ENDS, *STOPS, signal.SIGWINCH) as signals,
        _Terminal(sys.stdin.fileno()) as terminal,
    ):
        async with bare_nursery() as nursery:
            drawing = _Drawing(Screen(interval), terminal, nursery.cancel_scope)
            nursery.start_soon(drawing.listen, signals)
            nursery.start_soon(drawing.press)
            nursery.start_soon(_follow, path, interval, drawing.show, drawing.lost)
    return drawing.code


@attrs.define(eq=False)
class _Drawing:
    """A screen on the terminal.

    Args:
      screen: What is drawn.
      terminal: Where.
      everything: What ends when somebody ends it.
    """

    screen: Screen
    terminal: _Terminal
    everything: trio.CancelScope
    code: int = 0
    _painter: Painter = attrs.field(factory=Painter)

    def paint(self) -> None:
        """Let the terminal show what the screen has; if it is gone, end."""
        try:
            columns, lines = os.get_terminal_size(sys.stdout.fileno())
            size = (columns or 80, lines or 24)  # one that does not know
            frame = self.screen.frame(*size)
            text = self._painter.paint(frame, size, self.screen.head)
            if text:
                _write(text)
        except OSError:
            self.end(signal.SIGHUP)

    def end(self, number: int) -> None:
        """End as that signal would have it."""
        self.code = self.code or 128 + number
        self.everything.cancel()

    def show(self, snapshot: Top) -> None:
        """Take a snapshot."""
        self.screen.note = ""
        self.screen.take(snapshot)
        self.paint()

    def lost(self, why: str) -> None:
        """Say that there is no runtime."""
        self.screen.note = f"GONE: {why}; waiting for it to come back"
        self.paint()

    async def listen(self, signals: AsyncIterator[int]) -> None:
        """Take signals: another size, a stop and its end, and the end."""
        async for number in signals:
            if number in ENDS:
                self.end(number)
                return
            if number == signal.SIGTSTP:
                self.suspend()
            if number in STOPS:
                self.terminal.take()
                self._painter.forget()
            self.paint()

    def suspend(self) -> None:
        """Stop, as Ctrl-Z says, with the terminal as it was; return when the shell goes on."""
        self.terminal.give_back()
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, ours)

    async def press(self) -> None:
        """Take keys until one of them ends it, or the terminal is gone."""
        decode = getincrementaldecoder("utf-8")("ignore").decode
        keys = sys.stdin.fileno()
        while not self.screen.ended:
            self.paint()
            await trio.lowlevel.wait_readable(keys)
            data = _read(keys)
            if data == b"\x1b" and select.select([keys], [], [], ESCAPE)[0]:
                data += _read(keys)
            if not data:
                self.end(signal.SIGHUP)
            for key in read_keys(decode(data)):
                self.screen.press(key)
        self.everything.cancel()


def _read(keys: int) -> bytes:
    try:
        return os.read(keys, 1024)
    except OSError:  # EIO: the terminal is gone
        return b""
