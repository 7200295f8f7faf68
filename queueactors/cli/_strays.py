"""What would write to standard error by itself goes to the log, as events.

Warnings, `logging`, what ends a thread, what nobody can catch, and what ends the program: a
collector that reads one JSON object a line must not meet anything else. What faulthandler writes
when the process is about to be killed is the exception: nothing of Python runs any more by then.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from supervisors import describe

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO


def open_streams() -> None:
    """Let the three standard streams lead nowhere, if whoever started this closed them.

    Otherwise the next file that is opened, such as a store's, gets the number of one of them.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace"))


def capture_strays() -> None:
    """Send what would write to standard error by itself to the log, for good."""
    with suppress(OSError, RuntimeError, ValueError):  # a standard error that is no file
        faulthandler.enable()
    warnings.showwarning = _show_warning
    threading.excepthook = _thread_failed
    sys.unraisablehook = _nobody_catches
    sys.excepthook = _crashed
    handler = logging.lastResort = _Handler()  # for loggers that tell nobody else, too
    logging.getLogger().handlers[:] = [handler]


def _log() -> structlog.typing.FilteringBoundLogger:
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
    return log


class _Handler(logging.Handler):
    """Sends records of `logging` to the log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - its arguments do not fit it, or have a `__str__`
            message = str(record.msg)
        level = min(max(record.levelno // 10, 1), 5) * 10  # one that has a name
        facts: dict[str, object] = {"logger": record.name, "message": message}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            facts["exc_info"] = error
        _log().log(level, "logged", **facts)


def _show_warning(  # noqa: PLR0913, PLR0917 - the signature of `warnings.showwarning`
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - nobody else gets it
    line: str | None = None,  # noqa: ARG001 - the source is where file and line say
) -> None:
    _log().warning(
        "python_warning",
        category=category.__name__,
        message=str(message),
        file=filename,
        line=lineno,
    )


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or args.exc_value is None:
        return
    _log().error(
        "thread_failed",
        thread=None if args.thread is None else args.thread.name,
        error=describe(args.exc_value),
        exc_info=args.exc_value,
    )


def _nobody_catches(args: sys.UnraisableHookArgs) -> None:
    if args.exc_value is not None:
        _log().error(
            "exception_ignored",
            where=repr(args.object) if args.err_msg is None else f"{args.err_msg}: {args.object!r}",
            error=describe(args.exc_value),
            exc_info=args.exc_value,
        )


def _crashed(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    _log().critical("run_crashed", error=describe(error), exc_info=error)
