"""The Redis store with sentinels: it goes to the master that they name, and follows a failover."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import trio

from queueactors import StoreError, open_runtime

from .redis_servers import Valkey, a_config, free_ports, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from queueactors import Config

pytestmark = pytest.mark.slow


class Watched:
    """A master and its replica, and a sentinel that watches them."""

    def __init__(self, folder: Path, *options: str) -> None:
        first, second, third = free_ports(3)
        self.master = Valkey(folder / "master", first, options)
        replicates = ("--replicaof", f"127.0.0.1 {first}")
        self.replica = Valkey(folder / "replica", second, (*options, *replicates))
        self.sentinel = Valkey(folder / "sentinel", third, ("--sentinel",))

    async def make(self, *more: tuple[str, str]) -> None:
        await self.replica.until("master_link_status:up", "INFO", "replication")
        ask = self.sentinel.ask
        await ask("SENTINEL", "MONITOR", "main", "127.0.0.1", self.master.port, 1)
        await ask("SENTINEL", "SET", "main", "down-after-milliseconds", 300)
        for option, value in more:
            await ask("SENTINEL", "SET", "main", option, value)
        await self.sentinel.until(f"{self.replica.port}", "SENTINEL", "REPLICAS", "main")

    @property
    def url(self) -> str:
        return self.sentinel.url


@asynccontextmanager
async def own(folder: Path) -> AsyncIterator[Watched]:
    """Run servers that a test may break."""
    made = Watched(folder)
    with running(made.master, made.replica, made.sentinel):
        await made.make()
        yield made


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    made = Watched(tmp_path_factory.mktemp("watched"))
    with running(made.master, made.replica, made.sentinel):
        trio.run(made.make)
        yield made


async def test_a_name_that_no_sentinel_knows_is_told(watched: Watched) -> None:
    config = a_config(watched.url, uuid4().hex, sentinel="mian")
    async with open_runtime(config) as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        with pytest.raises(StoreError, match="knows no master 'mian'") as caught:
            await queue.insert("a")
        assert caught.value.outcome == "not applied"


async def test_a_sentinel_that_is_taken_for_a_server_is_told(watched: Watched) -> None:
    async with open_runtime(a_config(watched.url, uuid4().hex)) as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        with pytest.raises(StoreError, match="is a sentinel: say which master, by sentinel="):
            await queue.insert("a")


async def test_a_replica_is_told(watched: Watched) -> None:
    async with open_runtime(a_config(watched.replica.url, uuid4().hex)) as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        with pytest.raises(StoreError, match="is a replica"):
            await queue.insert("a")


async def test_of_several_servers_the_master_is_found(watched: Watched) -> None:
    url = f"redis://127.0.0.1:{watched.replica.port},127.0.0.1:{watched.master.port}"
    async with open_runtime(a_config(url, uuid4().hex)) as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        assert await queue.insert("a") == 1


async def test_sentinels_without_a_password_are_asked_without_one(tmp_path: Path) -> None:
    async with own(tmp_path) as made:
        for server in (made.master, made.replica):
            await server.ask("ACL", "SETUSER", "bob", "on", ">secret", "~*", "&*", "+@all")
        url = made.url.replace("://", "://bob:secret@")
        async with open_runtime(a_config(url, uuid4().hex, sentinel="main")) as runtime:
            queue = await runtime.define("q", kind="timed", reservation_time=30)
            assert await queue.insert("a") == 1


async def test_a_master_that_has_become_a_replica_is_left(tmp_path: Path) -> None:
    async with (
        own(tmp_path) as watched,
        open_runtime(a_config(watched.url, uuid4().hex, sentinel="main")) as runtime,
    ):
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        await queue.insert("a")
        await watched.sentinel.ask("SENTINEL", "REMOVE", "main")
        await watched.replica.ask("REPLICAOF", "NO", "ONE")
        await watched.sentinel.ask(
            "SENTINEL", "MONITOR", "main", "127.0.0.1", watched.replica.port, 1
        )
        await watched.master.ask("REPLICAOF", "127.0.0.1", watched.replica.port)

        with trio.fail_after(5):
            assert await queue.insert("b") == 1


async def test_a_failover_is_followed(tmp_path: Path) -> None:
    async with own(tmp_path) as watched:
        url = f"redis://127.0.0.1:1,127.0.0.1:{watched.sentinel.port}"  # one sentinel is away
        config = a_config(url, uuid4().hex, sentinel="main", on_failure="wait", timeout=1)
        await check_failover(watched, config)


async def check_failover(watched: Watched, config: Config) -> None:
    async with open_runtime(config) as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        await queue.insert("a")
        await watched.master.ask("WAIT", 1, 1000)

        watched.master.kill()

        with trio.fail_after(20):
            assert await queue.insert("b") == 1
            assert {each.value for each in await queue.reserve_many(2)} == {"a", "b"}
    assert int(str(await watched.replica.ask("DBSIZE"))) > 0
