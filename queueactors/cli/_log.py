"""The log on standard error, and the status line below it on a terminal."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from io import StringIO
from threading import RLock
from typing import TYPE_CHECKING, Final, TextIO

import structlog

from ._text import plain

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

_CLEAR_LINE = "\r\x1b[2K"
_METHODS = ("debug", "info", "warning", "error", "exception", "critical", "log")
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"  # a line that wraps would leave its first part behind
_INSTANT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"  # ISO 8601, of one length


class StatusLine:
    """A text stream whose last line is a status that stays below everything written to it.

    Never raises because nobody can read it any more (a pipe that is closed, a terminal that is
    gone): the log must not end what it tells about.

    Args:
      stream: A terminal, or anything else: then `show` does nothing.
      plain: Whether to take even a terminal for something else: a program reads it.
    """

    def __init__(self, stream: TextIO, *, plain: bool = False) -> None:
        self._stream = stream
        self._status = ""
        self._lock = RLock()  # threads log as well
        self._waiting: deque[str] = deque()
        self.is_terminal = not plain and stream.isatty()

    def write(self, text: str) -> int:
        """Write a line of log above the status."""
        self._write(f"{_CLEAR_LINE}{text}{self._status}" if self._status else text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: every write is flushed."""

    def show(self, status: str) -> None:
        """Replace the status; an empty one leaves nothing behind."""
        if self.is_terminal:
            self._status = f"{_NO_WRAP}{status}{_WRAP}" if status else ""
            self._write(f"{_CLEAR_LINE}{self._status}")

    def _write(self, text: str) -> None:
        with self._lock:
            self._waiting.append(text)
            if len(self._waiting) > 1:
                return  # in the middle of a line, something is collected that logs its end
            while self._waiting:
                self._write_now(self._waiting[0])
                self._waiting.popleft()

    def _write_now(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # from now on it goes nowhere; also what is in its buffer already
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class _Logger(structlog.make_filtering_bound_logger(logging.NOTSET)):  # type: ignore[misc] # a class
    """A logger whose level can change: all loggers there are share its methods."""


def set_level(level: str) -> None:
    """Write events from that level on, in every logger there is, and what `logging` has.

    Args:
      level: ``"debug"`` to ``"critical"``.
    """
    base = structlog.make_filtering_bound_logger(logging.getLevelName(level.upper()))
    for name in _METHODS:
        setattr(_Logger, name, getattr(base, name))
    logging.getLogger().setLevel(level.upper())


def configure_log(stream: StatusLine, *, level: str, log_format: str, final: bool = True) -> None:
    """Let structlog write to a stream.

    Args:
      stream: Where to.
      level: The least severe events that are written: ``"debug"`` to ``"critical"``.
      log_format: ``"console"`` for people, ``"json"`` for programs: one object a line.
      final: Whether loggers may keep it; otherwise another configuration follows.
    """
    set_level(level)
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt=_INSTANT, utc=True),
    ]
    if log_format == "json":
        processors += [structlog.processors.format_exc_info, render_json]
    else:
        processors.append(_escape)
        processors.append(
            structlog.dev.ConsoleRenderer(
                colors=stream.is_terminal,
                exception_formatter=_traceback,
            )
        )
    structlog.configure(
        processors=processors,
        wrapper_class=_Logger,
        logger_factory=structlog.WriteLoggerFactory(stream),  # type: ignore[arg-type] # it writes
        cache_logger_on_first_use=final,
    )


def _escape(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Let no text of somebody's command the terminal, or look like a line of ours."""
    return {
        plain(key): plain(fact, keep="\n" if key == "stack" else "")
        if isinstance(fact, str)
        else fact
        for key, fact in event.items()
    }


def _traceback(stream: TextIO, error: ExcInfo) -> None:
    whole = StringIO()
    structlog.dev.plain_traceback(whole, error)
    stream.write(plain(whole.getvalue(), keep="\n"))


def render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return an event as one line, whatever it consists of: what JSON has no word for as text."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    facts = {**first, **event}
    try:
        return json.dumps(facts, default=_text, allow_nan=False)
    except Exception:  # noqa: BLE001 - keys, cycles, NaN, or a `__repr__` of somebody's
        plain = {str(key): _plain(fact) for key, fact in facts.items()}
        return json.dumps(plain, default=_text)


def _plain(fact: object) -> object:
    try:
        json.dumps(fact, default=_text, allow_nan=False)
    except Exception:  # noqa: BLE001 - likewise
        return _text(fact)
    return fact


def _text(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - likewise
        return f"<{type(value).__name__}>"
