"""How the messages of a kind stand in a table: its columns are the fields of their class."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol, cast

import attrs

from queueactors._codecs import Encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

BITS: Final = 40  # of a row's id for the message's id, above them the queue's number
MOST: Final = (1 << BITS) - 1  # the highest id of a message; at 1 M a second after 12 days

Row = tuple[object, ...]


class StoredMessage(Protocol):
    """A message as a store sees it: a `msgspec.Struct` whose fields are columns."""

    id: int
    value: object


@attrs.frozen
class Table:
    """A table, and the statements on it.

    The columns are the fields of ``message``, with the name of the value's codec, and the value
    last: what changes stands before what may be long.

    Args:
      name: The table's, and the kind's.
      message: The class of the messages: ``id`` and ``value`` first.
      fixed: The fields that never change, beside these two.
    """

    name: str
    message: type[msgspec.Struct]
    fixed: frozenset[str]
    insert: str = attrs.field(init=False)
    update: str = attrs.field(init=False)
    delete: str = attrs.field(init=False)
    clear: str = attrs.field(init=False)
    select: str = attrs.field(init=False)
    _facts: Callable[[object], Row] = attrs.field(init=False)
    _changing: Callable[[object], Row] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        facts = self.message.__struct_fields__[2:]
        changing = [field for field in facts if field not in self.fixed]
        columns = ", ".join(["id", "codec", *facts, "value"])
        marks = ", ".join("?" for _ in range(len(facts) + 3))
        put = object.__setattr__
        put(self, "insert", f"INSERT INTO {self.name} ({columns}) VALUES ({marks})")
        sets = ", ".join(f"{field} = ?" for field in changing)
        put(self, "update", f"UPDATE {self.name} SET {sets} WHERE id = ?")
        put(self, "delete", f"DELETE FROM {self.name} WHERE id = ?")
        kept = "id NOT IN (SELECT value FROM json_each(?))"
        put(self, "clear", f"DELETE FROM {self.name} WHERE id BETWEEN ? AND ? AND {kept}")
        fields = ", ".join(["id & ?", "value", *facts, "codec"])
        select = f"SELECT {fields} FROM {self.name} WHERE id BETWEEN ? AND ? ORDER BY id"
        put(self, "select", select)
        put(self, "_facts", attrgetter(*facts))
        put(self, "_changing", attrgetter(*changing))

    def new_row(self, base: int, codec: str, message: StoredMessage) -> Row:
        """Return what `insert` takes for a message."""
        value = message.value
        if type(value) is bytes:
            return base | message.id, codec, *self._facts(message), value
        encoded = cast("Encoded", value)
        return base | message.id, encoded.codec, *self._facts(message), encoded.data

    def changed_row(self, base: int, message: StoredMessage) -> Row:
        """Return what `update` takes for a message."""
        return *self._changing(message), base | message.id

    def read(self, row: Row, codec: str) -> StoredMessage:
        """Return the message of a row of `select`, in a queue with this codec."""
        *fields, name = row
        if name != codec:
            fields[1] = Encoded(cast("str", name), cast("bytes", fields[1]))
        return cast("StoredMessage", self.message(*fields))
