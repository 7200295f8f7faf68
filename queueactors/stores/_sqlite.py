"""The SQLite store: queues in one file, which outlast the process.

What a queue has to write is gathered by its journal (`_journal`), and committed by the one actor
of the file (`_actor`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from queueactors._options import Checks, Seconds
from supervisors import ChildSpec

from ._file import Driver, Durability, StandardDriver

if TYPE_CHECKING:
    from queueactors.engines import Engine, Parked

    from ._actor import StoreActor
    from ._journal import SqliteJournal
    from ._protocol import Kind, Place, StoreStatistics


CommitIn = Literal["auto", "inline", "loop", "thread"]
OnFailure = Literal["error", "wait"]


@attrs.define(eq=False)
class SqliteStore:
    """Keeps queues in an SQLite file: what it acknowledged outlasts the process.

    In a configuration: ``type = "sqlite"``. One process at a time owns the file.

    Args:
      path: The file, relative to where the process was started. None: ``<name>.sqlite`` in the
        runtime's ``data_dir``.
      durability: ``"process"``: what was acknowledged outlasts the process, and the last of it may
        be lost in a power cut. ``"power"``: it outlasts that, too; each commit waits for the disk.
      commit: Where a commit runs. ``"loop"``: in the store's actor; it keeps everything else in
        the program waiting, some 10 us with a fast disk. ``"inline"``: so, too, but in the turn of
        the queue that writes, if no other queue writes at the same time: that saves the way to
        the store's actor and back. ``"thread"``: it keeps nobody waiting, and takes longer.
        ``"auto"``: as one takes that is measured at start; up to 0.05 ms inline, up to 0.5 ms in
        the loop.
      timeout: Seconds (> 0) after which a commit in a thread is given up. Its outcome is unknown.
      on_failure: While the file cannot be written: ``"error"``: operations end with
        `StoreError`; ``"wait"``: they wait until it can. The timeout of one that the queue has not
        taken up yet, because others wait before it, is not looked at until then.
      release_on_start: Whether reservations of a former process end when the queue is opened.
        Otherwise they are valid until their deadlines: a consumer elsewhere may have them.

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.
    """

    path: str | None = None
    durability: Durability = "process"
    commit: CommitIn = "auto"
    timeout: Seconds = 10.0
    on_failure: OnFailure = "error"
    release_on_start: bool = False
    durable: ClassVar[bool] = True
    driver: ClassVar[Driver] = StandardDriver()
    _name: str = attrs.field(default="sqlite", init=False)
    _actor: StoreActor | None = attrs.field(default=None, init=False)
    _journals: dict[str, SqliteJournal] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        if self.path is not None:
            checks.path("path", self.path)
        checks.choice("durability", self.durability, Durability)
        checks.choice("commit", self.commit, CommitIn)
        checks.seconds("timeout", self.timeout, positive=True)
        checks.choice("on_failure", self.on_failure, OnFailure)
        checks.boolean("release_on_start", self.release_on_start)
        checks.done()

    def child(self, place: Place) -> ChildSpec:
        """Return the store's actor as a child."""
        from ._actor import StoreActor  # not when a configuration is only looked at

        self._name = place.name
        self._actor = StoreActor(self, place, self.file(place.name, place.directory))
        return ChildSpec(id=f"store.{place.name}", start=self._actor)

    def file(self, name: str, directory: Path) -> Path:
        """Return where its file is, in a runtime.

        Args:
          name: The store's.
          directory: The runtime's ``data_dir``.
        """
        return Path(self.path) if self.path else directory / f"{name}.sqlite"

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        """Return an engine for a new incarnation of a queue's actor.

        Raises:
          StoreError: If the queue cannot be read; or if the file has one of another kind.
        """
        from queueactors.engines import DurableEngine

        from ._journal import SqliteJournal

        if self._actor is None:
            raise RuntimeError(f"store {self._name!r} is in no runtime")
        journal = self._journals.get(queue)
        if journal is None or journal.kind is not kind:  # another definition of it has failed
            journal = self._journals[queue] = SqliteJournal(queue, kind, self, self._actor, parked)
        return await DurableEngine.open(journal, parked)

    def let_go(self, queue: str) -> None:
        """Drop what is in memory of a queue whose actor is gone; the file keeps it."""
        self._journals.pop(queue, None)
        if self._actor is not None:
            self._actor.on_recovery.pop(queue, None)

    async def forget(self, queue: str) -> None:
        """Remove a queue from the file.

        Raises:
          StoreError: If it is still there, or nobody knows.
        """
        self.let_go(queue)
        if self._actor is not None:
            await self._actor.write(queue)

    def statistics(self) -> StoreStatistics | None:
        """Return its numbers; None: it is in no runtime."""
        return None if self._actor is None else self._actor.statistics()

    def close(self) -> None:
        """Let go of what is in memory, and of the file."""
        self._journals.clear()
        if self._actor is not None:
            self._actor.release()
