"""What a service manager is told, by a real socket, of real processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from queueactors import open_runtime
from queueactors.cli._beat import Beat, status_text
from queueactors.cli._notify import LONGEST, Notifier

from .kit import PARKED, PATIENCE, config, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Events

    from .conftest import Start

MODULE = """
import os
import subprocess
import sys
import time
import trio

SEEN = [name for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID") if name in os.environ]

def tell(delivery):
    print("variables", SEEN, flush=True)

async def stick(delivery):
    print("sticks", flush=True)
    time.sleep(60)

async def stubborn_start(*, task_status):
    print("starting", flush=True)
    with task_status.shield():
        await trio.sleep(60)

async def crash(*, task_status):
    task_status.started()
    await trio.sleep(0.3)
    raise OSError("the disk is gone")
"""


class Manager:
    """A service manager: the socket that it listens at.

    Args:
      address: Where: a path, or ``@`` and a name.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.settimeout(PATIENCE)
        self.heard: list[str] = []

    def hear(self, seconds: float = PATIENCE) -> str:
        """Wait for a datagram; empty: none came in time."""
        self._socket.settimeout(seconds)
        try:
            said = self._socket.recv(65536).decode()
        except TimeoutError:
            return ""
        self.heard.append(said)
        return said

    def hear_until(self, what: str) -> None:
        """Wait for a datagram that has a text."""
        deadline = time.monotonic() + PATIENCE  # noqa: TID251 - of the real process
        while what not in self.hear():
            late = time.monotonic() > deadline  # noqa: TID251
            assert not late, f"expected {what!r}, heard {self.heard}"

    def drain(self) -> list[str]:
        """Return all that was said, and what is there."""
        with suppress(BlockingIOError):
            self._socket.setblocking(False)
            while True:
                self.heard.append(self._socket.recv(65536).decode())
        return self.heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "svc.py").write_text(MODULE, encoding="utf-8")
    return folder


# -- the notifier ----------------------------------------------------------------------------------


def test_it_takes_its_variables_out_of_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7", "A": "b"}

    notifier = Notifier.take(environ, pid=7)

    assert environ == {"A": "b"}
    assert notifier.is_heard
    assert notifier.watchdog == 3.0


@pytest.mark.parametrize(
    ("microseconds", "pid", "expected"),
    [
        ("3000000", "", 3.0),
        ("3000000", "7", 3.0),
        ("3000000", "8", None),
        ("3000000", "seven", None),
        ("0", "7", None),
        ("", "7", None),
        ("-5", "7", None),
        ("soon", "7", None),
    ],
)
def test_a_watchdog_is_only_for_the_process_that_is_meant(
    microseconds: str, pid: str, expected: float | None
) -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": microseconds, "WATCHDOG_PID": pid}

    assert Notifier.take(environ, pid=7).watchdog == expected


def test_without_a_socket_nobody_is_told_and_there_is_no_watchdog(events: Events) -> None:
    notifier = Notifier.take({"WATCHDOG_USEC": "3000000"})

    notifier.ready()
    notifier.status("fine")
    notifier.feed()
    with notifier.reloading():
        pass

    assert not notifier.is_heard
    assert notifier.watchdog is None
    assert events == []


def test_what_is_told_is_the_protocol(manager: Manager) -> None:
    notifier = Notifier(manager.address, watchdog=1.0)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    notifier.ready()
    notifier.status("fine")
    notifier.feed()
    with notifier.reloading():
        pass
    notifier.stopping()

    told = manager.drain()
    assert told[:3] == ["READY=1", "STATUS=fine", "WATCHDOG=1"]
    reloading = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", told[3])
    assert reloading is not None
    assert before <= int(reloading[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert told[4:] == ["READY=1", "STOPPING=1"]


def test_a_reload_that_fails_has_ended_as_well(manager: Manager) -> None:
    notifier = Notifier(manager.address)

    with pytest.raises(ValueError, match=r"^no$"), notifier.reloading():
        raise ValueError("no")

    assert manager.drain()[-1] == "READY=1"


def test_a_socket_may_be_abstract() -> None:
    manager = Manager(f"@queueactors-{os.getpid()}")
    try:
        Notifier(manager.address).ready()

        assert manager.hear() == "READY=1"
    finally:
        manager.close()


def test_a_status_is_told_when_it_changes(manager: Manager) -> None:
    notifier = Notifier(manager.address)

    for text in ("a", "a", "b", "a"):
        notifier.status(text)

    assert manager.drain() == ["STATUS=a", "STATUS=b", "STATUS=a"]


def test_a_status_is_one_line_whatever_is_in_it(manager: Manager) -> None:
    notifier = Notifier(manager.address)

    notifier.status("a\nREADY=1\0\x1b\udc80" + 500 * "b")

    (told,) = manager.drain()
    assert told.startswith("STATUS=a READY=1   bbb")
    assert told.endswith("b...")
    assert len(told) == len("STATUS=") + LONGEST


@pytest.mark.parametrize("address", ["/nowhere/at/all", "@nobody-is-here", "vsock:2:1", "x" * 300])
def test_nobody_there_is_one_line_of_log(address: str, events: Events) -> None:
    notifier = Notifier(address, watchdog=1.0)

    notifier.ready()
    notifier.status("fine")
    notifier.feed()

    assert [event["event"] for event in events] == ["notify_failed"]
    assert events[0]["socket"] == address


def test_somebody_who_comes_back_is_told_again(tmp_path: Path, events: Events) -> None:
    address = str(tmp_path / "notify")
    first = Manager(address)
    notifier = Notifier(address)
    notifier.status("a")
    first.close()
    notifier.status("b")
    (tmp_path / "notify").unlink()
    second = Manager(address)

    notifier.status("b")

    assert second.drain() == ["STATUS=b"]
    assert len(events) == 1
    second.close()


def test_a_full_socket_delays_what_must_be_told_and_drops_the_rest(
    manager: Manager, events: Events
) -> None:
    notifier = Notifier(manager.address, watchdog=1.0)
    for _ in range(1000):  # more than any socket keeps
        notifier.feed()
    notifier.ready()
    notifier.stopping()
    notifier.feed()
    fed = len(manager.drain())

    notifier.status("fine")

    assert 0 < fed < 1000
    assert manager.drain()[fed:] == ["READY=1", "STOPPING=1", "STATUS=fine"]
    assert events == []


def test_the_status_says_how_many_there_are_and_what_is_down() -> None:
    assert status_text(1, 2, ()) == "1 queue, 2 workers: ready"
    assert status_text(0, 1, ("a is parked",)) == "0 queues, 1 worker: not ready: a is parked"
    assert status_text(0, 0, ("a", "b", "c")).endswith(": not ready: a, and 2 more")


async def test_a_store_that_cannot_tell_how_it_is_does_not_end_the_daemon(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> tuple[str, ...]:
        raise RuntimeError("no statistics")

    async with open_runtime() as runtime:
        monkeypatch.setattr(runtime, "not_ready", broken)

        Beat(Notifier(manager.address)).started(runtime)

    assert manager.drain()[-1] == (
        "STATUS=0 queues, 0 workers: not ready: nobody knows: RuntimeError: no statistics"
    )


# -- a process -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_service_is_starting_then_ready_then_stopping(
    folder: Path, start: Start, manager: Manager
) -> None:
    program = start("run", write(folder, config()), environ={"NOTIFY_SOCKET": manager.address})
    manager.hear_until("ready")

    program.signal(signal.SIGTERM)

    assert program.end()[0] == 0
    assert manager.drain() == [
        "STATUS=starting",
        "READY=1",
        "STATUS=1 queue, 1 worker: ready",
        "STOPPING=1",
        "STATUS=stopping",
    ]


@pytest.mark.slow
def test_a_service_that_is_stopped_while_it_starts_says_so_at_once(
    folder: Path, start: Start, manager: Manager
) -> None:
    more = '[supervisor.mine]\n[[supervisor.mine.child]]\nstart = "svc:stubborn_start"\n'
    program = start(
        "run", write(folder, config(more=more)), environ={"NOTIFY_SOCKET": manager.address}
    )
    assert program.line() == "starting"

    program.signal(signal.SIGTERM)

    manager.hear_until("STOPPING=1")
    assert manager.hear() == "STATUS=stopping"
    program.signal(signal.SIGTERM)
    assert program.end()[0] == 0
    assert manager.drain() == ["STATUS=starting", "STOPPING=1", "STATUS=stopping"]


@pytest.mark.slow
def test_a_service_is_ready_only_when_everything_configured_is_up(
    folder: Path, start: Start, manager: Manager
) -> None:
    more = '[supervisor.mine]\n[[supervisor.mine.child]]\nstart = "app:no_start"\n'
    program = start(
        "run", write(folder, config(more=more)), environ={"NOTIFY_SOCKET": manager.address}
    )

    assert program.end()[0] == 1
    assert manager.drain() == ["STATUS=starting"]


@pytest.mark.slow
def test_what_is_parked_is_in_the_status(folder: Path, start: Start, manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    program = start("run", write(folder, config(more=PARKED)), environ=environ)

    manager.hear_until("is parked")

    assert manager.heard[-1] == (
        "STATUS=1 queue, 1 worker: not ready: "
        "test/supervisors/supervisor.mine/start.crash is parked"
    )
    program.signal(signal.SIGTERM)
    assert program.end()[0] == 0


@pytest.mark.slow
def test_children_of_the_service_do_not_think_that_they_are_meant(
    folder: Path, start: Start, manager: Manager
) -> None:
    environ = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "60000000",
        "WATCHDOG_PID": "1",
    }
    file = write(folder, config().replace("app:say", "svc:tell"))

    code, out, _ = start("run", file, "--until-idle", environ=environ).end()

    assert (code, out) == (0, "variables []\n")


@pytest.mark.slow
def test_the_watchdog_is_fed_while_the_loop_turns(
    folder: Path, start: Start, manager: Manager
) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    program = start("run", write(folder, config()), environ=environ)
    manager.hear_until("READY=1")

    instants: list[float] = []
    while len(instants) < 5:
        if manager.hear() == "WATCHDOG=1":
            instants.append(time.monotonic())  # noqa: TID251 - of the real process

    assert 0.25 < instants[-1] - instants[0] < 2.0  # four times half of it
    program.signal(signal.SIGTERM)
    program.end()


@pytest.mark.slow
def test_the_watchdog_is_fed_while_workers_finish_what_they_began(
    folder: Path, start: Start, manager: Manager
) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000"}
    program = start("run", write(folder, config("slow")), environ=environ)
    assert program.line() == "begun x"
    manager.hear_until("READY=1")

    program.signal(signal.SIGTERM)

    assert program.end()[0] == 0
    told = manager.drain()
    assert told[told.index("STOPPING=1") :].count("WATCHDOG=1") >= 2


@pytest.mark.slow
def test_a_stuck_loop_does_not_feed_the_watchdog_and_its_end_says_where_it_stands(
    folder: Path, start: Start, manager: Manager
) -> None:
    file = write(folder, config().replace("app:say", "svc:stick"))
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    program = start("run", file, environ=environ)
    assert program.line() == "sticks"
    manager.drain()

    assert manager.hear(1.0) == ""
    program.signal(signal.SIGABRT)  # what systemd ends it by
    code, _, err = program.end()

    assert code == -signal.SIGABRT
    assert re.search(r'svc\.py", line \d+ in stick', err)


@pytest.mark.slow
def test_a_runtime_that_has_given_up_is_not_fed_while_its_stop_hangs(
    folder: Path, start: Start, manager: Manager
) -> None:
    more = """
shutdown = "1h"
[supervisor.mine]
intensity = 0
[[supervisor.mine.child]]
start = "svc:crash"
"""
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    start("run", write(folder, config("endless", more=more)), environ=environ)

    manager.hear_until("STATUS=failed")
    while manager.hear(0.6):
        assert manager.heard[-1] != "WATCHDOG=1"

    assert "STOPPING=1" in manager.heard


@pytest.mark.slow
def test_a_dead_service_manager_harms_nobody(folder: Path, start: Start) -> None:
    environ = {"NOTIFY_SOCKET": str(folder / "nobody"), "WATCHDOG_USEC": "100000"}

    code, out, err = start(
        "run", write(folder, config("slow")), "--until-idle", environ=environ
    ).end()

    assert (code, out) == (0, "begun x\ndone x\n")
    assert err.count("notify_failed") == 1
