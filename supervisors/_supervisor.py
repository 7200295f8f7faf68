"""The supervisor: starts children in order, restarts those that fail, stops them in reverse.

It decides nothing about restarts (`_restart` does) and knows nothing of what its children are
(`_spec` says). Three things shape it:

- A plain nursery cancels all its children at once and in no order. So the children live in a
  nursery inside a *shielded* scope; a watcher outside the shield turns a cancellation into a
  request to stop, and the supervisor stops them one by one through their own scopes.
- The supervisor is itself an actor: its administration calls are operations in a mailbox, so
  they are served one at a time, also between the attempts of a restart that fails, and by the
  supervisor's own task: nothing of a caller's context leaks into a child.
- A task cannot be killed. A child that does not end when it is cancelled is killed by taking
  its shields away (`ChildStatus.shield`), and if that does not help it is reported with its
  stack. Its siblings are stopped all the same; only the very end has to wait for it.

Source: OTP's ``supervisor``; trio's issues 147, 921 and 1521 about ordered cancellation.

The file is over 500 lines because its states belong together: start, exit, restart, stop and
administration all move the same child records between the same states.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import TYPE_CHECKING, Final, cast

import attrs
import structlog
import trio

from ._child import ChildStatus, TellsDown
from ._errors import (
    ActorDownError,
    ChildAlreadyPresentError,
    ChildAlreadyStartedError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    ChildStartError,
    RestartIntensityError,
    SupervisorsError,
    SupervisorStoppedError,
)
from ._exceptions import bare_nursery, describe, fatal, release_frames
from ._mailbox import Mailbox, Operation, State
from ._registry import Registry
from ._restart import (
    ExitKind,
    GiveUp,
    Leave,
    Park,
    Restart,
    RestartCore,
    classify,
    ends_supervisor,
    group,
)
from ._spec import (
    IGNORE,
    ChildCounts,
    ChildInfo,
    ChildSpec,
    ChildState,
    SupervisorFlags,
    Tree,
    check_childspecs,
)

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable

    from ._errors import DownReason

UNKILLABLE_AFTER: Final = 5.0  # seconds between killing a child and giving it up


@attrs.define(eq=False)
class _Child:
    """A child's place in its supervisor: the spec, and the incarnation if there is one."""

    spec: ChildSpec
    state: ChildState = "starting"
    since_at: float = attrs.field(factory=trio.current_time)
    status: ChildStatus | None = None
    restarts: int = 0
    last_error: str | None = None
    due: float | None = None  # trio time of the next attempt to restart it and its group
    termination: Operation | None = None  # the last call of terminate_child

    def become(self, state: ChildState) -> None:
        self.state = state
        self.since_at = trio.current_time()

    @property
    def unwanted(self) -> bool:
        """Whether a call of terminate_child waits in the mailbox."""
        return self.termination is not None and self.termination.state is State.QUEUED


class InterruptedStartError(SupervisorsError):
    """An operator stopped the child while it initialised: not a failure of the child."""


class Supervisor:
    """A running supervisor. Made by `open_supervisor`, or as a child by `child_spec`.

    Every administration call is served by the supervisor's own task, in order. Cancelled
    before its turn, it did not happen. Cancelled while a child initialises for it, that is
    undone; any other goes on without its caller.
    """

    def __init__(
        self,
        specs: Iterable[ChildSpec],
        flags: SupervisorFlags,
        *,
        name: str,
        registry: Registry | None = None,
        random: Random | None = None,
    ) -> None:
        specs = list(specs)
        check_childspecs(specs, auto_shutdown=flags.auto_shutdown)
        self.name = name
        self.path = name
        self.flags = flags
        self.registry = Registry() if registry is None else registry
        self._own_registry = registry is None
        self._children = {spec.id: _Child(spec) for spec in specs}
        self._core = RestartCore(flags, Random() if random is None else random)  # noqa: S311
        self._mailbox = Mailbox(name)
        self._exits: deque[ChildStatus] = deque()
        self._due: list[tuple[float, int, _Child]] = []  # a heap; stale where child.due differs
        self._due_count = 0
        self._stopping = False
        self._initialising: ChildStatus | None = None  # which a stop interrupts
        self._starting_for: Operation | None = None  # the administration call it is for
        self._fatal: BaseException | None = None
        self._nursery: trio.Nursery  # of the children, while it runs
        self._ended = trio.Event()
        self.stop_signal: signal.Signals | None = None  # the one that stopped it
        self.log: structlog.typing.FilteringBoundLogger = structlog.get_logger("supervisors")

    def __repr__(self) -> str:
        return f"<Supervisor {self.path!r} {self.flags.strategy}, {len(self._children)} children>"

    # -- administration ----------------------------------------------------------------------

    async def start_child(self, spec: ChildSpec) -> object:
        """Add a child at the end of the order, start it, and return the value it reported.

        Raises:
          ChildAlreadyStartedError: If that id is running.
          ChildAlreadyPresentError: If a spec of that id is kept; use `restart_child`.
          ChildSpecError: If the spec does not fit this supervisor.
          ChildStartError: If it did not initialise; its spec is dropped again.
          SupervisorStoppedError: If the supervisor has ended.
        """
        check_childspecs([spec], auto_shutdown=self.flags.auto_shutdown)
        return await self._call_start(Operation("start_child", (spec,)), spec.id)

    async def terminate_child(self, id: str) -> None:
        """Stop a child, or its pending restart; it stays stopped. No effect on siblings.

        The spec is kept for `restart_child`, unless the child is temporary. A second time:
        nothing happens. A child that is just initialising is interrupted.

        Raises:
          ChildNotFoundError: If there is no such child.
          SupervisorStoppedError: If the supervisor has ended.
        """
        operation = Operation("terminate_child", (id,))
        child = self._children.get(id)
        if child is not None:
            child.termination = operation
        self._interrupt_initialisation(id)
        await self._call(operation)

    async def restart_child(self, id: str) -> object:
        """Start a child that is stopped, finished or parked; return the value it reported.

        Raises:
          ChildNotFoundError: If there is no such child.
          ChildRunningError: If it runs.
          ChildRestartingError: If it is about to be restarted anyway.
          ChildStartError: If it did not initialise; it is stopped then.
          SupervisorStoppedError: If the supervisor has ended.
        """
        return await self._call_start(Operation("restart_child", (id,)), id)

    async def delete_child(self, id: str) -> None:
        """Forget the spec of a child that does not run.

        Raises:
          ChildNotFoundError: If there is no such child.
          ChildRunningError: If it runs.
          ChildRestartingError: If it is about to be restarted.
          SupervisorStoppedError: If the supervisor has ended.
        """
        await self._call(Operation("delete_child", (id,)))

    def which_children(self) -> tuple[ChildInfo, ...]:
        """Return the children in start order."""
        return tuple(
            ChildInfo(
                id=child.spec.id,
                state=child.state,
                type=child.spec.type,
                restarts=child.restarts,
                last_error=child.last_error,
                since_at=child.since_at,
            )
            for child in self._children.values()
        )

    def count_children(self) -> ChildCounts:
        """Return how many children there are, by kind."""
        children = self._children.values()
        supervisors = sum(child.spec.type == "supervisor" for child in children)
        return ChildCounts(
            specs=len(children),
            active=sum(child.state == "running" for child in children),
            supervisors=supervisors,
            workers=len(children) - supervisors,
        )

    def get_childspec(self, id: str) -> ChildSpec:
        """Return the spec of a child, with its defaults filled in.

        Raises:
          ChildNotFoundError: If there is no such child.
        """
        return self._child(id).spec

    def value_of(self, id: str) -> object:
        """Return what a running child reported with ``started``; None if it does not run.

        Raises:
          ChildNotFoundError: If there is no such child.
        """
        status = self._child(id).status
        return status.value if status is not None and status.phase == "ready" else None

    def tree(self) -> Tree:
        """Return everything below this supervisor at this instant; ``str()`` draws it."""
        return self._tree(self.name, "running" if not self._stopping else "stopping", 0)

    def _tree(self, id: str, state: ChildState, restarts: int) -> Tree:
        branches: list[Tree] = []
        for child in self._children.values():
            below = child.status.value if child.status is not None else None
            if isinstance(below, Supervisor):
                branches.append(below._tree(child.spec.id, child.state, child.restarts))  # noqa: SLF001
                continue
            branches.append(
                Tree(
                    id=child.spec.id,
                    state=child.state,
                    type=child.spec.type,
                    restarts=child.restarts,
                )
            )
        return Tree(
            id=id,
            state=state,
            type="supervisor",
            restarts=restarts,
            strategy=self.flags.strategy,
            children=tuple(branches),
        )

    def stop(self) -> None:
        """Ask the supervisor to stop its children, in reverse start order, and to end.

        Returns at once; `wait` waits. More than once: nothing more happens.
        """
        self._stopping = True
        if self._initialising is not None:
            self._initialising.settled.set()
        self._mailbox.wake()

    def kill(self) -> None:
        """Stop at once: cancel all children together, and take their shields away."""
        self.stop()
        for child in self._children.values():
            if child.status is not None:
                child.status.kill()

    async def wait(self) -> None:
        """Wait until the supervisor has ended, for whatever reason."""
        await self._ended.wait()

    # -- life --------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection  # Ctrl-C belongs to a child or to the body
    async def run(self, *, task_status: trio.TaskStatus[Supervisor]) -> None:
        """Run until it is stopped, cancelled, or gives up: the supervisor's own task.

        Raises:
          ChildStartError: If a child did not initialise at the start.
          RestartIntensityError: If it gave up.
        """
        shield = trio.CancelScope(shield=True)
        if isinstance(task_status, ChildStatus):
            self.path = task_status.path
            if self._own_registry:
                self.registry = task_status.registry
            shield = task_status.shield()
        self._mailbox.name = self.path
        self.log = self.log.bind(supervisor=self.path)
        if trio.current_effective_deadline() == -inf:
            self._stopping = True  # cancelled already: start nothing
        async with bare_nursery() as outside:
            outside.start_soon(self._watch_for_cancellation)
            try:
                with shield:
                    await self._supervise(task_status)
            finally:
                self._ended.set()
                outside.cancel_scope.cancel()

    async def _watch_for_cancellation(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.stop()

    async def _supervise(self, task_status: trio.TaskStatus[Supervisor]) -> None:
        error: BaseException | None = None
        try:
            async with bare_nursery() as self._nursery:
                try:
                    error = await self._start_all()
                    if error is None and not self._stopping:
                        self.log.info("supervisor_started", children=len(self._children))
                        task_status.started(self)
                        error = await self._serve()
                    self._stopping = True
                    await self._stop_all()
                except BaseException:  # this supervisor is being killed, or has a bug
                    self.kill()
                    raise
                finally:
                    self._mailbox.close("gone")
                    self._tell_all_gone()
        except BaseException:
            for child in self._children.values():
                if child.status is not None:
                    self._note_stop(child, child.status)
            if self._fatal is None:
                raise
        error = self._fatal or error
        self.log.info("supervisor_stopped", error=error and describe(error))
        if error is not None:
            raise error

    async def _start_all(self) -> BaseException | None:
        for child in list(self._children.values()):
            if self._stopping:
                return None
            error = await self._start(child)
            if error is not None:
                failure = ChildStartError(self.path, child.spec.id)
                failure.__cause__ = error
                return failure
        return None

    async def _serve(self) -> BaseException | None:
        """Handle exits, administration and due restarts, until told to stop."""
        while not self._stopping:
            error: BaseException | None = None
            if self._exits:
                error = await self._handle_exit(self._exits.popleft())
            else:
                await self._administer()
                if not self._stopping:
                    error = await self._restart_due()
            if error is not None:
                return error
            if self._exits or len(self._mailbox):
                continue
            due = self._next_due()
            if due == inf:
                await self._mailbox.wait()
            elif due > trio.current_time():
                with trio.CancelScope(deadline=due):
                    await self._mailbox.wait()
        return None

    # -- starting ----------------------------------------------------------------------------

    async def _start(self, child: _Child) -> BaseException | None:
        """Start one incarnation and wait for its initialisation; return why it failed."""
        spec = child.spec
        status = ChildStatus(
            child=spec.id,
            path=f"{self.path}/{spec.id}",
            registry=self.registry,
            on_end=self._child_ended,
        )
        child.status = status
        if child.state != "restarting":
            child.become("starting")
        self._nursery.start_soon(status.run, spec, name=status.path)
        self._initialising = status
        if spec.init_timeout is None:
            await status.settled.wait()
        else:
            with trio.move_on_after(spec.init_timeout):
                await status.settled.wait()
        self._initialising = None
        if status.stopping:  # an operator has interrupted it
            await self._end(child, status)
            self._note_stop(child, status)
            return InterruptedStartError("it was stopped while it initialised")
        if status.ready_at is None:
            return await self._failed_start(child, status)
        if status.value is IGNORE:
            await self._stop_child(child, status)
            self._finish(child, forget=spec.restart == "temporary")
            self.log.debug("child_ignored", child=spec.id)
            return None
        child.become("running")  # it may even have ended since: that is an exit
        self.log.debug("child_started", child=spec.id)
        return None

    async def _failed_start(self, child: _Child, status: ChildStatus) -> BaseException | None:
        error: BaseException = SupervisorsError("it returned before it called started()")
        if not status.ended.is_set():  # too slow, or the supervisor is stopping
            seconds = child.spec.init_timeout
            error = trio.TooSlowError(f"it did not call started() within {seconds} s")
            await self._end(child, status)
        if status.error is not None:
            error, status.error = status.error, None
        child.status = None
        if self._stopping:
            return None
        child.last_error = describe(error)
        self.log.error("child_start_failed", child=child.spec.id, exc_info=error)
        return error

    def _child_ended(self, status: ChildStatus) -> None:
        """Note an exit: called in the child's own task, as the last thing it does."""
        error = status.error
        ending = None if error is None else fatal(error)
        if error is not None and ending is not None:  # not a crash, but the end of everything
            self.log.warning("child_interrupted", child=status.child, error=describe(error))
            self._fatal = self._fatal or ending
            self.stop()
        elif not status.stopping and status.ready_at is not None:
            self._exits.append(status)
            self._mailbox.wake()

    # -- exits and restarts ------------------------------------------------------------------

    async def _handle_exit(self, status: ChildStatus) -> BaseException | None:
        child = self._children.get(status.child)
        if child is None or child.status is not status:
            return None  # its exit was taken in while its group was being stopped
        child.status = None
        error, status.error = status.error, None
        ran_for = trio.current_time() - cast("float", status.ready_at)
        return await self._decide(child, error, ran_for)

    async def _decide(
        self, child: _Child, error: BaseException | None, ran_for: float
    ) -> BaseException | None:
        """Ask the core about an exit, and do what it says; return the error to end with."""
        spec = child.spec
        kind = classify(error)
        if kind is ExitKind.ABNORMAL:
            child.last_error = describe(cast("BaseException", error))
            self.log.error("child_crashed", child=spec.id, exc_info=error)
        else:
            self.log.info("child_exited", child=spec.id, kind=kind.value)
        now = trio.current_time()
        decision = self._core.exited(spec, kind, error, ran_for=ran_for, now=now)
        if error is not None and not isinstance(decision, GiveUp):
            release_frames(error)  # the restart log keeps it, or its caller does
        match decision:
            case Leave(forget):
                self._finish(child, forget=forget)
                if spec.significant and self._ends_with(spec):
                    self.log.info("supervisor_auto_shutdown", child=spec.id)
                    self.stop()
            case Park():
                child.become("parked")
                self._tell_down(child, "parked")
                self.log.error("child_parked", child=spec.id, error=child.last_error)
            case GiveUp(errors):
                child.become("stopped")
                self.log.error("restart_intensity_reached", child=spec.id)
                failure = RestartIntensityError(self.path, spec.id, errors)
                failure.__cause__ = error
                return failure
            case Restart(after_seconds):
                await self._stop_group(child)
                self._schedule(child, after_seconds)
        return None

    def _schedule(self, child: _Child, after_seconds: float) -> None:
        child.become("restarting")
        child.due = trio.current_time() + after_seconds
        self._due_count += 1
        heappush(self._due, (child.due, self._due_count, child))
        if after_seconds:
            self.log.info("child_backoff", child=child.spec.id, seconds=round(after_seconds, 3))

    def _unschedule(self, child: _Child) -> None:
        """Drop a pending restart; the rest of its group still comes back, when it was due."""
        due, child.due = child.due, None
        if due is None:
            return
        for heir in self._group(child):
            if heir is not child and heir.state == "restarting" and heir.due is None:
                heir.due = due
                self._due_count += 1
                heappush(self._due, (due, self._due_count, heir))
                return

    def _group(self, failed: _Child) -> list[_Child]:
        """Return those that restart together with ``failed``, in start order."""
        if self.flags.strategy == "one_for_one":
            return [failed]
        order = list(self._children)
        return [self._children[each] for each in group(self.flags.strategy, order, failed.spec.id)]

    async def _stop_group(self, failed: _Child) -> None:
        """Stop those that restart together with ``failed``, in reverse order."""
        for child in reversed(self._group(failed)):
            if child is failed or child.state in {"stopped", "parked"}:
                continue  # an operator's stop is remembered
            if child.status is not None:
                await self._stop_child(child, child.status)
                if child.spec.restart == "temporary":
                    self._finish(child, forget=True)
                    continue
            child.due = None  # it comes back with the group
            child.become("restarting")

    async def _restart_due(self) -> BaseException | None:
        """Make one attempt at each restart whose time has come."""
        now = trio.current_time()
        while self._due and self._due[0][0] <= now:
            at, _, child = heappop(self._due)
            if child.due != at or child.state != "restarting":
                continue
            child.due = None
            error = await self._restart_group(child)
            if error is not None or self._stopping:
                return error
        return None

    def _next_due(self) -> float:
        while self._due and self._due[0][2].due != self._due[0][0]:
            heappop(self._due)
        return self._due[0][0] if self._due else inf

    async def _restart_group(self, failed: _Child) -> BaseException | None:
        for child in self._group(failed):
            if child.state != "restarting":
                continue
            error = None if child.unwanted else await self._start(child)
            if self._stopping:
                return None
            if child.status is not None:
                child.restarts += 1
                self.log.info("child_restarted", child=child.spec.id, restarts=child.restarts)
            elif child.unwanted or isinstance(error, InterruptedStartError):
                self._schedule(child, 0.0)  # should the operator have changed their mind
            elif error is not None:
                # Counted like a crash. one_for_all stops again those that came up already;
                # rest_for_one tries again from this child on.
                failure = await self._decide(child, error, 0.0)
                if failure is not None or child.due is not None:
                    return failure
        return None

    def _finish(self, child: _Child, *, forget: bool) -> None:
        """Note that a child is down for good, as far as the supervisor is concerned."""
        child.due = None
        child.become("finished")
        self._tell_down(child, "gone" if forget else "stopped")
        if forget:
            self._forget(child)

    def _forget(self, child: _Child) -> None:
        if self._children.get(child.spec.id) is child:
            del self._children[child.spec.id]
        self._core.settle(child.spec.id)

    def _ends_with(self, spec: ChildSpec) -> bool:
        live = any(
            child.spec.significant and child.state in {"starting", "running", "restarting"}
            for child in self._children.values()
        )
        return ends_supervisor(self.flags, spec, others_live=live)

    def _tell_down(self, child: _Child, reason: DownReason) -> None:
        start: object = child.spec.start
        if isinstance(start, TellsDown):
            start.child_down(reason)

    # -- stopping ----------------------------------------------------------------------------

    async def _stop_all(self) -> None:
        for child in reversed(list(self._children.values())):
            if child.status is not None:
                await self._stop_child(child, child.status)
            if child.state != "parked":
                child.become("stopped")
            child.due = None

    def _tell_all_gone(self) -> None:
        for child in self._children.values():
            self._tell_down(child, "gone")

    async def _stop_child(self, child: _Child, status: ChildStatus) -> None:
        """Stop a child that runs; its exit has no consequence but a line in the log."""
        child.become("stopping")
        await self._end(child, status)
        self._note_stop(child, status)

    def _note_stop(self, child: _Child, status: ChildStatus) -> None:
        error, status.error, child.status = status.error, None, None
        if error is not None and fatal(error) is None and classify(error) is ExitKind.ABNORMAL:
            child.last_error = describe(error)
            self.log.error("child_stop_error", child=child.spec.id, exc_info=error)
            release_frames(error)
        else:
            self.log.debug("child_stopped", child=child.spec.id)

    async def _end(self, child: _Child, status: ChildStatus) -> None:
        """Cancel an incarnation; kill it when its time is up; leave it behind if it stays."""
        status.stopping = True
        status.scope.cancel()
        asked_at = trio.current_time()
        seconds = child.spec.shutdown_seconds if status.killed_at is None else 0.0
        with trio.move_on_after(seconds) as status.patience:  # a kill ends it, too
            await status.ended.wait()
        if status.ended.is_set():
            return
        status.kill()
        killed_at = cast("float", status.killed_at)
        if child.spec.shutdown != "brutal":
            waited = round(trio.current_time() - asked_at, 3)
            self.log.warning("child_killed", child=child.spec.id, after_seconds=waited)
        # From the kill on: many that are killed together are waited for together.
        with trio.move_on_at(killed_at + UNKILLABLE_AFTER):
            await status.ended.wait()
        if not status.ended.is_set():
            self.log.error("child_unkillable", child=child.spec.id, stack=status.stack())

    # -- administration, in the supervisor's task --------------------------------------------

    async def _call(self, operation: Operation) -> object:
        if self._stopping:
            await trio.lowlevel.checkpoint()
            raise SupervisorStoppedError(self.path)
        try:
            return await self._mailbox.call(operation)
        except ActorDownError:
            raise SupervisorStoppedError(self.path) from None

    async def _call_start(self, operation: Operation, id: str) -> object:
        try:
            return await self._call(operation)
        except trio.Cancelled:
            if self._starting_for is operation:
                self._interrupt_initialisation(id)
            raise

    def _interrupt_initialisation(self, id: str) -> None:
        child = self._children.get(id)
        if child is not None and child.status is not None and child.status.phase == "starting":
            child.status.stopping = True
            child.status.scope.cancel()

    async def _administer(self) -> None:
        """Carry out the next operation, if there is one."""
        for operation in self._mailbox.take(1):
            await self._carry_out(operation)

    async def _carry_out(self, operation: Operation) -> None:
        operation.take()
        argument = operation.args[0]
        try:
            if operation.method == "start_child":
                operation.value = await self._add(operation, cast("ChildSpec", argument))
            else:
                child = self._child(cast("str", argument))
                match operation.method:
                    case "terminate_child":
                        await self._terminate(child)
                    case "restart_child":
                        operation.value = await self._start_again(operation, child)
                    case _:
                        self._delete(child)
        except SupervisorsError as error:
            operation.fail(error)
        except BaseException:  # killed, or a bug: the caller must not wait for ever
            operation.fail(SupervisorStoppedError(self.path))
            raise
        else:
            operation.resolve()

    async def _add(self, operation: Operation, spec: ChildSpec) -> object:
        known = self._children.get(spec.id)
        if known is not None:
            if known.state == "running":
                raise ChildAlreadyStartedError(self.path, spec.id)
            raise ChildAlreadyPresentError(self.path, spec.id)
        child = self._children[spec.id] = _Child(spec)
        return await self._start_by_hand(operation, child, forget=True)

    async def _start_again(self, operation: Operation, child: _Child) -> object:
        if child.state == "running":
            raise ChildRunningError(self.path, child.spec.id)
        if child.state == "restarting":
            raise ChildRestartingError(self.path, child.spec.id)
        self._core.settle(child.spec.id)
        return await self._start_by_hand(operation, child, forget=False)

    async def _start_by_hand(self, operation: Operation, child: _Child, *, forget: bool) -> object:
        self._starting_for = operation
        error = await self._start(child)
        self._starting_for = None
        if error is None and child.state in {"running", "finished"}:
            value = IGNORE if child.status is None else child.status.value
            if operation.task is not None:
                return value
            await self._terminate(child)  # who asked for it has left
        else:
            child.become("stopped")
            self._tell_down(child, "gone" if forget else "stopped")
        if forget:
            self._forget(child)
        if error is None:
            raise SupervisorStoppedError(self.path)
        raise ChildStartError(self.path, child.spec.id) from error

    async def _terminate(self, child: _Child) -> None:
        if child.status is not None:
            await self._stop_child(child, child.status)
        self._unschedule(child)
        self._core.settle(child.spec.id)
        if child.spec.restart == "temporary":
            self._finish(child, forget=True)
        else:
            child.become("stopped")
            self._tell_down(child, "stopped")

    def _delete(self, child: _Child) -> None:
        if child.state == "running":
            raise ChildRunningError(self.path, child.spec.id)
        if child.state == "restarting":
            raise ChildRestartingError(self.path, child.spec.id)
        self._tell_down(child, "gone")
        self._forget(child)

    def _child(self, id: str) -> _Child:
        child = self._children.get(id)
        if child is None:
            raise ChildNotFoundError(self.path, id, tuple(self._children))
        return child
