"""The options of each kind of queue: all that a configuration has to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ._batch_options import BatchOptions
from ._chunk_options import CapacityOptions, LogOptions
from ._options import ChannelOptions, MessageOptions, TimedOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

Options = (
    BatchOptions | CapacityOptions | ChannelOptions | LogOptions | MessageOptions | TimedOptions
)
AnyOptions = Any  # type: ignore[explicit-any] # a name does not tell of what kind its queue is

KIND_OPTIONS: Final[Mapping[str, type[Options]]] = {
    "timed": TimedOptions,
    "message": MessageOptions,
    "batch": BatchOptions,
    "log": LogOptions,
    "capacity": CapacityOptions,
    "channel": ChannelOptions,
}
