"""The methods, for every kind of queue, through the client."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import structlog
import trio
import trio.lowlevel
import trio.testing

from queueactors import (
    QueueClosedError,
    QueueFullError,
    QueueNotFoundError,
    ReservationNotFoundError,
)
from queueactors.control import ControlClosedError, ControlError, Redriven, open_control
from queueactors.control._logs import KEPT
from queueactors.control._methods import METHODS, Methods
from queueactors.control._redrive import redrive
from queueactors.control._watch import COST
from supervisors import ActorDownError, ChildSpec, child_spec

from .kit import controlled, fault, raw, serving

if TYPE_CHECKING:
    from queueactors.control import ControlClient, Peeked
    from queueactors.control._server import ControlServer
    from queueactors.queues import AnyQueue
    from supervisors import ChildStatus, Supervisor
    from tests.conftest import Events

QUEUES: dict[str, dict[str, object]] = {
    "timed": {
        "kind": "timed",
        "reservation_time": 30,
        "on_exhausted": "dead",
        "max_reservations": 1,
    },
    "dead": {"kind": "timed", "reservation_time": 30},
    "message": {"kind": "message"},
    "batch": {"kind": "batch", "process": "builtins:print", "flush_size": 100},
    "log": {"kind": "log", "ttl": 60},
    "capacity": {"kind": "capacity", "max_elements": 3},
    "channel": {"kind": "channel", "limit": 3},
}


async def peeked(client: ControlClient, queue: str, state: str | None = None) -> list[Peeked]:
    async with await client.peek(queue, state) as messages:
        return [each async for each in messages]


async def test_status_tells_what_an_operator_asks_first(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (_, client):
        await client.insert("timed", 1, 2)
        await client.reserve("timed")
        await client.stop("log")
        told = await client.status()

    assert (told.name, told.pid, told.queues, told.ready) == ("queueactors", os.getpid(), 7, True)
    assert (told.messages, told.in_hand, told.stopped) == (1, 1, ("queue.log",))
    assert told.up_since.endswith("+00:00")


async def test_the_tree_is_the_runtimes(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        assert await client.tree() == runtime.tree()


@pytest.mark.parametrize("kind", [*QUEUES])
async def test_every_kind_takes_messages_in_and_tells_its_numbers(
    tmp_path: Path, kind: str
) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        assert await client.insert(kind, "a", "b") == {"inserted": 2, "refused": 0}
        row, workers = await client.stats(kind)

        assert await runtime.queue(kind).len() == 2
        assert (row.name, row.state, workers) == (kind, "running", ())
        assert row.kind == (kind if kind != "dead" else "timed")
        assert row.statistics is not None
        assert await client.clear(kind) == (kind,)
        assert await runtime.queue(kind).len() == 0


@pytest.mark.parametrize("kind", ["capacity", "channel"])
async def test_a_full_queue_refuses_and_may_be_waited_for(tmp_path: Path, kind: str) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (_, client):
        await client.insert(kind, "a", "b", "c")
        with pytest.raises(QueueFullError):
            await client.insert(kind, "d")
        with pytest.raises(trio.TooSlowError):
            await client.insert(kind, "d", wait=0.01)


async def test_what_is_not_for_a_kind_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (_, client):
        for kind in ("batch", "log", "capacity", "channel"):
            with pytest.raises(ValueError, match=f"is of kind {kind}, and reserve is for timed, m"):
                await client.reserve(kind)
        with pytest.raises(ValueError, match="nothing is buried in it; redrive its dead letter"):
            await client.kick("message")
        with pytest.raises(ValueError, match="and delay is for timed and message queues"):
            await client.insert("log", "x", delay=1)
        with pytest.raises(
            ValueError, match="and remove is for timed, message, batch; look into it"
        ):
            await client.remove("log", 1)
        with pytest.raises(ValueError, match="'dead' is where they are; say another queue"):
            await client.redrive("dead", "dead")
        with pytest.raises(ValueError, match="reserve: expected wait to be seconds >= 0, got -1"):
            await client.reserve("dead", wait=-1)
        with pytest.raises(ValueError, match="reserve: expected seconds to be seconds > 0, got 0"):
            await client.reserve("dead", seconds=0)
        with pytest.raises(QueueNotFoundError, match="did you mean 'timed'"):
            await client.pause("timd")
        with pytest.raises(ValueError, match="'log' takes bytes, got 1; give it as a text, or on"):
            await client.insert("log", 1)


async def test_a_message_is_taken_finished_or_given_back(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        for kind in ("dead", "message"):
            await client.insert(kind, {"a": 1})
            taken = await client.reserve(kind)
            assert taken is not None
            assert (taken.value, taken.attempt) == ({"a": 1}, 1)
            assert await client.reserve(kind) is None
            await client.release(kind, taken.key)
            again = await client.reserve(kind, wait=5)
            assert again is not None
            await client.delete(kind, again.key)
            assert await runtime.queue(kind).len() == 0
        with pytest.raises(ReservationNotFoundError):
            await client.delete("dead", 5)


async def test_values_travel_as_what_they_are(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        queue = runtime.queue("dead")
        await queue.insert({"a": [1, None]}, b"\xff", object, "ä\ud800")
        first, second, third, fourth = await peeked(client, "dead")

        assert first.value == {"a": [1, None]}
        assert second.data == "/w=="
        assert third.repr == "<class 'object'>"
        assert fourth.repr == "'ä\\ud800'"
        await client.insert("log", "text", data=[b"\xff"])
        assert await runtime.queue("log").next("me", limit=2) == ([b"text", b"\xff"], 0)


async def test_peek_shows_what_a_message_waits_for(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        await client.insert("dead", "later", delay=50, priority=3)
        await client.insert("message", "x", mid="m")
        await client.insert("batch", 1, 2)
        await runtime.queue("batch").flush()

        (later,) = await peeked(client, "dead", "delayed")
        assert (later.value, later.state, later.priority) == ("later", "delayed", 3)
        assert later.ready_at is not None
        (message,) = await peeked(client, "message")
        assert (message.mid, message.state, message.id) == ("m", "queued", 1)
        assert await peeked(client, "message", "locked") == []
        with pytest.raises(ValueError, match="expected status to be one of"):
            await peeked(client, "message", "nope")
        with pytest.raises(ValueError, match="expected limit to be from 1 to 1000, got 1001"):
            async with await client.peek("dead", limit=1001) as messages:
                await anext(messages)


@pytest.mark.parametrize("kind", ["channel", "log", "capacity"])
async def test_peek_shows_what_has_no_states(tmp_path: Path, kind: str) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        await client.insert(kind, "a", "b", "c")
        async with await client.peek(kind, limit=2) as items:
            found = [(each.id, each.state, each.value) async for each in items]

        assert found == [(None, "ready", "a"), (None, "ready", "b")]
        assert await runtime.queue(kind).len() == 3
        with pytest.raises(ValueError, match=f"expected no state: in a {kind} queue there is only"):
            await peeked(client, kind, "buried")


async def test_dead_letters_go_back_where_they_came_from(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        await client.insert("timed", "x", "y")
        await client.insert("dead", "no letter")
        for _ in range(2):
            taken = await client.reserve("timed")
            assert taken is not None
            await client.release("timed", taken.key)
        while await runtime.queue("dead").len() < 3:  # noqa: ASYNC110 - the errand's own pace
            await trio.sleep(0.001)

        assert await client.redrive("dead") == Redriven(moved={"timed": 2}, left=1)
        assert [each.value for each in await peeked(client, "timed")] == ["x", "y"]
        assert [each.value for each in await peeked(client, "dead")] == ["no letter"]
        assert await client.redrive("dead", "message") == Redriven(moved={"message": 1})


async def test_a_redrive_that_cannot_go_on_loses_nothing(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        await client.insert("dead", "1", "2", "3", "4", "5")
        told = await client.redrive("dead", "capacity")

        assert told.moved == {"capacity": 3}
        assert told.error is not None
        assert "is full" in told.error
        assert (await runtime.queue("dead").statistics()).ready == 2


@pytest.mark.parametrize("source", ["dead", "message"])
async def test_a_redrive_that_is_cancelled_leaves_nothing_in_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        await client.insert(source, "x", "y")
        target: AnyQueue = runtime.queue("timed")
        insert = target.insert

        async def insert_and_leave(*values: object, **options: object) -> int:
            inserted: int = await insert(*values, **options)
            leaving.cancel()
            return inserted

        monkeypatch.setattr(target, "insert", insert_and_leave)

        with trio.CancelScope() as leaving:
            await redrive(runtime, runtime.queue(source), "timed", 2)

        assert leaving.cancelled_caught
        assert await runtime.queue(source).len() == await target.len() == 1


async def test_a_redrive_says_what_is_in_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def hang(_key: int) -> None:
        await trio.sleep_forever()

    async with serving(tmp_path, queue=QUEUES) as runtime:
        await runtime.queue("dead").insert("x")
        monkeypatch.setattr(runtime.queue("dead"), "delete", hang)
        with pytest.raises(trio.TooSlowError, match="a message is in both queues: it could not"):
            await redrive(runtime, runtime.queue("dead"), "timed", 1)


async def test_a_queue_is_paused_stopped_and_started(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (_, client):
        await client.insert("dead", 1)
        await client.pause("dead")
        assert await client.reserve("dead") is None
        await client.resume("dead")
        await client.stop("dead")
        with pytest.raises(ActorDownError):
            await client.reserve("dead")
        assert (await client.stats("dead"))[0].state == "stopped"
        await client.start("dead")
        await client.restart("queue.dead")
        assert await client.reserve("dead") is not None
        with pytest.raises(LookupError, match="there is no child 'deed'"):
            await client.stop("deed")


@pytest.mark.parametrize("child", ["control", "front_ends"])
async def test_what_answers_is_restarted_after_its_answer_and_never_stopped(
    tmp_path: Path, child: str
) -> None:
    async with controlled(tmp_path) as (runtime, client):
        with pytest.raises(ValueError, match="and nobody could start it again; take it out of"):
            await client.stop(child)
        async with await client.logs() as events:
            await client.restart(child)
            with pytest.raises(ControlClosedError):
                async for _ in events:
                    pass
        while [child.state for child in runtime.tree().children[-1].children] != ["running"]:  # noqa: ASYNC110 - real time
            await trio.sleep(0.001)
        async with open_control(tmp_path / "control.sock") as other:
            assert (await other.status()).stopped == ()


async def test_a_restart_is_whole_also_if_its_client_leaves(tmp_path: Path) -> None:
    slow = SlowToEnd()
    async with serving(tmp_path) as runtime:
        await runtime.supervisor.start_child(ChildSpec(id="slow", start=slow))
        front_ends = cast("Supervisor", runtime.supervisor.value_of("front_ends"))
        server = cast("ControlServer", front_ends.value_of("control"))
        with trio.fail_after(10):
            async with raw(tmp_path) as client:
                await client.say({"id": 1, "method": "restart", "params": {"child": "slow"}})
                await slow.ending.wait()
            while server._connections:  # noqa: ASYNC110, SLF001 - real time; its leaving is noticed
                await trio.sleep(0.001)
            assert runtime.supervisor.state_of("slow") != "running"

            slow.go_on.set()

            while runtime.supervisor.state_of("slow") != "running":  # noqa: ASYNC110 - real time
                await trio.sleep(0.001)


@pytest.mark.parametrize("asked", ["before", "after"])
async def test_a_restart_is_not_told_as_done_if_the_runtime_stops(
    tmp_path: Path, asked: str
) -> None:
    slow, leave = SlowToEnd(), trio.Event()

    async def run(*, task_status: trio.TaskStatus) -> None:
        async with serving(tmp_path) as runtime:
            below = child_spec("below", [ChildSpec(id="slow", start=slow)])
            await runtime.supervisor.start_child(below)
            task_status.started()
            await leave.wait()

    line: dict[str, object] = {}
    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        async with raw(tmp_path) as client:
            if asked == "after":
                leave.set()
                await slow.ending.wait()
            await client.say({"id": 1, "method": "restart", "params": {"child": "slow"}})
            await slow.ending.wait()
            leave.set()
            with trio.move_on_after(5):
                line = await client.line()
            slow.go_on.set()

    assert fault(line) == "supervisor 'queueactors' is not running any more"


class SlowToEnd:
    """A child that ends when it may."""

    def __init__(self) -> None:
        self.ending, self.go_on = trio.Event(), trio.Event()

    async def __call__(self, *, task_status: ChildStatus) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.ending.set()
            with trio.CancelScope(shield=True):
                await self.go_on.wait()


async def test_a_restart_that_fails_tells_why(tmp_path: Path) -> None:
    starts = []

    async def once(*, task_status: ChildStatus) -> None:
        starts.append(1)
        if len(starts) > 1:
            raise OSError("no more")
        task_status.started()
        await trio.sleep_forever()

    async with controlled(tmp_path) as (runtime, client):
        await runtime.supervisor.start_child(ChildSpec(id="once", start=once))
        with pytest.raises(ControlError, match="it failed to start: OSError: no more"):
            await client.restart("once")


async def test_a_closed_channel_says_so(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        await runtime.queue("channel").close()
        with pytest.raises(QueueClosedError):
            await client.insert("channel", 1)


async def test_clear_needs_names_or_all(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (_, client):
        await client.insert("dead", 1)
        await client.insert("log", "x")
        with pytest.raises(ValueError, match="expected either queues or all"):
            await client.clear()
        assert set(await client.clear_all()) == {"dead", "log"}


async def test_lines_of_an_export_come_in_as_new_messages(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        told = []
        for kind, lines in {
            "dead": [{"value": 1, "id": 7, "priority": 2}, {"data": "oWE=", "codec": "msgpack"}],
            "message": [{"value": 1, "mid": "m"}, {"value": 2, "mid": "m"}],
            "log": [{"value": ["a", "b"]}, {"value": "c"}],
        }.items():
            told += [
                each
                async for each in client.import_lines(kind, cast("list[dict[str, object]]", lines))
            ]

        assert told[:2] == [{"inserted": 2, "refused": 0}, {"inserted": 1, "refused": 1}]
        assert told[2]["inserted"] == 1
        assert told[2]["error"] == "expected value to be a list of items"
        assert [each.value for each in await peeked(client, "dead")] == ["a", 1]
        assert await runtime.queue("log").len() == 2


async def test_top_shows_everything_again_and_again(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (_, client), await client.top(0.1) as shots:
        first = await anext(shots)
        await client.insert("dead", 1)
        while (shot := await anext(shots)).at == first.at:
            pass

    assert len(shot.queues) == 7
    assert {each.name: each.at_hand for each in shot.queues}["dead"] == 1


async def test_top_costs_at_most_one_percent(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, _):
        watch = Methods(runtime).watch
        begun = trio.current_time()
        await watch.look(0.0)
        while watch.round == 1:
            await watch.look(0.0)

        assert trio.current_time() - begun >= COST * 20e-6  # it takes longer than that


async def test_logs_are_told_to_who_listens_and_to_nobody_else(
    tmp_path: Path, events: Events
) -> None:
    log = structlog.get_logger("queueactors")
    before = list(structlog.get_config()["processors"])
    async with controlled(tmp_path, queue=QUEUES) as (_, client):
        async with await client.logs("warning") as told, await client.logs() as all_of_it:
            await client.status()  # by now they listen
            log.info("quiet", n=1)
            log.error("loud", what=object, exc_info=ValueError("oh"))
            loud = await anext(told)
            assert (await anext(all_of_it))["event"] == "quiet"
        await client.status()
        after = list(structlog.get_config()["processors"])

    assert loud["event"] == "loud"
    assert loud["exception"] == "ValueError: oh"
    assert after == before


async def test_a_listener_that_is_behind_loses_events_and_is_told(tmp_path: Path) -> None:
    log = structlog.get_logger("queueactors")
    async with controlled(tmp_path) as (_, client), await client.logs() as told:
        await client.status()
        for number in range(KEPT + 5):
            log.info("flood", n=number)
        first, second = await anext(told), await anext(told)

    assert (first["event"], first["count"]) == ("events_dropped", 5)
    assert second["n"] == 5


async def test_what_an_operator_does_is_logged_without_values(
    tmp_path: Path, events: Events
) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (_, client):
        await client.insert("dead", "secret")
        await client.pause("dead")
        with pytest.raises(QueueNotFoundError):
            await client.resume("deed")

    called = [each for each in events if each["event"] == "control_called"]
    assert [(each["method"], each["log_level"]) for each in called] == [
        ("insert", "debug"),
        ("pause", "info"),
        ("resume", "info"),
    ]
    assert called[2]["error"]
    assert "secret" not in str(called)


async def test_a_cancelled_call_is_cancelled_over_there(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (runtime, client):
        with trio.move_on_after(0.05):
            await client.reserve("dead", wait=None)
        assert (await runtime.queue("dead").statistics()).waiting == 0
        await client.insert("dead", 1)
        assert await client.reserve("dead") is not None


async def test_metrics_are_the_runtimes(tmp_path: Path) -> None:
    async with controlled(tmp_path, queue=QUEUES) as (_, client):
        assert "queueactors_queues 7" in await client.metrics()
        assert "# EOF" in await client.metrics("openmetrics")


def test_every_method_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/control.md").read_text(encoding="utf-8")

    assert not [name for name in METHODS if f"| `{name}` |" not in page]
