"""How the items of batches are kept: each encoded as it comes, a list of them decoded as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors import CodecError, DeadLetter, _codecs
from queueactors._codecs import (
    Encoded,
    ItemValues,
    JsonCodec,
    MsgpackCodec,
    PickleCodec,
    Values,
    make_codec,
)

if TYPE_CHECKING:
    from queueactors._codecs import Codec


@attrs.define
class Email:
    """What typed queues hold."""

    to: str


class Upper:
    """A codec of one's own."""

    name = "upper"

    @staticmethod
    def encode(value: object) -> bytes:
        assert isinstance(value, str)
        return value.upper().encode()

    @staticmethod
    def decode(data: bytes) -> object:
        return data.decode()


def values_of(codec: object, type: type | None = None) -> ItemValues:
    return ItemValues(make_codec(codec, type), type)


def packed(values: ItemValues, *items: object) -> list[tuple[bytes | Encoded, int]]:
    """Return what a flush of some items makes."""
    return values.pack([values.encode_item(item) for item in items])


ITEMS: list[tuple[object, type | None, list[object]]] = [
    ("msgpack", None, [1, "é", None, b"b", {"a": [1.5]}]),
    ("json", None, [1, "é", None, {"a": [1.5]}]),
    ("bytes", None, [b"", b"\x00", b"two"]),
    ("pickle", None, [{1, 2}, DeadLetter]),
    (Upper(), None, ["A", "", "CC"]),
    ("msgpack", Email, [Email("ann"), Email("bob")]),
    ("json", Email, [Email("ann"), Email("bob")]),
]
of_each = pytest.mark.parametrize(("codec", "type", "items"), ITEMS)


@of_each
def test_items_come_back_as_one_list(codec: object, type: type | None, items: list[object]) -> None:
    values = values_of(codec, type)

    ((kept, size),) = packed(values, *items)

    assert size == len(items)
    assert isinstance(kept, bytes)
    assert values.decode(kept) == items


@of_each
def test_a_list_that_is_encoded_whole_is_the_same(
    codec: object, type: type | None, items: list[object]
) -> None:
    values = values_of(codec, type)

    assert values.encode(items) == packed(values, *items)[0][0]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 65535, 65536])
@pytest.mark.parametrize("codec", [MsgpackCodec(), JsonCodec()])
def test_a_batch_in_a_codec_with_lists_is_such_a_list(codec: Codec, count: int) -> None:
    ((kept, size),) = packed(ItemValues(codec), *range(count))

    assert size == count
    assert kept == codec.encode(list(range(count)))


@of_each
def test_a_dead_letter_is_a_batch_by_itself(
    codec: object, type: type | None, items: list[object]
) -> None:
    values = values_of(codec, type)
    letters = [DeadLetter(item, "q", 7, 3, "no", 9) for item in items[:2]]

    parts = packed(values, items[0], items[1], letters[0], letters[1], items[1])

    assert [size for _, size in parts] == [2, 1, 1, 1]
    decoded = [values.decode(kept) for kept, _ in parts]
    assert decoded == [items[:2], letters[:1], letters[1:], items[1:2]]


@of_each
def test_a_dead_letter_of_a_batch_has_its_items(
    codec: object, type: type | None, items: list[object]
) -> None:
    letter = DeadLetter(items, "q", 7, 3, "no", 9)
    single, batch = Values(make_codec(codec, type)), values_of(codec, type)

    assert single.decode(single.encode(letter)) == letter
    assert batch.decode(batch.encode(letter)) == [letter]


@pytest.mark.parametrize("codec", ["msgpack", "json", "bytes", "pickle", Upper])
def test_a_dead_letter_of_a_batch_of_dead_letters_has_them(codec: object) -> None:
    inner = DeadLetter(b"a" if codec == "bytes" else "A", "jobs", 1, 3, None, 1)
    letter = DeadLetter([inner], "batches", 2, 1, "bad", 2)
    made = make_codec(codec)

    assert Values(made).decode(Values(made).encode(letter)) == letter
    assert ItemValues(made).decode(ItemValues(made).encode(letter)) == [letter]


def test_a_dead_letter_with_dead_letters_among_other_items_is_refused() -> None:
    values = Values(make_codec("msgpack"))
    inner = DeadLetter("a", "jobs", 1, 3, None, 1)

    with pytest.raises(CodecError, match=r"dead letters among other items are no value$"):
        values.encode(DeadLetter(["b", inner], "batches", 2, 1, "bad", 2))


def test_a_dead_letter_of_a_dead_letter_comes_back() -> None:
    letter = DeadLetter(DeadLetter(b"x", "q", 7, 3, "no", 9), "letters", 1, 1, None, 10)
    values = values_of("bytes")

    assert values.decode(values.encode(letter)) == [letter]


@pytest.mark.parametrize("value", [["text"], [[b"x"]]])
def test_a_dead_letter_whose_items_cannot_be_encoded_is_refused(value: object) -> None:
    letter = DeadLetter(value, "q", 7, 3, "no", 9)

    with pytest.raises(CodecError, match="codec 'bytes'"):
        Values(make_codec("bytes")).encode(letter)


@pytest.mark.parametrize(
    ("codec", "kept"),
    [
        ("msgpack", b"\x05"),
        ("msgpack", msgspec.msgpack.encode({"a": 1})),
        ("msgpack", b"\x92\x01"),
        ("msgpack", b""),
        ("json", Encoded("msgpack", b"\x05")),
        ("json", b"5"),
        ("json", Encoded("bytes", b"x")),
        ("bytes", Encoded("json", b'{"a":1}')),
        ("bytes", b"no array"),
        ("bytes", msgspec.msgpack.encode([1])),
        ("bytes", Encoded("pickle", PickleCodec.encode([1]))),
        ("bytes", Encoded("items:pickle", msgspec.msgpack.encode([PickleCodec.encode(1)]))),
        ("bytes", Encoded("items:upper", msgspec.msgpack.encode([b"A"]))),
        ("pickle", Encoded("pickle", PickleCodec.encode((1, 2)))),
        ("msgpack", Encoded("dead_letter:msgpack", b"\x05")),
        ("msgpack", Encoded("dead_letter:msgpack", msgspec.msgpack.encode([1, 2, b"\x01"]))),
        ("msgpack", Encoded("dead_letter:pickle", b"")),
    ],
)
def test_what_is_no_list_of_items_is_a_codec_error(codec: str, kept: bytes | Encoded) -> None:
    with pytest.raises(CodecError):
        values_of(codec).decode(kept)


@pytest.mark.parametrize(
    "kept",
    [
        Encoded("msgpack", msgspec.msgpack.encode([b"x"])),
        Encoded("items:bytes", msgspec.msgpack.encode([b"x"])),
        Encoded("items:upper", msgspec.msgpack.encode([b"x"])),
    ],
)
def test_batches_in_other_codecs_can_be_decoded(kept: Encoded) -> None:
    values = values_of(Upper())

    assert values.decode(kept) in ([b"x"], ["x"])


def test_many_items_go_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_codecs, "PART", 10)
    values = values_of("bytes")
    items: list[object] = [b"x" * 4, b"y" * 6, b"z", b"w" * 30, b"v", b"u" * 9, b"t"]

    parts = packed(values, *items)

    assert [size for _, size in parts] == [2, 1, 1, 2, 1]
    decoded = [values.decode(kept) for kept, _ in parts]
    assert decoded == [items[:2], items[2:3], items[3:4], items[4:6], items[6:]]


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.lists(st.text())


@pytest.mark.slow
@given(st.sampled_from(["msgpack", "json", "pickle"]), st.lists(plain))
def test_any_items_come_back(codec: str, items: list[object]) -> None:
    values = values_of(codec)

    ((kept, _),) = packed(values, *items)

    assert values.decode(kept) == items
