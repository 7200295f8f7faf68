"""Carries out a plan: stops what is removed or changed, changes the rest in place, starts the new.

What happens to which child is decided by `queueactors.config.make_plan`; what a reload means to
its caller is `Runtime.reload`. In this order:

1. Children that are removed, or start again, are stopped, the last one first. Those that start
   again are not told so: who waits for a queue waits on, for its next incarnation.
2. Options of what runs are changed in place.
3. Each supervisor gets its new flags, specs and order. That starts and stops nobody.
4. What is new, or was stopped for this, is started, in the new order. One that fails is parked,
   and the others go on.

Planned restarts count for no intensity, begin the backoff anew, and restart no sibling. What an
operator has stopped stays so. Children that the program has added are not touched.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast

import attrs
import trio

from supervisors import (
    ChildNotFoundError,
    Supervisor,
    SupervisorsError,
    SupervisorStart,
    SupervisorStoppedError,
    describe,
)

from ._errors import QueueActorsError
from .config import Plan  # noqa: TC001 - msgspec reads the annotations
from .config._plan import Action  # noqa: TC001 - likewise
from .config._slots import What, slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisors import ChildSpec, ChildState

    from ._parts import Parts
    from .config import Config, Item
    from .config._slots import Key, Slot
    from .queues import CapacityQueue

Part = TypeVar("Part")
Outcome = Literal["done", "failed", "draining", "pending"]

RESIZE: Final = 10.0  # seconds that a store has for a queue's new capacity


@attrs.frozen
class Reloaded:
    """What has become of one part of a configuration in a reload.

    Args:
      what: What it is: ``"queue"``, ``"worker"``, ``"store"``, ...
      name: Its name; of a ``start`` child its path.
      action: What was to happen to it.
      outcome: ``"done"``; ``"failed"``: it did not start, and is parked, or something else is
        told in ``error``; ``"draining"``: it is removed as soon as it is empty; ``"pending"``: it
        is done as soon as whoever has asked for the reload, by the control socket, is answered.
      error: What went wrong; None: nothing.
    """

    what: What
    name: str
    action: Action
    outcome: Outcome
    error: str | None = None


@attrs.frozen
class ReloadResult:
    """What has come of a reload.

    Args:
      plan: What was to be done.
      children: What has become of each part that changed, in the order of the plan.
    """

    plan: Plan
    children: tuple[Reloaded, ...]

    @property
    def failed(self) -> tuple[Reloaded, ...]:
        """Those of them that failed."""
        return tuple(each for each in self.children if each.outcome == "failed")


@attrs.define(eq=False)
class Reload:
    """One reload that is carried out.

    Args:
      parts: What the runtime consists of.
      root: Its supervisor.
      old: What runs.
      new: What is to run.
      plan: From the one to the other, without faults.
      front_ends: What others reach the runtime by; that changes afterwards.
    """

    parts: Parts
    root: Supervisor
    old: Config
    new: Config
    plan: Plan
    front_ends: list[ChildSpec]
    errors: dict[Key, str] = attrs.field(factory=dict, init=False)
    _items: dict[Key, Item] = attrs.field(init=False)
    _down: set[Key] = attrs.field(factory=set, init=False)  # an operator has stopped it
    _above: dict[Key, tuple[str, ...]] = attrs.field(factory=dict, init=False)  # before

    def __attrs_post_init__(self) -> None:
        self._items = {item.key: item for item in self.plan.items}

    def prepare(self) -> None:
        """Make what is new, and start nothing of it.

        Raises what making it raises. Nothing has changed then.
        """
        parts, new = self.parts, self.new
        stores, queues, workers = (
            [name for what, name in self._keys("added") if what == sort]
            for sort in ("store", "queue", "worker")
        )
        try:
            for name in stores:
                parts.add_store(name, new)
            for name in queues:
                parts.define(name, new.queues[name].kind, new.queues[name].options)
            for name in workers:
                parts.add_worker(name, new.workers[name])
        except BaseException:
            for name in workers:
                parts.workers.pop(name, None)
            for name in queues:
                parts.queues.pop(name, None)
            for name in stores:
                if name in parts.stores:
                    parts.remove_store(name)
            raise

    async def carry_out(self) -> None:
        """Do it; what fails is in ``errors``, and the rest is done all the same.

        Raises:
          SupervisorStoppedError: If the runtime ends meanwhile.
        """
        before = slots(self.old)
        self._above = {slot.key: slot.above for slot in before}
        self._note_down(before)
        for slot in reversed(before):
            await self._stop(slot)
        for item in self.plan.items:
            await self._change(item)
        self._forget()
        after = slots(self.new)
        self._keep_down(after)
        await self._arrange(self.root, self.parts.tree(self.new, self.front_ends))
        for slot in after:
            await self._start(slot)

    def _keys(self, *actions: Action) -> Iterator[Key]:
        return (item.key for item in self.plan.items if item.action in actions)

    # -- stopping ------------------------------------------------------------------------------

    def _note_down(self, before: list[Slot]) -> None:
        """Note what an operator has stopped, or what has ended by itself."""
        for slot in before:
            state = self._state(slot.above, slot.id)
            item = self._items[slot.key]
            over = state == "finished" and not any(each.how == "restart" for each in item.changes)
            if state == "stopped" or over:
                self._down.add(slot.key)

    async def _stop(self, slot: Slot) -> None:
        item = self._items[slot.key]
        supervisor = self._at(slot.above)
        beside = any(each.how == "beside" for each in item.changes)
        if supervisor is None or not (item.action == "removed" or item.restarts or beside):
            return
        ids = self._ids(slot)
        for child in reversed(ids if item.action == "removed" or item.restarts else ids[1:]):
            try:
                if item.action == "removed" and item.what not in {"queue", "worker"}:
                    await supervisor.terminate_child(child)
                    await supervisor.delete_child(child)
                else:
                    await supervisor.withdraw_child(child)
            except ChildNotFoundError:
                continue  # it was temporary, or its start was never made
            except SupervisorsError as error:
                self._note(slot.key, error)

    # -- changing in place ---------------------------------------------------------------------

    async def _change(self, item: Item) -> None:
        if item.action != "changed":
            return
        parts, name = self.parts, item.name
        match item.what:
            case "queue":
                await self._reconfigure(name)
                if any(each.field == "max_elements" for each in item.changes):
                    await self._resize(item)
            case "worker":
                worker, options = parts.workers[name], self.new.workers[name]
                if any(each.how == "restart" for each in item.changes):
                    worker.rebuild(parts.queues[options.queue].handle, options)
                else:
                    worker.reconfigure(options)
            case "store":
                for each in item.changes:
                    setattr(
                        parts.stores[name], each.field, self.new.stores[name].options[each.field]
                    )

    async def _reconfigure(self, name: str) -> None:
        """Let a queue go by its new options; what runs beside it may not be needed any more."""
        defined = self.parts.queues[name]
        before = defined.beside
        self.parts.reconfigure(name, self.new.queues[name].options)
        supervisor = self._at(self._above["queue", name])
        for sort in before.keys() - defined.beside.keys():
            with suppress(ChildNotFoundError, SupervisorStoppedError):
                if supervisor is not None:
                    await supervisor.terminate_child(f"{sort}.{name}")
                    await supervisor.delete_child(f"{sort}.{name}")

    async def _resize(self, item: Item) -> None:
        """Let the store of a capacity queue keep the new one."""
        queue = cast("CapacityQueue", self.parts.queues[item.name].handle)
        if not self.parts.queues[item.name].actor.is_up:
            self.errors[item.key] = "it does not run, and keeps its capacity: start it, and resize"
            return
        try:
            with trio.fail_after(RESIZE):
                await queue.resize(queue.options.max_elements)
        except trio.TooSlowError:
            self.errors[item.key] = f"its store did not take the capacity within {RESIZE:g} s"
        except (QueueActorsError, SupervisorsError) as error:
            self._note(item.key, error)

    def _forget(self) -> None:
        """Forget what is removed, and put the rest into the order of the configuration."""
        parts, new = self.parts, self.new
        for what, name in self._keys("removed"):
            if what == "worker":
                parts.workers.pop(name).child_down("gone")
            elif what == "queue":
                parts.remove_queue(name)
        for what, name in self._keys("removed"):
            if what == "store":
                parts.remove_store(name)
            elif what == "supervisor":
                parts.stopped.pop(f"supervisor.{name}", None)
        _reorder(parts.stores, new.stores)
        _reorder(parts.queues, new.queues)
        _reorder(parts.workers, new.workers)

    # -- the tree ------------------------------------------------------------------------------

    def _keep_down(self, after: list[Slot]) -> None:
        """Let what an operator has stopped be so in its new place."""
        names = {slot.place: f"supervisor.{slot.key[1]}" for slot in after}
        for slot in after:
            group = names.get("/".join(slot.above), slot.above[-1])
            ids = self._ids(slot)
            if slot.key in self._down:
                self.parts.stopped[group].update(ids)
            elif self._items[slot.key].action == "added":
                self.parts.stopped[group].difference_update(ids)

    async def _arrange(self, supervisor: Supervisor, specs: list[ChildSpec]) -> None:
        """Give a supervisor its specs and order, and those below it theirs, with their flags."""
        await supervisor.reconfigure(specs)
        for spec in specs:
            start: object = spec.start
            below = supervisor.value_of(spec.id)
            if isinstance(start, SupervisorStart) and isinstance(below, Supervisor):
                flags = attrs.asdict(start.flags)
                try:
                    await below.reconfigure(start.specs, **flags)
                    await self._arrange(below, list(start.specs))
                except SupervisorStoppedError:
                    continue  # it is started again with its new specs, or never

    async def _start(self, slot: Slot) -> None:
        supervisor = self._at(slot.above)
        if supervisor is None:
            above = next((each for each in self.errors if each[0] == "supervisor"), None)
            if above is not None and self._items[slot.key].action != "unchanged":
                self.errors.setdefault(slot.key, "its supervisor did not start")
            return
        if slot.key in self._down:
            return
        for child in self._ids(slot):
            if self._state(slot.above, child) != "stopped":
                continue
            try:
                await supervisor.restart_child(child, park=True)
            except SupervisorsError as error:
                self._note(slot.key, error)

    # -- looking -------------------------------------------------------------------------------

    def _note(self, key: Key, error: BaseException) -> None:
        """Note what went wrong; if the runtime ends, nothing else counts."""
        if self.root.state != "running":
            raise SupervisorStoppedError(self.root.path)
        self.errors.setdefault(key, cause_of(error))

    def _at(self, above: tuple[str, ...]) -> Supervisor | None:
        """Return the supervisor of that path; None: it does not run."""
        found = self.root
        for each in above:
            try:
                below = found.value_of(each)
            except ChildNotFoundError:
                return None
            if not isinstance(below, Supervisor):
                return None
            found = below
        return found

    def _state(self, above: tuple[str, ...], id: str) -> ChildState | None:
        supervisor = self._at(above)
        return None if supervisor is None else supervisor.state_of(id)

    def _ids(self, slot: Slot) -> list[str]:
        """Return the ids of the children that stand in a place, in start order."""
        what, name = slot.key
        queue = self.parts.queues.get(name) if what == "queue" else None
        if what == "store" and name not in self.parts.running_stores:
            return []
        beside = [] if queue is None else [f"{sort}.{name}" for sort in queue.beside]
        return [slot.id, *beside]


def cause_of(error: BaseException) -> str:
    """Return what an error of a supervisor is about in the end."""
    while isinstance(error, SupervisorsError) and error.__cause__ is not None:
        error = error.__cause__
    return describe(error)


def _reorder(known: dict[str, Part], first: Iterable[str]) -> None:
    """Put those names first, in that order."""
    ordered = {name: known[name] for name in first} | known
    known.clear()
    known.update(ordered)
