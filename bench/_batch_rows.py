"""The rows of the batch queue, beside plain sqlite3, and liq's figures as context."""

from __future__ import annotations

from functools import partial
from typing import Final

from bench._batches import SHAPES, WAYS
from bench._durable import MEMORY
from bench._peers import here
from bench._table import Peer, Row
from bench.peers._embedded import MODES

FEWER: Final = 10  # times fewer items, where each is a batch of its own
WHAT: Final = {
    "1": "flush 1",
    "100": "flush 100, batches 10",
    "1000": "flush 1,000, batches 10",
    "merging": "merging, flush 10,000",
}
HOW: Final = {"push": "push", "nowait": "push_nowait", "many": "push_many"}
ELSEWHERE: Final = {
    (MEMORY, "1"): "14,800 /s, json",
    (MEMORY, "100"): "867,000 /s, json",
    (MEMORY, "1000"): "1,130,000 /s, gob",
    ("process", "1"): "6,600 /s, json",
    ("process", "100"): "464,000 /s, json",
    ("process", "1000"): "669,000 /s, json",
    ("process", "merging"): "4,100,000 /s, gob",
    ("power", "1"): "1,500 /s, json",
    ("power", "1000"): "619,000 /s, gob",
}
"""Of liq: Go 1.27.3, 2 cores, wall clock, single runs of as much or more, of an item as large."""


def batches(messages: int) -> list[Row]:
    """Return the rows: what is pushed until it is processed."""

    def row(mode: str, shape: str, way: str) -> Row:
        count = max(messages // FEWER, 1) if shape == "1" else messages
        figure = ELSEWHERE.get((mode, shape)) if way == "push" else None
        return Row(
            what=f"batch: {mode}, {WHAT[shape]}, {HOW[way]}",
            ours=partial(here, "_batches", f"{mode}_{shape}_{way}", count),
            peers=()
            if mode == MEMORY
            else (
                Peer(
                    name="raw sqlite3",
                    measure=partial(here, "_raw_batches", f"{mode}_{shape}", count),
                ),
            ),
            unit="/CPU s" if mode == MEMORY else "/s",
            elsewhere="" if figure is None else f"liq, in Go: {figure}",
        )

    return [row(mode, shape, way) for mode in (MEMORY, *MODES) for shape in SHAPES for way in WAYS]
