"""The timed core: what is handed out when."""

from __future__ import annotations

from queueactors.cores.timed import TimedCore

from .kit import S, drain, reserve


def test_messages_come_out_in_the_order_of_their_insertion() -> None:
    core = TimedCore()

    core.insert(1 * S, ["a", "b"])
    core.insert(1 * S, ["c"])
    core.insert(2 * S, ["d"])

    assert drain(core, 3 * S) == ["a", "b", "c", "d"]


def test_a_smaller_priority_comes_first() -> None:
    core = TimedCore()

    core.insert(1, ["usual"])
    core.insert(2, ["late"], priority=1)
    core.insert(3, ["early"], priority=-1)

    assert drain(core, 4) == ["early", "usual", "late"]


def test_within_a_priority_the_instant_of_becoming_ready_counts() -> None:
    core = TimedCore()

    core.insert(1, ["delayed"], delay=5)
    core.insert(4, ["before"])
    core.insert(8, ["after"])

    assert drain(core, 9) == ["before", "delayed", "after"]


def test_of_those_ready_in_one_instant_the_first_inserted_comes_first() -> None:
    core = TimedCore()

    core.insert(1, ["delayed"], delay=5)
    core.insert(6, ["later"])

    assert drain(core, 6) == ["delayed", "later"]


def test_a_released_message_goes_to_the_tail() -> None:
    core = TimedCore()
    core.insert(1, ["a", "b"])

    core.release(2, reserve(core, 1).key)

    assert drain(core, 2) == ["b", "a"]


def test_a_message_released_in_the_instant_of_its_insert_keeps_its_place() -> None:
    core = TimedCore()
    core.insert(1, ["a", "b"])

    core.release(1, reserve(core, 1).key)

    assert drain(core, 1) == ["a", "b"]


def test_an_expired_message_is_placed_by_the_instant_of_its_expiry() -> None:
    core = TimedCore()
    core.insert(1, ["a"])
    reserve(core, 1, duration=9)
    core.insert(5, ["before"])
    core.insert(15, ["after"])

    assert drain(core, 20) == ["before", "a", "after"]


def test_a_release_with_a_priority_changes_it_for_good() -> None:
    core = TimedCore()
    core.insert(1, ["a", "b"], priority=1)

    core.release(2, reserve(core, 1).key, priority=0)
    core.release(3, reserve(core, 2).key)

    assert drain(core, 3) == ["a", "b"]


def test_a_release_without_a_priority_keeps_it() -> None:
    core = TimedCore()
    core.insert(1, ["low"], priority=5)
    core.insert(1, ["lower"], priority=6)

    core.release(2, reserve(core, 1).key)

    assert drain(core, 2) == ["low", "lower"]


def test_a_release_with_a_delay_is_ready_exactly_then() -> None:
    core = TimedCore()
    core.insert(1, ["a"])

    core.release(2, reserve(core, 1).key, delay=10)

    assert core.reserve(11, S) is None
    assert reserve(core, 12).value == "a"


def test_a_delayed_message_is_ready_exactly_at_its_instant() -> None:
    core = TimedCore()

    core.insert(100, ["a"], delay=50)

    assert core.reserve(149, S) is None
    assert reserve(core, 150).value == "a"


def test_keys_increase_strictly_within_one_instant_and_over_restarts() -> None:
    core = TimedCore()
    core.insert(7, range(4000))

    keys = [reserve(core, 7).key for _ in range(1000)]
    core = TimedCore(records=core.records)
    keys += [each.key for each in core.reserve_many(7, 1000, S)]
    keys += [core.touch(8, key, S).key for key in keys[:500]]
    keys += [core.prolongate(8, key, S).key for key in keys[500:1000]]

    assert keys == sorted(set(keys))


def test_a_key_is_never_given_out_twice_though_its_message_is_gone() -> None:
    core = TimedCore()
    core.insert(7, ["a"])
    first = reserve(core, 7)
    core.delete(7, [first.key])

    core = TimedCore(records=core.records)
    core.insert(7, ["b"])

    assert reserve(core, 7).key > first.key


def test_an_id_is_never_given_out_twice_though_its_message_is_gone() -> None:
    core = TimedCore()
    core.insert(7, ["a"])
    first = reserve(core, 7)
    core.delete(7, [first.key])

    core = TimedCore(records=core.records)
    core.insert(7, ["b"])

    assert reserve(core, 7).id > first.id


def test_reserve_many_takes_up_to_its_limit_in_order() -> None:
    core = TimedCore()
    core.insert(1, "abc")
    core.insert(1, "z", priority=-1)

    taken = core.reserve_many(2, 3, S)

    assert [each.value for each in taken] == ["z", "a", "b"]
    assert [each.key for each in taken] == sorted(each.key for each in taken)
    assert {each.deadline_at for each in taken} == {2 + S}
    assert [each.value for each in core.reserve_many(2, 3, S)] == ["c"]
    assert core.reserve_many(2, 3, S) == []


def test_a_message_that_was_removed_is_not_handed_out() -> None:
    core = TimedCore()
    core.insert(1, "abc")
    core.insert(1, "xyz", priority=1)

    core.remove(2, [1, 2, 5])

    assert drain(core, 2) == ["c", "x", "z"]
