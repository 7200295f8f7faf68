"""A program that is killed again and again: queues in a store under load, and a log of what came.

Run as a program it reads lines from its standard input, ``FILE LOG SEED``. For each it forks a
child that opens the store and works until it is killed, answers with the child's process id, and,
when the child is dead, with ``over`` and its exit status. (A new interpreter takes 300 ms each
time; a fork takes 5.)

The log has one line a fact, written before an operation begins and after it was acknowledged, by a
single write to a file that is only appended to. A kill may cut a long one short: then it counts as
not written, and its operation as not begun, or not acknowledged.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

import attrs
import msgspec
import structlog
import trio

from queueactors import retry
from queueactors.cores import _chunks
from queueactors.cores.batch import NEVER
from queueactors.cores.capacity import CapacityCore
from tests.stores.kit import (
    LONG,
    define,
    define_batches,
    define_capacity,
    define_log,
    define_messages,
    in_memory,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from queueactors import (
        BatchQueue,
        CapacityQueue,
        LogQueue,
        MessageQueue,
        Reservation,
        TimedQueue,
    )
    from queueactors.cores.log import LogCore
    from queueactors.engines import LocalEngine
    from tests.stores.kit import Seen

SHARED = ("one", "two")  # several tasks work on each of them
OWN = ("own-1", "own-2")  # a single task works on each of them, so all is in order
NAMED = ("named-1", "named-2")  # message queues; a single task works on each of them
BATCHED = "batched"  # a batch queue: a single task pushes, and a single worker processes
CAPPED = "capped"  # a capacity queue: a single task works on it
LOGGED = "logged"  # a log queue: likewise
UNIQUE = "unique"
TASKS = 6


@attrs.define
class Log:
    """Appends lines to a file."""

    descriptor: int
    operations: int = 0

    def write(self, *facts: object) -> None:
        os.write(self.descriptor, json.dumps(facts).encode() + b"\n")

    async def call(self, queue: str, what: str, about: object, call: Awaitable[object]) -> object:
        """Write down that an operation begins, and what it answered."""
        self.operations += 1
        number = self.operations
        self.write("begin", number, queue, what, about)
        answer = await call
        self.write("done", number, _plain(answer))
        return answer


def _plain(answer: object) -> object:
    if isinstance(answer, tuple) and hasattr(answer, "_asdict"):
        facts: dict[str, object] = answer._asdict()
        return facts | {"value": _text(facts["value"])}
    return answer


def _text(value: object) -> str:
    assert isinstance(value, bytes)
    return value.decode()


@attrs.define
class Victim:
    """Works on all queues until it is killed."""

    log: Log
    random: Random
    prefix: str
    values: int = 0
    may_process: trio.Event = attrs.field(factory=trio.Event)

    def new_value(self) -> bytes:
        self.values += 1
        return f"{self.prefix}.{self.values}".encode() + b"." * self.random.choice([0, 0, 3000])

    async def share(self, queue: TimedQueue) -> None:
        """Insert, reserve, and do something with what was reserved."""
        random, name, log = self.random, queue.name, self.log
        held: list[Reservation] = []
        taken: object = None
        while True:
            if taken is None or random.random() < 0.2:
                values = [self.new_value() for _ in range(random.choice([1, 1, 3]))]
                about = {"values": [each.decode() for each in values]}
                if random.random() < 0.2:
                    call = queue.insert(*values, delay=LONG)
                    await log.call(name, "insert", about | {"delayed": True}, call)
                else:
                    call = queue.insert(*values, priority=random.randrange(3))
                    await log.call(name, "insert", about, call)
            taken = await log.call(name, "reserve", None, queue.try_reserve())
            if taken is not None:
                held.append(cast("Reservation", taken))
            while len(held) > random.randrange(4):
                one = held.pop(random.randrange(len(held)))
                if (after := await self.use(queue, one)) is not None:
                    held.append(after)

    async def use(self, queue: TimedQueue, one: Reservation) -> Reservation | None:
        """Do something with a reservation; return what has taken its place."""
        name, log = queue.name, self.log
        about = {"key": one.key, "value": _text(one.value), "attempt": one.attempt}
        match self.random.randrange(8):
            case 0:
                await log.call(name, "release", about, queue.release(one, error="no"))
            case 1:
                call = queue.release(one, LONG)
                await log.call(name, "release", about | {"delayed": True}, call)
            case 2:
                await log.call(name, "bury", about, queue.bury(one))
            case 3:
                about |= {"deadline_at": one.deadline_at}
                longer = queue.prolongate(one, 1)
                return cast("Reservation", await log.call(name, "prolongate", about, longer))
            case _:
                await log.call(name, "delete", about, queue.delete(one))
        return None

    async def tidy(self, queue: TimedQueue, seen: Seen) -> None:
        """Finish what the dead had reserved, and what would only get more."""
        away = []
        for number, facts in seen.messages.items():
            value, attempt, reserved = _text(facts[0]), facts[5], facts[6]
            if reserved is not None and self.random.random() < 0.7:
                key = reserved[0]  # type: ignore[index] # a pair
                about = {"key": key, "value": value, "attempt": attempt}
                await self.log.call(queue.name, "delete", about, queue.delete(key))
            elif facts[1] in {"delayed", "buried"} and self.random.random() < 0.3:
                away.append((number, value))
        if away:
            about = {"values": [value for _, value in away]}
            call = queue.remove(*(number for number, _ in away))
            await self.log.call(queue.name, "remove", about, call)

    async def own(self, queue: TimedQueue) -> None:
        """Fill a queue and clear it."""
        while True:
            for _ in range(self.random.randrange(8)):
                value = self.new_value()
                about = {"values": [value.decode()]}
                await self.log.call(queue.name, "insert", about, queue.insert(value))
            await self.log.call(queue.name, "clear", None, queue.clear())

    async def repeat(self, queue: TimedQueue) -> None:
        """Insert the same few values again and again, and take them out."""
        while True:
            value = f"u{self.random.randrange(6)}"
            about = {"value": value}
            await self.log.call(queue.name, "insert", about, queue.insert(value.encode()))
            if self.random.random() < 0.5:
                taken = await queue.try_reserve()
                if taken is not None:
                    about = {"value": _text(taken.value)}
                    await self.log.call(queue.name, "delete", about, queue.delete(taken))

    async def name(self, queue: MessageQueue, held: list[tuple[int, str]]) -> None:
        """Enqueue a few names again and again, claim, and finish what was claimed."""
        random, log = self.random, self.log
        while True:
            for _ in range(random.randrange(4)):
                mid, value = f"m{random.randrange(12)}", self.new_value()
                flags = {
                    "can_update": random.random() < 0.5,
                    "can_requeue": random.random() < 0.5,
                    "later": random.random() < 0.1,
                }
                about = {"mid": mid, "value": value.decode()} | flags
                await log.call(queue.name, "enqueue", about, _enqueue(queue, mid, value, **flags))
            claim = cast(
                "dict[str, object]", await log.call(queue.name, "claim", None, _claim(queue))
            )
            if claim:
                held.append((cast("int", claim["key"]), cast("str", claim["mid"])))
            while len(held) > random.randrange(4):
                key, mid = held.pop(random.randrange(len(held)))
                result = random.choice(("success", "success", "retry", "error"))
                later = random.random() < 0.3
                about = {"mid": mid, "result": result, "later": later}
                call = queue.finish(key, result, LONG if later else None)  # type: ignore[arg-type] # it is one
                await log.call(queue.name, "finish", about, call)
            if random.random() < 0.2:
                await self.remove(queue)

    async def push(self, queue: BatchQueue) -> None:
        """Push a few items, and wait until they are on disk; do not get far ahead."""
        while True:
            values = [self.new_value() for _ in range(self.random.choice([1, 1, 3, 7]))]
            about = {"values": [each.decode() for each in values]}
            await self.log.call(queue.name, "push", about, queue.push_many(values, stored=True))
            while await queue.len() > 60:  # noqa: ASYNC110 - nothing else tells
                await trio.sleep(0.001)

    async def process(self, queue: BatchQueue, items: list[object]) -> None:
        """Write down what came; fail now and then."""
        await self.may_process.wait()
        values = [_text(each) for each in items]
        self.log.write("got", queue.name, values)
        await trio.sleep(self.random.choice([0, 0, 0.001, 0.005]))
        if self.random.random() < 0.1:
            self.log.write("failed", queue.name, values)
            raise ValueError("no")

    async def cap(self, queue: CapacityQueue) -> None:
        """Push a few items, and pop others."""
        random, log = self.random, self.log
        while True:
            for _ in range(random.randrange(4)):
                values = [self.new_value() for _ in range(random.choice([1, 3, 40]))]
                about = {"values": [each.decode() for each in values]}
                await log.call(CAPPED, "push items", about, queue.push(*values))
            for _ in range(random.randrange(8)):
                limit = random.choice([1, 3, 30])
                await log.call(CAPPED, "pop", {"limit": limit}, _texts(queue.pop(limit)))
            if random.random() < 0.02:
                await log.call(CAPPED, "clear items", {}, queue.clear())

    async def read(self, queue: LogQueue) -> None:
        """Add a few items, and let several labels read them."""
        random, log = self.random, self.log
        while True:
            values = [self.new_value() for _ in range(random.choice([1, 3, 20]))]
            about: dict[str, object] = {"values": [each.decode() for each in values]}
            await log.call(LOGGED, "add", about, queue.add(*values))
            for _ in range(random.randrange(6)):
                label, limit = random.choice("abc"), random.choice([1, 3, 30])
                about = {"label": label, "limit": limit}
                if label != "c":
                    await log.call(LOGGED, "next", about, _next(queue, label, limit))
                    continue
                read = await log.call(LOGGED, "read", about, _read(queue, label, limit))
                if random.random() < 0.5:
                    position = cast("dict[str, int]", read)["position"]
                    about = {"label": label, "position": position}
                    await log.call(LOGGED, "commit", about, queue.commit(label, position))
            if random.random() < 0.02:
                await log.call(LOGGED, "clear items", {}, queue.clear())
            if random.random() < 0.02:
                await log.call(LOGGED, "remove label", {"label": "a"}, queue.remove_label("a"))

    async def remove(self, queue: MessageQueue) -> None:
        """Take out what would only get more."""
        for mid, info in (await queue.queue_content()).items():
            if info.backoff is not None and self.random.random() < 0.5:
                await self.log.call(queue.name, "remove", {"mid": mid}, queue.remove(info.id))


async def _enqueue(
    queue: MessageQueue,
    mid: str,
    value: bytes,
    *,
    can_update: bool,
    can_requeue: bool,
    later: bool,
) -> object:
    backoff = LONG if later else 0
    done = await queue.enqueue(
        value, mid, can_update=can_update, can_requeue=can_requeue, init_backoff=backoff
    )
    return [done.action, done.error]


async def _claim(queue: MessageQueue) -> object:
    claim = await queue.try_claim()
    if claim is None:
        return None
    value = _text(claim.message)
    return {"mid": claim.mid, "value": value, "attempt": claim.attempt, "key": claim.key}


async def _texts(pop: Awaitable[list[object]]) -> object:
    return [_text(each) for each in await pop]


async def _next(queue: LogQueue, label: str, limit: int) -> object:
    items, expired = await queue.next(label, limit=limit)
    return {"items": [_text(each) for each in items], "expired": expired}


async def _read(queue: LogQueue, label: str, limit: int) -> object:
    items, expired, position = await queue.read(label, limit=limit)
    texts = [_text(each) for each in items]
    return {"items": texts, "expired": expired, "position": position}


def _chunked(queue: CapacityQueue | LogQueue) -> dict[str, object]:
    """Return what is in a capacity or log queue; labels with the number of items before them."""
    core = cast("CapacityCore | LogCore", cast("LocalEngine", queue._actor._engine).core)  # noqa: SLF001
    begin = core.records.begin if isinstance(core, CapacityCore) else 0
    items, _ = core._chunks.gather(begin, 10**9)  # noqa: SLF001
    labels = [each for each in core.records.messages.values() if each.state == "label"]
    return {
        "items": [_text(each) for each in items],
        "labels": {str(each.value): each.first for each in labels},
        "end": core.records.end,
    }


def _named(seen: Seen) -> list[dict[str, object]]:
    """Return what is in a message queue."""
    return [
        {
            "value": _text(facts[0]),
            "state": facts[1],
            "mid": facts[2],
            "attempt": facts[5],
            "key": facts[6] and facts[6][0],  # type: ignore[index] # a pair
        }
        for facts in seen.messages.values()
    ]


def _batched(seen: Seen) -> list[dict[str, object]]:
    """Return what is in a batch queue; what was claimed since the start was not, to the log."""
    there = []
    for facts in seen.messages.values():
        claims, claimed = cast("int", facts[5]), facts[8] == NEVER
        values = msgspec.msgpack.decode(cast("bytes", facts[0]), type=list[bytes])
        fresh = not claims - claimed
        there += [{"value": each.decode(), "fresh": fresh} for each in values]
    return there


async def live(path: Path, log: Log, seed: int) -> None:
    """Say what is there, and then work."""
    random = Random(seed)
    log.operations = seed << 32  # a task may begin one while those of the dead are still open
    modes = {
        "commit": random.choice(["inline", "loop", "thread"]),
        "durability": random.choice(["process", "power"]),
    }
    async with running(path, **modes) as runtime, trio.open_nursery() as nursery:  # type: ignore[arg-type] # the store's
        victim = Victim(log, random, str(seed))
        queues = [await define(runtime, name) for name in (*SHARED, *OWN)]
        unique = await define(runtime, UNIQUE, unique=True)
        for name in (*SHARED, *OWN, UNIQUE):
            seen = in_memory(runtime, name)
            there = [
                {
                    "value": _text(facts[0]),
                    "state": facts[1],
                    "attempt": facts[5],
                    "reserved": facts[6],
                    "error": facts[7],
                }
                for facts in seen.messages.values()
            ]
            log.write("there", name, there, seen.last_key)
        for name in NAMED:
            mails = await define_messages(runtime, name)
            there = _named(seen := in_memory(runtime, name))
            log.write("there", name, there, seen.last_key)
            held = [(cast("int", each["key"]), str(each["mid"])) for each in there if each["key"]]
            nursery.start_soon(victim.name, mails, held)
        batches = await define_batches(
            runtime, BATCHED, process=victim.process, flush_size=5, retry=retry.Fixed(1, 0)
        )
        seen = in_memory(runtime, BATCHED)
        log.write("there", BATCHED, _batched(seen), seen.last_key)
        victim.may_process.set()
        nursery.start_soon(victim.push, batches)
        vars(_chunks)["KEPT"] = random.choice([0, 100_000])
        capped, logged = await define_capacity(runtime, CAPPED), await define_log(runtime, LOGGED)
        log.write("there", CAPPED, _chunked(capped), 0)
        log.write("there", LOGGED, _chunked(logged), 0)
        nursery.start_soon(victim.cap, capped)
        nursery.start_soon(victim.read, logged)
        for queue in queues:
            if queue.name in SHARED:
                await victim.tidy(queue, in_memory(runtime, queue.name))
        for message in await unique.peek("reserved", 100):  # of those who were killed over it
            await unique.remove(message.id)
        for queue in queues:
            if queue.name in OWN:
                nursery.start_soon(victim.own, queue)
            else:
                for _ in range(TASKS):
                    nursery.start_soon(victim.share, queue)
        nursery.start_soon(victim.repeat, unique)


def main() -> None:
    """Fork a child for each line, and say how it ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for line in sys.stdin:
        file, log, seed = line.split()
        child = os.fork()
        if child == 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            trio.run(live, Path(file), Log(os.open(log, flags)), int(seed))
            os._exit(1)  # nobody killed it
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"over {status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
