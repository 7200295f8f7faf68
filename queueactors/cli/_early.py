"""Signals before a runtime takes them over, and after it has ended.

Imports nothing that takes time: from its first moment on, a process 1 is deaf to what it has not
asked for, and a hangup ends any other.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress


class Hangup:
    """Takes SIGHUP while nobody can go by it, and knows that one came."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, *_: object) -> None:
        self.came = True


def take_signals() -> Hangup:
    """Let SIGTERM end the program at once, in order, until a runtime takes the signals over.

    While modules are imported there is nothing that could be stopped. A second time: nothing
    happens; what has taken SIGHUP the first time is returned.
    """
    known = signal.getsignal(signal.SIGHUP) if hasattr(signal, "SIGHUP") else None
    if isinstance(known, Hangup):
        return known
    hangup = Hangup()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: _leave(0))
        if hasattr(signal, "SIGHUP"):  # not on Windows
            signal.signal(signal.SIGHUP, hangup)
    return hangup


def end_at_signals(code: int) -> None:
    """Let SIGINT and SIGTERM end the program at once: all that counts is done.

    Args:
      code: How it has ended, whatever is still to come.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: _leave(code))


def _leave(code: int) -> None:
    with suppress(OSError, RuntimeError, ValueError):  # closed, or in the middle of a write
        sys.stdout.flush()
    os._exit(code)
