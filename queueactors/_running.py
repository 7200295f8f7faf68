"""The configuration that runs, and how it becomes another one: what a reload is to its caller.

It is read, compared with what runs, refused or carried out, and what has come of it is told. The
steps that children take meanwhile are in `queueactors._reload`, the rules in `queueactors.config`.
Queues that are removed, and not empty yet, run on until `queueactors._drain` tells that they are.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from os import PathLike
from typing import TYPE_CHECKING, cast

import attrs
import structlog
import trio

from supervisors import ChildAlreadyStartedError, ChildSpec, SupervisorStoppedError

from ._drain import Drain
from ._errors import ReloadRefusedError
from ._front_ends import spare
from ._reload import Outcome, Reload, Reloaded, ReloadResult

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ._children import Children
    from ._front_ends import FrontEnds
    from ._parts import Parts
    from ._runtime import Runtime
    from .config import Config, Item, Plan
    from .config._slots import Key, What

    ConfigSource = str | PathLike[str] | Mapping[str, object] | Config | None


@attrs.define(eq=False)
class Running:
    """What runs of a configuration, in one runtime.

    Args:
      runtime: Whose ``config`` is what is wanted.
      parts: What it consists of.
      children: Its tree.
      front_ends: What others reach it by.
      defining: Held by whoever defines or drops anything.
    """

    _runtime: Runtime
    _parts: Parts
    _children: Children
    _front_ends: FrontEnds
    _defining: trio.Lock
    around: Callable[[], AbstractContextManager[object]] = attrs.field(
        default=nullcontext, init=False
    )
    """What `queueactors run` does beside each reload, whoever asks for it."""
    lock: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    """Held by the reload that is under way."""
    config: Config = attrs.field(init=False)
    """What runs: also what is removed and not empty yet."""
    _empty: set[str] = attrs.field(factory=set, init=False)  # of that: what is to be taken out
    _file: str | None = attrs.field(init=False)
    _log: structlog.typing.FilteringBoundLogger = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.config = self._runtime.config
        self._file = self.config.file
        self._log = structlog.get_logger("queueactors")

    async def plan(self, source: ConfigSource) -> Plan:
        """Return what a reload would do; arguments and errors as for `Runtime.plan`."""
        return await self._plan(await self._load(source))

    async def reload_file(self) -> ReloadResult:
        """Reload the file that it was opened with; after one that is under way, not instead."""
        return await self.reload(None, "drain", waits=True)

    async def reload(
        self,
        source: ConfigSource,
        removed: str,
        *,
        spared: Collection[str] = (),
        waits: bool = False,
    ) -> ReloadResult:
        """Reload; arguments and errors as for `Runtime.reload`.

        Args:
          source: The configuration.
          removed: What becomes of queues that are not in it any more.
          spared: Front ends that stay as they are; of the control socket see `change_control`.
          waits: Whether to wait for a reload that is under way, rather than to refuse.
        """
        if self.lock.locked() and not waits:
            await trio.lowlevel.checkpoint()
            raise ReloadRefusedError("another reload is under way; wait for its end")
        async with self.lock:
            with self.around():
                new = await self._load(source)
                async with self._defining:  # nobody defines or drops anything meanwhile
                    plan = await self._plan(new)
                    if plan.faults:
                        from .config import ConfigError

                        raise ConfigError(plan.faults)
                    return await self._carry_out(plan, new, removed, spared)

    async def change_control(self) -> None:
        """Let the control socket change that a reload has spared."""
        async with self._defining:
            specs = self._front_ends.make(self.config)
            error = (await self._front_ends.change(self._children.root, specs)).get("control")
        outcome: Outcome = "done" if error is None else "failed"
        self._tell(Reloaded("control", "", "changed", outcome, error))

    async def _load(self, source: ConfigSource) -> Config:
        """Return a checked configuration; a file is read in a thread, as it may be large."""
        from .config import load_config

        self._check_up()
        if source is None:
            source = self._file
            if source is None:
                raise ValueError(
                    "the runtime was not opened from a file; say which configuration is to run"
                )
        if isinstance(source, str | PathLike):
            new = await trio.to_thread.run_sync(load_config, source, abandon_on_cancel=True)
        else:  # it is the program's own, which may change it meanwhile
            await trio.lowlevel.checkpoint()
            new = load_config(source)
        self._check_up()
        return new

    def _check_up(self) -> None:
        """Refuse to reload while the runtime starts or stops."""
        if not self._children.is_open:
            raise ReloadRefusedError("the runtime is starting; wait until it is up")
        if self._children.root.state != "running":
            raise ReloadRefusedError("the runtime is stopping")

    async def _plan(self, new: Config) -> Plan:
        """Return what a change to a configuration does, and what forbids it."""
        from .config import Fault, make_plan

        if new.file is None:  # see `_load`
            plan = make_plan(self.config, new)
        else:
            plan = await trio.to_thread.run_sync(make_plan, self.config, new)
        faults = [
            Fault(new.file, None, f"{item.what}.{item.name}", told)
            for item in plan.items
            for told in self._conflicts(item)
        ]
        return attrs.evolve(plan, faults=(*plan.faults, *faults))

    def _conflicts(self, item: Item) -> Iterator[str]:
        """Yield what the program itself has defined that is in the way."""
        taken = (item.what == "queue" and item.name in self._parts.queues) or (
            item.what == "worker" and item.name in self._parts.workers
        )
        if item.action == "added" and taken:
            yield f"the program has defined a {item.what} of that name; choose another one"
        if item.action == "removed" and item.what == "queue":
            yield from self._parts.users(item.name, self.config)
        if item.what == "supervisor" and (item.action == "removed" or item.restarts):
            own = self._parts.child_ids(item.name)
            place = f"{self._children.root.path}/{item.before or item.place}"
            above = [each for each in self._children.supervisors() if each.path == place]
            for info in (info for each in above for info in each.which_children()):
                if info.id not in own:
                    yield (
                        f"it cannot be removed or moved: it has a child {info.id!r}, which the "
                        "program has added; terminate and delete that first"
                    )

    async def _carry_out(
        self, plan: Plan, new: Config, removed: str, spared: Collection[str]
    ) -> ReloadResult:
        """Do what was planned, and tell what has become of it."""
        target = new if removed == "keep" else self._with_leftovers(new)
        errors: dict[Key, str] = {}
        with trio.CancelScope(shield=True):  # half of it would be neither the old nor the new
            errors = await self._apply(target, new, spared)
        self._runtime.config = new
        left = {("queue", name) for name in target.queues}
        left |= {("worker", name) for name in target.workers}
        children = []
        for item in plan.items:
            if item.action == "unchanged" and item.key not in errors:
                continue
            error = errors.get(item.key)
            outcome: Outcome = "done" if error is None else "failed"
            if item.action == "removed" and item.key in left and error is None:
                outcome = "draining"
            elif item.what in spared and error is None:
                outcome = "pending"
            told = Reloaded(item.what, item.name, item.action, outcome, error)
            children.append(told)
            self._tell(told)
        result = ReloadResult(plan, tuple(children))
        self._log.info("reloaded", changed=len(children), failed=len(result.failed))
        return result

    def _tell(self, told: Reloaded) -> None:
        """Log what has become of one part."""
        facts = attrs.asdict(told)
        if told.error is None:
            self._log.info("reload_step", **facts)
        else:
            self._log.error("reload_step", **facts)

    def _with_leftovers(self, new: Config) -> Config:
        """Return a configuration with those queues in it that are removed, and not empty yet."""
        running = self.config
        queues = {
            name: queue
            for name, queue in running.queues.items()
            if name not in new.queues and self._parts.queues[name].actor.mailbox.down is None
        }
        workers = {
            name: worker
            for name, worker in running.workers.items()
            if worker.queue in queues and name not in new.workers
        }
        stores = {queue.options.store for queue in queues.values()} - new.stores.keys()
        return attrs.evolve(
            new,
            queues={**new.queues, **queues},
            workers={**new.workers, **workers},
            stores={**new.stores, **{name: running.stores[name] for name in stores}},
        )

    async def _apply(
        self,
        target: Config,
        wanted: Config,
        spared: Collection[str] = (),
        *,
        drained: Collection[str] = (),
    ) -> dict[Key, str]:
        """Let that run which a configuration says, and return what went wrong.

        Args:
          target: What is to run, with what is to be drained.
          wanted: The same without it.
          spared: Front ends that stay as they are.
          drained: The queues whose drains ask for this.
        """
        from .config import make_plan

        root = self._children.root
        plan = make_plan(self.config, target)
        known = self._front_ends.specs
        front_ends = spare(known, self._front_ends.make(target), spared)
        reload = Reload(self._parts, root, self.config, target, plan, known)
        reload.prepare()
        await reload.carry_out()
        for what, told in (await self._front_ends.change(root, front_ends)).items():
            reload.errors[cast("What", what), ""] = told
        self.config = target
        await self._drain(target.queues.keys() - wanted.queues.keys(), drained)
        return reload.errors

    async def _drain(self, names: Collection[str], drained: Collection[str]) -> None:
        """Let those queues be drained, and no others."""
        root = self._children.root  # not a group, which an operator may stop or restart
        for info in root.which_children():
            drain: object = root.get_childspec(info.id).start
            if isinstance(drain, Drain) and drain.name not in {*names, *drained}:
                await root.terminate_child(info.id)
                if drain.name in self._parts.queues:
                    self._parts.queues[drain.name].actor.drains = False
        for name in names:
            drain = Drain(self._parts, name, self._drained)
            drain.begin()
            with suppress(ChildAlreadyStartedError):
                await root.start_child(
                    ChildSpec(id=f"drain.{name}", start=drain, restart="temporary")
                )

    async def _drained(self, name: str) -> None:
        """Take a queue out that is empty, and its workers; with it, others that wait for that."""
        self._empty.add(name)
        try:
            async with self._defining:
                names = (
                    self.config.queues.keys() & self._empty
                ) - self._runtime.config.queues.keys()
                if name in names:
                    await self._take_out_all(names)
        finally:
            self._empty.discard(name)

    async def _take_out_all(self, names: Collection[str]) -> None:
        running = self.config
        queues = {each: queue for each, queue in running.queues.items() if each not in names}
        workers = {
            each: worker for each, worker in running.workers.items() if worker.queue in queues
        }
        target = attrs.evolve(running, queues=queues, workers=workers)
        # Whoever has asked for the reload may not have the answer yet.
        with suppress(SupervisorStoppedError):  # it goes with all the others
            await self._apply(target, self._runtime.config, ("control",), drained=names)
            for name in names:
                self._log.info("queue_drained", queue=name)
