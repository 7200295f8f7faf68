"""Tells a web service of each file in a folder: web-hooks with dedupe, backoff and dead letters.

The service is a local one, and a bad one: it fails at random, is sometimes slow or busy, refuses
some events for good, and for some it is down all the time. Events are queued by their content's
hash, so a file that is there twice is told once. A worker sends them, eight at a time. What fails
is tried again after a growing backoff, up to six times; what the service refuses is not tried
again. Both end as dead letters, with their error.

    python examples/webhooks.py [FOLDER]
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import structlog
import trio

from queueactors import (
    DeadLetter,
    Delivery,
    Error,
    Retry,
    Success,
    exp_backoff,
    open_runtime,
    wait_until_idle,
)

if TYPE_CHECKING:
    from queueactors import MessageQueue

ATTEMPTS: Final = 6
WINDOW: Final = 3600.0  # seconds in which the same content is not told again
SLOW: Final = 1.0  # seconds that the sender waits for the service


class Service:
    """A web service that leaves something to be desired.

    Args:
      dice: Decides what goes wrong.
    """

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._asked: Counter[str] = Counter()
        self.told: set[str] = set()  # the events that have arrived

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one request."""
        async with stream:
            _, body = await _read(stream)
            event = json.loads(body)
            self._asked[event["path"]] += 1
            luck = self._dice.random() if self._asked[event["path"]] < ATTEMPTS else 1.0
            if event["path"].endswith("__init__.py"):
                status = "410 Gone"  # it does not want those, ever
            elif event["size"] % 10 == 3 or luck < 0.2:
                status = "503 Service Unavailable"
            elif luck < 0.25:
                status = "429 Too Many Requests"
            elif luck < 0.3:
                await trio.sleep(10 * SLOW)
                status = "200 OK"
            else:
                self.told.add(event["path"])
                status = "200 OK"
            await stream.send_all(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())


async def send(delivery: Delivery, port: int) -> Success | Retry | Error:
    """Send one event; say what became of it. What raises is tried again as well."""
    body = json.dumps(delivery.value).encode()
    request = f"POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with trio.fail_after(SLOW):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(request.encode() + body)
            head, _ = await _read(stream)
    status = int(head.split()[1])
    if status == 200:
        return Success(backoff=WINDOW)
    if status == 429:
        return Retry(backoff=0.05)  # else: when the worker's backoff says
    if status == 503:
        raise ConnectionError("the service is down")
    return Error(f"the service says {status}")


async def collect(delivery: Delivery, given_up: list[DeadLetter]) -> None:
    """Take note of an event that could not be told."""
    given_up.append(delivery.value)


async def _read(stream: trio.SocketStream) -> tuple[str, bytes]:
    """Return the head and the body of a request or an answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        some = await stream.receive_some()
        if not some:
            raise ConnectionError("closed in the middle")
        data += some
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += await stream.receive_some()
    return head.decode(), body


async def ask(hooks: MessageQueue, folder: Path) -> Counter[str]:
    """Queue an event for each file; return what came of it, by what was answered."""
    answers: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.py")):  # noqa: ASYNC240 - a small folder
        content = path.read_bytes()
        event = {"path": str(path.relative_to(folder)), "size": len(content)}
        answer = await hooks.enqueue(event, hashlib.sha256(content).hexdigest())
        answers[answer.action or answer.error or ""] += 1
    return answers


async def main(folder: Path) -> None:
    """Tell the service of all files, twice, and show what it got."""
    service = Service(Random(7))  # noqa: S311 - a service that fails the same way each time
    async with trio.open_nursery() as nursery, open_runtime() as runtime:
        listeners = await nursery.start(partial(trio.serve_tcp, service.serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        hooks = await runtime.define("hooks", kind="message", lock_time=30)
        dead = await runtime.define("dead", kind="message")

        print("asked:      ", dict(await ask(hooks, folder)))
        await runtime.start_worker(
            hooks,
            send,
            args=[port],
            concurrency=8,
            max_attempts=ATTEMPTS,
            backoff=partial(exp_backoff, factor=0.01, max=0.5),
            dead_letter="dead",
        )
        given_up: list[DeadLetter] = []
        await runtime.start_worker(dead, collect, args=[given_up])
        await wait_until_idle(runtime)
        print("asked again:", dict(await ask(hooks, folder)))  # only what failed goes in again
        await wait_until_idle(runtime)

        reasons = Counter(letter.error for letter in given_up)
        print("delivered:  ", len(service.told), "events")
        for reason, number in sorted(reasons.items()):
            print("dead:       ", number, "events:", reason)
        counts = runtime.worker("hooks").status().statistics.counts
        print("attempts:   ", {key: counts[key] for key in ("success", "retry", "error")})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    trio.run(main, Path(sys.argv[1]) if sys.argv[1:] else Path(json.__file__).parents[1] / "email")
