"""The timed core: unique values."""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import combinations
from types import MappingProxyType

import pytest

from queueactors.cores.timed import TimedCore

from .kit import S, reserve

EQUAL = [
    (1, 1.0),
    (1, True),
    ("a", "a"),
    ({1, 2}, frozenset({2, 1})),
    (bytearray(b"ab"), b"ab"),
    (memoryview(bytearray(b"ab")), bytearray(b"ab")),
    (memoryview(bytearray(b"ab")), b"ab"),
    ([1, [2]], [1.0, [2]]),
    ((1, [2, {3}]), (True, [2, frozenset({3})])),
    ((1, {2}), (1, frozenset({2}))),
    ({"a": [1]}, OrderedDict(a=[1])),
    ({"a": {}}, MappingProxyType({"a": {}})),
    ({1: 2}.keys(), {1}),
    ({1: 2}.keys(), frozenset({1})),
    ({1: (2, 3)}.items(), {(1, (2, 3))}),
    ({1: [2]}.items(), {1: [2]}.items()),
    (deque([1]), deque([1])),
]
DIFFERENT: list[object] = [0, 1, "1", b"1", [1], (1,), {1}, {1: 1}, {1: 2}, deque([1]), [[1]], None]


@pytest.mark.parametrize(("one", "other"), [*EQUAL, *((b, a) for a, b in EQUAL)])
def test_equal_values_go_in_once(one: object, other: object) -> None:
    core = TimedCore(unique=True)

    assert core.insert(0, [one]) == 1
    assert core.insert(0, [other]) == 0

    core.delete(0, [reserve(core, 0).key])
    assert core.insert(0, [other]) == 1


@pytest.mark.parametrize(("one", "other"), list(combinations(DIFFERENT, 2)))
def test_different_values_both_go_in(one: object, other: object) -> None:
    assert TimedCore(unique=True).insert(0, [one, other]) == 2


def test_equal_values_of_one_insert_go_in_once() -> None:
    assert TimedCore(unique=True).insert(0, ["a", [1], "a", [1]]) == 2


def test_without_unique_equal_values_go_in_again() -> None:
    assert TimedCore().insert(0, ["a", "a"]) == 2


def test_duplicates_are_counted() -> None:
    core = TimedCore(unique=True)

    core.insert(0, ["a", "a", "b"])

    assert (core.statistics(0).inserted, core.statistics(0).duplicates) == (2, 1)


def test_a_value_is_there_in_every_state_but_gone_or_dead() -> None:
    core = TimedCore(unique=True, max_reservations=1, on_exhausted="other")
    values: list[object] = ["ready", "delayed", "reserved", "expired", "buried"]
    core.insert(0, ["reserved", "expired", "buried", "dead", "deleted"])
    keys = [reserve(core, 0, 100 * S).key for _ in range(5)]
    core.bury(0, keys[2])
    core.release(0, keys[3])
    core.delete(0, [keys[4]])
    core.insert(0, ["ready"])
    core.insert(0, ["delayed"], delay=S)

    assert core.insert(1, values) == 0
    assert core.insert(1, ["dead", "deleted"]) == 2
    core = TimedCore(unique=True, records=core.records)
    assert core.insert(1, [*values, "dead", "deleted"]) == 0


def test_a_refused_dead_letter_counts_again_beside_its_equal() -> None:
    core = TimedCore(unique=True, max_reservations=1, on_exhausted="other")
    core.insert(0, ["a"])
    core.release(0, reserve(core, 0).key)
    core.insert(0, ["a"])

    core.bury_dead(0, 1)
    core.delete(0, [reserve(core, 0).key])

    assert core.insert(0, ["a"]) == 0


@pytest.mark.parametrize("restart", [False, True])
def test_a_value_that_its_owner_changes_can_be_finished(restart: bool) -> None:  # noqa: FBT001
    core = TimedCore(unique=True)
    value = [1]
    core.insert(0, [value])

    value.append(2)
    if restart:
        core = TimedCore(unique=True, records=core.records)
    core.delete(0, [reserve(core, 0).key])

    assert core.length(0) == 0
    assert core.insert(0, [[1], [1, 2]]) == 2


def test_a_value_that_its_owner_changes_and_changes_back_can_go_in_again() -> None:
    core = TimedCore(unique=True)
    value = [1]
    core.insert(0, [value])
    value.append(2)
    core.delete(0, [reserve(core, 0).key])

    value.pop()

    assert core.insert(0, [[1]]) == 1


def test_values_that_their_owner_makes_equal_do_not_free_each_other() -> None:
    core = TimedCore(unique=True)
    value = [1]
    core.insert(0, [value, [1, 2]])

    value.append(2)
    core = TimedCore(unique=True, records=core.records)
    core.delete(0, [reserve(core, 0).key])

    assert core.insert(0, [[1, 2]]) == 0


def test_clear_frees_all_values() -> None:
    core = TimedCore(unique=True)
    core.insert(0, ["a", [1]])

    core.clear(0)

    assert core.insert(0, ["a", [1]]) == 2
