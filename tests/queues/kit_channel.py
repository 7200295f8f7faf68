"""A channel under a supervisor that never gives up."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import attrs

from queueactors import ChannelQueue

from .kit import NEVER_GIVES_UP, FaultyStore, running_kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from queueactors.cores.channel import ChannelRecords, Places
    from queueactors.queues._channel import ChannelKind
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
    async with running_kind(ChannelQueue, "c", store, intensity=intensity, **options) as rig:
        yield ChannelRig(rig.queue, rig.store, rig.supervisor, cast("ChannelKind", rig.kind).places)
