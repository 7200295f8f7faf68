"""Children under a test's command, and the few helpers that all these tests share."""
# ruff: noqa: A001, N818 - OTP's words

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypedDict, Unpack

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from supervisors import (
    Backoff,
    ChildOptions,
    ChildSpec,
    DynamicSupervisor,
    Supervisor,
    open_supervisor,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from supervisors import AutoShutdown, ChildStatus, ChildType, Strategy

NO_BACKOFF = Backoff(min=0, max=0)

settle = wait_all_tasks_blocked


class Boom(Exception):
    """An ordinary crash."""


class Flags(TypedDict, total=False):
    """The flags of a supervisor, to pass on."""

    strategy: Strategy
    intensity: int
    period: float
    auto_shutdown: AutoShutdown


@attrs.define(eq=False)
class _Life:
    over: trio.Event = attrs.field(factory=trio.Event)
    error: BaseException | None = None


@attrs.define(eq=False)
class Stage:
    """Makes children that live until they are told to end, and writes down what they do.

    Args:
      journal: ``start a``, ``stop a`` and so on, in order.
      failures: By id: what the next starts raise; None: that start works.
      slow: By id: seconds of shielded cleanup when cancelled.
    """

    journal: list[str] = attrs.field(factory=list)
    failures: dict[str, list[BaseException | None]] = attrs.field(factory=dict)
    slow: dict[str, float] = attrs.field(factory=dict)
    starts: Counter[str] = attrs.field(factory=Counter)
    _lives: dict[str, _Life] = attrs.field(factory=dict)

    def spec(
        self, id: str, *, type: ChildType = "worker", **options: Unpack[ChildOptions]
    ) -> ChildSpec:
        options.setdefault("backoff", NO_BACKOFF)
        return ChildSpec(id=id, start=self.play, args=(id,), type=type, **options)

    def specs(self, ids: str, **options: Unpack[ChildOptions]) -> list[ChildSpec]:
        return [self.spec(id, **options) for id in ids]

    async def play(self, id: str, *, task_status: ChildStatus) -> None:
        self.starts[id] += 1
        planned = self.failures.get(id)
        error = planned.pop(0) if planned else None
        if error is not None:
            self.journal.append(f"fail {id}")
            raise error
        self.journal.append(f"start {id}")
        life = self._lives[id] = _Life()
        task_status.started(f"{id}#{self.starts[id]}")
        try:
            await life.over.wait()
        finally:
            if id in self.slow:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.slow[id])
            self.journal.append(f"stop {id}")
        if life.error is not None:
            raise life.error

    def end(self, id: str, error: BaseException | None = None) -> None:
        """Let a child return, or raise; the supervisor has not noticed yet."""
        self._lives[id].error = error
        self._lives[id].over.set()

    async def crash(self, id: str) -> None:
        """Let a child crash, and the supervisor do all that follows at once."""
        self.end(id, Boom(id))
        await settle()

    async def leave(self, id: str) -> None:
        """Let a child return, and the supervisor do all that follows at once."""
        self.end(id)
        await settle()

    def fails_next(self, id: str, times: int = 1) -> None:
        """Let the next starts of a child fail."""
        self.failures[id] = [Boom(f"{id} does not start") for _ in range(times)]

    def since(self, mark: int) -> list[str]:
        """Return the journal from ``mark`` on."""
        return self.journal[mark:]


@asynccontextmanager
async def open_lasting(
    specs: Iterable[ChildSpec], **flags: Unpack[Flags]
) -> AsyncIterator[Supervisor]:
    """Open a supervisor that must not end before its body: that would be silent."""
    lasted = False
    async with open_supervisor(specs, **flags) as supervisor:
        yield supervisor
        lasted = True
    assert lasted, "the body was cancelled"


def states(supervisor: Supervisor | DynamicSupervisor) -> dict[str, str]:
    """Return the state of each child by id, in order."""
    return {child.id: child.state for child in supervisor.which_children()}


async def hang_in_init(*, task_status: ChildStatus) -> None:
    """Never say `started`."""
    await trio.sleep_forever()


async def idle(*, task_status: ChildStatus) -> None:
    """Start, and wait to be cancelled."""
    task_status.started()
    await trio.sleep_forever()


async def until_cancelled() -> None:
    """Wait: for the type checker, code after this is not dead where a scope catches it."""
    await trio.sleep_forever()
