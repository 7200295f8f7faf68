"""Codecs: what goes in comes out, what cannot be encoded is refused, nothing is ever lost."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from queueactors import (
    CodecError,
    ConfigError,
    DeadLetter,
    OptionsError,
    TimedOptions,
    load_config,
    open_runtime,
    wait_until_idle,
)
from queueactors._codecs import LETTER, Encoded, PickleCodec, Values, make_codec
from tests.stores.kit_file import opened, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, MutableMapping
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import Runtime, TimedQueue

Events = list["MutableMapping[str, Any]"]  # type: ignore[explicit-any] # structlog's


@attrs.define
class Email:
    """A class of the user's."""

    to: str
    size: int = 0


class Point(msgspec.Struct):
    """Another."""

    x: int
    y: int


class Reversed:
    """A codec of the user's: text, backwards."""

    name = "reversed"

    def encode(self, value: object) -> bytes:
        assert isinstance(value, str)
        return value[::-1].encode()

    def decode(self, data: bytes) -> object:
        return data.decode()[::-1]


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    with capture_logs() as captured:
        yield captured


@asynccontextmanager
async def runtime(path: Path) -> AsyncIterator[Runtime]:
    """Run over a store's file."""
    store = {"type": "sqlite", "path": str(path), "commit": "inline"}
    async with open_runtime({"store": {"disk": store}}) as opened:
        yield opened


async def define(over: Runtime, name: str = "q", **options: object) -> TimedQueue:
    """Define a queue that is kept in the file."""
    given: dict[str, Any] = {"reservation_time": 60, "store": "disk"} | options  # type: ignore[explicit-any] # options
    return await over.define(name, kind="timed", **given)


def kept(path: Path, queue: str = "q") -> list[tuple[object, object]]:
    """Return what the file has of each message: the codec's name and the bytes."""
    with opened(path) as file:
        return [(row[-1], row[1]) for row in rows(file, queue)]


# -- what goes in comes out -----------------------------------------------------------------------

finite = st.floats(allow_nan=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))  # lone surrogates are no text
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts
moments = st.datetimes(timezones=st.just(UTC))


def nested(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=10,
    )


@pytest.mark.slow
@given(nested(scalars | finite | st.binary() | moments))
def test_msgpack_gives_back_what_it_got(value: object) -> None:
    values = Values(make_codec("msgpack"))

    assert values.decode(values.encode(value)) == value


@pytest.mark.slow
@given(nested(scalars | st.floats(allow_nan=False, allow_infinity=False)))
def test_json_gives_back_what_it_got(value: object) -> None:
    values = Values(make_codec("json"))

    assert values.decode(values.encode(value)) == value


@given(st.binary(), st.sampled_from([bytes, bytearray, memoryview]))
def test_bytes_are_given_back_as_bytes(data: bytes, of: type) -> None:
    values = Values(make_codec("bytes"))

    found = values.decode(values.encode(of(data)))

    assert type(found) is bytes
    assert found == data


@pytest.mark.slow
@given(nested(scalars | st.binary() | st.sets(st.integers()) | st.tuples(st.integers(), st.text())))
def test_pickle_gives_back_any_object(value: object) -> None:
    values = Values(make_codec("pickle"))

    found = values.decode(values.encode(value))

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("codec", ["msgpack", "json"])
@pytest.mark.parametrize("value", [Email("ann", 3), Point(1, -2)])
def test_a_class_comes_back_as_that_class(codec: str, value: object) -> None:
    values = Values(make_codec(codec, type(value)))

    assert values.decode(values.encode(value)) == value


@pytest.mark.parametrize("codec", ["msgpack", "json"])
def test_without_its_type_a_class_comes_back_as_a_mapping(codec: str) -> None:
    values = Values(make_codec(codec))

    assert values.decode(values.encode(Email("ann", 3))) == {"to": "ann", "size": 3}
    assert values.decode(values.encode((1, 2))) == [1, 2]


@given(
    st.sampled_from(["msgpack", "json", "bytes", "pickle", "own"]),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(0, 2**63 - 1),
    st.none() | texts,
)
def test_a_dead_letter_comes_back_through_every_codec(
    codec: str, text: str, number: int, error: str | None
) -> None:
    values = Values(make_codec(Reversed() if codec == "own" else codec))
    value: object = text.encode() if codec == "bytes" else text
    letter = DeadLetter(value, "jobs", number, number, error, number)

    assert values.decode(values.encode(letter)) == letter


@pytest.mark.parametrize("codec", ["msgpack", "json", "bytes", "pickle"])
def test_a_dead_letter_of_a_dead_letter_comes_back(codec: str) -> None:
    values = Values(make_codec(codec))
    inner = DeadLetter(b"x" if codec == "bytes" else "x", "jobs", 1, 2, "no", 3)
    letter = DeadLetter(inner, "letters", 4, 5, None, 6)

    assert values.decode(values.encode(letter)) == letter


@pytest.mark.parametrize("written", ["msgpack", "json", "bytes"])
@pytest.mark.parametrize("codec", ["msgpack", "json", "bytes", "pickle", "own"])
def test_what_another_codec_wrote_is_decoded_by_that_one(written: str, codec: str) -> None:
    value = b"x" if written == "bytes" else "x"
    data = Values(make_codec(written)).encode(value)
    assert isinstance(data, bytes)

    values = Values(make_codec(Reversed if codec == "own" else codec))

    assert values.decode(Encoded(written, data)) == value


def test_bytes_that_name_the_queues_own_codec_are_decoded_by_it() -> None:
    values = Values(make_codec("msgpack", Email))

    found = values.decode(Encoded("msgpack", msgspec.msgpack.encode({"to": "ann"})))

    assert found == Email("ann")


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "value", "told"),
    [
        ("msgpack", object(), "codec 'msgpack' failed: TypeError: .*object"),
        ("msgpack", 2**64, "codec 'msgpack' failed: OverflowError: .*"),
        ("msgpack", "\udc80", "codec 'msgpack' failed: UnicodeEncodeError: .*"),
        ("json", {1: {2, 3}, None: 1}, "codec 'json' failed: TypeError: .*"),
        ("bytes", "text", "codec 'bytes' failed: TypeError: expected bytes, got 'text'; set a cod"),
        ("bytes", 5, "codec 'bytes' failed: TypeError: expected bytes, got 5$"),
        ("pickle", lambda: 1, "codec 'pickle' failed: .*"),
        (Reversed(), 5, "codec 'reversed' failed: AssertionError"),
    ],
)
def test_what_cannot_be_encoded_is_refused(codec: object, value: object, told: str) -> None:
    values = Values(make_codec(codec))

    with pytest.raises(CodecError, match=f"^{told}") as caught:
        values.encode(value)

    assert caught.value.__cause__ is not None
    assert isinstance(caught.value, ValueError)


def test_another_class_than_the_queues_is_refused() -> None:
    values = Values(make_codec("msgpack", Email))

    with pytest.raises(CodecError, match=r"TypeError: expected a Email, got \{'to': 'ann'\}$"):
        values.encode({"to": "ann"})


def test_a_codec_that_encodes_to_no_bytes_is_refused() -> None:
    class Text(Reversed):
        name = "text"

        def encode(self, value: object) -> bytes:
            return str(value)  # type: ignore[return-value] # on purpose

    with pytest.raises(CodecError, match=r"expected encode\(\) to return bytes, got '5'$"):
        Values(make_codec(Text)).encode(5)


@pytest.mark.parametrize("codec", ["msgpack", "json", "bytes", "own"])
@pytest.mark.parametrize("letter", [False, True])
def test_pickle_is_decoded_only_by_a_queue_of_pickles(codec: str, *, letter: bool) -> None:
    data = Values(make_codec("pickle")).encode(DeadLetter(1, "q", 1, 1, None, 1) if letter else 1)
    record = Encoded("pickle", data) if isinstance(data, bytes) else data

    with pytest.raises(CodecError, match=r"pickle is decoded only for a queue whose codec is pick"):
        Values(make_codec(Reversed() if codec == "own" else codec)).decode(record)


@pytest.mark.parametrize(
    ("record", "codec"),
    [
        (b"\xc1", "msgpack"),
        (Encoded("json", b"{"), "json"),
        (Encoded("reversed", b"x"), "reversed"),
        (Encoded(LETTER + "msgpack", b"\x01"), LETTER + "msgpack"),
        (Encoded(LETTER + "msgpack", msgspec.msgpack.encode([1, b"\x01"])), LETTER + "msgpack"),
        (Encoded(LETTER + "json", msgspec.msgpack.encode([1, 2, 3, 4, 5, b"{"])), "json"),
    ],
)
def test_what_cannot_be_decoded_is_an_error_that_names_the_codec(
    record: object, codec: str
) -> None:
    with pytest.raises(CodecError) as caught:
        Values(make_codec("msgpack")).decode(record)

    assert caught.value.codec == codec


class _Nameless(Reversed):
    name = ""


class _Taken(Reversed):
    name = "json"


class _Colon(Reversed):
    name = "a:b"


class _Broken(Reversed):
    def __init__(self) -> None:
        raise OSError("no key")


@pytest.mark.parametrize(
    ("codec", "told"),
    [
        ("msgpak", r"expected codec to be one of msgpack, json, bytes, pickle or 'module:Class'"),
        ("msgpak", r"did you mean 'msgpack'"),
        (5, "expected codec to have a name of its own"),
        (_Nameless, "expected codec to have a name of its own, a str without a colon, got ''"),
        (_Taken(), "expected codec to have a name of its own, a str without a colon, got 'json'"),
        (_Colon, "expected codec to have a name of its own, a str without a colon, got 'a:b'"),
        (type("Half", (), {"name": "half"}), r"expected codec to have encode\(\), got"),
        (_Broken, "the codec cannot be made: OSError: no key"),
        ([], "expected codec to have a name of its own"),
    ],
)
def test_a_codec_that_is_none_is_refused(codec: object, told: str) -> None:
    with pytest.raises(OptionsError, match=told) as caught:
        TimedOptions(reservation_time=1, codec=codec)

    assert [option for option, _ in caught.value.faults] == ["codec"]


@pytest.mark.parametrize(
    ("codec", "of", "told"),
    [
        ("bytes", Email, "expected type with codec msgpack or json only, got codec 'bytes'"),
        ("pickle", Email, "expected type with codec msgpack or json only, got codec 'pickle'"),
        (Reversed, Email, "expected type with codec msgpack or json only, got codec <class"),
        ("json", Email("ann"), r"expected type to be a class, got Email\(to='ann', size=0\)"),
    ],
)
def test_a_type_that_cannot_be_decoded_into_is_refused(
    codec: object, of: object, told: str
) -> None:
    with pytest.raises(OptionsError, match=told):
        TimedOptions(reservation_time=1, codec=codec, type=of)  # type: ignore[arg-type] # on purpose


# -- in a configuration ---------------------------------------------------------------------------

CONFIG = """
schema = 1
[store.disk]
type = "sqlite"
path = "{path}"
[queue.q]
kind = "timed"
reservation_time = "1m"
store = "disk"
"""

CODECS = """
class Email:
    def __init__(self, to): self.to = to
class Upper:
    name = "upper"
    def encode(self, value): return value.upper().encode()
    def decode(self, data): return data.decode().lower()
number = 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of codecs."""
    (tmp_path / "codecs_of_mine.py").write_text(CODECS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "codecs_of_mine", raising=False)
    return tmp_path


async def test_a_configuration_names_a_codec_of_ones_own(
    folder: Path, autojump_clock: MockClock
) -> None:
    text = CONFIG.format(path=folder / "a") + 'codec = "codecs_of_mine:Upper"\n'
    (folder / "q.toml").write_text(text)

    async with open_runtime(str(folder / "q.toml")) as over:
        queue = over.queue("q")
        await queue.insert("Text")
        assert (await queue.reserve()).value == "text"

    assert kept(folder / "a") == [("upper", b"TEXT")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            'codec = "jsn"',
            r"q.toml:10: queue.q.codec: expected .*got 'jsn' \(did you mean 'json'\?\)",
        ),
        ('codec = "codecs_of_mine:Uper"', r"q.toml:10: queue.q.codec: .*did you mean 'Upper'"),
        (
            'codec = "codecs_of_mine:number"',
            r"q.toml:10: queue.q.codec: .* is not callable, it is a int",
        ),
        ('type = "codecs_of_mine:number"', r"q.toml:10: queue.q.type: "),
    ],
)
def test_a_configuration_with_a_wrong_codec_is_refused(folder: Path, line: str, told: str) -> None:
    (folder / "q.toml").write_text(CONFIG.format(path=folder / "a") + line + "\n")

    with pytest.raises(ConfigError, match=told):
        load_config(folder / "q.toml")


# -- in a queue -----------------------------------------------------------------------------------


async def test_nothing_goes_in_if_one_value_cannot_be_encoded(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with runtime(tmp_path / "a") as over:
        queue = await define(over)
        for operation in (queue.insert, queue.wait_insert):
            with pytest.raises(CodecError):
                await operation("good", object())
        with pytest.raises(CodecError):
            queue.insert_nowait("good", object())
        with pytest.raises(CodecError):
            queue.submit.insert(object())

        assert await queue.len() == 0
        assert (await queue.statistics()).inserted == 0


async def test_the_error_comes_at_the_call_and_not_at_the_await(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with runtime(tmp_path / "a") as over:
        queue = await define(over)

        with pytest.raises(CodecError):
            queue.insert(object())  # type: ignore[unused-coroutine] # on purpose


async def test_configured_values_that_cannot_be_encoded_are_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with runtime(tmp_path / "a") as over:
        with pytest.raises(CodecError):
            await define(over, values=[object()])


async def test_the_name_of_the_codec_is_kept_with_each_message(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    letter = DeadLetter("x", "jobs", 1, 2, None, 3)
    for codec in ("msgpack", "json", Reversed):
        async with runtime(tmp_path / "a") as over:
            queue = await define(over, codec=codec)
            await queue.insert("text", letter)

    async with runtime(tmp_path / "a") as over:
        queue = await define(over, codec=Reversed())
        taken = [each.value for each in await queue.reserve_many(9)]
    assert taken == ["text", letter] * 3
    names = ["msgpack", "json", "reversed"]
    assert [name for name, _ in kept(tmp_path / "a")] == [
        each for name in names for each in (name, LETTER + name)
    ]


async def test_what_changes_keeps_the_codec_it_is_in(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with runtime(tmp_path / "a") as over:
        await (await define(over, codec="json")).insert("text")
    before = kept(tmp_path / "a")
    async with runtime(tmp_path / "a") as over:
        queue = await define(over, codec="msgpack")
        await queue.release(await queue.reserve(), priority=3)

    assert kept(tmp_path / "a") == before == [("json", b'"text"')]


async def test_what_cannot_be_decoded_is_set_aside_and_comes_back(
    tmp_path: Path, autojump_clock: MockClock, events: Events
) -> None:
    async with runtime(tmp_path / "a") as over:
        queue = await define(over, codec=Reversed)
        await queue.insert("one", "two")
    before = kept(tmp_path / "a")
    async with runtime(tmp_path / "a") as over:
        queue = await define(over)
        await queue.insert("three")
        assert (await queue.reserve()).value == "three"
        numbers = await queue.statistics()
        assert (numbers.set_aside, numbers.ready, numbers.reserved) == (2, 0, 1)
        assert await queue.clear() == 1
        assert (await queue.statistics()).set_aside == 2
    assert kept(tmp_path / "a") == before
    told = [event for event in events if event["event"] == "message_set_aside"]
    assert [(event["queue"], event["id"], event["codec"]) for event in told] == [
        ("q", 1, "reversed"),
        ("q", 2, "reversed"),
    ]
    assert {event["log_level"] for event in told} == {"error"}

    async with runtime(tmp_path / "a") as over:
        queue = await define(over, codec=Reversed)
        assert (await queue.statistics()).set_aside == 0
        taken = await queue.reserve_many(9)
        assert [(each.id, each.value) for each in taken] == [(1, "one"), (2, "two")]
        assert await queue.insert("four") == 1
        assert (await queue.reserve()).id == 4  # no id is given out twice


async def test_clear_leaves_what_is_set_aside_however_often(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with runtime(tmp_path / "a") as over:
        await (await define(over, codec="pickle")).insert(1, 2, 3)
    before = kept(tmp_path / "a")
    for _ in range(2):
        async with runtime(tmp_path / "a") as over:
            queue = await define(over)
            for _ in range(2):
                await queue.insert("x", "y")
                await queue.clear()

    assert kept(tmp_path / "a") == before


async def test_what_is_set_aside_does_not_count_as_in_the_queue(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with runtime(tmp_path / "a") as over:
        await (await define(over, codec="pickle")).insert("x")

    async with runtime(tmp_path / "a") as over:
        queue = await define(over, unique=True, max_length=1)
        assert await queue.len() == 0
        assert await queue.insert("x") == 1


async def test_a_class_that_has_changed_sets_its_messages_aside(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with runtime(tmp_path / "a") as over:
        await (await define(over, type=Email)).insert(Email("ann", 3))

    async with runtime(tmp_path / "a") as over:
        assert (await (await define(over, type=Point)).statistics()).set_aside == 1
    async with runtime(tmp_path / "a") as over:
        assert (await (await define(over)).reserve()).value == {"to": "ann", "size": 3}


@pytest.mark.parametrize("codec", ["msgpack", "json", "bytes", "pickle", "own"])
async def test_an_exhausted_message_becomes_a_dead_letter_in_every_codec(
    codec: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    options: dict[str, object] = {"codec": Reversed() if codec == "own" else codec}
    value: object = b"x" if codec == "bytes" else "x"
    async with runtime(tmp_path / "a") as over:
        await define(over, "last", **options)
        await define(over, "letters", max_reservations=1, on_exhausted="last", **options)
        queue = await define(
            over, "q", max_reservations=1, on_exhausted="letters", reservation_time=1, **options
        )
        await queue.insert(value)
        await queue.release(await queue.reserve(), error="no")
        await over.queue("letters").reserve()  # and let it expire
        with trio.fail_after(600):
            await over.queue("last").release(await over.queue("last").reserve())

    async with runtime(tmp_path / "a") as over:
        found = (await (await define(over, "last", **options)).reserve()).value
    assert isinstance(found, DeadLetter)
    assert (found.queue, found.attempts, found.error) == ("letters", 1, None)
    inner = found.value
    assert isinstance(inner, DeadLetter)
    assert (inner.value, inner.queue, inner.attempts, inner.error) == (value, "q", 1, "no")


@pytest.mark.parametrize("codec", ["msgpack", "json", "pickle"])
async def test_unique_is_by_equality_also_after_a_restart(
    codec: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with runtime(tmp_path / "a") as over:
        queue = await define(over, codec=codec, unique=True)
        assert await queue.insert(1, 1.0, True, "1", {"a": 1, "b": 2}, [1]) == 4

    async with runtime(tmp_path / "a") as over:
        queue = await define(over, codec=codec, unique=True)
        assert await queue.insert(1.0, True, {"b": 2, "a": 1.0}, [1.0], "1", 2) == 1
        assert await queue.len() == 5


async def test_unique_is_by_equality_of_a_class_after_a_restart(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    for expected in (1, 0):
        async with runtime(tmp_path / "a") as over:
            queue = await define(over, type=Email, unique=True)
            assert await queue.insert(Email("ann", 1), Email("ann", 1)) == expected


async def test_a_value_that_is_changed_after_the_insert_is_not_changed_in_the_queue(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with runtime(tmp_path / "a") as over:
        queue = await define(over)
        value = ["before"]
        await queue.insert(value)
        value.append("after")

        first = await queue.reserve()
        assert first.value == ["before"]


def test_pickle_decodes_what_it_encoded_by_name() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    assert PickleCodec.decode(PickleCodec.encode(moment)) == moment


async def test_a_durable_batch_queue_takes_a_dead_letter_among_other_items(tmp_path: Path) -> None:
    got: list[object] = []
    letter = DeadLetter("a", "jobs", 1, 3, None, 1)

    async def process(_queue: object, items: list[object]) -> None:
        got.extend(items)

    config = {"runtime": {"data_dir": str(tmp_path)}, "store": {"disk": {"type": "sqlite"}}}
    async with open_runtime(config) as runtime:
        queue = await runtime.define(
            "b", kind="batch", store="disk", process=process, flush_timeout=1, flush_size=3
        )
        await queue.push_many(["b", letter, "c"])
        await wait_until_idle(runtime)

    assert got == ["b", letter, "c"]
