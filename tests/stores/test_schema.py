"""The schema of a store's file: every version is opened, a newer one and other files are not."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import trio
from structlog.testing import capture_logs

from queueactors import DeadLetter, StoreError, open_runtime
from queueactors.stores import _file
from queueactors.stores._file import APPLICATION, MIGRATIONS, NotAStoreError
from queueactors.stores._transfer import Export
from supervisors import ChildStartError

from .kit_file import TABLES, message, opened, put, rows
from .make_file import (
    AT,
    BATCHES,
    FILES,
    ITEMS,
    KEPT,
    LETTER,
    PAGES,
    Email,
    clock,
    define_batches,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import BatchQueue

VERSIONS = range(1, len(MIGRATIONS) + 1)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with capture_logs():
        yield


def pragma(path: Path, name: str) -> object:
    uri = f"{path.as_uri()}?mode=ro&immutable=1"  # so that it leaves nothing there
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


def change(path: Path, *statements: str) -> None:
    """Run statements behind everybody's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def disk(path: Path) -> dict[str, object]:
    return {"store": {"disk": {"type": "sqlite", "path": str(path), "commit": "inline"}}}


@pytest.mark.parametrize("version", VERSIONS)
def test_there_is_a_file_of_each_version(version: int) -> None:
    # it is there: python -m tests.stores.make_file
    assert pragma(FILES / f"v{version}.sqlite", "user_version") == version
    assert pragma(FILES / f"v{version}.sqlite", "application_id") == APPLICATION


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_of_an_older_version_has_the_same_messages(version: int, tmp_path: Path) -> None:
    shutil.copy(FILES / f"v{version}.sqlite", tmp_path / "a")

    with opened(tmp_path / "a") as file:
        Export(file, TABLES, ()).write_file(tmp_path / "x", lambda _done: None)

    assert pragma(tmp_path / "a", "user_version") == len(MIGRATIONS)
    then = (FILES / f"v{version}.jsonl").read_text("utf-8").splitlines()
    now = (tmp_path / "x").read_text("utf-8").splitlines()
    for before, after in zip(map(json.loads, then), map(json.loads, now), strict=True):
        if "head" in before:  # a later version may say more
            after["head"] = {key: after["head"].get(key) for key in before["head"]}
        assert {key: after.get(key) for key in before} == before


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_runtime_goes_on_with_an_older_file(
    version: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    shutil.copy(FILES / f"v{version}.sqlite", tmp_path / "a")

    async with open_runtime(disk(tmp_path / "a"), clock=clock()) as runtime:
        jobs = await runtime.define("jobs", reservation_time=9, store="disk", unique=True)
        assert await jobs.insert("hers", "bad", "again", "late", b"\x00bytes", "new") == 1
        (hers,) = await jobs.peek("reserved")
        assert (hers.id, hers.value, hers.attempts, hers.priority) == (1, "hers", 1, 3)
        (bad,) = await jobs.peek("buried")
        assert (bad.value, bad.error) == ("bad", "no such host: é")
        ready = await jobs.reserve_many(10)
        assert [each.value for each in ready] == [{"a": [1, 2.5, None]}, b"\x00bytes", "new"]
        assert [each.id for each in ready] == [6, 7, 8]
        await jobs.delete(*ready)
        taken = [await jobs.reserve(10**6) for _ in range(3)]
        assert [each.value for each in taken] == ["again", "hers", "late"]
        assert [(each.deadline_at - AT) // 10**9 - 10**6 for each in taken] == [1800, 3600, 7200]
        assert [each.attempt for each in taken] == [2, 2, 1]
        letters = await runtime.define("letters", reservation_time=9, store="disk", codec="json")
        assert (await letters.statistics()).paused
        await letters.resume()
        letter = DeadLetter({"x": 1}, "jobs", 77, 5, "gone", AT - 10**12)
        assert [each.value for each in await letters.reserve_many(9)] == [letter, "plain"]
        typed = await runtime.define("typed", reservation_time=9, store="disk", type=Email)
        assert (await typed.reserve()).value == Email("ann@example.org", 5)
        pickled = await runtime.define("pickled", reservation_time=9, store="disk", codec="pickle")
        assert (await pickled.reserve()).value == {"a set"}


@pytest.mark.parametrize("version", VERSIONS[2:])
async def test_batch_queues_go_on_with_an_older_file(
    version: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    shutil.copy(FILES / f"v{version}.sqlite", tmp_path / "a")
    came: dict[str, list[tuple[int, list[object]]]] = {}

    async def process(queue: BatchQueue, items: list[object]) -> None:
        after = (runtime.clock.now_ns() - AT) // 10**9
        came.setdefault(queue.name, []).append((after, items))

    async with open_runtime(disk(tmp_path / "a"), clock=clock()) as runtime:
        await runtime.define("full", reservation_time=9, store="disk", max_length=1)
        post = await define_batches(runtime, "post", process, codec="json")
        queues = {
            name: await define_batches(runtime, name, process, **options)
            for name, (options, _) in BATCHES.items()
        }
        (buried,) = await queues["gave up"].peek("buried")
        assert (buried.items, buried.error, buried.claims) == (PAGES[1:], ERROR, 1)
        (dead,) = await queues["to post"].peek("dead")
        assert (dead.items, dead.error, dead.claims) == (PAGES[:2], ERROR, 1)
        for queue in (*(queues[name] for name in KEPT), post):
            assert (await queue.statistics()).paused
            await queue.resume()
        await trio.sleep(10_000)
        assert await queues["posted"].len() == 0

    letter = DeadLetter(PAGES[:2], "posted", 1, 1, ERROR, dead_at(version))
    assert came == {
        # what was claimed comes behind what was ready, as its process has ended
        "hangs": [(0, PAGES[2:]), (0, PAGES[:2])],
        "rests": [(7200, PAGES[:1])],
        "tries": [(3600, PAGES)],
        "post": [(0, [letter])],
        **{
            name: [(0, BATCHES[name][1][n : n + 2]) for n in range(0, len(BATCHES[name][1]), 2)]
            for name in KEPT
        },
    }


@pytest.mark.parametrize("version", VERSIONS[3:])
async def test_capacity_and_log_queues_go_on_with_an_older_file(
    version: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    shutil.copy(FILES / f"v{version}.sqlite", tmp_path / "a")

    async with open_runtime(disk(tmp_path / "a"), clock=clock()) as runtime:
        for name, (options, items) in ITEMS.items():
            queue = await runtime.define(
                name, kind="capacity", store="disk", max_elements=7, **options
            )
            told = await queue.statistics()
            assert (told.paused, told.max_elements, told.length) == (True, 7, len(items) - 1)
            await queue.resume()
            assert await queue.pop(9) == items[1:]
            assert (await queue.len(), await queue.payload_size()) == (0, 0)
        log = await runtime.define("log", kind="log", store="disk", ttl=10**6)
        assert await log.labels() == ["early", "one", "ü", "reads"]
        items = [b"3", LETTER, b"\xff", b"last"]
        assert await log.next("early", limit=9) == (items, 3)
        assert await log.next("one", limit=9) == (items, 2)
        assert await log.next("ü", limit=9) == ([b"last"], 0)
        assert await log.next("reads", limit=9) == (items[2:], 0)
        expired = await runtime.define("expired", kind="log", store="disk", ttl=10**6)
        assert (await expired.len(), await expired.disk_size()) == (0, 0)
        await expired.add(b"new")
        assert await expired.next("early", limit=9) == ([b"new"], 3)
        assert await expired.next("one", limit=9) == ([b"new"], 2)


ERROR = "ValueError: no such page: é"


def dead_at(version: int) -> int:
    """Return when the batch was pushed whose dead letter is in the file."""
    lines = (FILES / f"v{version}.jsonl").read_text("utf-8").splitlines()
    (letter,) = (json.loads(line) for line in lines if '"queue":"posted","id"' in line)
    return int(letter["dead_letter"]["inserted_at"])


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is one version ahead."""
    step = (
        "ALTER TABLE queue ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",
        "UPDATE queue SET note = upper(name)",
    )
    monkeypatch.setattr(_file, "MIGRATIONS", (*MIGRATIONS, step))


def test_a_file_is_migrated_when_it_is_opened(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", [message(1, "x")])
        before, identity = rows(file, "q"), file.identity
    request.getfixturevalue("next_version")

    with opened(tmp_path / "a") as file:
        assert rows(file, "q") == before
        assert file.identity == identity
    with opened(tmp_path / "a"):  # a second time there is nothing to do
        pass

    assert pragma(tmp_path / "a", "user_version") == len(MIGRATIONS) + 1
    with closing(sqlite3.connect(tmp_path / "a")) as connection:
        assert connection.execute("SELECT note FROM queue").fetchall() == [("Q",)]


def test_a_new_file_gets_every_step(tmp_path: Path, next_version: None) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", [message(1, "x")])

    assert pragma(tmp_path / "a", "user_version") == len(MIGRATIONS) + 1


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", [message(1, "x")])
    step = ("ALTER TABLE queue ADD COLUMN note TEXT", "UPDATE absent SET x = 1")
    with monkeypatch.context() as patch:
        patch.setattr(_file, "MIGRATIONS", (*MIGRATIONS, step))

        with pytest.raises(sqlite3.OperationalError, match="no such table: absent"):
            opened(tmp_path / "a").__enter__()

    assert pragma(tmp_path / "a", "user_version") == len(MIGRATIONS)
    with closing(sqlite3.connect(tmp_path / "a")) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(queue)")}
    assert "note" not in columns
    with opened(tmp_path / "a") as file:
        assert len(rows(file, "q")) == 1


def test_a_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with opened(tmp_path / "a"):
        pass
    newer = len(MIGRATIONS) + 1
    change(tmp_path / "a", f"PRAGMA user_version = {newer}", "DROP TABLE timed")
    before = (tmp_path / "a").read_bytes()

    with pytest.raises(
        NotAStoreError,
        match=rf"a has schema version {newer}, and this program knows {newer - 1} at most: it was",
    ):
        opened(tmp_path / "a").__enter__()

    assert (tmp_path / "a").read_bytes() == before


def test_a_database_that_is_no_store_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    change(tmp_path / "a", "CREATE TABLE mine (x)")
    before = (tmp_path / "a").read_bytes()

    with pytest.raises(NotAStoreError, match=r"a is a database, but no store of queueactors$"):
        opened(tmp_path / "a").__enter__()

    assert (tmp_path / "a").read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a text that is long enough to be something else\n" * 99)
    before = (tmp_path / "a").read_bytes()

    with pytest.raises(sqlite3.DatabaseError, match="file is not a database"):
        opened(tmp_path / "a").__enter__()

    assert (tmp_path / "a").read_bytes() == before


@pytest.mark.parametrize("what", ["newer", "database", "text", "folder"])
async def test_a_runtime_does_not_start_over_such_a_file(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    match what:
        case "newer":
            with opened(path):
                pass
            change(path, "PRAGMA user_version = 99")
        case "database":
            change(path, "CREATE TABLE mine (x)")
        case "text":
            path.write_text("no database\n" * 999)
        case _:
            path.mkdir()

    with pytest.raises(ChildStartError) as caught:
        async with open_runtime(disk(path)):
            raise AssertionError("it has started")

    cause: BaseException | None = caught.value
    while isinstance(cause, ChildStartError):
        cause = cause.__cause__
    assert isinstance(cause, StoreError)
    assert cause.store == "disk"


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "a").touch()

    with opened(tmp_path / "a") as file:
        assert file.queues() == []


async def test_a_queue_whose_head_is_damaged_stops_itself_only(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "bad", [message(1, "x")])
        put(file, "good", [message(1, "x")])
    change(tmp_path / "a", "UPDATE queue SET head = '{' WHERE name = 'bad'")

    async with open_runtime(disk(tmp_path / "a")) as runtime:
        good = await runtime.define("good", reservation_time=1, store="disk")
        assert (await good.reserve()).value == "x"
        with pytest.raises(ChildStartError) as caught:
            await runtime.define("bad", reservation_time=1, store="disk")

    assert isinstance(caught.value.__cause__, StoreError)
