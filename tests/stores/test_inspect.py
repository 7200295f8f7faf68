"""What `store check` finds in a file, and that it leaves it as it is."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from queueactors._codecs import LETTER, Encoded, PickleCodec, Values, make_codec
from queueactors.stores._file import MIGRATIONS, NotAStoreError
from queueactors.stores._inspect import FileReport, inspect_file
from queueactors.stores._owner import Owner

from .kit_file import TABLES, message, opened, put

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def inspect(path: Path, values: Mapping[str, Values] | None = None) -> FileReport:
    return inspect_file(path, TABLES, values or {}, lambda _done: None)


def change(path: Path, sql: str) -> None:
    """Run a statement behind everybody's back."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql)
    connection.close()


def test_it_tells_what_is_there(tmp_path: Path) -> None:
    letter = Values(make_codec("json")).encode("x")
    with opened(tmp_path / "a") as file:
        put(file, "one", [message(1, "a"), message(2, "b", state="buried")])
        put(file, "two", [message(1, letter), message(2, Encoded("pickle", b"?"))], codec="json")

    report = inspect(tmp_path / "a")

    one, two = report.queues
    assert (one.name, one.kind, one.messages, one.bytes) == ("one", "timed", 2, 4)
    assert one.states == {"ready": 1, "buried": 1}
    assert (two.codecs, two.unchecked) == ({"json": 1, "pickle": 1}, 1)
    assert report.version == len(MIGRATIONS)
    assert report.owner is None
    assert report.bytes == (tmp_path / "a").stat().st_size
    assert report.faults == []


def test_it_finds_what_cannot_be_decoded(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        bad = [message(n, b"\xc1") for n in range(1, 13)]
        bad.append(message(20, Encoded("json", b"{")))
        bad.append(message(21, Encoded(LETTER + "msgpack", b"\x01")))
        put(file, "q", [*bad, message(22, "good")])

    report = inspect(tmp_path / "a")

    (queue,) = report.queues
    assert queue.undecodable == 14
    assert queue.undecodable_ids == list(range(1, 11))
    (told,) = report.faults
    assert told == "queue 'q': 14 messages cannot be decoded: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..."


def test_a_queue_whose_codec_is_known_is_decoded_with_it(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", [message(1, PickleCodec.encode({1}))], codec="pickle")
        put(file, "p", [message(1, "text")])

    report = inspect(
        tmp_path / "a",
        {"q": Values(make_codec("pickle")), "p": Values(make_codec("msgpack", int))},
    )

    assert [(queue.unchecked, queue.undecodable) for queue in report.queues] == [(0, 0), (0, 1)]


def test_the_owner_is_named_and_not_disturbed(tmp_path: Path) -> None:
    owner = Owner(tmp_path / "a")
    with opened(tmp_path / "a") as file:
        owner.take()
        put(file, "q", [message(1, "in the log still")])

        report = inspect(tmp_path / "a")

        assert report.owner is not None
        assert report.owner["pid"] == os.getpid()
        assert report.queues[0].messages == 1
        assert report.log_bytes > 0
        put(file, "q", [message(2, "goes on")])
    owner.release()
    assert inspect(tmp_path / "a").owner is None


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("UPDATE timed SET id = (9 << 40) + 1", "1 messages of kind timed belong to no queue"),
        ("UPDATE timed SET id = id + 7", "queue 'q' has message 8, and its next id is 2"),
        ("UPDATE queue SET kind = 'none'", "queue 'q' is of an unknown kind, 'none'"),
        ("UPDATE queue SET head = '{'", "the queues cannot be read: Input data was truncated"),
        ("PRAGMA user_version = 99", "its schema version, 99, is of a newer program"),
        ("DROP TABLE timed", "it cannot be read: no such table: timed"),
    ],
)
def test_it_finds_what_does_not_fit(tmp_path: Path, sql: str, fault: str) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", [message(1, "x")])
    change(tmp_path / "a", sql)

    assert inspect(tmp_path / "a").faults == [fault]


def test_it_finds_a_corrupt_page(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", [message(n, "x" * 100) for n in range(1, 500)])
    with (tmp_path / "a").open("r+b") as stream:
        stream.seek(4096 * 8)
        stream.write(b"\xff" * 4096)

    assert inspect(tmp_path / "a").faults != []


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all, and long enough to see that" * 100)
    change(tmp_path / "db", "CREATE TABLE mine (x)")

    assert inspect(tmp_path / "text").faults == ["it cannot be read: file is not a database"]
    with pytest.raises(NotAStoreError, match=r"db is a database, but no store of queueactors$"):
        inspect(tmp_path / "db")


def test_it_changes_nothing_also_after_a_crash(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", [message(1, "x")])
        for name in ("a", "a-wal"):  # as a process leaves it that was killed
            (tmp_path / name.replace("a", "b", 1)).write_bytes((tmp_path / name).read_bytes())
    before = [(tmp_path / name).read_bytes() for name in ("b", "b-wal")]

    report = inspect(tmp_path / "b")

    assert report.queues[0].messages == 1
    assert [(tmp_path / name).read_bytes() for name in ("b", "b-wal")] == before
    assert not (tmp_path / "b.lock").exists()
