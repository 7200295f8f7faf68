"""Stores that fail on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from queueactors._options import Checks
from queueactors.stores import MemoryStore

if TYPE_CHECKING:
    from queueactors.engines import Engine, Method, Parked
    from queueactors.stores import Kind, Place


class InjectedCrash(Exception):  # noqa: N818 - what it is
    """The crash that a `CrashingStore` was asked for."""


@attrs.define(eq=False)
class CrashingStore:
    """A memory store whose queues' actors crash before every n-th operation.

    In a configuration: ``type = "queueactors.testing:CrashingStore"``.

    Args:
      every: How many operations of one queue there are from crash to crash (>= 2); they are
        counted across restarts.

    Raises:
      OptionsError: If ``every`` is out of its range.
    """

    durable: ClassVar[bool] = False

    every: int
    _memory: MemoryStore = attrs.field(factory=MemoryStore, init=False)
    _operations: dict[str, int] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.integer("every", self.every, least=2)
        checks.done()

    def child(self, _place: Place) -> None:
        """Return None: it needs no task of its own."""

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        """Return an engine for a new incarnation of a queue's actor."""
        engine = await self._memory.open_engine(queue, kind, parked)

        def crashing(method: Method) -> Method:
            def call(*args: object) -> object:
                count = self._operations[queue] = self._operations.get(queue, 0) + 1
                if count % self.every == 0:
                    raise InjectedCrash(f"operation {count} of queue {queue!r}")
                return method(*args)

            return call

        engine.wrap(crashing)
        return engine

    async def forget(self, queue: str) -> None:
        """Drop a queue's records."""
        await self._memory.forget(queue)

    def close(self) -> None:
        """Let go of all records."""
        self._memory.close()
