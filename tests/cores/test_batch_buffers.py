"""Buffers, those that are built in and others, and what the core makes of what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from queueactors._errors import ItemRefusedError
from queueactors.cores.batch import (
    Appending,
    BatchCore,
    BatchRecords,
    Merging,
)

from .kit_batch import (
    add_up,
    contents,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def test_an_appending_buffer_keeps_items_in_their_order() -> None:
    buffer = Appending()
    for item in (3, 1, 3):
        buffer.push(item)

    assert (len(buffer), list(buffer)) == (3, [3, 1, 3])


def test_a_merging_buffer_keeps_one_item_for_each_key_in_the_order_of_keys() -> None:
    buffer = Merging(lambda pair: cast("tuple[str, int]", pair)[0], add_up)
    for pair in (("b", 1), ("a", 2), ("b", 3)):
        buffer.push(pair)

    assert (len(buffer), list(buffer)) == (2, [("b", 4), ("a", 2)])
    assert repr(buffer) == "<Merging buffer of 2 items>"


@pytest.mark.parametrize("raises", ["key", "merge", "check", "hash"])
def test_a_merging_buffer_is_as_it_was_if_a_function_raises(raises: str) -> None:
    bad: list[object] = []

    def key(item: object) -> str:
        if raises == "key" and bad:
            raise ValueError("bad")
        return cast("str", [] if raises == "hash" and bad else "key")

    def merge(there: object, item: object) -> object:
        if raises == "merge":
            raise ValueError("bad")
        return there, item

    def check(item: object) -> None:
        if raises == "check":
            raise ValueError("bad")

    buffer = Merging(key, merge, check)
    buffer.push("first")
    bad.append(True)

    with pytest.raises((ValueError, TypeError)):
        buffer.push("second")

    assert list(buffer) == ["first"]


def test_a_merging_buffer_checks_only_what_was_merged() -> None:
    checked: list[object] = []
    buffer = Merging(lambda _: 0, lambda there, item: (there, item), checked.append)

    buffer.push("first")
    buffer.push("second")

    assert checked == [("first", "second")]


class Picky:
    """A buffer that does not take everything, nor hand everything out."""

    def __init__(self) -> None:
        self.items: list[object] = []

    def push(self, item: object) -> None:
        if item == "bad":
            raise ValueError("I do not take that")
        self.items.append(item)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[object]:
        yield from self.items
        if "worse" in self.items:
            raise KeyError("worse")


def test_an_item_that_the_buffer_does_not_take_is_refused_and_those_before_it_went_in() -> None:
    core = BatchCore(flush_size=2, records=BatchRecords(Picky), name="q")

    for push in (core.push, core.wait_push):
        with pytest.raises(ItemRefusedError) as caught:
            push(0, ["a", "b", "c", "bad", "d"])

        error = caught.value
        assert (error.queue, error.error, error.pushed) == (
            "q",
            "ValueError: I do not take that",
            3,
        )
        assert isinstance(error.__cause__, ValueError)

    assert core.statistics(0).pushed == 6
    assert contents(core) == [["a", "b"], ["c", "a"], ["b", "c"]]


def test_the_time_of_a_buffer_does_not_begin_with_an_item_that_it_does_not_take() -> None:
    core = BatchCore(flush_size=0, flush_timeout=9, records=BatchRecords(Picky))

    with pytest.raises(ItemRefusedError):
        core.push(0, ["bad"])

    assert core.next_deadline(waiting=False) is None


def test_a_buffer_that_does_not_hand_out_its_items_has_lost_them() -> None:
    core = BatchCore(flush_size=0, records=BatchRecords(Picky))
    core.push(0, ["a", "worse"])

    assert core.flush(0) == 0

    assert core.notices == [("items_lost", {"items": 2, "error": "KeyError: 'worse'"})]
    assert core.statistics(0).lost == 2
    assert core.stored(0, 2) is True
    stored(core, 0, "b")
    assert contents(core) == [["b"]]


class Words:
    """Packs each item by itself, and only words."""

    def __init__(self) -> None:
        self.lost: list[BaseException] = []

    def __call__(self, items: list[object]) -> Sequence[tuple[object, int]]:
        self.lost += [TypeError(f"no word: {item}") for item in items if type(item) is not str]
        return [([item], 1) for item in items if type(item) is str]


def test_what_cannot_be_kept_is_lost_and_the_rest_is_stored() -> None:
    core = BatchCore(flush_size=0, pack=Words())
    core.push(0, ["a", 1, "b", 2])

    assert core.flush(0) == 2

    assert contents(core) == [["a"], ["b"]]
    assert core.notices == [("items_lost", {"items": 2, "error": "TypeError: no word: 1"})]
    numbers = core.statistics(0)
    assert (numbers.pushed, numbers.lost, numbers.items) == (4, 2, 2)
    core.push(0, ["c"])
    core.flush(0)
    assert core.statistics(0).lost == 2


def test_a_flush_of_which_nothing_can_be_kept_stores_no_batch() -> None:
    core = BatchCore(flush_size=0, pack=Words())
    core.push(0, [1])

    assert core.flush(0) == 0

    assert core.records.messages == {}
    assert core.records.next_id == 1
