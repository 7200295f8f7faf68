"""Export, import and check of batch queues: what is a batch, and what can be none."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, cast

import msgspec
import pytest
import trio

from queueactors import DeadLetter, _codecs
from queueactors._codecs import Encoded, ItemValues, make_codec
from queueactors.cli._places import find_place, tables
from queueactors.cores.batch import NEVER
from queueactors.queues._batch_kind import TABLE
from queueactors.stores import _transfer
from queueactors.stores._inspect import inspect_file
from queueactors.stores._lines import Lines
from queueactors.stores._transfer import Import, TransferError
from tests.stores.kit import running
from tests.stores.kit_file import AT, TABLES, batch, head, opened, put, rows
from tests.stores.test_transfer import NOW, StoppedError, export, quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import BatchQueue
    from queueactors.cores.batch import Batch

LETTER = DeadLetter({"to": "ann"}, "emails", 7, 5, "no such host", AT)


def import_(
    lines: Path,
    store: Path,
    *,
    again: bool = False,
    progress: Callable[[int], None] = quietly,
) -> Import:
    """Check a file and import it."""
    made = Import(lines, "q", TABLES, NOW, "batch")
    made.check(quietly)
    with opened(store) as file:
        made.run(file, progress, again=again)
    return made


def filled(path: Path, batches: Sequence[Batch], **options: object) -> Path:
    """Return a store's file with these in a batch queue."""
    with opened(path) as file:
        put(file, "q", batches, **options)  # type: ignore[arg-type] # those of `put`
    return path


def states() -> list[Batch]:
    """Return a batch in every state."""
    tried = {"claims": 2, "error": 'it said "é"\n'}
    return [
        batch(1, "a", "b"),
        batch(3, None, state="cooling", ready_at=AT + 5, **tried),
        batch(4, 1, state="retry", key=AT + 2, attempt=3, ready_at=AT + 9, **tried),
        batch(5, 2, 3, state="retry", key=AT + 2, attempt=3, ready_at=AT + 9, **tried),
        batch(6, 4, state="claimed", key=AT + 3, attempt=1, claims=1, deadline_at=NEVER),
        batch(7, 5, state="claimed", key=AT + 3, attempt=1, claims=1, deadline_at=NEVER),
        batch(8, {"x": 1}, state="buried", **tried),
        batch(9, [1], state="dead", **tried),
        batch(11, LETTER, value=ItemValues(make_codec("msgpack")).encode(LETTER)),
    ]


def sizes(path: Path) -> list[object]:
    with opened(path) as file:
        return [row[3] for row in rows(file, "q")]


def test_all_facts_of_batches_survive(tmp_path: Path) -> None:
    filled(tmp_path / "a", states(), next_id=20, last_key=AT + 4, paused_until=-1)
    with opened(tmp_path / "a") as file:
        before, beside = rows(file, "q"), head(file, "q")

    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == before
        assert head(file, "q") == beside


@pytest.mark.parametrize(
    ("codec", "items"),
    [
        ("json", ["é", 1]),
        ("bytes", [b"\x00", b""]),
        ("pickle", [{1}]),
    ],
)
def test_batches_in_any_codec_survive(codec: str, items: list[object], tmp_path: Path) -> None:
    values = ItemValues(make_codec(codec))
    kept = values.encode(items)
    of_letter = values.encode(DeadLetter(items[0], "emails", 7, 5, None, AT))
    filled(
        tmp_path / "a",
        [batch(1, value=of_letter, size=1), batch(2, *items, value=kept)],
        codec=values.codec.name,
    )
    with opened(tmp_path / "a") as file:
        before = rows(file, "q")

    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == before


def test_items_that_json_can_say_are_written_as_such(tmp_path: Path) -> None:
    filled(tmp_path / "a", [batch(1, "é", {"n": 1}), states()[-1]])

    export(tmp_path / "a", tmp_path / "x")

    header, first, letter = map(json.loads, (tmp_path / "x").read_text("utf-8").splitlines())
    assert (header["kind"], header["codec"]) == ("batch", "msgpack")
    assert (first["value"], first["size"]) == (["é", {"n": 1}], 2)
    assert (letter["value"], letter["size"]) == ({"to": "ann"}, 1)
    assert letter["dead_letter"]["queue"] == "emails"


def test_a_header_names_the_codec_of_the_batches(tmp_path: Path) -> None:
    values = ItemValues(make_codec("bytes"))
    filled(
        tmp_path / "a",
        [
            batch(1, value=values.encode(DeadLetter([b"x"], "q", 1, 1, None, AT)), size=1),
            batch(2, value=values.encode([b"x"]), size=1),
        ],
        codec="items:bytes",
    )

    export(tmp_path / "a", tmp_path / "x")

    header, letter, line = map(json.loads, (tmp_path / "x").read_text().splitlines())
    assert header["codec"] == "items:bytes"
    assert letter["codec"] == "dead_letter:items:bytes"
    assert "codec" not in line


def test_a_line_of_a_batch_needs_a_value_only(tmp_path: Path) -> None:
    data = base64.b64encode(msgspec.msgpack.encode([1, b"2", 3])).decode()
    items = base64.b64encode(msgspec.msgpack.encode([b"1", b"2"])).decode()
    (tmp_path / "x").write_text(
        '{"value": ["ann", "bob"]}\n'
        '{"value": [[1, 2, 3]], "state": "buried"}\n\n'
        f'{{"data": "{data}"}}\n'
        f'{{"data": "{items}", "codec": "items:bytes"}}\n'
        f'{{"data": "{items}", "codec": "items:own"}}\n'
        '{"value": [1], "codec": "json"}\n'
        '{"value": [1, 2], "codec": "dead_letter:json", "dead_letter":'
        ' {"queue": "a", "id": 1, "attempts": 2, "error": null, "inserted_at": 3}}'
    )

    import_(tmp_path / "x", tmp_path / "b")

    assert sizes(tmp_path / "b") == [2, 1, 3, 2, 2, 1, 1]
    with opened(tmp_path / "b") as file:
        first = rows(file, "q")[0]
        assert first[2:] == ("ready", 2, NOW, NOW, 0, 0, 0, 0, None, "msgpack")
        second = cast("bytes", rows(file, "q")[1][1])
        assert msgspec.msgpack.decode(second) == [[1, 2, 3]]
        assert head(file, "q") == {**TABLE.head, "next_id": 8}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"value": "text"}', "expected value to be a list of items"),
        ('{"value": {"a": 1}, "size": 1}', "expected value to be a list of items"),
        ('{"value": 1, "codec": "json"}', "expected value to be a list of items"),
        ('{"value": []}', "expected a list of at least one item"),
        ('{"value": [], "size": 0}', "expected a list of at least one item"),
        ('{"value": [1, 2], "size": 3}', "expected size to be 2, the number of items, got 3"),
        ('{"data": "kgEC", "size": 1}', "expected size to be 2, the number of items, got 1"),
        ('{"data": "wQ=="}', "expected size, as data is no list of items that can be read"),
        ('{"data": "AQ=="}', "expected size, as data is no list of items that can be read"),
        ('{"data": "AQ==", "size": 0}', "expected a list of at least one item"),
        ('{"data": "eA==", "codec": "bytes"}', "expected size, as data is no list"),
        ('{"data": "kQE=", "codec": "items:bytes"}', "expected size, as data is no list"),
        ('{"value": ["x"], "codec": "items:bytes"}', "expected data, not value, with codec"),
        ('{"value": [1], "key": 5}', "expected key to be 0, as state is 'ready', got 5"),
        ('{"value": [1], "state": "cooling", "key": 5}', "expected key to be 0, as state is 'coo"),
        ('{"value": [1], "state": "delayed"}', r"Invalid enum value 'delayed' - at `\$.state`"),
        ('{"value": [1], "mid": "a"}', "Object contains unknown field `mid`"),
        ('{"value": [1], "size": "1"}', r"Expected `int \| null`, got `str` - at `\$.size`"),
        (
            '{"value": [1], "state":"claimed", "key":9}\n{"value": [1], "state":"retry", "key": 9}',
            "expected state to be 'claimed', as on line 3 with the same key, got 'retry'",
        ),
    ],
)
def test_a_line_that_is_no_batch_is_named_and_nothing_goes_in(
    tmp_path: Path, line: str, told: str
) -> None:
    (tmp_path / "x").write_text('{"value": [1]}\n\n' + line + "\n")
    number = 4 if "\n" in line else 3

    with pytest.raises(TransferError, match=rf"x:{number}: {told}.*; nothing of it was imported$"):
        import_(tmp_path / "x", tmp_path / "b")

    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("state", ["claimed", "retry"])
def test_a_batch_of_a_claim_that_has_no_key_is_refused(state: str, tmp_path: Path) -> None:
    filled(tmp_path / "a", [batch(1, "x", state=state)], last_key=AT)
    export(tmp_path / "a", tmp_path / "x")

    with pytest.raises(TransferError, match=rf"x:2: expected key from 1 to last_key, {AT}, got 0"):
        import_(tmp_path / "x", tmp_path / "b")


def test_what_was_claimed_together_stays_together_under_a_new_key(tmp_path: Path) -> None:
    filled(tmp_path / "a", states())
    export(tmp_path / "a", tmp_path / "x")
    filled(tmp_path / "b", [batch(1, "mine", state="retry", key=77, attempt=1)])

    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        keys = {row[0]: row[8] for row in rows(file, "q") if row[8]}
        assert keys == {1: 77, 4: 78, 5: 78, 6: 79, 7: 79}
        assert head(file, "q")["last_key"] == 79


def test_lines_without_a_key_that_need_one_get_one_each(tmp_path: Path) -> None:
    line = '{"value": [1], "state": "retry"}\n'
    (tmp_path / "x").write_text(line + line + line.replace("retry", "claimed"))

    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        assert [row[8] for row in rows(file, "q")] == [1, 2, 3]


def test_what_belongs_together_stays_so_over_several_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_transfer, "PART", 2)
    together = [batch(n, n, state="retry", key=5 + n // 4, attempt=1) for n in range(1, 8)]
    export(filled(tmp_path / "a", together), tmp_path / "x")
    filled(tmp_path / "b", [batch(1, "mine", state="claimed", key=77, deadline_at=NEVER)])

    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        assert [row[8] for row in rows(file, "q")] == [77, 78, 78, 78, 79, 79, 79, 79]


def test_an_import_of_batches_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_transfer, "PART", 2)
    export(filled(tmp_path / "a", [batch(n, n, n) for n in range(1, 6)]), tmp_path / "x")

    def stop(done: int) -> None:
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        import_(tmp_path / "x", tmp_path / "b", progress=stop)
    assert import_(tmp_path / "x", tmp_path / "b").resumed == 2

    assert sizes(tmp_path / "b") == [2] * 5


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (b"\x05", 3),  # no list
        (b"\x92\x01", 2),  # it ends too early
        (Encoded("items:own", b"\xc1"), 2),
        (Encoded("own", b"any"), 9),
    ],
)
def test_what_is_set_aside_is_exported_raw_and_comes_back(
    value: bytes | Encoded, size: int, tmp_path: Path
) -> None:
    filled(tmp_path / "a", [batch(1, "good"), batch(2, value=value, size=size)])
    with opened(tmp_path / "a") as file:
        before = rows(file, "q")

    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == before


def test_a_batch_is_written_as_its_bytes_if_its_size_is_another() -> None:
    row = (1, msgspec.msgpack.encode([1, 2]), "ready", 3, AT, AT, 0, 0, 0, 0, None, "msgpack")

    line = json.loads(Lines(TABLE, "msgpack").write(row))

    assert (line["data"], line["size"]) == ("kgEC", 3)


# -- check and vacuum ----------------------------------------------------------------------------


def test_a_check_finds_nothing_wrong_with_every_state_and_codec(tmp_path: Path) -> None:
    filled(tmp_path / "a", states())
    values = ItemValues(make_codec("bytes"))
    with opened(tmp_path / "a") as file:
        kept = values.encode([b"x", b"y"])
        put(file, "b", [batch(1, 1, 2, value=kept)], codec="items:bytes")
        put(file, "o", [batch(1, 1, value=Encoded("items:own", b"\x91\xc4\x00"))])

    report = inspect_file(tmp_path / "a", TABLES, {}, quietly)

    assert report.faults == []
    q, b, o = report.queues
    assert q.states == {
        "ready": 2,
        "cooling": 1,
        "retry": 2,
        "claimed": 2,
        "buried": 1,
        "dead": 1,
    }
    assert (b.codecs, b.unchecked) == ({"items:bytes": 1}, 0)
    assert (o.codecs, o.unchecked) == ({"items:own": 1}, 1)


def test_a_check_finds_what_is_no_batch(tmp_path: Path) -> None:
    filled(
        tmp_path / "a",
        [
            batch(1, value=b"\x05", size=1),
            batch(2, value=b"\x92\x01", size=2),
            batch(3, value=Encoded("json", b"{}"), size=1),
            batch(4, 1, 2, size=3),
            batch(5, 1, key=5),
            batch(6, 1, state="retry"),
            batch(7, 1, state="claimed"),
        ],
    )

    assert inspect_file(tmp_path / "a", TABLES, {}, quietly).faults == [
        "queue 'q' has batch 4 of 2 items, and its size is 3",
        "queue 'q' has batch 5 in state 'ready' with key 5",
        "queue 'q' has batch 6 in state 'retry' with key 0",
        "queue 'q' has batch 7 in state 'claimed' with key 0",
        "queue 'q': 3 messages cannot be decoded: 1, 2, 3",
    ]


def test_a_check_does_not_name_every_wrong_batch(tmp_path: Path) -> None:
    filled(tmp_path / "a", [batch(n, n, size=2) for n in range(1, 14)])

    faults = inspect_file(tmp_path / "a", TABLES, {}, quietly).faults

    assert len(faults) == 11
    assert faults[-1] == "queue 'q' has 3 more of these"


def test_a_configured_queue_is_checked_as_it_decodes(tmp_path: Path) -> None:
    filled(tmp_path / "a.sqlite", [batch(1, {"to": "ann", "size": 1}), batch(2, {"from": "x"})])
    with opened(tmp_path / "a.sqlite") as file:
        put(file, "p", [batch(1, value=Encoded("items:pickle", b"\x91\xc4\x00"), size=1)])
    (tmp_path / "q.toml").write_text(f"""
schema = 1
[store.disk]
type = "sqlite"
path = "{tmp_path / "a.sqlite"}"
[queue.q]
kind = "batch"
store = "disk"
process = "tests.stores.make_file:process"
type = "tests.stores.make_file:Email"
[queue.p]
kind = "batch"
store = "disk"
process = "tests.stores.make_file:process"
codec = "pickle"
""")

    place = find_place(str(tmp_path / "q.toml"), None)
    report = inspect_file(place.path, tables(), place.values, quietly)

    assert [(queue.undecodable_ids, queue.unchecked) for queue in report.queues] == [
        ([2], 0),
        ([1], 0),
    ]


def test_a_vacuum_leaves_the_batches(tmp_path: Path) -> None:
    filled(tmp_path / "a", states())
    with opened(tmp_path / "a") as file:
        before = rows(file, "q")

        file.vacuum()

        assert rows(file, "q") == before


# -- and then ------------------------------------------------------------------------------------


async def _processed(path: Path, **options: object) -> list[list[object]]:
    """Return what the process function gets of an imported queue."""
    came: list[list[object]] = []

    async def process(_queue: BatchQueue, items: list[object]) -> None:
        came.append(items)

    async with running(path) as runtime:
        await runtime.define("q", kind="batch", store="disk", process=process, **options)
        await trio.sleep(60)
    return came


async def test_a_runtime_goes_on_with_imported_batches(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    export(filled(tmp_path / "a", states()), tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")

    assert await _processed(tmp_path / "b") == [
        ["a", "b"],
        [LETTER],
        [4],  # the claims of a process that has ended come one by one
        [5],
        [None],
        [1, 2, 3],
    ]


async def test_a_runtime_begins_with_lines_that_somebody_wrote(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    (tmp_path / "x").write_text(
        '{"value": [1, 2]}\n'
        '{"value": [3], "state": "retry"}\n'
        '{"value": [4], "state": "claimed"}\n'
        '{"value": [5], "state": "claimed", "key": 9}\n'
        '{"value": [6], "state": "claimed", "key": 9}\n'
        '{"value": [7], "state": "dead"}\n'
        '{"value": [8], "state": "cooling"}\n'
    )
    import_(tmp_path / "x", tmp_path / "b")

    came = await _processed(tmp_path / "b")

    assert sorted(came) == [[1, 2], [3], [4], [5], [6], [8]]


def test_values_larger_than_a_part_can_be_transferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_codecs, "PART", 10)
    values = ItemValues(make_codec("bytes"))
    parts = values.pack([values.encode_item(b"x" * 30), values.encode_item(b"y")])
    batches = [batch(n, value=kept, size=size) for n, (kept, size) in enumerate(parts, 1)]
    export(filled(tmp_path / "a", batches, codec="items:bytes"), tmp_path / "x")

    import_(tmp_path / "x", tmp_path / "b")

    assert sizes(tmp_path / "b") == [1, 1]
