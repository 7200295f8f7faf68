"""The tables of capacity and log queues in a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queueactors import CapacityOptions, LogOptions, OptionsError, open_runtime
from queueactors.config import load_config

from .helpers import faults, load

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

CAPACITY = '[queue.c]\nkind = "capacity"\n'
LOG = '[queue.l]\nkind = "log"\n'
DISK = '[store.disk]\ntype = "sqlite"\npath = "q.sqlite"\n'


def test_a_capacity_queue_gets_the_options_of_its_kind(folder: Path) -> None:
    text = 'max_elements = 7\nstore = "disk"\ncodec = "json"\ntype = "builtins:dict"\nmailbox = 9\n'
    options = load(DISK + CAPACITY + text).queues["c"].options

    assert options == CapacityOptions(
        max_elements=7, store="disk", codec="json", type=dict, mailbox=9
    )


def test_a_log_gets_the_options_of_its_kind(folder: Path) -> None:
    options = load(DISK + LOG + 'ttl = "7d"\nstore = "disk"\ncodec = "msgpack"\n')

    assert options.queues["l"].options == LogOptions(ttl=604800, store="disk", codec="msgpack")


def test_the_defaults_are_those_of_the_code(folder: Path) -> None:
    queues = load(CAPACITY + LOG).queues

    assert queues["c"].options == CapacityOptions()
    assert queues["l"].options == LogOptions()
    assert (CapacityOptions().max_elements, CapacityOptions().codec) == (1_000_000_000, "bytes")
    assert (LogOptions().ttl, LogOptions().codec) == (None, "bytes")


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (
            CAPACITY + "max_elements = 0",
            "q.toml:4: queue.c.max_elements: expected max_elements to be an int >= 1, got 0",
        ),
        (
            CAPACITY + "max_elements = true",
            "q.toml:4: queue.c.max_elements: expected max_elements to be an int, got True",
        ),
        (CAPACITY + "ttl = 5", "q.toml:4: queue.c.ttl: unknown key 'ttl'"),
        (
            CAPACITY + "max_element = 5",
            (
                "q.toml:4: queue.c.max_element: unknown key 'max_element' "
                "(did you mean 'max_elements'?)"
            ),
        ),
        (LOG + "ttl = 0", "q.toml:4: queue.l.ttl: expected ttl to be seconds > 0, got 0.0"),
        (LOG + "max_length = 5", "q.toml:4: queue.l.max_length: unknown key 'max_length'"),
    ],
)
def test_a_bad_option_is_refused_with_its_line(folder: Path, lines: str, fault: str) -> None:
    assert faults(lines) == [fault]


@pytest.mark.parametrize(
    ("options", "given", "rule"),
    [
        (CapacityOptions, {"max_elements": -1}, "max_elements to be an int >= 1, got -1"),
        (CapacityOptions, {"codec": "brotli"}, "codec to be one of msgpack, json, bytes, pickle"),
        (LogOptions, {"ttl": -1}, "ttl to be seconds > 0"),
        (LogOptions, {"mailbox": 0}, "mailbox to be an int >= 1, got 0"),
    ],
)
def test_code_and_configuration_have_the_same_rules(
    options: type[CapacityOptions | LogOptions], given: dict[str, object], rule: str
) -> None:
    with pytest.raises(OptionsError, match=f"^expected {rule}"):
        options(**given)  # type: ignore[arg-type] # on purpose


@pytest.mark.parametrize("queue", [CAPACITY.replace(".c", ".q"), LOG.replace(".l", ".q")])
def test_neither_has_a_worker(folder: Path, queue: str) -> None:
    worker = '[worker.w]\nqueue = "q"\nhandler = "builtins:print"\n'

    assert faults(queue + worker) == [
        "q.toml:5: worker.w.queue: expected a timed, channel or message queue, 'q' is none"
    ]


def test_a_log_without_a_time_to_live_is_worth_a_warning(folder: Path) -> None:
    told = [str(each) for each in load(LOG).warnings]

    rule = "without it nothing is ever removed, and the log grows without end"
    assert told == [f"q.toml:2: queue.l.ttl: {rule}"]
    assert load(LOG + "ttl = 60\n" + CAPACITY).warnings == ()


async def test_both_run_as_they_are_configured(autojump_clock: MockClock) -> None:
    config = load_config(
        {"queue": {"c": {"kind": "capacity", "max_elements": 2}, "l": {"kind": "log", "ttl": 5}}}
    )
    async with open_runtime(config) as runtime:
        capacity, log = runtime.queue("c"), runtime.queue("l")
        assert await capacity.push(b"a") == await log.add(b"b") == 1
        assert (await capacity.pop(), await log.next("r")) == ([b"a"], ([b"b"], 0))
