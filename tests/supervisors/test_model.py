"""Random trees and random histories, compared with a plain model of the restart rules.

The model has no tasks, no cancellation and no mailbox: it only knows who is in which state, what
counts as a restart, and when the next attempt is due.
"""
# ruff: noqa: A001, C901, PLR0912, PLR0915 - one table of actions

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Literal

import attrs
import pytest
import trio

from supervisors import (
    AutoShutdown,
    Backoff,
    ChildRestartingError,
    ChildRunningError,
    ChildSpec,
    ChildStartError,
    OnGiveUp,
    RestartIntensityError,
    RestartType,
    Strategy,
    Supervisor,
    child_spec,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, settle, until_cancelled

# Sums of these are exact floats, so that model and supervisor agree on the edges of windows.
PACES = [NO_BACKOFF, Backoff(min=1, max=4, factor=2, jitter=0, reset_after=6)]
DOWN = ("stopped", "parked")


class AmbiguousError(Exception):
    """Two supervisors act at the same instant: either order is right."""


@attrs.define(eq=False)
class Plan:
    """What a child is."""

    id: str
    restart: RestartType
    pace: Backoff
    on_give_up: OnGiveUp
    significant: bool = False
    below: SupervisorPlan | None = None


@attrs.define(eq=False)
class SupervisorPlan:
    """What a supervisor is."""

    strategy: Strategy
    intensity: int
    period: float
    auto_shutdown: AutoShutdown
    plans: list[Plan]


@attrs.define(eq=False)
class Child:
    plan: Plan
    state: str = "running"
    ready_at: float = 0.0
    in_a_row: int = 0
    due: tuple[float, int] | None = None
    below: Node | None = None


@attrs.define(eq=False)
class Model:
    """The whole tree."""

    failures: Counter[str] = attrs.field(factory=Counter)
    starts: Counter[str] = attrs.field(factory=Counter)
    now: float = 0.0
    turn: int = 0
    root: Node | None = None

    def tree(self) -> Node | None:
        return self.root

    def pending(self) -> list[tuple[tuple[float, int], Node, Child]]:
        return sorted(
            (
                (child.due, node, child)
                for node in self.nodes(self.root)
                for child in node.children
                if child.due is not None
            ),
            key=lambda each: each[0],
        )

    def nodes(self, node: Node | None) -> list[Node]:
        if node is None:
            return []
        return [node, *(low for child in node.children for low in self.nodes(child.below))]

    def run_until(self, at: float) -> None:
        """Make all attempts that are due until then."""
        while True:
            pending = [each for each in self.pending() if each[0][0] <= at]
            if not pending:
                break
            (due, _), node, child = pending[0]
            if any(each[0][0] == due and each[1] is not node for each in pending):
                raise AmbiguousError
            self.now = max(self.now, due)
            child.due = None
            node.restart(child)
        self.now = at


@attrs.define(eq=False)
class Node:
    """One incarnation of a supervisor."""

    plan: SupervisorPlan
    model: Model
    parent: tuple[Node, Child] | None
    children: list[Child] = attrs.field(factory=list)
    log: list[tuple[float, str]] = attrs.field(factory=list)

    def start_all(self) -> bool:
        for plan in self.plan.plans:
            child = Child(plan)
            self.children.append(child)
            if not self.start(child):
                return False
        return True

    def start(self, child: Child) -> bool:
        model, id = self.model, child.plan.id
        if child.plan.below is not None:
            child.below = Node(child.plan.below, model, (self, child))
            if not child.below.start_all():
                child.below = None
                return False
        else:
            model.starts[id] += 1
            if model.failures[id]:
                model.failures[id] -= 1
                return False
        child.state, child.ready_at = "running", model.now
        return True

    def group(self, child: Child) -> list[Child]:
        at = self.children.index(child)
        match self.plan.strategy:
            case "one_for_one":
                return [child]
            case "one_for_all":
                return list(self.children)
            case "rest_for_one":
                return self.children[at:]

    def leave(self, child: Child, state: str) -> None:
        child.state, child.below, child.due = state, None, None
        if child.plan.restart == "temporary":
            self.children.remove(child)

    def ended(self, child: Child, ran_for: float, *, abnormal: bool) -> None:
        """Handle an exit, or a failed attempt to restart."""
        plan, now = child.plan, self.model.now
        child.below = None
        if plan.restart == "temporary" or (plan.restart == "transient" and not abnormal):
            self.leave(child, "finished")
            live = [each for each in self.children if each.state in ("running", "restarting")]
            others = any(each.plan.significant for each in live)
            mode = self.plan.auto_shutdown
            if plan.significant and (
                mode == "any_significant" or (mode == "all_significant" and not others)
            ):
                self.end(abnormal=False)
            return
        self.log.append((now, plan.id))
        if sum(now - at <= self.plan.period for at, _ in self.log) > self.plan.intensity:
            if plan.on_give_up == "park":
                self.log = [entry for entry in self.log if entry[1] != plan.id]
                child.in_a_row = 0
                child.state = "parked"
            else:
                self.end(abnormal=True)
            return
        if ran_for >= plan.pace.reset_after:
            child.in_a_row = 0
        delay = plan.pace.delay(child.in_a_row, Random(0))
        child.in_a_row += 1
        for other in reversed(self.group(child)):
            if other is child or other.state in DOWN:
                continue
            if other.plan.restart == "temporary":
                self.leave(other, "finished")
            else:
                other.state, other.below, other.due = "restarting", None, None
        child.state = "restarting"
        self.model.turn += 1
        child.due = (now + delay, self.model.turn)

    def end(self, *, abnormal: bool) -> None:
        """Give up, or shut down automatically."""
        if self.parent is None:
            self.model.root = None
        else:
            node, child = self.parent
            if child.below is self:
                node.ended(child, self.model.now - child.ready_at, abnormal=abnormal)

    def restart(self, first: Child) -> None:
        for child in self.group(first):
            if child.state != "restarting":
                continue
            if not self.start(child):
                self.ended(child, 0.0, abnormal=True)
                if child.state == "restarting" or self not in self.model.nodes(self.model.root):
                    return

    def terminate(self, child: Child) -> None:
        due, heirs = child.due, self.group(child)
        child.in_a_row = 0
        self.leave(child, "stopped")
        if due is not None:
            for heir in heirs:
                if heir.state == "restarting" and heir.due is None:
                    self.model.turn += 1
                    heir.due = (due[0], self.model.turn)
                    return


def make_tree(random: Random, depth: int, ids: list[int]) -> SupervisorPlan:
    auto: AutoShutdown = random.choice(
        ["never", "never", "never", "any_significant", "all_significant"]
    )
    plans = []
    for _ in range(random.randint(1, 4)):
        ids[0] += 1
        restart: RestartType = random.choice(["permanent", "permanent", "transient", "temporary"])
        plan = Plan(
            str(ids[0]),
            restart,
            random.choice(PACES),
            "park" if random.random() < 0.2 else "escalate",
            significant=auto != "never" and restart != "permanent" and random.random() < 0.6,
        )
        if depth > 1 and random.random() < 0.5:
            plan.below = make_tree(random, depth - 1, ids)
        plans.append(plan)
    return SupervisorPlan(
        random.choice(["one_for_one", "one_for_all", "rest_for_one"]),
        random.randint(0, 4),
        random.choice([2, 8, 30]),
        auto,
        plans,
    )


def real_spec(plan: Plan, stage: Stage) -> ChildSpec:
    if plan.below is None:
        return stage.spec(
            plan.id,
            restart=plan.restart,
            backoff=plan.pace,
            on_give_up=plan.on_give_up,
            significant=plan.significant,
        )
    return child_spec(
        plan.id,
        [real_spec(each, stage) for each in plan.below.plans],
        strategy=plan.below.strategy,
        intensity=plan.below.intensity,
        period=plan.below.period,
        auto_shutdown=plan.below.auto_shutdown,
        restart=plan.restart,
        backoff=plan.pace,
        on_give_up=plan.on_give_up,
        significant=plan.significant,
    )


def model_states(node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for child in node.children:
        found[child.plan.id] = child.state
        if child.below is not None and child.state == "running":
            found |= model_states(child.below)
    return found


def real_states(supervisor: Supervisor) -> dict[str, str]:
    found: dict[str, str] = {}
    for child in supervisor.which_children():
        found[child.id] = child.state
        below = supervisor.value_of(child.id)
        if isinstance(below, Supervisor):
            found |= real_states(below)
    return found


def real_node(top: Supervisor, node: Node) -> Supervisor:
    if node.parent is None:
        return top
    upper, child = node.parent
    found = real_node(top, upper).value_of(child.plan.id)
    assert isinstance(found, Supervisor)
    return found


Action = Literal["crash", "leave", "terminate", "restart", "delete", "fail", "wait"]
ACTIONS: list[Action] = [
    "crash", "crash", "crash", "crash", "leave", "terminate", "restart", "restart", "delete",
    "fail", "wait", "wait",
]  # fmt: skip


async def step(random: Random, top: Supervisor, model: Model, stage: Stage) -> str:
    """Do one random thing to both."""
    assert model.root is not None
    nodes = model.nodes(model.root)
    node = random.choice(nodes)
    action = random.choice(ACTIONS)
    model.now = trio.current_time()
    if action == "wait":
        seconds = random.choice([0.25, 1, 2, 7])
        model.run_until(model.now + seconds)
        await trio.sleep(seconds)
        await settle()
        return f"wait {seconds}"
    if not node.children:
        return "nothing"
    child = random.choice(node.children)
    id, leaf = child.plan.id, child.plan.below is None
    if action == "fail":
        if leaf:
            times = random.choice([1, 1, 2, 5])
            stage.fails_next(id, times)
            model.failures[id] = times
        return f"fail {id}"
    if action in ("crash", "leave"):
        if not leaf or child.state != "running":
            return "nothing"
        stage.end(id, Boom(id) if action == "crash" else None)
        node.ended(child, model.now - child.ready_at, abnormal=action == "crash")
    elif action == "terminate":
        await real_node(top, node).terminate_child(id)
        node.terminate(child)
    elif action == "restart":
        try:
            await real_node(top, node).restart_child(id)
        except ChildRunningError:
            assert child.state == "running"
        except ChildRestartingError:
            assert child.state == "restarting"
        except ChildStartError:
            assert not node.start(child)
            child.in_a_row = 0
            if child.state != "parked":
                child.state = "stopped"
        else:
            child.in_a_row = 0
            assert node.start(child)
    else:
        try:
            await real_node(top, node).delete_child(id)
        except ChildRunningError:
            assert child.state == "running"
        except ChildRestartingError:
            assert child.state == "restarting"
        else:
            node.children.remove(child)
    model.run_until(model.now)
    await settle()
    return f"{action} {id}"


async def play(seed: int) -> int:
    """Play one history; return the number of steps that were compared."""
    random = Random(seed)
    plan = make_tree(random, random.randint(1, 3), [0])
    stage, model, history = Stage(), Model(now=trio.current_time()), [f"seed {seed}", str(plan)]
    model.root = Node(plan, model, None)
    assert model.root.start_all()
    compared = 0
    try:
        async with open_supervisor(
            [real_spec(each, stage) for each in plan.plans],
            strategy=plan.strategy,
            intensity=plan.intensity,
            period=plan.period,
            auto_shutdown=plan.auto_shutdown,
        ) as top:
            for _ in range(40):
                history.append(await step(random, top, model, stage))
                node = model.tree()
                if node is None:
                    await until_cancelled()
                    continue
                compared += 1
                assert real_states(top) == model_states(node), history
                assert +stage.starts == +model.starts, history
    except AmbiguousError:
        return compared
    except RestartIntensityError:
        assert model.root is None, history
    for id in stage.starts:
        begun = stage.journal.count(f"start {id}")
        assert begun == stage.journal.count(f"stop {id}"), (id, history)
    return compared


@pytest.mark.parametrize("chunk", range(10))
async def test_random_histories_agree_with_the_model(
    chunk: int, autojump_clock: trio.testing.MockClock
) -> None:
    compared = [await play(seed) for seed in range(chunk * 40, chunk * 40 + 40)]

    assert sum(compared) > 400  # most histories are long
