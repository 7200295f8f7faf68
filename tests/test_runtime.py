"""The runtime: definitions, look-ups, the tree, stop and start by name.

Over 500 lines, because a runtime is all of these together: one list of what it promises.
"""

from __future__ import annotations

import gc
import re
import signal
import weakref
from functools import partial
from random import Random
from typing import TYPE_CHECKING, ClassVar

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from queueactors import (
    Clock,
    Delivery,
    MemoryStore,
    OptionsError,
    QueueNotFoundError,
    TimedQueue,
    WorkerNotFoundError,
    load_config,
    open_runtime,
    wait_until_idle,
)
from queueactors.config import StoreConfig
from queueactors.testing import InjectedCrash, cancel_at_every_step
from supervisors import (
    ActorCrashedError,
    ActorDownError,
    ChildStartError,
    RestartIntensityError,
    Shutdown,
    SupervisorStoppedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from pathlib import Path

    from queueactors import Config, Runtime
    from queueactors.engines import Engine, Parked
    from queueactors.stores import Kind, Place
    from supervisors import ChildStatus

    Events = list[MutableMapping[str, object]]

TIMED = {"kind": "timed", "reservation_time": 30}
NOW = {"min": 0, "max": 0}  # a backoff: none

settle = wait_all_tasks_blocked


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    """Return the list that log events go to: tests are quiet, and can read it."""
    with capture_logs() as captured:
        yield captured


async def handle(_delivery: Delivery) -> None:
    await trio.lowlevel.checkpoint()


# -- opening ---------------------------------------------------------------------------------------


async def test_a_runtime_opens_from_nothing(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        assert (runtime.queues(), runtime.workers(), runtime.parked()) == ((), (), ())
        assert repr(runtime) == "<Runtime 'queueactors', 0 queues, 0 workers>"


async def test_a_runtime_opens_from_a_mapping_a_file_and_a_config(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    file = tmp_path / "queues.toml"
    file.write_text('schema = 1\n[queue.jobs]\nkind = "timed"\nreservation_time = "30s"\n')
    mapping = {"queue": {"jobs": TIMED}}

    for source in (mapping, file, str(file), load_config(mapping)):
        async with open_runtime(source) as runtime:
            await runtime.queue("jobs").insert("x")
            assert await runtime.queue("jobs").len() == 1


async def test_the_clock_can_be_given(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}, clock=Clock(1000, 0.0)) as runtime:
        assert runtime.queue("jobs").clock.now_ns() < 10**9


@pytest.mark.parametrize("placed", [False, True])
async def test_the_dice_of_all_backoffs_can_be_given(
    placed: bool,  # noqa: FBT001
    autojump_clock: MockClock,
    events: Events,
) -> None:
    async def pauses(seed: int) -> list[object]:
        config = on_a_store(_Poisoned(), placed=placed, backoff={}, intensity=9)
        events.clear()
        async with open_runtime(config, random=Random(seed)) as runtime:
            for _ in range(4):
                with pytest.raises(ActorCrashedError):
                    await runtime.queue("jobs").peek()
        return [event["seconds"] for event in _named(events, "child_backoff")]

    first = await pauses(1)

    assert len(first) == 3
    assert await pauses(1) == first
    assert await pauses(2) != first


async def test_a_value_that_leads_back_to_its_queue_goes_with_the_runtime(
    autojump_clock: MockClock,
) -> None:
    class Value:
        queue: object

    value = Value()
    gone = weakref.ref(value)
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        value.queue = runtime.queue("jobs")
        await runtime.queue("jobs").insert(value)
    del value, runtime

    gc.collect()
    assert gone() is None


async def test_a_store_that_does_not_open_its_queue_fails_the_start(
    autojump_clock: MockClock,
) -> None:
    config = on_a_store(_Broken())

    with pytest.raises(ChildStartError) as caught:
        async with open_runtime(config):
            raise AssertionError("it must not start")

    assert isinstance(_deepest(caught.value), InjectedCrash)


# -- look-up ---------------------------------------------------------------------------------------


async def test_queues_and_workers_are_found_by_name(autojump_clock: MockClock) -> None:
    table = {
        "queue": {"mail": TIMED, "mailbag": TIMED, "jobs": TIMED},
        "worker": {"mailer": {"queue": "mail", "handler": handle}},
    }
    async with open_runtime(table) as runtime:
        assert runtime.queue("mail").name == "mail"
        assert runtime.worker("mailer").queue is runtime.queue("mail")
        assert [queue.name for queue in runtime.queues()] == ["mail", "mailbag", "jobs"]
        assert [worker.name for worker in runtime.workers()] == ["mailer"]
        assert runtime.queue_names() == ("jobs", "mail", "mailbag")
        assert runtime.queue_names("mail*") == ("mail", "mailbag")


async def test_a_name_that_is_not_there_suggests_the_nearest(autojump_clock: MockClock) -> None:
    table = {
        "queue": {"emails": TIMED},
        "worker": {"mailer": {"queue": "emails", "handler": handle}},
    }
    async with open_runtime(table) as runtime:
        with pytest.raises(
            QueueNotFoundError, match=r"^there is no queue 'email' \(did you mean 'emails'\?\)$"
        ):
            runtime.queue("email")
        with pytest.raises(
            WorkerNotFoundError, match=r"^there is no worker 'mail' \(did you mean 'mailer'\?\)$"
        ):
            runtime.worker("mail")
        with pytest.raises(LookupError, match=r"^there is no child 'emial' \(did you mean 'email"):
            await runtime.stop("emial")


# -- define ----------------------------------------------------------------------------------------


async def test_a_second_definition_returns_the_first_queue(
    autojump_clock: MockClock, events: Events
) -> None:
    async with open_runtime() as runtime:
        first = await runtime.define("jobs", reservation_time=30)
        second = await runtime.define("jobs", kind="timed", reservation_time=30.0)

        assert second is first
    assert _named(events, "definition_ignored") == []


async def test_a_second_definition_with_other_options_is_logged_and_ignored(
    autojump_clock: MockClock, events: Events
) -> None:
    async with open_runtime() as runtime:
        first = await runtime.define("jobs", reservation_time=30)
        second = await runtime.define("jobs", reservation_time=60)

        assert second is first
        assert first.options.reservation_time == 30
    assert [event["queue"] for event in _named(events, "definition_ignored")] == ["jobs"]


async def test_a_second_definition_with_values_that_cannot_be_compared_is_another(
    events: Events, autojump_clock: MockClock
) -> None:
    class Array:
        def __eq__(self, _other: object) -> bool:
            raise ValueError("the truth of an array is ambiguous")

        __hash__ = None  # type: ignore[assignment] # as of an array

    async with open_runtime() as runtime:
        first = await runtime.define("jobs", reservation_time=30, values=[Array()])

        assert await runtime.define("jobs", reservation_time=30, values=[Array()]) is first

    assert len(_named(events, "definition_ignored")) == 1


async def test_a_second_definition_on_another_store_is_refused(autojump_clock: MockClock) -> None:
    config = {"store": {"other": {"type": "memory"}}}
    async with open_runtime(config) as runtime:
        await runtime.define("jobs", reservation_time=30)

        with pytest.raises(
            ValueError,
            match=r"^queue 'jobs' is defined already, with kind 'timed' and store 'memory'$",
        ):
            await runtime.define("jobs", reservation_time=30, store="other")


async def test_definitions_are_checked_before_anything_happens(autojump_clock: MockClock) -> None:
    kinds = "timed, message, batch, log, capacity, channel"
    async with open_runtime() as runtime:
        with pytest.raises(
            ValueError,
            match=rf"^expected kind to be one of {kinds}, got 'time'$",
        ):
            await runtime.define("jobs", kind="time", reservation_time=30)
        with pytest.raises(
            ValueError,
            match=rf"^expected kind to be one of {kinds}, got \['timed'\]$",
        ):
            await runtime.define("jobs", kind=["timed"], reservation_time=30)  # type: ignore[call-overload]
        with pytest.raises(OptionsError, match=r"^expected reservation_time to be seconds > 0"):
            await runtime.define("jobs", reservation_time=-1)
        with pytest.raises(OptionsError, match=r"^expected name to be a non-empty string, got ''$"):
            await runtime.define("", reservation_time=30)
        with pytest.raises(
            TypeError, match=r"^there is no option 'uniqe' \(did you mean 'unique'\?\)$"
        ):
            await runtime.define("jobs", reservation_time=30, uniqe=True)
        with pytest.raises(TypeError, match=r"^reservation_time is required$"):
            await runtime.define("jobs")
        with pytest.raises(
            ValueError,
            match=r"^queue 'jobs': there is no store 'memry' \(did you mean 'memory'\?\)$",
        ):
            await runtime.define("jobs", reservation_time=30, store="memry")

        assert runtime.queues() == ()
        assert "jobs" not in str(runtime.tree())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("jobs", "a queue cannot be its own dead letter queue; use 'bury' or 'drop'"),
        (
            "faild",
            "there is no queue 'faild' for on_exhausted (did you mean 'failed'?); define it first",
        ),
        (
            "burry",
            "there is no queue 'burry' for on_exhausted (did you mean 'bury'?); define it first",
        ),
    ],
)
async def test_a_queue_for_dead_letters_is_there_before_those_that_name_it(
    target: str, message: str, autojump_clock: MockClock
) -> None:
    async with open_runtime() as runtime:
        await runtime.define("failed", reservation_time=30)

        with pytest.raises(ValueError, match=f"^queue 'jobs': {re.escape(message)}$"):
            await runtime.define(
                "jobs", reservation_time=30, max_reservations=1, on_exhausted=target
            )

        assert runtime.queue_names() == ("failed",)


async def test_a_definition_waits_for_that_of_its_queue_for_dead_letters(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(_define, runtime, "failed")
        while not runtime.queues():
            await trio.lowlevel.checkpoint()

        await runtime.define("jobs", reservation_time=30, max_reservations=1, on_exhausted="failed")

        assert runtime.queue_names() == ("failed", "jobs")


async def test_a_definition_that_is_likely_to_surprise_is_logged(
    events: Events, autojump_clock: MockClock
) -> None:
    async with open_runtime() as runtime:
        await runtime.define("jobs", reservation_time=30, on_exhausted="bury")
        await runtime.define("jobs", reservation_time=30, on_exhausted="bury")

    (event,) = _named(events, "config_warning")
    assert event == {
        "event": "config_warning",
        "log_level": "warning",
        "file": None,
        "line": None,
        "path": "queue.jobs.on_exhausted",
        "message": "without max_reservations only `fail` exhausts a message",
    }


async def test_concurrent_definitions_of_one_name_are_one_queue(autojump_clock: MockClock) -> None:
    got: list[TimedQueue] = []

    async def define(runtime: Runtime, seconds: float) -> None:
        queue = await runtime.define("jobs", reservation_time=seconds)
        await queue.insert(seconds)
        got.append(queue)

    async with open_runtime() as runtime:
        async with trio.open_nursery() as nursery:
            for seconds in (1, 2, 3):
                nursery.start_soon(define, runtime, seconds)

        assert len(set(map(id, got))) == 1
        assert await got[0].len() == 3


async def test_a_cancelled_definition_leaves_nothing_and_can_be_repeated(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        number = 0

        async def define() -> None:
            await runtime.define(
                f"jobs{number}", reservation_time=30, sync_fn=list, sync_interval=60
            )

        async def check() -> None:
            nonlocal number
            with trio.fail_after(100):
                name = f"jobs{number}"
                if name not in runtime.queue_names():
                    await settle()
                    assert name not in str(runtime.tree())
                queue = await runtime.define(name, reservation_time=30)
                assert await queue.insert("x") == 1
                await runtime.stop(name)
                await runtime.start(name)
                assert await queue.len() == 1
            number += 1

        assert await cancel_at_every_step(define, check) > 2


async def test_who_found_a_queue_whose_definition_was_then_cancelled_gets_an_error(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_define, runtime, "jobs")
                while not runtime.queues():
                    await trio.lowlevel.checkpoint()
                (queue,) = runtime.queues()
                scope.cancel()

        assert runtime.queues() == ()
        with trio.fail_after(10), pytest.raises(ActorDownError):
            await queue.len()


async def test_a_definition_waits_for_another_one_that_may_still_fail(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        got: list[TimedQueue] = []

        async def second() -> None:
            got.append(await runtime.define("jobs", reservation_time=30))

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(_define, runtime, "jobs")
                    while not runtime.queues():
                        await trio.lowlevel.checkpoint()
                    nursery.start_soon(second)
                    await trio.lowlevel.checkpoint()
                    scope.cancel()

        with trio.fail_after(10):
            assert await got[0].insert("x") == 1
        assert runtime.queues() == (got[0],)


async def _define(runtime: Runtime, name: str) -> None:
    await runtime.define(name, reservation_time=30)


async def test_a_definition_that_fails_to_start_leaves_nothing(autojump_clock: MockClock) -> None:
    store = StoreConfig(type="test", factory=_Broken, options={})
    config = load_config(None)
    config = attrs.evolve(config, stores={**config.stores, "broken": store})
    async with open_runtime(config) as runtime:
        with pytest.raises(ChildStartError):
            await runtime.define("jobs", reservation_time=30, store="broken")

        assert runtime.queues() == ()
        queue = await runtime.define("jobs", reservation_time=30)
        assert await queue.insert("x") == 1


# -- start_worker ----------------------------------------------------------------------------------


async def test_workers_without_a_name_are_named_after_their_queue(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        for queue in ("jobs", runtime.queue("jobs"), "jobs"):
            await runtime.start_worker(queue, handle)

        assert [worker.name for worker in runtime.workers()] == ["jobs", "jobs-2", "jobs-3"]
        assert all(worker.status().running for worker in runtime.workers())


async def test_a_workers_name_is_unique(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        await runtime.start_worker("jobs", handle, name="w")

        with pytest.raises(
            ValueError, match=r"^there is a worker 'w' already; choose another name$"
        ):
            await runtime.start_worker("jobs", handle, name="w")


async def test_a_worker_needs_a_queue_and_valid_options(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        with pytest.raises(QueueNotFoundError):
            await runtime.start_worker("job", handle)
        with pytest.raises(OptionsError, match=r"^expected concurrency to be an int >= 1, got 0$"):
            await runtime.start_worker("jobs", handle, concurrency=0)
        with pytest.raises(TypeError, match=r"^there is no option 'speed'$"):
            await runtime.start_worker("jobs", handle, speed=9)

        async with open_runtime({"queue": {"jobs": TIMED}}) as other:
            with pytest.raises(ValueError, match=r"^queue 'jobs' is of another runtime; give "):
                await runtime.start_worker(other.queue("jobs"), handle)

        assert runtime.workers() == ()


async def test_a_cancelled_start_of_a_worker_leaves_nothing_and_can_be_repeated(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        number = 0

        async def start() -> None:
            await runtime.start_worker("jobs", handle, name=f"w{number}")

        async def check() -> None:
            nonlocal number
            with trio.fail_after(100):
                name = f"w{number}"
                await settle()
                there = [worker.name for worker in runtime.workers()]
                assert (name in there) == (f"worker.{name}" in str(runtime.tree()))
                if name not in there:
                    await runtime.start_worker("jobs", handle, name=name)
                await runtime.queue("jobs").insert("x")
                await wait_until_idle(runtime)
                await runtime.stop(name)
            number += 1

        assert await cancel_at_every_step(start, check) > 1


# -- stop, start, restart --------------------------------------------------------------------------

REFILLED = {**TIMED, "sync_fn": list, "sync_interval": 60}


def _states(runtime: Runtime) -> dict[str, str]:
    """Return the state of each line of the tree by the child's id."""
    lines = [line.lstrip("│├└─ ") for line in str(runtime.tree()).splitlines()]
    return {line.split(" (")[0]: line.split(" (")[1].split(",")[0].rstrip(")") for line in lines}


@pytest.mark.parametrize("names", [("a", "a.errands"), ("a.errands", "a")])
async def test_a_queue_may_be_named_like_the_errands_of_another(
    names: tuple[str, str], autojump_clock: MockClock
) -> None:
    async with open_runtime({"queue": dict.fromkeys(names, REFILLED)}) as runtime:
        await runtime.stop("a")

        assert await runtime.queue("a.errands").sync() == 0
    async with open_runtime() as runtime:
        for name in names:
            await runtime.define(name, **REFILLED)  # type: ignore[call-overload] # they are the queue's

        assert runtime.queue_names() == ("a", "a.errands")


@pytest.mark.parametrize("name", ["jobs", "queue.jobs"])
async def test_a_queues_name_means_its_actor_and_its_errands(
    name: str, autojump_clock: MockClock
) -> None:
    async with open_runtime({"queue": {"jobs": REFILLED, "other": TIMED}}) as runtime:
        queue = runtime.queue("jobs")
        await queue.insert("x")
        await runtime.stop(name)
        await runtime.stop(name)  # a second time: nothing happens

        states = _states(runtime)
        assert (states["queue.jobs"], states["errands.jobs"]) == ("stopped", "stopped")
        assert states["queue.other"] == "running"
        with pytest.raises(ActorDownError, match=r"stopped"):
            await queue.len()
        await runtime.start(name)
        await runtime.start(name)
        states = _states(runtime)
        assert (states["queue.jobs"], states["errands.jobs"]) == ("running", "running")
        assert await queue.len() == 1
        assert runtime.parked() == ()


async def test_starts_at_the_same_time_start_it_once(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": REFILLED}}) as runtime:
        await runtime.stop("jobs")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(runtime.start, "jobs")

        assert _states(runtime)["queue.jobs"] == "running"


async def test_a_restart_keeps_messages_and_reservations(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        queue = runtime.queue("jobs")
        await queue.insert("x", "y")
        reservation = await queue.reserve()
        await runtime.restart("jobs")

        assert await queue.delete(reservation) == 1
        assert (await queue.reserve()).value == "y"
        assert (await queue.statistics()).restarts == 1


async def test_a_worker_a_child_and_a_supervisor_are_stopped_by_name_id_and_path(
    autojump_clock: MockClock,
) -> None:
    table = {
        "queue": {"jobs": TIMED},
        "worker": {"w": {"queue": "jobs", "handler": handle}},
        "supervisor": {
            "a": {"child": [{"worker": "w", "id": "workhorse"}, {"start": idle, "id": "idler"}]},
            "b": {"child": [{"start": idle, "id": "loner"}]},
        },
    }
    async with open_runtime(table) as runtime:
        for name, child in [
            ("w", "workhorse"),
            ("worker.w", "workhorse"),
            ("workhorse", "workhorse"),
            ("idler", "idler"),
            ("queueactors/supervisors/supervisor.a/idler", "idler"),
            ("supervisor.b", "supervisor.b"),
        ]:
            await runtime.stop(name)
            assert _states(runtime)[child] == "stopped", name
            await runtime.start(name)
            assert _states(runtime)[child] == "running", name


async def test_a_name_of_both_a_queue_and_a_worker_must_be_told_apart(
    autojump_clock: MockClock,
) -> None:
    table = {"queue": {"x": REFILLED}, "worker": {"x": {"queue": "x", "handler": handle}}}
    async with open_runtime(table) as runtime:
        with pytest.raises(
            ValueError, match=r"^'x' is a queue and a worker; say 'queue\.x' or 'worker\.x'$"
        ):
            await runtime.stop("x")

        await runtime.stop("queue.x")
        assert _states(runtime)["errands.x"] == "stopped"
        await runtime.stop("worker.x")
        assert _states(runtime)["worker.x"] == "stopped"


async def test_an_id_that_several_children_have_must_be_given_as_a_path(
    autojump_clock: MockClock,
) -> None:
    child = [{"start": idle, "id": "same"}]
    table = {"supervisor": {"a": {"child": child}, "b": {"child": child}}}
    async with open_runtime(table) as runtime:
        with pytest.raises(
            ValueError,
            match=r"^there are several children 'same'; say one of "
            r"queueactors/supervisors/supervisor\.a/same, "
            r"queueactors/supervisors/supervisor\.b/same$",
        ):
            await runtime.stop("same")


async def test_a_queue_whose_supervisor_is_stopped_is_not_in_the_tree(
    autojump_clock: MockClock,
) -> None:
    table = {"queue": {"x": TIMED}, "supervisor": {"a": {"child": [{"queue": "x"}]}}}
    async with open_runtime(table) as runtime:
        await runtime.stop("supervisor.a")

        with pytest.raises(LookupError, match=r"^'x' is not in the tree: it has ended, or its sup"):
            await runtime.start("x")


# -- clearing --------------------------------------------------------------------------------------


async def test_clearing_tells_which_queues_held_something(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"a": TIMED, "b": TIMED, "c": TIMED}}) as runtime:
        await runtime.queue("a").insert(1)
        await runtime.queue("c").insert(2)
        await runtime.queue("c").reserve()

        assert await runtime.clear_queues("a", "b") == ("a",)
        assert await runtime.clear_all_queues() == ("c",)
        assert await runtime.clear_queues() == ()
        assert await runtime.clear_all_queues() == ()


async def test_clearing_an_unknown_queue_clears_nothing(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"a": TIMED}}) as runtime:
        await runtime.queue("a").insert(1)

        with pytest.raises(QueueNotFoundError):
            await runtime.clear_queues("a", "b")
        assert await runtime.queue("a").len() == 1


# -- drop ------------------------------------------------------------------------------------------


def _stores(tmp_path: Path) -> dict[str, object]:
    return {"disk": {"type": "sqlite", "path": str(tmp_path / "disk.sqlite"), "commit": "inline"}}


@pytest.mark.parametrize("store", ["memory", "disk"])
async def test_a_dropped_queue_and_all_that_it_held_are_gone(
    store: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_runtime({"store": _stores(tmp_path)}) as runtime:
        queue = await runtime.define("a", reservation_time=30, store=store)
        await queue.insert(1, 2)
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                await queue.reserve_many(3)
                with pytest.raises(ActorDownError):
                    await queue.reserve()

            nursery.start_soon(wait)
            await settle()
            await runtime.drop("a")

        assert runtime.queues() == ()
        with pytest.raises(ActorDownError):
            await queue.len()
        again = await runtime.define("a", reservation_time=30, store=store)
        assert await again.len() == 0
        assert await again.insert(3) == 1


async def test_a_dropped_queue_is_not_in_the_file_any_more(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    table = {"store": _stores(tmp_path), "queue": {"a": TIMED | {"store": "disk"}}}
    async with open_runtime(table | {"supervisor": {"s": {"child": [{"queue": "a"}]}}}) as runtime:
        await runtime.queue("a").insert(1, 2)
        await runtime.drop("a")

    async with open_runtime(table) as runtime:
        assert await runtime.queue("a").len() == 0


async def test_drops_of_one_queue_at_the_same_time_drop_it_once(
    autojump_clock: MockClock,
) -> None:
    missed: list[QueueNotFoundError] = []

    async def drop() -> None:
        try:
            await runtime.drop("a")
        except QueueNotFoundError as error:
            missed.append(error)

    async with open_runtime() as runtime:
        await runtime.define("a", reservation_time=5)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(drop)

        assert runtime.queue_names() == ()
    assert len(missed) == 2


async def begun(runtime: Runtime) -> None:
    """Wait until a definition, or the like, is under way."""
    while not runtime._defining.locked():  # noqa: SLF001 - at that instant, and no later
        await trio.lowlevel.checkpoint()


async def test_a_worker_does_not_start_on_a_queue_that_is_being_dropped(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        await runtime.define("a", reservation_time=5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.drop, "a")
            await begun(runtime)
            with pytest.raises(QueueNotFoundError):
                await runtime.start_worker("a", print)

        assert (runtime.queue_names(), runtime.workers()) == ((), ())


async def test_a_queue_that_a_definition_has_just_named_is_not_dropped(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        await runtime.define("dead", reservation_time=5)
        options = {"reservation_time": 5, "on_exhausted": "dead"}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(runtime.define, "a", **options))
            await begun(runtime)
            with pytest.raises(ValueError, match="dead letters of queue 'a' go to queue 'dead'"):
                await runtime.drop("dead")

        assert runtime.queue_names() == ("a", "dead")


async def test_a_queue_that_others_need_is_not_dropped(autojump_clock: MockClock) -> None:
    dead = TIMED | {"on_exhausted": "b", "max_reservations": 1}
    table = {
        "queue": {"a": dead, "b": TIMED, "c": TIMED},
        "worker": {"w": {"queue": "c", "handler": handle}},
    }
    async with open_runtime(table) as runtime:
        with pytest.raises(QueueNotFoundError, match="'d'"):
            await runtime.drop("d")
        with pytest.raises(ValueError, match=r"^dead letters of queue 'a' go to queue 'b'; drop"):
            await runtime.drop("b")
        with pytest.raises(ValueError, match=r"^worker 'w' feeds on queue 'c'; remove it first$"):
            await runtime.drop("c")

        await runtime.drop("a")
        await runtime.drop("b")
        await runtime.remove_worker("w")
        await runtime.drop("c")

        assert runtime.queue_names() == ()


async def test_a_worker_that_is_still_starting_is_removed_when_it_has(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        await runtime.define("a", reservation_time=5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(runtime.start_worker, "a", handle, name="w"))
            await begun(runtime)
            await runtime.remove_worker("w")

        assert runtime.workers() == ()
        assert "worker.w" not in str(runtime.tree())


@pytest.mark.parametrize("place", ["the group", "a supervisor"])
async def test_a_removed_worker_finishes_what_it_has_and_is_gone(
    place: str, autojump_clock: MockClock
) -> None:
    done: list[object] = []

    async def slow(delivery: Delivery) -> None:
        await trio.sleep(3)
        done.append(delivery.value)

    table: dict[str, object] = {
        "queue": {"a": TIMED},
        "worker": {"w": {"queue": "a", "handler": slow}},
    }
    if place == "a supervisor":
        table["supervisor"] = {"s": {"child": [{"worker": "w"}]}}
    async with open_runtime(table) as runtime:
        await runtime.queue("a").insert("x", "y")
        await trio.sleep(1)

        await runtime.remove_worker("w")

        assert done == ["x"]
        assert runtime.workers() == ()
        with pytest.raises(WorkerNotFoundError, match="'w'"):
            await runtime.remove_worker("w")
        assert "worker.w" not in str(runtime.tree())
        await runtime.start_worker("a", slow, name="w")  # its name is free
        await wait_until_idle(runtime)
        assert done == ["x", "y"]


# -- the tree --------------------------------------------------------------------------------------


async def idle(*, task_status: ChildStatus) -> None:
    task_status.started()
    await trio.sleep_forever()


async def test_the_tree_has_what_a_supervisor_places_under_it_and_the_rest_in_groups(
    autojump_clock: MockClock,
) -> None:
    table = {
        "runtime": {"name": "shop"},
        "queue": {"a": REFILLED, "b": TIMED, "c": {**REFILLED, "on_exhausted": "b"}},
        "worker": {
            "wa": {"queue": "a", "handler": handle},
            "wb": {"queue": "b", "handler": handle},
        },
        "supervisor": {
            "top": {"child": [{"queue": "a"}, {"supervisor": "low"}]},
            "low": {"strategy": "one_for_all", "child": [{"worker": "wa"}, {"start": idle}]},
        },
    }
    async with open_runtime(table) as runtime:
        assert str(runtime.tree()).splitlines() == [
            "shop (running, one_for_one)",
            "├─ stores (running, one_for_one)",
            "├─ queues (running, one_for_one)",
            "│  ├─ queue.b (running)",
            "│  ├─ queue.c (running)",
            "│  └─ errands.c (running)",
            "├─ supervisors (running, one_for_one)",
            "│  └─ supervisor.top (running, one_for_one)",
            "│     ├─ queue.a (running)",
            "│     ├─ errands.a (running)",
            "│     └─ supervisor.low (running, one_for_all)",
            "│        ├─ worker.wa (running)",
            "│        └─ start.idle (running)",
            "└─ workers (running, one_for_one)",
            "   └─ worker.wb (running)",
        ]


async def test_everything_starts_in_order_and_stops_in_reverse(
    autojump_clock: MockClock, events: Events
) -> None:
    table = {
        "queue": {"a": REFILLED, "b": TIMED},
        "worker": {"w": {"queue": "a", "handler": handle}},
        "supervisor": {"s": {"child": [{"queue": "b"}, {"start": idle}]}},
    }
    async with open_runtime(table):
        pass

    order = ["stores", "queue.a", "errands.a", "queues", "queue.b", "start.idle"]
    order += ["supervisor.s", "supervisors", "worker.w", "workers"]
    assert [event["child"] for event in _named(events, "child_started")] == order
    tops = {"stores", "queues", "supervisor.s", "supervisors", "workers"}
    stopped = [event["child"] for event in _named(events, "child_stopped")]
    leaves = [child for child in stopped if child not in tops]
    assert leaves == [child for child in reversed(order) if child not in tops]


async def test_a_poisoned_child_of_a_group_is_parked_and_the_rest_goes_on(
    autojump_clock: MockClock,
) -> None:
    store = _Poisoned()
    async with open_runtime(on_a_store(store, placed=False)) as runtime:
        queue = runtime.queue("jobs")
        while not runtime.parked():
            with pytest.raises((ActorCrashedError, ActorDownError)):
                await queue.peek()

        assert runtime.parked() == ("queue.jobs",)
        with pytest.raises(ActorDownError, match=r"parked"):
            await queue.len()
        assert await runtime.queue("other").insert("x") == 1
        await runtime.start("jobs")
        assert await queue.len() == 0
        assert runtime.parked() == ()


async def test_a_configured_supervisor_that_gives_up_ends_the_runtime(
    autojump_clock: MockClock, events: Events
) -> None:
    reached: list[str] = []

    with pytest.raises(RestartIntensityError) as caught:  # noqa: PT012
        async with open_runtime(on_a_store(_Poisoned())) as runtime:
            queue = runtime.queue("jobs")
            for _ in range(2):
                with pytest.raises((ActorCrashedError, ActorDownError)):
                    await queue.peek()
            try:
                await trio.sleep(100)
            finally:
                reached.append("cleanup")

    assert reached == ["cleanup"]
    assert caught.value.supervisor == "queueactors"
    assert isinstance(_deepest(caught.value), InjectedCrash)


async def test_a_supervisor_that_may_park_does_not_end_the_runtime(
    autojump_clock: MockClock,
) -> None:
    config = on_a_store(_Poisoned())
    (supervisor,) = config.supervisors.values()
    config = attrs.evolve(config, supervisors={"mine": attrs.evolve(supervisor, on_give_up="park")})
    async with open_runtime(config) as runtime:
        for _ in range(2):
            with pytest.raises((ActorCrashedError, ActorDownError)):
                await runtime.queue("jobs").peek()
        await trio.sleep(1)

        assert runtime.parked() == ("supervisor.mine",)
        await runtime.start("supervisor.mine")
        assert await runtime.queue("jobs").len() == 0


async def test_an_automatic_shutdown_ends_its_supervisor_only(autojump_clock: MockClock) -> None:
    go = trio.Event()

    async def significant(*, task_status: ChildStatus) -> None:
        task_status.started()
        await go.wait()
        raise Shutdown

    child = {"start": significant, "significant": True, "restart": "transient"}
    table = {
        "queue": {"jobs": TIMED},
        "supervisor": {
            "mine": {
                "auto_shutdown": "any_significant",
                "restart": "transient",
                "child": [child, {"queue": "jobs"}],
            }
        },
    }
    async with open_runtime(table) as runtime:
        go.set()
        await settle()

        assert _states(runtime)["supervisor.mine"] == "finished"
        with pytest.raises(ActorDownError):
            await runtime.queue("jobs").len()


# -- the end ---------------------------------------------------------------------------------------


async def test_the_bodys_own_error_leaves_bare(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError, match=r"^'mine'$"):
        async with open_runtime({"queue": {"jobs": TIMED}}):
            raise KeyError("mine")


async def test_a_cancelled_body_stops_everything_in_order(
    autojump_clock: MockClock, events: Events
) -> None:
    done: list[object] = []

    async def slow(delivery: Delivery) -> None:
        await trio.sleep(2)
        done.append(delivery.value)

    with trio.move_on_after(1) as scope:
        async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
            await runtime.start_worker("jobs", slow)
            await runtime.queue("jobs").insert("x")
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert done == ["x"]


async def test_after_the_end_every_call_says_so(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        queue = runtime.queue("jobs")

    with trio.fail_after(10):
        with pytest.raises(ActorDownError, match=r"^actor 'jobs' is gone$"):
            await queue.len()
        with pytest.raises(SupervisorStoppedError):
            await runtime.define("more", reservation_time=30)
        with pytest.raises(SupervisorStoppedError):
            await runtime.start_worker("jobs", handle)
        with pytest.raises(LookupError, match=r"its supervisor does not run$"):
            await runtime.stop("jobs")
        await runtime.wait()
    assert [queue.name for queue in runtime.queues()] == ["jobs"]
    assert runtime.workers() == ()


async def test_what_starts_in_a_runtime_that_is_stopping_is_refused(
    autojump_clock: MockClock,
) -> None:
    refused: list[BaseException] = []

    async def handler(delivery: Delivery) -> None:
        await trio.sleep(1)
        for attempt in (
            lambda: runtime.start_worker("jobs", handle, name="late"),
            lambda: runtime.stop("nothing of that name"),
        ):
            try:
                await attempt()
            except (SupervisorStoppedError, LookupError) as error:
                refused.append(error)

    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        await runtime.start_worker("jobs", handler)
        await runtime.queue("jobs").insert("x")
        await settle()

    assert [type(error) for error in refused] == [SupervisorStoppedError, LookupError]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_cancels_the_body_and_lets_workers_finish(number: signal.Signals) -> None:
    done: list[object] = []

    async def slow(delivery: Delivery) -> None:
        signal.raise_signal(number)
        await trio.sleep(0.05)
        done.append(delivery.value)

    with trio.fail_after(5):
        async with open_runtime({"queue": {"jobs": TIMED}}, signals=True) as runtime:
            await runtime.start_worker("jobs", slow)
            await runtime.queue("jobs").insert("x")
            await trio.sleep(10)

    assert done == ["x"]
    assert runtime.supervisor.stop_signal is number


@pytest.mark.slow
async def test_a_second_signal_ends_the_handlers_at_once() -> None:
    cancelled: list[object] = []

    async def slow(delivery: Delivery) -> None:
        signal.raise_signal(signal.SIGINT)
        try:
            await trio.sleep(0.05)
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()
        finally:
            cancelled.append(delivery.value)

    with trio.fail_after(4):  # less than the worker's shutdown
        async with open_runtime({"queue": {"jobs": TIMED}}, signals=True) as runtime:
            await runtime.start_worker("jobs", slow)
            await runtime.queue("jobs").insert("x")
            await trio.sleep(10)

    assert cancelled == ["x"]


async def test_a_handler_that_runs_before_all_is_up_may_use_the_runtime(
    autojump_clock: MockClock,
) -> None:
    defined: list[str] = []

    async def handler(delivery: Delivery) -> None:
        runtime: Runtime = delivery.runtime
        with pytest.raises(RuntimeError, match=r"^the runtime is still starting$"):
            runtime.tree()
        defined.append((await runtime.define("more", reservation_time=30)).name)

    async def slow_start(*, task_status: ChildStatus) -> None:
        await trio.sleep(10)
        await idle(task_status=task_status)

    table = {
        "queue": {"jobs": {**TIMED, "values": ["x"]}},
        "worker": {"w": {"queue": "jobs", "handler": handler}},
        "supervisor": {"s": {"child": [{"worker": "w"}, {"start": slow_start}]}},
    }
    async with open_runtime(table) as runtime:
        await wait_until_idle(runtime)

        assert defined == ["more"]
        assert runtime.worker("w").status().statistics.counts["retry"] == 0


# -- helpers ---------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Broken:
    """A store that opens nothing."""

    durable: ClassVar[bool] = False

    def child(self, _place: Place) -> None:
        pass

    async def open_engine(self, queue: str, _kind: Kind, _parked: Parked) -> Engine:
        raise InjectedCrash(f"{queue} does not open")

    async def forget(self, queue: str) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to let go of."""


@attrs.define(eq=False)
class _Poisoned:
    """A memory store whose queues crash whenever somebody peeks."""

    durable: ClassVar[bool] = False
    _memory: MemoryStore = attrs.field(factory=MemoryStore, init=False)

    def child(self, _place: Place) -> None:
        pass

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        engine = await self._memory.open_engine(queue, kind, parked)
        engine._methods["peek"] = _crash  # noqa: SLF001
        return engine

    async def forget(self, queue: str) -> None:
        await self._memory.forget(queue)

    def close(self) -> None:
        self._memory.close()


def _crash(*_args: object) -> object:
    raise InjectedCrash("poison")


def on_a_store(
    store: object, *, placed: bool = True, backoff: object = NOW, intensity: int = 1
) -> Config:
    """Return a configuration with queues on a store of this module, one under a supervisor."""
    table: dict[str, object] = {"queue": {"jobs": TIMED, "other": TIMED}}
    if placed:
        child = {"queue": "jobs", "backoff": backoff}
        table["supervisor"] = {"mine": {"intensity": intensity, "child": [child]}}
    stored = StoreConfig(type="test", factory=lambda: store, options={})
    return attrs.evolve(load_config(table), stores={"memory": stored})


def _deepest(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _named(events: Events, name: str) -> list[MutableMapping[str, object]]:
    return [event for event in events if event["event"] == name]
