"""Runs rows and prints them: each number beside its peer's, measured in turn.

To add a row, write two functions that return a number and put a `Row` into a list in
`bench.__main__`. A peer that cannot run here raises `NotHereError`; its row says "not run".
"""

from __future__ import annotations

import platform
import statistics
from importlib.metadata import version
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class NotHereError(Exception):
    """The peer is not installed."""


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table.

    Args:
      what: What is measured.
      ours: Returns our number.
      peer: Returns the peer's. None: there is none.
      peer_name: Who that is.
      unit: Of the numbers.
      less_is_better: Whether the ratio is peer / ours instead of ours / peer.
      rounds: How often it is measured. None: as often as the others.
      target: The ratio, or for a row without a peer the number, that the design asks for.
    """

    what: str
    ours: Callable[[], float]
    peer: Callable[[], float] | None = None
    peer_name: str = ""
    unit: str = "/s"
    less_is_better: bool = False
    rounds: int | None = None
    target: str = ""


def median_pairs(row: Row, rounds: int) -> tuple[float, float | None]:
    """Measure ours and the peer's in turn; return the median of each."""
    ours: list[float] = []
    peers: list[float] = []
    for _ in range(rounds):
        ours.append(row.ours())
        if row.peer is not None:
            try:
                peers.append(row.peer())
            except NotHereError:
                peers.clear()
                break
    return statistics.median(ours), statistics.median(peers) if peers else None


def print_table(rows: Iterable[Row], rounds: int) -> None:
    """Measure every row and print it as soon as it is there."""
    print(
        f"CPython {platform.python_version()}, trio {version('trio')}, {platform.machine()}; "
        f"median of {rounds} rounds, ours and the peer's in turn"
    )
    line = "{:<58} {:>13} {:>13}  {:<26} {:>7}  {}"
    print(line.format("what", "ours", "peer", "which", "ratio", "target"))
    for row in rows:
        ours, peer = median_pairs(row, row.rounds or rounds)
        ratio = ""
        if peer:
            ratio = f"{peer / ours if row.less_is_better else ours / peer:.2f}x"
        told = "" if row.peer is None else "not run" if peer is None else _number(peer, row.unit)
        print(
            line.format(row.what, _number(ours, row.unit), told, row.peer_name, ratio, row.target),
            flush=True,
        )


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:,.2f} {unit}"
