"""How the messages of a kind stand in a table: its columns are the fields of their class."""

from __future__ import annotations

import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol, cast

from queueactors._codecs import Encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import msgspec

BITS: Final = 40  # of a row's id for the message's id, above them the queue's number
MOST: Final = (1 << BITS) - 1  # the highest id of a message; at 1 M a second after 12 days
# Other rows that one which is read when it is asked for takes as long as: it may have 256 KiB.
WEIGHT: Final = 16

Row = tuple[object, ...]


class StoredMessage(Protocol):
    """A message as a store sees it: a `msgspec.Struct` whose fields are columns."""

    id: int
    value: object

    @property
    def state(self) -> str:
        """Where it is in its life."""


class Table:
    """A table, and the statements on it.

    The columns are the fields of ``message``, with the name of the value's codec, and the value
    last: what changes stands before what may be long.

    Args:
      name: The table's, and the kind's.
      message: The class of the messages: ``id``, ``value`` and a word, ``state``, first.
      fixed: The fields that never change, beside these two.
      head: What a new queue is beside its messages.
      fresh: What the table says of a message that nothing has happened to yet. So that need not be
        written.
      held: The state of a message that somebody has; then it has a ``key``.
      second: If messages have names (``mid``), each its own: the state in which one may have that
        of another which is not in it. None: they have none.
      by_process: Whether it is this process that has what is held: a new one has none of it.
      together: If each message is a batch, a list of ``size`` items: the states in which those
        with the same key belong together; in all others they have none. Empty: each is one value.
      pack: Makes of a message, in a queue with a codec of that name, its own codec's name and its
        bytes. None: its value is that.
      unpack: Makes of such a value, decoded, what the message has; or raises `CodecError`.
      lazy: If messages are read without their values until somebody asks: the state of those that
        are not. Empty: all are read with their values.
    """

    def __init__(  # noqa: PLR0913 - all keyword-only, but two
        self,
        name: str,
        message: type[msgspec.Struct],
        *,
        fixed: Collection[str],
        head: Mapping[str, int | None],
        fresh: Mapping[str, object],
        held: str = "",
        second: str | None = None,
        by_process: bool = False,
        together: Collection[str] = (),
        pack: Callable[[StoredMessage, str], tuple[str, bytes]] | None = None,
        unpack: Callable[[object], object] | None = None,
        lazy: str = "",
    ) -> None:
        self.name = name
        self.message = message
        self.head = head
        self.held = held
        self.second = second
        self.by_process = by_process
        self.together = frozenset(together)
        facts = message.__struct_fields__[2:]
        early = [field for field in facts if field not in fresh]
        changing = [field for field in facts if field not in fixed]
        self.insert = _insert(name, facts)
        self.insert_fresh = _insert(name, early)
        sets = ", ".join(f"{field} = ?" for field in changing)
        self.update = f"UPDATE {name} SET {sets} WHERE id = ?"
        self.delete = f"DELETE FROM {name} WHERE id = ?"
        kept = "id NOT IN (SELECT value FROM json_each(?))"
        some = f"SELECT id FROM {name} WHERE id BETWEEN ? AND ? AND {kept} LIMIT ?"
        self.clear = f"DELETE FROM {name} WHERE id IN ({some})"
        fields = ", ".join(["id & ?", "value", *facts, "codec"])
        self.select = f"SELECT {fields} FROM {name} WHERE id BETWEEN ? AND ? ORDER BY id"
        self.lazy = lazy
        self.weight = WEIGHT if lazy else 1
        self.usual = fresh.get("state", "ready")  # the state of a new message
        self.unpack = unpack
        self._pack = pack
        light = f"CASE WHEN state = '{lazy}' THEN value END" if lazy else "value"
        fields = ", ".join(["id & ?", light, *facts, "codec"])
        self.select_light = f"SELECT {fields} FROM {name} WHERE id BETWEEN ? AND ? ORDER BY id"
        self.select_value = f"SELECT value, codec FROM {name} WHERE id = ?"
        self._facts = _getter(facts)
        self._early = _getter(early)
        self._changing = _getter(changing)
        self._late = _getter(list(fresh))
        self._fresh = tuple(fresh.values())

    def release(self, messages: Iterable[StoredMessage], at: int) -> list[int]:
        """Let what is held end ``at`` an instant, unless it does earlier; return whose that is."""
        released = []
        for message in messages:
            if message.state == self.held and message.deadline_at > at:  # type: ignore[attr-defined] # such a one has it
                message.deadline_at = at  # type: ignore[attr-defined]
                released.append(message.id)
        return released

    def is_fresh(self, message: StoredMessage) -> bool:
        """Return whether nothing has happened to a message: then a fresh row says all of it."""
        return self._late(message) == self._fresh

    def new_row(self, base: int, codec: str, message: StoredMessage, *, fresh: bool = False) -> Row:
        """Return what `insert` takes for a message, or, for a ``fresh`` one, `insert_fresh`."""
        facts = (self._early if fresh else self._facts)(message)
        value = message.value
        if self._pack is not None:
            own, data = self._pack(message, codec)
            return base | message.id, own, *facts, data
        if type(value) is bytes:
            return base | message.id, codec, *facts, value
        encoded = cast("Encoded", value)
        return base | message.id, encoded.codec, *facts, encoded.data

    def changed_row(self, base: int, message: StoredMessage) -> Row:
        """Return what `update` takes for a message."""
        return *self._changing(message), base | message.id

    def messages(self, rows: list[Row], codec: str) -> list[StoredMessage]:
        """Return the messages of rows of `select`, in a queue with this codec."""
        make, intern = self.message, sys.intern
        messages = []
        for number, value, state, *facts, name in rows:
            if name != codec and value is not None:
                value = Encoded(name, value)  # type: ignore[arg-type] # noqa: PLW2901 - the table's types
            messages.append(make(number, value, intern(state), *facts))  # type: ignore[call-overload] # likewise
        return cast("list[StoredMessage]", messages)


def _insert(table: str, facts: Sequence[str]) -> str:
    columns = ", ".join(["id", "codec", *facts, "value"])
    marks = ", ".join("?" for _ in range(len(facts) + 3))
    return f"INSERT INTO {table} ({columns}) VALUES ({marks})"


def _getter(fields: Sequence[str]) -> Callable[[object], Row]:
    return cast("Callable[[object], Row]", attrgetter(*fields))
