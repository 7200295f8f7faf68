"""One process at a time has a store's file; whoever else comes is told who."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from queueactors import Config, SqliteStore, StoreLockedError, open_runtime
from queueactors.config import StoreConfig
from supervisors import ChildStartError
from tests.stores.kit import define, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

    from supervisors import Supervisor

OWNER = """
import sys, pathlib, trio, structlog
from tests.stores.kit import define, running
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
async def main():
    async with running(pathlib.Path(sys.argv[1])) as runtime:
        await (await define(runtime)).insert(b"1")
        print("it has it", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@contextmanager
def another_process(path: Path) -> Iterator[int]:
    """Let another process have the file; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "it has it\n"
        try:
            yield owner.pid
        finally:
            owner.send_signal(signal.SIGKILL)


async def refusal(path: Path) -> StoreLockedError:
    """Return the error with which a runtime over that file does not start."""
    with pytest.raises(ChildStartError) as caught:
        async with running(path):
            pass
    return _locked(caught.value)


def _locked(error: BaseException) -> StoreLockedError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, StoreLockedError):
        cause = cause.__cause__
    assert cause is not None
    return cause


@pytest.mark.slow
async def test_a_second_process_is_told_who_has_it_and_since_when(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "store.sqlite"
    with another_process(path) as pid:
        error = await refusal(path)

    assert error.pid == pid
    assert error.started_at is not None
    age = datetime.now(UTC) - datetime.fromisoformat(error.started_at)
    assert timedelta() <= age < timedelta(minutes=5)
    assert f"belongs to process {pid} since {error.started_at}" in str(error)


@pytest.mark.slow
async def test_what_a_killed_process_had_is_taken_over(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "store.sqlite"
    with another_process(path):
        pass

    async with running(path) as runtime:
        queue = await define(runtime)
        assert [message.value for message in await queue.peek("ready", 9)] == [b"1"]


async def test_one_file_is_not_two_stores(tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "store.sqlite"
    stores = {
        name: StoreConfig(type="sqlite", factory=SqliteStore, options={"path": str(path)})
        for name in ("one", "two")
    }

    with pytest.raises(ChildStartError) as caught:
        async with open_runtime(Config(stores=stores)):
            pass

    error = _locked(caught.value)
    assert (error.store, error.pid) == ("two", os.getpid())


async def test_a_file_with_two_names_is_not_two_stores(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path, other = tmp_path / "store.sqlite", tmp_path / "other.sqlite"
    async with running(path):
        other.symlink_to(path)

        error = await refusal(other)

    assert error.pid == os.getpid()


async def test_an_owner_on_another_machine_is_named_with_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "store.sqlite"
    facts = {"pid": 1, "started_at": "2026-01-02T03:04:05+00:00", "host": "3f2a"}
    async with running(path):
        _write(tmp_path / "store.sqlite.lock", json.dumps(facts).encode())

        error = await refusal(path)

    assert (error.pid, error.host) == (1, "3f2a")
    assert "belongs to process 1 on 3f2a since 2026-01-02T03:04:05+00:00; " in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - ours


async def test_on_this_machine_the_process_is_enough(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "store.sqlite"
    async with running(path):
        error = await refusal(path)

    assert error.host is None
    assert f"belongs to process {os.getpid()} since " in str(error)
    assert str(error).endswith("stop that one, or give this one a data_dir, or a path, of its own")


async def test_it_is_free_once_its_runtime_has_ended(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "store.sqlite"
    for _ in range(2):
        async with running(path) as runtime:
            await (await define(runtime)).insert(b"1")


async def test_nobody_gets_it_while_its_actor_does_not_run(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The queues still have in memory what is in the file."""
    path = tmp_path / "store.sqlite"
    async with running(path) as runtime:
        queue = await define(runtime)
        group = cast("Supervisor", runtime.supervisor.value_of("stores"))
        await group.terminate_child("store.disk")

        error = await refusal(path)

        assert error.pid == os.getpid()
        await group.restart_child("store.disk")
        await queue.insert(b"1")


async def test_it_is_free_after_a_start_that_failed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "store.sqlite"
    _write(path, b"no database" * 100)
    with pytest.raises(ChildStartError):
        async with running(path):
            pass
    _write(path, b"")

    async with running(path) as runtime:
        await define(runtime)


async def test_an_owner_that_cannot_be_read_is_one_nevertheless(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "store.sqlite"
    async with running(path):
        _write(tmp_path / "store.sqlite.lock", b"{[")

        error = await refusal(path)

    assert (error.pid, error.started_at) == (None, None)
    assert "belongs to another process; one process at a time can use it: " in str(error)


async def test_a_runtime_that_goes_elsewhere_keeps_its_file(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    async with running(Path("store.sqlite")) as runtime:
        queue = await define(runtime)
        monkeypatch.chdir(there)

        await queue.insert(b"1")

    assert sorted(each.name for each in here.iterdir()) == ["store.sqlite", "store.sqlite.lock"]
    assert list(there.iterdir()) == []


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
