"""The log on standard error, and the status line below it on a terminal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import Processor

_CLEAR_LINE = "\r\x1b[2K"


class StatusLine:
    """A text stream whose last line is a status that stays below everything written to it.

    Args:
      stream: A terminal, or anything else: then `show` does nothing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._status = ""
        self.is_terminal = stream.isatty()

    def write(self, text: str) -> int:
        """Write a line of log above the status."""
        if self._status:
            text = f"{_CLEAR_LINE}{text}" + (self._status if text.endswith("\n") else "")
        return self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def show(self, status: str) -> None:
        """Replace the status; an empty one leaves nothing behind."""
        if self.is_terminal:
            self._stream.write(f"{_CLEAR_LINE}{status}")
            self._stream.flush()
            self._status = status


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
        processors += [structlog.processors.format_exc_info, _json]
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


def _json(_logger: object, _method: str, event: MutableMapping[str, object]) -> str:
    import msgspec

    return msgspec.json.encode(event, enc_hook=repr).decode()
