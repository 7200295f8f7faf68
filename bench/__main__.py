"""``python -m bench``: measure everything and print the table."""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from functools import partial
from pathlib import Path

import structlog

from bench import (
    _channel,
    _daemon,
    _deep,
    _job_rows,
    _metrics,
    _pauses,
    _redis_rows,
    _start,
)
from bench._batch_rows import batches
from bench._job_rows import jobs
from bench._log_rows import logs
from bench._peers import Environment, Reference, here
from bench._redis_rows import redis
from bench._stores import ENVIRONMENTS, describe_disk, stores
from bench._table import Peer, Row, print_table

TRIOTP = Environment(
    name="triotp",
    script="on_triotp.py",
    requires=("triotp==0.3.1", "trio==0.35.0"),
    least=(3, 13),
)
PYKKA = Environment(name="pykka", script="on_pykka.py", requires=("pykka==4.5.0",), least=(3, 11))
BEANSTALKD = Environment(
    name="beanstalkd, by greenstalk",
    script="on_beanstalkd.py",
    requires=("greenstalk==2.1.1",),
    least=(3, 11),
)
CPU = "/CPU s"
SHALLOW, MIDDLE = 1_000, 100_000  # messages
CYCLES = 100_000  # messages that come and go before the size of a file is taken


def timed(messages: int, reference: Reference) -> list[Row]:
    """Return the rows of the timed queue, a thousand messages deep."""

    def row(what: str, measure: str, count: int, *peers: tuple[str, str, str]) -> Row:
        """Make a row; a peer is its name, its measure and its target."""
        there: dict[str, Environment | Reference] = {
            reference.name: reference,
            BEANSTALKD.name: BEANSTALKD,
        }
        return Row(
            what=f"timed: insert+reserve+delete, {what}",
            ours=partial(here, "_timed", measure, count),
            peers=tuple(
                Peer(
                    name=name,
                    measure=partial(there[name].measure, its_measure, count)
                    if name in there
                    else partial(here, "_plain", its_measure, count),
                    target=target,
                )
                for name, its_measure, target in peers
            ),
            unit=CPU,
        )

    def plain(measure: str) -> list[tuple[str, str, str]]:
        return [
            ("raw trio loop", f"raw_{measure}", ""),
            ("trio channel: send, receive", f"channel_{measure}", ""),
            ("asyncio.Queue: put, get", f"asyncio_{measure}", ""),
        ]

    otp = reference.name
    few = messages // 4
    return [
        row(
            "1 task, acknowledged",
            "calls_1",
            few,
            (otp, "cycles_1", ""),
            (BEANSTALKD.name, "cycles_1", ""),
            *plain("calls_1"),
        ),
        row("1 task, casts", "casts_1", few, (otp, "cycles_1", ""), *plain("casts_1")),
        row(
            "100 tasks, acknowledged",
            "calls_100",
            messages,
            (otp, "cycles_100", ">= 0.6x"),
            (BEANSTALKD.name, "cycles_100", ""),
            *plain("calls_100"),
        ),
        row(
            "100 tasks, casts",
            "casts_100",
            messages,
            (otp, "cycles_100", ">= 1.0x"),
            *plain("casts_100"),
        ),
        row("batches of 100", "batches", messages, (otp, "batches", ">= 4x"), *plain("batches")),
    ]


def channels(messages: int) -> list[Row]:
    """Return the rows of the channel queue, beside channels without a name."""

    def row(what: str, measure: str, sends: str, producers: int, target: str = "") -> Row:
        """Make a row; ``sends``: how the peers send."""
        return Row(
            what=f"channel: {what}, {producers} producer{'s' if producers > 1 else ''}",
            ours=partial(here, "_channel", f"{measure}_{producers}", messages),
            peers=tuple(
                Peer(
                    name=name,
                    measure=partial(
                        here, "_plain_channel", f"{peer}_{sends}_{producers}", messages
                    ),
                    target=target if peer == "trio" and producers == 1 else "",
                )
                for name, peer in (("trio memory channel", "trio"), ("asyncio.Queue", "asyncio"))
            ),
            unit=CPU,
        )

    return [
        each
        for producers in _channel.PRODUCERS
        for each in (
            row("send, recv", "send_recv", "send", producers, ">= 0.5x"),
            row("send_nowait, recv", "nowait_recv", "nowait", producers),
            *(
                row(
                    f"send_nowait, recv_many({limit})",
                    f"nowait_many_{limit}",
                    "nowait",
                    producers,
                    ">= 3x" if limit == max(_channel.LIMITS) else "",
                )
                for limit in _channel.LIMITS
            ),
        )
    ]


def deep(depth: int) -> list[Row]:
    """Return the rows of a deep timed queue; its peer is itself, less deep."""
    depths = sorted({min(SHALLOW, depth), min(MIDDLE, depth)})
    operations = [
        Row(
            what=f"timed core, {depth:,} deep: {name}",
            ours=partial(here, "_deep", name, depth),
            peers=tuple(
                Peer(
                    name=f"the same, {less:,} deep",
                    measure=partial(here, "_deep", name, less),
                    target=">= 0.5x" if name == "reserve" and less == depths[0] else "",
                )
                for less in depths
            ),
            unit=CPU,
        )
        for name in _deep.OPERATIONS
    ]
    memory = [
        Row(
            what=f"timed core, {depth:,} deep: memory of a message{state}",
            ours=partial(here, "_deep", measure, depth),
            unit="B",
            rounds=1,
            target=target,
        )
        for state, measure, target in (
            ("", "memory", "<= 350 B"),
            (", reserved", "memory_reserved", ""),
        )
    ]
    pauses = [
        Row(
            what=f"timed: pause, {depth:,} messages, {what}",
            ours=partial(here, "_pauses", measure, depth),
            unit="CPU ms",
            rounds=1,
            target="<= 20 ms",
        )
        for measure, what in _pauses.WHAT.items()
    ]
    return [*operations, *memory, *pauses]


def starts() -> list[Row]:
    """Return the rows of starting and importing."""
    return [
        Row(what="start: check of 1 queue", ours=partial(_start.check_ms, 1), unit="ms"),
        Row(
            what="start: check of 1,000 queues",
            ours=partial(_start.check_ms, 1000),
            unit="ms",
            target="< 300 ms",
        ),
        Row(what="start: 1 queue, 1 worker", ours=partial(_start.start_ms, 1), unit="ms"),
        Row(what="start: 1,000 queues, 1 worker", ours=partial(_start.start_ms, 1000), unit="ms"),
        Row(
            what="import",
            ours=partial(_start.import_ms, "from queueactors import open_runtime"),
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


def metrics(operations: int) -> list[Row]:
    """Return the rows of the metrics."""
    queues = _metrics.QUEUES
    return [
        Row(
            what="metrics: cost per operation, alone in its turn",
            ours=partial(here, "_metrics", "operation", operations),
            unit="CPU ns",
            target="<= 200 ns",
        ),
        *(
            Row(
                what=f"metrics: scrape of {queues:,} queues, {what}",
                ours=partial(here, "_metrics", measure, queues),
                unit="CPU ms",
                rounds=1,
                target=target,
            )
            for measure, what, target in (
                ("snapshot", "numbers", ""),
                ("text", "text", ""),
                ("piece", "longest piece", "<= 10 ms"),
            )
        ),
        *(
            Row(
                what=f"top: {queues:,} idle queues, {what}",
                ours=partial(here, "_metrics", measure, queues),
                unit=unit,
                rounds=1,
                target=target,
            )
            for measure, what, unit, target in (
                ("top", "each second", "CPU ms", "< 10 ms: 1 % of a core"),
                ("top_piece", "longest piece", "CPU ms", "<= 10 ms"),
                ("top_bytes", "sent each second", "bytes", ""),
            )
        ),
        *(
            Row(
                what=f"top: {count:,} idle queues, of a whole daemon",
                ours=partial(_daemon.watched_ms, count, min(20.0, operations / 2500)),
                unit="CPU ms/s",
                rounds=1,
                target="< 10 ms/s: 1 % of a core",
            )
            for count in (100, queues)
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
            ours=partial(here, "_supervision", measure, count),
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


def rows(
    messages: int, actors: int, depth: int, reference: Reference, cycles: int = CYCLES
) -> list[Row]:
    """Return what is measured: the list to extend."""
    return [
        *timed(messages, reference),
        *channels(messages),
        *deep(depth),
        *stores(messages, cycles, depth),
        *jobs(messages),
        *batches(messages),
        *logs(messages, cycles),
        *redis(messages, depth),
        *starts(),
        *metrics(messages),
        *supervision(messages, actors),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--messages", type=int, default=50_000, help="how many messages a round")
    parser.add_argument("--actors", type=int, default=10_000, help="how many actors and children")
    parser.add_argument("--depth", type=int, default=1_000_000, help="of a deep queue")
    parser.add_argument(
        "--cycles", type=int, default=CYCLES, help="before the size of a store's file is taken"
    )
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="where stores are measured; default: the system's"
    )
    parser.add_argument("--only", default="", help="only the rows with this text in their name")
    parser.add_argument("--erl", default="erl", help="the emulator of OTP")
    parser.add_argument(
        "--timed-queue", type=Path, metavar="DIR", help="a compiled checkout of timed_queue"
    )
    options = parser.parse_args()
    if options.dir is not None:
        if not (options.dir.is_dir() and os.access(options.dir, os.W_OK | os.X_OK)):
            parser.error(f"expected --dir to be a directory to write to, got {options.dir}")
        os.environ["TMPDIR"] = str(options.dir.resolve())  # of all measuring processes, too
        tempfile.tempdir = None  # here: it may have been asked for already
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    reference = Reference(erl=options.erl, folder=options.timed_queue)
    wanted = [
        row
        for row in rows(options.messages, options.actors, options.depth, reference, options.cycles)
        if options.only in row.what
    ]
    names = {peer.name for row in wanted for peer in row.peers}
    stores_and_jobs = (*ENVIRONMENTS, *_job_rows.ENVIRONMENTS, *_redis_rows.ENVIRONMENTS)
    measuring = (reference, BEANSTALKD, TRIOTP, PYKKA, *stores_and_jobs)
    told = [each.describe() for each in measuring if each.name in names]
    for line in dict.fromkeys(told):  # some have a script for stores and one for jobs
        print(line)
    if any(row.what.startswith(("sqlite", "jobs: process", "batch: p", "log: ")) for row in wanted):
        print(describe_disk())
    print_table(wanted, options.rounds)


if __name__ == "__main__":
    main()
