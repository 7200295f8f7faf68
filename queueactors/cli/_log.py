"""The log on standard error, and the status line below it on a terminal."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

_CLEAR_LINE = "\r\x1b[2K"
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"  # a line that wraps would leave its first part behind


class StatusLine:
    """A text stream whose last line is a status that stays below everything written to it.

    Never raises because nobody can read it any more (a pipe that is closed, a terminal that is
    gone): the log must not end what it tells about.

    Args:
      stream: A terminal, or anything else: then `show` does nothing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._status = ""
        self.is_terminal = stream.isatty()

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
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # from now on it goes nowhere; also what is in its buffer already
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def configure_log(stream: StatusLine, *, level: str, log_format: str) -> None:
    """Let structlog write to a stream.

    Args:
      stream: Where to.
      level: The least severe events that are written: ``"debug"`` to ``"critical"``.
      log_format: ``"console"`` for people, ``"json"`` for programs: one object a line.
    """
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        processors.append(structlog.processors.format_exc_info)
        processors.append(structlog.processors.JSONRenderer(default=repr))
    else:
        processors.append(
            structlog.dev.ConsoleRenderer(
                colors=stream.is_terminal,
                exception_formatter=structlog.dev.plain_traceback,
            )
        )
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(stream),  # type: ignore[arg-type] # it writes
        cache_logger_on_first_use=True,
    )
