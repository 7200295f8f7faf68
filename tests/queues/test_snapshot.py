"""Snapshots of values: containers are copied, and what cannot be meant to be sent is refused."""

from __future__ import annotations

import io
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from queueactors import open_runtime
from queueactors.queues._snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

Point = namedtuple("Point", "x y")  # noqa: PYI024 - the plain one


class Color(Enum):
    """What is one of its kind."""

    RED = 1


class Mine(list[object]):
    """A container with something of its own."""

    mark = ""


@attrs.define
class Opted:
    """What says itself how it is copied."""

    items: list[int]

    def __deepcopy__(self, _memo: object) -> Opted:
        return Opted([*self.items])


plain = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
nested: st.SearchStrategy[object] = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.sets(plain)
        | st.builds(deque, st.lists(inner))
    ),
)


def containers(value: object) -> list[object]:
    """Return what can be changed in a value, itself included."""
    found: list[object] = [value] if isinstance(value, list | dict | set | deque) else []
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | deque):
        for each in value:
            found += containers(each)
    return found


@given(nested)
def test_a_snapshot_is_equal_and_shares_nothing_that_can_be_changed(value: object) -> None:
    copied = snapshot(value)

    assert copied == value
    assert type(copied) is type(value)
    assert not {*map(id, containers(copied))} & {*map(id, containers(value))}


@pytest.mark.parametrize(
    "value",
    [
        OrderedDict(a=[1]),
        defaultdict(list, a=[1]),
        Counter("aab"),
        deque([[1]], maxlen=3),
        Point([1], 2),
        Mine([[1]]),
        frozenset({1}),
        bytearray(b"a"),
        Opted([1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_container_keeps_its_class(value: object) -> None:
    copied = snapshot(value)

    assert copied == value
    assert type(copied) is type(value)
    assert copied is not value or isinstance(value, frozenset)


def test_what_a_class_of_yours_adds_to_a_container_is_kept() -> None:
    value = Mine([1])
    value.mark = "kept"

    assert cast("Mine", snapshot(value)).mark == "kept"
    assert cast("deque[int]", snapshot(deque([1], 3))).maxlen == 3
    assert cast("defaultdict[str, int]", snapshot(defaultdict(int)))["new"] == 0


@pytest.mark.parametrize("value", [Color.RED, object(), (1, ("a",)), int, 1.5, trio.Event()])
def test_what_is_no_container_is_handed_over_as_it_is(value: object) -> None:
    assert snapshot(value) is value
    assert cast("list[object]", snapshot([value]))[0] is value


def test_a_container_in_itself_is_copied_in_itself() -> None:
    value: list[object] = [1]
    value += [value, {"self": value}]

    copied = cast("list[object]", snapshot(value))

    assert copied is not value
    assert copied[1] is copied
    assert copied[2] == {"self": copied}


def test_what_stands_twice_in_a_value_stands_twice_in_its_copy() -> None:
    inner: list[int] = []

    one, other = cast("list[object]", snapshot([inner, inner]))

    assert one is other
    assert one is not inner


async def coroutine() -> None:
    """Stand for any."""


@pytest.mark.parametrize(
    "wrap",
    [
        lambda bad: bad,
        lambda bad: [bad],
        lambda bad: (1, bad),
        lambda bad: {"key": [{"inner": bad}]},
        lambda bad: deque([bad]),
        lambda bad: frozenset({bad}),
        lambda bad: {bad: 1},
    ],
    ids=["itself", "list", "tuple", "dict", "deque", "set", "key"],
)
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: coroutine, "a function"),
        (lambda: print, "a function"),
        (lambda: "".join, "a function"),
        (lambda: pytest.MonkeyPatch().setattr, "a function"),
        (lambda: partial(print), "a function"),
        (lambda: (each for each in "a"), "a generator"),
        (threading.Lock, "a lock"),
        (threading.RLock, "a lock"),
        (threading.Condition, "a lock"),
        (threading.BoundedSemaphore, "a lock"),
        (trio.Lock, "a lock"),
        (io.StringIO, "an open file"),
    ],
)
def test_what_cannot_be_meant_to_be_sent_is_refused_at_any_depth(
    make: Callable[[], object], what: str, wrap: Callable[[object], object]
) -> None:
    with pytest.raises(TypeError, match=rf"^{what} cannot be sent, got .*snapshot=False"):
        snapshot(wrap(make()))


def test_a_coroutine_and_an_async_generator_are_refused() -> None:
    async def generator() -> object:
        yield 1

    running = coroutine()

    with pytest.raises(TypeError, match=r"^a coroutine cannot be sent"):
        snapshot([running])
    with pytest.raises(TypeError, match=r"^a generator cannot be sent"):
        snapshot(generator())
    running.close()


async def test_the_handle_of_a_queue_of_any_kind_is_refused(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        for queue in (
            await runtime.define("t", reservation_time=1),
            await runtime.define("c", kind="channel"),
        ):
            with pytest.raises(TypeError, match=r"^a queue cannot be sent, got <"):
                snapshot({"to": queue})
