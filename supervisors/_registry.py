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

    from ._spec import Value

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
    value: Value


@attrs.frozen(eq=False)
class _Entry:
    value: Value
    owner: Owner


@attrs.define(eq=False)
class Registry:
    """A table of unique names."""

    _entries: dict[str, _Entry] = attrs.field(factory=dict, init=False)
    # By owner, so that it needs one cleanup however often it registers and unregisters.
    _owned: dict[Owner, dict[str, _Entry]] = attrs.field(factory=dict, init=False)
    _awaited: dict[str, trio.Event] = attrs.field(factory=dict, init=False)
    _listeners: list[trio.MemorySendChannel[RegistryEvent]] = attrs.field(factory=list, init=False)

    def __getitem__(self, name: str) -> Value:
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
          RuntimeError: If the calling task belongs to no supervised child, or the owner has ended.
        """
        if owner is None:
            from ._child import current_child

            owner = current_child()
        if owner.phase == "ended":
            raise RuntimeError(f"child {owner.path!r} has ended: it cannot own {name!r}")
        taken = self._entries.get(name)
        if taken is not None:
            if taken.owner.phase != "ended":
                raise NameTakenError(name, taken.owner.path)
            self._remove(name, taken)
        owned = self._owned.get(owner)
        if owned is None:
            owned = self._owned[owner] = {}
            owner.at_end.append(lambda: self._disown(owner))
        owned[name] = self._entries[name] = _Entry(value, owner)
        self._tell(RegistryEvent("registered", name, value))
        awaited = self._awaited.pop(name, None)
        if awaited is not None:
            awaited.set()

    def unregister(self, name: str) -> None:
        """Remove a name. One that is not there: nothing happens."""
        entry = self._entries.get(name)
        if entry is not None:
            self._remove(name, entry)

    def whereis(self, name: str) -> Value:
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

    async def wait_for(self, name: str) -> Value:
        """Wait until ``name`` is registered; return what it stands for.

        If the wait is cancelled, nothing has changed.
        """
        await trio.lowlevel.checkpoint()
        while (entry := self._live(name)) is None:
            event = self._awaited.setdefault(name, trio.Event())
            try:
                await event.wait()
            finally:
                if not event.statistics().tasks_waiting and self._awaited.get(name) is event:
                    del self._awaited[name]
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
            del self._owned[entry.owner][name]
            self._tell(RegistryEvent("unregistered", name, entry.value))

    def _disown(self, owner: Owner) -> None:
        for name, entry in reversed(list(self._owned[owner].items())):
            self._remove(name, entry)
        del self._owned[owner]

    def _tell(self, event: RegistryEvent) -> None:
        for listener in list(self._listeners):
            try:
                listener.send_nowait(event)
            except trio.BrokenResourceError:
                self._listeners.remove(listener)
