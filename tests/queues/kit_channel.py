"""A channel under a supervisor that never gives up."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs

from queueactors import ChannelOptions, ChannelQueue, Clock
from queueactors.queues import KINDS, QueueActor
from supervisors import ChildSpec, Mailbox, open_supervisor

from .kit import NEVER_GIVES_UP, NO_BACKOFF, FaultyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from queueactors.cores.channel import ChannelRecords, Places
    from supervisors import Supervisor


@attrs.define(eq=False)
class ChannelRig:
    """A channel named ``c`` and all its parts."""

    queue: ChannelQueue
    store: FaultyStore
    supervisor: Supervisor
    places: Places

    @property
    def records(self) -> ChannelRecords:
        """What the store keeps, to look at without asking the actor."""
        return self.store.memory._records["c"]  # type: ignore[return-value] # noqa: SLF001


@asynccontextmanager
async def running_channel(
    store: FaultyStore | None = None, *, intensity: int = NEVER_GIVES_UP, **options: object
) -> AsyncIterator[ChannelRig]:
    """Run a channel; crashes restart it at once, however many there are, unless told otherwise."""
    store = FaultyStore() if store is None else store
    given = ChannelOptions(**options)  # type: ignore[arg-type] # the test's
    parts = KINDS["channel"]
    kind = parts.kind("c", given, None)
    actor = QueueActor(
        "c",
        Clock.open(),
        Mailbox("c", given.mailbox),
        lambda parked: store.open_engine("c", kind, parked),
    )
    queue = parts.handle(actor, given, kind)
    assert isinstance(queue, ChannelQueue)
    spec = ChildSpec(id="c", start=actor, backoff=NO_BACKOFF, on_give_up="park")
    async with open_supervisor([spec], intensity=intensity, period=60) as supervisor:
        yield ChannelRig(queue, store, supervisor, kind.places)
