"""What cannot be decoded on a server is set aside: nobody gets it, and nobody fails over it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from queueactors import RedisStore
from queueactors.testing._timed_kit import a_runtime

from .redis_direct import Direct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from queueactors import Runtime

OPTIONS: Final[dict[str, dict[str, object]]] = {
    "timed": {"reservation_time": 30},
    "message": {},
    "capacity": {"codec": "msgpack"},
    "log": {"codec": "msgpack", "ttl": 3600},
}


class Shout:
    """A codec of one's own."""

    name = "shout"

    @staticmethod
    def encode(value: object) -> bytes:
        return str(value).upper().encode()

    @staticmethod
    def decode(data: bytes) -> object:
        return data.decode().lower()


@attrs.define(eq=False)
class Shared:
    """A queue on a server.

    Args:
      url: The server's.
      kind: The queue's.
    """

    url: str
    kind: str
    prefix: str = attrs.field(factory=lambda: uuid4().hex)

    @asynccontextmanager
    async def runtime(self) -> AsyncIterator[Runtime]:
        with trio.fail_after(10):
            async with a_runtime(lambda: RedisStore(url=self.url, prefix=self.prefix)) as runtime:
                yield runtime

    @asynccontextmanager
    async def opened(self, **options: object) -> AsyncIterator[Any]:  # type: ignore[explicit-any]
        async with self.runtime() as runtime:
            yield await runtime.define("q", kind=self.kind, **OPTIONS[self.kind] | options)

    def do(self, command: str, key: str, *words: bytes) -> object:
        """Let another program do something with one of the queue's keys."""
        direct = Direct(self.url)
        try:
            return direct(command.encode(), f"{self.prefix}:{{q}}:{key}".encode(), *words)
        finally:
            direct.close()

    def spoil(self, number: int, body: bytes) -> None:
        """Replace a value, by the number of its message, from 1."""
        if self.kind == "capacity":
            self.do("LSET", "items", b"%d" % (number - 1), body)
        elif self.kind == "log":
            items = self.do("XRANGE", "items", b"-", b"+")
            assert isinstance(items, list)
            self.do("DEL", "items")
            for index, (id_, (_, value)) in enumerate(items, 1):
                self.do("XADD", "items", id_, b"v", body if index == number else value)
        else:
            self.do("HSET", "bodies", b"%d" % number, body)


async def put(queue: Any, *values: object) -> None:  # type: ignore[explicit-any]
    """Add values, whatever that is called."""
    match queue.kind:
        case "timed":
            await queue.insert(*values)
        case "message":
            for number, value in enumerate(values):
                await queue.enqueue(value, f"m{number}")
        case "capacity":
            await queue.push(*values)
        case _:
            await queue.add(*values)


async def take_all(queue: Any) -> list[object]:  # type: ignore[explicit-any]
    """Take what there is, as it is taken one by one."""
    found: list[object] = []
    while True:
        match queue.kind:
            case "timed":
                taken = await queue.try_reserve()
                some = [] if taken is None else [taken.value]
            case "message":
                taken = await queue.try_claim()
                some = [] if taken is None else [taken.message]
            case "capacity":
                some = await queue.pop()
            case _:
                some, _ = await queue.next("reader")
        if not some:
            return found
        found += some


async def take_many(queue: Any) -> list[object]:  # type: ignore[explicit-any]
    """Take all there is at once; wait for the first."""
    match queue.kind:
        case "timed":
            return [each.value for each in await queue.reserve_many(9)]
        case "message":
            return [each.message for each in await queue.claim_many(9)]
        case "capacity":
            return list(await queue.wait_pop(9))
        case _:
            items, _ = await queue.wait_next("reader", limit=9)
            return list(items)


KINDS = pytest.mark.parametrize("kind", list(OPTIONS))


@KINDS
@pytest.mark.parametrize("junk", [b"", b"junk", b"\xff\xfe\x00\xff", b"other\0abc"])
@pytest.mark.parametrize("take", [take_all, take_many])
async def test_what_no_codec_is_known_for_is_set_aside(  # type: ignore[explicit-any]
    kind: str, junk: bytes, take: Any, valkey: str
) -> None:
    shared = Shared(valkey, kind)
    async with shared.opened() as queue:
        await put(queue, "a", "b", "c")
        shared.spoil(2, junk)

        with capture_logs() as logs:
            assert await take(queue) == ["a", "c"]

        numbers = await queue.statistics()
        assert (numbers.set_aside, numbers.restarts) == (1, 0)
        assert [each["event"] for each in logs] == ["message_set_aside"]
        assert {"id", "codec", "error"} <= logs[0].keys()


@pytest.mark.parametrize("kind", ["timed", "message"])
@pytest.mark.parametrize("take", [take_all, take_many])
async def test_what_its_codec_cannot_decode_is_set_aside(  # type: ignore[explicit-any]
    kind: str, take: Any, valkey: str
) -> None:
    shared = Shared(valkey, kind)
    async with shared.opened() as queue:
        await put(queue, "a", "b", "c")
        for number in (1, 2):
            shared.spoil(number, b"msgpack\0\xc1")

        assert await take(queue) == ["c"]

        assert (await queue.statistics()).set_aside == 2


@pytest.mark.parametrize("kind", ["timed", "message"])
async def test_a_value_that_is_gone_is_set_aside(kind: str, valkey: str) -> None:
    shared = Shared(valkey, kind)
    async with shared.opened() as queue:
        await put(queue, "a", "b")
        shared.do("HDEL", "bodies", b"1")

        assert await take_all(queue) == ["b"]

        assert (await queue.statistics()).set_aside == 1


@KINDS
async def test_who_waits_goes_on_waiting_when_what_comes_cannot_be_decoded(
    kind: str, valkey: str
) -> None:
    shared = Shared(valkey, kind)
    found: list[object] = []

    async def take(queue: Any) -> None:  # type: ignore[explicit-any]
        found.extend(await take_many(queue))

    async with shared.opened() as here, shared.opened(codec=Shout) as there:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, here)
            await trio.sleep(0.05)
            await put(there, "loud")
            await trio.sleep(0.05)
            assert not found
            await here.len()
            await put(here, "plain") if kind != "message" else await here.enqueue("plain", "p")
        assert found == ["plain"]


async def test_who_waits_is_served_soon_though_very_many_cannot_be_decoded(valkey: str) -> None:
    shared = Shared(valkey, "capacity")
    async with shared.opened(codec=Shout) as queue:
        await queue.resize(3000)
        await queue.push(*range(2500))
    async with shared.opened() as queue:
        await queue.push("plain")

        with trio.fail_after(2):
            assert await queue.wait_pop() == ["plain"]


@KINDS
async def test_who_can_decode_it_gets_it_from_the_next_start_on(kind: str, valkey: str) -> None:
    shared = Shared(valkey, kind)
    async with shared.opened(codec=Shout) as queue:
        await put(queue, "a", "b", "c")
    async with shared.opened() as queue:
        assert await take_all(queue) == []
        numbers = await queue.statistics()
        assert numbers.set_aside == 3

    async with shared.opened(codec=Shout) as queue:
        if kind == "log":  # the other reader has passed them
            assert await queue.next("another", limit=9) == (["a", "b", "c"], 0)
        else:
            assert await take_all(queue) == ["a", "b", "c"]

        assert (await queue.statistics()).set_aside == 0


async def test_very_many_come_back(valkey: str) -> None:
    shared = Shared(valkey, "timed")
    async with shared.opened(codec=Shout) as queue:
        await queue.insert(*range(1200))
    async with shared.opened() as queue:
        assert await queue.try_reserve() is None
        assert (await queue.statistics()).set_aside == 1200

    async with shared.opened(codec=Shout, unique=True) as queue:
        numbers = await queue.statistics()
        assert (numbers.ready, numbers.set_aside) == (1200, 0)
        assert await queue.insert(7) == 0  # it knows them
        taken = await queue.reserve()
        assert (taken.value, taken.attempt) == ("0", 1)


async def test_a_queue_that_becomes_unique_knows_what_is_in_it(valkey: str) -> None:
    shared = Shared(valkey, "timed")
    async with shared.opened(unique=True) as queue:
        await queue.insert("a")
    async with shared.opened() as queue:
        await queue.insert("b", "b")
    async with shared.opened(unique=True) as queue:
        assert [await queue.insert(value) for value in "abc"] == [0, 0, 1]
        await queue.delete(*[await queue.reserve() for _ in range(4)])
        assert [await queue.insert(value) for value in "abc"] == [1, 1, 1]


async def test_a_unique_queue_does_not_see_what_is_set_aside(valkey: str) -> None:
    shared = Shared(valkey, "timed")
    async with shared.opened(codec=Shout, unique=True) as loud:
        await loud.insert("a")
        async with shared.opened(unique=True) as queue:
            assert await queue.try_reserve() is None

        assert await loud.insert("a") == 1
        assert await loud.clear() == 1
        assert (await loud.statistics()).set_aside == 1


async def test_a_name_is_free_while_its_message_is_set_aside(valkey: str) -> None:
    shared = Shared(valkey, "message")
    async with shared.opened() as queue:
        await queue.enqueue("first", "a")
        claim = await queue.claim()
        await queue.enqueue("second", "a", can_requeue=True)
        await claim.finish("retry")
        shared.spoil(1, b"junk")

        with capture_logs() as logs:
            assert (await queue.claim()).message == "second"

        assert {each["event"] for each in logs} == {"message_set_aside", "requeue_freed"}
    shared.do("HGET", "aside", b"1")
    async with shared.opened() as queue:
        with capture_logs() as logs:
            assert set(await queue.queue_content()) == {"a"}  # the other cannot be shown
        assert logs == [
            {"queue": "q", "event": "message_renamed", "log_level": "warning"}
            | {"id": 1, "mid": "a#1", "was": "a"}
        ]


@pytest.mark.parametrize("kind", ["timed", "message"])
async def test_it_is_not_shown(kind: str, valkey: str) -> None:
    shared = Shared(valkey, kind)
    async with shared.opened() as queue:
        await put(queue, "a", "b")
        shared.spoil(1, b"junk")

        shown = await queue.peek(limit=9)

        values = [each.value for each in shown] if kind == "timed" else list(shown)
        assert values == (["b"] if kind == "timed" else ["m1"])


async def test_a_worker_handles_what_it_can_though_much_cannot_be_decoded(valkey: str) -> None:
    shared = Shared(valkey, "timed")
    handled: list[object] = []

    async def handle(delivery: Any) -> None:  # type: ignore[explicit-any]
        handled.append(delivery.value)

    async with shared.runtime() as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        await queue.insert(*range(20))
        for number in range(1, 20):
            shared.spoil(number, b"junk")

        worker = await runtime.start_worker(queue, handle, concurrency=3)
        while not handled:  # noqa: ASYNC110 - nothing else tells
            await trio.sleep(0.01)

        assert (handled, worker.status().running) == ([19], True)
        assert (await queue.statistics()).set_aside == 19
