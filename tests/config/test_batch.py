"""A batch queue in a configuration, and tables of retry policies: every fault at its line."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import open_runtime
from queueactors.config import load_config, render
from queueactors.queues import BatchOptions
from queueactors.retry import FOR_EVER, Exponential, Fixed, Linear, RetryPolicy

from .helpers import QUEUE, faults, load

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

MODULE = """
import trio
seen = []
async def process(queue, items):
    await trio.lowlevel.checkpoint()
    seen.append(items)
def on_error(error): ...
def key(item): return item[0]
def merge(old, new): return old
def generator(queue, items): yield
number = 1
class Buffer(list):
    push = list.append
class Policy:
    def delay(self, attempt, random): return 1.0
policy = Policy()
"""
BATCH = '[queue.b]\nkind = "batch"\nprocess = "pages:process"\n'


@pytest.fixture(autouse=True)
def pages(folder: Path) -> None:
    """Let there be a module to point at."""
    pathlib.Path("pages.py").write_text(MODULE, encoding="utf-8")


def options_of(lines: str) -> BatchOptions:
    options = load(BATCH + lines).queues["b"].options
    assert isinstance(options, BatchOptions)
    return options


def test_a_batch_queue_gets_the_options_of_its_kind() -> None:
    options = options_of(
        'flush_size = 100\nflush_pushes = 1000\nflush_timeout = "250ms"\nworkers = 2\n'
        'batches = 10\nmax_claims = 3\non_exhausted = "bury"\nmax_length = 5000\ncodec = "json"\n'
        'on_process_error = "pages:on_error"\non_internal_error = "pages:on_error"\nmailbox = 7\n'
        'buffer = "merging"\nmerge_key = "pages:key"\nmerge = "pages:merge"\n'
        'retry = { policy = "fixed", attempts = 3, interval = "2s" }\n'
    )

    assert (options.flush_size, options.flush_pushes, options.flush_timeout) == (100, 1000, 0.25)
    assert (options.workers, options.batches, options.max_claims) == (2, 10, 3)
    assert (options.on_exhausted, options.max_length, options.mailbox) == ("bury", 5000, 7)
    assert (options.buffer, options.codec) == ("merging", "json")
    named = (options.process, options.on_process_error, options.merge_key, options.merge)
    assert [each.__name__ for each in named if each] == ["process", "on_error", "key", "merge"]
    assert options.retry == Fixed(3, 2.0)


def test_the_defaults_are_those_of_the_code() -> None:
    options = options_of("")

    assert options == BatchOptions(process=options.process)
    assert options.retry == FOR_EVER


def test_a_buffer_may_be_a_target() -> None:
    buffer = options_of('buffer = "pages:Buffer"').buffer

    assert getattr(buffer, "__name__", None) == "Buffer"


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("flush_size = -1", "5: queue.b.flush_size: expected flush_size to be an int >= 0, got -1"),
        ("flush_size = 1.5", "5: queue.b.flush_size: expected flush_size to be an int, got 1.5"),
        (
            "flush_pushes = true",
            "5: queue.b.flush_pushes: expected flush_pushes to be an int, got True",
        ),
        (
            'flush_timeout = "soon"',
            (
                "5: queue.b.flush_timeout: expected flush_timeout to be seconds >= 0 or a duration "
                "such as '250ms', '30s', '5m', '2h' or '7d', got 'soon'"
            ),
        ),
        ("workers = 0", "5: queue.b.workers: expected workers to be an int >= 1, got 0"),
        ("batches = 0", "5: queue.b.batches: expected batches to be an int >= 1, got 0"),
        ("max_claims = 0", "5: queue.b.max_claims: expected max_claims to be an int >= 1, got 0"),
        ("max_length = 0", "5: queue.b.max_length: expected max_length to be an int >= 1, got 0"),
        ("flush = 1", "5: queue.b.flush: unknown key 'flush'"),
        (
            'buffer = "merging"\nmerge_key = "pages:key"',
            "2: queue.b: buffer 'merging' needs a merge",
        ),
        ('merge = "pages:merge"', "5: queue.b.merge: merge needs buffer = 'merging'"),
        (
            'buffer = "mergin"',
            (
                "5: queue.b.buffer: expected buffer to be 'appending' or 'merging' or a target "
                "'module:attr', got 'mergin' (did you mean 'merging'?)"
            ),
        ),
        ('buffer = "pages:heap"', "5: queue.b.buffer: 'pages:heap': there is no 'heap'"),
        (
            'on_process_error = "pages:nothing"',
            "5: queue.b.on_process_error: 'pages:nothing': there is no 'nothing'",
        ),
        (
            'on_internal_error = "pages:number"',
            "5: queue.b.on_internal_error: 'pages:number' is not callable, it is a int",
        ),
        ('on_exhausted = "nowhere"', "5: queue.b.on_exhausted: there is no queue 'nowhere'"),
        ('on_exhausted = "b"', "5: queue.b.on_exhausted: a queue cannot be its own dead letter"),
        ('codec = "gob"', "5: queue.b.codec: expected codec to be"),
    ],
)
def test_every_fault_stands_at_its_line(lines: str, fault: str) -> None:
    (told,) = faults(BATCH + lines)

    assert told.startswith(f"q.toml:{fault}")


def test_the_process_function_is_required() -> None:
    assert faults('[queue.b]\nkind = "batch"') == ["q.toml:2: queue.b: process is required"]


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("pages:nothing", "'pages:nothing': there is no 'nothing'"),
        ("pages:number", "'pages:number' is not callable, it is a int"),
        ("pages:generator", "is a generator function, whose body would not run"),
    ],
)
def test_the_process_function_is_looked_up(target: str, fault: str) -> None:
    (told,) = faults(f'[queue.b]\nkind = "batch"\nprocess = "{target}"')

    assert told.startswith("q.toml:4: queue.b.process: ")
    assert told.endswith(fault)


def test_a_worker_cannot_feed_on_a_batch_queue() -> None:
    text = '[worker.w]\nqueue = "b"\nhandler = "pages:process"\n'

    (told,) = faults(BATCH + text)

    assert told == (
        "q.toml:6: worker.w.queue: expected a timed, channel or message queue, 'b' is none"
    )


# -- retry policies --------------------------------------------------------------------------------


WORKER = '[worker.w]\nqueue = "a"\nhandler = "pages:process"\n'
POLICIES: dict[str, RetryPolicy] = {
    'policy = "fixed", attempts = 3, interval = "500ms"': Fixed(3, 0.5),
    'policy = "fixed", attempts = 3, interval = 1, jitter = 0, cooldown = "1m"': Fixed(
        3, 1, jitter=0, cooldown=60
    ),
    'policy = "linear", attempts = 5, min = "1s", max = "1m"': Linear(5, 1, 60),
    'policy = "linear", attempts = 5, min = 1, max = 9, step = 2': Linear(5, 1, 9, 2),
    'policy = "exponential"': Exponential(),
    "": Exponential(),
    "attempts = 3": Exponential(3),
    'policy = "exponential", attempts = 4, min = 1, max = "2h", base = 1.5': Exponential(
        4, 1, 7200, 1.5
    ),
}


@pytest.mark.parametrize("table", POLICIES)
def test_a_table_is_a_policy_for_a_batch_queue_and_for_a_worker(table: str) -> None:
    assert options_of(f"retry = {{ {table} }}").retry == POLICIES[table]
    config = load(QUEUE + WORKER + f"backoff = {{ {table} }}")
    assert config.workers["w"].backoff == POLICIES[table]


def test_a_table_may_stand_alone() -> None:
    lines = '[queue.b.retry]\npolicy = "fixed"\nattempts = 2\ninterval = 3\n'

    assert options_of(lines).retry == Fixed(2, 3)


def test_a_policy_may_be_a_target() -> None:
    assert type(options_of('retry = "pages:policy"').retry).__name__ == "Policy"
    config = load(QUEUE + WORKER + 'backoff = "pages:policy"')
    assert type(config.workers["w"].backoff).__name__ == "Policy"


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        (
            'policy = "fixd", attempts = 1, interval = 1',
            (
                ".policy: expected policy to be 'fixed', 'linear' or 'exponential', got 'fixd' "
                "(did you mean 'fixed'?)"
            ),
        ),
        ("policy = 1", ".policy: expected policy to be 'fixed', 'linear' or 'exponential', got 1"),
        ('policy = "fixed", attempts = 1', ": interval is required"),
        (
            'policy = "fixed", attempts = 1, interval = 1, min = 2',
            ".min: unknown key 'min'",
        ),
        (
            'policy = "fixed", attempts = -1, interval = 1',
            ".attempts: expected attempts to be an int >= 0, got -1",
        ),
        (
            'policy = "fixed", attempts = "3", interval = 1',
            ".attempts: expected attempts to be an int, got '3'",
        ),
        (
            'policy = "fixed", attempts = 1, interval = "x"',
            (
                ".interval: expected interval to be seconds >= 0 or a duration such as "
                "'250ms', '30s', '5m', '2h' or '7d', got 'x'"
            ),
        ),
        (
            'policy = "fixed", attempts = 1, interval = 1, jitter = 1',
            ".jitter: expected jitter to be a share >= 0 and < 1, got 1.0",
        ),
        (
            'policy = "fixed", attempts = 0, interval = 1, cooldown = 1',
            ".cooldown: cooldown needs a limit of attempts: without one it never comes to that",
        ),
        (
            'policy = "linear", attempts = 1, min = 2, max = 1',
            ".max: expected max to be more than min, 2.0, got 1.0",
        ),
        (
            'policy = "linear", attempts = 1, min = 1, max = 2, step = 0',
            ".step: expected step to be seconds > 0, got 0.0",
        ),
        (
            'policy = "exponential", base = 1',
            ".base: expected base to be a number > 1 and < 1e+09, got 1.0",
        ),
    ],
)
def test_every_fault_of_a_policy_stands_at_its_key(table: str, fault: str) -> None:
    (of_queue,) = faults(BATCH + f"retry = {{ {table} }}")
    (of_worker,) = faults(QUEUE + WORKER + f"backoff = {{ {table} }}")

    assert of_queue == f"q.toml:5: queue.b.retry{fault}"
    assert of_worker == f"q.toml:8: worker.w.backoff{fault}"


def test_several_faults_of_a_policy_are_told_at_once() -> None:
    lines = '[queue.b.retry]\npolicy = "linear"\nattempts = -1\nmin = 0\nmax = 1\njitter = 2\n'

    assert [line.split(": ")[0] for line in faults(BATCH + lines)] == [
        "q.toml:7",
        "q.toml:8",
        "q.toml:10",
    ]


@pytest.mark.parametrize("value", ["1", '"2s"', "true", "[1]", '"pages:number"', '"pages:Policy"'])
def test_what_is_no_policy_is_refused(value: str) -> None:
    (told,) = faults(BATCH + f"retry = {value}")

    assert told.startswith("q.toml:5: queue.b.retry: expected retry to be a ")


def test_a_policy_in_code_data_is_taken_as_it_is() -> None:
    policy = Fixed(2, 1)
    queue: dict[str, object] = {"kind": "batch", "process": print, "retry": policy}

    config = load_config({"schema": 1, "queue": {"b": queue}}, environ={})

    assert config.queues["b"].options.retry is policy


def test_a_policy_may_come_from_variables() -> None:
    lines = 'retry = { policy = "${P}", attempts = "${N}", interval = "${I}" }'

    options = load(BATCH + lines, {"P": "fixed", "N": "4", "I": "5s"}).queues["b"].options

    assert options.retry == Fixed(4, 5)


def test_defaults_cascade_and_are_shown() -> None:
    text = (
        '[defaults.queue]\nworkers = 3\nretry = { policy = "fixed", attempts = 2, interval = 1 }\n'
    )
    config = load(text + BATCH)
    options = config.queues["b"].options

    assert isinstance(options, BatchOptions)
    assert (options.workers, options.retry) == (3, Fixed(2, 1))


def test_what_is_printed_loads_again_with_the_same_policies() -> None:
    policies = ['policy = "linear", attempts = 5, min = 1, max = 9', 'policy = "exponential"']
    text = BATCH + f"retry = {{ {policies[0]} }}\n" + QUEUE + WORKER
    config = load(text + f"backoff = {{ {policies[1]} }}\n" + BATCH.replace("b", "c", 1))

    shown = render(config)
    pathlib.Path("q.toml").write_text(shown, encoding="utf-8")

    again = load_config("q.toml", environ={})
    assert {name: queue.options for name, queue in again.queues.items()} == {
        name: queue.options for name, queue in config.queues.items()
    }
    assert again.workers["w"].backoff == Exponential()
    default = 'policy = "exponential", attempts = 0, min = 1.0, max = 3600.0, base = 2.0'
    assert f"retry = {{{default}, jitter = 0.1, cooldown = 0.0}}  # default" in shown


async def test_a_configured_batch_queue_runs(autojump_clock: MockClock) -> None:
    load(BATCH + 'flush_size = 2\nflush_timeout = "5s"')

    async with open_runtime("q.toml") as runtime:
        await runtime.queue("b").push_many("abc")
        await trio.sleep(6)
        numbers = await runtime.queue("b").statistics()

    assert (numbers.processed, numbers.batches) == (3, 0)


async def test_a_supervisor_table_places_the_queue_with_its_processing() -> None:
    load(BATCH + '[supervisor.s]\nstrategy = "one_for_all"\n[[supervisor.s.child]]\nqueue = "b"\n')

    async with open_runtime("q.toml") as runtime:
        drawn = str(runtime.tree())

    assert "queue.b" in drawn
    assert "process.b" in drawn
