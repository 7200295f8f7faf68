"""What kumo.mpsc's own test asserts (seed 000), one test each, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from queueactors import Runtime


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    async with open_runtime() as opened:
        yield opened


async def test_another_definition_with_another_limit_is_accepted(runtime: Runtime) -> None:
    queue = await runtime.define("q", kind="channel")

    assert await runtime.define("q", kind="channel", limit=5) is queue


async def test_what_is_sent_comes_in_order_also_through_an_alias(runtime: Runtime) -> None:
    queue = await runtime.define("q", kind="channel")
    alias = await runtime.define("q", kind="channel")

    await queue.send("hello")
    assert await queue.try_send("there")

    assert await queue.recv() == "hello"
    assert await alias.recv() == "there"


async def test_nothing_is_received_from_an_empty_queue(runtime: Runtime) -> None:
    queue = await runtime.define("q", kind="channel")

    with pytest.raises(trio.WouldBlock):  # there: nil
        await queue.try_recv()
    assert await queue.is_empty()
    assert await queue.len() == 0


async def test_many_are_received_at_once_and_no_more_is_waited_for(runtime: Runtime) -> None:
    queue = await runtime.define("q", kind="channel")
    for number in range(1, 11):
        await queue.send(number)

    assert await queue.recv_many(128) == list(range(1, 11))


async def test_a_timeout_does_no_harm_without_a_limit(runtime: Runtime) -> None:
    queue = await runtime.define("q", kind="channel")

    await queue.send_timeout("in time", 1)

    assert await queue.recv() == "in time"


async def test_a_queue_of_one_takes_one(runtime: Runtime) -> None:
    queue = await runtime.define("q", kind="channel", limit=1)

    assert await queue.try_send("first")
    assert not await queue.try_send("second")


async def test_a_send_to_a_full_queue_times_out(
    runtime: Runtime, autojump_clock: MockClock
) -> None:
    queue = await runtime.define("q", kind="channel", limit=1)
    await queue.send("first")
    began = trio.current_time()

    with pytest.raises(trio.TooSlowError):
        await queue.send_timeout("second", 0.05)

    assert trio.current_time() - began == pytest.approx(0.05)


async def test_what_is_received_leaves_room(runtime: Runtime) -> None:
    queue = await runtime.define("q", kind="channel", limit=1)
    await queue.send("first")
    assert (await queue.is_empty(), await queue.len()) == (False, 1)

    assert await queue.try_recv() == "first"

    assert (await queue.is_empty(), await queue.len()) == (True, 0)


async def test_a_send_with_a_timeout_goes_in_where_there_is_room(runtime: Runtime) -> None:
    queue = await runtime.define("q", kind="channel", limit=1)

    await queue.send_timeout("first", 0.05)

    assert await queue.len() == 1


async def test_a_queue_cannot_be_sent(runtime: Runtime) -> None:
    queue = await runtime.define("q", kind="channel")

    with pytest.raises(TypeError, match="queue"):
        await queue.send(queue)

    assert await queue.is_empty()


async def test_an_object_of_ones_own_passes_through_and_works(runtime: Runtime) -> None:
    class Networks:
        """Such as their map of networks, which has opted in; here every class has."""

        def lookup(self, address: str) -> str:
            return f"the network of {address}"

    queue = await runtime.define("q", kind="channel")
    await queue.send({"networks": Networks()})

    received = await queue.recv()

    assert received["networks"].lookup("10.0.0.1") == "the network of 10.0.0.1"
