"""The peers that keep messages in a directory share their measures; here with one in memory."""

from __future__ import annotations

import zlib
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import pytest
import trio

from bench.peers import _embedded
from bench.peers._embedded import bytes_in, measures, per_second, values

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 400
TURNS = ("inserts_1", "inserts_50", "insert_batches", "cycles_1", "cycles_50", "batches")


class Queue:
    """A queue in one file, which is written when it is closed."""

    lost = 0  # messages

    def __init__(self, folder: Path, mode: str) -> None:
        self.path = folder / "queue"
        self.mode = mode
        lines = self.path.read_bytes().hex(" ", 200).split() if self.path.exists() else []
        self.messages = deque(map(bytes.fromhex, lines))

    async def push(self, values: list[bytes]) -> None:
        self.messages.extend(values)
        await trio.lowlevel.checkpoint()

    async def pop(self, limit: int) -> int:
        found = min(limit, len(self.messages) - self.lost)
        for _ in range(found):
            self.messages.popleft()
        await trio.lowlevel.checkpoint()
        return found

    def close(self) -> None:
        self.path.write_bytes(b"".join(self.messages))


class Forgetful(Queue):
    lost = 1


class Full(Queue):
    """Writes when it is closed; a megabyte if it is empty, as it should be."""

    def close(self) -> None:
        self.path.write_bytes(bytes(0 if self.messages else 1_000_000))


class Empty(Queue):
    def close(self) -> None:
        """Write nothing."""


@pytest.mark.parametrize("mode", ["process", "power"])
@pytest.mark.parametrize("name", TURNS)
def test_each_rate_is_a_number(name: str, mode: str) -> None:
    assert measures(Queue)[f"{mode}_{name}"](COUNT) > 0


def test_a_peer_without_a_mode_has_no_measure_of_it() -> None:
    names = set(measures(Queue, ("process",), "_threads"))

    assert names == {f"process_{name}_threads" for name in TURNS} | {
        "size_open_threads",
        "size_threads",
        "reopen_threads",
    }


def test_a_queue_is_opened_in_the_mode_that_is_measured() -> None:
    modes: list[str] = []

    def opened(folder: Path, mode: str) -> Queue:
        modes.append(mode)
        return Queue(folder, mode)

    measures(opened)["power_cycles_1"](COUNT)

    assert modes == ["power"]


def test_a_peer_that_loses_a_message_is_no_peer() -> None:
    with pytest.raises(AssertionError, match=r"^expected 400 messages to be left, got 399$"):
        measures(Forgetful)["process_inserts_50"](COUNT)


def test_the_size_is_that_of_all_files_in_the_directory(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "one").write_bytes(bytes(1000))
    (tmp_path / "folder" / "two").write_bytes(bytes(24))

    assert bytes_in(tmp_path) == 1024


def test_the_size_is_taken_after_all_messages_went_before_and_after_the_queue_is_closed() -> None:
    assert measures(Full)["size_open"](COUNT) == 0
    assert measures(Full)["size"](COUNT) == 1


def test_a_queue_that_is_opened_again_must_have_its_messages() -> None:
    assert measures(Queue)["reopen"](COUNT) > 0
    with pytest.raises(AssertionError, match=r"^expected a message to be left, got 0$"):
        measures(Empty)["reopen"](COUNT)


def test_values_do_not_compress() -> None:
    some = b"".join(islice(values(), 100))

    assert len(some) == 100 * _embedded.VALUE_BYTES
    assert len(zlib.compress(some)) >= len(some)


def test_a_rate_counts_what_is_done_and_not_what_was_asked_for() -> None:
    pushed: list[bytes] = []

    async def work(queue: _embedded.Queue, count: int) -> None:
        pushed.extend(islice(values(), count))
        await trio.lowlevel.checkpoint()

    assert per_second(Queue, "process", work, 3)(10) > 0
    assert len(pushed) == 9
