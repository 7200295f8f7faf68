"""Random trees and random histories, compared with a plain model of the restart rules.

The model has no tasks, no cancellation and no mailbox: it only knows who is in which state, what
counts as a restart, and when the next attempt is due.
"""
# ruff: noqa: A001, C901, PLR0912, PLR0915 - one table of actions

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Literal

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
    DynamicChild,
    DynamicSupervisor,
    MaxChildrenError,
    OnGiveUp,
    RestartIntensityError,
    RestartType,
    Strategy,
    Supervisor,
    child_spec,
    dynamic_child_spec,
    open_dynamic_supervisor,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, Stage, settle, until_cancelled

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

# Sums of these are exact floats, so that model and supervisor agree on the edges of windows.
PACES = [NO_BACKOFF, Backoff(min=1, max=4, factor=2, jitter=0, reset_after=6)]
DOWN = ("stopped", "parked")
STRATEGIES: list[Strategy] = ["one_for_one", "one_for_all", "rest_for_one"]
AnySupervisor = Supervisor | DynamicSupervisor


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
    dynamic: bool = False
    max_children: int | None = None
    stopped: set[str] = attrs.field(factory=set)  # by an operator, over all incarnations
    real_stopped: set[str] = attrs.field(factory=set)  # what the real one knows of them


def copied(plan: SupervisorPlan) -> SupervisorPlan:
    return attrs.evolve(plan)


@attrs.define(eq=False)
class Child:
    plan: Plan
    state: str = "running"
    ready_at: float = 0.0
    in_a_row: int = 0
    due: tuple[float, int] | None = None
    below: Node | None = None
    handle: DynamicChild | None = None


@attrs.define(eq=False)
class Model:
    """The whole tree."""

    failures: Counter[str] = attrs.field(factory=Counter)
    starts: Counter[str] = attrs.field(factory=Counter)
    now: float = 0.0
    turn: int = 0
    ids: list[int] = attrs.field(factory=lambda: [0])  # how many there are
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

    plan: SupervisorPlan = attrs.field(converter=copied)  # its own: it may be changed
    model: Model
    parent: tuple[Node, Child] | None
    children: list[Child] = attrs.field(factory=list)
    log: list[tuple[float, str]] = attrs.field(factory=list)

    def start_all(self) -> bool:
        for plan in self.plan.plans:
            child = Child(plan)
            self.children.append(child)
            if plan.id in self.plan.stopped:
                child.state = "stopped"
            elif not self.start(child):
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
        if child.plan.restart == "temporary" or self.plan.dynamic:
            self.children.remove(child)
            self.plan.stopped.discard(child.plan.id)

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
        self.log = [each for each in self.log if now - each[0] <= self.plan.period]
        self.log.append((now, plan.id))
        if len(self.log) > self.plan.intensity:
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
        if child.plan.restart != "temporary":
            self.plan.stopped.add(child.plan.id)
        self.leave(child, "stopped")
        if due is not None:
            for heir in heirs:
                if heir.state == "restarting" and heir.due is None:
                    self.model.turn += 1
                    heir.due = (due[0], self.model.turn)
                    return


def make_plan(random: Random, id: str, auto: AutoShutdown) -> Plan:
    restart: RestartType = random.choice(["permanent", "permanent", "transient", "temporary"])
    return Plan(
        id,
        restart,
        random.choice(PACES),
        "park" if random.random() < 0.2 else "escalate",
        significant=auto != "never" and restart != "permanent" and random.random() < 0.6,
    )


def make_child(random: Random, depth: int, ids: list[int], auto: AutoShutdown) -> Plan:
    ids[0] += 1
    plan = make_plan(random, str(ids[0]), auto)
    if depth > 1 and random.random() < 0.5:
        plan.below = make_tree(random, depth - 1, ids)
    return plan


def make_tree(
    random: Random, depth: int, ids: list[int], *, dynamic: bool | None = None
) -> SupervisorPlan:
    auto: AutoShutdown = random.choice(
        ["never", "never", "never", "any_significant", "all_significant"]
    )
    intensity, period = random.randint(0, 4), random.choice([2, 8, 30])
    if random.random() < 0.25 if dynamic is None else dynamic:
        limit = random.choice([None, None, 2, 4])
        return SupervisorPlan("one_for_one", intensity, period, auto, [], True, limit)
    plans = [make_child(random, depth, ids, auto) for _ in range(random.randint(1, 4))]
    return SupervisorPlan(random.choice(STRATEGIES), intensity, period, auto, plans)


def real_spec(plan: Plan, stage: Stage) -> ChildSpec:
    if plan.below is None:
        return stage.spec(
            plan.id,
            restart=plan.restart,
            backoff=plan.pace,
            on_give_up=plan.on_give_up,
            significant=plan.significant,
        )
    if plan.below.dynamic:
        return dynamic_child_spec(
            plan.id,
            max_children=plan.below.max_children,
            intensity=plan.below.intensity,
            period=plan.below.period,
            auto_shutdown=plan.below.auto_shutdown,
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
        stopped=plan.below.real_stopped,
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


def real_states(supervisor: AnySupervisor) -> dict[str, str]:
    found: dict[str, str] = {}
    for child in supervisor.which_children():
        found[child.id] = child.state
        below = supervisor.value_of(child.id)
        if isinstance(below, AnySupervisor):
            found |= real_states(below)
    return found


def real_node(top: AnySupervisor, node: Node) -> AnySupervisor:
    if node.parent is None:
        return top
    upper, child = node.parent
    found = real_node(top, upper).value_of(child.plan.id)
    assert isinstance(found, AnySupervisor)
    return found


async def start(random: Random, top: AnySupervisor, node: Node, stage: Stage) -> None:
    """Add a child to both."""
    model, real = node.model, real_node(top, node)
    plan = make_child(random, 2, model.ids, node.plan.auto_shutdown)
    if plan.below is None and random.random() < 0.2:
        stage.fails_next(plan.id)
        model.failures[plan.id] = 1
    child, limit = Child(plan), node.plan.max_children
    try:
        started = await real.start_child(real_spec(plan, stage))
    except MaxChildrenError:
        assert limit is not None
        assert len(node.children) >= limit
        return
    except ChildStartError:
        assert not node.start(child)
        return
    assert limit is None or len(node.children) < limit
    assert node.start(child)
    node.children.append(child)
    child.handle = started if node.plan.dynamic else None


async def terminate(real: AnySupervisor, child: Child) -> None:
    if isinstance(real, Supervisor):
        await real.terminate_child(child.plan.id)
    else:
        assert child.handle is not None
        await child.handle.terminate()


async def restart(real: AnySupervisor, child: Child) -> None:
    if isinstance(real, Supervisor):
        await real.restart_child(child.plan.id)
    else:
        assert child.handle is not None
        await child.handle.restart()


async def reconfigure(random: Random, top: AnySupervisor, node: Node, stage: Stage) -> None:
    """Change flags, specs, and the order, of both."""
    plan, real = node.plan, real_node(top, node)
    if random.random() < 0.5:
        plan.intensity = random.randint(0, 4)
    if random.random() < 0.5:
        plan.period = random.choice([2, 8, 30])
    if plan.auto_shutdown != "never":
        plan.auto_shutdown = random.choice(["any_significant", "all_significant"])
    if not isinstance(real, Supervisor):
        if random.random() < 0.5:
            plan.max_children = random.randint(1, 4)
        await real.reconfigure(
            max_children=plan.max_children,
            intensity=plan.intensity,
            period=plan.period,
            auto_shutdown=plan.auto_shutdown,
        )
        return
    if random.random() < 0.5:
        plan.strategy = random.choice(STRATEGIES)
    given = random.sample(node.children, random.randint(0, len(node.children)))
    for child in given:
        fresh = make_plan(random, child.plan.id, plan.auto_shutdown)
        child.plan = attrs.evolve(fresh, below=child.plan.below)
    if random.random() < 0.3:
        added = make_child(random, 2, node.model.ids, plan.auto_shutdown)
        given.append(Child(added, state="stopped"))
        plan.stopped.add(added.id)
    await real.reconfigure(
        [real_spec(child.plan, stage) for child in given],
        strategy=plan.strategy,
        intensity=plan.intensity,
        period=plan.period,
        auto_shutdown=plan.auto_shutdown,
    )
    node.children = [child for child in node.children if child not in given] + given
    dates = [child.due for child in node.children if child.due is not None]
    for child in node.children:
        if child.state == "restarting" and child.due is None:
            node.model.turn += 1
            child.due = (min(dates)[0], node.model.turn)


Action = Literal[
    "crash", "leave", "terminate", "restart", "delete", "start", "reconfigure", "fail", "wait"
]
ACTIONS: list[Action] = [
    "crash", "crash", "crash", "crash", "leave", "terminate", "restart", "restart", "delete",
    "fail", "wait", "wait", "start", "reconfigure",
]  # fmt: skip


async def step(random: Random, top: AnySupervisor, model: Model, stage: Stage) -> str:
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
    if node.plan.dynamic and random.random() < 0.3:
        action = "start"
    if action in ("start", "reconfigure"):
        await (start if action == "start" else reconfigure)(random, top, node, stage)
        model.run_until(model.now)
        await settle()
        return f"{action} at {node.parent and node.parent[1].plan.id}"
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
        await terminate(real_node(top, node), child)
        node.terminate(child)
    elif action == "restart":
        try:
            await restart(real_node(top, node), child)
        except ChildRunningError:
            assert child.state == "running"
        except ChildRestartingError:
            assert child.state == "restarting"
        except ChildStartError:
            assert not node.start(child)
            node.plan.stopped.discard(id)
            child.in_a_row = 0
            if child.state != "parked":
                child.state = "stopped"
        else:
            child.in_a_row = 0
            node.plan.stopped.discard(id)
            assert node.start(child)
    elif isinstance(real := real_node(top, node), Supervisor):
        try:
            await real.delete_child(id)
        except ChildRunningError:
            assert child.state == "running"
        except ChildRestartingError:
            assert child.state == "restarting"
        else:
            node.children.remove(child)
            node.plan.stopped.discard(id)
    model.run_until(model.now)
    await settle()
    return f"{action} {id}"


def open_root(
    plan: SupervisorPlan, stage: Stage
) -> AbstractAsyncContextManager[Supervisor | DynamicSupervisor]:
    if plan.dynamic:
        return open_dynamic_supervisor(
            max_children=plan.max_children,
            intensity=plan.intensity,
            period=plan.period,
            auto_shutdown=plan.auto_shutdown,
        )
    return open_supervisor(
        [real_spec(each, stage) for each in plan.plans],
        strategy=plan.strategy,
        intensity=plan.intensity,
        period=plan.period,
        auto_shutdown=plan.auto_shutdown,
    )


async def play(seed: int, *, dynamic: bool | None = None) -> int:
    """Play one history; return the number of steps that were compared."""
    random = Random(seed)
    stage, model = Stage(), Model(now=trio.current_time())
    plan = make_tree(random, random.randint(1, 3), model.ids, dynamic=dynamic)
    history = [f"seed {seed}", str(plan)]
    model.root = Node(plan, model, None)
    assert model.root.start_all()
    compared = 0
    try:
        async with open_root(plan, stage) as top:
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


# Some of them are quick, and traced; all 2,000 take half a minute, and several times that traced.
QUICK = 10
SLOW = [
    pytest.param(chunk, marks=[pytest.mark.slow, pytest.mark.no_cover])
    for chunk in range(QUICK, 200)
]


@pytest.mark.parametrize("chunk", [*range(QUICK), *SLOW])
async def test_random_histories_agree_with_the_model(
    chunk: int, autojump_clock: trio.testing.MockClock
) -> None:
    compared = [await play(seed) for seed in range(chunk * 10, chunk * 10 + 10)]

    assert sum(compared) > 100  # most histories are long


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("chunk", range(4))
async def test_random_histories_of_dynamic_supervisors_agree_with_the_model(
    chunk: int, autojump_clock: trio.testing.MockClock
) -> None:
    compared = [await play(seed, dynamic=True) for seed in range(chunk * 100, chunk * 100 + 100)]

    assert sum(compared) > 1000
