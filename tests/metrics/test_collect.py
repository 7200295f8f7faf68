"""What is in the metrics of a runtime, and that it is right whatever happens to its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from queueactors import (
    Clock,
    Config,
    Delivery,
    Fixed,
    MemoryStore,
    Retry,
    Runtime,
    StoreError,
    open_runtime,
)
from queueactors.metrics._rows import Part, Row, families
from queueactors.metrics._tables import (
    KIND_TABLES,
    LIQ,
    LIQ_PROCESS,
    PROCESS,
    QUEUE,
    RUNTIME,
    STORE,
    SUPERVISOR,
    WORKER,
)
from queueactors.metrics._values import Labels
from queueactors.queues import KINDS
from queueactors.stores import StoreStatistics
from queueactors.workers._statistics import KEYS, Sketch
from supervisors import (
    ActorCrashedError,
    ActorDownError,
    ChildSpec,
    DynamicSupervisor,
    dynamic_child_spec,
)

if TYPE_CHECKING:
    from pathlib import Path

    from queueactors import (
        BatchQueue,
        CapacityQueue,
        ChannelQueue,
        LogQueue,
        MessageQueue,
        TimedQueue,
    )
    from queueactors._histogram import Buckets
    from queueactors.metrics import Metrics
    from queueactors.queues import QueueActor
    from tests.conftest import Events


async def process(_queue: BatchQueue, items: list[object]) -> None:
    await trio.lowlevel.checkpoint()
    if "bad" in items:
        raise ValueError("bad")


KIND: dict[str, dict[str, object]] = {
    "timed": {"kind": "timed", "reservation_time": 30},
    "message": {"kind": "message"},
    "batch": {"kind": "batch", "process": process},
    "log": {"kind": "log"},
    "capacity": {"kind": "capacity", "max_elements": 3},
    "channel": {"kind": "channel", "limit": 3},
}
EACH: dict[str, dict[str, object]] = {
    "queue": {name: dict(options) for name, options in KIND.items()}
}
ACTORS = {"waiting", "mailbox", "restarts"}  # and who waits for room, whatever that is called
ROOM = {"inserting", "enqueueing", "sending", "pushing", "adding"}

settle = wait_all_tasks_blocked


async def handle(_delivery: Delivery) -> None:
    await trio.lowlevel.checkpoint()


def actor_of(runtime: Runtime, name: str) -> QueueActor:
    return cast("QueueActor", runtime.queue(name)._actor)  # noqa: SLF001


async def crash(runtime: Runtime, name: str) -> None:
    """Let a queue's actor crash, and restart at once."""
    actor = actor_of(runtime, name)
    engine = actor._engine  # noqa: SLF001
    assert engine is not None

    def boom(*_args: object) -> object:
        raise RuntimeError("boom")

    engine.wrap(lambda _method: boom)  # type: ignore[attr-defined] # a local one
    with pytest.raises(ActorCrashedError):
        await runtime.queue(name).clear()
    await settle()


# -- completeness ----------------------------------------------------------------------------------


def test_every_kind_has_a_table() -> None:
    assert set(KIND_TABLES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_field_of_a_kinds_statistics_has_a_row(
    kind: str, autojump_clock: MockClock
) -> None:
    async with open_runtime({"queue": {"q": KIND[kind]}}) as runtime:
        fields = {field.name for field in attrs.fields(type(await runtime.queue("q").statistics()))}

    rows = {row.field.partition(".")[0] for row in KIND_TABLES[kind]}
    assert rows == fields - ACTORS - ROOM


def test_every_count_of_a_worker_has_a_row() -> None:
    counted = {row.field.removeprefix("counts.") for row in WORKER if "." in row.field}

    assert counted == set(KEYS)


def test_every_number_of_a_store_has_a_row() -> None:
    assert {row.field for row in STORE} == {each.name for each in attrs.fields(StoreStatistics)}


def test_rows_of_one_name_say_the_same_of_it() -> None:
    tables = [QUEUE, RUNTIME, STORE, SUPERVISOR, WORKER, *KIND_TABLES.values()]
    by_name: dict[str, set[tuple[str, str, str]]] = {}
    for row in (row for table in tables for row in table):
        by_name.setdefault(row.name, set()).add((row.type, row.help, row.unit))

    assert {name for name, told in by_name.items() if len(told) > 1} == set()


@pytest.mark.parametrize("table", [*KIND_TABLES.values(), QUEUE, WORKER, STORE, SUPERVISOR, LIQ])
def test_no_two_rows_of_a_table_are_one_series(table: tuple[Row, ...]) -> None:
    assert len({(row.name, row.labels) for row in table}) == len(table)


async def test_every_family_of_every_kind_is_there_from_the_start(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(EACH) as runtime:
        found = {
            (family.name, dict(labels)["kind"])
            for family in runtime.metrics()
            for labels, _ in family.samples
            if "kind" in dict(labels)
        }

    absent = {"queue_oldest_age_seconds", "queue_last_refill", "queue_behind"}  # there is none
    assert found == {
        (f"queueactors_{row.name}", kind)
        for kind, table in KIND_TABLES.items()
        for row in (*QUEUE, *table, *(PROCESS if kind == "batch" else ()))
        if row.name not in absent
    }


# -- queues ----------------------------------------------------------------------------------------


async def test_the_numbers_are_those_of_the_queues_own_statistics(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(EACH) as runtime:
        queue: TimedQueue = runtime.queue("timed")
        await queue.insert("a")
        await queue.insert("b", delay=5)
        await trio.sleep(2)
        metrics = runtime.metrics()
        statistics = await queue.statistics()

    labels = {"queue": "timed", "kind": "timed"}
    ready = metrics.value("queueactors_queue_messages", **labels, state="ready")
    assert ready == statistics.ready == 1
    assert metrics.value("queueactors_queue_messages", **labels, state="delayed") == 1
    assert metrics.value("queueactors_queue_inserted", **labels) == statistics.inserted == 2
    assert metrics.value("queueactors_queue_oldest_age_seconds", **labels) == 2.0
    assert metrics.value("queueactors_queue_up", **labels) == 1


async def test_what_has_become_due_counts_and_what_ended_by_itself_too(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(EACH) as runtime:
        queue: TimedQueue = runtime.queue("timed")
        await queue.insert("a", delay=5)
        await queue.pause(3)
        before = runtime.metrics()
        await trio.sleep(10)
        after = runtime.metrics()

    labels = {"queue": "timed", "kind": "timed"}
    assert before.value("queueactors_queue_messages", **labels, state="ready") == 0
    assert before.value("queueactors_queue_paused", **labels) == 1
    assert after.value("queueactors_queue_messages", **labels, state="ready") == 1
    assert after.value("queueactors_queue_paused", **labels) == 0


async def test_taking_the_metrics_changes_nothing_and_asks_nobody(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(EACH) as runtime:
        queue: ChannelQueue = runtime.queue("channel")
        for number in range(3):
            queue.send_nowait(number)

        first, second = runtime.metrics(), runtime.metrics()

        assert first.text() == second.text()
        assert first.value("queueactors_queue_mailbox", queue="channel", kind="channel") == 3
        assert first.value("queueactors_queue_sent", queue="channel", kind="channel") == 0


async def test_it_tells_who_waits(autojump_clock: MockClock) -> None:
    async with open_runtime(EACH) as runtime, trio.open_nursery() as nursery:
        timed: TimedQueue = runtime.queue("timed")
        channel: ChannelQueue = runtime.queue("channel")
        nursery.start_soon(timed.reserve)
        for number in range(5):
            nursery.start_soon(channel.send, number)
        await settle()
        metrics = runtime.metrics()
        nursery.cancel_scope.cancel()

    assert metrics.value("queueactors_queue_waiting", queue="timed", kind="timed") == 1
    waiting = metrics.value("queueactors_queue_waiting_for_room", queue="channel", kind="channel")
    assert waiting == 2


async def test_a_stopped_queue_is_down_and_its_last_numbers_stay(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(EACH) as runtime:
        queue: TimedQueue = runtime.queue("timed")
        for value in ("a", "b"):
            await queue.insert(value)
        await runtime.stop("timed")
        metrics = runtime.metrics()
        with pytest.raises(ActorDownError):
            await queue.statistics()

    labels = {"queue": "timed", "kind": "timed"}
    assert metrics.value("queueactors_queue_up", **labels) == 0
    assert metrics.value("queueactors_queue_messages", **labels, state="ready") == 2
    assert metrics.value("queueactors_queue_inserted", **labels) == 2


@pytest.mark.parametrize("kind", ["timed", "message", "channel"])
async def test_counters_go_on_after_a_crash_of_the_actor(
    kind: str, autojump_clock: MockClock
) -> None:
    name = {"timed": "inserted", "message": "added", "channel": "sent"}[kind]
    async with open_runtime(EACH) as runtime:
        queue = runtime.queue(kind)
        put = {"timed": "insert", "message": "enqueue", "channel": "send"}[kind]
        seen = []
        for number in range(3):
            await getattr(queue, put)(str(number))
            await crash(runtime, kind)
            await trio.sleep(40)
            seen.append(runtime.metrics())

    labels = {"queue": kind, "kind": kind}
    assert [each.value(f"queueactors_queue_{name}", **labels) for each in seen] == [1, 2, 3]
    assert [each.value("queueactors_queue_restarts", **labels) for each in seen] == [1, 2, 3]
    restarts = seen[-1].value("queueactors_supervisor_restarts", supervisor="queueactors/queues")
    assert restarts == 3


async def test_no_counter_goes_back_when_a_commit_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    config = {
        "store": {"disk": {"type": "sqlite", "path": str(tmp_path / "d.sqlite"), "commit": "loop"}},
        "queue": {"q": KIND["timed"] | {"store": "disk"}},
    }
    labels = {"queue": "q", "kind": "timed"}
    async with open_runtime(config) as runtime:
        queue: TimedQueue = runtime.queue("q")
        await queue.insert("a")
        engine = actor_of(runtime, "q")._engine  # noqa: SLF001
        journal = engine._journal  # type: ignore[union-attr] # noqa: SLF001 - a durable one
        during: list[Metrics] = []

        async def fail(_changes: object) -> None:
            await trio.lowlevel.checkpoint()
            during.append(runtime.metrics())
            raise StoreError("disk", "not applied", "full")

        monkeypatch.setattr(journal, "write", fail)
        with pytest.raises(StoreError):
            await queue.insert("b")
        stale = runtime.metrics()
        monkeypatch.undo()
        assert await queue.len() == 1
        after = runtime.metrics()
        statistics = await queue.statistics()

    inserted = "queueactors_queue_inserted"
    assert [each.value(inserted, **labels) for each in (*during, stale, after)] == [2, 2, 2]
    assert statistics.inserted == 1
    assert after.value("queueactors_queue_messages", **labels, state="ready") == 1


async def test_what_a_failed_commit_undid_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    config = {
        "store": {"disk": {"type": "sqlite", "path": str(tmp_path / "d.sqlite"), "commit": "loop"}},
        "queue": {"q": KIND["timed"] | {"store": "disk"}},
    }
    labels = {"queue": "q", "kind": "timed"}
    async with open_runtime(config) as runtime:
        queue: TimedQueue = runtime.queue("q")
        await queue.insert("a")
        runtime.metrics()
        engine = actor_of(runtime, "q")._engine  # noqa: SLF001
        journal = engine._journal  # type: ignore[union-attr] # noqa: SLF001 - a durable one

        async def fail(_changes: object) -> None:
            await trio.lowlevel.checkpoint()
            raise StoreError("disk", "not applied", "full")

        monkeypatch.setattr(journal, "write", fail)
        with pytest.raises(StoreError):
            await queue.insert("b")
        metrics = runtime.metrics()
        monkeypatch.undo()

    assert metrics.value("queueactors_queue_messages", **labels, state="ready") == 1
    assert metrics.value("queueactors_queue_up", **labels) == 1


async def test_a_dropped_queue_is_gone(autojump_clock: MockClock) -> None:
    async with open_runtime(EACH) as runtime:
        runtime.metrics()
        await runtime.drop("message")
        metrics = runtime.metrics()

    assert 'queue="message"' not in metrics.text()
    assert metrics.value("queueactors_queues") == len(EACH["queue"]) - 1


def told(metrics: Metrics, kind: str, *names: str) -> list[object]:
    """Return some numbers of the queue ``q``."""
    rows = {row.name: dict(row.labels) for row in KIND_TABLES[kind][::-1]}
    return [
        metrics.value(f"queueactors_queue_{name}", queue="q", kind=kind, **rows[f"queue_{name}"])
        for name in names
    ]


async def test_a_log_tells_how_far_its_slowest_reader_is_behind(
    autojump_clock: MockClock,
) -> None:
    names = ("messages", "labels", "behind", "disk_bytes", "items_added", "items_read")
    async with open_runtime({"queue": {"q": KIND["log"] | {"ttl": 60}}}) as runtime:
        queue: LogQueue = runtime.queue("q")
        await queue.add(b"a", b"bb", b"ccc")
        await queue.next("fast", limit=3)
        await queue.wait_next("slow")
        before = runtime.metrics()
        await trio.sleep(70)
        after = runtime.metrics()

    assert told(before, "log", *names) == [3, 2, 2, 6, 3, 4]
    assert told(after, "log", *names, "items_expired") == [0, 2, 0, 0, 3, 4, 3]


async def test_a_capacity_queue_tells_its_capacity(autojump_clock: MockClock) -> None:
    names = ("messages", "capacity", "payload_bytes", "pushed", "popped", "cleared")
    async with open_runtime({"queue": {"q": KIND["capacity"]}}) as runtime:
        queue: CapacityQueue = runtime.queue("q")
        await queue.push(b"a", b"bb", b"ccc")
        await queue.pop()
        metrics = runtime.metrics()

    assert told(metrics, "capacity", *names) == [2, 3, 5, 3, 1, 0]


async def processed(metrics: dict[str, object]) -> Metrics:
    """Return the metrics of a batch queue that has processed 7 items and failed at some."""
    config = {"queue": {"b": KIND["batch"] | {"flush_size": 7, "retry": Fixed(2, 5)}}}
    async with open_runtime(config | {"metrics": metrics}) as runtime:
        batches: BatchQueue = runtime.queue("b")
        await batches.push_many(range(7))
        await batches.push("bad")
        await batches.flush()
        await settle()
        await batches.push("buffered")
        return runtime.metrics()


async def test_a_batch_queue_counts_items_by_trigger_and_times_its_calls(
    autojump_clock: MockClock,
) -> None:
    metrics = await processed({})

    def value(name: str, **labels: str) -> object:
        return metrics.value(f"queueactors_queue_{name}", queue="b", kind="batch", **labels)

    assert (value("flushed", trigger="size"), value("flushed", trigger="manual")) == (7, 1)
    assert (value("processed"), value("process_errors"), value("pushed")) == (7, 1, 9)
    assert (value("buffered_items"), value("stored_items"), value("stored_batches")) == (1, 1, 1)
    assert value("batches", state="retrying") == 1
    assert cast("Buckets", value("process_seconds")).n == 2
    assert not [family.name for family in metrics if family.name.startswith("liq")]


async def test_a_batch_queue_has_the_names_of_the_seed_if_they_are_wanted(
    autojump_clock: MockClock,
) -> None:
    metrics = await processed({"liq_names": True})

    names = {family.name for family in metrics if family.name.startswith("liq")}
    assert names == {row.name for row in (*LIQ, *LIQ_PROCESS)}
    assert metrics.value("liq_items", queue="b") == 1
    assert metrics.value("liq_batches", queue="b") == 1
    assert metrics.value("liq_items_flushed", queue="b", type="manual") == 1
    assert metrics.value("liq_items_flushed", queue="b", type="context") == 0
    duration = cast("Buckets", metrics.value("liq_process_duration", queue="b"))
    assert duration.bounds == tuple(float(1 << power) for power in range(12))
    assert duration.n == 2
    assert '\nliq_items_pushed_total{queue="b"} 9\n' in metrics.openmetrics()


async def test_calls_of_queues_that_share_a_series_are_added_up(autojump_clock: MockClock) -> None:
    queues = dict.fromkeys(("a", "b", "c"), KIND["batch"])
    metrics = {"max_queues": 1, "liq_names": True}
    async with open_runtime({"queue": queues, "metrics": metrics}) as runtime:
        for queue in runtime.queues():
            await cast("BatchQueue", queue).push("item")
        await settle()
        found = runtime.metrics()

    shared = cast(
        "Buckets", found.value("queueactors_queue_process_seconds", queue="_other", kind="batch")
    )
    assert shared.n == 2
    assert found.value("liq_items_processed", queue="_other") == 2


async def test_operations_of_a_turn_are_counted(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"q": {"kind": "channel"}}}) as runtime:
        queue: ChannelQueue = runtime.queue("q")
        for number in range(7):
            queue.send_nowait(number)
        await settle()
        turns = cast("Buckets", runtime.metrics().value("queueactors_turn_operations"))

    assert (turns.n, turns.sum) == (1, 7)


# -- workers ---------------------------------------------------------------------------------------


async def test_a_workers_numbers_go_on_after_its_restart(autojump_clock: MockClock) -> None:
    async def once_more(delivery: Delivery) -> object:
        await trio.sleep(2)
        return Retry(backoff=0) if delivery.attempt == 1 else None

    async with open_runtime(EACH) as runtime:
        queue: MessageQueue = runtime.queue("message")
        await runtime.start_worker(queue, once_more, name="w")
        seen = []
        for mid in ("a", "b"):
            await queue.enqueue("x", mid)
            await trio.sleep(10)
            await runtime.restart("worker.w")
            seen.append(runtime.metrics())

    labels = {"worker": "w", "queue": "message"}
    handled = "queueactors_worker_handled"
    assert [each.value(handled, **labels, result="success") for each in seen] == [1, 2]
    assert [each.value(handled, **labels, result="retry") for each in seen] == [1, 2]
    assert seen[-1].value("queueactors_worker_restarts", **labels) == 2
    assert seen[-1].value("queueactors_worker_running", **labels) == 1
    times = cast("Buckets", seen[-1].value("queueactors_worker_handling_seconds", **labels))
    assert (times.n, times.sum) == (4, 8.0)
    assert times.counts[times.bounds.index(2.5)] == 4


def test_a_sketch_as_a_histogram_is_right_but_for_two_percent() -> None:
    sketch = Sketch()
    for number in range(1, 1001):
        sketch.add(number / 100)
    sketch.add(0)

    buckets = sketch.buckets((1.0, 5.0))

    assert buckets.n == 1001
    assert buckets.counts[0] == pytest.approx(101, abs=2)
    assert buckets.counts[1] == pytest.approx(400, abs=8)
    assert buckets.sum == pytest.approx(5005)


# -- stores and supervisors ------------------------------------------------------------------------


async def test_a_store_tells_its_commits(tmp_path: Path, autojump_clock: MockClock) -> None:
    config = {
        "store": {"disk": {"type": "sqlite", "path": str(tmp_path / "d.sqlite"), "commit": "loop"}},
        "queue": {"q": KIND["timed"] | {"store": "disk"}},
    }
    async with open_runtime(config) as runtime:
        before = cast("int", runtime.metrics().value("queueactors_store_commits", store="disk"))
        await runtime.queue("q").insert("a")
        metrics = runtime.metrics()

    assert metrics.value("queueactors_store_commits", store="disk") == before + 1
    assert metrics.value("queueactors_store_up", store="disk") == 1
    assert metrics.value("queueactors_store_failures", store="disk") == 0
    seconds = cast("Buckets", metrics.value("queueactors_store_commit_seconds", store="disk"))
    assert seconds.n == before + 1
    assert 'store="memory"' not in metrics.text()


async def test_a_parked_child_is_in_the_metrics(autojump_clock: MockClock) -> None:
    async def never(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        raise RuntimeError("boom")

    child = {"start": never, "id": "bad", "on_give_up": "park"}
    config = {"supervisor": {"s": {"intensity": 0, "child": [child]}}}
    async with open_runtime(config) as runtime:
        await settle()
        metrics = runtime.metrics()
        told = runtime.not_ready()

    path = "queueactors/supervisors/supervisor.s"
    assert metrics.value("queueactors_parked_children") == 1
    states = "queueactors_supervisor_children"
    assert metrics.value(states, supervisor=path, state="parked") == 1
    assert metrics.value(states, supervisor=path, state="running") == 0
    assert told == (f"{path}/bad is parked",)


async def test_a_child_that_waits_for_its_restart_is_not_ready(autojump_clock: MockClock) -> None:
    async def never(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        raise RuntimeError("boom")

    child = {"start": never, "id": "bad", "backoff": {"min": 10}}
    async with open_runtime({"supervisor": {"s": {"intensity": 9, "child": [child]}}}) as runtime:
        await settle()

        assert runtime.not_ready() == ("queueactors/supervisors/supervisor.s/bad is restarting",)


async def test_what_a_dynamic_supervisor_has_parked_is_not_ready(autojump_clock: MockClock) -> None:
    async def never(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        raise RuntimeError("boom")

    start = dynamic_child_spec("pool", intensity=0).start
    config = {"supervisor": {"s": {"child": [{"start": start, "id": "pool"}]}}}
    async with open_runtime(config) as runtime:
        pool = next(each for each in runtime.supervisor.supervisors() if each.name == "supervisors")
        dynamic = pool.supervisors()[0].value_of("pool")
        assert isinstance(dynamic, DynamicSupervisor)
        await dynamic.start_child(ChildSpec(id="bad", start=never, on_give_up="park"))
        await settle()

        assert runtime.not_ready() == ("queueactors/supervisors/supervisor.s/pool/bad is parked",)
        assert runtime.parked() == ("bad",)


async def test_a_runtime_that_stops_is_not_ready(autojump_clock: MockClock) -> None:
    async def slow(delivery: object) -> None:
        await trio.sleep(1)

    config = {
        "queue": {"q": {"kind": "timed", "reservation_time": 30, "values": ["a"]}},
        "worker": {"w": {"queue": "q", "handler": slow}},
    }
    told: list[tuple[str, ...]] = []
    async with trio.open_nursery() as nursery, open_runtime(config) as runtime:

        async def look() -> None:
            await trio.sleep(0.5)
            told.append(runtime.not_ready())

        nursery.start_soon(look)
        await trio.sleep(0.1)

    assert told == [("the runtime is stopping",)]
    assert runtime.not_ready() == ("the runtime is stopped",)


# -- how many there may be -------------------------------------------------------------------------


async def test_queues_beyond_the_limit_are_one_series_for_each_kind(
    events: Events, autojump_clock: MockClock
) -> None:
    queues = {f"q{number}": KIND["channel"] for number in range(5)} | {"t": KIND["timed"]}
    async with open_runtime({"queue": queues, "metrics": {"max_queues": 2}}) as runtime:
        for number in range(5):
            for _ in range(min(number, 3)):
                await runtime.queue(f"q{number}").send("x")
        runtime.metrics()
        metrics = runtime.metrics()

    sent = next(each for each in metrics if each.name == "queueactors_queue_sent")
    assert {dict(labels)["queue"]: value for labels, value in sent.samples} == {
        "q0": 0,
        "q1": 1,
        "_other": 2 + 3 + 3,
    }
    assert metrics.value("queueactors_queue_up", queue="_other", kind="channel") == 3
    assert metrics.value("queueactors_queue_up", queue="_other", kind="timed") == 1
    assert [each for each in events if each["event"] == "metrics_limited"] == [
        {
            "event": "metrics_limited",
            "log_level": "warning",
            "option": "max_queues",
            "most": 2,
            "first": "q2",
        }
    ]


async def test_workers_beyond_the_limit_are_one_series(autojump_clock: MockClock) -> None:
    async with open_runtime(EACH | {"metrics": {"max_workers": 1}}) as runtime:
        for name in ("a", "b", "c"):
            await runtime.start_worker("message", handle, name=name, concurrency=2)
        await runtime.queue("message").enqueue("x")
        await trio.sleep(1)
        metrics = runtime.metrics()

    other = {"worker": "_other", "queue": "_other"}
    assert metrics.value("queueactors_worker_concurrency", **other) == 4
    assert metrics.value("queueactors_worker_concurrency", worker="a", queue="message") == 2
    both = [other, {"worker": "a", "queue": "message"}]
    times = [metrics.value("queueactors_worker_handling_seconds", **each) for each in both]
    assert sum(cast("Buckets", each).n for each in times) == 1


async def test_a_queue_of_the_name_of_all_others_is_one_of_them(
    autojump_clock: MockClock,
) -> None:
    queues = {"_other": KIND["channel"], "b": KIND["channel"]}
    async with open_runtime({"queue": queues, "metrics": {"max_queues": 1}}) as runtime:
        up = next(each for each in runtime.metrics() if each.name == "queueactors_queue_up")

    assert [(dict(labels)["queue"], value) for labels, value in up.samples] == [("_other", 2)]


def test_the_oldest_of_several_is_the_oldest_of_all() -> None:
    @attrs.frozen
    class Some:
        oldest_age: float | None

    (row,) = [each for each in KIND_TABLES["timed"] if each.field == "oldest_age"]
    numbers = (Some(1.0), Some(None), Some(3.0))

    (family,) = families("", (Part((row,), ((Labels(), numbers),)),))
    assert family.samples == ((Labels(), 3.0),)
    assert not list(families("", (Part((row,), ((Labels(), numbers[1:2]),)),)))


# -- the snapshot ----------------------------------------------------------------------------------


async def test_a_snapshot_does_not_change(autojump_clock: MockClock) -> None:
    async with open_runtime(EACH) as runtime:
        metrics = runtime.metrics()
        text = str(metrics)
        await runtime.queue("timed").insert("a")
        await runtime.start_worker("timed", handle)
        await trio.sleep(1)

        assert metrics.text() == text
        assert len(metrics.families) == len(list(metrics))


async def test_a_sample_that_is_not_there_is_an_error(autojump_clock: MockClock) -> None:
    async with open_runtime(EACH) as runtime:
        metrics = runtime.metrics()

    with pytest.raises(LookupError, match=r"^there is no queueactors_queue_up with labels {}$"):
        metrics.value("queueactors_queue_up")


async def test_names_begin_with_what_you_say(autojump_clock: MockClock) -> None:
    async with open_runtime(EACH | {"metrics": {"namespace": "mine"}}) as runtime:
        assert all(family.name.startswith("mine_") for family in runtime.metrics())


async def test_a_runtime_that_has_ended_still_tells_its_last_numbers(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(EACH) as runtime:
        await runtime.queue("timed").insert("a")

    metrics = runtime.metrics()
    labels = {"queue": "timed", "kind": "timed"}
    assert metrics.value("queueactors_queue_up", **labels) == 0
    assert metrics.value("queueactors_queue_inserted", **labels) == 1


async def test_a_runtime_that_is_starting_is_not_ready_and_has_metrics(
    autojump_clock: MockClock,
) -> None:
    runtime = Runtime(Config(), Clock.open())

    assert runtime.not_ready() == ("the runtime is starting",)
    assert runtime.metrics().value("queueactors_queues") == 0


async def test_a_store_of_your_own_needs_no_numbers(autojump_clock: MockClock) -> None:
    async with open_runtime({"store": {"own": {"type": Plain}}}) as runtime:
        assert "queueactors_store" not in runtime.metrics().text()
        assert runtime.not_ready() == ()


class Plain(MemoryStore):
    pass
