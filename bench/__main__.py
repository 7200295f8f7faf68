"""``python -m bench``: measure everything and print the table."""

from __future__ import annotations

import argparse
import logging
from functools import partial

import structlog

from bench import _start, _timed
from bench._peers import Environment, ours
from bench._table import Peer, Row, print_table

RAW = "raw trio loop"
TRIOTP = Environment(
    name="triotp",
    script="on_triotp.py",
    requires=("triotp==0.3.1", "trio==0.35.0"),
    least=(3, 13),
)
PYKKA = Environment(name="pykka", script="on_pykka.py", requires=("pykka==4.5.0",), least=(3, 11))
CPU = "/CPU s"


def timed(messages: int) -> list[Row]:
    """Return the rows of the timed queue."""
    cycles = [
        Row(
            what=f"timed: insert+reserve+delete, {tasks} task(s), {how}",
            ours=partial(our, tasks, count),
            peers=(Peer(name=RAW, measure=partial(raw, tasks, count)),),
        )
        for tasks, count in ((1, messages // 4), (100, messages))
        for how, our, raw in (
            ("acknowledged", _timed.calls, _timed.raw_calls),
            ("casts", _timed.casts, _timed.raw_casts),
        )
    ]
    return [
        *cycles,
        Row(
            what="timed: the same, batches of 100, per message",
            ours=partial(_timed.batches, 100, messages),
            peers=(Peer(name=RAW, measure=partial(_timed.raw_batches, 100, messages)),),
        ),
    ]


def starts() -> list[Row]:
    """Return the rows of starting and importing."""
    return [
        Row(what="start: 1 queue, 1 worker", ours=partial(_start.start_ms, 1), unit="ms"),
        Row(what="start: 1,000 queues, 1 worker", ours=partial(_start.start_ms, 1000), unit="ms"),
        Row(
            what="import",
            ours=partial(_start.import_ms, "import queueactors"),
            peers=(
                Peer(
                    name="trio, attrs, structlog",
                    measure=partial(_start.import_ms, "import trio, attrs, structlog"),
                ),
            ),
            unit="ms",
            less_is_better=True,
            rounds=20,
            target="<= 40 ms over the peer",
        ),
    ]


def supervision(messages: int, actors: int) -> list[Row]:
    """Return the rows of supervisors and actors.

    Figures of OTP 25.2.3: two schedulers, wall clock, of the machine whose bare trio makes
    430,000 checkpoints a second.
    """

    def row(  # noqa: PLR0913 - all keyword-only, but the first three
        what: str,
        measure: str,
        count: int,
        *peers: tuple[Environment, str],
        unit: str = CPU,
        less_is_better: bool = False,
        rounds: int | None = None,
        target: str = "",
        elsewhere: str = "",
    ) -> Row:
        return Row(
            what=what,
            ours=partial(ours, measure, count),
            peers=tuple(
                Peer(
                    name=environment.name,
                    measure=partial(environment.measure, measure, count),
                    target=ratio,
                )
                for environment, ratio in peers
            ),
            unit=unit,
            less_is_better=less_is_better,
            rounds=rounds,
            target=target,
            elsewhere=elsewhere,
        )

    triotp, pykka = (TRIOTP, ""), (PYKKA, "")
    wall = partial(row, unit="s", less_is_better=True, rounds=1)
    return [
        row(
            "yardstick: bare trio checkpoints",
            "checkpoints",
            4 * messages,
            triotp,
            elsewhere="430,000 /CPU s on CPython 3.11, 400,000 on 3.13",
        ),
        row(
            "supervision: start, initialised",
            "start",
            actors,
            triotp,
            pykka,
            elsewhere="OTP 25: 210,000 to 247,000 /s",
        ),
        row(
            "supervision: crash and restart, initialised",
            "restart",
            messages // 2,
            triotp,
            target=">= 30,000 /CPU s",
            elsewhere="OTP 25: 170,000 to 240,000 /s",
        ),
        row(
            "supervision: stop, in order",
            "stop",
            actors,
            triotp,
            pykka,
            elsewhere="OTP 25: 185,000 to 197,000 /s",
        ),
        row(
            "actor: calls, 1 caller",
            "calls_1",
            messages,
            triotp,
            pykka,
            elsewhere="OTP 25: 945,000 /s",
        ),
        row(
            "actor: calls, 100 callers",
            "calls_100",
            messages,
            (TRIOTP, ">= 8x"),
            (PYKKA, ">= 5x"),
            elsewhere="OTP 25: 990,000 to 1,460,000 /s",
        ),
        row("actor: casts", "casts", 2 * messages, triotp, pykka, elsewhere="OTP 25: 9,700,000 /s"),
        wall(f"{actors:,} actors: start", "many_start", actors, triotp, pykka, target="< 5 s"),
        wall(
            f"{actors:,} actors: CPU when idle",
            "many_idle",
            actors,
            triotp,
            pykka,
            unit="ms/s",
            target="none",
        ),
        wall(f"{actors:,} actors: stop", "many_stop", actors, triotp, pykka),
        wall(
            f"{actors:,} actors: memory of each",
            "memory",
            actors,
            triotp,
            pykka,
            unit="kB",
            target="<= 12 kB",
            elsewhere="OTP 25: 3.1 kB",
        ),
    ]


def rows(messages: int, actors: int) -> list[Row]:
    """Return what is measured: the list to extend."""
    return [*timed(messages), *starts(), *supervision(messages, actors)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--messages", type=int, default=50_000, help="how many messages a round")
    parser.add_argument("--actors", type=int, default=10_000, help="how many actors and children")
    parser.add_argument("--only", default="", help="only the rows with this text in their name")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    wanted = [row for row in rows(options.messages, options.actors) if options.only in row.what]
    names = {peer.name for row in wanted for peer in row.peers}
    for environment in (TRIOTP, PYKKA):
        if environment.name in names:
            print(environment.describe())
    print_table(wanted, options.rounds)


if __name__ == "__main__":
    main()
