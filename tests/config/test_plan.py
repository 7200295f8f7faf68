"""`make_plan`: what differs between two configurations, and how each difference is applied."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest

from queueactors.config import (
    ControlOptions,
    RuntimeOptions,
    load_config,
    make_plan,
    plan_data,
    plan_text,
)
from queueactors.config._live import CHILD, CONTROL, QUEUES, RUNTIME, STORES, SUPERVISOR, WORKER
from queueactors.queues import KINDS
from queueactors.stores import SqliteStore
from queueactors.workers import WorkerOptions
from supervisors import ChildSpec, SupervisorFlags

from .helpers import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueactors.config import Plan

QUEUE = '[queue.{}]\nkind = "timed"\nreservation_time = 1\n'


def between(old: str, new: str, environ: Mapping[str, str] | None = None) -> Plan:
    before = load(old)
    return make_plan(before, load(new, environ))


def actions(plan: Plan) -> dict[str, str]:
    return {
        f"{item.what} {item.name}": item.action for item in plan.items if item.action != "unchanged"
    }


def names(cls: type[attrs.AttrsInstance]) -> set[str]:
    return {each.alias for each in attrs.fields(cls) if each.init}


@pytest.mark.parametrize("kind", KINDS)
def test_each_option_of_each_kind_has_a_way_to_change(kind: str) -> None:
    assert set(QUEUES[kind]) == names(KINDS[kind].options)


def test_each_option_of_workers_supervisors_children_and_runtimes_has_a_way_to_change() -> None:
    assert set(WORKER) == names(WorkerOptions)
    assert set(SUPERVISOR) == names(SupervisorFlags)
    assert set(CHILD) == names(ChildSpec) - {"id", "type"}
    assert set(RUNTIME) == names(RuntimeOptions)
    assert set(CONTROL) == names(ControlOptions)
    assert set(STORES["sqlite"]) < names(SqliteStore)


def test_a_configuration_and_itself_differ_in_nothing() -> None:
    text = QUEUE.format("a") + '[[supervisor.s.child]]\nqueue = "a"\n'

    plan = between(text, text)

    assert plan.is_empty
    assert plan.faults == ()


def test_what_is_added_removed_changed_and_moved() -> None:
    old = QUEUE.format("a") + QUEUE.format("b") + QUEUE.format("c") + QUEUE.format("d")
    new = QUEUE.format("c") + QUEUE.format("b") + "max_length = 3\n" + QUEUE.format("e")

    plan = between(old, new + QUEUE.format("d"))

    assert actions(plan) == {
        "queue c": "moved",
        "queue b": "changed",
        "queue e": "added",
        "queue a": "removed",
    }
    assert plan_text(plan).splitlines() == [
        "> queue.c",
        "~ queue.b",
        "    max_length: not set -> 3  (live)",
        "+ queue.e",
        "- queue.a",
        "1 added, 1 removed, 1 changed, 1 moved, 5 unchanged",
    ]


def test_a_queue_that_gets_a_supervisor_is_told_with_both_places() -> None:
    pool = '[[supervisor.s.child]]\nqueue = "a"\non_give_up = "park"\n'

    plan = between(QUEUE.format("a"), QUEUE.format("a") + pool)

    item = plan["queue", "a"]
    assert (item.action, item.before, item.place, item.restarts) == (
        "moved", "queues/queue.a", "supervisors/supervisor.s/queue.a", True,
    )  # fmt: skip


def test_a_change_of_an_environment_variable_is_a_change() -> None:
    text = '[runtime]\nlog_level = "${LEVEL:-info}"\n'

    plan = between(text, text, {"LEVEL": "debug"})

    assert plan_text(plan).splitlines()[:2] == [
        "~ runtime",
        '    log_level: "info" -> "debug"  (live)',
    ]


def test_a_secret_is_not_shown() -> None:
    text = (
        QUEUE.format("a") + 'sync_fn = "json:dumps"\nsync_interval = 1\nsync_args = ["${{KEY}}"]\n'
    )
    text = text.replace("{{", "{").replace("}}", "}")
    before, after = (load(text, {"KEY": key}) for key in ("tops3cret", "other5ecret"))

    plan = make_plan(before, after)

    assert "ecret" not in plan_text(plan) + json.dumps(plan_data(plan))
    assert 'sync_args: ["${KEY}"] -> ["${KEY}"] (its value differs)  (live)' in plan_text(plan)


def test_a_fault_has_its_place() -> None:
    plan = between(QUEUE.format("a"), '[queue.a]\nkind = "message"\n')

    assert [str(fault)[:48] for fault in plan.faults] == [
        "q.toml:3: queue.a.kind: kind cannot change while"
    ]
    assert plan_text(plan).startswith("! q.toml:3: queue.a.kind")


@pytest.mark.parametrize(
    ("kind", "durable", "faulty"),
    [("timed", False, False), ("timed", True, True), ("log", False, True)],
)
def test_a_codec_changes_only_where_nothing_is_encoded(
    kind: str, *, durable: bool, faulty: bool
) -> None:
    def tables(codec: str) -> dict[str, object]:
        options: dict[str, object] = {"kind": kind, "codec": codec}
        if kind == "timed":
            options["reservation_time"] = 1
        if durable:
            options["store"] = "disk"
        return {"queue": {"q": options}, "store": {"disk": {"type": "sqlite"}}}

    plan = make_plan(load_config(tables("json")), load_config(tables("pickle")))

    assert bool(plan.faults) is faulty


def test_the_path_of_a_store_cannot_change_but_its_timeout_can() -> None:
    def tables(**options: object) -> dict[str, object]:
        return {"store": {"disk": {"type": "sqlite", **options}}}

    before = load_config(tables())

    assert not make_plan(before, load_config(tables(timeout=3))).faults
    assert [fault.path for fault in make_plan(before, load_config(tables(path="x"))).faults] == [
        "store.disk.path"
    ]


def test_the_shutdown_that_a_child_entry_says_is_compared_too() -> None:
    worker = QUEUE.format("a") + '[worker.w]\nqueue = "a"\nhandler = "json:dumps"\n'
    pool = '[[supervisor.s.child]]\nworker = "w"\nshutdown = {}\n'

    plan = between(worker + pool.format(1), worker + pool.format(2))

    (change,) = plan["worker", "w"].changes
    assert (change.field, change.how) == ("child.shutdown", "live")


def test_the_data_of_a_plan_can_be_json() -> None:
    plan = between(QUEUE.format("a"), QUEUE.format("a") + "unique = true\n")

    data = json.loads(json.dumps(plan_data(plan)))

    (item,) = [each for each in data["items"] if each["action"] == "changed"]
    assert item == {
        "what": "queue",
        "name": "a",
        "action": "changed",
        "place": "queues/queue.a",
        "before": None,
        "restarts": True,
        "changes": [{"field": "unique", "before": "false", "after": "true", "how": "restart"}],
    }
