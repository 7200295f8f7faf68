"""`Runtime.plan` and `Runtime.reload`: what changes, what stays, and what is refused.

Over 500 lines, because a reload is one list of promises.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from queueactors import (
    Clock,
    ConfigError,
    Delivery,
    QueueClosedError,
    QueueFullError,
    QueueNotFoundError,
    ReloadRefusedError,
    Runtime,
    load_config,
    open_runtime,
)
from supervisors import ActorDownError, ChildSpec

if TYPE_CHECKING:
    from pathlib import Path

    from supervisors import ChildStatus

Tables = dict[str, Any]  # type: ignore[explicit-any] # as in a file
settle = wait_all_tasks_blocked


def timed(**options: object) -> Tables:
    return {"kind": "timed", "reservation_time": 30, **options}


async def handle(_delivery: Delivery) -> None:
    await trio.lowlevel.checkpoint()


async def handle_otherwise(_delivery: Delivery) -> None:
    await trio.lowlevel.checkpoint()


STARTS: list[str] = []


async def serve(name: str, *, task_status: ChildStatus) -> None:
    STARTS.append(name)
    task_status.started()
    await trio.sleep_forever()


async def broken(*, task_status: ChildStatus) -> None:
    await trio.lowlevel.checkpoint()
    raise OSError("no such thing")


def child(name: str, **more: object) -> Tables:
    return {"start": serve, "id": name, "args": [name], **more}


@pytest.fixture(autouse=True)
def starts() -> list[str]:
    STARTS.clear()
    return STARTS


def incarnations(runtime: Runtime) -> dict[str, int]:
    """Return how often each queue and worker was started, by name."""
    queues = {each.name: each._actor.starts for each in runtime.queues()}  # noqa: SLF001
    return queues | {each.name: each.restarts + 1 for each in runtime.workers()}


# -- what stays ------------------------------------------------------------------------------------


async def test_a_reload_of_the_same_does_nothing(autojump_clock: MockClock) -> None:
    config = {"queue": {"jobs": timed()}, "worker": {"w": {"queue": "jobs", "handler": handle}}}
    async with open_runtime(config) as runtime:
        before = str(runtime.tree())

        result = await runtime.reload(config)

        assert result.children == ()
        assert result.plan.is_empty
        assert str(runtime.tree()) == before
        assert incarnations(runtime) == {"jobs": 1, "w": 1}


async def test_only_what_is_new_is_started(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"a": timed()}}) as runtime:
        queue = runtime.queue("a")

        result = await runtime.reload(
            {
                "queue": {"b": timed(), "a": timed()},
                "worker": {"w": {"queue": "b", "handler": handle}},
            }
        )

        assert [(each.name, each.action, each.outcome) for each in result.children] == [
            ("b", "added", "done"),
            ("w", "added", "done"),
        ]
        assert runtime.queue("a") is queue
        assert incarnations(runtime) == {"b": 1, "a": 1, "w": 1}
        assert [each.name for each in runtime.queues()] == ["b", "a"]
        assert await runtime.queue("b").insert("x") == 1


async def test_messages_and_callers_that_wait_survive_a_restart(autojump_clock: MockClock) -> None:
    async with (
        open_runtime({"queue": {"jobs": timed()}}) as runtime,
        trio.open_nursery() as nursery,
    ):
        queue = runtime.queue("jobs")
        got: list[object] = []

        async def take() -> None:
            got.append((await queue.reserve()).value)

        nursery.start_soon(take)
        await settle()

        result = await runtime.reload({"queue": {"jobs": timed(unique=True)}})

        assert [each.outcome for each in result.children] == ["done"]
        assert incarnations(runtime) == {"jobs": 2}
        assert got == []
        assert await queue.insert("x", "x") == 1
        await settle()
        assert got == ["x"]
        assert queue.options.unique is True


async def test_a_queue_that_moves_keeps_its_messages_and_callers(autojump_clock: MockClock) -> None:
    pool = {"pool": {"child": [{"queue": "jobs"}]}}
    async with (
        open_runtime({"queue": {"jobs": timed()}}) as runtime,
        trio.open_nursery() as nursery,
    ):
        queue = runtime.queue("jobs")
        got: list[object] = []

        async def take() -> None:
            got.append((await queue.reserve()).value)

        nursery.start_soon(take)
        await settle()

        await runtime.reload({"queue": {"jobs": timed()}, "supervisor": pool})
        await runtime.reload({"queue": {"jobs": timed()}})
        await runtime.reload({"queue": {"jobs": timed()}, "supervisor": pool})

        assert got == []
        await queue.insert("x")
        await settle()
        assert got == ["x"]
        assert "supervisor.pool" in str(runtime.tree())


async def test_what_the_program_has_defined_is_not_touched(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"a": timed()}}) as runtime:
        mine = await runtime.define("mine", kind="timed", reservation_time=1)
        await runtime.start_worker("mine", handle)

        await runtime.reload({"queue": {"b": timed()}}, removed="keep")

        assert runtime.queue("mine") is mine
        assert incarnations(runtime) == {"b": 1, "mine": 1}
        assert await mine.insert("x") == 1


# -- what is refused -------------------------------------------------------------------------------


async def test_a_fault_changes_nothing(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"a": timed()}}) as runtime:
        before = runtime.config

        with pytest.raises(ConfigError, match="unknown key 'limitt'"):
            await runtime.reload({"queue": {"b": timed(), "a": timed(limitt=3)}})

        assert runtime.config is before
        assert runtime.queue_names() == ("a",)


ANOTHER = "give the queue another name; or take it out, reload, and add it again once it is drained"


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (
            {"queue": {"a": {"kind": "message"}}},
            f"queue.a.kind: kind # (timed -> message); {ANOTHER}",
        ),
        (
            {"queue": {"a": timed(store="other")}, "store": {"other": {"type": "memory"}}},
            f'queue.a.store: store # ("memory" -> "other"); {ANOTHER}',
        ),
        (
            {"queue": {"a": timed()}, "runtime": {"data_dir": "x"}},
            'runtime.data_dir: data_dir # ("var" -> "x"); stop the process and start it again',
        ),
    ],
    ids=["kind", "store", "data_dir"],
)
async def test_what_cannot_change_while_it_runs_is_a_fault(
    autojump_clock: MockClock, new: Tables, told: str
) -> None:
    told = told.replace("#", "cannot change while the runtime runs")
    async with open_runtime({"queue": {"a": timed()}}) as runtime:
        plan = await runtime.plan(new)
        with pytest.raises(ConfigError) as caught:
            await runtime.reload({**new, "queue": {**new["queue"], "b": timed()}})

        assert str(caught.value) == told
        assert [str(fault) for fault in plan.faults] == [told]
        assert runtime.queue_names() == ("a",)


async def test_a_queue_that_the_program_needs_is_not_removed(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"a": timed()}}) as runtime:
        await runtime.start_worker("a", handle, name="mine")

        with pytest.raises(ConfigError, match=r"^queue.a: it cannot be removed: worker 'mine'"):
            await runtime.reload({})

        assert runtime.queue_names() == ("a",)


async def test_a_name_that_the_program_has_taken_is_refused(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        await runtime.define("a", reservation_time=1)

        with pytest.raises(ConfigError, match="the program has defined a queue of that name"):
            await runtime.reload({"queue": {"a": timed()}})


async def test_only_one_reload_at_a_time(autojump_clock: MockClock) -> None:
    async def slow(*, task_status: ChildStatus) -> None:
        await trio.sleep(5)
        task_status.started()
        await trio.sleep_forever()

    new = {"supervisor": {"s": {"child": [{"start": slow, "id": "slow"}]}}}
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(runtime.reload, new)
        await settle()

        with pytest.raises(ReloadRefusedError, match=r"^another reload is under way"):
            await runtime.reload(new)


async def test_a_reload_is_refused_while_the_runtime_starts_or_stops(
    autojump_clock: MockClock,
) -> None:
    refused: list[str] = []

    async def early(*, task_status: ChildStatus) -> None:
        with pytest.raises(ReloadRefusedError) as caught:
            await runtimes[0].reload({})
        refused.append(caught.value.reason)
        task_status.started()
        await trio.sleep_forever()

    runtimes: list[Runtime] = []
    config = {"supervisor": {"s": {"child": [{"start": early, "id": "early"}]}}}
    runtimes.append(Runtime(load_config({}), Clock.open()))
    async with open_runtime(config) as runtime:
        runtime.supervisor.stop()
        with pytest.raises(ReloadRefusedError) as caught:
            await runtime.reload({})
        refused.append(caught.value.reason)

    assert refused == ["the runtime is starting; wait until it is up", "the runtime is stopping"]


async def test_what_a_store_refuses_is_a_fault_also_where_its_options_are_live(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    def tables(**options: object) -> Tables:
        return {"store": {"disk": {"type": "sqlite", "path": str(tmp_path / "s"), **options}}}

    async with open_runtime(tables()) as runtime:
        for options, told in (
            ({"timeout": 0}, "store.disk.timeout: expected timeout to be seconds > 0, got 0"),
            ({"path": "a\0b"}, "store.disk.path: expected path to be a path, got "),
        ):
            with pytest.raises(ConfigError, match=f"^{told}"):
                await runtime.reload(tables(**options))

        assert runtime.config.stores["disk"].options["timeout"] == 10


@attrs.frozen(kw_only=True)
class Picky:
    """A store of one's own, which has rules of its own."""

    size: int

    def __attrs_post_init__(self) -> None:
        if self.size > 5:
            raise RuntimeError("size is too large")


async def test_what_a_store_of_ones_own_refuses_is_a_fault(autojump_clock: MockClock) -> None:
    async with open_runtime({}) as runtime:
        with pytest.raises(ConfigError, match=r"^store.s.size: RuntimeError: size is too large$"):
            await runtime.reload({"store": {"s": {"type": Picky, "size": 6}}})


async def test_a_supervisor_with_children_of_the_programs_is_not_removed_or_moved(
    autojump_clock: MockClock,
) -> None:
    low: Tables = {"child": [child("x")]}
    async with open_runtime({"supervisor": {"low": low}}) as runtime:
        groups: Any = runtime.supervisor.value_of("supervisors")  # type: ignore[explicit-any]
        supervisor = groups.value_of("supervisor.low")
        await supervisor.start_child(ChildSpec(id="mine", start=serve, args=("mine",)))
        moved = {"low": low, "top": {"child": [{"supervisor": "low"}]}}

        for new in ({}, {"supervisor": moved}):
            with pytest.raises(ConfigError, match="has a child 'mine', which the program has add"):
                await runtime.reload(new)
        assert (await runtime.plan({})).faults
        await runtime.reload({"supervisor": {"low": {"child": [], "intensity": 3}}})
        assert [info.id for info in supervisor.which_children()] == ["mine"]

        await supervisor.terminate_child("mine")
        await supervisor.delete_child("mine")
        assert not (await runtime.reload({})).failed


async def test_a_file_is_read_in_a_thread_and_a_signal_waits_for_its_turn(tmp_path: Path) -> None:
    file = tmp_path / "q.toml"
    file.write_text("schema = 1\n", encoding="utf-8")
    (tmp_path / "slow_gate.py").write_text(
        "import threading\nentered, gate = threading.Event(), threading.Event()\n",
        encoding="utf-8",
    )
    (tmp_path / "slow_to_import.py").write_text(
        "import slow_gate\nslow_gate.entered.set()\nslow_gate.gate.wait(10)\n"
        "def handle(delivery): ...\n",
        encoding="utf-8",
    )
    async with open_runtime(file) as runtime:
        gate: Any = importlib.import_module("slow_gate")  # type: ignore[explicit-any]
        file.write_text(
            "schema = 1\n[queue.q]\nkind = 'timed'\nreservation_time = 1\n"
            "[worker.w]\nqueue = 'q'\nhandler = 'slow_to_import:handle'\n",
            encoding="utf-8",
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.reload)
            assert await trio.to_thread.run_sync(gate.entered.wait, 10)

            with pytest.raises(ReloadRefusedError, match=r"^another reload is under way"):
                await runtime.reload({})
            nursery.start_soon(runtime._running.reload_file)  # noqa: SLF001 - as a signal does
            assert runtime.queue_names() == ()
            file.write_text("schema = 1\n[queue.last]\nkind = 'channel'\n", encoding="utf-8")
            gate.gate.set()

        assert runtime.config.queues.keys() == {"last"}


async def test_without_a_file_a_configuration_must_be_given(autojump_clock: MockClock) -> None:
    async with open_runtime({}) as runtime:
        with pytest.raises(ValueError, match=r"^the runtime was not opened from a file"):
            await runtime.reload()
        with pytest.raises(ValueError, match=r"^expected removed to be 'drain' or 'keep', got 'x'"):
            await runtime.reload({}, removed="x")  # type: ignore[arg-type]


# -- supervisors and their children ----------------------------------------------------------------


async def test_only_a_child_whose_definition_changed_is_started_again(
    autojump_clock: MockClock, starts: list[str]
) -> None:
    def pool(*children: Tables, **flags: object) -> Tables:
        return {"supervisor": {"pool": {"child": list(children), **flags}}}

    async with open_runtime(pool(child("a"), child("b"), child("c"))) as runtime:
        assert starts == ["a", "b", "c"]

        result = await runtime.reload(
            pool(
                child("c", restart="transient", shutdown=9),
                child("b", args=["other b"]),
                child("a"),
                strategy="one_for_all",
                intensity=7,
            )
        )

        assert starts == ["a", "b", "c", "other b"]
        assert {each.name: each.action for each in result.children} == {
            "pool": "changed",
            "supervisors/supervisor.pool/c": "changed",
            "supervisors/supervisor.pool/b": "changed",
        } | {each.name: "moved" for each in result.children if each.name.endswith("/a")}
        (found,) = [each for each in runtime.supervisor.supervisors() if each.name == "supervisors"]
        (below,) = found.supervisors()
        assert [info.id for info in below.which_children()] == ["c", "b", "a"]
        assert (below.strategy, below.flags.intensity) == ("one_for_all", 7)
        assert below.get_childspec("c").shutdown == 9


async def test_a_nested_supervisor_is_not_bounced_for_its_child(
    autojump_clock: MockClock, starts: list[str]
) -> None:
    def tree(inner: list[Tables]) -> Tables:
        return {
            "supervisor": {
                "top": {"child": [child("t"), {"supervisor": "low"}]},
                "low": {"strategy": "one_for_all", "child": inner},
            }
        }

    async with open_runtime(tree([child("a"), child("b")])) as runtime:
        await runtime.reload(tree([child("a"), child("b", args=["b2"]), child("c")]))
        assert starts == ["t", "a", "b", "b2", "c"]

        await runtime.restart("supervisor.low")

        assert starts[5:] == ["a", "b2", "c"]  # a restart goes by the new specs


async def test_planned_restarts_count_for_no_intensity(
    autojump_clock: MockClock, starts: list[str]
) -> None:
    def pool(number: int) -> Tables:
        flags = {"intensity": 0, "strategy": "one_for_all"}
        return {"supervisor": {"pool": {"child": [child("a", args=[str(number)])], **flags}}}

    async with open_runtime(pool(0)) as runtime:
        for number in range(1, 6):
            result = await runtime.reload(pool(number))
            assert not result.failed

        assert starts == ["0", "1", "2", "3", "4", "5"]


async def test_a_child_that_does_not_start_is_parked_and_told_and_the_rest_goes_on(
    autojump_clock: MockClock, starts: list[str]
) -> None:
    def pool(*children: Tables) -> Tables:
        return {"supervisor": {"pool": {"child": list(children)}}}

    async with open_runtime(pool(child("a"))) as runtime:
        result = await runtime.reload(pool(child("a"), {"start": broken, "id": "bad"}, child("c")))

        assert [
            (each.name.rpartition("/")[2], each.outcome, each.error) for each in result.children
        ] == [
            ("bad", "failed", "OSError: no such thing"),
            ("c", "done", None),
        ]
        assert result.failed == result.children[:1]
        assert starts == ["a", "c"]
        assert runtime.parked() == ("bad",)

        await runtime.reload(pool(child("a"), child("bad")))

        assert starts == ["a", "c", "bad"]
        assert runtime.parked() == ()


async def test_a_supervisor_that_is_added_starts_and_one_that_is_removed_ends(
    autojump_clock: MockClock, starts: list[str]
) -> None:
    queue = {"queue": {"jobs": timed()}}
    pool = {"supervisor": {"pool": {"child": [{"queue": "jobs"}, child("a")]}}}
    async with open_runtime(queue) as runtime:
        await runtime.queue("jobs").insert("x")

        await runtime.reload(queue | pool)
        assert str(runtime.tree()).count("supervisor.pool") == 1
        assert starts == ["a"]

        await runtime.reload(queue)
        assert "supervisor.pool" not in str(runtime.tree())
        assert await runtime.queue("jobs").len() == 1


# -- an operator's stop ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "new",
    [
        {"queue": {"jobs": timed(unique=True)}},
        {"queue": {"jobs": timed(max_length=3)}},
        {"queue": {"jobs": timed()}, "supervisor": {"pool": {"child": [{"queue": "jobs"}]}}},
        {"queue": {"jobs": timed(), "more": timed()}},
    ],
    ids=["restart", "live", "move", "other"],
)
async def test_an_operators_stop_outlasts_a_reload(autojump_clock: MockClock, new: Tables) -> None:
    async with open_runtime({"queue": {"jobs": timed()}}) as runtime:
        queue = runtime.queue("jobs")
        await runtime.stop("jobs")

        for config in (new, {"queue": {"jobs": timed()}}, new):
            result = await runtime.reload(config)
            assert not result.failed
            assert "queue.jobs (stopped)" in str(runtime.tree())
            with pytest.raises(ActorDownError):
                await queue.insert("x")

        await runtime.start("jobs")
        assert await queue.insert("x") == 1


async def test_an_operators_stop_outlasts_a_crash_of_its_group(
    autojump_clock: MockClock, starts: list[str]
) -> None:
    crash = trio.Event()

    async def crashes(*, task_status: ChildStatus) -> None:
        task_status.started()
        if not crash.is_set():
            await crash.wait()
            raise OSError
        await trio.sleep_forever()

    pool = {
        "strategy": "one_for_all",
        "intensity": 0,
        "restart": "permanent",
        "child": [child("a"), {"start": crashes, "id": "c"}],
    }
    top = {"intensity": 9, "child": [{"supervisor": "pool"}]}
    config = {"supervisor": {"top": top, "pool": pool}}
    async with open_runtime(config) as runtime:
        await runtime.stop("a")
        crash.set()
        await trio.sleep(1)

        assert "a (stopped)" in str(runtime.tree())
        assert starts == ["a"]


# -- what is removed -------------------------------------------------------------------------------


async def test_a_removed_queue_is_drained_by_its_worker(autojump_clock: MockClock) -> None:
    done: list[object] = []

    async def slowly(delivery: Delivery) -> None:
        await trio.sleep(10)
        done.append(delivery.value)

    config = {"queue": {"jobs": timed()}, "worker": {"w": {"queue": "jobs", "handler": slowly}}}
    async with open_runtime(config) as runtime:
        queue = runtime.queue("jobs")
        await queue.insert("a", "b", "c")

        result = await runtime.reload({})

        assert [(each.name, each.outcome) for each in result.children] == [
            ("jobs", "draining"),
            ("w", "draining"),
        ]
        assert "drain.jobs (running)" in str(runtime.tree())
        with pytest.raises(QueueClosedError):
            await queue.insert("d")
        await trio.sleep(29)
        assert runtime.queue_names() == ("jobs",)
        await trio.sleep(2)
        assert done == ["a", "b", "c"]
        assert (runtime.queue_names(), runtime.workers()) == ((), ())
        assert "jobs" not in str(runtime.tree())
        with pytest.raises(QueueNotFoundError):
            runtime.queue("jobs")
        with pytest.raises(ActorDownError):
            await queue.insert("d")


async def test_a_reload_of_many_looks_at_the_tree_as_often_as_one_of_few(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(owner: object, name: str) -> None:
        counted: Any = getattr(owner, name)  # type: ignore[explicit-any] # a function

        def wrapper(*args: object) -> object:
            calls[name] += 1
            return counted(*args)

        calls[name] = 0
        monkeypatch.setattr(owner, name, wrapper)

    calls: dict[str, int] = {}
    async with open_runtime({"queue": {f"q{number}": timed() for number in range(50)}}) as runtime:
        count(importlib.import_module("queueactors._reload"), "slots")
        count(runtime._parts, "tree")  # noqa: SLF001 - each drain did all of it anew

        await runtime.reload({"queue": {f"q{number}": timed(unique=True) for number in range(50)}})
        assert calls == {"slots": 2, "tree": 1}
        await runtime.reload({})
        await trio.sleep(1)

        assert runtime.queue_names() == ()
        assert calls["tree"] < 6


async def test_a_drain_outlasts_a_stop_and_a_start_of_all_workers(
    autojump_clock: MockClock,
) -> None:
    rest = {"queue": {"q": timed()}}
    old = {
        "queue": {**rest["queue"], "jobs": timed()},
        "worker": {"w": {"queue": "jobs", "handler": handle, "auto_start": 60}},
    }
    async with open_runtime(old) as runtime:
        await runtime.queue("jobs").insert("a")
        await runtime.stop("queueactors/workers")

        result = await runtime.reload(rest)
        await trio.sleep(1)

        assert [(each.what, each.outcome) for each in result.children] == [
            ("queue", "draining"),
            ("worker", "draining"),
        ]
        assert runtime.config.queues.keys() == {"q"}
        await runtime.start("queueactors/workers")
        await runtime.restart("queueactors/workers")
        await trio.sleep(61)
        assert runtime.queue_names() == ("q",)


@pytest.mark.parametrize("waits", ["reserve", "sync"])
async def test_a_queue_that_comes_back_while_it_is_drained_is_refilled_again(
    waits: str, autojump_clock: MockClock
) -> None:
    async def refill() -> list[object]:
        await trio.lowlevel.checkpoint()
        return ["new"]

    config = {"queue": {"jobs": timed(sync_fn=refill, sync_interval=1)}}
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        queue = runtime.queue("jobs")
        await queue.insert("old")
        await queue.reserve(60)
        await runtime.reload({})
        nursery.start_soon(getattr(queue, waits))
        await trio.sleep(2)
        assert (await queue.statistics()).refills == 0

        await runtime.reload(config)

        await trio.sleep(2)
        assert (await queue.statistics()).last_refill == 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("asks", ["try_reserve", "sync"])
async def test_what_a_queue_that_is_drained_has_not_got_is_not_wanted_later(
    asks: str, autojump_clock: MockClock
) -> None:
    async def refill() -> list[object]:
        await trio.lowlevel.checkpoint()
        return ["new"]

    config = {"queue": {"jobs": timed(sync_fn=refill, sync_interval=1)}}
    async with open_runtime(config) as runtime:
        queue = runtime.queue("jobs")
        await queue.insert("old")
        await queue.reserve(60)
        await runtime.reload({})
        with trio.move_on_after(1):
            assert await getattr(queue, asks)() is None

        await runtime.reload(config)

        await trio.sleep(2)
        assert (await queue.statistics()).refills == 0


async def test_a_queue_that_comes_back_while_it_is_drained_takes_in_again(
    autojump_clock: MockClock,
) -> None:
    config = {"queue": {"jobs": timed()}}
    async with open_runtime(config) as runtime:
        queue = runtime.queue("jobs")
        await queue.insert("a")
        await runtime.reload({})
        with pytest.raises(QueueClosedError):
            await queue.insert("b")

        await runtime.reload(config)

        assert runtime.queue("jobs") is queue
        assert await queue.insert("b") == 1
        assert "drain" not in str(runtime.tree())
        assert incarnations(runtime) == {"jobs": 1}
        await trio.sleep(100)
        assert await queue.len() == 2


async def test_a_queue_that_is_kept_goes_at_once_and_comes_back_with_its_messages(
    autojump_clock: MockClock,
) -> None:
    config = {"queue": {"jobs": timed()}}
    async with open_runtime(config) as runtime:
        await runtime.queue("jobs").insert("a")

        result = await runtime.reload({}, removed="keep")
        assert [(each.name, each.outcome) for each in result.children] == [("jobs", "done")]
        assert runtime.queue_names() == ()

        await runtime.reload(config)
        assert (await runtime.queue("jobs").reserve()).value == "a"


async def test_who_waits_for_a_queue_that_goes_is_told(autojump_clock: MockClock) -> None:
    async with (
        open_runtime({"queue": {"jobs": timed()}}) as runtime,
        trio.open_nursery() as nursery,
    ):
        told: list[str] = []

        async def take() -> None:
            with pytest.raises(ActorDownError) as caught:
                await runtime.queue("jobs").reserve()
            told.append(caught.value.reason)

        nursery.start_soon(take)
        await settle()

        await runtime.reload({}, removed="keep")
        await settle()

        assert told == ["gone"]


@pytest.mark.parametrize(
    ("kind", "options", "add", "take"),
    [
        ("timed", {"reservation_time": 30}, "insert", "reserve"),
        ("message", {}, "enqueue", "claim"),
        ("capacity", {"codec": "msgpack"}, "push", "pop"),
        ("channel", {}, "send", "recv"),
        ("log", {"codec": "msgpack"}, "add", None),
    ],
)
async def test_every_kind_is_drained(
    autojump_clock: MockClock, kind: str, options: Tables, add: str, take: str | None
) -> None:
    async with open_runtime({"queue": {"q": {"kind": kind, **options}}}) as runtime:
        queue = runtime.queue("q")
        await getattr(queue, add)("a")
        await runtime.reload({})
        if runtime.queue_names():
            with pytest.raises((QueueClosedError, ActorDownError)):
                await getattr(queue, add)("b")
        if take is not None:
            taken = await getattr(queue, take)()
            if kind == "timed":
                await queue.delete(taken)
            elif kind == "message":
                await taken.finish("success")

        await trio.sleep(1)

        assert runtime.queue_names() == ()


@pytest.mark.parametrize("store", ["memory", "disk"])
async def test_a_batch_queue_that_is_drained_flushes_its_buffer(
    autojump_clock: MockClock, tmp_path: Path, store: str
) -> None:
    got: list[object] = []

    async def process(_queue: object, items: list[object]) -> None:
        await trio.sleep(2)
        got.extend(items)

    queue = {"kind": "batch", "process": process, "flush_size": 100, "store": store}
    stores = {"disk": {"type": "sqlite", "path": str(tmp_path / "s"), "commit": "loop"}}
    async with open_runtime({"store": stores, "queue": {"rows": queue}}) as runtime:
        await runtime.queue("rows").push_many([1, 2, 3])

        await runtime.reload({"store": stores})
        await trio.sleep(1)
        assert runtime.queue_names() == ("rows",)
        await trio.sleep(2)

        assert got == [1, 2, 3]
        assert runtime.queue_names() == ()


KINDS: dict[str, Tables] = {
    "timed": {"reservation_time": 30},
    "message": {},
    "batch": {"process": handle},
    "log": {"codec": "msgpack"},
    "capacity": {"codec": "msgpack"},
    "channel": {},
}


@pytest.mark.parametrize("store", ["memory", "disk"])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_empty_queue_that_was_taken_out_may_come_back_as_another_kind(
    autojump_clock: MockClock, tmp_path: Path, kind: str, store: str
) -> None:
    if (kind, store) == ("channel", "disk"):
        return
    stores = {"disk": {"type": "sqlite", "path": str(tmp_path / "s"), "commit": "loop"}}
    rest = {"store": stores}
    async with open_runtime(rest) as runtime:
        for other in KINDS.keys() - {kind, "channel"}:
            before = {"kind": kind, "store": store, **KINDS[kind]}
            after = {"kind": other, "store": store, **KINDS[other]}
            await runtime.reload({**rest, "queue": {"q": before}})
            assert await runtime.queue("q").len() == 0
            await runtime.reload(rest, removed="keep")

            result = await runtime.reload({**rest, "queue": {"q": after}})

            assert not result.failed
            assert await runtime.queue("q").len() == 0
            await runtime.reload(rest, removed="keep")


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ("memory", "queue 'q' is kept in memory as one of another kind, and not empty"),
        ("disk", "is of kind 'timed', not 'message', and not empty"),
    ],
)
async def test_a_queue_that_is_not_empty_does_not_come_back_as_another_kind(
    autojump_clock: MockClock, tmp_path: Path, store: str, told: str
) -> None:
    stores = {"disk": {"type": "sqlite", "path": str(tmp_path / "s"), "commit": "loop"}}
    rest, queue = {"store": stores}, timed(store=store)
    async with open_runtime({**rest, "queue": {"q": queue}}) as runtime:
        await runtime.queue("q").insert("a")
        await runtime.reload(rest, removed="keep")

        result = await runtime.reload({**rest, "queue": {"q": {"kind": "message", "store": store}}})

        assert [each.error and told in each.error for each in result.children] == [True]
        await runtime.reload(rest, removed="keep")
        await runtime.reload({**rest, "queue": {"q": queue}})
        assert await runtime.queue("q").len() == 1


async def test_a_queue_for_dead_letters_is_drained_after_those_that_send_there(
    autojump_clock: MockClock,
) -> None:
    config = {
        "queue": {
            "jobs": timed(max_reservations=1, on_exhausted="dead", reservation_time=5),
            "dead": timed(),
        }
    }
    async with open_runtime(config) as runtime:
        dead = runtime.queue("dead")
        await runtime.queue("jobs").insert("a")
        await runtime.queue("jobs").reserve()

        await runtime.reload({})
        await trio.sleep(7)

        assert runtime.queue_names() == ("dead",)
        taken = await dead.reserve()
        assert taken.value.value == "a"
        await dead.delete(taken)
        await trio.sleep(1)
        assert runtime.queue_names() == ()


# -- every live option is live ---------------------------------------------------------------------


async def test_the_limits_of_a_timed_queue_are_live(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"q": timed(max_length=1)}}) as runtime:
        queue = runtime.queue("q")
        await queue.insert("a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.wait_insert, "b")
            await settle()

            await runtime.reload({"queue": {"q": timed(max_length=2)}})  # lets the waiting one in

        with pytest.raises(QueueFullError):
            await queue.insert("c")
        new = timed(reservation_time=5, max_reservations=1, on_exhausted="bury")
        await runtime.reload({"queue": {"q": new}})
        start = trio.current_time()
        taken = await queue.reserve()
        assert taken.deadline_at - queue.clock.now_ns() == 5 * 10**9
        await trio.sleep(6)
        assert (await queue.statistics()).buried == 1
        assert trio.current_time() - start == 6
        assert incarnations(runtime) == {"q": 1}


async def test_a_refill_is_live(autojump_clock: MockClock) -> None:
    def refill(value: str) -> list[str]:
        return [value]

    async def source(value: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return refill(value)

    def tables(**options: object) -> Tables:
        return {"queue": {"q": timed(**options)}}

    async with open_runtime(tables()) as runtime:
        queue = runtime.queue("q")
        for value in "ab":
            await runtime.reload(tables(sync_fn=source, sync_args=[value], sync_interval=1))
            assert (await queue.reserve()).value == value
            await trio.sleep(2)

        await runtime.reload(tables())

        assert "errands" not in str(runtime.tree())
        with pytest.raises(trio.TooSlowError):
            await queue.reserve(timeout=5)
        assert incarnations(runtime) == {"q": 1}


async def test_the_options_of_the_other_kinds_are_live(autojump_clock: MockClock) -> None:
    batches: list[int] = []

    async def process(_queue: object, items: list[object]) -> None:
        await trio.lowlevel.checkpoint()
        batches.append(len(items))

    def tables(number: int) -> Tables:
        return {
            "queue": {
                "message": {"kind": "message", "max_length": number, "lock_time": number},
                "batch": {"kind": "batch", "process": process, "flush_size": number},
                "log": {"kind": "log", "codec": "msgpack", "ttl": number * 10},
                "capacity": {"kind": "capacity", "codec": "msgpack", "max_elements": number},
                "channel": {"kind": "channel", "limit": number, "snapshot": number == 2},
            }
        }

    async with open_runtime(tables(2)) as runtime:
        await runtime.reload(tables(3))

        message, capacity = runtime.queue("message"), runtime.queue("capacity")
        for each in "abc":
            assert await message.enqueue(each)
        with pytest.raises(QueueFullError):
            await message.enqueue("d")
        assert (await message.claim()).lock_time == 3
        await runtime.queue("batch").push_many(range(6))
        await trio.sleep(1)
        assert batches == [3, 3]
        await capacity.push("a", "b", "c")
        with pytest.raises(QueueFullError):
            await capacity.push("d")
        log = runtime.queue("log")
        await log.add("x")
        await trio.sleep(25)
        assert await log.len() == 1
        given: list[int] = []
        channel = runtime.queue("channel")
        assert [await channel.try_send(given) for _ in range(4)] == [True, True, True, False]
        assert await channel.recv() is given
        assert set(incarnations(runtime).values()) == {1}


async def test_the_options_of_a_worker_are_live(autojump_clock: MockClock) -> None:
    running = 0
    most: list[int] = []

    async def busy(_delivery: Delivery) -> None:
        nonlocal running
        running += 1
        most.append(running)
        try:
            await trio.sleep(1)
        finally:
            running -= 1

    def tables(**options: object) -> Tables:
        worker = {"queue": "q", "handler": busy, "shutdown": 9, **options}
        return {"queue": {"q": timed()}, "worker": {"w": worker}}

    async with open_runtime(tables()) as runtime:
        queue = runtime.queue("q")
        await queue.insert(*range(6))
        await trio.sleep(1.5)
        assert max(most) == 1

        await runtime.reload(tables(concurrency=3, max_runtime=0.5, backoff=100))
        await trio.sleep(1)
        assert max(most) == 3
        assert runtime.worker("w").concurrency == 3
        assert runtime.worker("w").status().statistics.counts["retry"] > 0
        assert incarnations(runtime) == {"q": 1, "w": 1}


async def test_another_handler_takes_over_and_the_old_one_finishes(
    autojump_clock: MockClock,
) -> None:
    done: list[tuple[str, object]] = []

    async def old(delivery: Delivery) -> None:
        await trio.sleep(2)
        done.append(("old", delivery.value))

    async def new(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        done.append(("new", delivery.value))

    def tables(handler: object) -> Tables:
        return {"queue": {"q": timed()}, "worker": {"w": {"queue": "q", "handler": handler}}}

    async with open_runtime(tables(old)) as runtime:
        worker = runtime.worker("w")
        await runtime.queue("q").insert("a", "b")
        await trio.sleep(1)

        await runtime.reload(tables(new))
        await trio.sleep(1)

        assert done == [("old", "a"), ("new", "b")]
        assert runtime.worker("w") is worker


async def test_a_durable_queue_is_kept_and_comes_back_with_its_messages(tmp_path: Path) -> None:
    store = {"disk": {"type": "sqlite", "path": str(tmp_path / "q.sqlite")}}
    config = {"store": store, "queue": {"jobs": timed(store="disk")}}
    async with open_runtime(config) as runtime:
        await runtime.queue("jobs").insert("a")

        for _ in range(2):
            await runtime.reload({"store": store}, removed="keep")
            await runtime.reload({}, removed="keep")
            assert not (await runtime.reload(config)).failed

        new = {"store": store, "queue": {"jobs": timed(store="disk", unique=True)}}
        assert not (await runtime.reload(new)).failed
        assert await runtime.queue("jobs").insert("a") == 0
        assert (await runtime.queue("jobs").reserve()).value == "a"
