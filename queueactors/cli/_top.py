"""``queueactors top``: the terminal around `_top_screen`, or lines without one.

One write a frame, of the lines that have changed, on the alternate screen. The terminal is as it
was before, however it ends.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from codecs import getincrementaldecoder
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import attrs
import click
import msgspec
import trio

from supervisors import bare_nursery

from ._control import find_socket, runtime_options, talk
from ._top_screen import Screen, read_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from queueactors.control import ControlClient, Top

    from ._top_numbers import Line

AGAIN: Final = 1.0  # seconds between two looks for a runtime that is gone
ESCAPE: Final = 0.05  # seconds for the rest of a key: Esc alone is one, too
HEAD: Final = 3  # the line with the titles
ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[2J"  # alternate screen, no cursor, empty
LEAVE: Final = "\x1b[0m\x1b[?25h\x1b[?1049l"


@click.command()
@runtime_options
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks, at least.",
)
@click.option("--once", is_flag=True, help="Print it once, and end.")
def top(  # noqa: PLR0913 - its options
    *,
    socket: str | None,
    data_dir: str,
    config: str | None,
    as_json: bool,
    interval: float,
    once: bool,
) -> None:
    """Watch a running runtime: queues and workers, with rates; press ? for the keys.

    Without a terminal, or with --json, it prints a line for each queue, or a JSON document, each
    time. If the runtime goes away it waits for it to come back; with --once, or if there never was
    one, the exit code is 1.

    Example: queueactors top --interval 5
    """
    path = find_socket(socket, data_dir, config)
    drawn = not as_json and not once and sys.stdin.isatty() and sys.stdout.isatty()
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
    code = trio.run(_draw if drawn else _print, path, interval, show)
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
            click.echo(f"{why}; waiting for it", err=True)
        told = why

    def shown(snapshot: Top) -> None:
        nonlocal told
        told = ""
        show(snapshot)

    await _follow(path, interval, shown, lost)
    return 0  # never


def _print_json(snapshot: Top) -> None:
    click.echo(msgspec.json.encode(snapshot))


def _print_frame(snapshot: Top) -> None:
    screen = Screen()
    screen.take(snapshot)
    click.echo("\n".join(screen.text(shutil.get_terminal_size().columns)))


class _Plain:
    """Prints a line for each queue."""

    def __init__(self) -> None:
        self._screen = Screen()

    def __call__(self, snapshot: Top) -> None:
        self._screen.take(snapshot)
        lines = [_plain(each) for each in self._screen.lines if not each.is_worker]
        if lines:
            click.echo("\n".join(lines))


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
    return " ".join([line.name if line.name.isprintable() else repr(line.name), *told])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


# -- on a terminal -----------------------------------------------------------------------------


@contextmanager
def _terminal(keys: int) -> Iterator[None]:
    """Take the terminal over: keys come at once and are not shown; give it back, always."""
    before = termios.tcgetattr(keys)
    try:
        tty.setcbreak(keys)
        _write(ENTER)
        yield
    finally:
        try:
            _write(LEAVE)
        finally:
            termios.tcsetattr(keys, termios.TCSADRAIN, before)


def _write(text: str) -> None:
    data = text.encode("utf-8", "replace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


@attrs.define(eq=False)
class Painter:
    """Knows what is on the terminal, and returns what has to be written to change it."""

    _before: list[str] = attrs.field(factory=list)
    _size: tuple[int, int] = (0, 0)

    def paint(self, lines: list[str], size: tuple[int, int]) -> str:
        """Return what makes ``lines`` of what is there; only those that have changed.

        Args:
          lines: The screen.
          size: Its columns and lines; after a change all is drawn anew.
        """
        text = ""
        if size != self._size:
            text, self._before, self._size = "\x1b[2J", [], size
        for number, line in enumerate(lines):
            if number >= len(self._before) or self._before[number] != line:
                shown = f"\x1b[7m{line.ljust(size[0])}\x1b[0m" if number == HEAD else line
                text += f"\x1b[{number + 1};1H\x1b[2K{shown}"
        self._before = lines
        return text


async def _draw(path: Path, interval: float, _show: Callable[[Top], None]) -> int:
    """Draw until somebody ends it; return the exit code."""
    with _terminal(sys.stdin.fileno()):
        async with bare_nursery() as nursery:
            drawing = _Drawing(Screen(interval), nursery.cancel_scope)
            nursery.start_soon(drawing.listen)
            nursery.start_soon(drawing.press)
            nursery.start_soon(_follow, path, interval, drawing.show, drawing.lost)
    return drawing.code


@attrs.define(eq=False)
class _Drawing:
    """A screen on the terminal.

    Args:
      screen: What is drawn.
      everything: What ends when somebody ends it.
    """

    screen: Screen
    everything: trio.CancelScope
    code: int = 0
    _painter: Painter = attrs.field(factory=Painter)

    def paint(self) -> None:
        """Let the terminal show what the screen has."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        text = self._painter.paint(self.screen.frame(columns, lines), (columns, lines))
        if text:
            _write(text)

    def show(self, snapshot: Top) -> None:
        """Take a snapshot."""
        self.screen.note = ""
        self.screen.take(snapshot)
        self.paint()

    def lost(self, why: str) -> None:
        """Say that there is no runtime."""
        self.screen.note = f"GONE: {why}; waiting for it to come back"
        self.paint()

    async def listen(self) -> None:
        """Take signals: another size, and the end."""
        with trio.open_signal_receiver(
            signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT
        ) as signals:
            async for number in signals:
                if number in {signal.SIGTERM, signal.SIGHUP}:
                    self.code = 128 + number
                    self.everything.cancel()
                else:
                    self.paint()

    async def press(self) -> None:
        """Take keys until one of them ends it, or the terminal is gone."""
        decode = getincrementaldecoder("utf-8")("ignore").decode
        keys = sys.stdin.fileno()
        while not self.screen.ended:
            self.paint()
            await trio.lowlevel.wait_readable(keys)
            data = os.read(keys, 1024)
            if data == b"\x1b" and select.select([keys], [], [], ESCAPE)[0]:
                data += os.read(keys, 1024)
            if not data:
                break
            for key in read_keys(decode(data)):
                self.screen.press(key)
        self.everything.cancel()
