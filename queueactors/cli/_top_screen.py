"""What `top` draws: snapshots and keys in, a screen as a list of lines out.

Pure: it knows no terminal and no clock. `_top` is the shell around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ._text import counted, fit, len_of, plain
from ._top_numbers import Line, Numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queueactors.control import Top

NAME: Final = 14  # columns of a name, at least
SHORT: Final = 10  # lines of a screen that has no room for more than a line above the titles
BARS: Final = "▁▂▃▄▅▆▇█"
HELP: Final = (
    "q          quit",
    "?          this page; any key goes back",
    "/          show only names with a text in them; Enter keeps it, Esc drops it",
    "< >        sort by the column to the left, to the right",
    "letters    sort by a column; once more: the other way round",
    "           n NAME   s STATE  r READY  v RSVD  i IN/S     o OUT/S  a OLDEST",
    "           b BURIED e ERR    9 P99    5 P50   d DELAYED  h RATE   w WAIT",
    "           m MBOX   x REST   y TRIES  k KIND",
    "t          as defined: each queue, and its workers below it",
    "arrows     up and down; PgUp and PgDn by a screen",
    "space      stop the picture, and let it go on",
    "",
    "READY      messages that can be taken       DELAYED  whose time has not come",
    "RSVD       that somebody has; of a worker, of how many at a time",
    "BURIED     that were put aside              ERR      attempts that failed",
    "IN/S OUT/S messages a second that came, that were done with; RATE: OUT/S so far",
    "OLDEST     how long the oldest ready message has waited",
    "P50 P99    what handlers take               WAIT     for the first attempt, P99",
    "TRIES      attempts a message               REST     restarts",
    "MBOX       operations that wait for the queue's actor",
)


@attrs.frozen
class Column:
    """A column.

    Args:
      key: The key that sorts by it.
      title: Its head.
      width: How wide it is.
      show: What stands there of a line.
      rank: What it is sorted by; None comes last.
    """

    key: str
    title: str
    width: int
    show: Callable[[Line], str]
    rank: Callable[[Line], float | str | None]


def _number(value: float | None) -> str:
    """Return a count in at most 6 characters."""
    if value is None:
        return ""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size * (100 if unit == "k" else 1):
            return f"{value / size:.1f}{unit}"
    return f"{value:.0f}"


def _rate(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if 0 < value < 100 else _number(value)


def _seconds(value: float | None) -> str:
    """Return a duration in at most 6 characters."""
    if value is None:
        return ""
    if value < 1:
        return f"{value * 1e3:.0f}ms" if value >= 0.001 else f"{value * 1e6:.0f}us"
    if value < 60:
        return f"{value:.1f}s"
    for unit, size, above in (("m", 60, 3600), ("h", 3600, 86400)):
        if value < above:
            return f"{value / size:.1f}{unit}"
    return f"{value / 86400:.0f}d"


def _held(line: Line) -> str:
    held = _number(line.reserved)
    return held if line.concurrency is None else f"{held}/{line.concurrency}"


def sparkline(history: Sequence[float], width: int) -> str:
    """Return the last rates as bars; the highest of them is a full one."""
    shown = history[-width:]
    most = max(shown, default=0)
    if most <= 0:
        return BARS[0] * len(shown)
    top = len(BARS) - 1
    return "".join(BARS[-(-round(each / most * top * 1000) // 1000)] for each in shown)


_STATES: Final = {"restarting": "restart"}  # what would be cut off

# The most important ones first: as many as there is room for.
COLUMNS: Final = (
    Column(
        "s", "STATE", 8, lambda line: _STATES.get(line.state, line.state), lambda line: line.state
    ),
    Column("r", "READY", 6, lambda line: _number(line.ready), lambda line: line.ready),
    Column("v", "RSVD", 6, _held, lambda line: line.reserved),
    Column("i", "IN/S", 6, lambda line: _rate(line.rate_in), lambda line: line.rate_in),
    Column("o", "OUT/S", 6, lambda line: _rate(line.rate_out), lambda line: line.rate_out),
    Column("a", "OLDEST", 6, lambda line: _seconds(line.oldest), lambda line: line.oldest),
    Column("b", "BURIED", 6, lambda line: _number(line.buried), lambda line: line.buried),
    Column("e", "ERR", 6, lambda line: _number(line.errors), lambda line: line.errors),
    Column("9", "P99", 6, lambda line: _seconds(line.p99), lambda line: line.p99),
    Column("d", "DELAYED", 7, lambda line: _number(line.delayed), lambda line: line.delayed),
    Column("h", "RATE", 12, lambda line: sparkline(line.history, 12), lambda line: line.rate_out),
    Column("5", "P50", 6, lambda line: _seconds(line.p50), lambda line: line.p50),
    Column("w", "WAIT", 6, lambda line: _seconds(line.wait), lambda line: line.wait),
    Column("m", "MBOX", 6, lambda line: _number(line.mailbox), lambda line: line.mailbox),
    Column("x", "REST", 5, lambda line: _number(line.restarts), lambda line: line.restarts),
    Column(
        "y",
        "TRIES",
        5,
        lambda line: "" if line.tries is None else f"{line.tries:.1f}",
        lambda line: line.tries,
    ),
    Column("k", "KIND", 8, lambda line: line.kind, lambda line: line.kind),
)
_LEFT: Final = frozenset(("STATE", "KIND", "RATE"))
_BY_NAME: Final = Column("n", "NAME", NAME, lambda line: line.name, lambda line: line.name)
_UP_FIRST: Final = frozenset("nsk")  # texts, from a on; numbers, the largest first


@attrs.define(eq=False)
class Screen:
    """What is on the screen: takes snapshots and keys, and draws.

    Args:
      interval: Seconds between two snapshots that were asked for.
    """

    interval: float = 1.0
    note: str = ""
    """Something that is wrong, in place of the runtime's own state."""
    sort: str = ""
    """The key of the column that it is sorted by; empty: as defined."""
    turned: bool = False
    filter: str = ""
    typing: bool = False
    paused: bool = False
    helps: bool = False
    first: int = 0
    ended: bool = False
    head: int | None = None
    """The line of the last frame that has the titles; None: it has none."""
    _numbers: Numbers = attrs.field(factory=Numbers)
    _lines: tuple[Line, ...] = ()
    _top: Top | None = None
    _shown: tuple[Column, ...] = ()
    _page: int = 1

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines, as defined."""
        return self._lines

    def take(self, top: Top) -> None:
        """Take a snapshot; while it is paused, only for the rates."""
        lines = self._numbers.take(top)
        if not self.paused or self._top is None:
            self._top, self._lines = top, lines

    # -- keys ----------------------------------------------------------------------------------

    def press(self, key: str) -> None:
        """Take a key: a character, or a name as `read_keys` has them."""
        if self.typing:
            self._type(key)
        elif self.helps:
            self.helps = False
            self.ended = key == "q"
        elif key == "q":
            self.ended = True
        elif key in {"?", "space", "/"}:
            self.helps, self.typing = key == "?", key == "/"
            self.paused ^= key == "space"
        elif key in {"<", ">"}:
            self._step(1 if key == ">" else -1)
        elif key == "t":
            self.sort, self.turned = "", False
        elif key == "escape":
            self.filter = ""
        elif key in {"up", "down", "pageup", "pagedown"}:
            step = {"up": -1, "down": 1, "pageup": -self._page, "pagedown": self._page}[key]
            self.first = max(self.first + step, 0)
        elif any(key == each.key for each in (_BY_NAME, *COLUMNS)):
            self.turned = key == self.sort and not self.turned
            self.sort = key

    def _type(self, key: str) -> None:
        if key in {"enter", "escape"}:
            self.typing = False
            self.filter = self.filter if key == "enter" else ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif key == "space" or len(key) == 1:
            self.filter += " " if key == "space" else key
        self.first = 0

    def _step(self, step: int) -> None:
        keys = ["", "n", *(each.key for each in self._shown)]
        at = keys.index(self.sort) if self.sort in keys else 0
        self.sort, self.turned = keys[(at + step) % len(keys)], False

    # -- drawing -------------------------------------------------------------------------------

    def frame(self, width: int, height: int) -> list[str]:
        """Return the lines of the screen: exactly ``height``, none wider than ``width``."""
        if self.helps:
            lines, self.head = list(HELP), None
        else:
            above = self._head()[: 1 if height < SHORT else None]
            self.head = len(above) if height > len(above) + 1 else None
            lines = [*above, *self._table(width, height - len(above) - 1)]
        lines = [*lines[: height - 1], *[""] * (height - 1 - len(lines)), self._foot()]
        return [fit(line, width).rstrip() for line in lines[-height:]]

    def text(self, width: int) -> list[str]:
        """Return everything, however many lines that are; none wider than ``width``."""
        lines = [*self._head(), *self._table(width, len(self._lines) + 1)]
        return [fit(line, width).rstrip() for line in lines]

    def _head(self) -> list[str]:
        top = self._top
        if top is None:
            return [self.note or "waiting for the first numbers", "", ""]
        told = top.status
        missing = len(told.not_ready)
        state = "ready" if told.ready else f"NOT READY: {told.not_ready[0]}"
        more = f", and {missing - 1} more" if missing > 1 else ""
        facts = [
            f"{told.messages:,} ready, {told.in_hand:,} in hand",
            counted(told.queues, "queue"),
            counted(told.workers, "worker"),
            *([f"{len(told.parked)} parked"] if told.parked else []),
            *([f"{len(told.stopped)} stopped"] if told.stopped else []),
            *([f"every {top.interval:.1f} s"] if top.interval > self.interval * 1.1 else []),
        ]
        who = f"{told.name}: process {told.pid}, up since {told.up_since}, {state}{more}"
        return [self.note or who, "  ".join(facts), ""]

    def _foot(self) -> str:
        if self.typing:
            return f"show names with: {self.filter}_"
        kept = f"  [filter: {self.filter}]" if self.filter else ""
        paused = "  [paused]" if self.paused else ""
        return f"q quit  ? help  / filter  < > sort  space pause{kept}{paused}"

    def _table(self, width: int, room: int) -> list[str]:
        room = max(room - 1, 0)
        lines = self._sorted()
        self._page = max(room, 1)
        self.first = max(min(self.first, len(lines) - room), 0)
        names = [len_of(_name(each, tree=not self.sort)) for each in lines]
        self._shown, name = _choose(width, max([NAME, *names]))
        head = fit(self._title(_BY_NAME), name)
        for column in self._shown:
            head += " " + _aligned(self._title(column), column)
        rows = [head]
        for line in lines[self.first : self.first + room]:
            row = fit(_name(line, tree=not self.sort), name)
            row += "".join([" " + _aligned(each.show(line), each) for each in self._shown])
            rows.append(row)
        return rows

    def _title(self, column: Column) -> str:
        if column.key != self.sort:
            return column.title
        up = (self.sort in _UP_FIRST) != self.turned
        return f"{column.title[: column.width - 1]}{'^' if up else 'v'}"

    def _sorted(self) -> list[Line]:
        lines = list(self._lines)
        if self.filter:
            text = self.filter.casefold()
            lines = [each for each in lines if text in each.name.casefold()]
        column = next((each for each in (_BY_NAME, *COLUMNS) if each.key == self.sort), None)
        if column is None:
            return lines
        known = [(rank, each) for each in lines if (rank := column.rank(each)) is not None]
        known.sort(key=lambda pair: pair[0], reverse=(self.sort in _UP_FIRST) == self.turned)
        return [
            *(each for _, each in known),
            *(each for each in lines if column.rank(each) is None),
        ]


def _name(line: Line, *, tree: bool) -> str:
    name = plain(line.name)
    return f"  {name}" if line.is_worker and tree else name


def _choose(width: int, longest: int) -> tuple[tuple[Column, ...], int]:
    """Return the columns that there is room for, and how wide names may be."""
    least = min(NAME, width // 2)
    left = width - least
    chosen: list[Column] = []
    for column in COLUMNS:
        if column.width + 1 > left:
            break
        chosen.append(column)
        left -= column.width + 1
    return tuple(chosen), min(longest, least + left)


def _aligned(text: str, column: Column) -> str:
    text = fit(text, column.width).rstrip()
    pad = " " * (column.width - len_of(text))
    return text + pad if column.title in _LEFT else pad + text


_NAMED: Final = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[5~": "pageup",
    "\x1b[6~": "pagedown",
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    " ": "space",
    "\x7f": "backspace",
    "\b": "backspace",
}


def read_keys(text: str) -> list[str]:
    """Return the keys of what a terminal has sent: characters, and names of the others."""
    keys: list[str] = []
    while text:
        found = max((each for each in _NAMED if text.startswith(each)), key=len, default=None)
        if found == "\x1b" and text[1:2] in {"[", "O"}:  # a key that is nothing here
            end = next((at for at, each in enumerate(text) if at > 1 and "@" <= each <= "~"), -1)
            text = text[end + 1 :] if end > 0 else ""
            continue
        if found is not None:
            keys.append(_NAMED[found])
        elif text[0].isprintable():
            keys.append(text[0])
        text = text[len(found or text[0]) :]
    return keys
