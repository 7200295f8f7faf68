"""What every supervisor does: starts children in order, restarts those that fail, stops them.

It decides nothing about restarts (`_restart` does) and knows nothing of what its children are
(`_spec` says); which administration there is, is left to `_supervisor` and `_dynamic`. Three
things shape it:

- A plain nursery cancels all its children at once and in no order. So the children live in a
  nursery inside a *shielded* scope; a watcher outside the shield turns a cancellation into a
  request to stop, and the supervisor stops them through their own scopes.
- The supervisor is itself an actor: its administration calls are operations in a mailbox, so
  they are served one at a time, also between the attempts of a restart that fails, and by the
  supervisor's own task: nothing of a caller's context leaks into a child.
- A task cannot be killed. A child that does not end when it is cancelled is killed by taking
  its shields away (`ChildStatus.shield`), and if that does not help it is reported with its
  stack. Its siblings are stopped all the same; only the very end has to wait for it.

Source: OTP's ``supervisor``; trio's issues 147, 921 and 1521 about ordered cancellation.

The file is over 500 lines because its states belong together: start, exit, restart and stop
all move the same child records between the same states.
"""

from __future__ import annotations

from collections import deque
from math import inf
from random import Random
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self, cast, get_args

import structlog
import trio

from ._child import ChildStatus, initialising_children, tell_down
from ._children import Child, Children
from ._errors import (
    ActorDownError,
    ChildStartError,
    RestartIntensityError,
    SupervisorsError,
    SupervisorStoppedError,
    describe,
)
from ._exceptions import bare_nursery, fatal, release_frames
from ._mailbox import Mailbox, Operation
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
)
from ._spec import (
    IGNORE,
    ChildCounts,
    ChildInfo,
    ChildSpec,
    ChildState,
    StartFunction,
    SupervisorFlags,
    Tree,
    Value,
)

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable

    from ._errors import DownReason

STATES: Final[tuple[ChildState, ...]] = get_args(ChildState)
UNKILLABLE_AFTER: Final = 5.0  # seconds between killing a child and giving it up


class InterruptedStartError(SupervisorsError):
    """An operator stopped the child while it initialised: not a failure of the child."""


class BaseSupervisor:
    """What `Supervisor` and `DynamicSupervisor` have in common."""

    _keeps_specs: ClassVar[bool]  # of children that have ended, unless they are temporary

    def __init__(
        self,
        specs: Iterable[ChildSpec],
        flags: SupervisorFlags,
        *,
        name: str,
        registry: Registry | None = None,
        random: Random | None = None,
    ) -> None:
        self.name = name
        self.flags = flags
        self.registry = Registry() if registry is None else registry
        self._own_registry = registry is None
        self._children = Children(name)
        for spec in specs:
            self._children.add(Child(spec))
        self._core = RestartCore(flags, Random() if random is None else random)  # noqa: S311
        self._mailbox = Mailbox(name)
        self._exits: deque[ChildStatus] = deque()
        self.restarts = 0  # of its children: those that came up again
        self._stopping = False
        self._wanted_down: set[str] = set()  # ids that an operator has stopped
        self._initialising: ChildStatus | None = None  # which a stop interrupts
        self._starting_for: Operation | None = None  # the administration call it is for
        self._fatal: BaseException | None = None
        self._nursery: trio.Nursery  # of the children, while it runs
        self._ended = trio.Event()
        self.stop_signal: signal.Signals | None = None  # the one that stopped it
        self.log: structlog.typing.FilteringBoundLogger = structlog.get_logger("supervisors")

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"<{kind} {self.path!r} {self.strategy}, {len(self._children)} children>"

    @property
    def path(self) -> str:
        """Its name, after those of the supervisors above: ``root/pool``."""
        return self._children.supervisor

    @property
    def strategy(self) -> str:
        """Its strategy."""
        return self.flags.strategy

    @property
    def state(self) -> Literal["running", "stopping", "stopped"]:
        """What it does: it stops when it is told to, or has given up; then it has ended."""
        if self._ended.is_set():
            return "stopped"
        return "stopping" if self._stopping else "running"

    # -- inspection --------------------------------------------------------------------------

    def which_children(self) -> tuple[ChildInfo, ...]:
        """Return the children in start order."""
        return tuple(child.info() for child in self._children)

    def count_children(self) -> ChildCounts:
        """Return how many children there are, by kind."""
        children = list(self._children)
        supervisors = sum(child.spec.type == "supervisor" for child in children)
        return ChildCounts(
            specs=len(children),
            active=sum(child.state == "running" for child in children),
            supervisors=supervisors,
            workers=len(children) - supervisors,
        )

    def count_states(self) -> dict[ChildState, int]:
        """Return how many children are in each state; those that none is in are 0."""
        counts = dict.fromkeys(STATES, 0)
        for child in self._children:
            counts[child.state] += 1
        return counts

    def get_childspec(self, id: str) -> ChildSpec:
        """Return the spec of a child, with its defaults filled in.

        Raises:
          ChildNotFoundError: If there is no such child.
        """
        return self._children[id].spec

    def state_of(self, id: str) -> ChildState | None:
        """Return where a child is in its life; None: there is no such child."""
        child = self._children.get(id)
        return None if child is None else child.state

    def value_of(self, id: str) -> Value:
        """Return what a running child reported with ``started``; None if it does not run.

        Raises:
          ChildNotFoundError: If there is no such child.
        """
        child = self._children[id]
        return child.value if child.status is not None and child.status.phase == "ready" else None

    def tree(self) -> Tree:
        """Return everything below this supervisor at this instant; ``str()`` draws it."""
        return self._tree(self.name, self.state, 0)

    def _tree(self, id: str, state: ChildState, restarts: int) -> Tree:
        branches: list[Tree] = []
        for child in self._children:
            below = child.status.value if child.status is not None else None
            if isinstance(below, BaseSupervisor):
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
            strategy=self.strategy,
            children=tuple(branches),
        )

    # -- life --------------------------------------------------------------------------------

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
        for child in self._children:
            if child.status is not None:
                child.status.kill()

    async def wait(self) -> None:
        """Wait until the supervisor has ended, for whatever reason."""
        await self._ended.wait()

    @trio.lowlevel.enable_ki_protection  # Ctrl-C belongs to a child or to the body
    async def run(self, *, task_status: trio.TaskStatus[Self]) -> None:
        """Run until it is stopped, cancelled, or gives up: the supervisor's own task.

        Raises:
          ChildStartError: If a child did not initialise at the start.
          RestartIntensityError: If it gave up.
        """
        shield = trio.CancelScope(shield=True)
        if isinstance(task_status, ChildStatus):
            self._children.supervisor = task_status.path
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

    async def _supervise(self, task_status: trio.TaskStatus[Self]) -> None:
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
            for child in self._children:
                if child.status is not None:
                    self._note_stop(child, child.status)
                self._note_down(child)
            if self._fatal is None:
                raise
        error, self._fatal = self._fatal or error, None  # it has frames, and may outlive us
        self.log.info("supervisor_stopped", error=error and describe(error))
        if error is not None:
            raise error

    async def _start_all(self) -> BaseException | None:
        for child in self._children:
            if self._stopping:
                return None
            if child.spec.id in self._wanted_down:  # since a former incarnation of this supervisor
                child.become("stopped")
                self._tell_down(child, "stopped")
                continue
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
            due = self._children.next_due()
            if due == inf:
                await self._mailbox.wait()
            elif due > trio.current_time():
                with trio.CancelScope(deadline=due):
                    await self._mailbox.wait()
        return None

    # -- starting ----------------------------------------------------------------------------

    async def _start(self, child: Child) -> BaseException | None:
        """Start one incarnation and wait for its initialisation; return why it failed."""
        spec = child.spec
        status = ChildStatus(
            child=spec.id,
            path=f"{self.path}/{spec.id}",
            registry=self.registry,
            on_start=child.started,
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
            await self._stop_together([child])
            return InterruptedStartError("it was stopped while it initialised")
        if status.ready_at is None:
            return await self._failed_start(child, status)
        if status.value is IGNORE:
            await self._stop_together([child])
            child.value = IGNORE
            self._finish(child, forget=self._forgets(spec))
            self.log.debug("child_ignored", child=spec.id)
            return None
        self.log.debug("child_started", child=spec.id)
        return None

    async def _failed_start(self, child: Child, status: ChildStatus) -> BaseException | None:
        error: BaseException = SupervisorsError("it returned before it called started()")
        if not status.ended.is_set():
            if self._stopping:
                return None  # it is stopped in its turn
            seconds = child.spec.init_timeout
            error = trio.TooSlowError(f"it did not call started() within {seconds} s")
            await self._end_together([(child, status)])
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
        now = trio.current_time()
        return await self._decide(child, error, now - cast("float", status.ready_at), now)

    async def _decide(
        self, child: Child, error: BaseException | None, ran_for: float, now: float
    ) -> BaseException | None:
        """Ask the core about an exit, and do what it says; return the error to end with."""
        spec = child.spec
        kind = classify(error)
        if kind is ExitKind.ABNORMAL:
            child.last_error = describe(cast("BaseException", error))
            self.log.error("child_crashed", child=spec.id, exc_info=error)
        else:
            self.log.info("child_exited", child=spec.id, kind=kind.value)
        decision = self._core.exited(spec, kind, error, ran_for=ran_for, now=now)
        if error is not None and not isinstance(decision, GiveUp):
            release_frames(error)  # the restart log keeps it, or its caller does
        match decision:
            case Leave(forget):
                self._finish(child, forget=forget or not self._keeps_specs)
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
                if self.flags.strategy != "one_for_one":
                    await self._stop_group(child)
                    now = trio.current_time()
                self._schedule(child, now, after_seconds)
        return None

    def _schedule(self, child: Child, now: float, after_seconds: float) -> None:
        child.become("restarting", now)
        self._children.schedule(child, now + after_seconds)
        if after_seconds:
            self.log.info("child_backoff", child=child.spec.id, seconds=round(after_seconds, 3))

    async def _stop_group(self, failed: Child) -> None:
        """Stop those that restart together with ``failed``, in reverse order."""
        for child in reversed(self._children.group(self.flags.strategy, failed)):
            if child is failed or child.state in {"stopped", "parked"}:
                continue  # an operator's stop is remembered
            if child.status is not None:
                await self._stop_together([child])
            if child.spec.restart == "temporary":
                self._finish(child, forget=True)
                continue
            child.due = None  # it comes back with the group
            child.become("restarting")

    async def _restart_due(self) -> BaseException | None:
        """Make one attempt at a restart whose time has come; calls are served in between."""
        child = self._children.pop_due(trio.current_time())
        return None if child is None else await self._restart_group(child)

    async def _restart_group(self, failed: Child) -> BaseException | None:
        for child in self._children.group(self.flags.strategy, failed):
            if child.state != "restarting":
                continue
            error = None if child.unwanted else await self._start(child)
            if self._stopping:
                return None
            if child.status is not None:
                self.restarts += 1
                self.log.info("child_restarted", child=child.spec.id, restarts=child.restarts)
            elif child.unwanted or isinstance(error, InterruptedStartError):
                # Should the operator have changed their mind.
                self._schedule(child, trio.current_time(), 0.0)
            elif error is not None:
                # Counted like a crash. one_for_all stops again those that came up already;
                # rest_for_one tries again from this child on.
                failure = await self._decide(child, error, 0.0, trio.current_time())
                if failure is not None or child.due is not None:
                    return failure
        return None

    def _finish(self, child: Child, *, forget: bool) -> None:
        """Note that a child is down for good, as far as the supervisor is concerned."""
        child.due = None
        child.become("finished")
        self._tell_down(child, "gone" if forget else "stopped")
        if forget:
            self._forget(child)

    def _forget(self, child: Child) -> None:
        self._children.remove(child)
        self._core.settle(child.spec.id)
        self._wanted_down.discard(child.spec.id)

    def _forgets(self, spec: ChildSpec) -> bool:
        return spec.restart == "temporary" or not self._keeps_specs

    def _ends_with(self, spec: ChildSpec) -> bool:
        live = any(
            child.spec.significant and child.state in {"starting", "running", "restarting"}
            for child in self._children
        )
        return ends_supervisor(self.flags, spec, others_live=live)

    def _tell_down(self, child: Child, reason: DownReason) -> None:
        tell_down(child.spec.start, reason)

    # -- stopping ----------------------------------------------------------------------------

    async def _stop_all(self) -> None:
        """Stop all children, the last one first."""
        for child in reversed(self._children):
            await self._stop_together([child])
            self._note_down(child)

    def _note_down(self, child: Child) -> None:
        """Note that a child does not run any more because its supervisor ends."""
        child.due = None
        if child.state != "parked":
            child.become("stopped")

    def _tell_all_gone(self) -> None:
        for child in self._children:
            self._tell_down(child, "gone")

    async def _stop_together(self, children: Iterable[Child]) -> None:
        """Stop children; their exits have no consequence but a line in the log."""
        living = [(child, child.status) for child in children if child.status is not None]
        await self._end_together(living)
        for child, status in living:
            self._note_stop(child, status)

    async def _end_together(self, living: list[tuple[Child, ChildStatus]]) -> None:
        """Ask all of them at once, kill each when its own time is up.

        One that does not end even when it is killed is reported and left behind.
        """
        asked_at = trio.current_time()
        for child, status in living:
            child.become("stopping")
            status.ask_to_stop()
        living.sort(key=lambda each: each[0].spec.shutdown_seconds)
        for child, status in living:
            await self._wait_patiently(child, status, asked_at)
        for child, status in living:
            await self._wait_for_the_killed(child, status)

    async def _wait_patiently(self, child: Child, status: ChildStatus, asked_at: float) -> None:
        """Wait until a child has ended or its time is up; then kill it."""
        if status.ended.is_set():
            return
        seconds = child.spec.shutdown_seconds if status.killed_at is None else 0.0
        with trio.move_on_at(asked_at + seconds) as status.patience:  # a kill ends it, too
            await status.ended.wait()
        if status.ended.is_set():
            return
        status.kill()
        if child.spec.shutdown != "brutal":
            waited = round(trio.current_time() - asked_at, 3)
            self.log.warning("child_killed", child=child.spec.id, after_seconds=waited)

    async def _wait_for_the_killed(self, child: Child, status: ChildStatus) -> None:
        """Wait a last time, from the kill on: those killed together are waited for together."""
        if status.ended.is_set():
            return
        with trio.move_on_at(cast("float", status.killed_at) + UNKILLABLE_AFTER):
            await status.ended.wait()
        if not status.ended.is_set():
            self.log.error("child_unkillable", child=child.spec.id, stack=status.stack())

    def _note_stop(self, child: Child, status: ChildStatus) -> None:
        error, status.error, child.status = status.error, None, None
        if error is not None and fatal(error) is None and classify(error) is ExitKind.ABNORMAL:
            child.last_error = describe(error)
            self.log.error("child_stop_error", child=child.spec.id, exc_info=error)
            release_frames(error)
        elif status.ended.is_set():
            self.log.debug("child_stopped", child=child.spec.id)

    # -- what administration is made of ------------------------------------------------------

    async def _call(self, carry_out: StartFunction, *args: object) -> Value:
        """Let the supervisor's own task ``await carry_out(operation, *args)``, in its turn."""
        self._refuse_to_deadlock()
        return await self._send(Operation(carry_out.__name__, (carry_out, *args)))

    async def _send(self, operation: Operation) -> Value:
        if self._stopping:
            await trio.lowlevel.checkpoint()
            raise SupervisorStoppedError(self.path)
        try:
            return await self._mailbox.call(operation)
        except ActorDownError:
            raise SupervisorStoppedError(self.path) from None
        except trio.Cancelled:
            if self._starting_for is operation and self._initialising is not None:
                self._initialising.interrupt()
            raise

    def _refuse_to_deadlock(self) -> None:
        """Raise in a task that this supervisor, which would carry its call out, waits for."""
        waited_for = list(initialising_children(trio.lowlevel.current_task()))
        if self._initialising in waited_for:
            raise RuntimeError(
                f"child {waited_for[0].path!r} calls {self.path!r} before it has initialised; "
                "it would wait for ever"
            )

    async def _call_terminate(
        self, child: Child | None, carry_out: StartFunction, argument: object
    ) -> Value:
        """Like `_call`, for a call that stops ``child``: its initialisation is interrupted."""
        self._refuse_to_deadlock()
        operation = Operation(carry_out.__name__, (carry_out, argument))
        if child is not None:
            child.termination = operation
            if child.status is not None:
                child.status.interrupt()
        return await self._send(operation)

    async def _administer(self) -> None:
        """Carry out the next operation, if there is one."""
        for operation in self._mailbox.take(1):
            operation.take()
            carry_out, *args = operation.args
            try:
                operation.value = await cast("StartFunction", carry_out)(operation, *args)
            except SupervisorsError as error:
                operation.fail(error)
            except BaseException:  # killed, or a bug: the caller must not wait for ever
                operation.fail(SupervisorStoppedError(self.path))
                raise
            else:
                operation.resolve()

    async def _start_by_hand(self, operation: Operation, child: Child, *, forget: bool) -> Value:
        """Start a child for a caller; return what it reported.

        Args:
          operation: The call.
          child: A child that does not run.
          forget: Whether a failure drops its spec.
        """
        down: Literal["parked", "stopped"] = "parked" if child.state == "parked" else "stopped"
        self._starting_for = operation
        error = await self._start(child)
        self._starting_for = None
        if error is None and child.state in {"running", "finished"} and operation.task is not None:
            return child.value
        if self._stopping:
            raise SupervisorStoppedError(self.path)
        await self._stop_together([child])  # who asked for it has left
        if self._children.get(child.spec.id) is child:  # else it had nothing to do
            child.become(down)
            self._tell_down(child, "gone" if forget else down)
            if forget:
                self._forget(child)
        if error is None:
            raise SupervisorStoppedError(self.path)
        release_frames(error)  # whoever asked for it may keep it
        raise ChildStartError(self.path, child.spec.id) from error

    async def _terminate(self, child: Child) -> None:
        await self._stop_together([child])
        self._children.unschedule(child, self.flags.strategy)
        if self._forgets(child.spec):
            self._finish(child, forget=True)
        else:
            self._wanted_down.add(child.spec.id)
            child.become("stopped")
            self._tell_down(child, "stopped")

    def _change_flags(self, flags: SupervisorFlags) -> None:
        self.flags = flags
        self._core.change(flags)
