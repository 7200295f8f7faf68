"""The socket's file: who may, what is stale, what is in the way, how long its path is."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from queueactors.control import (
    ControlClient,
    ControlClosedError,
    ControlLockedError,
    ControlUnreachableError,
    open_control,
)
from queueactors.control._protocol import greeting_line
from queueactors.control._socket import PATIENCE, Peer, SocketFile, connect, is_welcome, peer_of
from supervisors import ChildStartError

from .kit import controlled, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from trio.testing import MockClock

    from tests.conftest import Events

NOBODY = 65534
LONG = "x" * 10_000_000  # more than any socket has room for


async def test_only_its_owner_may_connect_from_the_first_instant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    bind = os.umask(0)  # what would be open to all

    def look(path: Path, mode: int) -> None:
        seen.append((path.parent.name, stat.S_IMODE(path.parent.stat().st_mode)))
        os.chmod(path, mode)  # noqa: PTH101 - this is what stands for it

    monkeypatch.setattr("pathlib.Path.chmod", look)
    try:
        file = SocketFile(tmp_path / "control.sock")
        listener = await file.open()
    finally:
        os.umask(bind)

    ((name, mode),) = seen
    assert name.startswith(".control-")
    assert mode == 0o700
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"control.sock", "control.sock.lock"}  # noqa: ASYNC240 - no disk
    listener.socket.close()
    file.close()


async def test_it_is_removed_in_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path):
        assert (tmp_path / "control.sock").is_socket()

    assert not (tmp_path / "control.sock").exists()


async def test_somebody_elses_is_not_removed(tmp_path: Path) -> None:
    async with serving(tmp_path):
        (tmp_path / "control.sock").unlink()
        (tmp_path / "control.sock").write_text("mine")

    assert (tmp_path / "control.sock").read_text() == "mine"


async def test_what_a_dead_process_has_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
        dead.listen()

    async with controlled(tmp_path) as (_, client):
        assert client.pid == os.getpid()


async def test_a_second_runtime_is_told_who_has_it(tmp_path: Path) -> None:
    async with serving(tmp_path):
        with pytest.raises(ChildStartError) as caught:
            async with serving(tmp_path):
                pass

        error: BaseException | None = caught.value
        while error is not None and not isinstance(error, ControlLockedError):
            error = error.__cause__
        assert error is not None
        assert error.pid == os.getpid()
        assert "control.sock belongs to process" in str(error)
        async with open_control(tmp_path / "control.sock") as client:
            assert await client.queues() == ()


async def test_another_programs_socket_is_not_taken_away(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(tmp_path / "control.sock"))
        alive.listen()

        with pytest.raises(ControlLockedError):
            await SocketFile(tmp_path / "control.sock").open()
        assert (tmp_path / "control.sock").is_socket()


async def test_a_file_that_is_no_socket_is_not_taken_away(tmp_path: Path) -> None:
    (tmp_path / "control.sock").write_text("precious")

    with pytest.raises(OSError, match="is no socket; remove it"):
        await SocketFile(tmp_path / "control.sock").open()
    assert (tmp_path / "control.sock").read_text() == "precious"


async def test_whoever_comes_while_many_wait_is_taken_in_later(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        async with await connect(path):
            with trio.move_on_after(0.2) as waiting:
                await connect(path)
            with pytest.raises(ControlLockedError):  # it is busy, and not stale
                await SocketFile(path).open()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_accept_two, listener)
                async with await connect(path):
                    pass

    assert waiting.cancelled_caught


async def _accept_two(listener: socket.socket) -> None:
    for _ in range(2):
        accepted, _ = await trio.to_thread.run_sync(listener.accept)
        accepted.close()


async def test_a_runtime_that_takes_nobody_in_may_be_stuck(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        async with await connect(path):
            for _ in range(2):  # the second time it has room, and says nothing
                with pytest.raises(ControlUnreachableError, match="10 seconds; it may be stuck"):
                    async with open_control(path):
                        pass
                listener.accept()[0].close()


async def test_a_runtime_that_reads_nothing_any_more_holds_nobody(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        reading_nothing(tmp_path / "control.sock"),
        open_control(tmp_path / "control.sock") as client,
        trio.open_nursery() as nursery,
    ):
        begun = trio.current_time()
        nursery.start_soon(_is_ended, client.tree())
        await wait_all_tasks_blocked()
        await _is_ended(client.insert("q", LONG))

        assert trio.current_time() == begun + PATIENCE
        await _is_ended(client.tree())


async def test_whoever_leaves_a_runtime_that_reads_nothing_any_more_gets_away(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        reading_nothing(tmp_path / "control.sock"),
        open_control(tmp_path / "control.sock") as client,
    ):
        begun = trio.current_time()
        with trio.move_on_after(1) as leaving:
            await client.insert("q", LONG)

        assert leaving.cancelled_caught
        assert trio.current_time() == begun + PATIENCE  # a line is not cut off before


def test_ctrl_c_ends_whoever_waits_and_not_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(_client: ControlClient, _answer: object) -> None:
        signal.raise_signal(signal.SIGINT)  # while an answer is read

    async def main() -> None:
        async with controlled(tmp_path) as (_, client):
            monkeypatch.setattr(ControlClient, "_take", interrupted)
            await client.tree()

    with pytest.raises(KeyboardInterrupt):  # alone: nothing else has failed by that
        trio.run(main)


@asynccontextmanager
async def reading_nothing(path: Path) -> AsyncIterator[None]:
    """Be a runtime that takes one client in, says who it is, and is stuck from then on."""

    async def take_in() -> None:
        sock, _ = await listener.accept()
        accepted.append(trio.SocketStream(sock))
        await accepted[0].send_all(greeting_line("stuck", os.getpid()))

    accepted: list[trio.SocketStream] = []
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_in)
            yield
        await accepted[0].aclose()


async def _is_ended(call: Awaitable[object]) -> None:
    with pytest.raises(ControlClosedError, match="10 seconds; it may be stuck"):
        await call


async def test_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    precious = tmp_path / "other" / "precious"
    precious.write_text("precious")
    (tmp_path / "control.sock").symlink_to(precious)
    (tmp_path / "second.lock").symlink_to(precious)

    for name in ("control.sock", "second"):
        with pytest.raises(OSError, match=r"is no socket|symbolic links"):
            await SocketFile(tmp_path / name).open()
    assert precious.read_text() == "precious"
    assert [*(tmp_path / "other").iterdir()] == [precious]


async def test_a_path_may_be_longer_than_an_address(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)

    async with controlled(folder) as (_, client):
        assert (await client.status()).ready


@pytest.mark.parametrize("length", range(98, 112))
async def test_at_no_length_of_its_path_is_there_a_gap(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("x" * (length - len(str(tmp_path)) - 1))
    file = SocketFile(path)
    listener = await file.open()

    async with await connect(path), await listener.accept() as accepted:
        assert peer_of(accepted.socket) == Peer(os.getpid(), os.geteuid())
    listener.socket.close()
    file.close()


async def test_who_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ControlUnreachableError, match="no runtime answers there; start one with"):
        async with open_control(tmp_path / "control.sock"):
            pass


def test_only_the_owner_and_root_are_welcome() -> None:
    assert is_welcome(Peer(1, os.geteuid()))
    assert is_welcome(Peer(1, 0))
    assert not is_welcome(Peer(1, os.geteuid() + 1))


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_may_not_talk_to_it(tmp_path: Path, events: Events) -> None:
    script = (
        "import os, socket, sys\n"
        f"os.setgid({NOBODY}); os.setgroups([]); os.setuid({NOBODY})\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "try:\n    s.connect(sys.argv[1])\n"
        "except PermissionError:\n    print('refused by the file'); sys.exit()\n"
        "print(s.makefile().readline())\n"
    )
    reachable = tmp_path / "s"
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)

    async def ask() -> str:
        command = [sys.executable, "-c", script, str(reachable)]
        done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT)
        return done.stdout.decode()

    async with serving(tmp_path, control={"socket": str(reachable)}):
        assert await ask() == "refused by the file\n"
        reachable.chmod(0o666)  # somebody was careless
        assert "only its own user and root may" in await ask()

    (refused,) = [each for each in events if each["event"] == "control_refused"]
    assert refused["uid"] == NOBODY


async def test_without_being_asked_for_it_is_no_reason_not_to_start(
    tmp_path: Path, events: Events
) -> None:
    from queueactors import open_runtime

    (tmp_path / "file").write_text("")
    tables = {"runtime": {"data_dir": str(tmp_path / "file" / "var")}}

    async with open_runtime(tables, control=True) as runtime:
        assert runtime.not_ready() == ()
    with pytest.raises(ChildStartError):
        async with open_runtime(tables | {"control": {"socket": True}}):
            pass

    assert [each["event"] for each in events].count("control_unavailable") == 1


async def test_a_program_has_none_unless_it_says_so(tmp_path: Path) -> None:
    from queueactors import open_runtime

    tables = {"runtime": {"data_dir": str(tmp_path)}}
    async with (
        open_runtime(tables),
        open_runtime(tables | {"control": {"socket": False}}, control=True),
    ):
        assert not (tmp_path / "control.sock").exists()
