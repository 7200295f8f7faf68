"""Queues that are moved from store to store: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queueactors import RedisStore, StoreError, open_runtime
from queueactors._codecs import Encoded
from queueactors.stores import _redis_transfer
from queueactors.stores._migrate import (
    FileSide,
    LinesSide,
    RedisSide,
    export,
    migrate,
    redis_side,
    undo,
)
from queueactors.stores._transfer import TransferError
from supervisors import ChildStartError
from tests.engines.redis_direct import Direct

from .kit_file import AT, TABLES, batch, head, message, named, opened, put, rows
from .make_file import Rot13

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from queueactors.cores.message import QueuedMessage
    from queueactors.cores.timed import Message
    from queueactors.stores._migrate import Side

KEY = 1_700_000_000_000_000  # as servers give them


def quietly(_what: str, _queue: str) -> Callable[[int], None]:
    """Show no progress."""
    return lambda _done: None


async def move(source: Side, target: Side, *names: str, keep: bool = False) -> dict[str, int]:
    """Move queues; return how many lines each made."""
    moved = await migrate(source, target, names, TABLES, quietly, keep=keep)
    return {name: each.messages for name, each in moved.items()}


def some_prefix() -> str:
    return uuid4().hex


def server(valkey: str, prefix: str) -> RedisStore:
    return RedisStore(url=valkey, prefix=prefix)


@asynccontextmanager
async def a_server(valkey: str, prefix: str | None = None) -> AsyncIterator[RedisSide]:
    """Connect to a server."""
    async with redis_side(server(valkey, prefix or some_prefix()), "server", TABLES) as side:
        yield side


async def there_and_back(path: Path, other: Path, valkey: str) -> None:
    """Move all queues of a file to a server, and from there into another file."""
    async with a_server(valkey) as side:
        with opened(path) as file:
            await move(FileSide(file, TABLES), side)
            assert file.names() == []
        with opened(other) as file:
            await move(side, FileSide(file, TABLES))
        assert await side.queues(()) == {}


def timed_messages() -> list[Message]:
    """Return a message in every state, and with every fact."""
    return [
        message(1, {"to": "ann"}),
        message(3, "late", state="delayed", ready_at=AT + 5000, priority=-7),
        message(4, b"\xc1hers", state="reserved", attempt=2, key=KEY + 3, deadline_at=AT + 9000),
        message(5, "expired", attempt=1, key=KEY + 2, deadline_at=AT - 1000),
        message(8, "bad", state="buried", attempt=3, deadline_at=AT, error='it said "é"\n'),
        message(9, "on its way", state="dead", attempt=3, error="x", deadline_at=AT),
        message(10, Encoded("rot13", b"uryyb"), priority=2**63 - 1),
        message(11, "", priority=-(2**63), error=""),
    ]


def named_messages() -> list[QueuedMessage]:
    """Return a message in every state, and with every fact."""
    return [
        named(1, "a", {"n": 1}),
        named(2, "b", state="backoff", ready_at=AT + 5000, lock_time=7000, attempt=3),
        named(4, "c é", state="locked", attempt=2, key=KEY + 3, deadline_at=AT + 9000),
        named(5, "c é", "again", state="requeue", lock_time=0),
        named(7, "d", state="done", attempt=1, deadline_at=AT + 10_000),
        named(8, "d", "again", state="requeue"),
        named(9, "e", Encoded("rot13", b"uryyb").data),
    ]


async def test_a_timed_queue_comes_back_as_it_was(tmp_path: Path, valkey: str) -> None:
    with opened(tmp_path / "a") as file:
        put(
            file,
            "q",
            timed_messages(),
            next_id=20,
            last_key=KEY + 4,
            synced_at=AT,
            paused_until=-1,
        )
        before, beside = rows(file, "q"), head(file, "q")

    await there_and_back(tmp_path / "a", tmp_path / "b", valkey)

    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == before
        assert head(file, "q") == beside


async def test_a_message_queue_comes_back_as_it_was(tmp_path: Path, valkey: str) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", named_messages(), next_id=20, last_key=KEY + 4, paused_until=AT)
        before, beside = rows(file, "q"), head(file, "q")

    await there_and_back(tmp_path / "a", tmp_path / "b", valkey)

    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == before
        assert head(file, "q") == beside


# -- items ---------------------------------------------------------------------------------------


def lines_of(path: Path, queue: str = "q") -> list[dict[str, Any]]:  # type: ignore[explicit-any] # JSON
    """Return the lines of a queue in a file of lines, the header first."""
    sections: dict[str, list[dict[str, Any]]] = {}  # type: ignore[explicit-any] # JSON
    for line in path.read_bytes().splitlines():
        decoded = json.loads(line)
        if "queueactors" in decoded:
            section = sections[decoded["queue"]] = []
        section.append(decoded)
    return sections[queue]


def items_in(path: Path, queue: str = "q") -> tuple[list[tuple[int, str, bytes]], dict[str, int]]:
    """Return the items of a file's log or capacity queue, by number, and where labels stand."""
    items, labels = [], {}
    with opened(path) as file:
        begin = head(file, queue).get("begin") or 0
        for _, data, state, first, count, size, _, codec in rows(file, queue):
            each = msgspec.msgpack.decode(cast("bytes", data))
            assert isinstance(first, int)
            if state == "label":
                labels[each[0].decode()] = first
                continue
            assert (len(each), sum(map(len, each))) == (count, size)
            items += [
                (first + index, str(codec), item)
                for index, item in enumerate(each)
                if first + index >= begin
            ]
    return items, labels


async def fill(  # type: ignore[explicit-any]
    path: Path, work: Callable[[Any], Any], *, kind: str = "timed", **options: object
) -> None:
    """Let something be done with a queue in a file."""
    config = {"store": {"disk": {"type": "sqlite", "path": str(path), "commit": "inline"}}}
    async with open_runtime(config) as runtime:
        queue = await runtime.define("q", kind=kind, store="disk", **options)
        await work(queue)


async def test_a_capacity_queue_comes_back_with_its_items_and_its_capacity(
    tmp_path: Path, valkey: str
) -> None:
    async def work(queue: Any) -> None:  # type: ignore[explicit-any]
        await queue.push(b"gone")
        await queue.push(b"1", "é".encode(), b"\xff")
        await queue.push(*[b"%d" % n for n in range(700)])
        await queue.push(b"")
        await queue.pop(2)
        await queue.pause()

    await fill(tmp_path / "a", work, kind="capacity", max_elements=1000)
    before, _ = items_in(tmp_path / "a")

    await there_and_back(tmp_path / "a", tmp_path / "b", valkey)

    after, _ = items_in(tmp_path / "b")
    assert [each[1:] for each in after] == [each[1:] for each in before]
    with opened(tmp_path / "b") as file:
        facts = head(file, "q")
        assert (facts["max_elements"], facts["paused_until"]) == (1000, -1)

    async def use(queue: Any) -> None:  # type: ignore[explicit-any]
        await queue.resume()
        assert await queue.payload_size() == sum(len(each[2]) for each in before)
        assert await queue.pop(3) == ["é".encode(), b"\xff", b"0"]

    await fill(tmp_path / "b", use, kind="capacity", max_elements=1000)


async def test_a_log_comes_back_with_its_positions_and_labels(tmp_path: Path, valkey: str) -> None:
    async def work(queue: Any) -> None:  # type: ignore[explicit-any]
        await queue.next("first")
        await queue.add(*[b"%d" % n for n in range(1500)])
        await queue.next("é", limit=3)
        await queue.add(b"\xff", b"")
        await queue.next("all", limit=9999)

    await fill(tmp_path / "a", work, kind="log", ttl=3600)
    before = items_in(tmp_path / "a")

    await there_and_back(tmp_path / "a", tmp_path / "b", valkey)

    assert items_in(tmp_path / "b") == before
    assert list(before[1]) == list(items_in(tmp_path / "b")[1])

    async def use(queue: Any) -> None:  # type: ignore[explicit-any]
        assert await queue.next("é") == ([b"3"], 0)
        await queue.add(b"new")
        assert await queue.next("all") == ([b"new"], 0)

    await fill(tmp_path / "b", use, kind="log", ttl=3600)


async def test_items_are_used_on_the_server_as_they_were_in_the_file(
    tmp_path: Path, valkey: str
) -> None:
    async def work(queue: Any) -> None:  # type: ignore[explicit-any]
        await queue.add({"n": 1}, {"n": 2}, {"n": 3})
        await queue.next("a", limit=2)

    await fill(tmp_path / "a", work, kind="log", ttl=3600, codec="msgpack")
    prefix = some_prefix()
    async with a_server(valkey, prefix) as side:
        with opened(tmp_path / "a") as file:
            await move(FileSide(file, TABLES), side)

    config = {"store": {"shared": {"type": "redis", "url": valkey, "prefix": prefix}}}
    async with open_runtime(config) as runtime:
        queue = await runtime.define("q", kind="log", store="shared", ttl=3600, codec="msgpack")

        assert await queue.next("a") == ([{"n": 3}], 0)
        assert await queue.next("b", limit=9) == ([{"n": 1}, {"n": 2}, {"n": 3}], 0)
        assert (await queue.add({"n": 4}), await queue.len()) == (1, 4)


# -- as they are used ----------------------------------------------------------------------------


async def test_a_message_queue_goes_on_on_the_server(tmp_path: Path, valkey: str) -> None:
    async def work(queue: Any) -> None:  # type: ignore[explicit-any]
        for mid in ("a", "b", "c"):
            await queue.enqueue(mid.upper(), mid)
        claim = await queue.claim()
        await queue.enqueue("A2", "a", can_requeue=True)
        await (await queue.claim()).finish("success", backoff=3600)
        assert claim.mid == "a"

    await fill(tmp_path / "a", work, kind="message")
    prefix = some_prefix()
    async with a_server(valkey, prefix) as side:
        with opened(tmp_path / "a") as file:
            await move(FileSide(file, TABLES), side)

    config = {"store": {"shared": {"type": "redis", "url": valkey, "prefix": prefix}}}
    async with open_runtime(config) as runtime:
        queue = await runtime.define("q", kind="message", store="shared")

        assert await queue.message_status("a") == "locked-with-requeue"
        assert await queue.message_status("b") == "done-with-backoff"
        assert (await queue.claim()).message == "C"
        assert (await queue.enqueue("x", "b")).error == "backoff"


async def test_a_unique_queue_knows_on_the_server_what_it_has(tmp_path: Path, valkey: str) -> None:
    async def work(queue: Any) -> None:  # type: ignore[explicit-any]
        await queue.insert(*range(1500))
        await queue.delete(await queue.reserve())

    await fill(tmp_path / "a", work, reservation_time=30, unique=True)
    prefix = some_prefix()
    async with a_server(valkey, prefix) as side:
        with opened(tmp_path / "a") as file:
            await move(FileSide(file, TABLES), side)

    config = {"store": {"shared": {"type": "redis", "url": valkey, "prefix": prefix}}}
    async with open_runtime(config) as runtime:
        queue = await runtime.define("q", reservation_time=30, unique=True, store="shared")

        assert await queue.insert(*range(1501)) == 2  # the one that was deleted, and a new one
        taken = await queue.reserve()
        await queue.delete(taken)
        assert await queue.insert(taken.value) == 1


async def test_configured_values_do_not_go_in_a_second_time(tmp_path: Path, valkey: str) -> None:
    async def work(queue: Any) -> None:  # type: ignore[explicit-any]
        await queue.delete(await queue.reserve())

    await fill(tmp_path / "a", work, reservation_time=30, values=["once"])
    prefix = some_prefix()
    async with a_server(valkey, prefix) as side:
        with opened(tmp_path / "a") as file:
            await move(FileSide(file, TABLES), side)

    config = {"store": {"shared": {"type": "redis", "url": valkey, "prefix": prefix}}}
    async with open_runtime(config) as runtime:
        queue = await runtime.define("q", reservation_time=30, values=["once"], store="shared")

        assert await queue.len() == 0


async def test_keys_that_a_server_cannot_count_are_new_ones(tmp_path: Path, valkey: str) -> None:
    held = {"state": "reserved", "attempt": 1, "deadline_at": AT + 10**18}
    with opened(tmp_path / "a") as file:
        messages = [message(n, n, key=AT + n, **held) for n in (1, 2)]
        put(file, "q", [*messages, message(3, 3)], last_key=AT + 2)

    await there_and_back(tmp_path / "a", tmp_path / "b", valkey)

    with opened(tmp_path / "b") as file:
        keys = [row[7] for row in rows(file, "q")]
        assert keys == [1, 2, 0]
        assert head(file, "q")["last_key"] == 3


# -- interrupted ---------------------------------------------------------------------------------


class KilledError(BaseException):
    """The end of a process."""


def killer(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what lets the process end at its n-th look at a server: before, or after it."""
    ask = _redis_transfer.RedisTransfer.ask
    left = 0

    async def counted(self: Any, *args: Any, **values: Any) -> object:  # type: ignore[explicit-any]
        nonlocal left
        left -= 1
        if left == 0:
            raise KilledError
        answer = await ask(self, *args, **values)
        left -= 1
        if left == 0:
            raise KilledError
        return answer

    monkeypatch.setattr(_redis_transfer.RedisTransfer, "ask", counted)
    monkeypatch.setattr(_redis_transfer, "PAGE", 3)

    def at(number: int) -> None:
        nonlocal left
        left = number

    return at


def many_of(kind: str) -> list[Message] | list[QueuedMessage]:
    if kind == "timed":
        return [message(n, n) for n in range(1, 11)]
    return [named(n, f"m{n}", n) for n in range(1, 11)]


async def filled(path: Path, kind: str) -> object:
    """Make a file with a queue of a kind; return what is in it."""
    if kind in {"timed", "message"}:
        with opened(path) as file:
            put(file, "q", many_of(kind))
        return content(path, kind)

    async def work(queue: Any) -> None:  # type: ignore[explicit-any]
        for n in range(12):
            add = queue.push if kind == "capacity" else queue.add
            await add(b"%d" % n, b"%d more" % n)
        if kind == "log":
            for n in range(5):
                await queue.next(f"label {n}", limit=n + 1)

    await fill(path, work, kind=kind, **({"ttl": 3600} if kind == "log" else {}))
    return content(path, kind)


def content(path: Path, kind: str) -> object:
    """Return what is in a file's queue; items come in other chunks from a server."""
    if kind not in {"timed", "message"}:
        return items_in(path)
    with opened(path) as file:
        return rows(file, "q"), head(file, "q")


@pytest.mark.parametrize("kind", ["timed", "message", "capacity", "log"])
async def test_ended_at_any_step_it_goes_on(
    kind: str, tmp_path: Path, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at = killer(monkeypatch)
    before = await filled(tmp_path / "a", kind)
    kills = 0

    async with a_server(valkey) as side, a_server(valkey) as other:
        with opened(tmp_path / "a") as first, opened(tmp_path / "b") as last:
            sides: list[Side] = [FileSide(first, TABLES), side, other, FileSide(last, TABLES)]
            for ways in pairwise(sides):
                number = 0
                while True:
                    number += 1
                    kill_at(number)
                    try:
                        await move(*ways, "q")
                        break
                    except KilledError:
                        kills += 1
                kill_at(0)
                await move(*ways, "q")  # and once more, for nothing

    assert kills > 20
    assert content(tmp_path / "b", kind) == before


@pytest.mark.parametrize("kind", ["timed", "message", "capacity"])
async def test_what_is_set_aside_on_a_server_comes_along(
    kind: str, tmp_path: Path, valkey: str
) -> None:
    await filled(tmp_path / "a", kind)
    prefix = some_prefix()
    of_kind: dict[str, dict[str, object]] = {"timed": {"reservation_time": 30}}
    options = of_kind.get(kind, {})
    async with a_server(valkey, prefix) as side:
        with opened(tmp_path / "a") as file:
            await move(FileSide(file, TABLES), side)
        config = {"store": {"shared": {"type": "redis", "url": valkey, "prefix": prefix}}}
        async with open_runtime(config) as runtime:
            queue: Any = await runtime.define("q", kind=kind, store="shared", **options)  # type: ignore[explicit-any]
            spoil(valkey, prefix, kind)
            if kind == "capacity":
                await queue.pop()
            elif kind == "timed":
                await queue.release(await queue.reserve())
            else:
                await (await queue.claim()).snooze()
            assert (await queue.statistics()).set_aside == 1

        with opened(tmp_path / "b") as file:
            many = await move(side, FileSide(file, TABLES))

    assert many == {"q": 2 if kind == "capacity" else 10}  # of a codec each
    if kind == "capacity":
        items, _ = items_in(tmp_path / "b")
        assert ([each[1] for each in items[:2]], len(items)) == (["items:?", "items:bytes"], 23)
    else:
        with opened(tmp_path / "b") as file:
            found = rows(file, "q")
        assert ([row[-1] for row in found[:2]], len(found)) == (["?", "msgpack"], 10)


def spoil(valkey: str, prefix: str, kind: str) -> None:
    """Let another program put something else in the place of the first value."""
    direct = Direct(valkey)
    stem = f"{prefix}:{{q}}:".encode()
    if kind == "capacity":
        direct(b"LSET", stem + b"items", b"0", b"junk")
    else:
        direct(b"HSET", stem + b"bodies", b"1", b"junk")
    direct.close()


async def test_a_file_that_gets_messages_goes_on_where_it_was(
    tmp_path: Path, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queueactors.stores._transfer.PART", 3)
    with opened(tmp_path / "a") as file:
        put(file, "q", many_of("timed"))
        before = rows(file, "q")

    def fragile(what: str, _queue: str) -> Callable[[int], None]:
        def progress(done: int) -> None:
            if what == "writing" and 0 < done < 10:
                raise KilledError

        return progress

    async with a_server(valkey) as side:
        with opened(tmp_path / "a") as file:
            await move(FileSide(file, TABLES), side)
        with opened(tmp_path / "b") as file:
            target = FileSide(file, TABLES)
            with pytest.raises(KilledError):
                await migrate(side, target, ("q",), TABLES, fragile)
            assert len(rows(file, "q")) == 3
            moved = await migrate(side, target, ("q",), TABLES, quietly)

            assert (moved["q"].messages, moved["q"].resumed) == (10, 3)
            assert rows(file, "q") == before


async def test_what_has_begun_is_taken_back(
    tmp_path: Path, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at = killer(monkeypatch)
    async with a_server(valkey) as side:
        with opened(tmp_path / "a") as file:
            put(file, "q", many_of("timed"))
            before = rows(file, "q")
            source = FileSide(file, TABLES)
            kill_at(6)
            with pytest.raises(KilledError):
                await move(source, side)
            kill_at(0)

            assert await undo(source, side, (), TABLES, quietly) == ["q"]

            assert (await side.transfer.look("q")).kind is None
            assert rows(file, "q") == before
    await fill(tmp_path / "a", nothing, reservation_time=30)


async def nothing(_queue: object) -> None:
    """Do nothing."""


async def test_what_was_interrupted_stays_held_though_another_target_refuses_it(
    tmp_path: Path, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at = killer(monkeypatch)
    async with a_server(valkey) as side:
        with opened(tmp_path / "a") as file, opened(tmp_path / "full") as full:
            put(full, "q", [message(1, "x")])
            put(file, "q", many_of("timed"))
            source = FileSide(file, TABLES)
            kill_at(6)
            with pytest.raises(KilledError):
                await move(source, side)
            kill_at(0)

            with pytest.raises(TransferError, match="is there, and not empty"):
                await move(source, FileSide(full, TABLES))

            stored = file.queue("q")
            assert stored is not None
            assert file.is_leaving(stored)


# -- who has it open -----------------------------------------------------------------------------


async def test_nobody_uses_a_queue_in_a_file_that_is_on_its_way(
    tmp_path: Path, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at = killer(monkeypatch)
    async with a_server(valkey) as side:
        with opened(tmp_path / "a") as file:
            put(file, "q", many_of("timed"))
            kill_at(6)
            with pytest.raises(KilledError):
                await move(FileSide(file, TABLES), side)

    with pytest.raises(
        ChildStartError, match="is on its way to another store; queueactors migrate"
    ):
        await fill(tmp_path / "a", nothing, reservation_time=30)


async def test_runtimes_that_have_the_queue_open_are_refused_until_it_is_there(
    tmp_path: Path, valkey: str
) -> None:
    prefix = some_prefix()
    config = {"store": {"shared": {"type": "redis", "url": valkey, "prefix": prefix}}}
    async with a_server(valkey, prefix) as side, open_runtime(config) as runtime:
        queue = await runtime.define("q", reservation_time=30, store="shared")
        await queue.insert("x")
        await side.hold("q", "timed")
        with pytest.raises(StoreError, match="'q' is on its way to another store") as refused:
            await queue.reserve()
        assert refused.value.outcome == "not applied"
        await side.release("q", "timed")
        assert (await queue.reserve()).value == "x"

        with opened(tmp_path / "b") as file:
            await move(side, FileSide(file, TABLES))
        with pytest.raises(StoreError, match="'q' was moved to another store by queueactors"):
            await queue.insert("y")
        with opened(tmp_path / "b") as file:
            await move(FileSide(file, TABLES), side)
        assert await queue.insert("y") == 1
        assert (await queue.reserve()).value == "y"


async def test_who_waits_in_a_queue_that_is_moved_waits_on(tmp_path: Path, valkey: str) -> None:
    prefix = some_prefix()
    options = {"type": "redis", "url": valkey, "prefix": prefix, "poll": 0.05}
    config = {"store": {"shared": options}}
    got = []
    async with a_server(valkey, prefix) as side, open_runtime(config) as runtime:
        queue = await runtime.define("q", reservation_time=30, store="shared")
        await queue.insert("x")
        await queue.delete(await queue.reserve())

        async def take() -> None:
            got.append((await queue.reserve()).value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.sleep(0.05)
            await side.hold("q", "timed")
            await trio.sleep(0.2)
            assert not got
            await side.release("q", "timed")
            await queue.insert("y")

    assert got == ["y"]


async def test_a_queue_of_another_kind_on_the_server_is_let_be(valkey: str) -> None:
    prefix = some_prefix()
    config = {"store": {"shared": {"type": "redis", "url": valkey, "prefix": prefix}}}
    async with open_runtime(config) as runtime:
        queue = await runtime.define("q", reservation_time=30, store="shared")
        await queue.insert("x")

    async with open_runtime(config) as runtime:
        other = await runtime.define("q", kind="message", store="shared")

        with pytest.raises(StoreError, match="queue 'q' is of kind 'timed' there"):
            await other.enqueue("y")


async def test_an_export_holds_a_queue_for_a_while_only(tmp_path: Path, valkey: str) -> None:
    prefix = some_prefix()
    config = {"store": {"shared": {"type": "redis", "url": valkey, "prefix": prefix}}}
    lines = BytesIO()
    async with a_server(valkey, prefix) as side, open_runtime(config) as runtime:
        queue = await runtime.define("q", reservation_time=30, store="shared")
        await queue.insert("x", "y")

        assert await export(side, ("q",), lines, quietly) == {"q": 2}
        assert len(lines.getvalue().splitlines()) == 3
        assert (await queue.reserve()).value == "x"

        side.lease = 200_000  # microseconds
        await side.hold("q", "timed")
        with pytest.raises(StoreError, match="'q' is on its way"):
            await queue.reserve()
        side.lease = None
        with pytest.raises(TransferError, match="'q' is exported at present; try again"):
            await side.hold("q", "timed")
        await trio.sleep(0.25)  # as if that process had died
        assert (await queue.reserve()).value == "y"


async def test_a_queue_that_is_moved_is_not_exported(valkey: str, tmp_path: Path) -> None:
    async with a_server(valkey) as side:
        with opened(tmp_path / "a") as file:
            put(file, "q", [message(1, "x")])
            await move(FileSide(file, TABLES), side)
        await side.hold("q", "timed")

        with pytest.raises(TransferError, match="'q' is on its way to another store, or exported"):
            await export(side, ("q",), BytesIO(), quietly)

        assert (await side.transfer.look("q")).moving == "out"


# -- refused -------------------------------------------------------------------------------------


async def test_a_queue_that_is_not_empty_takes_no_other(tmp_path: Path, valkey: str) -> None:
    async with a_server(valkey) as side:
        for name in ("a", "b"):
            with opened(tmp_path / name) as file:
                put(file, "q", [message(1, name)])
        with opened(tmp_path / "a") as file:
            await move(FileSide(file, TABLES), side)
        with opened(tmp_path / "b") as file:
            source = FileSide(file, TABLES)

            with pytest.raises(TransferError, match="'q' cannot come: it is there, and not empty"):
                await move(source, side)
            with pytest.raises(TransferError, match="is there, and not empty: it has 1 records;"):
                await move(side, source)

            assert len(rows(file, "q")) == 1
        assert await side.queues(()) == {"q": "timed"}
        assert (await side.transfer.look("q")).moving is None
    await fill(tmp_path / "b", nothing, reservation_time=30)


async def test_a_queue_of_another_kind_takes_no_other(tmp_path: Path, valkey: str) -> None:
    async with a_server(valkey) as side:
        with opened(tmp_path / "a") as file:
            put(file, "q", [message(1, "x")])
            await move(FileSide(file, TABLES), side)
            put(file, "q", [named(1, "x")])

            with pytest.raises(TransferError, match="cannot come: it is of kind 'timed' there"):
                await move(FileSide(file, TABLES), side)


async def test_a_server_keeps_no_batches(tmp_path: Path, valkey: str) -> None:
    async with a_server(valkey) as side:
        with opened(tmp_path / "a") as file:
            put(file, "q", [batch(1, "x")])

            with pytest.raises(TransferError, match="of kind 'batch', and server keeps none of"):
                await move(FileSide(file, TABLES), side)


async def test_an_unknown_queue_is_told(tmp_path: Path, valkey: str) -> None:
    async with a_server(valkey) as side:
        with opened(tmp_path / "a") as file:
            put(file, "emails", [message(1, "x")])

            with pytest.raises(
                TransferError, match=r"no queue 'email' in .* \(did you mean 'emails'\?\)"
            ):
                await move(FileSide(file, TABLES), side, "email")
            with pytest.raises(TransferError, match="there is no queue 'q' in server"):
                await move(side, FileSide(file, TABLES), "q")


# -- lines ---------------------------------------------------------------------------------------


async def test_a_file_of_lines_stays_and_is_written_once(tmp_path: Path, valkey: str) -> None:
    lines = tmp_path / "x.jsonl"
    async with a_server(valkey) as side:
        with opened(tmp_path / "a") as file:
            put(file, "q", timed_messages())
            put(file, "m", named_messages())
            before = rows(file, "q"), rows(file, "m")
            assert await move(FileSide(file, TABLES), LinesSide(lines, TABLES)) == {"q": 8, "m": 7}
            assert file.names() == []
        assert await move(LinesSide(lines, TABLES), side) == {"q": 8, "m": 7}
        assert await move(LinesSide(lines, TABLES), side) == {"q": 8, "m": 7}
        with opened(tmp_path / "b") as file:
            await move(side, FileSide(file, TABLES), keep=True)
            assert (rows(file, "q"), rows(file, "m")) == before

            put(file, "m", [named(99, "new")], last_key=KEY + 4)
            with pytest.raises(TransferError, match=r"x.jsonl is there already; remove it, or"):
                await move(FileSide(file, TABLES), LinesSide(lines, TABLES))
        assert await side.queues(()) == {"q": "timed", "m": "message"}


async def test_names_and_codecs_of_ones_own_come_along(tmp_path: Path, valkey: str) -> None:
    name = "a{b}:%*é [x]"
    with opened(tmp_path / "a") as file:
        data = Encoded("rot13", Rot13.encode("hello"))
        put(file, name, [message(1, data)], codec="rot13")

    async with a_server(valkey) as side:
        with opened(tmp_path / "a") as file:
            await move(FileSide(file, TABLES), side)
        with opened(tmp_path / "b") as file:
            assert await move(side, FileSide(file, TABLES), name) == {name: 1}
            assert rows(file, name)[0][-1] == "rot13"


# -- any queue -----------------------------------------------------------------------------------

INSTANTS = st.integers(0, 4 * 10**15).map(lambda micros: micros * 1000)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.binary(max_size=20) | st.builds(Encoded, st.sampled_from(["json", "x"]), st.binary())
KEYS = st.integers(1, 2**52)


@st.composite
def timed_queues(draw: st.DrawFn) -> list[Message]:
    ids = sorted(draw(st.sets(st.integers(1, 10_000), max_size=12)))
    states = st.sampled_from(["ready", "delayed", "reserved", "buried", "dead"])
    keys = iter(draw(st.lists(KEYS, min_size=12, max_size=12, unique=True)))
    made = []
    for number in ids:
        state = draw(states)
        held = state == "reserved" or (state == "ready" and draw(st.booleans()))
        facts = {
            "priority": draw(st.integers(-(2**63), 2**63 - 1)),
            "inserted_at": draw(INSTANTS),
            "ready_at": draw(INSTANTS),
            "attempt": draw(st.integers(0, 1000)),
            "key": next(keys) if held else 0,
            "deadline_at": draw(INSTANTS),
            "error": draw(st.none() | TEXTS),
        }
        made.append(message(number, draw(VALUES), state=state, **facts))
    return made


@st.composite
def message_queues(draw: st.DrawFn) -> list[QueuedMessage]:
    mids = draw(st.lists(TEXTS.filter(bool), max_size=8, unique=True))
    made: list[QueuedMessage] = []
    for mid in mids:
        state = draw(st.sampled_from(["ready", "backoff", "locked", "done"]))
        at, enqueued = draw(INSTANTS), draw(INSTANTS)
        ends = state in {"locked", "done"}
        facts = {
            "enqueued_at": enqueued,
            "ready_at": enqueued if ends else at,
            "deadline_at": at if ends else 0,
            "lock_time": draw(st.none() | INSTANTS),
            "attempt": draw(st.integers(0, 1000)),
            "key": len(made) + 1 if state == "locked" else 0,
        }
        made.append(named(len(made) + 1, mid, draw(TEXTS), state=state, **facts))
        if ends and draw(st.booleans()):
            made.append(named(len(made) + 1, mid, draw(TEXTS), state="requeue"))
    return made


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(queue=st.one_of(timed_queues(), message_queues()))
def test_any_queue_comes_back_as_it_was(
    queue: list[Message], valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    if not queue:
        return
    with opened(folder / "a") as file:
        put(file, "q", queue)
        before, beside = rows(file, "q"), head(file, "q")

    trio.run(there_and_back, folder / "a", folder / "b", valkey)

    with opened(folder / "b") as file:
        assert rows(file, "q") == before
        assert head(file, "q") == beside
