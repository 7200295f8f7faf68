"""Export and import: the same messages come back, and an interruption costs nothing."""

from __future__ import annotations

import base64
import json
import sqlite3
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st

from queueactors import DeadLetter, SqliteStore, open_runtime
from queueactors._codecs import LETTER, Encoded, PickleCodec, Values, make_codec
from queueactors.stores import _transfer
from queueactors.stores._file import NotAStoreError
from queueactors.stores._lines import Lines
from queueactors.stores._transfer import Export, Import, TransferError

from .kit_file import AT, TABLE, TABLES, head, message, opened, put, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors.cores.timed import Message
    from queueactors.stores._file import StoreFile

NOW = AT + 10**9


class StoppedError(Exception):
    """An interruption, as by a signal."""


@pytest.fixture(autouse=True)
def events() -> Iterator[list[MutableMapping[str, Any]]]:  # type: ignore[explicit-any] # structlog's
    with structlog.testing.capture_logs() as captured:
        yield captured


def quietly(_done: int) -> None:
    """Show no progress."""


def export(store: Path, to: Path, *names: str) -> Export:
    """Export queues to a file."""
    with opened(store) as file:
        made = Export(file, TABLES, names)
        made.write_file(to, quietly)
    return made


def import_(
    lines: Path,
    store: Path,
    queue: str = "q",
    *,
    again: bool = False,
    progress: Callable[[int], None] = quietly,
) -> Import:
    """Check a file and import it."""
    made = Import(lines, queue, TABLES, NOW)
    made.check(quietly)
    with opened(store) as file:
        made.run(file, progress, again=again)
    return made


def filled(path: Path, count: int = 3, queue: str = "q") -> Path:
    """Return a store's file with so many messages in a queue."""
    with opened(path) as file:
        put(file, queue, [message(n, {"n": n}) for n in range(1, count + 1)])
    return path


def decoded(file: StoreFile) -> list[object]:
    """Return the values in the queue ``q``."""
    return [msgspec.msgpack.decode(cast("bytes", row[1])) for row in rows(file, "q")]


def every_state() -> list[Message]:
    """Return a message in every state, and with every fact."""
    return [
        message(1, "ready"),
        message(3, "late", state="delayed", ready_at=AT + 5, priority=-7),
        message(4, "hers", state="reserved", attempt=2, key=AT + 3, deadline_at=AT + 9),
        message(5, "expired", attempt=1, key=AT + 2, deadline_at=AT - 1),
        message(8, "bad", state="buried", attempt=3, deadline_at=AT, error='it said "é"\n'),
        message(9, "on its way", state="dead", attempt=3, error="x"),
    ]


def test_all_facts_survive(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", every_state(), next_id=20, last_key=AT + 4, synced_at=AT, paused_until=-1)
        before, beside = rows(file, "q"), head(file, "q")

    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == before
        assert head(file, "q") == beside
        assert file.newest() == AT


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "é\n\u2028",
        1.5,
        -0.0,
        -(2**63),
        2**64 - 1,
        [],
        {},
        {"a": [{"b": None}]},
        "x" * 100_000,
    ],
)
def test_what_json_can_say_is_written_as_json(value: object) -> None:
    data = msgspec.msgpack.encode(value)

    line = Lines(TABLE, "msgpack").write((1, data, "ready", 0, AT, AT, 0, 0, 0, None, "msgpack"))

    assert line.count(b"\n") == 1
    assert json.loads(line)["value"] == value
    assert Lines(TABLE, "msgpack").read(line)["value"] == data


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        ("msgpack", msgspec.msgpack.encode(b"bytes")),
        ("msgpack", msgspec.msgpack.encode({1: "a key that is no string"})),
        ("msgpack", msgspec.msgpack.encode(float("nan"))),
        ("msgpack", b"\xcd\x00\x01"),  # 1, but not as we write it
        ("msgpack", b"\xc1 is nothing"),
        ("msgpack", b"\x91" * 100_000 + b"\x01"),  # nested too deeply
        ("msgpack", b""),
        ("json", b'{"a": 1}'),  # with a space, which would be gone
        ("json", b"no json"),
        ("json", b'"\xff"'),
        ("bytes", b"any"),
        ("pickle", PickleCodec.encode({1})),
        ("myapp", b"\x00\xff"),
        (LETTER + "myapp", b"\x00\xff"),
        (LETTER + "msgpack", b"no letter"),
    ],
)
def test_all_else_is_written_as_its_bytes(codec: str, data: bytes) -> None:
    row = (1, data, "ready", 0, AT, AT, 0, 0, 0, None, codec)

    line = Lines(TABLE, "msgpack").write(row)

    written = json.loads(line)
    assert "value" not in written
    assert base64.b64decode(written["data"]) == data
    assert written.get("codec", "msgpack") == codec
    value = Lines(TABLE, "msgpack").read(line)["value"]
    assert value == (data if codec == "msgpack" else Encoded(codec, data))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.slow
@pytest.mark.no_cover
@given(st.sampled_from(["msgpack", "json"]), plain, st.booleans())
def test_any_value_comes_back_as_the_same_bytes(codec: str, value: object, letter: bool) -> None:  # noqa: FBT001
    values = Values(make_codec(codec))
    kept = values.encode(DeadLetter(value, "q", 7, 2, None, AT) if letter else value)
    name, data = (codec, kept) if isinstance(kept, bytes) else (kept.codec, kept.data)

    line = Lines(TABLE, codec).write((1, data, "ready", 0, AT, AT, 0, 0, 0, None, name))

    assert Lines(TABLE, codec).read(line)["value"] == kept


def test_a_dead_letter_can_be_read(tmp_path: Path) -> None:
    letter = DeadLetter({"to": "ann"}, "emails", 7, 5, "no such host", AT)
    kept = Values(make_codec("msgpack")).encode(letter)
    with opened(tmp_path / "a") as file:
        put(file, "q", [message(1, kept)])

    export(tmp_path / "a", tmp_path / "x")

    _, line = (tmp_path / "x").read_text().splitlines()
    written = json.loads(line)
    assert written["codec"] == "dead_letter:msgpack"
    assert written["value"] == {"to": "ann"}
    assert written["dead_letter"] == {
        "queue": "emails",
        "id": 7,
        "attempts": 5,
        "error": "no such host",
        "inserted_at": AT,
    }


def test_queues_can_be_chosen(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        filled(tmp_path / "a", queue=name)

    export(tmp_path / "a", tmp_path / "x", "three", "one")

    lines = [json.loads(line) for line in (tmp_path / "x").read_text().splitlines()]
    assert [line["queue"] for line in lines if "queueactors" in line] == ["one", "three"]
    with opened(tmp_path / "a") as file, pytest.raises(NotAStoreError, match=r"did you mean 'two'"):
        Export(file, TABLES, ["tow"])


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    (tmp_path / "x").write_text("mine")

    with pytest.raises(TransferError, match=r"x is there already; remove it, or choose another"):
        export(tmp_path / "a", tmp_path / "x")

    assert (tmp_path / "x").read_text() == "mine"


def test_the_file_has_its_name_only_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_transfer, "TELL", 2)
    filled(tmp_path / "a", 5)

    def stop(done: int) -> None:
        raise StoppedError

    with opened(tmp_path / "a") as file, pytest.raises(StoppedError):
        Export(file, TABLES, ()).write_file(tmp_path / "x", stop)

    assert not (tmp_path / "x").exists()
    assert (tmp_path / "x.part").exists()


@pytest.mark.slow
@pytest.mark.no_cover
def test_an_export_can_be_interrupted_at_any_byte(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "empty", [])
        put(file, "q", [message(2, b"\xc1"), message(5, "é")])
        put(file, "other", [message(3, "\n")])
        stream = BytesIO()
        Export(file, TABLES, ()).write(stream, quietly)
        whole = stream.getvalue()
        resumed = set()
        for end in range(len(whole) + 1):
            (tmp_path / "x.part").write_bytes(whole[:end])
            made = Export(file, TABLES, ())

            made.write_file(tmp_path / "x", quietly)

            assert (tmp_path / "x").read_bytes() == whole
            assert made.resumed == sum(
                line.startswith(b'{"id"')
                for line in whole[:end].splitlines(keepends=True)
                if line.endswith(b"\n")
            )
            resumed.add(made.resumed)
            (tmp_path / "x").unlink()
    assert resumed == {0, 1, 2, 3}


def test_a_resumed_export_writes_only_what_is_missing(tmp_path: Path) -> None:
    filled(tmp_path / "a", 5)
    export(tmp_path / "a", tmp_path / "x")
    lines = (tmp_path / "x").read_bytes().splitlines(keepends=True)
    (tmp_path / "y.part").write_bytes(b"".join([*lines[:2], lines[2].replace(b":2}", b":7}")]))

    export(tmp_path / "a", tmp_path / "y")

    values = [json.loads(line).get("value") for line in (tmp_path / "y").read_text().splitlines()]
    assert values[1:] == [{"n": n} for n in (1, 7, 3, 4, 5)]  # what was there is believed


@pytest.mark.parametrize("change", ["insert", "delete", "other store", "other queues", "garbage"])
def test_an_export_begins_anew_after_a_change(tmp_path: Path, change: str) -> None:
    filled(tmp_path / "a", 5)
    export(tmp_path / "a", tmp_path / "x")
    part = (tmp_path / "x").read_bytes().splitlines(keepends=True)[:3]
    (tmp_path / "y.part").write_bytes(b"".join(part))
    match change:
        case "insert":
            with opened(tmp_path / "a") as file:
                put(file, "q", [message(6, "new")], at=AT + 1)
        case "delete":
            connection = sqlite3.connect(tmp_path / "a")
            with connection:
                connection.execute("DELETE FROM timed WHERE id & 15 = 1")
            connection.close()
        case "other store":
            (tmp_path / "a").unlink()
            filled(tmp_path / "a", 5)
        case "other queues":
            with opened(tmp_path / "a") as file:
                put(file, "first", [])
            connection = sqlite3.connect(tmp_path / "a")
            with connection:
                connection.execute("UPDATE queue SET number = -1 WHERE name = 'first'")
            connection.close()
        case _:
            (tmp_path / "y.part").write_bytes(b'{"id":1,"value":0}\n' + b"".join(part))

    made = export(tmp_path / "a", tmp_path / "y")

    (tmp_path / "x").unlink()
    export(tmp_path / "a", tmp_path / "x")
    assert made.resumed == 0
    assert (tmp_path / "y").read_bytes() == (tmp_path / "x").read_bytes()


def test_nothing_is_left_of_a_longer_export_that_was_interrupted(tmp_path: Path) -> None:
    filled(tmp_path / "a", 50)
    export(tmp_path / "a", tmp_path / "x")
    (tmp_path / "x").rename(tmp_path / "y.part")
    filled(tmp_path / "b")

    export(tmp_path / "b", tmp_path / "y")

    assert len((tmp_path / "y").read_bytes().splitlines()) == 4


def test_an_import_that_is_run_again_does_nothing(tmp_path: Path) -> None:
    export(filled(tmp_path / "a"), tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")
    connection = sqlite3.connect(tmp_path / "b")
    with connection:
        connection.execute("DELETE FROM timed")  # somebody has worked them off
    connection.close()

    second = import_(tmp_path / "x", tmp_path / "b")

    assert (second.resumed, second.finished_at) == (3, NOW)
    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == []


def test_an_import_is_repeated_on_request(tmp_path: Path) -> None:
    export(filled(tmp_path / "a"), tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")

    import_(tmp_path / "x", tmp_path / "b", again=True)
    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        assert [row[0] for row in rows(file, "q")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("parts", range(1, 6))
def test_an_import_can_be_interrupted_between_any_two_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int, *, again: bool
) -> None:
    monkeypatch.setattr(_transfer, "PART", 2)
    export(filled(tmp_path / "a", 9), tmp_path / "x")
    if again:
        import_(tmp_path / "x", tmp_path / "b")
    calls = []

    def stop(done: int) -> None:
        calls.append(done)
        if len(calls) == parts:
            raise StoppedError

    with pytest.raises(StoppedError):
        import_(tmp_path / "x", tmp_path / "b", again=again, progress=stop)
    second = import_(tmp_path / "x", tmp_path / "b")

    assert second.resumed == calls[-1] == 2 * (parts - 1) or again
    with opened(tmp_path / "b") as file:
        values = [value["n"] for value in decoded(file)]  # type: ignore[index] # a mapping
        assert values == list(range(1, 10)) * (1 + (again and parts > 1))


def test_a_failure_within_a_part_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_transfer, "PART", 2)
    export(filled(tmp_path / "a", 5), tmp_path / "x")
    with opened(tmp_path / "b") as file:
        note, count = file.note, 0

        def fail_second(key: str, value: str) -> None:
            nonlocal count
            count += 1
            if count == 2:
                raise sqlite3.OperationalError("database or disk is full")
            note(key, value)

        monkeypatch.setattr(file, "note", fail_second)
        with pytest.raises(sqlite3.OperationalError):
            Import(tmp_path / "x", "q", TABLES, NOW).run(file, quietly, again=False)
        assert len(rows(file, "q")) == 2

    assert import_(tmp_path / "x", tmp_path / "b").resumed == 2

    with opened(tmp_path / "b") as file:
        assert len(rows(file, "q")) == 5


def test_a_queue_that_is_there_keeps_what_it_has(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", every_state())
    export(tmp_path / "a", tmp_path / "x")
    with opened(tmp_path / "b") as file:
        put(file, "q", [message(1, "mine", state="reserved", key=77, deadline_at=NOW)])

    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        found = rows(file, "q")
        assert [row[0] for row in found] == [1, 2, 3, 4, 5, 6, 7]
        assert [row[7] for row in found] == [77, 0, 0, 78, 79, 0, 0]  # no old key is valid here
        assert [row[8] for row in found][3] == AT + 9  # it is free at the same instant
        assert head(file, "q") == {**TABLE.head, "next_id": 8, "last_key": 79}


def test_one_queue_can_be_imported_under_another_name(tmp_path: Path) -> None:
    export(filled(tmp_path / "a"), tmp_path / "x")

    import_(tmp_path / "x", tmp_path / "b", "elsewhere")

    with opened(tmp_path / "b") as file:
        assert [queue.name for queue in file.queues()] == ["elsewhere"]
        assert len(rows(file, "elsewhere")) == 3


def test_of_several_queues_the_named_one_is_imported(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two", "three"), 1):
        filled(tmp_path / "a", number, name)
    export(tmp_path / "a", tmp_path / "x")

    import_(tmp_path / "x", tmp_path / "b", "two")

    with opened(tmp_path / "b") as file:
        assert [queue.name for queue in file.queues()] == ["two"]
        assert len(rows(file, "two")) == 2
    with pytest.raises(TransferError, match=r"x has no queue 'four'; it has one, two, three$"):
        import_(tmp_path / "x", tmp_path / "b", "four")


def test_a_line_needs_a_value_only(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(
        '{"value": "ann"}\n\n{"value": [1], "priority": -1}\n{"data": "wA=="}'
    )

    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        found = rows(file, "q")
        assert decoded(file) == ["ann", [1], None]
        assert found[0][2:] == ("ready", 0, NOW, NOW, 0, 0, 0, None, "msgpack")
        assert found[1][3] == -1
        assert head(file, "q")["next_id"] == 4


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{}", "expected either value or data"),
        ('{"value": 1, "data": ""}', "expected either value or data"),
        ('{"value": 1, "prio": 2}', "Object contains unknown field `prio`"),
        ('{"value": 1, "priority": "high"}', r"Expected `int`, got `str` - at `\$.priority`"),
        ('{"value": 1, "priority": 9223372036854775808}', r"Expected `int` <= 9223372036854775807"),
        ('{"value": 1, "state": "gone"}', "expected state to be that of a message that is there"),
        ('{"value": 1, "state": "lost"}', r"Invalid enum value 'lost' - at `\$.state`"),
        ('{"value": 1, "codec": "pickle"}', "expected data, not value, with codec 'pickle'"),
        ('{"value": 1, "codec": "dead_letter:json"}', "expected dead_letter with a codec"),
        ('{"data": "?"}', r"Invalid base64 encoded string - at `\$.data`"),
        ('{"value": 123456789012345678901234567890}', "the value cannot be encoded"),
        ("{", "Input data was truncated"),
        ("\xff", "malformed"),
        ('"text"', "Expected `object`, got `str`"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_nothing_goes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, told: str
) -> None:
    monkeypatch.setattr(_transfer, "PART", 1)
    (tmp_path / "x").write_text('{"value": 1}\n\n' + line + "\n", encoding="latin-1")

    with pytest.raises(TransferError, match=rf"x:3: .*{told}.*; nothing of it was imported$"):
        import_(tmp_path / "x", tmp_path / "b")

    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('{"id":2', '{"id":1', "expected id to be more than 1 and below next_id, 4, got 1"),
        ('{"id":2', '{"id":4', "expected id to be more than 1 and below next_id, 4, got 4"),
        ('{"id":2', '{"id":null', "expected id to be more than 1 and below next_id, 4, got 0"),
        ('"ready"', '"reserved"', "expected key from 1 to last_key, 0, got 0"),
        ('"key":0', '"key":5', "expected key from 0 to last_key, 0, got 5"),
    ],
)
def test_numbers_that_would_be_used_again_are_refused(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    export(filled(tmp_path / "a"), tmp_path / "x")
    header, first, second, third = (tmp_path / "x").read_text().splitlines(keepends=True)
    (tmp_path / "x").write_text(header + first + second.replace(old, new) + third)

    with pytest.raises(TransferError, match=told):
        import_(tmp_path / "x", tmp_path / "b")


def test_a_file_that_is_not_complete_is_refused(tmp_path: Path) -> None:
    export(filled(tmp_path / "a"), tmp_path / "x")
    lines = (tmp_path / "x").read_text().splitlines(keepends=True)
    (tmp_path / "x").write_text("".join(lines[:-1]))

    with pytest.raises(
        TransferError,
        match=r"x is not complete: 3 messages of queue 'q' were exported, it has 2; nothing of it",
    ):
        import_(tmp_path / "x", tmp_path / "b")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "x is empty"),
        ('{"queueactors":2}\n', "x:1: expected format version 1, got 2"),
        ('{"queueactors":1}\n', "x:1: the header cannot be read: Object missing required field"),
        ('{"queueactors":\n', "x:1: the header cannot be read: "),
    ],
)
def test_a_header_that_cannot_be_read_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "x").write_text(text)

    with pytest.raises(TransferError, match=told):
        import_(tmp_path / "x", tmp_path / "b")


def test_another_kind_is_refused(tmp_path: Path) -> None:
    export(filled(tmp_path / "a"), tmp_path / "x")
    text = (tmp_path / "x").read_text()
    (tmp_path / "y").write_text(text.replace('"kind":"timed"', '"kind":"spiral"'))
    filled(tmp_path / "b")
    connection = sqlite3.connect(tmp_path / "b")
    with connection:
        connection.execute("UPDATE queue SET kind = 'log'")
    connection.close()

    with pytest.raises(NotAStoreError, match=r"queue 'q' in .*b is of kind 'log', not 'timed'"):
        import_(tmp_path / "x", tmp_path / "b")
    with pytest.raises(TransferError, match=r"there is no kind of queue 'spiral'"):
        import_(tmp_path / "y", tmp_path / "b")


def test_a_queue_that_was_dropped_can_be_imported_again(tmp_path: Path) -> None:
    export(filled(tmp_path / "a"), tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")
    with opened(tmp_path / "b") as file:
        file.begin()
        for _ in file.forget("q"):
            pass
        file.commit()
        put(file, "other", [])  # and gets its number

    import_(tmp_path / "x", tmp_path / "b", "other")
    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        assert len(rows(file, "other")) == len(rows(file, "q")) == 3


async def test_a_runtime_goes_on_with_what_was_imported(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_runtime({"store": {"disk": disk(tmp_path / "a")}}) as runtime:
        jobs = await runtime.define("q", reservation_time=60, store="disk", unique=True)
        await jobs.insert("hers", "bad", "again", "ready")
        await jobs.insert("late", delay=30)
        hers = await jobs.reserve()
        await jobs.bury(await jobs.reserve(), error="why")
        await jobs.release(await jobs.reserve(), delay=10)
        await jobs.pause()
    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")

    async with open_runtime({"store": {"disk": disk(tmp_path / "b")}}) as runtime:
        jobs = await runtime.define("q", reservation_time=60, store="disk", unique=True)
        numbers = await jobs.statistics()
        assert (numbers.ready, numbers.delayed, numbers.reserved, numbers.buried) == (1, 2, 1, 1)
        assert numbers.paused
        await jobs.resume()
        assert await jobs.insert("late", "bad", "new") == 1
        assert await jobs.delete(hers) == 1  # the key is still valid
        (buried,) = await jobs.peek("buried")
        assert (buried.value, buried.error, buried.attempts) == ("bad", "why", 1)
        taken = [await jobs.reserve() for _ in range(4)]
        assert [each.value for each in taken] == ["ready", "new", "again", "late"]
        assert [each.attempt for each in taken] == [1, 1, 2, 1]


async def test_what_is_set_aside_is_exported_raw(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_runtime({"store": {"disk": disk(tmp_path / "a")}}) as runtime:
        jobs = await runtime.define("q", reservation_time=60, store="disk", codec="pickle")
        await jobs.insert({"a set"})
    async with open_runtime({"store": {"disk": disk(tmp_path / "a")}}) as runtime:
        jobs = await runtime.define("q", reservation_time=60, store="disk")
        assert (await jobs.statistics()).set_aside == 1
    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")

    async with open_runtime({"store": {"disk": disk(tmp_path / "b")}}) as runtime:
        jobs = await runtime.define("q", reservation_time=60, store="disk", codec="pickle")
        with trio.fail_after(1):
            assert (await jobs.reserve()).value == {"a set"}


def disk(path: Path) -> dict[str, object]:
    """Return the configuration of a store."""
    return {"type": "sqlite", "path": str(path), "commit": "inline"}


def test_the_store_is_where_the_configuration_says(tmp_path: Path) -> None:
    assert SqliteStore().file("disk", tmp_path) == tmp_path / "disk.sqlite"
    assert SqliteStore(path="/x/y").file("disk", tmp_path).as_posix() == "/x/y"
