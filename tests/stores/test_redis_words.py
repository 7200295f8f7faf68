"""The words of other runtimes come over a connection of their own: what becomes of it, and them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import chain
from typing import TYPE_CHECKING
from uuid import uuid4

import attrs
import pytest
import trio

from queueactors import open_runtime
from queueactors.stores import _redis_words

from .redis_proxy import Proxy, a_proxy
from .redis_servers import Valkey, a_config, free_ports, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from queueactors import Runtime, TimedQueue
    from tests.conftest import Events

NEVER = 3600  # seconds between two questions: no word that was lost is made up for by asking
LIMIT = 1 << 20  # bytes that may be on their way to a subscriber


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    folder = tmp_path_factory.mktemp("valkey")
    limit = ("--client-output-buffer-limit", f"pubsub {LIMIT} {LIMIT} 60")
    sockets = ("--unixsocket", str(folder / "socket"))
    made = Valkey(folder, free_ports(1)[0], (*limit, *sockets))
    with running(made):
        yield made


async def a_queue(runtime: Runtime, **options: object) -> TimedQueue:
    return await runtime.define("q", kind="timed", reservation_time=30, **options)


@attrs.define(eq=False)
class Pair:
    """Two runtimes: one behind a proxy, one that reaches the server at any time."""

    here: TimedQueue
    there: TimedQueue
    proxy: Proxy
    runtime: Runtime
    """The first one's."""
    other: Runtime
    prefix: str


@asynccontextmanager
async def a_pair(
    server: Valkey, tmp_path: Path, queue: Mapping[str, object] | None = None, **options: object
) -> AsyncIterator[Pair]:
    prefix, options = uuid4().hex, {"poll": NEVER} | options
    async with a_proxy(str(server.folder / "socket"), tmp_path / "proxy") as proxy:
        one, two = (a_config(url, prefix, **options) for url in (proxy.url, server.url))
        async with open_runtime(one) as runtime, open_runtime(two) as other:
            here, there = await a_queue(runtime, **queue or {}), await a_queue(other, **queue or {})
            yield Pair(here, there, proxy, runtime, other, prefix)


async def deafen(server: Valkey) -> None:
    """End the connections over which words come."""
    await server.ask("CLIENT", "KILL", "TYPE", "pubsub")


async def has_begun_to_wait(queue: TimedQueue) -> None:
    """Wait until a taker waits, and the server knows it."""
    with trio.fail_after(2):
        while not (await queue.statistics()).waiting:  # noqa: ASYNC110 - nobody can tell
            await trio.sleep(0.001)


async def take(queue: TimedQueue, taken: list[object]) -> None:
    taken.append((await queue.reserve()).value)


async def until_taken(taken: list[object], many: int = 1, seconds: float = 2.0) -> None:
    with trio.fail_after(seconds):
        while len(taken) < many:  # noqa: ASYNC110 - nobody can tell
            await trio.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("on_failure", ["wait", "error"])
async def test_an_answer_may_be_larger_than_what_subscribers_may_be_sent(
    on_failure: str, server: Valkey, tmp_path: Path
) -> None:
    async with a_pair(server, tmp_path, on_failure=on_failure) as pair:
        with trio.move_on_after(0.05):
            await pair.here.reserve()  # from now on it is told
        await pair.there.insert(*("x" * (LIMIT // 4) for _ in range(32)))

        with trio.fail_after(5):
            assert len(await pair.here.reserve_many(32)) == 32


@pytest.mark.slow
async def test_who_waits_is_told_after_the_words_connection_was_lost(
    server: Valkey, tmp_path: Path
) -> None:
    async with a_pair(server, tmp_path) as pair, trio.open_nursery() as nursery:
        taken: list[object] = []
        nursery.start_soon(take, pair.here, taken)
        await has_begun_to_wait(pair.here)
        for number in range(5):
            await deafen(server)
            await pair.there.insert(number)
            await until_taken(taken, number + 1)
            nursery.start_soon(take, pair.here, taken)
        assert taken == [0, 1, 2, 3, 4]
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_word_that_was_lost_meanwhile_is_made_up_for(
    server: Valkey, tmp_path: Path
) -> None:
    async with a_pair(server, tmp_path) as pair, trio.open_nursery() as nursery:
        taken: list[object] = []
        nursery.start_soon(take, pair.here, taken)
        await has_begun_to_wait(pair.here)
        pair.proxy.refuses = True
        await deafen(server)
        await pair.there.insert("a")
        await trio.sleep(0.1)
        assert taken == []

        pair.proxy.refuses = False

        await until_taken(taken)


@pytest.mark.slow
async def test_without_a_words_connection_everything_else_goes_on(
    server: Valkey, tmp_path: Path, events: Events
) -> None:
    async with a_pair(server, tmp_path, poll=0.2) as pair, trio.open_nursery() as nursery:
        taken: list[object] = []
        pair.proxy.refuses = True  # the other connection is there
        nursery.start_soon(take, pair.here, taken)
        with trio.fail_after(1):
            assert await pair.here.insert("a") == 1
            await until_taken(taken)
            nursery.start_soon(take, pair.here, taken)
            await has_begun_to_wait(pair.here)
            await pair.there.insert("b")
            await until_taken(taken, 2)
        with trio.fail_after(2):
            while not _told(events):  # noqa: ASYNC110 - nobody can tell
                await trio.sleep(0.01)
        pair.proxy.refuses = False
        await trio.sleep(1)
        await deafen(server)
        await trio.sleep(0.1)
    (told,) = _told(events)
    assert told["store"] == "memory"
    assert told["log_level"] == "warning"
    assert "error" in told
    assert not [each for each in events if each["event"] == "store_failed"]


def _told(events: Events) -> list[dict[str, object]]:
    return [dict(each) for each in events if each["event"] == "store_not_heard"]


@pytest.mark.slow
async def test_a_words_connection_through_which_nothing_comes_any_more_is_replaced(
    server: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_redis_words, "HEARTBEAT", 0.05)
    async with a_pair(server, tmp_path, timeout=0.2) as pair, trio.open_nursery() as nursery:
        await pair.here.len()
        first = set(pair.proxy._streams)  # noqa: SLF001 - those of the other connection
        taken: list[object] = []
        nursery.start_soon(take, pair.here, taken)
        await has_begun_to_wait(pair.here)
        pair.proxy._swallowed |= pair.proxy._streams - first  # noqa: SLF001
        await pair.there.insert("a")

        await until_taken(taken)


async def test_who_never_waits_has_one_connection(server: Valkey) -> None:
    async with open_runtime(a_config(server.url, uuid4().hex)) as runtime:
        queue = await a_queue(runtime)
        before = str(await server.ask("CLIENT", "LIST")).count("\n")
        await queue.insert("a")
        await queue.len()
        assert str(await server.ask("CLIENT", "LIST")).count("\n") == before


async def test_a_queue_that_is_dropped_is_listened_to_no_more(server: Valkey) -> None:
    prefix = uuid4().hex
    async with open_runtime(a_config(server.url, prefix)) as runtime:
        queue = await a_queue(runtime)
        with trio.move_on_after(0.05):
            await queue.reserve()
        pattern = ("PUBSUB", "SHARDCHANNELS", f"{prefix}*")
        assert len(await server.ask(*pattern)) == 1  # type: ignore[arg-type] # a list
        await runtime.drop("q")
        with trio.fail_after(2):
            await server.until("[]", *pattern)


# -- a queue that is dropped, or cleared -------------------------------------------------------


@pytest.mark.parametrize("on_failure", ["wait", "error"])
async def test_who_waits_for_a_message_is_told_that_the_queue_was_dropped_elsewhere(
    on_failure: str, server: Valkey, tmp_path: Path
) -> None:
    async with (
        a_pair(server, tmp_path, on_failure=on_failure) as pair,
        open_runtime(a_config(server.url, pair.prefix, poll=NEVER)) as third,
        trio.open_nursery() as nursery,
    ):
        await a_queue(third)
        taken: list[object] = []
        nursery.start_soon(take, pair.here, taken)
        nursery.start_soon(take, pair.there, taken)
        await has_begun_to_wait(pair.here)
        await has_begun_to_wait(pair.there)
        await third.drop("q")
        queue = await a_queue(third)
        await trio.sleep(0.05)
        await queue.insert("a", "b")

        await until_taken(taken, 2, 1.0)


@pytest.mark.parametrize("how", ["drop", "clear"])
async def test_who_waits_for_room_has_it_when_the_queue_is_emptied_elsewhere(
    how: str, server: Valkey, tmp_path: Path
) -> None:
    async with (
        a_pair(server, tmp_path, queue={"max_length": 1}) as pair,
        trio.open_nursery() as nursery,
    ):
        await pair.there.insert("a")
        inserted: list[object] = []

        async def put() -> None:
            inserted.append(await pair.here.wait_insert("b"))

        nursery.start_soon(put)
        with trio.fail_after(2):
            while not (await pair.here.statistics()).inserting:  # noqa: ASYNC110 - nobody can tell
                await trio.sleep(0.001)
        if how == "drop":
            await pair.other.drop("q")
        else:
            await pair.there.clear()

        await until_taken(inserted)


async def test_many_who_waited_and_are_gone_hold_up_nobody(server: Valkey, tmp_path: Path) -> None:
    async with a_pair(server, tmp_path) as pair, trio.open_nursery() as nursery:
        taken: list[object] = []
        nursery.start_soon(take, pair.here, taken)
        await has_begun_to_wait(pair.here)
        takers = f"{pair.prefix}:{{q}}:takers"
        gone = chain.from_iterable(("0", f"gone {number}") for number in range(1500))
        await server.ask("ZADD", takers, *gone)
        await pair.there.insert("a")
        assert await server.ask("ZCARD", takers) == 501  # not all at once

        await until_taken(taken)
        assert await server.ask("ZCARD", takers) == 0


@pytest.mark.parametrize("how", ["drop", "clear"])
@pytest.mark.parametrize(
    ("kind", "options", "put", "wait_put"),
    [
        ("capacity", {"max_elements": 1}, "push", "wait_push"),
        ("message", {"lock_time": 30, "max_length": 1}, "enqueue", "wait_enqueue"),
    ],
)
async def test_other_kinds_tell_those_who_wait_for_room_too(  # noqa: PLR0917 - parameters
    kind: str, options: dict[str, object], put: str, wait_put: str, how: str, server: Valkey
) -> None:
    prefix = uuid4().hex
    async with (
        open_runtime(a_config(server.url, prefix, poll=NEVER)) as runtime,
        open_runtime(a_config(server.url, prefix, poll=NEVER)) as other,
        trio.open_nursery() as nursery,
    ):
        here = await runtime.define("q", kind=kind, **options)
        there = await other.define("q", kind=kind, **options)
        await getattr(there, put)(b"a")
        done: list[object] = []

        async def wait() -> None:
            done.append(await getattr(here, wait_put)(b"b"))

        nursery.start_soon(wait)
        await trio.sleep(0.05)
        assert done == []
        if how == "drop":
            await other.drop("q")
        else:
            await there.clear()

        await until_taken(done)


async def test_who_waits_for_a_refill_gets_one_though_the_queue_was_dropped_elsewhere(
    server: Valkey, tmp_path: Path
) -> None:
    event, begun = trio.Event(), []

    async def fetch() -> list[str]:
        begun.append(1)
        if len(begun) > 3:
            await event.wait()
        return ["a"]

    given = {"sync_fn": fetch, "sync_interval": 3600}
    async with a_pair(server, tmp_path, queue=given) as pair, trio.open_nursery() as nursery:
        for _ in range(3):
            await pair.here.sync()
        synced: list[object] = []

        async def sync() -> None:
            synced.append(await pair.here.sync())

        nursery.start_soon(sync)
        while len(begun) < 4:  # noqa: ASYNC110 - nobody can tell
            await trio.sleep(0.001)
        await pair.other.drop("q")
        event.set()

        await until_taken(synced)
        assert len(begun) <= 5


async def test_a_drop_that_is_sent_again_removes_nothing_that_came_meanwhile(
    server: Valkey, tmp_path: Path
) -> None:
    async with a_pair(server, tmp_path) as pair, trio.open_nursery() as nursery:
        await pair.here.insert("a")
        await pair.there.len()
        pair.proxy.cut_after = ("back", pair.proxy.passed["back"])  # of its answer nothing comes
        pair.proxy.refuses = True
        nursery.start_soon(pair.runtime.drop, "q")
        with trio.fail_after(2):
            while pair.proxy.cut_after is not None:  # noqa: ASYNC110 - nobody can tell
                await trio.sleep(0.001)
        await pair.there.insert("b", "c")
        pair.proxy.refuses = False
        while "q" in pair.runtime.queue_names("*"):  # noqa: ASYNC110 - nobody can tell
            await trio.sleep(0.001)

        assert await pair.there.len() == 2


# -- what the server is set to -----------------------------------------------------------------


async def test_a_server_that_may_throw_messages_away_is_told_once(
    server: Valkey, events: Events
) -> None:
    await server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        async with open_runtime(a_config(server.url, uuid4().hex)) as runtime:
            queue = await a_queue(runtime)
            await server.ask("CLIENT", "KILL", "TYPE", "normal")
            assert await queue.insert("a") == 1
    finally:
        await server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    async with open_runtime(a_config(server.url, uuid4().hex)) as runtime:
        await (await a_queue(runtime)).len()
    (told,) = [each for each in events if str(each["event"]).startswith("store_")]
    assert told["event"] == "store_may_evict"
    assert (told["log_level"], told["policy"]) == ("warning", "allkeys-lru")


async def test_a_user_who_may_not_look_at_that_is_no_worse_off(
    server: Valkey, events: Events
) -> None:
    rules = ("reset", "on", ">pw", "~*", "&*", "+@all", "-info")
    await server.ask("ACL", "SETUSER", "ann", *rules)
    url = server.url.replace("://", "://ann:pw@")
    async with open_runtime(a_config(url, uuid4().hex)) as runtime:
        assert await (await a_queue(runtime)).insert("a") == 1
    assert not [each for each in events if str(each["event"]).startswith("store_")]


@pytest.mark.parametrize(("on_failure", "least"), [("error", 300), ("wait", 86_400)])
async def test_an_answer_is_kept_for_as_long_as_it_may_be_asked_for(
    on_failure: str, least: int, server: Valkey
) -> None:
    prefix = uuid4().hex
    async with open_runtime(a_config(server.url, prefix, on_failure=on_failure)) as runtime:
        await (await a_queue(runtime)).insert("a")
    sessions = await server.ask("KEYS", f"{prefix}:*:session:*")
    left = await server.ask("TTL", sessions[0])  # type: ignore[index] # a list
    assert least < left <= 2 * least  # type: ignore[operator] # a number
