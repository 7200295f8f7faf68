"""Histories of several runtimes that share a message, capacity or log queue, against one core.

As `test_redis_histories`, but no time passes in them, apart from what they take. Nobody asks by
himself in between: a word that were lost would leave a taker waiting.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from copy import deepcopy
from itertools import permutations, product
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import uuid4

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queueactors import ClaimLostError, PositionError, QueueFullError, open_runtime
from queueactors.cores.capacity import CapacityCore
from queueactors.cores.log import LogCore
from queueactors.cores.message import MessageCore
from supervisors import ActorDownError
from tests.torture import TORTURE

from .test_redis_lost import a_config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queueactors import Runtime

HOUR: Final = 3600 * 10**9  # nanoseconds
NEVER: Final = 3600.0
MOST: Final = 16  # models that are kept
PATIENCE: Final = 2.0  # real seconds, for what is to happen at once


@attrs.frozen
class Do:
    """An operation of one of the runtimes.

    Args:
      runtime: Its number.
      method: What it does.
      number: Which, or how many.
      name: A mid, or a label.
    """

    runtime: int
    method: str
    number: int = 1
    name: str = "a"


@attrs.frozen
class Wait:
    """A taker begins to wait."""

    runtime: int
    name: str = "a"


@attrs.frozen
class Leave:
    """Somebody who waits is cancelled."""

    runtime: int


@attrs.frozen
class Restart:
    """The queue's actor is restarted: those who wait there get an error."""

    runtime: int


Step = Do | Wait | Leave | Restart | tuple[Do, Do]


@attrs.define(eq=False)
class Model:  # type: ignore[explicit-any] # its core's kind
    """One core for all, and who waits, by name: for any of them, whatever there is will do."""

    core: Any  # type: ignore[explicit-any] # of three kinds
    now: int = HOUR
    waiting: Counter[str] = attrs.field(factory=Counter)
    served: Counter[object] = attrs.field(factory=Counter)
    keys: dict[object, int] = attrs.field(factory=dict)  # of claims, by what was claimed

    def copy(self) -> Model:
        core = type(self.core)(records=deepcopy(self.core.records))
        return Model(core, self.now, self.waiting.copy(), self.served.copy(), self.keys.copy())

    def tick(self) -> int:
        """Return an instant that is later than all before."""
        self.now += 1000
        return self.now


class Messages:
    """Message queues."""

    kind: ClassVar = "message"
    options: ClassVar[dict[str, object]] = {"lock_time": 3600}
    names: ClassVar = ("a", "b", "c")
    methods: ClassVar = (
        *("enqueue", "enqueue", "requeue", "update", "claim", "claim_many"),
        *("success", "remembered", "retry", "error", "snooze", "remove"),
        *("clear", "pause", "resume", "resume", "length"),
    )
    flags: ClassVar = {
        "enqueue": {},
        "requeue": {"can_requeue": True},
        "update": {"can_update": True},
    }

    @staticmethod
    def core() -> object:
        return MessageCore()

    @staticmethod
    def wait(model: Model, _name: str) -> object | None:
        claimed = model.core.claim(model.tick())
        return None if claimed is None else Messages._told(model, claimed)

    @staticmethod
    def _told(model: Model, claimed: Any) -> object:  # type: ignore[explicit-any]
        model.keys[claimed.id, claimed.attempt] = claimed.key
        return claimed.id, claimed.mid, claimed.message, claimed.attempt

    @staticmethod
    def do(model: Model, do: Do, which: object) -> object:  # noqa: PLR0911 - one case each
        core, now, key = model.core, model.tick(), model.keys.get(which, 1)
        try:
            match do.method:
                case "enqueue" | "requeue" | "update":
                    flags = Messages.flags[do.method]
                    value = b"%d" % do.number
                    done = core.enqueue(now, do.name, value, 0, HOUR, **flags)
                    return done.success, done.action, done.error
                case "claim":
                    return Messages.wait(model, "")
                case "claim_many":
                    some = core.claim_many(now, do.number)
                    return [Messages._told(model, each) for each in some]
                case "remembered":
                    return core.finish(now, key, "success", HOUR)
                case "success" | "retry" | "error":
                    return core.finish(now, key, do.method)
                case "snooze":
                    return core.snooze(now, key)
                case "remove":
                    return core.remove(now, [do.number])
                case _:
                    return getattr(core, do.method)(now)
        except ClaimLostError:
            return "lost"

    @staticmethod
    async def ask(queue: Any, do: Do, key: int) -> object:  # type: ignore[explicit-any] # noqa: C901, PLR0911 - one case each
        try:
            match do.method:
                case "enqueue" | "requeue" | "update":
                    flags = Messages.flags[do.method]
                    done = await queue.enqueue(b"%d" % do.number, do.name, **flags)
                    return done.success, done.action, done.error
                case "claim":
                    return await queue.try_claim()
                case "claim_many":
                    return await queue.claim_many(do.number, timeout=0)
                case "remembered":
                    return await queue.finish(key, "success", 3600)
                case "success" | "retry" | "error":
                    return await queue.finish(key, do.method)
                case "snooze":
                    return await queue.snooze(key)
                case "remove":
                    return await queue.remove(do.number)
                case "length":
                    return await queue.len()
                case _:
                    return await getattr(queue, do.method)()
        except trio.TooSlowError:
            return []
        except ClaimLostError:
            return "lost"

    @staticmethod
    async def take(queue: Any, _name: str) -> object:  # type: ignore[explicit-any]
        return await queue.claim()

    @staticmethod
    def state(model: Model) -> object:
        core, now = model.core, model.now
        content = core.content(now, core.ids(now).ids)
        return _shown(content), core.length(now), core.statistics(now).paused

    @staticmethod
    async def look(queue: Any) -> object:  # type: ignore[explicit-any]
        numbers = await queue.statistics()
        return _shown(await queue.queue_content()), await queue.len(), numbers.paused


def _shown(content: dict[str, Any]) -> object:  # type: ignore[explicit-any]
    return {mid: (each.message, each.status, each.attempts) for mid, each in content.items()}


class Items:
    """Capacity queues."""

    kind: ClassVar = "capacity"
    options: ClassVar[dict[str, object]] = {"max_elements": 4}
    names: ClassVar = ("a",)
    methods: ClassVar = (
        "push",
        "push",
        "push",
        "pop",
        "clear",
        "pause",
        "resume",
        "resume",
        "resize",
        "length",
    )

    @staticmethod
    def core() -> object:
        return CapacityCore(max_elements=4)

    @staticmethod
    def wait(model: Model, _name: str) -> object | None:
        return tuple(model.core.pop(model.tick())) or None

    @staticmethod
    def do(model: Model, do: Do, _which: object) -> object:
        core, now, items = model.core, model.tick(), _items(do)
        try:
            match do.method:
                case "push":
                    return core.push(now, items, [1] * len(items))
                case "pop" | "resize":
                    return getattr(core, do.method)(now, do.number)
                case _:
                    return getattr(core, do.method)(now)
        except QueueFullError:
            return "full"

    @staticmethod
    async def ask(queue: Any, do: Do, _key: int) -> object:  # type: ignore[explicit-any]
        try:
            match do.method:
                case "push":
                    return await queue.push(*_items(do))
                case "pop" | "resize":
                    return await getattr(queue, do.method)(do.number)
                case "length":
                    return await queue.len()
                case _:
                    return await getattr(queue, do.method)()
        except QueueFullError:
            return "full"

    @staticmethod
    async def take(queue: Any, _name: str) -> object:  # type: ignore[explicit-any]
        return tuple(await queue.wait_pop())

    @staticmethod
    def state(model: Model) -> object:
        core, now = model.core, model.now
        numbers = core.statistics(now)
        most, size = numbers.max_elements, numbers.payload_size
        return core.peek(now, 99), core.length(now), most, size, numbers.paused

    @staticmethod
    async def look(queue: Any) -> object:  # type: ignore[explicit-any]
        numbers = await queue.statistics()
        most, size = numbers.max_elements, numbers.payload_size
        return await queue.peek(99), await queue.len(), most, size, numbers.paused


def _items(do: Do) -> list[bytes]:
    return [b"%d" % (do.number % 10)] * do.number


class Logs:
    """Log queues."""

    kind: ClassVar = "log"
    options: ClassVar[dict[str, object]] = {"ttl": 3600}
    names: ClassVar = ("a", "b", "c")
    methods: ClassVar = (
        *("add", "add", "next", "read", "commit", "remove_label"),
        *("clear", "pause", "resume", "resume", "length"),
    )

    @staticmethod
    def core() -> object:
        return LogCore()

    @staticmethod
    def wait(model: Model, name: str) -> object | None:
        found = model.core.wait_next(model.tick(), name)
        return None if found is None else (name, tuple(found[0]), found[1])

    @staticmethod
    def do(model: Model, do: Do, _which: object) -> object:
        core, now, items = model.core, model.tick(), _items(do)
        try:
            match do.method:
                case "add":
                    return core.add(now, items, [1] * len(items))
                case "next" | "read":
                    return getattr(core, do.method)(now, do.name, "oldest", do.number)
                case "commit":
                    return core.commit(now, do.name, do.number)
                case "remove_label":
                    return core.remove_label(now, do.name)
                case _:
                    return getattr(core, do.method)(now)
        except PositionError:
            return "position"

    @staticmethod
    async def ask(queue: Any, do: Do, _key: int) -> object:  # type: ignore[explicit-any] # noqa: PLR0911 - one case each
        try:
            match do.method:
                case "add":
                    return await queue.add(*_items(do))
                case "next" | "read":
                    return await getattr(queue, do.method)(do.name, limit=do.number)
                case "commit":
                    return await queue.commit(do.name, do.number)
                case "remove_label":
                    return await queue.remove_label(do.name)
                case "length":
                    return await queue.len()
                case _:
                    return await getattr(queue, do.method)()
        except PositionError:
            return "position"

    @staticmethod
    async def take(queue: Any, name: str) -> object:  # type: ignore[explicit-any]
        items, lost = await queue.wait_next(name)
        return name, tuple(items), lost

    @staticmethod
    def state(model: Model) -> object:
        core, now = model.core, model.now
        numbers = core.statistics(now)
        return core.peek(now, 99), sorted(core.labels(now)), numbers.end, numbers.behind

    @staticmethod
    async def look(queue: Any) -> object:  # type: ignore[explicit-any]
        numbers = await queue.statistics()
        return await queue.peek(99), sorted(await queue.labels()), numbers.end, numbers.behind


Part = type[Messages] | type[Items] | type[Logs]


def steps_of(part: Part) -> st.SearchStrategy[list[Step]]:
    """Return histories of a kind."""
    runtimes, names = st.integers(0, 2), st.sampled_from(part.names)
    do = st.builds(Do, runtimes, st.sampled_from(part.methods), st.integers(1, 3), names)
    each = names if part is Logs else st.just("")  # what it waits for: only there is a difference
    wait = st.builds(Wait, runtimes, each)
    one: st.SearchStrategy[Step] = st.one_of(
        *(do, do, do, wait, wait, st.tuples(do, do)),
        st.builds(Leave, runtimes),
        st.builds(Restart, runtimes),
    )
    return st.lists(one, min_size=5, max_size=25)


@attrs.define(eq=False)
class Play:  # type: ignore[explicit-any] # queues of three kinds
    """Runtimes over one server, and the model beside them."""

    part: Part
    nursery: trio.Nursery
    runtimes: list[Runtime]
    queues: list[Any]  # type: ignore[explicit-any] # likewise
    observer: Any  # type: ignore[explicit-any] # the queue of one who does nothing: others are not asked
    models: list[Model]  # those that agree with all that was seen: what is at once has any order
    claims: dict[object, int] = attrs.field(factory=dict)  # their keys, the last one last
    served: Counter[object] = attrs.field(factory=Counter)
    takers: list[list[tuple[str, trio.CancelScope]]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.takers = [[] for _ in self.queues]

    def of(self, number: int) -> int:
        return number % len(self.queues)

    def told(self, answer: Any) -> object:  # type: ignore[explicit-any]
        """Return what a taker got, and keep its key if it is a claim."""
        if isinstance(answer, list):
            return [self.told(each) for each in answer]
        if not hasattr(answer, "mid"):
            return answer
        self.claims.pop((answer.id, answer.attempt), None)
        self.claims[answer.id, answer.attempt] = answer.key
        return answer.id, answer.mid, answer.message, answer.attempt

    def which(self, do: Do) -> object:
        """Return which claim an operation is about: one of the last few."""
        some = list(self.claims)
        return some[-1 - do.number % len(some)] if some else None

    async def step(self, step: Step) -> None:  # noqa: C901 - one case each
        """Let something happen, and compare."""
        match step:
            case Do():
                await self.do([step])
            case (Do() as first, Do() as second):
                same = self.of(first.runtime) == self.of(second.runtime) or first == second
                await self.do([first] if same else [first, second])
            case Wait(number, name):
                await self.nursery.start(self.take, self.of(number), name)
                await self.queues[self.of(number)].len()  # by now it waits
                for model in self.models:
                    model.waiting[name] += 1
                    self.serve(model)
                await self.compare(self.models)
            case Leave(number):
                takers = self.takers[self.of(number)]
                if takers:
                    name, scope = takers[0]
                    scope.cancel()
                    for model in self.models:
                        model.waiting[name] -= 1
                    await self.compare(self.models)
            case Restart(number):
                for name, _ in self.takers[self.of(number)]:
                    for model in self.models:
                        model.waiting[name] -= 1
                await self.runtimes[self.of(number)].restart("q")
                await self.compare(self.models)

    def serve(self, model: Model) -> None:
        """Give those who wait what there is."""
        for name in model.waiting:
            while model.waiting[name] and (found := self.part.wait(model, name)) is not None:
                model.waiting[name] -= 1
                model.served[found] += 1

    async def do(self, some: list[Do]) -> None:
        """Let operations be carried out at once, in whatever order."""
        answers: dict[Do, object] = {}
        claims = {do: self.which(do) for do in some}

        async def ask(do: Do) -> None:
            key = self.claims.get(claims[do], 1)
            queue = self.queues[self.of(do.runtime)]
            answers[do] = self.told(await self.part.ask(queue, do, key))

        async with trio.open_nursery() as nursery:
            for do in some:
                nursery.start_soon(ask, do)
        fitting: list[Model] = []
        asked: list[object] = []
        for before, order, serves in product(self.models, permutations(some), [True, False]):
            model = before.copy()
            expected: dict[Do, object] = {}
            for do in order:
                expected[do] = self.part.do(model, do, claims[do])
                if serves:
                    self.serve(model)
            self.serve(model)
            asked.append(expected)
            if expected == answers:
                fitting.append(model)
        assert fitting, f"{answers} is none of {asked}"
        await self.compare(fitting)

    async def take(self, number: int, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        """Wait for something."""
        with trio.CancelScope() as scope:
            self.takers[number].append((name, scope))
            task_status.started()
            try:
                self.served[self.told(await self.part.take(self.queues[number], name))] += 1
            except ActorDownError:
                pass
            finally:
                self.takers[number].remove((name, scope))

    async def compare(self, fitting: list[Model]) -> None:
        """Go on with the models that agree with what there is, at once or very soon."""
        began = perf_counter()
        while True:
            found = await self.found()
            self.models = [model for model in fitting if found == self.expected(model)][:MOST]
            if self.models:
                return
            if perf_counter() - began > PATIENCE:
                break
            await trio.sleep(0.001)
        assert found == self.expected(fitting[0])

    async def found(self) -> object:
        waiting = Counter(name for some in self.takers for name, _ in some)
        return await self.part.look(self.observer), self.served, waiting

    def expected(self, model: Model) -> object:
        return self.part.state(model), model.served, +model.waiting


async def play(url: str, part: Part, many: int, steps: Iterable[Step]) -> None:
    """Play a history."""
    prefix = uuid4().hex
    async with AsyncExitStack() as stack:
        opened, queues = [], []
        for _ in range(many + 1):
            runtime = await stack.enter_async_context(
                open_runtime(a_config(url, prefix, poll=NEVER))
            )
            opened.append(runtime)
            options = {"codec": "bytes", **part.options}
            queues.append(await runtime.define("q", kind=part.kind, **options))
        async with trio.open_nursery() as nursery:
            *users, observer = queues
            played = Play(part, nursery, opened, users, observer, [Model(part.core())])
            for step in steps:
                await played.step(step)
            nursery.cancel_scope.cancel()


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("many", [2, 3])
@pytest.mark.parametrize("part", [Messages, Items, Logs])
@given(data=st.data())
@settings(
    max_examples=20 * TORTURE,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_several_runtimes_do_together_what_one_core_does(
    part: Part, many: int, valkey: str, data: st.DataObject
) -> None:
    trio.run(play, valkey, part, many, data.draw(steps_of(part)))


@pytest.mark.parametrize(
    ("part", "add"), [(Messages, "enqueue"), (Items, "push"), (Logs, "add"), (Logs, "remove_label")]
)
def test_who_waits_elsewhere_is_told(part: Part, add: str, valkey: str) -> None:
    name = "a" if part is Logs else ""
    steps: list[Step] = [Wait(1, name), Do(0, add), Do(0, add, 2, "b")]
    if add == "remove_label":  # who waits with it begins anew
        steps = [Do(0, "add"), Do(0, "next"), Wait(1, name), Do(0, add)]

    trio.run(play, valkey, part, 2, steps)
