"""Export, import and check of capacity and log queues: positions and labels come along."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from queueactors import DeadLetter
from queueactors.stores import _transfer
from queueactors.stores._inspect import inspect_file
from queueactors.stores._transfer import Import, TransferError
from tests.stores.kit import define_capacity, define_log, running
from tests.stores.kit_file import AT, TABLES, head, opened, rows
from tests.stores.make_file import Rot13
from tests.stores.test_transfer import NOW, StoppedError, export, quietly

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trio.testing import MockClock

LETTER = DeadLetter(b"x", "emails", 7, 5, "no such host", AT)


def import_(
    lines: Path,
    store: Path,
    kind: str,
    *,
    queue: str = "q",
    progress: Callable[[int], None] = quietly,
) -> Import:
    """Check a file and import it."""
    made = Import(lines, queue, TABLES, NOW, kind)
    made.check(quietly)
    with opened(store) as file:
        made.run(file, progress, again=False)
    return made


def faults(path: Path) -> list[str]:
    return inspect_file(path, TABLES, {}, quietly).faults


async def a_capacity(path: Path) -> None:
    """Let there be a queue with chunks of several codecs, the first of them partly popped."""
    async with running(path) as runtime:
        queue = await define_capacity(runtime, max_elements=100)
        await queue.push(b"gone")
        await queue.push(b"1", "é".encode(), b"\xff")
        await queue.push(LETTER)
        await queue.push(b"")
        await queue.pop(2)
        await queue.pause()


async def a_log(path: Path) -> None:
    """Let there be a log with labels here and there, and some of its items expired."""
    async with running(path) as runtime:
        log = await define_log(runtime, ttl=100)
        await log.next("old")
        await log.add(b"0", b"1")
        await trio.sleep(200)
        await log.next("newer")
        await log.add(b"2", "é".encode())
        await log.next("reads", limit=3)
        await log.add(b"\xff")
        await log.next("all", limit=9)


async def popped(path: Path, name: str = "q", **options: object) -> list[object]:
    async with running(path) as runtime:
        queue = await define_capacity(runtime, name, **options)
        await queue.resume()
        items: list[object] = await queue.pop(99)
        assert (await queue.len(), await queue.payload_size()) == (0, 0)
        return items


# -- as it was -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["capacity", "log"])
async def test_all_of_a_queue_survives(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    await (a_log if kind == "log" else a_capacity)(tmp_path / "a")
    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b", kind)

    with opened(tmp_path / "a") as file:
        before, beside = rows(file, "q"), head(file, "q")
    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == before
        assert head(file, "q") == beside
    assert faults(tmp_path / "a") == faults(tmp_path / "b") == []


async def test_an_imported_capacity_queue_is_popped_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    await a_capacity(tmp_path / "a")
    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b", "capacity")

    assert await popped(tmp_path / "b") == ["é".encode(), b"\xff", LETTER, b""]


async def test_items_are_written_as_texts_if_they_are(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path / "a") as runtime:
        queue = await define_capacity(runtime)
        await queue.push(b"1", "é".encode(), b"\x00")
        await queue.push(b"\xff", b"1")
        await (await define_capacity(runtime, "j", codec="json")).push({"a": 1}, [2.5])
        await (await define_capacity(runtime, "m", codec="msgpack")).push({"a": 1}, [2.5])
        await (await define_capacity(runtime, "o", codec=Rot13)).push("a")

    export(tmp_path / "a", tmp_path / "x")

    lines = [json.loads(line) for line in (tmp_path / "x").read_text("utf-8").splitlines()]
    values = [each.get("value") for each in lines if "queueactors" not in each]
    assert values == [["1", "é", "\x00"], None, *[[{"a": 1}, [2.5]]] * 2, None]
    assert [each["codec"] for each in lines if "queueactors" in each] == [
        *("items:bytes", "items:json", "items:msgpack", "items:rot13")
    ]
    for name in "qjmo":
        import_(tmp_path / "x", tmp_path / "b", "capacity", queue=name)
    assert await popped(tmp_path / "b") == [b"1", "é".encode(), b"\x00", b"\xff", b"1"]
    assert await popped(tmp_path / "b", "j", codec="json") == [{"a": 1}, [2.5]]
    assert await popped(tmp_path / "b", "o", codec=Rot13) == ["a"]


# -- into a queue that is there ------------------------------------------------------------------


async def test_items_that_were_popped_do_not_come_into_another_queue(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    await a_capacity(tmp_path / "a")
    export(tmp_path / "a", tmp_path / "x")
    async with running(tmp_path / "b") as runtime:
        queue = await define_capacity(runtime)
        await queue.push(b"mine", b"too")
        await queue.pop()

    import_(tmp_path / "x", tmp_path / "b", "capacity")

    assert faults(tmp_path / "b") == []
    assert await popped(tmp_path / "b") == [b"too", "é".encode(), b"\xff", LETTER, b""]


@pytest.mark.parametrize("part", [1, 2, 100])
async def test_labels_stand_among_the_same_items_in_another_log(
    part: int, tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_transfer, "PART", part)
    await a_log(tmp_path / "a")
    export(tmp_path / "a", tmp_path / "x")
    async with running(tmp_path / "b") as runtime:
        log = await define_log(runtime)
        await log.add(*[b"mine"] * 7)
        await log.next("mine", limit=6)

    import_(tmp_path / "x", tmp_path / "b", "log")

    assert faults(tmp_path / "b") == []
    items = [b"2", "é".encode(), b"\xff"]
    async with running(tmp_path / "b") as runtime:
        log = await define_log(runtime)
        assert await log.next("mine", limit=99) == ([b"mine", *items], 0)
        assert await log.next("old", limit=99) == (items, 0)
        assert await log.next("newer", limit=99) == (items, 0)
        assert await log.next("reads", limit=99) == ([b"\xff"], 0)
        assert await log.next("all", limit=99) == ([], 0)
        assert await log.len() == 10
        await log.add(b"new")
        assert [await log.next(label) for label in await log.labels()] == [([b"new"], 0)] * 5


async def test_a_label_that_is_there_already_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    await a_log(tmp_path / "a")
    export(tmp_path / "a", tmp_path / "x")
    async with running(tmp_path / "b") as runtime:
        await (await define_log(runtime)).next("reads")

    told = r"x:5: label 'reads' is in queue 'q'; nothing of it was imported$"
    with pytest.raises(TransferError, match=told):
        import_(tmp_path / "x", tmp_path / "b", "log")


@pytest.mark.parametrize("there", [False, True])
async def test_an_import_goes_on_where_it_was(
    there: bool,  # noqa: FBT001 - a parameter
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_transfer, "PART", 2)
    await a_log(tmp_path / "a")
    export(tmp_path / "a", tmp_path / "x")
    async with running(tmp_path / "b") as runtime:
        if there:
            await (await define_log(runtime)).add(b"mine")

    def stop(done: int) -> None:
        if done == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        import_(tmp_path / "x", tmp_path / "b", "log", progress=stop)
    assert import_(tmp_path / "x", tmp_path / "b", "log").resumed == 4

    async with running(tmp_path / "b") as runtime:
        log = await define_log(runtime)
        assert await log.next("reads", limit=9) == ([b"\xff"], 0)
        assert await log.next("old", limit=9) == ([b"2", "é".encode(), b"\xff"], 0 if there else 2)


# -- lines that somebody wrote -------------------------------------------------------------------


async def test_a_line_of_a_chunk_needs_a_value_only(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    data = base64.b64encode(msgspec.msgpack.encode([b"\xff", b"x"])).decode()
    (tmp_path / "x").write_text(
        '{"value": [1, {"a": "b"}]}\n\n'
        '{"value": ["é"], "codec": "items:bytes"}\n'
        f'{{"data": "{data}", "codec": "items:bytes"}}\n'
        '{"value": [null], "codec": "items:json", "first": 9}\n'
    )

    import_(tmp_path / "x", tmp_path / "b", "capacity")

    assert faults(tmp_path / "b") == []
    with opened(tmp_path / "b") as file:
        assert [row[2:7] for row in rows(file, "q")] == [
            ("kept", 0, 2, 6, NOW),
            ("kept", 2, 1, 2, NOW),
            ("kept", 3, 2, 2, NOW),
            ("kept", 9, 1, 4, NOW),
        ]
        assert head(file, "q")["end"] == 10
    assert await popped(tmp_path / "b") == [1, {"a": "b"}, "é".encode(), b"\xff", b"x", None]


async def test_a_line_of_a_label_says_where_it_stands(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    (tmp_path / "x").write_text(
        '{"value": ["a"], "codec": "items:bytes", "state": "label", "first": 1}\n'
        '{"value": [1, 2, 3]}\n'
        '{"value": ["é"], "codec": "items:bytes", "state": "label", "first": 3}\n'
    )

    import_(tmp_path / "x", tmp_path / "b", "log")

    assert faults(tmp_path / "b") == []
    async with running(tmp_path / "b") as runtime:
        log = await define_log(runtime)
        assert await log.next("a", limit=9) == ([2, 3], 0)
        assert await log.next("é", limit=9) == ([], 0)


OF_LETTER = '{"queue": "a", "id": 1, "attempts": 2, "error": null, "inserted_at": 3}'
LABEL = '{"value": ["a"], "codec": "items:bytes", "state": "label", "first": 1}'


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"value": "text"}', "expected value to be a list of items: Expected `array`"),
        ('{"value": []}', "expected a list of at least one item"),
        ('{"value": [1], "codec": "items:bytes"}', "expected value to be a list of items: expect"),
        ('{"value": [1], "codec": "bytes"}', "expected data, not value, with codec 'bytes'"),
        ('{"value": [1], "codec": "items:own"}', "expected data, not value, with codec 'items:o"),
        ('{"value": [1], "count": 2}', "expected count to be 1, as of its items, got 2"),
        ('{"value": [1], "size": 2}', "expected size to be 1, as of its items, got 2"),
        ('{"value": [1], "first": -1}', "expected first to be >= 0, got -1"),
        ('{"value": [1], "first": 0}', "expected first to be at least 1, got 0"),
        ('{"value": [1], "state": "ready"}', r"Invalid enum value 'ready' - at `\$.state`"),
        ('{"value": [1], "key": 3}', "Object contains unknown field `key`"),
        ('{"data": "wQ=="}', "expected count and size, as data is no list of items"),
        ('{"data": "wQ==", "count": 0, "size": 0}', "expected a list of at least one item"),
        ('{"data": "kcQBeA==", "count": 2, "size": 1}', "expected count to be 1, as of its items"),
        (
            f'{{"value": [1], "dead_letter": {OF_LETTER}}}',
            "expected data, without dead_letter, in that kind of queue",
        ),
        (LABEL.replace(', "first": 1', ""), "expected first, as state is 'label'"),
        (LABEL.replace("items:bytes", "items:json"), "expected a label's name as the one text in"),
        (LABEL.replace('["a"]', '["a", "b"]'), "expected a label's name as the one text in"),
        (LABEL.replace('["a"]', '["a"], "count": 1'), "expected count to be 0, as state is 'labe"),
        (LABEL.replace('"first": 1', '"first": 2'), "expected first to be at most 1, got 2"),
        (LABEL + "\n" + LABEL, "label 'a' is that of line 3"),
    ],
)
def test_a_line_that_is_no_chunk_is_named_and_nothing_goes_in(
    tmp_path: Path, line: str, told: str
) -> None:
    (tmp_path / "x").write_text('{"value": [1]}\n\n' + line + "\n")
    number = 4 if "\n" in line else 3

    with pytest.raises(TransferError, match=rf"x:{number}: {told}.*; nothing of it was imported$"):
        import_(tmp_path / "x", tmp_path / "b", "log")

    assert not (tmp_path / "b").exists()


def test_a_capacity_queue_has_no_labels(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"value": [1]}\n' + LABEL)

    with pytest.raises(TransferError, match=r"x:2: expected state to be 'kept', got 'label'; "):
        import_(tmp_path / "x", tmp_path / "b", "capacity")


async def test_positions_behind_the_end_in_the_header_are_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    await a_log(tmp_path / "a")
    export(tmp_path / "a", tmp_path / "x")
    lines = (tmp_path / "x").read_text("utf-8")
    (tmp_path / "x").write_text(lines.replace('"end":5', '"end":4'), "utf-8")

    with pytest.raises(TransferError, match=r"x:6: expected first \+ count to be at most end, 4,"):
        import_(tmp_path / "x", tmp_path / "b", "log")


@pytest.mark.parametrize(
    ("kind", "number", "told"),
    [
        ("log", "end null", f"from 0 to {1 << 62}, got None"),
        ("log", f"end {1 << 63}", f"from 0 to {1 << 62}, got {1 << 63}"),
        ("capacity", "end -1", f"from 0 to {1 << 62}, got -1"),
        ("capacity", "begin null", "from 0 to 3, got None"),
        ("capacity", "begin 4", "from 0 to 3, got 4"),
        ("capacity", "max_elements 0", ">= 1, got 0"),
        ("capacity", "max_elements null", ">= 1, got None"),
        ("capacity", "taken -1", ">= 0, got -1"),
    ],
)
async def test_a_header_by_which_a_queue_cannot_go_on_is_refused(
    kind: str, number: str, told: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    if kind == "log":
        await a_log(tmp_path / "a")
    else:
        async with running(tmp_path / "a") as runtime:
            await (await define_capacity(runtime)).push(b"1", b"2", b"3")
    export(tmp_path / "a", tmp_path / "x")
    field, value = number.split()
    header, rest = (tmp_path / "x").read_text("utf-8").split("\n", 1)
    header = re.sub(rf'"{field}":\d+', f'"{field}":{value}', header)
    (tmp_path / "x").write_text(f"{header}\n{rest}", "utf-8")

    with pytest.raises(
        TransferError, match=rf"x:1: expected {field} of the header to be {told}; nothing of it"
    ):
        import_(tmp_path / "x", tmp_path / "b", kind)


# -- what cannot be read -------------------------------------------------------------------------


async def test_what_is_damaged_is_exported_raw_and_comes_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    await a_log(tmp_path / "a")
    with closing(sqlite3.connect(tmp_path / "a", isolation_level=None)) as connection:
        connection.execute("UPDATE log SET value = x'c1' WHERE first = 4 AND state = 'kept'")
        connection.execute("UPDATE log SET value = x'91c401ff' WHERE id & 255 = 1")
    with opened(tmp_path / "a") as file:
        before = rows(file, "q")

    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b", "log")

    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == before


# -- check and vacuum ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SET count = 9 WHERE first = 2 AND count > 0", "kept 4: expected count to be 2, as of it"),
        ("SET size = 9 WHERE first = 2 AND count > 0", "kept 4: expected size to be 3, as of its"),
        ("SET first = 3 WHERE first = 4 AND count > 0", "kept 6: expected first to be at least 4"),
        ("SET first = 5 WHERE first = 4 AND count > 0", "position 5, and its end is 5"),
        ("SET first = 6 WHERE state = 'label'", "position 5, and its end is 5"),
        ("SET value = (SELECT value FROM log WHERE id & 255 = 1) WHERE id & 255 = 5", "label 5: l"),
    ],
)
async def test_a_check_finds_what_does_not_fit(
    statement: str, told: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    await a_log(tmp_path / "a")
    with closing(sqlite3.connect(tmp_path / "a", isolation_level=None)) as connection:
        connection.execute(f"UPDATE log {statement}")

    (found,) = faults(tmp_path / "a")

    assert found.startswith(f"queue 'q' has {told}")


async def test_a_check_names_chunks_that_cannot_be_decoded(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    await a_capacity(tmp_path / "a")
    with closing(sqlite3.connect(tmp_path / "a", isolation_level=None)) as connection:
        connection.execute("UPDATE capacity SET value = x'c1' WHERE id & 255 = 3")
        connection.execute("UPDATE capacity SET codec = 'items:own' WHERE id & 255 = 4")

    report = inspect_file(tmp_path / "a", TABLES, {}, quietly)

    assert report.faults == ["queue 'q': 1 messages cannot be decoded: 3"]
    assert report.queues[0].unchecked == 1


async def test_a_vacuum_leaves_chunks_and_labels(tmp_path: Path, autojump_clock: MockClock) -> None:
    await a_log(tmp_path / "a")
    with opened(tmp_path / "a") as file:
        before = rows(file, "q")

        file.vacuum()

        assert rows(file, "q") == before
