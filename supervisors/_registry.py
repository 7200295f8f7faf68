"""Names of things that children own: registered by a child, gone when the child ends.

A registry is a value that a root supervisor owns and its whole tree shares; there is no global
one. Source: Elixir's ``Registry`` with unique keys, OTP's name registration.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

import attrs
import trio

from ._errors import NameTakenError, NotRegisteredError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Owner(Protocol):
        """A child that can own a name: `ChildStatus` is one."""

        @property
        def path(self) -> str: ...
        @property
        def phase(self) -> str: ...
        @property
        def at_end(self) -> list[Callable[[], None]]: ...


@attrs.frozen
class RegistryEvent:
    """What a listener is told.

    Args:
      kind: What happened.
      name: To which name.
      value: What the name stood, or stands, for.
    """

    kind: Literal["registered", "unregistered"]
    name: str
    value: object


@attrs.frozen
class _Entry:
    value: object
    owner: Owner


@attrs.define(eq=False)
class Registry:
    """A table of unique names."""

    _entries: dict[str, _Entry] = attrs.field(factory=dict, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _listeners: list[trio.MemorySendChannel[RegistryEvent]] = attrs.field(factory=list, init=False)

    def __getitem__(self, name: str) -> object:
        entry = self._live(name)
        if entry is None:
            raise NotRegisteredError(name, self.names())
        return entry.value

    def __len__(self) -> int:
        return len(self.names())

    def register(self, name: str, value: object, *, owner: Owner | None = None) -> None:
        """Let ``name`` stand for ``value`` until the owner ends.

        Args:
          name: Unique among the live owners' names.
          value: Anything.
          owner: A child; None: the supervised child that calls.

        Raises:
          NameTakenError: If another entry of that name has a live owner. A dead owner's name
            can be taken at once.
          RuntimeError: If the calling task belongs to no supervised child.
        """
        if owner is None:
            from ._child import current_child

            owner = current_child()
        taken = self._live(name)
        if taken is not None:
            raise NameTakenError(name, taken.owner.path)
        entry = self._entries[name] = _Entry(value, owner)
        owner.at_end.append(lambda: self._remove(name, entry))
        self._tell(RegistryEvent("registered", name, value))

    def unregister(self, name: str) -> None:
        """Remove a name. One that is not there: nothing happens."""
        entry = self._entries.get(name)
        if entry is not None:
            self._remove(name, entry)

    def whereis(self, name: str) -> object | None:
        """Return what ``name`` stands for, or None: a snapshot, its owner may end any time."""
        entry = self._live(name)
        return None if entry is None else entry.value

    def names(self, pattern: str = "*") -> tuple[str, ...]:
        """Return the names that match a shell pattern, sorted."""
        return tuple(
            sorted(
                name
                for name, entry in self._entries.items()
                if entry.owner.phase != "ended" and fnmatchcase(name, pattern)
            )
        )

    async def wait_for(self, name: str) -> object:
        """Wait until ``name`` is registered; return what it stands for.

        If the wait is cancelled, nothing has changed.
        """
        await trio.lowlevel.checkpoint()
        while (entry := self._live(name)) is None:
            await self._changed.wait()
        return entry.value

    def listen(self) -> trio.MemoryReceiveChannel[RegistryEvent]:
        """Return a channel of all changes from now on, in order; close it to stop.

        It buffers without limit.
        """
        send: trio.MemorySendChannel[RegistryEvent]
        receive: trio.MemoryReceiveChannel[RegistryEvent]
        send, receive = trio.open_memory_channel(float("inf"))
        self._listeners.append(send)
        return receive

    def _live(self, name: str) -> _Entry | None:
        entry = self._entries.get(name)
        return None if entry is None or entry.owner.phase == "ended" else entry

    def _remove(self, name: str, entry: _Entry) -> None:
        if self._entries.get(name) is entry:
            del self._entries[name]
            self._tell(RegistryEvent("unregistered", name, entry.value))

    def _tell(self, event: RegistryEvent) -> None:
        self._changed.set()
        self._changed = trio.Event()
        for listener in list(self._listeners):
            try:
                listener.send_nowait(event)
            except trio.BrokenResourceError:
                self._listeners.remove(listener)
