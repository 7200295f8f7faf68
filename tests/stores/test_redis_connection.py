"""The connection of a Redis store: what servers refuse, secrets, TLS, and what is left behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import pytest
import trio
from coredis.exceptions import RedisError, ResponseError

from queueactors import StoreError, open_runtime, wait_until_idle
from queueactors.config import load_config, render
from queueactors.stores._redis import RedisStore
from queueactors.stores._redis_connection import Login, _commands, opened
from queueactors.stores._redis_masters import addresses
from queueactors.stores._redis_url import parse_url

from .redis_proxy import a_proxy
from .redis_servers import (
    Valkey,
    a_config,
    config_of,
    free_ports,
    make_certificates,
    running,
    tls,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from queueactors import Runtime, TimedQueue
    from tests.conftest import Events

SCALING_OUT: Final = Path(__file__).parents[2] / "docs" / "scaling-out.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    made = Valkey(tmp_path_factory.mktemp("valkey"), free_ports(1)[0])
    with running(made):
        yield made


async def a_queue(runtime: Runtime) -> TimedQueue:
    return await runtime.define("q", kind="timed", reservation_time=30)


async def soon(succeeds: Callable[[], Awaitable[object]]) -> object:
    """Try until there is no `StoreError`, for ten seconds at most."""
    with trio.fail_after(10):
        while True:
            try:
                return await succeeds()
            except StoreError:
                await trio.sleep(0.02)


# -- what servers refuse ---------------------------------------------------------------------------


@pytest.mark.slow
async def test_scripts_that_are_forgotten_are_sent_again(server: Valkey) -> None:
    async with open_runtime(a_config(server.url, uuid4().hex)) as runtime:
        queue = await a_queue(runtime)
        for number in range(50):
            await server.ask("SCRIPT", "FLUSH")
            assert await queue.insert(number) == 1
        assert len(await queue.reserve_many(100)) == 50


async def test_a_server_without_room_takes_nothing_in(server: Valkey) -> None:
    async with open_runtime(a_config(server.url, uuid4().hex)) as runtime:
        queue = await a_queue(runtime)
        await queue.insert("a", "b")
        await server.ask("CONFIG", "SET", "maxmemory", 1)
        try:
            with pytest.raises(StoreError, match="OOM") as caught:
                await queue.insert("c")
            taken = await queue.reserve()  # what makes room goes on
            assert await queue.delete(taken) == 1
        finally:
            await server.ask("CONFIG", "SET", "maxmemory", 0)
        assert caught.value.outcome == "not applied"
        assert await queue.len() == 1


async def test_a_server_that_cannot_write_its_disk_is_told_and_logged(
    tmp_path: Path, events: Events
) -> None:
    made = Valkey(tmp_path / "s", free_ports(1)[0], ("--stop-writes-on-bgsave-error", "yes"))
    with running(made):
        store = RedisStore(url=made.url)
        async with open_runtime(config_of(store)) as runtime:
            queue = await a_queue(runtime)
            await queue.insert("a")
            await made.ask("CONFIG", "SET", "save", "1 1")
            (tmp_path / "s" / "dump.rdb").mkdir()  # it cannot be replaced
            await made.ask("BGSAVE")
            await made.until("rdb_last_bgsave_status:err", "INFO", "persistence")
            with pytest.raises(StoreError, match="MISCONF") as caught:
                await queue.insert("b")
            assert caught.value.outcome == "not applied"
            assert not store.statistics().works  # type: ignore[union-attr] # it runs

            (tmp_path / "s" / "dump.rdb").rmdir()
            await made.ask("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")

            assert await queue.insert("c") == 1
            assert store.statistics().works  # type: ignore[union-attr] # it runs
    logged = [each["event"] for each in events if str(each["event"]).startswith("store_")]
    assert logged == ["store_failed", "store_recovered"]


async def test_a_server_that_has_become_a_replica_takes_nothing_in(server: Valkey) -> None:
    async with open_runtime(a_config(server.url, uuid4().hex, timeout=0.3)) as runtime:
        queue = await a_queue(runtime)
        await queue.insert("a")
        await server.ask("REPLICAOF", "127.0.0.1", 1)
        try:
            with pytest.raises(StoreError, match="replica") as caught:
                await queue.insert("b")
        finally:
            await server.ask("REPLICAOF", "NO", "ONE")
        assert caught.value.outcome == "not applied"
        await soon(lambda: queue.insert("c"))
        assert await queue.len() == 2


async def test_what_others_have_put_at_a_key_of_a_queue_is_told(
    server: Valkey, events: Events
) -> None:
    prefix = uuid4().hex
    async with open_runtime(a_config(server.url, prefix)) as runtime:
        queue = await a_queue(runtime)
        await server.ask("SET", f"{prefix}:{{q}}:ready", "x")

        with pytest.raises(StoreError, match="something that is not a queue's") as caught:
            await queue.insert("a")

        await server.ask("DEL", f"{prefix}:{{q}}:ready")
        assert caught.value.outcome == "unknown"
        assert await queue.insert("b") == 1
        assert (await queue.statistics()).restarts == 0
    assert "child_restarted" not in {each["event"] for each in events}


@pytest.mark.slow
async def test_a_server_that_is_busy_is_waited_for(server: Valkey) -> None:
    await server.ask("CONFIG", "SET", "busy-reply-threshold", 10)
    loops = "while true do end"
    async with open_runtime(a_config(server.url, uuid4().hex)) as runtime, trio.open_nursery() as n:
        queue = await a_queue(runtime)
        await queue.insert("a")

        async def occupy() -> None:
            with pytest.raises(ResponseError, match="killed"):
                await server.ask("EVAL", loops, 0)

        n.start_soon(occupy)
        await trio.sleep(0.1)
        inserted: list[int] = []

        async def insert() -> None:
            inserted.append(await queue.insert("b"))

        n.start_soon(insert)
        await trio.sleep(0.1)
        assert inserted == []
        await server.ask("SCRIPT", "KILL")
    assert inserted == [1]


@asynccontextmanager
async def an_impostor(*answers: bytes) -> AsyncIterator[str]:
    """Run a server that gives fixed answers, one a command; return its URL."""

    async def serve(stream: trio.SocketStream) -> None:
        left = list(answers)
        async for data in stream:
            for _ in range(data.count(b"*")):
                if left:
                    await stream.send_all(left.pop(0))

    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(trio.serve_tcp, serve, 0)
        yield f"redis://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


HELLO = b"%4\r\n+proto\r\n:3\r\n+version\r\n+6.2.14\r\n+id\r\n:7\r\n+mode\r\n+standalone\r\n"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((HELLO, HELLO), r"needs Redis >= 7\.0 or Valkey; .* is of version 6\.2\.14"),
        ((b"-ERR unknown command `HELLO`, with args\r\n",), r"needs Redis >= 7\.0 or Valkey"),
        ((b"-LOADING Redis is loading the dataset in memory\r\n",), "loading the dataset"),
        ((b"-DENIED running in protected mode\r\n",), "DENIED running in protected mode"),
        ((b"-ERR max number of clients reached\r\n",), "max number of clients"),
    ],
)
async def test_a_server_that_does_not_do_is_told(answers: tuple[bytes, ...], reason: str) -> None:
    async with (
        an_impostor(*answers) as url,
        open_runtime(a_config(url, uuid4().hex, timeout=2)) as runtime,
    ):
        queue = await a_queue(runtime)
        with pytest.raises(StoreError, match=reason) as caught:
            await queue.insert("a")
        assert caught.value.outcome == "not applied"


async def test_a_server_that_says_nothing_is_given_up(events: Events) -> None:
    async with (
        an_impostor() as url,
        open_runtime(a_config(url, uuid4().hex, timeout=0.05)) as runtime,
    ):
        queue = await a_queue(runtime)
        with pytest.raises(StoreError, match=r"it has not answered within 0\.05 s"):
            await queue.insert("a")


@pytest.mark.slow
async def test_a_connection_through_which_nothing_gets_any_more_is_replaced(
    valkey: str, tmp_path: Path
) -> None:
    async with (
        a_proxy(valkey, tmp_path / "proxy") as proxy,
        open_runtime(a_config(proxy.url, uuid4().hex, timeout=0.2)) as runtime,
    ):
        queue = await a_queue(runtime)
        await queue.insert("a")
        proxy.swallow()
        with pytest.raises(StoreError) as caught:
            await queue.insert("b")
        assert caught.value.outcome == "unknown"

        with trio.fail_after(1):
            assert await queue.insert("c") == 1


@pytest.mark.slow
async def test_a_server_that_was_stopped_for_a_while_loses_nothing(tmp_path: Path) -> None:
    made = Valkey(tmp_path / "s", free_ports(1)[0])
    with running(made):
        async with (
            open_runtime(
                a_config(made.url, uuid4().hex, timeout=0.1, on_failure="wait")
            ) as runtime,
            trio.open_nursery() as nursery,
        ):
            queue = await a_queue(runtime)
            made.send_signal(signal.SIGSTOP)
            nursery.start_soon(queue.insert, "a")
            await trio.sleep(0.5)
            made.send_signal(signal.SIGCONT)
            assert (await queue.reserve()).value == "a"
            assert await queue.len() == 1


@pytest.mark.parametrize("on_failure", ["wait", "error"])
async def test_callers_wait_while_the_connections_actor_restarts(
    on_failure: str, server: Valkey
) -> None:
    config = a_config(server.url, uuid4().hex, on_failure=on_failure)
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        queue = await a_queue(runtime)
        await queue.insert("a")
        await runtime.stop("store.memory")
        nursery.start_soon(queue.insert, "b")
        await trio.sleep(0.1)
        await runtime.start("store.memory")
        with trio.fail_after(2):
            assert await queue.insert("c") == 1
            while await queue.len() < 3:  # noqa: ASYNC110 - nobody can tell
                await trio.sleep(0.01)


@pytest.mark.slow
async def test_a_server_that_is_away_is_waited_for_until_all_is_idle(tmp_path: Path) -> None:
    made = Valkey(tmp_path / "s", free_ports(1)[0])
    with running(made):
        config = a_config(made.url, uuid4().hex, timeout=0.5)
        with trio.fail_after(20):
            async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
                queue = await a_queue(runtime)
                await queue.insert("a")
                made.kill()
                with pytest.raises(StoreError):
                    await queue.statistics()
                nursery.start_soon(wait_until_idle, runtime)
                await trio.sleep(0.2)
                assert nursery.child_tasks
                made.start()  # it has lost everything


# -- users -----------------------------------------------------------------------------------------


async def test_a_user_and_a_password_may_have_any_characters(server: Valkey) -> None:
    await server.ask("ACL", "SETUSER", "b@b:é", "on", ">p/w:@#?%é", "~*", "&*", "+@all")
    url = server.url.replace("://", "://b%40b%3A%C3%A9:p/w:@#?%25%C3%A9@") + "/3"
    async with open_runtime(a_config(url, uuid4().hex)) as runtime:
        assert await (await a_queue(runtime)).insert("a") == 1
    assert "db3" in str(await server.ask("INFO", "keyspace"))


async def test_a_wrong_password_is_told_without_it(server: Valkey, events: Events) -> None:
    url = server.url.replace("://", "://bob:hunter2@")
    async with open_runtime(a_config(url, uuid4().hex)) as runtime:
        queue = await a_queue(runtime)
        with pytest.raises(StoreError, match="it refuses the user name or the password") as caught:
            await queue.insert("a")
        assert caught.value.outcome == "not applied"
        assert caught.value.__cause__ is None
        told = f"{events} {runtime.metrics()} {runtime.tree()} {caught.value!r}"
    assert "hunter2" not in told
    assert "store_failed" in told


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        (("~*", "&*", "+@all", "-zadd"), "is not permitted ZADD on keys"),
        (("~other:*", "&*", "+@all"), "HSET"),
        (("~*", "resetchannels", "+@all"), "is not permitted SPUBLISH, SSUBSCRIBE on keys"),
        (("~*", "&*", "+@all", "-@scripting"), "is not permitted EVAL on keys"),
        (("~*", "&*", "+@all", "-ssubscribe"), "is not permitted SSUBSCRIBE on keys"),
    ],
)
async def test_what_a_user_may_not_do_is_told_before_anything_is_done(
    rules: tuple[str, ...], missing: str, server: Valkey
) -> None:
    prefix = uuid4().hex
    await server.ask("ACL", "SETUSER", "eve", "reset", "on", ">pw", *rules)
    url = server.url.replace("://", "://eve:pw@")
    async with open_runtime(a_config(url, prefix)) as runtime:
        queue = await a_queue(runtime)
        with pytest.raises(StoreError, match=missing) as caught:
            await queue.insert("a")
        assert caught.value.outcome == "not applied"
    assert await server.ask("KEYS", f"{prefix}:*") == []


async def test_a_user_needs_the_keys_and_channels_of_its_prefix_only(server: Valkey) -> None:
    prefix = uuid4().hex
    rules = ("reset", "on", ">pw", f"~{prefix}:*", f"&{prefix}:*", "+@all", "-@dangerous", "-ping")
    await server.ask("ACL", "SETUSER", "ann", *rules)
    url = server.url.replace("://", "://ann:pw@")
    async with open_runtime(a_config(url, prefix)) as runtime, trio.open_nursery() as nursery:
        queue = await a_queue(runtime)
        nursery.start_soon(queue.insert, "a")
        assert (await queue.reserve()).value == "a"


@pytest.mark.parametrize(("database", "more"), [("", ()), ("/1", ("+select",))])
async def test_the_permissions_that_the_docs_give_are_those_that_are_needed(
    database: str, more: tuple[str, ...], server: Valkey
) -> None:
    (rules,) = re.findall(
        r"^ACL SETUSER mailer (.*)$", SCALING_OUT.read_text("utf-8"), re.MULTILINE
    )
    words = [*rules.split(), *more]
    permitted = {word[1:].upper() for word in rules.split() if word.startswith("+")}
    await server.ask("ACL", "SETUSER", "mailer", "reset", *words)
    url = server.url.replace("://", "://mailer:PASSWORD@") + database

    async with open_runtime(a_config(url, "queueactors")) as runtime:
        queue = await runtime.define("permitted", kind="timed", reservation_time=30)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.insert, "a")
            await queue.delete(await queue.reserve())
        await runtime.drop("permitted")

    assert permitted == {name.decode() for name in _commands()} | {"EVAL"}


def test_the_commands_of_all_scripts_are_known() -> None:
    assert {b"EVALSHA", b"HSET", b"SPUBLISH", b"SSUBSCRIBE", b"TIME", b"ZADD"} <= set(_commands())


@pytest.mark.parametrize("many", [1, 20])
async def test_a_subscription_that_is_refused_is_no_answer_to_others(
    many: int, server: Valkey
) -> None:
    await server.ask("ACL", "SETUSER", "mel", "reset", "on", ">pw", "~*", "&x:*", "+@all")
    login = Login(parse_url(server.url.replace("://", "://mel:pw@")), "x", 5.0)
    refusals: dict[int, str] = {}

    async def subscribe(number: int) -> None:
        try:
            if number % 3 == 2:  # it only looks whether anybody answers
                await connection.settle(always=True)
            else:
                await connection.subscribe(b"no:%d" % number if number % 3 else b"x:%d" % number)
        except RedisError as error:
            refusals[number] = str(error)

    async with opened(login, addresses(login.url)[0]) as connection:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for number in range(3 * many):
                    nursery.start_soon(subscribe, number)
            for number in range(1, 3 * many, 3):
                assert refusals.pop(number) == "No permissions to access a channel"
            assert all(number % 3 == 0 for number in refusals)  # one who asked at the same time
            refusals.clear()
        await subscribe(0)
        assert refusals == {}
        await server.ask("SPUBLISH", "x:0", "")
        async with aclosing(connection.pushes()) as channels:
            assert await anext(channels) == b"x:0"


async def test_a_channel_that_was_to_be_left_is_heard_on_when_it_is_wanted_again(
    server: Valkey,
) -> None:
    login = Login(parse_url(server.url), "x", 5.0)
    async with opened(login, addresses(login.url)[0]) as connection:
        await connection.subscribe(b"x:again")
        connection.unsubscribe(b"x:again")
        assert not connection.hears(b"x:again")
        await connection.subscribe(b"x:again")
        await connection.settle(always=True)
        assert connection.hears(b"x:again")
        assert await server.ask("SPUBLISH", "x:again", "") == 1


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"))


async def test_a_server_is_reached_over_tls(valkey: str, certificates: Path) -> None:
    async with tls(valkey, certificates) as port:
        config = a_config(
            f"rediss://localhost:{port}", uuid4().hex, tls_ca=str(certificates / "cert.pem")
        )
        async with open_runtime(config) as runtime:
            queue = await a_queue(runtime)
            await queue.insert(*map(str, range(1000)))
            assert len(await queue.reserve_many(1000)) == 1000


async def test_a_server_that_asks_for_a_certificate_gets_it(
    valkey: str, certificates: Path
) -> None:
    files = {
        "tls_ca": str(certificates / "cert.pem"),
        "tls_cert": str(certificates / "cert.pem"),
        "tls_key": str(certificates / "key.pem"),
    }
    async with (
        tls(valkey, certificates, asks=True) as port,
        open_runtime(a_config(f"rediss://127.0.0.1:{port}", uuid4().hex, **files)) as runtime,
    ):
        assert await (await a_queue(runtime)).insert("a") == 1


async def test_a_server_whose_certificate_is_not_trusted_is_refused(
    valkey: str, certificates: Path
) -> None:
    async with (
        tls(valkey, certificates) as port,
        open_runtime(a_config(f"rediss://localhost:{port}", uuid4().hex)) as runtime,
    ):
        queue = await a_queue(runtime)
        with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
            await queue.insert("a")


async def test_a_file_of_certificates_that_is_not_there_is_told() -> None:
    config = a_config("rediss://localhost:1", uuid4().hex, tls_ca="/nowhere/ca.pem")
    async with open_runtime(config) as runtime:
        with pytest.raises(StoreError, match="FileNotFoundError"):
            await (await a_queue(runtime)).insert("a")


# -- what is left behind ---------------------------------------------------------------------------


@pytest.mark.slow
async def test_callers_that_are_cancelled_by_the_hundred_leave_nothing_behind(
    server: Valkey,
) -> None:
    async with open_runtime(a_config(server.url, uuid4().hex)) as runtime:
        queue = await a_queue(runtime)
        await queue.insert("a")
        await queue.delete(await queue.reserve())
        before = str(await server.ask("CLIENT", "LIST")).count("\n")
        tasks = trio.lowlevel.current_statistics().tasks_living
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(queue.reserve)
                    nursery.start_soon(queue.insert, "b")
                await trio.sleep(0.002)
                nursery.cancel_scope.cancel()
            await queue.clear()
        assert await queue.insert("c") == 1
        with trio.fail_after(1):
            assert (await queue.reserve()).value == "c"
        assert str(await server.ask("CLIENT", "LIST")).count("\n") == before
        assert trio.lowlevel.current_statistics().tasks_living == tasks


@pytest.mark.slow
def test_the_client_is_imported_only_where_a_redis_store_is_configured(tmp_path: Path) -> None:
    program = """
import sys, trio, queueactors
import queueactors.cli, queueactors.config, queueactors.queues, queueactors.workers
async def main(stores):
    async with queueactors.open_runtime({"store": stores}) as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=1)
    return "coredis" in sys.modules
print(trio.run(main, {"s": {"type": "sqlite", "path": sys.argv[1]}}))
print(trio.run(main, {"s": {"type": "redis", "url": "unix:///nowhere"}}))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "s")], check=True, capture_output=True
    )
    told = [line for line in ran.stdout.split() if line in {b"False", b"True"}]
    assert told == [b"False", b"True"]


def test_print_does_not_show_the_password(tmp_path: Path) -> None:
    file = tmp_path / "q.toml"
    url = "redis://bob:hunter2@a:1,b:2/3"
    file.write_text(f'schema = 1\n[store.s]\ntype = "redis"\nurl = "{url}"\n')
    config = load_config(file)
    assert "hunter2" not in render(config) + repr(config)
