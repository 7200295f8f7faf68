"""Clients that hang, flood, talk nonsense or never read: they harm nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from queueactors.control import ControlClosedError, ControlError, open_control
from queueactors.control._connection import FREE, Budget, Call, Connection, Limits
from queueactors.control._socket import Peer

from .kit import Raw, controlled, fault, raw, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from supervisors import Supervisor
    from tests.conftest import Events

QUEUE: dict[str, dict[str, object]] = {"q": {"kind": "timed", "reservation_time": 30}}
LIMITS = Limits(max_line=1000, requests=3, timeout=10.0)


def one_connection(
    stream: trio.abc.Stream, answer: Callable[[Call], Awaitable[object]], budget: int = 1 << 30
) -> Connection:
    return Connection(stream, Peer(1, 0), b"hello\n", answer, LIMITS, Budget(budget))


async def echo(call: Call) -> object:
    return call.method


# -- a whole server --------------------------------------------------------------------------------


async def test_several_requests_are_answered_as_they_get_ready(tmp_path: Path) -> None:
    async with serving(tmp_path, queue=QUEUE), raw(tmp_path) as client:
        await client.say({"id": 1, "method": "reserve", "params": {"queue": "q", "wait": None}})
        assert (await client.ask(2, "queues"))["id"] == 2
        await client.say({"id": 3, "method": "insert", "params": {"queue": "q", "values": [1]}})
        ids = {(await client.line())["id"], (await client.line())["id"]}

    assert ids == {1, 3}


async def test_nonsense_is_told_and_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path), raw(tmp_path) as client, raw(tmp_path) as other:
        await client.say(b"GET / HTTP/1.1\r\n\r\n")
        assert "expected a request" in fault(await client.line())
        assert await client.line() == {}
        assert "result" in await other.ask(1, "status")


async def test_a_method_or_parameter_that_is_not_there_ends_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path), raw(tmp_path) as client:
        assert fault(await client.ask(1, "statsu")) == (
            "there is no method 'statsu' (did you mean 'stats'?)"
        )
        assert fault(await client.ask(2, "stats", quue="q")) == (
            "stats has no parameter 'quue' (did you mean 'queue'?)"
        )
        assert "missing required field `queue`" in fault(await client.ask(3, "stats"))
        assert "Expected `str`, got `int`" in fault(await client.ask(4, "stats", queue=1))
        assert "result" in await client.ask(5, "status")


async def test_a_request_that_is_under_way_has_its_number_for_itself(tmp_path: Path) -> None:
    wait = {"id": 1, "method": "reserve", "params": {"queue": "q", "wait": None}}
    async with serving(tmp_path, queue=QUEUE), raw(tmp_path) as client:
        await client.say(wait, wait)
        assert "request 1 is under way already" in fault(await client.line())


async def test_the_number_of_a_request_that_was_answered_may_be_used_at_once(
    tmp_path: Path,
) -> None:
    ask = {"method": "resume", "params": {"queue": "q"}}
    async with serving(tmp_path, queue=QUEUE), raw(tmp_path) as client:
        for _ in range(100):
            await client.say(*({"id": number, **ask} for number in range(16)))
            for _ in range(16):
                assert "result" in await client.line()
            assert "result" in await client.ask(1, "resume", queue="q")


async def test_a_cancelled_request_ends_and_takes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, queue=QUEUE), raw(tmp_path) as client:
        await client.say(
            {"id": 1, "method": "reserve", "params": {"queue": "q", "wait": None}},
            {"id": 1, "cancel": True},
            {"id": 9, "cancel": True},
        )
        assert (await client.line())["error"] == {
            "type": "Cancelled",
            "message": "the request was cancelled",
        }
        await client.ask(2, "insert", queue="q", values=[1])
        assert (await client.ask(3, "stats", queue="q"))["result"]["queue"]["at_hand"] == 1  # type: ignore[index] # JSON


async def test_what_a_client_that_left_waits_for_stays(tmp_path: Path) -> None:
    async with serving(tmp_path, queue=QUEUE) as runtime:
        async with raw(tmp_path) as client:
            await client.say({"id": 1, "method": "reserve", "params": {"queue": "q", "wait": None}})
            await client.ask(2, "status")
        queue = runtime.queue("q")
        with trio.fail_after(5):  # at once, not when its time is over
            while (await queue.statistics()).waiting:  # noqa: ASYNC110 - until it is noticed
                await trio.sleep(0.001)
        await queue.insert("x")

        assert (await queue.statistics()).ready == 1


async def test_whoever_has_said_all_gets_the_answers(tmp_path: Path) -> None:
    async with serving(tmp_path), raw(tmp_path) as client:
        await client.say({"id": 1, "method": "status"}, {"id": 2, "method": "tree"})
        await client.stream.send_eof()

        assert {(await client.line())["id"], (await client.line())["id"]} == {1, 2}
        assert await client.line() == {}


@pytest.mark.slow
async def test_a_hundred_clients_are_served_at_once(tmp_path: Path) -> None:
    done = 0

    async def work(number: int) -> None:
        nonlocal done
        async with open_control(tmp_path / "control.sock") as client:
            for each in range(5):
                await client.insert("q", [number, each])
            done += 1
            await everybody.wait()

    everybody = trio.Event()
    async with serving(tmp_path, queue=QUEUE) as runtime:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(work, number)
                while done < 100:  # noqa: ASYNC110 - real time
                    await trio.sleep(0.005)
                everybody.set()

        assert await runtime.queue("q").len() == 500


async def test_a_client_too_many_takes_the_place_of_one_that_asks_nothing(tmp_path: Path) -> None:
    wait = {"id": 1, "method": "reserve", "params": {"queue": "q", "wait": None}}
    async with (
        serving(tmp_path, queue=QUEUE, control={"clients": 2}),
        raw(tmp_path) as first,
        raw(tmp_path) as second,
    ):
        await second.say(wait)
        await first.ask(1, "status")
        await wait_all_tasks_blocked(0.01)
        async with raw(tmp_path) as third:
            assert await first.line() == {}
            await third.say({"id": 1, "method": "logs"})
            await wait_all_tasks_blocked(0.01)
            with pytest.raises(ControlError, match=r"^all 2 places are taken"):
                async with open_control(tmp_path / "control.sock"):
                    pass


async def test_an_answer_of_16_mib_arrives(tmp_path: Path) -> None:
    value = "x" * (16 << 20)
    async with controlled(tmp_path, queue=QUEUE) as (_, client):
        await client.insert("q", value)
        async with await client.peek("q") as messages:
            (peeked,) = [each async for each in messages]
        taken = await client.reserve("q")

    assert peeked.value == value
    assert taken is not None
    assert taken.value == value


async def test_a_restarted_server_is_at_the_same_place(tmp_path: Path) -> None:
    async with serving(tmp_path) as runtime:
        async with raw(tmp_path):
            await runtime.restart("control")
        async with open_control(tmp_path / "control.sock") as client:
            assert (await client.status()).ready


async def test_the_end_of_the_server_is_told_to_whoever_waits(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUE) as (runtime, client):
        async with await client.logs() as events, trio.open_nursery() as nursery:
            nursery.start_soon(runtime.stop, "control")
            with pytest.raises(ControlClosedError):
                async for _ in events:
                    pass
        with pytest.raises(ControlClosedError):
            await client.status()


LINES = st.lists(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda number, method, params, more: {
                "id": number,
                "method": method,
                "params": params,
                **more,
            },
            st.one_of(st.integers(-2, 5), st.none(), st.text(max_size=3)),
            st.sampled_from(["status", "peek", "insert", "reserve", "logs", "top", "stop", "x", 1]),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5)),
                lambda inner: st.one_of(
                    st.lists(inner, max_size=3),
                    st.dictionaries(
                        st.sampled_from(["queue", "values", "limit", "wait", "level", "data", "z"]),
                        st.one_of(inner, st.sampled_from(["q", "control"])),
                        max_size=4,
                    ),
                ),
                max_leaves=8,
            ),
            st.sampled_from([{}, {"cancel": True}, {"queueactors": 2}, {"more": 1}]),
        ),
    ),
    max_size=8,
)


@pytest.mark.slow
def test_whatever_anybody_says_the_server_lives_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(LINES)
    def check(lines: list[object]) -> None:
        async def main() -> None:
            async with serving(folder, queue=QUEUE) as runtime:
                with trio.fail_after(10):
                    async with raw(folder) as client:
                        for line in lines:
                            try:
                                await client.say(line)
                            except trio.BrokenResourceError:
                                break
                    async with raw(folder) as other:
                        assert "result" in await other.ask(1, "status")
                front_ends = cast("Supervisor", runtime.supervisor.value_of("front_ends"))
                assert front_ends.restarts == 0

        trio.run(main)

    check()


# -- one connection, in virtual time ---------------------------------------------------------------


async def test_a_line_that_does_not_end_ends_the_connection(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one_connection(theirs, echo).serve)
        client = Raw(cast("trio.SocketStream", ours))
        assert await ours.receive_some() == b"hello\n"
        begun = trio.current_time()
        await ours.send_all(b'{"id"')
        await trio.sleep(6)
        await ours.send_all(b": 1")  # a drop at a time

        assert "to end within 10 seconds" in fault(await client.line())
        assert trio.current_time() == begun + 10
        assert await client.line() == {}


async def test_who_has_asked_nothing_may_stay_silent(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one_connection(theirs, echo).serve)
        await ours.receive_some()
        await trio.sleep(80_000)
        await ours.send_all(b'{"id": 1, "method": "x"}\n')

        assert await ours.receive_some() == b'{"id":1,"result":"x"}\n'
        await ours.aclose()


async def test_who_reads_nothing_is_dropped_in_its_time(
    autojump_clock: MockClock, events: Events
) -> None:
    _, theirs = memory_stream_pair()
    theirs.send_stream.send_all_hook = trio.sleep_forever
    theirs.receive_stream.put_data(b'{"id": 1, "method": "x"}\n')

    await one_connection(theirs, echo).serve()

    assert trio.current_time() == 10
    assert [each["event"] for each in events] == ["control_client_dropped"]


async def test_what_nobody_got_is_given_back(autojump_clock: MockClock) -> None:
    given_back = []

    async def take(call: Call) -> object:
        async def back() -> None:
            given_back.append(trio.current_time())

        call.give_back = back
        return "taken"

    for leaves in (False, True):
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one_connection(theirs, take).serve)
            await ours.receive_some()
            if leaves:
                ours.receive_stream.close()
            await ours.send_all(b'{"id": 1, "method": "x"}\n')
            if not leaves:
                assert b"taken" in await ours.receive_some()
            await ours.aclose()
        assert len(given_back) == leaves


async def test_requests_have_a_bound(autojump_clock: MockClock) -> None:
    async def wait(call: Call) -> object:
        await trio.sleep(60)  # long after the test
        return None

    ours, theirs = memory_stream_pair()
    client = Raw(cast("trio.SocketStream", ours))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one_connection(theirs, wait).serve)
        await ours.receive_some()
        for number in range(4):
            await client.say({"id": number, "method": "x"})

        assert fault(await client.line()) == "3 requests are under way; wait for one to end"
        await client.say({"id": 1, "cancel": True})
        assert (await client.line())["id"] == 1
        await ours.aclose()


async def test_an_error_that_nobody_expected_ends_one_request(events: Events) -> None:
    async def fail(call: Call) -> object:
        raise ZeroDivisionError("oh")

    ours, theirs = memory_stream_pair()
    client = Raw(cast("trio.SocketStream", ours))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one_connection(theirs, fail).serve)
        await ours.receive_some()
        assert (await client.ask(1, "x"))["error"] == {"type": "ZeroDivisionError", "message": "oh"}
        assert "error" in await client.ask(2, "x")
        await ours.aclose()

    assert [each["event"] for each in events] == ["control_failed"] * 2


async def test_a_stream_whose_reader_leaves_is_closed(autojump_clock: MockClock) -> None:
    closed = trio.Event()

    async def count() -> AsyncGenerator[object, None]:
        try:
            for number in range(1_000_000):
                yield number
                await trio.sleep(1)
        finally:
            closed.set()

    async def stream(call: Call) -> object:
        return count()

    ours, theirs = memory_stream_pair()
    client = Raw(cast("trio.SocketStream", ours))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one_connection(theirs, stream).serve)
        await ours.receive_some()
        assert await client.ask(1, "x") == {"id": 1, "item": 0}
        await ours.aclose()

    assert closed.is_set()


def test_the_budget_counts_what_is_large_and_all_of_it_comes_back() -> None:
    budget = Budget(1000)
    budget.change(0, FREE + 600)
    with pytest.raises(ControlError, match="others have sent much, too"):
        budget.change(0, FREE + 401)
    budget.change(0, FREE)
    budget.change(FREE + 600, FREE + 1000)
    budget.change(FREE + 1000, 0)

    assert budget.used == 0


async def test_lines_that_are_begun_have_a_bound_together(autojump_clock: MockClock) -> None:
    limits = Limits(max_line=1 << 20, requests=3, timeout=10.0)
    budget = Budget(100_000)
    pairs = [memory_stream_pair() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for _, theirs in pairs:
            connection = Connection(theirs, Peer(1, 0), b"hello\n", echo, limits, budget)
            nursery.start_soon(connection.serve)
        told = []
        for ours, _ in pairs:
            await ours.receive_some()
            for _ in range(2):
                await ours.send_all(b"x" * 60_000)
                await wait_all_tasks_blocked()
        for ours, _ in pairs[1:]:
            with trio.move_on_after(1):
                told.append(bytes(await ours.receive_some()))
        for ours, _ in pairs:
            await ours.aclose()

    assert len(told) == 2  # the first has what there is
    assert all(b'"Busy"' in each and b"others have sent much" in each for each in told)
    assert budget.used == 0
