"""The Redis engine: one script call carries out one batch.

What waits is kept here, by each runtime, and asked again when there may be something for it: when
another runtime tells so, at the next instant at which something becomes due, and now and then in
case a word was lost.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, Protocol, cast

import attrs
import msgspec
import trio

from queueactors._errors import StoreError
from queueactors.engines._protocol import ROOM, SYNCS, TAKERS
from queueactors.engines._refusing import ADDS
from supervisors import Operation

from ._wire import ServerFullError, Statistics, Wire, script, to_micros, to_nanos

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queueactors._clock import Clock
    from queueactors.cores import QueueStatistics
    from queueactors.engines import Core, Parked

    from ._wire import Aside, Script

EACH: Final = 2  # what a result is that has the answers of several operations in a row
HEADS: Final = 1000  # of those who wait in a lane, so many are sent at once
SECOND: Final = 1_000_000_000  # nanoseconds
FULL_FOR: Final = (
    SECOND  # until a server that had no memory left is asked again to take something in
)
_GROWS: Final = ADDS | {"insert_nowait", "refilled"}  # what takes memory there for good


class Link(Protocol):
    """The way to the server for one queue, which all incarnations of its actor share."""

    closed: bool
    """Whether the queue takes nothing in from this runtime any more."""

    counts: Counter[str]
    """What has happened since the runtime opened the queue."""

    @property
    def clock(self) -> Clock:
        """The runtime's."""

    @property
    def session(self) -> str:
        """What the runtime is known by on the server."""

    @property
    def channel(self) -> str:
        """Where runtimes that wait for this queue are told: each there, at its session's."""

    @property
    def poll(self) -> float:
        """Seconds after which those who wait ask again, though nobody told them to."""

    @property
    def waits(self) -> bool:
        """While the server is away, or full: let callers wait. False: they get `StoreError`."""

    def now(self) -> bytes:
        """Return the instant for the script, in microseconds; empty: the server's own."""

    @property
    def works(self) -> bool:
        """Whether the server can be asked at present, as far as is known."""

    async def recovered(self) -> None:
        """Wait until the server can be asked."""

    async def call(
        self,
        script: Script,
        arguments: Sequence[bytes],
        goes_on: Callable[[Callable[[], StoreError]], bool],
        /,
    ) -> list[bytes]:
        """Carry out a batch, once, however often it has to be sent; return the reply.

        If it `waits`, ``goes_on`` is asked now and then, once that takes longer than the server may
        take: it lets go of callers who want to leave, with a failure, and says whether there are
        others. Cancelled: it fails then.

        Raises:
          ServerFullError: If it was not carried out, because the server has no memory left.
          StoreError: If it was not carried out; or if nobody knows.
        """

    def listen(self) -> None:
        """Be told from now on."""


class _Reply(msgspec.Struct):
    now: int
    all: bool
    due: int | bool
    errand: bool  # this runtime has one now
    errand_at: int | bool  # from then on whoever sees it has one: its runtime may be gone
    again_at: int | bool  # this runtime is to call again then, though nobody waits
    closed: bool
    sync_after: int | bool
    results: list[tuple[int, int, object]]
    counts: dict[str, int] | list[int]  # an empty table is an empty list
    notices: list[list[object]]
    waits: dict[str, bool]
    statistics: dict[str, object] | bool


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Reply)
_LANES: Final = (ROOM, TAKERS, SYNCS)
_ALL: Final = dict.fromkeys(_LANES, True)


@attrs.define(eq=False)
class RedisEngine:
    """Carries out the batches of one queue on the server.

    Args:
      wire: How its kind's operations travel.
      link: The way to the server.
      parked: The operations that wait in this queue, from its former incarnations too.
    """

    _wire: Wire
    _link: Link
    parked: Parked
    culprit: Operation | None = attrs.field(default=None, init=False)
    notices: list[tuple[str, dict[str, object]]] = attrs.field(factory=list, init=False)
    _errand: bool = attrs.field(default=True, init=False)  # what others have left undone
    _due_at: int | None = attrs.field(default=None, init=False)  # epoch nanoseconds here
    _again_at: int | None = attrs.field(default=None, init=False)  # likewise
    _ahead: int = attrs.field(default=0, init=False)  # nanoseconds: this clock, of the server's
    _asked_at: int = attrs.field(default=0, init=False)  # likewise
    _errand_at: int | bool = attrs.field(default=False, init=False)  # the last: it is told once
    _sync_after: int | None = attrs.field(default=None, init=False)
    _known: Statistics | None = attrs.field(default=None, init=False)
    _drains: bool = attrs.field(default=False, init=False)
    _counted: dict[str, int] = attrs.field(factory=dict, init=False)  # in the last batch
    _lost: list[Aside] = attrs.field(init=False)  # the wire's
    _aside: dict[int, Aside] = attrs.field(factory=dict, init=False)  # by key: to be told
    _full: tuple[int, StoreError] | None = attrs.field(default=None, init=False)  # until when
    _told: dict[str, bool] = attrs.field(default=_ALL, init=False)  # the lanes it may know of

    @_lost.default
    def _of_wire(self) -> list[Aside]:
        return self._wire.aside

    def drain(self, drains: bool) -> None:  # noqa: FBT001 - a state
        """Take nothing in any more, or again, see `Engine.drain`."""
        self._drains = drains

    def configure(self, change: Callable[[Core], None]) -> None:
        """Do nothing: the script is told the options, as they are, at each call."""

    def new_errands(self) -> bool:
        """Return whether something has come up since the last question for the shell to do."""
        new, self._errand = self._errand, False
        return new

    def advance(self, now: int) -> bool:  # noqa: ARG002 - every engine has it
        """Return True: what is due happens on the server, at the next call."""
        return True

    def next_deadline(self) -> int | None:
        """Return when something is due, or those who wait are to be asked again."""
        if not self.parked:
            return self._again_at
        poll_at = self._asked_at + int(self._link.poll * SECOND)
        full_until = self._full[0] if self._full and self.parked.lane(ROOM) else None
        instants = self._due_at, self.parked.next_timeout(), self._again_at, poll_at, full_until
        return min(at for at in instants if at is not None)

    def parting(self) -> Operation | None:
        """Return None: the server keeps everything."""
        return None

    def statistics(self, now: int) -> QueueStatistics | None:
        """Return the queue's numbers as they were when it was asked last."""
        if self._known is None:
            return None
        micros = max(to_micros(now - self._ahead), self._known.now)
        return cast(
            "QueueStatistics", self._wire.statistics(micros, self._known, self._link.counts)
        )

    async def execute(
        self,
        batch: Sequence[Operation],
        now: int,  # noqa: ARG002 - every engine has it; the script asks its own clock
        resolved: list[Operation],
    ) -> None:
        """Carry out a batch, see `Engine.execute`."""
        parked = self.parked
        new = _queued(batch)
        if self._full is not None and self._full[0] <= self._link.clock.now_ns():
            self._full = None
        while self._link.waits and not self._link.works:
            if not new:  # it is woken when there is a server
                self._put_off()
                parked.time_out(self._asked_at, resolved)
                return
            await self._recovered(new)
            new = _queued(new)
        if not new and not parked and not self._is_called():
            return
        quiet = self._wire.quiet
        heads = HEADS if quiet is None else None  # where none of them stands behind another: all
        most = heads
        if quiet is not None and new and quiet.issuperset(each.method for each in new):
            most = 0  # the script asks for them if there is something
        again = True
        while again:
            lanes = {name: list(islice(parked.lane(name), most)) for name in _LANES}
            if self._full is None:
                again = await self._round(lanes, new, resolved)
            else:
                again = await self._spare(lanes, new, self._full[1], resolved)
            new, most = _queued(new), heads
            if self._lost:  # before their takers are served again
                new.insert(0, self._set_aside())
                again = True
        parked.time_out(self._link.clock.now_ns(), resolved)

    def _is_called(self) -> bool:
        """Return whether to ask the server though nobody here asks for anything."""
        at = self._again_at
        return (
            self._known is None
            or any(self._told.values())  # what it was told may be meant for somebody who has left
            or (at is not None and at <= self._link.clock.now_ns())
        )

    async def _recovered(self, queued: Sequence[Operation]) -> None:
        """Wait until the server can be asked, or somebody's time is up."""
        clock, parked = self._link.clock, self.parked
        instants = [operation.deadline_at for operation in queued] + [parked.next_timeout()]
        first = min((at for at in instants if at is not None), default=None)
        with trio.CancelScope(deadline=clock.deadline(first)):
            await self._link.recovered()
        late: list[Operation] = []
        parked.time_out(clock.now_ns(), late, queued)
        for operation in late:
            operation.resolve()

    async def _spare(
        self,
        lanes: dict[str, list[Operation]],
        new: list[Operation],
        error: StoreError,
        resolved: list[Operation],
    ) -> bool:
        """Let a server that is full carry out all but what puts something in; see `_round`.

        So it can be drained. The others wait for room, or end with the store's failure.
        """
        rest, refused = [], []
        for operation in new:
            if operation.method not in _GROWS:
                rest.append(operation)
            elif not self._link.waits or operation.task is None:  # of which there may be any number
                refused.append(operation)
            elif operation.stay("parked"):
                self.parked.park(operation, self.parked.lane(ROOM))
        for operation in lanes[ROOM]:
            operation.stay("parked")
        self._failed(refused, error, resolved)
        lanes = {**lanes, ROOM: []}
        if not rest and not any(lanes.values()):
            return False
        return await self._round(lanes, rest, resolved, full=True)

    async def _round(
        self,
        lanes: dict[str, list[Operation]],
        new: list[Operation],
        resolved: list[Operation],
        *,
        full: bool = False,
    ) -> bool:
        """Let the server carry out operations; return whether there is more to ask of it."""
        sent = [*chain.from_iterable(lanes.values()), *new]
        try:
            reply, values = await self._ask(lanes, new, sent, full=full)
        except StoreError as error:
            if isinstance(error, ServerFullError) and not full:
                if self._link.waits:
                    self._full = self._link.clock.now_ns() + FULL_FOR, error
                lanes = {name: _undone(lane) for name, lane in lanes.items()}
                return await self._spare(lanes, _undone(new), error, resolved)
            self._failed(_undone(sent), error, resolved)
            return False
        except BaseException:
            for operation in _undone(sent):
                operation.stay("queued" if operation.home is None else "parked")
            raise
        self._learn(reply)
        self._take(reply, values, sent, resolved)
        served = [lane for lane in lanes.values() if len(lane) == HEADS and lane[-1].home is None]
        return not reply.all or bool(served)

    def _take(
        self,
        reply: _Reply,
        values: Sequence[bytes],
        sent: list[Operation],
        resolved: list[Operation],
    ) -> None:
        """Give operations their outcomes; let those that have none wait."""
        outcomes = _outcomes(reply)
        for number, operation in enumerate(sent, 1):
            if operation.state == "done":  # its caller was let go
                continue
            if number in outcomes and self._resolve(operation, *outcomes[number], values):
                self._take_out(operation)
                resolved.append(operation)
            elif operation.home is not None:
                operation.stay("parked")
            elif not reply.all or number in outcomes:
                operation.stay("queued")
            elif operation.stay("parked"):
                self.parked.park(operation, self.parked.lane(cast("str", operation.waits)))

    async def _ask(
        self,
        lanes: dict[str, list[Operation]],
        new: list[Operation],
        sent: list[Operation],
        *,
        full: bool,
    ) -> tuple[_Reply, Sequence[bytes]]:
        """Send operations, and wait for the answer; return it, and the values in it."""
        link = self._link
        values: list[bytes] = []
        request = _ENCODER.encode(self._request(lanes, new, values))
        if any(operation.waits for operation in sent):
            link.listen()  # before they wait: not one word must be missed
        for operation in sent:
            operation.state = "firm"  # its caller waits for the outcome

        def goes_on(failure: Callable[[], StoreError]) -> bool:
            return self._let_go(sent, failure)

        with trio.CancelScope(shield=not link.waits):
            packed, *found = await link.call(
                script(self._wire.name, self._wire.tables, full=full),
                (link.now(), request, *values),
                goes_on,
            )
        return _DECODER.decode(packed), found

    def _let_go(self, sent: Sequence[Operation], failure: Callable[[], StoreError]) -> bool:
        """Let callers go who want to leave, or whose time is up; return whether others wait."""
        now = self._link.clock.now_ns()
        for operation in sent:
            at = operation.deadline_at
            is_late = at is not None and at <= now
            if operation.state == "firm" and (operation.leaving is not None or is_late):
                self._take_out(operation)
                operation.fail(failure())
        return any(operation.state == "firm" for operation in sent)

    def _take_out(self, operation: Operation) -> None:
        """Let an operation that is resolved wait no more."""
        if operation.home is not None:
            operation.home.withdrawn(operation)
            operation.home = None

    def _request(
        self, lanes: dict[str, list[Operation]], new: list[Operation], values: list[bytes]
    ) -> tuple[object, ...]:
        """Return what the script is asked."""
        wire, link, parked = self._wire, self._link, self.parked
        options = wire.options(values) | {  # not the wire's own, which may be always the same
            "session": link.session,
            "channel": link.channel,
            "waits": self._told,
            "poll": round(link.poll * 1e6),
            "statistics": True,
        }
        if wire.quiet is not None:
            options["independent"] = True
        if self._known is None:
            options["begins"] = True
        if link.closed:
            options["closed"] = True
        if self._drains:
            options["drains"] = True
        if self._sync_after is not None:
            options["sync_after"] = self._sync_after
        waiting = {
            name: {
                "operations": [self._packed(operation, values) for operation in lane],
                "more": len(parked.lane(name)) - len(lane),
            }
            for name, lane in lanes.items()
            if parked.lane(name)
        }
        return options, waiting, self._joined(new, values)

    def _packed(self, operation: Operation, values: list[bytes]) -> tuple[object, ...]:
        return operation.method, operation.waits or False, *self._wire.pack(operation, values)

    def _joined(self, new: Sequence[Operation], values: list[bytes]) -> Sequence[object]:
        """Return operations as the script takes them: with how many, where they are one there."""
        pack, joint = self._wire.pack, self._wire.joint
        entries: list[tuple[object, ...]] = []
        before: tuple[object, ...] = ()
        method, waits, many = "", None, 0
        for operation in new:
            args = pack(operation, values)
            joined = None
            if operation.method == method in joint and operation.waits == waits:
                joined = joint[method](before, many, args)
            if joined is None:
                method, waits, before, many = operation.method, operation.waits, args, 1
                entries.append((method, waits or False, *args))
            else:
                before, many = joined, many + 1
                entries[-1] = many, (method, waits or False, *joined)
        return entries

    def _learn(self, reply: _Reply) -> None:
        """Take in what a reply tells beside the outcomes."""
        link = self._link
        now = link.clock.now_ns()
        # The answer was on its way for a while, so no instant comes early by that.
        self._ahead = now - to_nanos(reply.now)
        self._asked_at = now
        due, again = reply.due, reply.again_at
        self._due_at = None if isinstance(due, bool) else to_nanos(due) + self._ahead
        self._again_at = None if isinstance(again, bool) else to_nanos(again) + self._ahead
        self._errand |= reply.errand
        at = reply.errand_at
        if at is not False and at <= reply.now and at != self._errand_at:
            self._errand, self._errand_at = True, at
        after = reply.sync_after
        self._sync_after = None if isinstance(after, bool) else after
        link.closed = link.closed or reply.closed
        self._counted = reply.counts if isinstance(reply.counts, dict) else {}
        link.counts.update(self._counted)
        for notice in reply.notices:
            event = cast("str", notice[0])
            self.notices.append((event, self._wire.notice(event, notice[1:])))
        if not isinstance(reply.statistics, bool):
            self._known = Statistics(reply.now, reply.statistics)
        self._told = reply.waits

    def _resolve(
        self, operation: Operation, what: int, told: object, values: Sequence[bytes]
    ) -> bool:
        """Give an operation its outcome: 0 and the answer, or 1 and the refusal.

        Return False if all that it has taken cannot be decoded: it is to be asked again.
        """
        if what:
            name, *facts = cast("list[object]", told)
            operation.error = self._wire.refusal(operation, cast("str", name), facts)
        elif operation.method == "statistics":
            operation.value = self._told_statistics(told)
        elif operation.method == "set_aside":
            self._tell_aside(told)
        else:
            before = len(self._lost)
            operation.value = self._wire.unpack(operation, told, values)
            if len(self._lost) > before and not operation.value:
                operation.value = None
                return False
        return True

    def _told_statistics(self, told: object) -> object:
        """Return the queue's numbers at a place in the batch."""
        facts, so_far = cast("tuple[dict[str, object], dict[str, int] | list[int]]", told)
        counts = Counter(self._link.counts)
        counts.subtract(self._counted)
        if isinstance(so_far, dict):
            counts.update(so_far)
        now = to_micros(self._link.clock.now_ns() - self._ahead)
        return self._wire.statistics(now, Statistics(now, facts), counts)

    def _set_aside(self) -> Operation:
        """Return what sets aside what cannot be decoded."""
        found = list(self._lost)
        self._lost.clear()
        self._aside = {each.key: each for each in found}
        return Operation("set_aside", (list(self._aside),))

    def _tell_aside(self, told: object) -> None:
        """Tell the log of what is set aside by now."""
        for key in cast("list[int]", told or ()):
            each = self._aside[key]
            facts = {"id": each.id, "codec": each.error.codec, "error": each.error.error}
            self.notices.append(("message_set_aside", facts))

    def _put_off(self) -> None:
        """Ask again after a while: nobody knows what the server has."""
        self._asked_at = self._link.clock.now_ns()
        self._due_at, self._told = None, _ALL
        self._again_at = self._asked_at + int(self._link.poll * SECOND)

    def _failed(self, sent: list[Operation], error: StoreError, resolved: list[Operation]) -> None:
        """Let operations end with the store's failure; who waited goes on if nothing has come."""
        self._put_off()
        casts = 0
        for operation in sent:
            if operation.home is not None and error.outcome == "not applied":
                operation.stay("parked")
                continue
            self._take_out(operation)
            operation.error = error.anew()
            casts += operation.task is None
            resolved.append(operation)
        if casts:  # perhaps nobody looks at their replies
            self.notices.append(("casts_refused", {"operations": casts, "outcome": error.outcome}))


def _outcomes(reply: _Reply) -> dict[int, tuple[int, object]]:
    """Return what came of operations, by their numbers."""
    outcomes: dict[int, tuple[int, object]] = {}
    for number, what, told in reply.results:
        if what == EACH:
            answers = enumerate(cast("list[object]", told), number)
            outcomes.update((each, (0, answer)) for each, answer in answers)
        else:
            outcomes[number] = what, told
    return outcomes


def _undone(operations: Sequence[Operation]) -> list[Operation]:
    """Return those that have no outcome yet."""
    return [operation for operation in operations if operation.state != "done"]


def _queued(operations: Sequence[Operation]) -> list[Operation]:
    """Return those that nobody has withdrawn, and that are not decided."""
    return [operation for operation in operations if operation.state == "queued"]
