"""Queues of several kinds in one runtime: what goes together, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from structlog.testing import capture_logs

from queueactors import (
    CodecError,
    ConfigError,
    MessageOptions,
    OptionsError,
    QueueFullError,
    load_config,
    open_runtime,
)
from queueactors.testing import run_until_idle

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from pathlib import Path

    from trio.testing import MockClock

    Events = list[MutableMapping[str, object]]

SQLITE = 'type = "sqlite"\npath = "x"\n'
CHANNEL = '[queue.c]\nkind = "channel"\n'


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    """Return the list that log events go to: tests are quiet, and can read it."""
    with capture_logs() as captured:
        yield captured


async def test_a_configured_channel_runs(autojump_clock: MockClock) -> None:
    config = {"queue": {"c": {"kind": "channel", "limit": 1, "snapshot": False, "mailbox": 5}}}
    async with open_runtime(config) as runtime:
        channel = runtime.queue("c")

        assert await channel.try_send(print)
        assert not await channel.try_send("b")
        assert await channel.recv() is print
        assert channel.options.mailbox == 5


async def test_a_configured_message_queue_runs(tmp_path: Path, autojump_clock: MockClock) -> None:
    file = tmp_path / "q.toml"
    file.write_text(
        'schema = 1\n[store.disk]\ntype = "sqlite"\n'
        f"path = '{tmp_path / 'x.sqlite'}'\n"
        '[queue.m]\nkind = "message"\nlock_time = 1.5\nmax_length = 1\nstore = "disk"\n'
        'codec = "json"\nmailbox = 5\n[queue.plain]\nkind = "message"\n',
        encoding="utf-8",
    )
    async with open_runtime(file) as runtime:
        queue, plain = runtime.queue("m"), runtime.queue("plain")

        assert await queue.enqueue({"a": (1,)}, "x")
        claim = await queue.claim()
        assert (claim.message, claim.lock_time) == ({"a": [1]}, 1.5)
        with pytest.raises(CodecError, match="json"):
            await queue.enqueue(object(), "y")
        with pytest.raises(QueueFullError):
            await queue.enqueue("b", "y")
        assert queue.options == MessageOptions(
            lock_time=1.5, max_length=1, store="disk", codec="json", mailbox=5
        )
        assert (plain.options.lock_time, plain.options.max_length) == (3600, None)
        with pytest.raises(ValueError, match="message"):
            await runtime.define("m", kind="timed", reservation_time=1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lock_time": 0}, "expected lock_time to be seconds > 0, got 0"),
        ({"max_length": 0}, "expected max_length to be an int >= 1, got 0"),
        ({"mailbox": 0}, "expected mailbox to be an int >= 1, got 0"),
    ],
)
def test_a_message_queue_of_bad_options_is_refused(options: dict[str, int], text: str) -> None:
    with pytest.raises(OptionsError) as caught:
        MessageOptions(**options)  # type: ignore[arg-type] # the test's

    assert str(caught.value) == text


def test_the_smallest_options_of_a_message_queue_are_good() -> None:
    options = MessageOptions(lock_time=1e-9, max_length=1, mailbox=1)

    assert options.lock_time == 1e-9


async def test_operations_on_all_queues_know_every_kind(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        timed = await runtime.define("t", reservation_time=1)
        channel = await runtime.define("c", kind="channel")
        await timed.insert("a")
        await channel.send("a")

        assert runtime.queues() == (timed, channel)
        assert await runtime.clear_all_queues() == ("t", "c")
        await runtime.drop("c")
        assert runtime.queue_names() == ("t",)
        assert await (await runtime.define("c", kind="channel", limit=1)).len() == 0


async def test_a_runtime_with_something_in_a_channel_is_not_idle(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        channel = await runtime.define("c", kind="channel")
        await channel.send("a")
        with trio.move_on_after(10) as waited:
            await run_until_idle(runtime)
        assert waited.cancelled_caught

        nursery.start_soon(channel.recv)
        with trio.fail_after(10):
            await run_until_idle(runtime)


@pytest.mark.parametrize("kind", ["message", "channel"])
async def test_dead_letters_go_to_a_queue_of_any_kind(kind: str, autojump_clock: MockClock) -> None:
    config = {
        "queue": {
            "dead": {"kind": kind},
            "t": {
                "kind": "timed",
                "reservation_time": 1,
                "max_reservations": 1,
                "on_exhausted": "dead",
            },
        }
    }
    async with open_runtime(config) as runtime:
        await runtime.queue("t").insert("a")
        await runtime.queue("t").reserve()
        dead = runtime.queue("dead")

        letter = await dead.recv() if kind == "channel" else (await dead.claim()).message

        assert (letter.value, letter.queue, letter.attempts) == ("a", "t", 1)
        assert await runtime.queue("t").len() == 0


async def test_a_definition_of_what_cannot_be_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    config = {
        "store": {"disk": {"type": "sqlite", "path": str(tmp_path / "x.sqlite")}},
        "queue": {"c": {"kind": "channel"}},
    }
    async with open_runtime(config) as runtime:
        with pytest.raises(
            ValueError,
            match=r"^queue 'd': a channel is kept in memory only, and store 'disk' is durable$",
        ):
            await runtime.define("d", kind="channel", store="disk")
        with pytest.raises(ValueError, match=r"^expected limit to be an int >= 1, got 0$"):
            await runtime.define("e", kind="channel", limit=0)
        with pytest.raises(TypeError, match=r"^there is no option 'reservation_time'"):
            await runtime.define("e", kind="channel", reservation_time=1)

        assert runtime.queue_names() == ("c",)
        assert runtime.workers() == ()


async def test_a_second_definition_with_another_limit_is_logged(
    autojump_clock: MockClock, events: Events
) -> None:
    async with open_runtime() as runtime:
        await runtime.define("c", kind="channel", limit=1)
        await runtime.define("c", kind="channel", limit=1)
        assert not [each for each in events if each["event"] == "definition_ignored"]

        await runtime.define("c", kind="channel")

        (logged,) = [each for each in events if each["event"] == "definition_ignored"]
        assert (logged["queue"], logged["log_level"]) == ("c", "warning")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f'[store.disk]\n{SQLITE}{CHANNEL}store = "disk"',
            "7: queue.c.store: a channel is kept in memory only, and store 'disk' is durable",
        ),
        (
            f"[store.memory]\n{SQLITE}{CHANNEL}",
            "5: queue.c: a channel is kept in memory only, and store 'memory' is durable",
        ),
        (
            f'{CHANNEL}[worker.w]\nqueue = "c"\nhandler = "builtins:print"\ndead_letter = "d"',
            "7: worker.w.dead_letter: there is no queue 'd'",
        ),
        (f"{CHANNEL}limit = 0", "4: queue.c.limit: expected limit to be an int >= 1, got 0"),
    ],
)
def test_a_configuration_of_what_cannot_be_is_refused(
    text: str, expected: str, tmp_path: Path
) -> None:
    file = tmp_path / "q.toml"
    file.write_text(f"schema = 1\n{text}\n", encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_config(file)

    assert str(caught.value) == f"{file}:{expected}"


def test_a_default_of_another_kind_of_queue_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "q.toml"
    file.write_text(
        "schema = 1\n[defaults.queue]\nreservation_time = 1\nlimit = 5\n"
        '[queue.c]\nkind = "channel"\n[queue.t]\nkind = "timed"\n',
        encoding="utf-8",
    )

    queues = load_config(file).queues

    assert queues["c"].options.limit == 5
    assert queues["t"].options.reservation_time == 1
