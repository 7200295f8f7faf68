"""Stores, queues, workers, and the defaults of tables."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import pytest

from queueactors.config import load_config
from queueactors.queues._options import TimedOptions
from queueactors.stores import MemoryStore

from .helpers import QUEUE, faults, load

if TYPE_CHECKING:
    from pathlib import Path

STORE = """
import attrs, pathlib
from typing import Literal, Mapping
@attrs.define
class Store:
    path: pathlib.Path
    durability: Literal["process", "power"] = "process"
    tags: list[str] = attrs.field(factory=list)
    limits: Mapping[str, object] = attrs.field(factory=dict)
    _size: int | None = 7
    state: object = attrs.field(init=False, default=None)
@attrs.define
class Bad:
    x: "Nowhere"
class Plain: ...
"""


def _store(text: str) -> str:
    pathlib.Path("own_store.py").write_text(STORE, encoding="utf-8")
    return f'[store.s]\ntype = "own_store:Store"\n{text}'


def test_a_memory_store_may_be_declared(folder: Path) -> None:
    config = load('[store.memory]\ntype = "memory"\n[store.other]\ntype = "memory"')

    assert list(config.stores) == ["memory", "other"]
    assert config.stores["other"].factory is MemoryStore


def test_a_store_of_ones_own_gets_options_of_its_types(folder: Path) -> None:
    store = load(_store('path = "x"\ntags = ["a"]\nsize = 3\nlimits = {a = 1}')).stores["s"]

    expected = {
        "path": pathlib.Path("x"),
        "tags": ["a"],
        "size": 3,
        "durability": "process",
        "limits": {"a": 1},
    }
    assert store.options == expected
    assert (store.type, store.factory.__name__) == ("own_store:Store", "Store")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("", "q.toml:2: store.s: path is required"),
        ("path = 1", "q.toml:4: store.s.path: expected path to be a path, got 1"),
        ("path = ''\ntags = 1", "q.toml:5: store.s.tags: expected tags to be an array, got 1"),
        ("path = ''\ntags = [1]", "q.toml:5: store.s.tags: expected tags to be an array, got [1]"),
        ("path = ''\nlimits = 1", "q.toml:5: store.s.limits: expected limits to be a table, got 1"),
        ("path = ''\nsize = '7'", "q.toml:5: store.s.size: expected size to be an int, got '7'"),
        ("path = ''\nstate = 1", "q.toml:5: store.s.state: unknown key 'state'"),
    ],
)
def test_the_options_of_a_store_are_checked(folder: Path, line: str, fault: str) -> None:
    assert [each.partition(" (did")[0] for each in faults(_store(line))] == [fault]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "q.toml:2: store.t: type is required"),
        (
            'type = "memroy"',
            (
                "q.toml:3: store.t.type: expected type to be one of 'memory', 'sqlite', 'redis' or "
                "a target 'module:Class', got 'memroy' (did you mean 'memory'?)"
            ),
        ),
        (
            'type = "rocks"',
            (
                "q.toml:3: store.t.type: expected type to be one of 'memory', 'sqlite', 'redis' or "
                "a target 'module:Class', got 'rocks'"
            ),
        ),
        (
            "type = 3",
            "q.toml:3: store.t.type: expected type to be an attrs class, got 3",
        ),
        (
            'type = "os:nix"',
            "q.toml:3: store.t.type: 'os:nix': there is no 'nix'",
        ),
        (
            'type = "own_store:Plain"',
            "q.toml:3: store.t.type: expected type to be an attrs class, got 'own_store:Plain'",
        ),
        (
            'type = "own_store:Bad"',
            (
                "q.toml:3: store.t.type: the annotations of the class cannot be read: "
                "name 'Nowhere' is not defined"
            ),
        ),
        ('type = "memory"\nx = 1', "q.toml:4: store.t.x: unknown key 'x'"),
    ],
)
def test_the_type_of_a_store_is_checked(folder: Path, text: str, fault: str) -> None:
    _store("")

    assert faults(f"[store.t]\n{text}") == [fault]


def test_a_queue_gets_the_options_of_its_kind(folder: Path) -> None:
    queue = load(QUEUE + 'unique = true\nmax_reservations = 5\nvalues = ["a"]').queues["a"]

    options = queue.options
    assert (queue.name, queue.kind) == ("a", "timed")
    assert (options.unique, options.max_reservations, options.values) == (True, 5, ("a",))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("uniqe = 1", "uniqe: unknown key 'uniqe' (did you mean 'unique'?)"),
        ("unique = 1", "unique: expected unique to be true or false, got 1"),
        ("mailbox = true", "mailbox: expected mailbox to be an int, got True"),
        ("mailbox = '4'", "mailbox: expected mailbox to be an int, got '4'"),
        ("mailbox = 1.0", "mailbox: expected mailbox to be an int, got 1.0"),
        ("mailbox = 0", "mailbox: expected mailbox to be an int >= 1, got 0"),
        ("values = 1", "values: expected values to be an array, got 1"),
        ("store = 1", "store: expected store to be a string, got 1"),
        ("store = 'x'", "store: there is no store 'x'"),
        ("store = 'memroy'", "store: there is no store 'memroy' (did you mean 'memory'?)"),
        ("sync_fn = 'os:getpid'", "sync_fn: sync_fn needs a sync_interval"),
        ("sync_args = [1]", "sync_args: sync_args needs a sync_fn"),
        (
            "on_exhausted = 'burry'",
            "on_exhausted: there is no queue 'burry' (did you mean 'bury'?)",
        ),
        (
            "on_exhausted = 'a'",
            "on_exhausted: a queue cannot be its own dead letter queue; use 'bury' or 'drop'",
        ),
    ],
)
def test_the_options_of_a_queue_are_checked(folder: Path, line: str, fault: str) -> None:
    assert faults(QUEUE + line) == [f"q.toml:5: queue.a.{fault}"]


@pytest.mark.parametrize("value", ["nan", "inf", "-1", '"-1s"', '"infinity"', '"30"', "true", "[]"])
def test_what_is_no_duration_is_a_fault(folder: Path, value: str) -> None:
    (fault,) = faults(f'[queue.a]\nkind = "timed"\nreservation_time = {value}')

    assert fault.startswith(
        "q.toml:4: queue.a.reservation_time: expected reservation_time to be seconds >= 0 or a "
        "duration such as '250ms', '30s', '5m', '2h' or '7d', got "
    )


def test_the_limits_of_an_option_are_its_class_s_own(folder: Path) -> None:
    assert faults('[queue.a]\nkind = "timed"\nreservation_time = "0s"') == [
        "q.toml:4: queue.a.reservation_time: expected reservation_time to be seconds > 0, got 0.0"
    ]


def test_an_int_will_do_for_a_number(folder: Path) -> None:
    assert load(QUEUE).queues["a"].options == TimedOptions(reservation_time=1.0)


def test_a_number_too_large_for_a_float_is_a_fault() -> None:
    table = {"kind": "timed", "reservation_time": 10**5000}

    with pytest.raises(ValueError, match=r"got a value too large to show$"):
        load_config({"queue": {"a": table}})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "q.toml:2: queue.b: kind is required: timed, message, batch, log, capacity, channel"),
        (
            "kind = 'timd'",
            (
                "q.toml:3: queue.b.kind: expected kind to be 'timed', 'message', 'batch', 'log', "
                "'capacity' or 'channel', got 'timd' (did you mean 'timed'?)"
            ),
        ),
        (
            "kind = 1",
            (
                "q.toml:3: queue.b.kind: expected kind to be 'timed', 'message', 'batch', 'log', "
                "'capacity' or 'channel', got 1"
            ),
        ),
    ],
)
def test_a_queue_has_a_kind(folder: Path, text: str, fault: str) -> None:
    assert faults(f"[queue.b]\n{text}") == [fault]


def test_a_dead_letter_queue_is_another_queue(folder: Path) -> None:
    config = load(QUEUE + "on_exhausted = 'b'\n" + QUEUE.replace("queue.a", "queue.b"))

    assert config.queues["a"].options.dead_letter == "b"


def test_a_worker_works_on_a_queue_that_exists(folder: Path) -> None:
    assert faults(QUEUE + "[worker.w]\nqueue = 'aa'\nhandler = 'os:getpid'") == [
        "q.toml:6: worker.w.queue: there is no queue 'aa' (did you mean 'a'?)"
    ]


def test_a_worker_has_a_queue_and_a_handler(folder: Path) -> None:
    assert faults("[worker.w]") == [
        "q.toml:2: worker.w: handler is required",
        "q.toml:2: worker.w: queue is required",
    ]


def test_defaults_are_for_the_tables_that_do_not_say_otherwise(folder: Path) -> None:
    config = load(
        "[defaults.queue]\nkind = 'timed'\nreservation_time = '9s'\nmailbox = 3\n"
        "[defaults.worker]\nconcurrency = 2\n[defaults.supervisor]\nintensity = 7\n"
        "[queue.a]\nmailbox = 5\n[queue.b]\n[supervisor.s]\n"
        "[worker.w]\nqueue = 'a'\nhandler = 'os:getpid'\n"
    )

    a, b = config.queues["a"].options, config.queues["b"].options
    assert (a.reservation_time, a.mailbox, b.mailbox) == (9, 5, 3)
    assert config.workers["w"].concurrency == 2
    assert config.supervisors["s"].flags.intensity == 7


def test_a_fault_in_a_default_is_told_once_and_there(folder: Path) -> None:
    text = "[queue.a]\nkind = 'timed'\n[queue.b]\nkind = 'timed'\n"

    assert faults(text + "[defaults.queue]\nreservation_time = 'x'\nstore = 'y'") == [
        (
            "q.toml:7: defaults.queue.reservation_time: expected reservation_time to be "
            "seconds >= 0 or a duration such as '250ms', '30s', '5m', '2h' or '7d', got 'x'"
        ),
        "q.toml:8: defaults.queue.store: there is no store 'y'",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "[defaults.queues]",
            "q.toml:2: defaults.queues: unknown table 'queues' (did you mean 'queue'?)",
        ),
        (
            "[defaults.queue]\nstor = 1",
            "q.toml:3: defaults.queue.stor: unknown key 'stor' (did you mean 'store'?)",
        ),
        (
            "[defaults.supervisor]\nchild = []",
            "q.toml:3: defaults.supervisor.child: unknown key 'child'",
        ),
        (
            "defaults.worker = 1",
            "q.toml:2: defaults.worker: expected worker to be a table, got 1",
        ),
    ],
)
def test_defaults_are_strict_too(folder: Path, text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_a_default_that_nobody_takes_is_checked_too(folder: Path) -> None:
    text = "[defaults.queue]\nmailbox = 'x'\nkind = 'timd'\n[defaults.worker]\nconcurrency = '2'\n"

    assert [each.partition(", got")[0] for each in faults(text + QUEUE + "mailbox = 2")] == [
        "q.toml:3: defaults.queue.mailbox: expected mailbox to be an int",
        (
            "q.toml:4: defaults.queue.kind: expected kind to be 'timed', 'message', 'batch', "
            "'log', 'capacity' or 'channel'"
        ),
        "q.toml:6: defaults.worker.concurrency: expected concurrency to be an int",
    ]


def test_an_option_that_is_wrong_has_one_fault(folder: Path) -> None:
    assert faults(QUEUE + "sync_fn = 'os:nix'") == [
        "q.toml:5: queue.a.sync_fn: 'os:nix': there is no 'nix'"
    ]


def test_a_backoff_with_a_wrong_value_has_no_fault_of_its_stand_in(folder: Path) -> None:
    text = "[supervisor.r]\nbackoff = {min = 'x', max = 0.5}"

    assert [fault.split(":")[2] for fault in faults(text)] == [" supervisor.r.backoff.min"]
