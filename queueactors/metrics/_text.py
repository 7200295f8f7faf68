r"""The text formats of metrics: Prometheus' 0.0.4 and OpenMetrics 1.0.0, and which one to send.

They differ in little: OpenMetrics names a counter's family without ``_total``, says units, escapes
quotes in help, and ends in ``# EOF``. Own code rather than prometheus_client's: that takes a
hundred times longer for many queues (73 ms against 0.6 for a thousand).

Source: "Exposition formats" in Prometheus' documentation; the OpenMetrics specification, 1.0.0.
"""

from __future__ import annotations

from itertools import accumulate
from math import inf, isnan
from typing import TYPE_CHECKING, Final, cast

import attrs

from ._values import encodable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from queueactors._histogram import Buckets

    from ._values import Family, Sample, Value

SLICE: Final = 500  # samples
_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
_QUOTED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@attrs.frozen
class Format:
    """A text format.

    Args:
      content_type: What HTTP calls it.
      is_openmetrics: Whether it is that of OpenMetrics.
    """

    content_type: str
    is_openmetrics: bool

    def chunks(self, families: Iterable[Family]) -> Iterator[str]:
        """Yield the text in pieces of a millisecond, so that others may run in between."""
        for family in families:
            yield self._head(family)
            for start in range(0, len(family.samples), SLICE):
                yield _lines(family, family.samples[start : start + SLICE])
        if self.is_openmetrics:
            yield "# EOF\n"

    def _head(self, family: Family) -> str:
        name = family.name
        if family.type == "counter" and not self.is_openmetrics:
            name = f"{name}_total"
        help_ = encodable(family.help).translate(_QUOTED if self.is_openmetrics else _HELP)
        unit = ""
        if family.unit and self.is_openmetrics:
            unit = f"# UNIT {name} {family.unit}\n"
        return f"# HELP {name} {help_}\n# TYPE {name} {family.type}\n{unit}"


TEXT: Final = Format("text/plain; version=0.0.4; charset=utf-8", is_openmetrics=False)
OPENMETRICS: Final = Format(
    "application/openmetrics-text; version=1.0.0; charset=utf-8", is_openmetrics=True
)
_VERSIONS: Final = ("1.0.0", "0.0.1")  # of OpenMetrics, that ours is valid in


def choose_format(accept: str) -> Format:
    """Return the format that an ``Accept`` header wants most; Prometheus' own if none does.

    Source: RFC 9110, section 12.5.1. Nobody is refused: all that can come is one of two texts.
    """
    wanted = {TEXT: 0.0, OPENMETRICS: 0.0}
    for part in accept.split(","):
        media, *parameters = (each.strip().lower() for each in part.split(";"))
        given = dict(each.partition("=")[::2] for each in parameters)
        quality = _quality(given.get("q", "1"))
        version = given.get("version", "").strip('"')
        if media == "application/openmetrics-text" and version in {*_VERSIONS, ""}:
            wanted[OPENMETRICS] = max(wanted[OPENMETRICS], quality)
        elif media in {"text/plain", "text/*"} and version in {"0.0.4", ""}:
            wanted[TEXT] = max(wanted[TEXT], quality)
    return OPENMETRICS if 0 < wanted[OPENMETRICS] >= wanted[TEXT] else TEXT


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def _lines(family: Family, samples: Iterable[Sample]) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    if family.type == "histogram":
        return "".join([_histogram(name, labels.text, value) for labels, value in samples])
    return "".join(
        [
            f"{name}{{{labels.text}}} {value if type(value) is int else _number(value)}\n"
            if labels.pairs
            else f"{name} {_number(value)}\n"
            for labels, value in samples
        ]
    )


def _histogram(name: str, labels: str, buckets: Value) -> str:
    value = cast("Buckets", buckets)
    before = f"{labels}," if labels else ""
    lines = [
        f'{name}_bucket{{{before}le="{_number(float(bound))}"}} {count}\n'
        for bound, count in zip((*value.bounds, inf), accumulate(value.counts), strict=True)
    ]
    after = f"{{{labels}}}" if labels else ""
    return (
        f"{''.join(lines)}{name}_count{after} {value.n}\n{name}_sum{after} {_number(value.sum)}\n"
    )


def _number(number: Value) -> str:
    value = cast("float", number)
    if isinstance(value, int):
        return str(int(value))
    if isnan(value):
        return "NaN"
    if value in {inf, -inf}:
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
