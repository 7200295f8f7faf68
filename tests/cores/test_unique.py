"""The timed core: unique values."""

from __future__ import annotations

import operator
from collections import OrderedDict, UserList, deque
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType

import attrs
import msgspec
import pytest

from queueactors.cores._unique import UniqueValues, _hash
from queueactors.cores.timed import TimedCore, check_unique

from .kit import S, reserve


@dataclass
class Plain:
    number: int
    items: list[object]


class SubPlain(Plain):
    def __eq__(self, other: object) -> bool:  # without regard to the class
        return isinstance(other, Plain) and (self.number, self.items) == (other.number, other.items)

    __hash__ = None  # type: ignore[assignment]


@dataclass
class OtherPlain:
    number: int
    items: list[object]


@dataclass
class Loose:
    text: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loose) and self.text.lower() == other.text.lower()

    __hash__ = None  # type: ignore[assignment]


class SubLoose(Loose):
    pass


@dataclass
class Part:
    items: list[int]
    note: int = field(compare=False)


@attrs.define
class AttrsPart:
    items: list[int]
    note: int = attrs.field(eq=False)


@attrs.define
class AttrsKey:
    text: str = attrs.field(eq=str.lower)


class Struct(msgspec.Struct):
    number: int
    items: list[int]


class Array:
    """Compares as arrays do: item by item."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, *items: int) -> None:
        self.items = items

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        assert isinstance(other, Array)
        return Array(*map(operator.eq, self.items, other.items))

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


class Evil:
    def __hash__(self) -> int:
        raise ZeroDivisionError("evil")


EQUAL: list[tuple[object, object]] = [
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
    (UserList([1]), [1]),
    (Plain(1, [2]), Plain(1, [2])),
    (Loose("A"), Loose("a")),
    (Loose("A"), SubLoose("a")),
    (Part([1], 2), Part([1], 3)),
    (AttrsPart([1], 2), AttrsPart([1], 3)),
    (AttrsKey("A"), AttrsKey("a")),
    (Struct(1, [2]), Struct(1, [2])),
    ({"a": [1], "b": Plain(1, [])}, {"b": Plain(1, []), "a": [1]}),
    ([Plain(1, [2])], [Plain(True, [2.0])]),
]
UNEQUAL: list[tuple[object, object]] = [
    (Plain(1, [2]), Plain(1, [3])),
    (Plain(1, [2]), OtherPlain(1, [2])),
    (Loose("a"), Loose("b")),
    (Part([1], 2), Part([2], 2)),
    (AttrsPart([1], 2), AttrsPart([2], 2)),
    (AttrsKey("a"), AttrsKey("b")),
    (Struct(1, [2]), Struct(1, [3])),
    ({"a": 1}, {"a": 2}),
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


@pytest.mark.parametrize(("one", "other"), UNEQUAL)
def test_values_that_differ_in_a_field_both_go_in(one: object, other: object) -> None:
    assert TimedCore(unique=True).insert(0, [one, other]) == 2


@pytest.mark.parametrize(("one", "other"), UNEQUAL)
def test_values_that_differ_seldom_share_a_hash(one: object, other: object) -> None:
    by_type = isinstance(one, Loose | AttrsKey)  # their == is their own

    assert (_hash(one) == _hash(other)) is by_type


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_values_share_a_hash(one: object, other: object) -> None:
    assert _hash(one) == _hash(other)


def test_an_equality_across_classes_that_cannot_be_hashed_is_not_seen() -> None:
    plain, sub = Plain(1, [2]), SubPlain(1, [2])

    assert plain == sub
    assert TimedCore(unique=True).insert(0, [plain, sub]) == 2


CYCLE: list[object] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value", [Array(1, 2), [Array(1)], (1, Array(1)), {"a": Array(1)}, Plain(1, [Array(1)]), CYCLE]
)
def test_a_value_that_cannot_be_compared_is_refused(value: object) -> None:
    with pytest.raises(
        TypeError, match=r"^expected values of a unique queue to be comparable, got"
    ):
        check_unique(["fine", value])


def test_the_refusal_says_why() -> None:
    with pytest.raises(TypeError, match=r"comparable, got a Evil: evil$") as caught:
        check_unique([Evil()])

    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_what_can_be_compared_is_not_refused() -> None:
    check_unique([value for pair in EQUAL + UNEQUAL for value in pair])
    check_unique([*DIFFERENT, object(), operator.eq, float("nan")])


def test_a_value_that_could_not_be_restored_frees_no_other() -> None:
    unique = UniqueValues()
    unique.add(1, None)
    assert isinstance(unique.restore(2, Evil()), ZeroDivisionError)

    unique.discard(2, Evil())

    assert not unique.add(3, None)


def test_a_comparison_that_raises_says_different() -> None:
    class Touchy:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, _other: object) -> bool:
            raise ZeroDivisionError

    core = TimedCore(unique=True)
    value = Touchy()

    assert core.insert(0, [value, value, 1, Touchy()]) == 3
    core.delete(0, [reserve(core, 0).key])
    assert core.insert(0, [value, 1]) == 1
