"""A progress bar on standard error: rich's if it is there, a line otherwise."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as Bar

REDRAW: Final = 0.1  # seconds between two looks of the bar
REPORT: Final = 10.0  # seconds between two lines without a terminal


class Progress:
    """Shows how far something is, inside a ``with`` block. Called with what is done so far.

    Args:
      what: What is done, as in "exporting".
      total: How much there is; None: nobody knows.
    """

    def __init__(self, what: str, total: int | None) -> None:
        from ._log import StatusLine

        self._what = what
        self._total = total
        self._line = StatusLine(sys.stderr)
        self._every = REDRAW if self._line.is_terminal else REPORT
        self._bar: Bar | None = None
        self._begun = self._shown = perf_counter()
        self._first: int | None = None  # what was done before

    def __enter__(self) -> Self:
        if self._line.is_terminal:
            self._bar = _bar(self._what, self._total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._line.show("")

    def __call__(self, done: int) -> None:
        """Show it, if it is time to."""
        if self._first is None:
            self._first = done
        now = perf_counter()
        if now - self._shown < self._every:
            return
        self._shown = now
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)
            return
        rate = (done - self._first) / (now - self._begun)
        text = f"{self._what}: {done:,}"
        if self._total is not None:
            left = (self._total - done) / rate if rate else 0
            text += f" of {self._total:,}, {rate:,.0f}/s, {left:.0f} s left"
        if self._line.is_terminal:
            self._line.show(text)
        else:
            self._line.write(text + "\n")


def _bar(what: str, total: int | None) -> Bar | None:
    """Return rich's bar, if rich is installed."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task(what, total=total)
    bar.start()
    return bar
