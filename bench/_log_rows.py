"""The rows of log and capacity queues, beside rocksq."""

from __future__ import annotations

from functools import partial
from typing import Final

from bench._peers import Environment, here
from bench._stores import ROCKSQ, SLOW
from bench._table import Peer, Row
from bench.peers._logs import SHAPES, WORKS

ROCKSQ_LOGS: Final = Environment(
    name=ROCKSQ.name,
    script="on_rocksq_logs.py",
    requires=ROCKSQ.requires,
    least=ROCKSQ.least,
    below=ROCKSQ.below,
)
WAYS: Final = {"rocksq": "", "rocksq, in threads": "_threads", "rocksq, polled": "_polled"}
HOW: Final = {"1": "1 task", "batch": "batches of 100", "50": "50 tasks"}


def logs(messages: int, cycles: int) -> list[Row]:
    """Return the rows.

    Args:
      messages: How many items a round, fewer where each is a call.
      cycles: How many items come and go before the file's size is taken, and are in it when it is
        opened again.
    """

    def peers(measure: str, count: int, target: str = "") -> tuple[Peer, ...]:
        return tuple(
            Peer(
                name=name,
                measure=partial(ROCKSQ_LOGS.measure, f"{measure}{way}", count),
                target=target,
            )
            for name, way in WAYS.items()
        )

    found = []
    for work in WORKS:
        for shape in SHAPES:
            count = messages if shape == "batch" else max(messages // SLOW, 100)
            target = "" if shape == "1" else ">= 1x"
            found += [
                Row(
                    what=f"log: {mode}, {work}, {HOW[shape]}",
                    ours=partial(here, "_logs", f"{mode}_{work}_{shape}", count),
                    peers=peers(f"{work}_{shape}", count, target) if mode == "process" else (),
                )
                for mode in ("process", "power", "memory")
            ]
        found += [
            Row(
                what=f"log: process, {work}, 1 task, {name}",
                ours=partial(here, "_logs", f"process_{work}_{name}", messages // SLOW),
                peers=peers(f"{work}_{name}", messages // SLOW)[:1],
                unit="us",
                less_is_better=True,
            )
            for name in ("p50", "p99", "max")
        ]
    found += [
        Row(
            what=f"log: {what}, {cycles:,} items",
            ours=partial(here, "_logs", f"process_{measure}", cycles),
            peers=peers(measure, cycles)[:1],
            unit=unit,
            less_is_better=True,
            rounds=1,
        )
        for what, measure, unit in (
            ("size after cycles", "size", "MB"),
            ("opened again", "reopen", "ms"),
        )
    ]
    found += [
        Row(
            what=f"log: a chunk of 100 items by itself, {mode}, a row",
            ours=partial(here, "_logs", f"{mode}_rows", messages),
            peers=(
                Peer(
                    name="appended to a file",
                    measure=partial(here, "_logs", f"{mode}_segments", messages),
                ),
            ),
        )
        for mode in ("process", "power")
    ]
    return found
