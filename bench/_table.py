"""Runs rows and prints them: each number beside its peers', measured in turn.

To add a row, write functions that return a number and put a `Row` into a list in
`bench.__main__`. A peer that cannot run here raises `NotHereError`; its line says "not run".
"""

from __future__ import annotations

import platform
import statistics
from importlib.metadata import version
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LINE = "{:<58} {:>16} {:>16}  {:<27} {:>7}  {}"


class NotHereError(Exception):
    """The peer cannot run here; the text says why."""


@attrs.frozen(kw_only=True)
class Peer:
    """What a row is compared with.

    Args:
      name: Who that is.
      measure: Returns its number.
      target: The ratio that the design asks for.
    """

    name: str
    measure: Callable[[], float]
    target: str = ""


@attrs.frozen(kw_only=True)
class Row:
    """One measurement: a line of the table for each peer.

    Args:
      what: What is measured.
      ours: Returns our number.
      peers: Whom it is compared with; may be empty.
      unit: Of the numbers.
      less_is_better: Whether the ratio is peer / ours instead of ours / peer.
      rounds: How often it is measured. None: as often as the others.
      target: The number that the design asks for.
      elsewhere: What was measured on another machine: context, never a ratio.
    """

    what: str
    ours: Callable[[], float]
    peers: tuple[Peer, ...] = ()
    unit: str = "/s"
    less_is_better: bool = False
    rounds: int | None = None
    target: str = ""
    elsewhere: str = ""


def measure(row: Row, rounds: int) -> tuple[float, list[float | NotHereError]]:
    """Measure ours and the peers' in turn; return the median of each."""
    ours: list[float] = []
    peers: list[list[float]] = [[] for _ in row.peers]
    not_here: dict[int, NotHereError] = {}
    for _ in range(rounds):
        ours.append(row.ours())
        for number, peer in enumerate(row.peers):
            if number not in not_here:
                try:
                    peers[number].append(peer.measure())
                except NotHereError as error:
                    not_here[number] = error
    return statistics.median(ours), [
        not_here[number] if number in not_here else statistics.median(values)
        for number, values in enumerate(peers)
    ]


def print_table(rows: Iterable[Row], rounds: int) -> None:
    """Measure every row and print it as soon as it is there."""
    print(
        f"ours: CPython {platform.python_version()}, trio {version('trio')}, "
        f"{platform.machine()}; median of {rounds} rounds, ours and the peers' in turn"
    )
    print(LINE.format("what", "ours", "peer", "which", "ratio", "target"))
    not_run: list[str] = []
    elsewhere: list[str] = []
    for row in rows:
        ours, peers = measure(row, row.rounds or rounds)
        for line in _lines(row, ours, peers):
            print(line.rstrip(), flush=True)
        not_run += [f"{row.what}: {each}" for each in peers if isinstance(each, NotHereError)]
        if row.elsewhere:
            elsewhere.append(f"{row.what}: {row.elsewhere}")
    for heading, notes in (
        ("not run:", not_run),
        ("measured by others, on another machine; no ratio can be made of it:", elsewhere),
    ):
        if notes:
            print("\n  ".join([heading, *notes]))


def _lines(row: Row, ours: float, peers: list[float | NotHereError]) -> Iterable[str]:
    """Return the lines of a row: what, ours and its target only on the first."""
    first = (row.what, _number(ours, row.unit))
    if not peers:
        yield LINE.format(*first, "", "", "", row.target)
    own_target = row.target
    for peer, value in zip(row.peers, peers, strict=True):
        told, ratio = "not run", ""
        if not isinstance(value, NotHereError):
            told = _number(value, row.unit)
            if value and ours:
                ratio = f"{value / ours if row.less_is_better else ours / value:.2f}x"
        target = "; ".join(filter(None, (own_target, peer.target)))
        yield LINE.format(*first, told, peer.name, ratio, target)
        first, own_target = ("", ""), ""


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:,.2f} {unit}"
