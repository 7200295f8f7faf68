"""Warnings about trees that are valid and yet will surprise: `find_traps`."""

from __future__ import annotations

from math import inf

import pytest

from supervisors import (
    Backoff,
    ChildSpec,
    ChildSpecError,
    OnGiveUp,
    ShutdownTime,
    child_spec,
    dynamic_child_spec,
    find_traps,
)

from .kit import NO_BACKOFF, idle


def leaf(id: str = "a", **options: object) -> ChildSpec:
    return ChildSpec(**({"id": id, "start": idle, "backoff": NO_BACKOFF} | options))  # type: ignore[arg-type]


def node(id: str, *children: ChildSpec, intensity: int = 1, park: bool = False) -> ChildSpec:
    on_give_up: OnGiveUp = "park" if park else "escalate"
    return child_spec(id, children, intensity=intensity, backoff=NO_BACKOFF, on_give_up=on_give_up)


def told(*specs: ChildSpec, intensity: int = 1, period: float = 5.0) -> list[str]:
    return [str(trap) for trap in find_traps(specs, intensity=intensity, period=period)]


def test_a_plain_tree_has_no_traps() -> None:
    inner = child_spec("inner", [leaf("b"), leaf("c", restart="temporary")])
    pool = dynamic_child_spec("pool", max_children=5)

    assert find_traps([leaf(), inner, pool], grace=90) == ()
    assert find_traps([]) == ()


def test_specs_that_cannot_be_siblings_are_refused() -> None:
    with pytest.raises(ChildSpecError, match=r"^child 'a': the id is used twice$"):
        find_traps([leaf(), leaf()])


def test_a_supervisor_that_nobody_restarts() -> None:
    temporary = child_spec("low", [leaf()], restart="temporary")
    transient = dynamic_child_spec("pool", restart="transient")

    assert told(temporary, transient) == [
        (
            "low: it is temporary: once it gives up, all below it is gone for good; "
            "a supervisor should be permanent"
        ),
        (
            "pool: it is transient: once it ends in order, by auto_shutdown or stop(), all below "
            "it stays down; a supervisor should be permanent"
        ),
    ]


def test_a_significant_supervisor_is_meant_to_end() -> None:
    assert told(child_spec("low", [leaf()], restart="transient", significant=True)) == []


def test_intensities_multiply_over_the_levels() -> None:
    deep = node("deep", node("deepest", leaf(), leaf("b"), intensity=9), intensity=9)
    (trap,) = find_traps([deep], intensity=1)

    assert trap.kind == "restarts_multiply"
    assert trap.path == ("deep", "deepest")
    assert trap.message == (
        "a child that always fails is started 200 times before the failure is through: over the "
        "levels, starts multiply (10 x 10 x 2); keep the intensities of the upper ones low"
    )
    assert find_traps([deep], intensity=0) == ()  # 100 are not too many


def test_one_level_alone_is_not_a_product() -> None:
    assert told(leaf(), intensity=1000) == []


def test_parking_ends_the_product() -> None:
    low = node("low", leaf(on_give_up="park"), intensity=99)
    parked = node("parked", leaf(), intensity=9, park=True)

    assert told(low, intensity=9) == []
    assert told(node("up", parked, intensity=9), intensity=9) == []
    assert len(told(node("up", parked, intensity=20), intensity=9)) == 1


def test_a_temporary_child_is_started_once() -> None:
    assert told(node("low", leaf(restart="temporary"), intensity=99), intensity=99) == []


def test_a_backoff_that_outlasts_the_period() -> None:
    steady = Backoff(min=2, max=2, jitter=0)
    backoff = leaf(backoff=steady)

    assert told(backoff, intensity=3, period=4) == []  # failures at 0, 0, 2, 4
    assert told(backoff, intensity=3, period=3.9) == [
        (
            "a: its backoff spreads 4 failures over at least 4 s, so there are never more than 3 "
            "within 3.9 s: it is retried for ever; lower intensity, or raise period"
        )
    ]
    assert told(leaf(backoff=steady, restart="temporary"), intensity=3, period=3.9) == []


def test_the_jitter_may_shorten_a_backoff() -> None:
    jittery = leaf(backoff=Backoff(min=2, max=2, jitter=0.5))

    assert told(jittery, intensity=3, period=2) == []
    assert len(told(jittery, intensity=3, period=1.9)) == 1


def test_a_supervisor_that_is_killed_before_its_children_have_stopped() -> None:
    children = [leaf("a"), leaf("b", shutdown=20)]

    assert told(child_spec("low", children, shutdown=25)) == []
    assert told(child_spec("low", children, shutdown=10)) == [
        (
            "low: its children may take 25 s to stop, most of it b, but it is killed after 10 s; "
            "leave a supervisor's shutdown at infinity"
        )
    ]


@pytest.mark.parametrize(
    ("shutdown", "seconds"), [(None, 5.0), (0.5, 0.5), ("brutal", 0.0), ("infinity", inf)]
)
def test_stop_times_add_up_over_the_levels(shutdown: ShutdownTime | None, seconds: float) -> None:
    pool = dynamic_child_spec("pool")
    low = child_spec("low", [leaf("b", shutdown=shutdown), leaf("c", shutdown=1)])
    tree = [leaf(), child_spec("cut", [leaf("d")], shutdown=2), low, pool]
    total = 5 + 2 + seconds + 1

    traps = find_traps(tree, grace=min(total, 1e9) - 0.5)
    assert find_traps(tree, grace=total) == tuple(traps[:1])  # that "cut" is killed early
    assert [trap.kind for trap in traps] == ["killed_early", "stops_late"]
    assert traps[-1].path == ()
    slowest = "low/b" if seconds > 4 else "a"
    how_long = "for ever" if seconds == inf else f"{total:g} s"
    assert str(traps[-1]).startswith(f"stopping may take {how_long}, most of it {slowest}, and")


def test_traps_are_found_at_every_depth() -> None:
    bad = child_spec("bad", [leaf()], restart="temporary")

    assert [trap.path for trap in find_traps([child_spec("up", [bad])])] == [("up", "bad")]
