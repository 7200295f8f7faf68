"""``python -m bench``: measure everything and print the table."""

from __future__ import annotations

import argparse
import logging
from functools import partial

import structlog

from bench import _start, _timed
from bench._table import Row, print_table

RAW = "raw trio loop"


def rows(messages: int) -> list[Row]:
    """Return what is measured: the list to extend."""
    timed = [
        Row(
            what=f"timed: insert+reserve+delete, {tasks} task(s), {how}",
            ours=partial(ours, tasks, count),
            peer=partial(raw, tasks, count),
            peer_name=RAW,
        )
        for tasks, count in ((1, messages // 4), (100, messages))
        for how, ours, raw in (
            ("acknowledged", _timed.calls, _timed.raw_calls),
            ("casts", _timed.casts, _timed.raw_casts),
        )
    ]
    return [
        *timed,
        Row(
            what="timed: the same, batches of 100, per message",
            ours=partial(_timed.batches, 100, messages),
            peer=partial(_timed.raw_batches, 100, messages),
            peer_name=RAW,
        ),
        Row(what="start: 1 queue, 1 worker", ours=partial(_start.start_ms, 1), unit="ms"),
        Row(what="start: 1,000 queues, 1 worker", ours=partial(_start.start_ms, 1000), unit="ms"),
        Row(
            what="import",
            ours=partial(_start.import_ms, "import queueactors"),
            peer=partial(_start.import_ms, "import trio, attrs, structlog"),
            peer_name="trio, attrs, structlog",
            unit="ms",
            less_is_better=True,
            rounds=20,
            target="<= 40 ms over the peer",
        ),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--messages", type=int, default=50_000, help="how many messages a round")
    parser.add_argument("--only", default="", help="only the rows with this text in their name")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    wanted = [row for row in rows(options.messages) if options.only in row.what]
    print_table(wanted, options.rounds)


main()
