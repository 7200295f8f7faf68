"""A dynamic pool: sessions that come and go, at most three at a time.

Each session is a child that holds one TCP connection and passes on what it receives. The sessions
are `transient`: one that has said goodbye is gone, one that lost its connection is started again.

- ``weather`` ends by itself.
- ``news`` loses its connection, crashes, and is back with a new one.
- ``sport`` is terminated, and so there is room for ``chess``, which was refused before.

    python examples/pool.py

What the program prints goes to standard output, what the supervisor logs to standard error.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import structlog
import trio

from supervisors import ChildSpec, MaxChildrenError, open_dynamic_supervisor

if TYPE_CHECKING:
    from supervisors import ChildStatus

lose = {"news"}  # of these topics the server loses the first connection


async def serve(stream: trio.SocketStream) -> None:
    """Be the server: send lines about the topic that a client asks for."""
    topic = (await stream.receive_some(100)).decode()
    await stream.send_all(b"hello")
    await trio.sleep(0.05)
    if topic in lose:
        lose.remove(topic)
    elif topic == "weather":
        await stream.send_all(b"goodbye")
    else:
        await trio.sleep_forever()


async def session(
    topic: str, port: int, lines: trio.MemorySendChannel[str], *, task_status: ChildStatus
) -> None:
    """Hold one connection: a child of the pool."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(topic.encode())
        task_status.started(stream.socket.getsockname())  # `DynamicChild.value`
        async for data in stream:
            await lines.send(f"{topic}: {data.decode()}")
            if data == b"goodbye":
                return
    raise ConnectionError(f"{topic}: the server hung up")


async def run(port: int) -> None:
    """Open the pool, and play with it."""
    send, lines = trio.open_memory_channel[str](0)

    def spec(topic: str) -> ChildSpec:
        return ChildSpec(
            id=topic, start=session, args=(topic, port, send), restart="transient", init_timeout=5
        )

    async with open_dynamic_supervisor(max_children=3, intensity=10, name="pool") as pool:
        await pool.start_child(spec("weather"))
        news = await pool.start_child(spec("news"))
        sport = await pool.start_child(spec("sport"))
        print(pool.tree())
        try:
            await pool.start_child(spec("chess"))
        except MaxChildrenError as error:
            print("refused:", error)

        first = news.value
        heard: list[str] = []
        while heard.count("news: hello") < 2 or "weather: goodbye" not in heard:
            heard.append(await lines.receive())
        print(*sorted(heard), sep="\n")
        print("news has a new connection:", news.value != first)  # the same handle

        await sport.terminate()
        await pool.start_child(spec("chess"))
        print(await lines.receive())
        print(pool.tree())
    print("the pool is closed:", news)


async def main() -> None:
    """Run the server and the pool."""
    async with trio.open_nursery() as world:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        world.start_soon(trio.serve_listeners, serve, [listener])
        await run(listener.socket.getsockname()[1])
        world.cancel_scope.cancel()


if __name__ == "__main__":
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    trio.run(main)
