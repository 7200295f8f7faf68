"""The chunks of capacity and log queues: how items go into them, and what is in memory of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queueactors import StoreError
from queueactors.cores import Changed
from queueactors.cores._chunks import ITEMS, KEPT, LOADED, SIZE
from queueactors.cores.capacity import CapacityCore

from .kit_chunks import Foreign, capacity_store, push, set_limits, sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueactors.cores.capacity import Chunk
    from queueactors.cores.log import LogCore


def chunks(core: CapacityCore | LogCore) -> list[Chunk]:
    return [chunk for chunk in core.records.messages.values() if chunk.state == "kept"]


def counts(core: CapacityCore | LogCore) -> list[int]:
    return [chunk.count for chunk in chunks(core)]


@pytest.fixture
def tiny() -> Iterator[None]:
    """Let a chunk hold 4 items or 16 bytes, and the memory 12 bytes and 2 chunks."""
    before = set_limits((4, 16, 12, 2))
    yield
    set_limits(before)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [1]), (ITEMS, [ITEMS]), (ITEMS + 1, [ITEMS, 1])]
)
def test_items_that_come_together_are_one_record_up_to_a_number(
    count: int, expected: list[int]
) -> None:
    core = CapacityCore()

    push(core, 0, *[b""] * count)

    assert counts(core) == expected


@pytest.mark.parametrize(("size", "expected"), [(SIZE // 2, [2]), (SIZE // 2 + 1, [1, 1])])
def test_items_that_come_together_are_one_record_up_to_a_size(
    size: int, expected: list[int]
) -> None:
    core = CapacityCore()

    push(core, 0, bytes(size), bytes(size))

    assert counts(core) == expected
    assert [chunk.size for chunk in chunks(core)] == [size * count for count in expected]


def test_a_record_may_be_filled_up_to_the_last_byte() -> None:
    core = CapacityCore()

    push(core, 0, bytes(SIZE // 2), bytes(SIZE // 2), b"a", b"")

    assert counts(core) == [2, 2]


@pytest.mark.parametrize(("size", "expected"), [(SIZE // 2, [2, 1]), (SIZE // 2 + 1, [1, 2])])
def test_a_record_may_be_filled_up_to_the_last_byte_one_by_one(
    size: int, expected: list[int]
) -> None:
    core = CapacityCore()

    for item in (bytes(SIZE // 2), bytes(size), b"a"):
        push(core, 0, item)

    assert counts(core) == expected


@pytest.mark.parametrize("size", [0, 1, SIZE, SIZE + 1, 1 << 24])
def test_an_item_of_any_size_comes_back_as_it_was(size: int) -> None:
    core = CapacityCore()
    item = bytes(size)

    push(core, 0, b"before", item, b"after")

    assert core.payload_size(0) == size + len(b"before") + len(b"after")
    assert core.pop(0, 9) == [b"before", item, b"after"]


def test_a_large_item_is_a_record_by_itself() -> None:
    core = CapacityCore()

    push(core, 0, b"a", bytes(SIZE + 1), b"b")

    assert counts(core) == [1, 1, 1]


@pytest.mark.parametrize("stored", [False, True])
def test_what_comes_in_one_turn_is_one_record(stored: bool) -> None:  # noqa: FBT001
    core = CapacityCore(changed=Changed() if stored else None)

    for _ in range(ITEMS + 1):
        push(core, 7, b"a")

    assert counts(core) == [ITEMS, 1]
    assert [(chunk.first, chunk.size) for chunk in chunks(core)] == [(0, ITEMS), (ITEMS, 1)]
    assert core.records.next_id == 3
    assert core.disk_size(7) == ITEMS + 1


@pytest.mark.usefixtures("tiny")
def test_what_comes_later_in_a_turn_fills_up_a_record() -> None:
    core = CapacityCore()

    push(core, 0, b"a")
    push(core, 0, *[b"b"] * 8)
    push(core, 0, bytes(13))
    push(core, 0, bytes(3), b"c")

    assert counts(core) == [4, 4, 2, 2]
    assert [chunk.size for chunk in chunks(core)] == [4, 4, 14, 4]
    assert core.disk_size(0) == 26


def test_what_comes_at_another_instant_is_another_record() -> None:
    core = CapacityCore()

    push(core, 0, b"a")
    push(core, 1, b"b")

    assert [(chunk.at, chunk.count) for chunk in chunks(core)] == [(0, 1), (1, 1)]


def test_nothing_joins_what_is_written() -> None:
    store = capacity_store()
    push(store.core, 0, b"a")
    core = store.turn(0)

    push(core, 0, b"b")

    assert counts(core) == [1, 1]
    store.write()
    assert store.end_process().pop(0, 9) == [b"a", b"b"]


def test_what_joins_is_noted_for_the_store_with_the_record() -> None:
    changed = Changed()
    core = CapacityCore(changed=changed)
    push(core, 0, b"a")

    push(core, 0, b"b")

    assert changed == {1}


def test_nothing_makes_no_record() -> None:
    changed = Changed()
    core = CapacityCore(changed=changed)

    assert push(core, 0) == 0
    assert core.records.next_id == 1
    assert not changed


def test_an_item_in_a_codec_of_its_own_is_a_record_by_itself() -> None:
    core = CapacityCore()
    first, second = Foreign(b"123"), Foreign(b"4567")

    push(core, 0, first)
    push(core, 0, b"a")
    push(core, 0, b"b", second, b"c")
    push(core, 0, b"d")

    assert counts(core) == [1, 2, 1, 2]
    assert core.payload_size(0) == 11
    assert core.pop(0, 4) == [first, b"a", b"b", second]
    assert core.payload_size(0) == 2
    assert core.pop(0, 9) == [b"c", b"d"]


# -- in memory, or in the store only ---------------------------------------------------------------


@pytest.mark.usefixtures("tiny")
def test_only_the_newest_items_stay_in_memory_once_they_are_written() -> None:
    store = capacity_store()
    for now in range(6):
        push(store.core, now, b"1234")
        assert chunks(store.core)[-1].value == [b"1234"]  # not written yet
        store.turn(now)

    held = [chunk.value is not None for chunk in chunks(store.core)]

    assert held == [False, False, False, True, True, True]


@pytest.mark.usefixtures("tiny")
def test_what_is_not_written_yet_stays_in_memory_however_much_it_is() -> None:
    store = capacity_store()

    push(store.core, 0, *[b"1234"] * 100)
    store.core.advance(0)

    assert all(chunk.value is not None for chunk in chunks(store.core))


def test_a_queue_of_many_bytes_keeps_some_in_memory() -> None:
    store = capacity_store()
    item = bytes(SIZE)
    for now in range(KEPT // SIZE + 3):
        push(store.core, now, item)
        store.turn(now)

    held = sum(chunk.size for chunk in chunks(store.core) if chunk.value is not None)

    assert held == KEPT


@pytest.mark.usefixtures("tiny")
def test_what_is_popped_makes_room_in_memory() -> None:
    store = capacity_store()
    for now in range(3):
        push(store.core, now, b"1234")
        store.turn(now)
    store.core.pop(3, 2)
    for now in range(4, 6):
        push(store.core, now, b"1234")
        store.turn(now)

    assert [chunk.value for chunk in chunks(store.core)] == [[b"1234"]] * 3


@pytest.mark.usefixtures("tiny")
def test_what_is_gone_before_it_is_written_takes_no_room_in_memory() -> None:
    store = capacity_store()
    push(store.core, 0, bytes(12))
    store.core.pop(0)
    store.turn(0)
    assert not store.core._chunks._in_memory  # noqa: SLF001
    for now in range(3):
        push(store.core, now, b"1234")
        store.turn(now)

    assert [chunk.value for chunk in chunks(store.core)] == [[b"1234"]] * 3


@pytest.mark.usefixtures("tiny")
def test_what_is_in_the_store_only_takes_no_room_in_memory() -> None:
    store = capacity_store()
    push(store.core, 0, bytes(12), bytes(12))
    store.write()
    core = store.end_process()
    core.advance(0)
    assert not core._chunks._in_memory  # noqa: SLF001

    push(core, 1, bytes(12))
    store.turn(1)

    assert [chunk.value for chunk in chunks(core)] == [None, None, [bytes(12)]]


@pytest.mark.usefixtures("tiny")
def test_what_was_read_is_forgotten_with_its_record() -> None:
    store = capacity_store()
    push(store.core, 0, b"a", b"b")
    store.write()
    core = store.end_process()
    held = core._chunks._loaded  # noqa: SLF001

    core.pop(0)
    assert list(held) == [1]
    core.pop(0)

    assert list(held) == []


@pytest.mark.usefixtures("tiny")
def test_without_a_store_all_is_in_memory() -> None:
    core = CapacityCore()
    for now in range(9):
        push(core, now, b"1234")
        core.advance(now)

    assert core.pop(9, 9) == [b"1234"] * 9


@pytest.mark.usefixtures("tiny")
def test_a_record_is_read_once_by_those_who_take_its_items_one_by_one() -> None:
    store = capacity_store()
    push(store.core, 0, *[b"1", b"2", b"3", b"4"] * 3)
    store.write()
    core = store.end_process()

    taken = [core.pop(0) for _ in range(12)]

    assert taken == [[b"1"], [b"2"], [b"3"], [b"4"]] * 3
    assert store.loads == [1, 2, 3]


def test_some_records_that_were_read_are_kept_for_other_readers() -> None:
    store = capacity_store()
    for now in range(LOADED + 1):
        push(store.core, now, b"a")
        store.turn(now)
    core = store.end_process()
    held = core._chunks  # noqa: SLF001

    for number in [*range(LOADED), 0, LOADED, 0, 1]:
        held.gather(number, 1)

    # The one that was not asked for longest made room, and is read again.
    assert store.loads == [*range(1, LOADED + 2), 2]


@pytest.mark.usefixtures("tiny")
def test_a_large_item_that_was_read_is_not_kept() -> None:
    store = capacity_store()
    push(store.core, 0, bytes(16), bytes(17))
    store.write()
    held = store.end_process()._chunks  # noqa: SLF001

    for _ in range(2):
        assert held.gather(0, 2) == ([bytes(16), bytes(17)], 2)

    assert store.loads == [1, 2, 2]


@pytest.mark.usefixtures("tiny")
def test_if_the_store_fails_in_the_middle_nothing_was_taken() -> None:
    store = capacity_store()
    push(store.core, 0, *[b"1"] * 9)
    store.write()
    core = store.end_process()
    core.pop(0, 2)  # the first record was read
    store.broken = True
    before = core.statistics(0)

    with pytest.raises(StoreError):
        core.pop(0, 9)

    assert core.statistics(0) == before
    assert core.pop(0, 2) == [b"1", b"1"]
    store.broken = False
    assert core.pop(0, 9) == [b"1"] * 5


@pytest.mark.usefixtures("tiny")
def test_items_are_taken_across_records_from_any_place_to_any_place() -> None:
    items = [bytes([each]) for each in range(11)]
    for skipped in range(11):
        for limit in range(1, 12):
            for stored in (False, True):
                store = capacity_store()
                store.core.push(0, items, sizes(items))
                store.turn(0)
                core = store.end_process() if stored else store.core
                if skipped:
                    assert core.pop(0, skipped) == items[:skipped]

                assert core.pop(0, limit) == items[skipped : skipped + limit]
                assert core.payload_size(0) == core.length(0)
                assert core.pop(0, 99) == items[skipped + limit :]


# -- letting go -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny")
def test_the_order_of_a_long_life_does_not_grow() -> None:
    core = CapacityCore()
    for now in range(1000):
        push(core, now, b"a", b"b")
        core.pop(now, 2)

    assert len(core._chunks._order) == 0  # noqa: SLF001


@pytest.mark.usefixtures("tiny")
def test_what_is_gone_is_not_kept_in_memory() -> None:
    core = CapacityCore()
    for now in range(300):
        push(core, now, b"a")
    core.pop(300, 100)

    order = core._chunks._order  # noqa: SLF001
    assert sum(chunk.value is not None for chunk in order) == 200


@pytest.mark.usefixtures("tiny")
def test_at_most_half_of_the_order_is_gone() -> None:
    core = CapacityCore()
    for now in range(300):
        push(core, now, b"a")

    for left in range(299, 0, -1):
        core.pop(300)
        assert len(core._chunks._order) <= max(2 * left, left + 65)  # noqa: SLF001
