"""``migrate`` as a command: real processes, a real server, results, one line an error."""

from __future__ import annotations

import json
import signal
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.engines.redis_direct import Direct
from tests.stores.kit_file import head, message, named, opened, put, rows
from tests.stores.test_migrate import fill, items_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Start
    from .kit import Program

pytestmark = pytest.mark.slow

CONFIG = """
schema = 1
[runtime]
data_dir = "var"
[store.disk]
type = "sqlite"
path = "a.sqlite"
[store.shared]
type = "redis"
url = "{url}"
prefix = "{prefix}"
[queue.q]
kind = "timed"
reservation_time = "30s"
store = "shared"
"""


@pytest.fixture
def store(folder: Path) -> Path:
    """A store's file with two queues."""
    with opened(folder / "a.sqlite") as file:
        put(file, "q", [message(n, {"n": n}) for n in (1, 2, 3)])
        put(file, "m", [named(1, "a")])
    return folder / "a.sqlite"


def url(valkey: str, folder: Path) -> str:
    return f"{valkey}?prefix={folder.name}"


def test_queues_go_to_a_server_and_back(
    folder: Path, store: Path, valkey: str, start: Start
) -> None:
    there = url(valkey, folder)

    assert start("migrate", "a.sqlite", there).end() == (
        0,
        f"{there}: 4 records of 2 queues\n",
        "",
    )
    code, out, err = start("migrate", there, "b.sqlite", "q", "--json").end()
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result.pop("seconds") > 0
    assert result == {
        "from": there,
        "to": "b.sqlite",
        "queues": {"q": {"kind": "timed", "messages": 3, "resumed": 0}},
        "messages": 3,
        "kept": False,
    }
    with opened(folder / "b.sqlite") as file:
        assert [row[0] for row in rows(file, "q")] == [1, 2, 3]


def test_stores_have_names_in_a_configuration(
    folder: Path, store: Path, valkey: str, start: Start
) -> None:
    (folder / "q.toml").write_text(CONFIG.format(url=valkey, prefix=folder.name))

    code, out, err = start("migrate", "disk", "shared", "q", "--config", "q.toml").end()

    assert (code, out, err) == (0, "shared: 3 records of 1 queue\n", "")
    assert start("migrate", "disk", "shared", "q", "--config", "q.toml").end()[:2] == (
        0,
        "shared: 0 records of 0 queues\n",
    )
    with opened(store) as file:
        assert file.names() == ["m"]


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("no.sqlite", "b.sqlite"), 2, "no.sqlite: there is no such file"),
        (("a.sqlite", "redis://u:secret@127.0.0.1:1"), 1, "redis://127.0.0.1:1: "),
        (("a.sqlite", "http://u:secret@h"), 2, "http://h: expected url "),
        (("a.sqlite", "b.sqlite", "p"), 1, "there is no queue 'p' in a.sqlite"),
        (("a.sqlite", "a.sqlite"), 1, "a.sqlite belongs to process "),
        (("a.sqlite", "full.sqlite", "q"), 1, "queue 'q' in full.sqlite is there, and not empty"),
    ],
)
def test_what_is_wrong_is_one_line(  # noqa: PLR0917 - the cases
    folder: Path, store: Path, start: Start, args: tuple[str, ...], code: int, told: str
) -> None:
    with opened(folder / "full.sqlite") as file:
        put(file, "q", [message(1, "x")])

    ended, out, err = start("migrate", *args).end()

    assert (ended, out, err.count("\n")) == (code, "", 1)
    assert err.startswith(told)
    assert "secret" not in err
    with opened(store) as file:
        assert len(rows(file, "q")) == 3


def test_a_queue_on_a_server_is_exported_and_stays(
    folder: Path, store: Path, valkey: str, start: Start
) -> None:
    (folder / "q.toml").write_text(CONFIG.format(url=valkey, prefix=folder.name))
    start("migrate", "a.sqlite", url(valkey, folder)).end()

    for source in (url(valkey, folder), "q.toml"):
        assert start("export", source, "q", "-o", f"{len(source)}.jsonl").end() == (
            0,
            f"{len(source)}.jsonl: 3 messages of 1 queue\n",
            "",
        )
        assert len((folder / f"{len(source)}.jsonl").read_bytes().splitlines()) == 4
    code, _, err = start("import", url(valkey, folder), "q", "6.jsonl").end()
    assert (code, err.startswith("a server takes no lines by itself: ")) == (2, True)


def test_without_the_client_it_says_what_to_install(
    folder: Path, store: Path, start: Start
) -> None:
    (folder / "coredis.py").write_text("raise ModuleNotFoundError('no', name='coredis')")

    code, _, err = start("migrate", "a.sqlite", "redis://h").end()

    assert (code, err) == (
        2,
        "a Redis store needs the package coredis: pip install queueactors[redis]\n",
    )


def made(path: Path, kind: str) -> None:
    """Make a file with a queue that is long enough to be killed while it is moved."""
    if kind in {"timed", "message"}:
        some = range(1, 8001)
        with opened(path) as file:
            if kind == "timed":
                put(file, "q", [message(n, {"n": n}) for n in some])
            else:
                put(file, "q", [named(n, f"m{n}", n) for n in some])
        return

    async def work(queue: Any) -> None:  # type: ignore[explicit-any] # of either kind
        add = queue.push if kind == "capacity" else queue.add
        for n in range(60):
            await add(*[b"%d %d" % (n, each) for each in range(300)])
        if kind == "log":
            for n in range(50):
                await queue.next(f"label {n}", limit=n + 1)

    options = {"ttl": 3600} if kind == "log" else {}
    trio.run(partial(fill, path, work, kind=kind, **options))


def content(path: Path, kind: str) -> object:
    """Return what is in a file's queue; items have other chunks after a move."""
    if kind in {"timed", "message"}:
        with opened(path) as file:
            return rows(file, "q"), head(file, "q")
    return items_in(path)


class Watch:
    """Looks how far a queue is moved.

    Args:
      valkey: The server.
      prefix: The store's.
    """

    def __init__(self, valkey: str, prefix: str) -> None:
        self._direct = Direct(valkey)
        self._head = f"{prefix}:{{q}}:head".encode()

    def close(self) -> None:
        self._direct.close()

    def arrived(self) -> int:
        """Return how many lines have come."""
        found = self._direct(b"HGET", self._head, b"arrived")
        return int(found) if isinstance(found, bytes) else 0

    def leaves(self) -> int:
        """Return whether it is on its way to somewhere else."""
        return self._direct(b"HGET", self._head, b"moving") == b"out"


def killed_when(program: Program, look: Callable[[], int], more_than: int, delay: float) -> int:
    """Kill a program once something has come so far, and a moment later; return its exit code."""
    until = time.monotonic() + 60  # noqa: TID251 - of the real process
    while program.process.poll() is None and look() <= more_than:
        assert time.monotonic() < until  # noqa: TID251
        time.sleep(0.001)
    time.sleep(delay)
    if program.process.poll() is None:
        program.signal(signal.SIGKILL)
    return program.end()[0]


@pytest.mark.parametrize("kind", ["timed", "message", "capacity", "log"])
def test_killed_at_any_time_it_goes_on(kind: str, folder: Path, valkey: str, start: Start) -> None:
    made(folder / "a.sqlite", kind)
    before = content(folder / "a.sqlite", kind)
    prefixes = f"{folder.name}-{kind}-1", f"{folder.name}-{kind}-2"
    one, two = (f"{valkey}?prefix={prefix}" for prefix in prefixes)
    kills = 0
    with (
        closing(Watch(valkey, prefixes[0])) as first,
        closing(Watch(valkey, prefixes[1])) as second,
    ):
        for source, target, look in (
            ("a.sqlite", one, first.arrived),
            (one, two, second.arrived),
            (two, "b.sqlite", second.leaves),
        ):
            for delay in (0, 0.1):
                so_far = 0 if look == second.leaves else look()
                code = killed_when(start("migrate", source, target, "q"), look, so_far, delay)
                kills += code == -signal.SIGKILL
                if code == 0:
                    break
            code, _, err = start("migrate", source, target, "q").end()
            assert code == 0, err

    assert kills > 2
    assert content(folder / "b.sqlite", kind) == before
    with opened(folder / "a.sqlite") as file:
        assert file.names() == []


def test_lines_go_into_a_queue_on_a_server_through_the_daemon_that_uses_it(
    folder: Path, store: Path, valkey: str, start: Start
) -> None:
    (folder / "q.toml").write_text(CONFIG.format(url=valkey, prefix=folder.name))
    assert start("export", "a.sqlite", "q", "-o", "q.jsonl").end()[0] == 0
    (folder / "plain.jsonl").write_text('{"value": "ann"}\n{"value": "bob", "priority": -1}\n')
    start("run", "q.toml").wait_log("control_listening")

    for file, many in (("plain.jsonl", 2), ("q.jsonl", 3)):
        assert start("import", "q.toml", "q", file).end() == (
            0,
            f"q: {many} messages from {file}\n",
            "",
        )

    code, out, err = start("peek", "q", "--limit", "9", "--json").end()
    assert (code, err) == (0, "")
    shown = [json.loads(line)["value"] for line in out.splitlines()]
    assert shown == ["bob", "ann", {"n": 1}, {"n": 2}, {"n": 3}]


def test_a_hundred_thousand_messages_take_some_seconds(
    folder: Path, valkey: str, start: Start
) -> None:
    with opened(folder / "a.sqlite") as file:
        put(file, "q", [message(n, n) for n in range(1, 100_001)])
    begun = time.monotonic()  # noqa: TID251 - of the real process

    code, out, err = start("migrate", "a.sqlite", url(valkey, folder)).end()

    assert (code, err.replace("\n", "")[:9]) in {(0, ""), (0, "reading q"), (0, "writing q")}
    assert out.endswith(": 100,000 records of 1 queue\n")
    assert time.monotonic() - begun < 60  # noqa: TID251
