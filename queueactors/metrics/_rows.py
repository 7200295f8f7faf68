"""How families are made of numbers: rows say what a field is called, parts have the numbers.

A table of rows for each kind of queue is in `_tables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import attrs

from queueactors._histogram import Buckets

from ._values import Family, FamilyType, Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._values import Value

Numbers = Any  # type: ignore[explicit-any] # each kind's own statistics

NONE: Final = Labels()
OTHER: Final = "_other"  # the name of all those that have no series of their own


@attrs.frozen(kw_only=True)
class Row:
    """What a number is called in the metrics.

    Args:
      field: The attribute that it is, dotted if it is within one, or within a mapping.
      name: The family's, without namespace; several rows may share it, if their labels differ.
      type: The family's.
      help: The family's.
      unit: The family's.
      labels: Those that tell the row from the others of its family.
      merged: How those of several queues become one.
      is_flag: Whether it is True or False, which is 1 or 0.
      is_bare: Whether the name is the whole of it, without namespace.
    """

    field: str
    name: str
    type: FamilyType
    help: str
    unit: str = ""
    labels: Labels = NONE
    merged: Literal["sum", "max"] = "sum"
    is_flag: bool = False
    is_bare: bool = False
    read: Callable[[Numbers], Value | None] = attrs.field(init=False, repr=False, eq=False)

    @read.default
    def _reader(self) -> Callable[[Numbers], Value | None]:
        read = getter(self.field)
        return (lambda numbers: int(read(numbers))) if self.is_flag else read

    def merge(self, numbers: tuple[Numbers, ...]) -> Value | None:
        """Return what the numbers of several become; None: none of them has any."""
        values = [value for each in numbers if (value := self.read(each)) is not None]
        if not values:
            return None
        if isinstance(values[0], Buckets):
            return _added(cast("list[Buckets]", values))
        plain = cast("list[float]", values)
        return max(plain) if self.merged == "max" else sum(plain)


def getter(field: str) -> Callable[[Numbers], Any]:  # type: ignore[explicit-any] # any number
    """Return what reads a field; a dotted one is within an attribute, which may be a mapping."""
    owner, dot, key = field.partition(".")
    if not dot:
        return attrgetter(field)

    def read(numbers: Numbers) -> Any:  # type: ignore[explicit-any] # likewise
        inside = getattr(numbers, owner)
        return inside[key] if isinstance(inside, Mapping) else getattr(inside, key)

    return read


Series = tuple[Labels, tuple[Numbers, ...]]
"""The labels, and the numbers: of one queue, or of several that share them."""


@attrs.frozen
class Part:
    """Some numbers, and what they are called.

    Args:
      table: What they are called.
      series: The numbers.
    """

    table: tuple[Row, ...]
    series: tuple[Series, ...]


def families(namespace: str, parts: tuple[Part, ...]) -> Iterator[Family]:
    """Yield the families that have samples, by name."""
    rows: dict[str, list[tuple[Row, Part]]] = {}
    for part in parts:
        for row in part.table:
            rows.setdefault(row.name, []).append((row, part))
    for name in sorted(rows):
        samples = [
            (labels + row.labels, value)
            for row, part in rows[name]
            for labels, numbers in part.series
            if (value := row.read(numbers[0]) if len(numbers) == 1 else row.merge(numbers))
            is not None
        ]
        if samples:
            row = rows[name][0][0]
            full = f"{namespace}_{name}" if namespace and not row.is_bare else name
            yield Family(full, row.type, row.help, row.unit, tuple(samples))


def _added(values: list[Buckets]) -> Buckets:
    counts = tuple(map(sum, zip(*(each.counts for each in values), strict=True)))
    return Buckets(values[0].bounds, counts, sum(each.sum for each in values))
