"""Tells a service manager how the daemon is: systemd's notification protocol, without its library.

Lines such as ``READY=1`` go as datagrams to the socket that the environment names. Whether there
is anybody to tell makes no difference to the caller: a socket that is missing or dead is one line
of log. What must not get lost, since somebody waits for it, is kept while the socket is full; what
is told again soon anyway is not.

Source: sd_notify(3) and sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
LONGEST: Final = 400  # characters of a status: it is a line on somebody's screen


class Notifier:
    """Tells a service manager what it has to know.

    Args:
      address: The socket's: a path, or ``@NAME`` for an abstract one. None: there is nobody.
      watchdog: Seconds within which each `feed` has to follow the last; None: none is wanted.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self.watchdog = watchdog if address else None
        self._address = address or None
        self._kept: list[bytes] = []  # not told yet, since the socket was full
        self._status = ""
        self._fails = False

    def __repr__(self) -> str:
        return f"<Notifier of {self._address!r}>"

    @classmethod
    def take(cls, environ: MutableMapping[str, str], pid: int | None = None) -> Notifier:
        """Return the one that the environment asks for; take what says so out of it.

        A child of this process must not think that it is meant.

        Args:
          environ: The variables, which lose those of `VARIABLES`.
          pid: The one that a watchdog must be for; None: this process's.
        """
        address, microseconds, meant = (environ.pop(name, "") for name in VARIABLES)
        watchdog = None
        if meant in {"", str(os.getpid() if pid is None else pid)} and microseconds.isdecimal():
            watchdog = int(microseconds) / 1e6 or None
        return cls(address, watchdog)

    @property
    def is_heard(self) -> bool:
        """Whether there is somebody to tell."""
        return self._address is not None

    def ready(self) -> None:
        """Tell that everything is up; or that a reload has ended, whatever came of it."""
        self._tell("READY=1", keep=True)

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._tell("STOPPING=1", keep=True)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell that the configuration is read again, and when that has ended."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000  # this clock, says the protocol
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={now}", keep=True)
        try:
            yield
        finally:
            self.ready()

    def status(self, text: str) -> None:
        """Tell how it is, in words. The same as before: nothing is told."""
        line = "".join(each if each.isprintable() else " " for each in text)
        line = line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."
        if (line != self._status or self._kept) and self._tell(f"STATUS={line}"):
            self._status = line

    def feed(self) -> None:
        """Tell the watchdog that all is well."""
        if self.watchdog is not None:
            self._tell("WATCHDOG=1")

    def _tell(self, lines: str, *, keep: bool = False) -> bool:
        """Send lines after those that were kept; return whether they were sent."""
        if self._address is None:
            return False
        # What no UTF-8 is, such as a name from a command line, must not end the daemon.
        self._kept.append(lines.encode("utf-8", "backslashreplace"))
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.connect(_path(self._address))
                while self._kept:
                    sender.send(self._kept[0])
                    del self._kept[0]
        except BlockingIOError:  # it is full, and told again at the next beat
            if not keep:
                self._kept.pop()
            return False
        except (OSError, ValueError) as error:
            self._kept.clear()  # nobody waits for it
            if not self._fails:
                log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
                log.warning("notify_failed", socket=self._address, error=str(error))
            self._fails = True
            return False
        self._fails = False
        return True


def _path(address: str) -> str:
    """Return an address as the kernel has it.

    Raises:
      ValueError: If it is none of a socket that can be told by datagrams.
    """
    if not address.startswith(("/", "@")):
        raise ValueError("expected NOTIFY_SOCKET to be an absolute path, or '@' and a name")
    return f"\0{address[1:]}" if address.startswith("@") else address
