"""Supervisors and their children."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from queueactors.config import load_config
from supervisors import Backoff, SupervisorFlags

from .helpers import QUEUE, faults, load, mapping_faults

if TYPE_CHECKING:
    from pathlib import Path

CHILD = QUEUE + "[supervisor.r]\n[[supervisor.r.child]]\n"  # the child is on line 6
START = CHILD + "start = 'os:getpid'\n"  # on line 7


def test_a_supervisor_has_otp_s_defaults(folder: Path) -> None:
    supervisor = load("[supervisor.r]").supervisors["r"]

    assert supervisor.flags == SupervisorFlags()
    assert (supervisor.on_give_up, supervisor.options, supervisor.children) == ("escalate", {}, ())


def test_a_child_keeps_only_the_options_that_were_given(folder: Path) -> None:
    config = load(
        START + "args = [1]\nrestart = 'transient'\nshutdown = 'brutal'\nsignificant = false\n"
        "init_timeout = '1m'\nbackoff = {min = '100ms', factor = 3}\non_give_up = 'park'\n"
        "[[supervisor.r.child]]\nqueue = 'a'\nshutdown = 'infinity'\n"
    )

    start, queue = config.supervisors["r"].children
    assert start.options == {
        "restart": "transient",
        "shutdown": "brutal",
        "significant": False,
        "init_timeout": 60.0,
        "backoff": Backoff(min=0.1, factor=3),
        "on_give_up": "park",
    }
    assert (start.id, start.what, start.name, start.args) == (
        "start.getpid",
        "start",
        "getpid",
        (1,),
    )
    assert start.start is os.getpid
    assert (queue.id, queue.what, queue.name) == ("queue.a", "queue", "a")
    assert (queue.options, queue.start) == ({"shutdown": "infinity"}, None)


def test_a_child_in_a_mapping_may_be_a_callable() -> None:
    child = {"start": os.getpid, "backoff": Backoff(min=0, max=0)}
    data = {"supervisor": {"r": {"child": [child, {"start": lambda: None, "id": "x"}]}}}

    first, second = load_config(data).supervisors["r"].children

    assert (first.id, first.name, first.options) == (
        "start.getpid",
        "getpid",
        {"backoff": Backoff(min=0, max=0)},
    )
    assert (second.id, second.name) == ("x", "function")


def test_supervisors_that_none_places_are_roots(folder: Path) -> None:
    config = load("[supervisor.b]\n[supervisor.a]\nchild = [{supervisor = 'c'}]\n[supervisor.c]")

    assert [each.name for each in config.roots] == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "strategy = 'one_for_al'",
            (
                "strategy: expected strategy to be 'one_for_one', 'one_for_all' or 'rest_for_one', "
                "got 'one_for_al' (did you mean 'one_for_all'?)"
            ),
        ),
        ("intensity = -1", "intensity: expected intensity to be an int >= 0, got -1"),
        ("period = 0", "period: expected period to be seconds > 0, got 0.0"),
        ("perod = 1", "perod: unknown key 'perod' (did you mean 'period'?)"),
        ("child = 1", "child: expected child to be an array of tables, got 1"),
        ("child = [1]", "child[0]: expected a child to be a table, got 1"),
        (
            "significant = true",
            "significant: a permanent child cannot be significant: it never ends for good",
        ),
        (
            "init_timeout = 0",
            ("init_timeout: expected init_timeout to be seconds > 0 or None, got 0.0"),
        ),
    ],
)
def test_a_supervisor_is_checked(folder: Path, text: str, fault: str) -> None:
    assert faults(f"[supervisor.r]\n{text}") == [f"q.toml:3: supervisor.r.{fault}"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("queue = 'b'", "queue: there is no queue 'b'"),
        ("queue = 1", "queue: expected queue to be a string, got 1"),
        ("worker = 'a'", "worker: there is no worker 'a'"),
        ("supervisor = 'rr'", "supervisor: there is no supervisor 'rr' (did you mean 'r'?)"),
        ("start = 'os:sep'", "start: 'os:sep' is not callable, it is a str"),
    ],
)
def test_a_child_names_what_exists(folder: Path, text: str, fault: str) -> None:
    assert faults(CHILD + text) == [f"q.toml:7: supervisor.r.child[0].{fault}"]


@pytest.mark.parametrize(
    ("text", "got"),
    [("", "none"), ("queue = 'a'\nstart = 'os:getpid'", "queue and start")],
)
def test_a_child_is_exactly_one_thing(folder: Path, text: str, got: str) -> None:
    assert faults(CHILD + text) == [
        (
            f"q.toml:6: supervisor.r.child[0]: expected exactly one of queue, worker, supervisor, "
            f"start, got {got}"
        )
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("restrat = 1", "restrat: unknown key 'restrat' (did you mean 'restart'?)"),
        ("id = ''", "id: expected id to be a non-empty string, got ''"),
        (
            "shutdown = 'brutl'",
            (
                "shutdown: expected shutdown to be seconds >= 0 or a duration such as '250ms', "
                "'30s', '5m', '2h' or '7d' or 'brutal' or 'infinity', got 'brutl' "
                "(did you mean 'brutal'?)"
            ),
        ),
        (
            "significant = true",
            "significant: a permanent child cannot be significant: it never ends for good",
        ),
        (
            "significant = true\nrestart = 'transient'",
            (
                "significant: it is significant but auto_shutdown is 'never'; "
                "set auto_shutdown on the supervisor"
            ),
        ),
        (
            "init_timeout = 0",
            ("init_timeout: expected init_timeout to be seconds > 0 or None, got 0.0"),
        ),
        ("backoff = 1", "backoff: expected backoff to be a table, got 1"),
        ("backoff = {mim = 1}", "backoff.mim: unknown key 'mim' (did you mean 'min'?)"),
        (
            "backoff.min = 'x'",
            (
                "backoff.min: expected min to be seconds >= 0 or a duration such as "
                "'250ms', '30s', '5m', '2h' or '7d', got 'x'"
            ),
        ),
        (
            "backoff = {min = 2, max = 1}",
            "backoff.max: expected backoff max to be >= min (2.0), got 1.0",
        ),
        (
            "backoff.jitter = nan",
            ("backoff.jitter: expected backoff jitter to be seconds >= 0, got nan"),
        ),
    ],
)
def test_the_options_of_a_child_are_checked(folder: Path, line: str, fault: str) -> None:
    assert faults(START + line) == [f"q.toml:8: supervisor.r.child[0].{fault}"]


def test_a_wrong_flag_of_a_supervisor_is_no_fault_of_its_children(folder: Path) -> None:
    text = "[supervisor.r]\nauto_shutdown = 'x'\nintensity = -1\nchild = ["
    child = "{start = 'os:getpid', significant = true, restart = 'transient'}]"

    assert [fault.split(":")[1] for fault in faults(text + child)] == ["3", "4"]


def test_arguments_go_with_start_only(folder: Path) -> None:
    assert faults(CHILD + "queue = 'a'\nargs = [1]") == [
        "q.toml:8: supervisor.r.child[0].args: args goes with start only"
    ]


def test_what_is_placed_twice_is_a_fault_that_names_both_places(folder: Path) -> None:
    text = CHILD + "queue = 'a'\n[supervisor.s]\nchild = [\n{queue = 'a'},\n]"

    assert faults(text) == [
        (
            "q.toml:10: supervisor.s.child[0].queue: it is placed twice: "
            "also at supervisor.r.child[0].queue (q.toml:7)"
        )
    ]


def test_ids_are_unique_in_a_supervisor(folder: Path) -> None:
    assert faults(START + "[[supervisor.r.child]]\nstart = 'os:getpid'") == [
        (
            "q.toml:8: supervisor.r.child[1]: its id is used twice: "
            "also at supervisor.r.child[0] (q.toml:6); give it another id"
        )
    ]
    assert faults(START + "[[supervisor.r.child]]\nqueue = 'a'\nid = 'start.getpid'") == [
        (
            "q.toml:10: supervisor.r.child[1].id: its id is used twice: "
            "also at supervisor.r.child[0] (q.toml:6); give it another id"
        )
    ]


def test_the_same_id_in_two_supervisors_is_no_fault() -> None:
    child = {"start": os.getpid}

    load_config({"supervisor": {"a": {"child": [child]}, "b": {"child": [child]}}})


def _tree(**children: str) -> dict[str, object]:
    tables = {
        name: {"child": [{"supervisor": each} for each in wanted.split()]}
        for name, wanted in children.items()
    }
    return {"supervisor": tables}


def test_a_supervisor_in_itself_is_a_cycle() -> None:
    assert mapping_faults(_tree(a="a")) == [
        "supervisor.a.child[0].supervisor: supervisors in a cycle: a -> a"
    ]


def test_a_cycle_is_one_fault_that_names_it_from_its_first_supervisor() -> None:
    assert mapping_faults(_tree(root="x", x="", a="y b", y="", b="c", c="a")) == [
        "supervisor.a.child[1].supervisor: supervisors in a cycle: a -> b -> c -> a"
    ]


def test_every_cycle_is_reported() -> None:
    told = "\n".join(mapping_faults(_tree(a="b", b="a c", c="d", d="c")))

    assert re.findall(r"cycle: (.*)", told) == ["a -> b -> a", "c -> d -> c"]


def test_a_cycle_is_found_although_a_supervisor_is_placed_twice() -> None:
    assert mapping_faults(_tree(root="a", a="a")) == [
        (
            "supervisor.a.child[0].supervisor: it is placed twice: "
            "also at supervisor.root.child[0].supervisor"
        ),
        "supervisor.a.child[0].supervisor: supervisors in a cycle: a -> a",
    ]


def test_a_child_and_its_supervisor_s_own_options_are_checked_together() -> None:
    inner = {"restart": "transient", "on_give_up": "park"}
    child = {"supervisor": "inner", "significant": True}
    outer = {"auto_shutdown": "any_significant", "child": [child]}

    config = load_config({"supervisor": {"outer": outer, "inner": inner}})

    assert config.supervisors["inner"].options == {"restart": "transient"}
    assert config.supervisors["inner"].on_give_up == "park"
    assert config.supervisors["outer"].children[0].options == {"significant": True}


def test_a_fault_in_a_supervisor_s_own_options_is_told_where_they_are(folder: Path) -> None:
    text = "[supervisor.o]\nchild = [{supervisor = 'i'}]\n[supervisor.i]\ninit_timeout = 0"

    assert faults(text) == [
        (
            "q.toml:5: supervisor.i.init_timeout: "
            "expected init_timeout to be seconds > 0 or None, got 0.0"
        )
    ]


def test_a_cycle_is_told_from_its_first_supervisor_wherever_it_is_entered() -> None:
    told = "\n".join(mapping_faults(_tree(root="c", b="c", c="b")))

    assert re.findall(r"cycle: (.*)", told) == ["b -> c -> b"]
