"""The local engine: a core in this process, its records in a store in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import attrs

from queueactors._errors import QueueActorsError
from queueactors._state_errors import QueueBusyError
from supervisors import Operation

from ._protocol import ROOM, SLICE, SYNCS, TAKERS, Kept, Method
from ._refusing import accept_adds, refuse_adds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from queueactors.cores import QueueStatistics

    from ._protocol import Core, IndependentCore, Lane, Parked


@attrs.define(eq=False)
class LocalEngine:
    """Runs a core whose records are in memory: what is decided is committed.

    Args:
      core: The state machine.
      parked: The operations that wait in this queue, from its former incarnations too.
    """

    core: Core
    parked: Parked
    culprit: Operation | None = attrs.field(default=None, init=False)
    _advanced_to: int | None = attrs.field(default=None, init=False)
    _methods: dict[str, Method] = attrs.field(init=False)
    _served: object = attrs.field(default=None, init=False)  # the news that they have heard
    _drains: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        """Let the core's methods carry out operations."""
        # Looked up once an incarnation: a queued bound method would point at a dead core.
        self._methods = {name: getattr(self.core, name) for name in self.core.operations}
        self.core.inserters = self.parked.lane(ROOM)
        self.core.syncers = self.parked.lane(SYNCS)
        self._served = None
        if self._drains:
            refuse_adds(self.core, self.parked.queue, self._methods)

    def drain(self, drains: bool) -> None:  # noqa: FBT001 - a state
        """Take nothing in any more, or again, see `Engine.drain`."""
        if drains != self._drains:
            self._drains = drains
            self.connect()
            if not drains:
                accept_adds(self.core)

    def configure(self, change: Callable[[Core], None]) -> None:
        """Let a function change what the core goes by."""
        change(self.core)

    def wrap(self, wrapper: Callable[[Method], Method]) -> None:
        """Put something around each of the core's operations: the injection of faults."""
        self._methods = {name: wrapper(method) for name, method in self._methods.items()}

    @property
    def notices(self) -> list[tuple[str, dict[str, object]]]:
        """What the core has to tell the log."""
        return self.core.notices

    def new_errands(self) -> bool:
        """Return whether something has come up since the last question for the shell to do."""
        return self.core.new_errands()

    def next_deadline(self) -> int | None:
        """Return the next instant at which something happens by itself."""
        parked = self.parked
        if not parked:
            return self.core.next_deadline(waiting=False)
        waiting = bool(parked.lane(TAKERS))
        instants = (self.core.next_deadline(waiting=waiting), parked.next_timeout())
        return min((at for at in instants if at is not None), default=None)

    def advance(self, now: int) -> bool:
        """Let some of what has become due happen; return whether that was all."""
        done = self.core.advance(now, SLICE)
        if done:
            self._advanced_to = now
        return done

    def statistics(self, now: int) -> QueueStatistics | None:
        """Return the queue's numbers without asking it, see `Engine.statistics`."""
        if self._advanced_to is None:
            return None
        # A core first does what is due. That is for the actor, which is about to: it may be
        # writing now, and what is due may be a million messages.
        due = self.core.next_deadline(waiting=False)
        return self.core.statistics(now if due is None or due > now else self._advanced_to)

    def parting(self) -> Operation | None:
        """Return what is to be carried out before the actor stops; None: nothing."""
        return None if self.core.parting is None else Operation(*self.core.parting)

    async def execute(  # noqa: C901 - the hot path, in one piece
        self, batch: Sequence[Operation], now: int, resolved: list[Operation]
    ) -> None:
        """Carry out a batch, see `Engine.execute`. Never waits."""
        parked = self.parked
        waiting = bool(parked)
        if waiting:
            self._serve(now, resolved)
            parked.time_out(now, resolved)
        elif self.core.independent:
            cast("IndependentCore", self.core).begun_anew.clear()  # nobody waits for it
        methods = self._methods
        late, independent = False, self.core.independent
        ahead: set[object] = set()  # what those wait for who come first, once something changed
        for operation in batch:
            if operation.state != "queued":
                continue  # withdrawn since
            self.culprit = operation
            waits = operation.waits
            if (
                waiting
                and waits is not None
                and parked.lane(waits)
                and (
                    not independent
                    or (late and operation.args[0] in (ahead := ahead or self._waited_for()))
                )
            ):
                self._stand_behind(operation, waits, resolved)
                continue
            try:
                operation.value = methods[operation.method](now, *operation.args)
            except QueueActorsError as error:
                operation.error = error
            else:
                if waits is not None and _is_not_yet(operation.value):
                    self._park(operation, waits, now, alone=not waiting)
                    waiting = True
                    if ahead:
                        ahead.add(operation.args[0])
                    continue
            resolved.append(operation)
            if waiting and (independent or isinstance(operation, Kept)):
                late = True  # there are many of them, and most help nobody
            elif waiting:
                self._serve(now, resolved)
                waiting = bool(parked)
        if late:
            self._serve(now, resolved)
        self.culprit = None

    def _waited_for(self) -> set[object]:
        """Return what those who wait do wait for, each for its own."""
        return {operation.args[0] for operation in self.parked.lane(TAKERS)}

    def _park(self, operation: Operation, waits: str, now: int, *, alone: bool) -> None:
        """Let an operation wait, and note what it has heard: in a pause less than others before."""
        if self.core.independent:
            news = cast("IndependentCore", self.core).news(now)
            if news != self._served:
                self._served = news if alone else None
        self.parked.park(operation, self.parked.lane(waits))

    def _stand_behind(self, operation: Operation, waits: str, resolved: list[Operation]) -> None:
        """Let an operation wait behind those who do already."""
        if waits != TAKERS or not self.core.one_taker:
            self.parked.park(operation, self.parked.lane(waits))
        else:
            operation.error = QueueBusyError(self.parked.queue)
            resolved.append(operation)

    def _serve(self, now: int, resolved: list[Operation]) -> None:
        """Let parked operations try again, each lane in its order."""
        only = self._with_news(now) if self.core.independent else None
        for lane in self.parked:
            for operation in self._in_turn(lane, only):
                self.culprit = operation
                try:
                    operation.value = self._methods[operation.method](now, *operation.args)
                except QueueActorsError as error:
                    operation.error = error
                else:
                    if _is_not_yet(operation.value):
                        if self.core.independent:
                            continue
                        break
                del lane[operation]
                operation.home = None  # its timeout may be due as well: that comes too late
                resolved.append(operation)
        self.culprit = None

    def _with_news(self, now: int) -> set[object] | None:
        """Return what there may be something for by now; None: for all that wait."""
        core = cast("IndependentCore", self.core)
        news, anew = core.news(now), core.begun_anew
        was, self._served, core.begun_anew = self._served, news, set()
        return anew if news == was else None

    def _in_turn(self, lane: Lane, only: set[object] | None) -> Iterable[Operation]:
        """Return who may try again: one after the other; or each that waits for one of these."""
        if not self.core.independent:
            return iter(lane.first, None)
        if only is None:
            return list(lane)
        return [operation for operation in lane if operation.args[0] in only] if only else ()


def _is_not_yet(answer: object) -> bool:
    """Return whether an operation has to wait: it has nothing, or a list of nothing, to answer."""
    return answer is None or answer == []
