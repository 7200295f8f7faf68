"""The endpoint: what it answers, to whom, and how long it waits for anybody."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from queueactors import open_runtime
from queueactors.metrics._http import HEAD, PATIENCE, SLOW, Answer, Asked, Connection, plain
from queueactors.metrics._server import CONNECTIONS, MetricsServer
from supervisors import ChildStartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from pathlib import Path

    from queueactors import Runtime
    from queueactors.metrics import Metrics
    from supervisors import Supervisor
    from tests.conftest import Events

    Steps = Callable[[], Generator[None, None, Metrics]]

LISTEN: dict[str, dict[str, object]] = {"metrics": {"listen": "127.0.0.1:0"}}
QUEUE: dict[str, dict[str, object]] = {"queue": {"q": {"kind": "channel"}}}
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSING = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

settle = wait_all_tasks_blocked


def address(runtime: Runtime) -> tuple[str, int]:
    assert runtime.metrics_address is not None
    return runtime.metrics_address


async def everything(stream: trio.abc.ReceiveStream) -> bytes:
    """Read until the end."""
    return b"".join([bytes(part) async for part in stream])


async def ask(runtime: Runtime, request: bytes) -> bytes:
    """Return all that a connection of its own is answered."""
    async with await trio.open_tcp_stream(*address(runtime)) as stream:
        await stream.send_all(request)
        await stream.send_eof()
        return await everything(stream)


async def get(runtime: Runtime, path: str, *headers: str) -> tuple[int, str, str]:
    """Return status, headers and body."""
    lines = "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", "Host: x", *headers))
    told = await ask(runtime, f"{lines}\r\n".encode())
    head, _, body = told.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body.decode()


async def wait_for_restart(runtime: Runtime) -> None:
    group = cast("Supervisor", runtime.supervisor.value_of("front_ends"))
    while not group.restarts:  # noqa: ASYNC110 - a restart, in real time
        await trio.sleep(0.001)


def statuses(answers: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1.1 (\d+)", answers)]


# -- what is served --------------------------------------------------------------------------------


async def test_the_metrics_are_served_as_they_are_in_code() -> None:
    async with open_runtime(LISTEN | QUEUE) as runtime:
        status, head, body = await get(runtime, "/metrics")
        told = runtime.metrics().text()

    assert status == 200
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert body == told
    assert list(parse_text(body))


async def test_whoever_asks_for_openmetrics_gets_it() -> None:
    async with open_runtime(LISTEN | QUEUE) as runtime:
        status, head, body = await get(
            runtime, "/metrics?x=1", "Accept: application/openmetrics-text;version=1.0.0"
        )

    assert status == 200
    assert "application/openmetrics-text; version=1.0.0; charset=utf-8" in head
    assert list(parse_openmetrics(body))  # type: ignore[no-untyped-call]


async def test_health_and_readiness_are_ok_when_everything_is_up() -> None:
    async with open_runtime(LISTEN | QUEUE) as runtime:
        assert (await get(runtime, "/healthz"))[::2] == (200, "ok\n")
        assert (await get(runtime, "/readyz"))[::2] == (200, "ok\n")


async def test_a_parked_child_is_healthy_and_not_ready() -> None:
    async def never(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        raise RuntimeError("boom")

    child = {"start": never, "id": "bad", "on_give_up": "park"}
    async with open_runtime(
        LISTEN | {"supervisor": {"s": {"intensity": 0, "child": [child]}}}
    ) as runtime:
        assert (await get(runtime, "/healthz"))[0] == 200
        assert (await get(runtime, "/readyz"))[::2] == (
            503,
            "queueactors/supervisors/supervisor.s/bad is parked\n",
        )


async def test_a_failing_store_is_not_ready(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = {"type": "sqlite", "path": f"{tmp_path}/d.sqlite"}
    async with open_runtime(LISTEN | {"store": {"disk": disk}}) as runtime:
        store = runtime._stores["disk"]  # noqa: SLF001
        monkeypatch.setattr(store._actor, "works", trio.Event())  # type: ignore[attr-defined] # noqa: SLF001

        assert (await get(runtime, "/readyz"))[::2] == (503, "store disk fails\n")


async def test_a_store_that_an_operator_has_stopped_is_down_all_the_same(tmp_path: Path) -> None:
    disk = {"type": "sqlite", "path": f"{tmp_path}/d.sqlite"}
    async with open_runtime(LISTEN | {"store": {"disk": disk}}) as runtime:
        await runtime.stop("store.disk")
        assert (await get(runtime, "/readyz"))[::2] == (503, "store disk fails\n")

        await runtime.start("store.disk")
        assert (await get(runtime, "/readyz"))[0] == 200


async def test_what_an_operator_has_stopped_is_meant_to_be_down() -> None:
    async with open_runtime(LISTEN | QUEUE) as runtime:
        await runtime.stop("q")

        assert (await get(runtime, "/readyz"))[0] == 200


# -- what http asks for ----------------------------------------------------------------------------


async def test_head_is_answered_like_get_without_the_body() -> None:
    async with open_runtime(LISTEN | QUEUE) as runtime:
        got = await ask(runtime, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await ask(runtime, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")

    assert head == got.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /x HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 200),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 413),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"PUT /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", 413),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET /healthz", 400),
    ],
)
async def test_a_request_is_answered_with(request_: bytes, status: int) -> None:
    async with open_runtime(LISTEN) as runtime:
        assert statuses(await ask(runtime, request_)) == [status]


async def test_a_method_that_is_not_allowed_is_told_which_are() -> None:
    async with open_runtime(LISTEN) as runtime:
        told = await ask(runtime, b"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n")

    assert b"\r\nAllow: GET, HEAD\r\n" in told


async def test_http_1_0_is_answered_and_closed() -> None:
    async with (
        open_runtime(LISTEN) as runtime,
        await trio.open_tcp_stream(*address(runtime)) as stream,
    ):
        await stream.send_all(b"GET /healthz HTTP/1.0\r\n\r\n")

        told = await everything(stream)

    assert told.endswith(b"\r\n\r\nok\n")


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with (
        open_runtime(LISTEN) as runtime,
        await trio.open_tcp_stream(*address(runtime)) as stream,
    ):
        for _ in range(3):
            await stream.send_all(GET)
            assert statuses(bytes(await stream.receive_some())) == [200]


async def test_requests_that_come_together_are_answered_in_their_order() -> None:
    asked = b"".join(
        f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        for path in ("/healthz", "/none", "/readyz", "/metrics")
    )
    async with open_runtime(LISTEN) as runtime:
        told = await ask(runtime, asked + CLOSING + GET)

    assert statuses(told) == [200, 404, 200, 200, 200]
    assert told.endswith(b"ok\n")


# -- limits ----------------------------------------------------------------------------------------


async def test_a_head_that_is_too_large_is_refused() -> None:
    async with open_runtime(LISTEN) as runtime:
        line = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "
        assert statuses(await ask(runtime, line + b"x" * (HEAD + 8192))) == [431]
        fits = line + b"x" * (HEAD - len(line) - 100) + b"\r\n\r\n"
        assert statuses(await ask(runtime, fits)) == [200]


@asynccontextmanager
async def served(
    *, crowded: bool = False
) -> AsyncIterator[tuple[trio.abc.HalfCloseableStream, list[str]]]:
    """Serve one connection in memory; yield the client's side, and what was asked."""
    asked: list[str] = []

    async def answer(what: Asked) -> Answer:
        asked.append(what.path)
        await trio.lowlevel.checkpoint()
        return plain(HTTPStatus.OK, "ok")

    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(server, answer, lambda: crowded, {}).serve)
        yield client, asked
        nursery.cancel_scope.cancel()


async def test_who_says_nothing_is_waited_for_no_longer_than_this(
    autojump_clock: MockClock,
) -> None:
    async with served() as (client, asked):
        start = trio.current_time()
        assert await everything(client) == b""

    assert trio.current_time() - start == PATIENCE
    assert asked == []


async def test_a_byte_now_and_then_does_not_prolong_it(autojump_clock: MockClock) -> None:
    async with served() as (client, asked):
        start = trio.current_time()
        with suppress(trio.BrokenResourceError):
            while trio.current_time() < start + 10 * PATIENCE:
                await client.send_all(b"G")
                await trio.sleep(1)

    assert PATIENCE <= trio.current_time() - start <= PATIENCE + 2
    assert asked == []


async def test_between_two_requests_it_is_waited_as_long(autojump_clock: MockClock) -> None:
    async with served() as (client, asked):
        await client.send_all(GET)
        await trio.sleep(PATIENCE / 2)
        await client.send_all(GET)
        await trio.sleep(PATIENCE / 2)
        await client.send_all(GET)
        start = trio.current_time()
        await everything(client)

    assert asked == ["/healthz"] * 3
    assert trio.current_time() - start == PATIENCE


async def test_while_others_wait_for_its_place_a_connection_has_one_answer(
    autojump_clock: MockClock,
) -> None:
    async with served(crowded=True) as (client, asked):
        await client.send_all(GET + GET)
        told = await everything(client)

    assert b"\r\nConnection: close\r\n" in told
    assert asked == ["/healthz"]


@pytest.mark.slow
async def test_no_more_than_this_are_served_at_a_time() -> None:
    async with open_runtime(LISTEN) as runtime:
        busy = []
        for _ in range(CONNECTIONS):
            stream = await trio.open_tcp_stream(*address(runtime))
            await stream.send_all(GET[:5])
            busy.append(stream)
        await settle()
        async with await trio.open_tcp_stream(*address(runtime)) as waiting:
            await waiting.send_all(GET)
            with trio.move_on_after(0.2):
                pytest.fail(f"it was answered: {await waiting.receive_some()!r}")
            await busy[0].aclose()  # a place
            assert statuses(bytes(await waiting.receive_some())) == [200]
        for stream in busy:
            await stream.aclose()


@pytest.mark.parametrize(("crowded", "seconds"), [(False, PATIENCE), (True, SLOW)])
async def test_who_does_not_read_is_left(
    crowded: bool,  # noqa: FBT001 - a parameter
    seconds: float,
    autojump_clock: MockClock,
) -> None:
    class Deaf(trio.abc.HalfCloseableStream):
        sent = False
        closed = False

        async def receive_some(self, _max_bytes: int | None = None) -> bytes:
            await trio.lowlevel.checkpoint()
            self.sent = True
            return GET

        async def send_all(self, _data: object) -> None:
            await trio.sleep_forever()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def send_eof(self) -> None:
            await trio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            self.closed = True
            await trio.lowlevel.checkpoint()

    async def answer(_asked: Asked) -> Answer:
        await trio.lowlevel.checkpoint()
        return plain(HTTPStatus.OK, "ok")

    stream = Deaf()
    start = trio.current_time()

    await Connection(stream, answer, lambda: crowded, {}).serve()

    assert trio.current_time() - start == seconds
    assert stream.closed


@pytest.mark.slow
async def test_two_hundred_at_once_are_all_answered() -> None:
    answers: list[list[int]] = []

    async def one(runtime: Runtime) -> None:
        answers.append(statuses(await ask(runtime, GET)))

    async with open_runtime(LISTEN | QUEUE) as runtime, trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(one, runtime)

    assert answers == [[200]] * 200


@pytest.mark.slow
async def test_idle_connections_make_room_for_new_ones() -> None:
    async with open_runtime(LISTEN) as runtime:
        idle = []
        for _ in range(CONNECTIONS):
            stream = await trio.open_tcp_stream(*address(runtime))
            await stream.send_all(GET)
            assert statuses(bytes(await stream.receive_some())) == [200]
            idle.append(stream)
        with trio.fail_after(PATIENCE / 2):
            told = await ask(runtime, GET)
            first = await idle[0].receive_some()
        for stream in idle:
            await stream.aclose()

    assert statuses(told) == [200]
    assert first == b""


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"GET /met", b"", GET[:-2]])
async def test_who_is_slow_at_a_first_request_makes_room_for_others(sent: bytes) -> None:
    async with open_runtime(LISTEN) as runtime:
        slow = []
        for _ in range(3 * CONNECTIONS):
            stream = await trio.open_tcp_stream(*address(runtime))
            await stream.send_all(sent)
            slow.append(stream)
        with trio.fail_after(PATIENCE / 2):
            told = await ask(runtime, GET)
        for stream in slow:
            await stream.aclose()

    assert statuses(told) == [200]


# -- strangers -------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_request_may_come_in_two_parts_of_any_size(autojump_clock: MockClock) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\nAccept: a\r\nAccept: b\r\n\r\n"
    for at in range(1, len(whole)):
        async with served() as (client, asked):
            await client.send_all(whole[:at])
            await settle()
            await client.send_all(whole[at:])
            assert statuses(bytes(await client.receive_some())) == [200]
        assert asked == ["/healthz"]


@pytest.mark.slow
async def test_who_leaves_at_any_byte_harms_nobody() -> None:
    async with open_runtime(LISTEN) as runtime:
        for at in range(len(GET) + 1):
            async with await trio.open_tcp_stream(*address(runtime)) as stream:
                await stream.send_all(GET[:at])
        for _ in range(10):
            stream = await trio.open_tcp_stream(*address(runtime))
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
            stream.socket.close()
        assert (await get(runtime, "/healthz"))[0] == 200
        restarts = runtime.metrics().value(
            "queueactors_supervisor_restarts", supervisor="queueactors/front_ends"
        )

    assert restarts == 0


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.binary(max_size=80)
        | st.sampled_from([GET, GET[:20], b"\r\n", b"\r\n\r\n", b"POST / HTTP/1.1\r\n", CLOSING])
        | st.from_regex(rb"[A-Z]{1,8} [!-~]{1,20} HTTP/1\.[01]\r\n(Host: x\r\n)?\r\n"),
        max_size=6,
    )
)
@example(parts=[b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"])
@example(parts=[b"GET \xff HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_any_bytes_are_answered_or_left_and_nothing_breaks(parts: list[bytes]) -> None:
    async def main() -> None:
        async with served() as (client, _asked):
            try:
                for part in parts:
                    await client.send_all(part)
                    await settle()
                await client.send_eof()
            except trio.BrokenResourceError:
                pass
            told = await everything(client)
        assert not told or told.startswith(b"HTTP/1.1 ")
        assert set(statuses(told)) <= {200, 400, 413, 431, 501}

    trio.run(main, clock=MockClock(autojump_threshold=0))


# -- its place in the tree -------------------------------------------------------------------------


async def test_it_stands_in_the_last_group_and_tells_where_it_listens(events: Events) -> None:
    async with open_runtime(LISTEN) as runtime:
        groups = [each.id for each in runtime.tree().children]
        host, port = address(runtime)

    assert groups == ["stores", "queues", "supervisors", "workers", "front_ends"]
    assert runtime.metrics_address is None
    listening = [each for each in events if each["event"] == "metrics_listening"]
    assert [(each["host"], each["port"]) for each in listening] == [(host, port)]
    assert host == "127.0.0.1"


async def test_without_an_address_nothing_listens(autojump_clock: MockClock) -> None:
    async with open_runtime(QUEUE) as runtime:
        assert runtime.metrics_address is None
        assert "front_ends" not in [each.id for each in runtime.tree().children]


async def test_a_crash_of_it_is_its_own_and_it_comes_back_where_it_was() -> None:
    async with open_runtime(LISTEN | QUEUE) as runtime:
        before = address(runtime)
        server = cast("MetricsServer", runtime._front_ends.metrics)  # noqa: SLF001

        def boom() -> list[str]:
            server._not_ready = runtime.not_ready  # noqa: SLF001
            raise RuntimeError("boom")

        server._not_ready = boom  # noqa: SLF001
        assert await ask(runtime, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        with trio.fail_after(5):
            await wait_for_restart(runtime)
        after = address(runtime)
        ready = await get(runtime, "/readyz")
        metrics = runtime.metrics()

    assert after == before
    assert ready[0] == 200
    restarts = "queueactors_supervisor_restarts"
    assert metrics.value(restarts, supervisor="queueactors/front_ends") == 1
    assert metrics.value(restarts, supervisor="queueactors/queues") == 0
    assert metrics.value("queueactors_queue_restarts", queue="q", kind="channel") == 0


async def test_a_port_that_is_taken_is_told_with_its_address() -> None:
    async with open_runtime(LISTEN) as runtime:
        port = address(runtime)[1]
        with pytest.raises(ChildStartError) as caught:
            async with open_runtime({"metrics": {"listen": f"127.0.0.1:{port}"}}):
                pass

    error: BaseException | None = caught.value
    while error is not None and error.__cause__ is not None and not isinstance(error, OSError):
        error = error.__cause__
    assert re.search(
        rf"the metrics cannot be served at 127\.0\.0\.1, port {port}: .*in use", str(error)
    )


async def test_a_stop_waits_for_no_client() -> None:
    async with open_runtime(LISTEN) as runtime:
        slow = [await trio.open_tcp_stream(*address(runtime)) for _ in range(3)]
        await slow[0].send_all(GET[:10])
        await slow[1].send_all(GET)
        await slow[1].receive_some()
        start = trio.current_time()

    assert trio.current_time() - start < 1
    for stream in slow:
        await stream.aclose()


async def test_ipv6_is_served_where_there_is_some() -> None:
    try:
        async with open_runtime({"metrics": {"listen": "[::1]:0"}}) as runtime:
            assert (await get(runtime, "/healthz"))[0] == 200
    except ChildStartError:
        pytest.skip("this machine has no IPv6")


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected listen to be an address and a port, got "):
        MetricsServer("x", cast("Steps", list), list)
