"""The children of a runtime's tree: found by what users call them, or started beside the others."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from supervisors import ChildSpec, Supervisor, SupervisorStoppedError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from supervisors import ChildStatus

    from ._parts import Parts


class Children:
    """The children of one runtime's tree.

    Args:
      parts: What the runtime consists of: a queue may be several children.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._root: Supervisor | None = None
        self._opened = trio.Event()  # handlers run, and may call, before all is up
        self._asides = 0

    @property
    def root(self) -> Supervisor:
        """The root of the tree.

        Raises:
          RuntimeError: If the runtime is still starting.
        """
        if self._root is None:
            raise RuntimeError("the runtime is still starting")
        return self._root

    @property
    def is_open(self) -> bool:
        """Whether all that was configured has started."""
        return self._root is not None

    def open(self, root: Supervisor) -> None:
        """Take the root of the tree: all that was configured has started."""
        self._root = root
        self._opened.set()

    async def wait_open(self) -> None:
        """Wait until all that was configured has started."""
        await self._opened.wait()

    def supervisors(self) -> Iterator[Supervisor]:
        """Yield the root and all supervisors below it."""
        return _supervisors(self.root)

    async def group(self, name: str) -> Supervisor:
        """Return one of the runtime's own groups.

        Raises:
          SupervisorStoppedError: If it does not run.
        """
        await self.wait_open()
        group = self.root.value_of(name)
        if not isinstance(group, Supervisor):
            raise SupervisorStoppedError(f"{self.root.path}/{name}")
        return group

    async def find(self, name: str) -> list[tuple[Supervisor, str]]:
        """Return where the children are that a name means, in start order.

        Errors as for `Runtime.stop`.
        """
        await self.wait_open()
        starts = self._starts(name)
        everything = [
            (supervisor, supervisor.get_childspec(info.id))
            for supervisor in self.supervisors()
            for info in supervisor.which_children()
        ]
        if starts:
            found = [
                (supervisor, spec.id)
                for supervisor, spec in everything
                if any(spec.start is start for start in starts)
            ]
            if not found:
                raise LookupError(
                    f"{name!r} is not in the tree: it has ended, or its supervisor does not run"
                )
            return found
        paths = {
            f"{supervisor.path}/{spec.id}": (supervisor, spec.id) for supervisor, spec in everything
        }
        named = [path for path, (_, child) in paths.items() if name in {path, child}]
        if not named:
            parts = self._parts
            known = [*parts.queues, *parts.workers, *(spec.id for _, spec in everything)]
            raise LookupError(f"there is no child {name!r}{did_you_mean(name, known)}")
        if len(named) > 1:
            raise ValueError(f"there are several children {name!r}; say one of {', '.join(named)}")
        return [paths[named[0]]]

    def _starts(self, name: str) -> list[object]:
        """Return the start functions of the queue or worker that a name means, if it means one."""
        queues, workers = self._parts.queues, self._parts.workers
        if name in queues and name in workers:
            raise ValueError(
                f"{name!r} is a queue and a worker; say 'queue.{name}' or 'worker.{name}'"
            )
        queue = queues.get(name) or queues.get(name.removeprefix("queue."))
        worker = workers.get(name) or workers.get(name.removeprefix("worker."))
        if queue is not None:
            return [queue.actor, *queue.beside.values()]
        return [] if worker is None else [worker]

    async def take_out(self, name: str) -> None:
        """Stop the children that a name means, and take them out of the tree."""
        with suppress(LookupError):  # it may be in no tree any more
            for supervisor, child in reversed(await self.find(name)):
                await supervisor.terminate_child(child)
                await supervisor.delete_child(child)

    async def start_aside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something in a child of its own: it goes on when whoever asked for it is gone.

        Raises:
          SupervisorStoppedError: If the runtime ends. It has not begun.
        """

        async def start(*, task_status: ChildStatus) -> None:
            task_status.started()
            await work()

        self._asides += 1
        spec = ChildSpec(id=f"aside.{self._asides}", start=start, restart="temporary")
        await self.root.start_child(spec)


def _supervisors(root: Supervisor) -> Iterator[Supervisor]:
    """Yield a supervisor and those below it."""
    yield root
    for below in root.supervisors():
        yield from _supervisors(below)
