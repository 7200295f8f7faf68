"""What metrics are: families of samples, frozen, as text formats know them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

import attrs

from queueactors._histogram import Buckets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._rows import Part

FamilyType = Literal["counter", "gauge", "histogram"]
Value = int | float | Buckets

NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# What a text format adds to a name, by itself, must not be there already.
_RESERVED: Final = ("_total", "_bucket", "_count", "_sum", "_created", "_info")


_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@attrs.frozen(init=False)
class Labels:
    """What tells a sample from the others of its family; iterate over it for names and values.

    Args:
      pairs: Names and values.

    Raises:
      ValueError: If a label's name is none.
    """

    pairs: tuple[tuple[str, str], ...]
    text: str = attrs.field(eq=False, repr=False)
    """As both text formats have them, without the braces: made once, and used in each line."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        for name, _ in pairs:
            if not NAME.fullmatch(name) or name.startswith("__") or name == "le":
                raise ValueError(f"expected a label to be letters, digits and _, got {name!r}")
        told = [f'{name}="{encodable(value).translate(_ESCAPES)}"' for name, value in pairs]
        self.__attrs_init__(pairs, ",".join(told))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __add__(self, other: Labels) -> Labels:
        """Return these and others together."""
        if not other.pairs:
            return self
        both = Labels.__new__(Labels)
        text = f"{self.text},{other.text}" if self.text else other.text
        both.__attrs_init__(self.pairs + other.pairs, text)
        return both


Sample = tuple[Labels, Value]
"""Its labels, and one number, or of a histogram its `Buckets`.

No class: making an object of each of 25,000 takes longer than anything else.
"""


def encodable(text: str) -> str:
    """Return a text that UTF-8 can write: half a surrogate pair, by its number."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@attrs.frozen
class Family:
    """All samples of one name.

    Args:
      name: Without the ``_total`` that a text format gives to a counter.
      type: What the numbers are.
      help: What they mean.
      unit: What they are measured in; the name ends in it. Empty: they are counts.
      samples: The numbers, by labels.

    Raises:
      ValueError: If that is no name for a family, or does not end in its unit.
    """

    name: str
    type: FamilyType
    help: str
    unit: str = ""
    samples: tuple[Sample, ...] = ()

    def __attrs_post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or self.name.endswith(_RESERVED):
            told = f"letters, digits and _, without one of {', '.join(_RESERVED)} at its end"
            raise ValueError(f"expected name to be {told}, got {self.name!r}")
        if self.unit and not self.name.endswith(f"_{self.unit}"):
            raise ValueError(f"expected name to end in _{self.unit}, its unit, got {self.name!r}")


@attrs.frozen
class Metrics:
    """All numbers of a runtime at one instant; nothing changes in it any more.

    ``str()`` is `text`.
    """

    _namespace: str
    _parts: tuple[Part, ...] = attrs.field(repr=False)

    def __str__(self) -> str:
        return self.text()

    def __iter__(self) -> Iterator[Family]:
        """Yield the families that have samples, by name; each is made when it is asked for."""
        from ._rows import families

        return families(self._namespace, self._parts)

    @property
    def families(self) -> tuple[Family, ...]:
        """All families that have samples, by name."""
        return tuple(self)

    def value(self, name: str, **labels: str) -> Value:
        """Return one number, or histogram.

        Args:
          name: The family's.
          **labels: All labels of the sample, in any order.

        Raises:
          LookupError: If there is no such sample.
        """
        for family in self:
            if family.name == name:
                for known, value in family.samples:
                    if dict(known) == labels:
                        return value
        raise LookupError(f"there is no {name} with labels {labels!r}")

    def text(self) -> str:
        """Return all of it in Prometheus' text format, version 0.0.4."""
        from ._text import TEXT

        return "".join(TEXT.chunks(self))

    def openmetrics(self) -> str:
        """Return all of it in the text format of OpenMetrics, version 1.0.0."""
        from ._text import OPENMETRICS

        return "".join(OPENMETRICS.chunks(self))
