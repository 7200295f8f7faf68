"""The commands that look at a running runtime: ``status``, ``tree``, ``queues``, ``stats``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from ._control import complete_queue, on_runtime, table
from ._states import queue_words, worker_state
from ._text import counted, plain

if TYPE_CHECKING:
    from queueactors.control import ControlClient, QueueRow, RuntimeStatus, WorkerRow
    from supervisors import Tree

    from ._control import Output


@click.command()
@on_runtime
async def status(client: ControlClient, out: Output) -> None:
    """Tell how a running runtime is: since when, how much there is, what is not up.

    The exit code is 0 also if it is not ready.

    Example: queueactors status --config queues.toml
    """
    told = await client.status()
    out.tell(told, *status_text(told).split("\n"))


def status_text(told: RuntimeStatus) -> str:
    """Return how a runtime is, for people."""
    counts = (counted(told.queues, "queue"), counted(told.workers, "worker"))
    messages = f"{counted(told.messages, 'message')} ready, {told.in_hand:,} in hand"
    lines = [
        f"{told.name}: process {told.pid}, queueactors {told.version}, up since {told.up_since}",
        f"  {'ready' if told.ready else 'NOT READY'}",
        *(f"    {line}" for line in told.not_ready),
        f"  {', '.join(counts)}, {messages}",
        *(
            f"  parked   {child}; start it again: queueactors start {child}"
            for child in told.parked
        ),
        *(f"  stopped  {child}" for child in told.stopped),
    ]
    return "\n".join(map(plain, lines))


@click.command()
@on_runtime
async def tree(client: ControlClient, out: Output) -> None:
    """Draw the supervisor tree of a running runtime.

    Example: queueactors tree --data-dir /var/lib/mailer
    """
    drawn = await client.tree()
    out.tell(drawn, *str(_one_line_each(drawn)).split("\n"))


def _one_line_each(drawn: Tree) -> Tree:
    """Return a tree in which no child looks like several."""
    children = tuple(map(_one_line_each, drawn.children))
    return attrs.evolve(drawn, id=plain(drawn.id), children=children)


@click.command()
@on_runtime
async def queues(client: ControlClient, out: Output) -> None:
    """List the queues of a running runtime.

    Example: queueactors queues --json
    """
    rows = await client.queues()
    if out.as_json:
        out.tell(rows)
        return
    head = ("QUEUE", "KIND", "STORE", "STATE", "READY", "IN HAND", "WAITING", "MAILBOX", "RESTARTS")
    out.tell(rows, *table([head, *map(_cells, rows)]).split("\n"))


@click.command()
@click.argument("queue", shell_complete=complete_queue)
@on_runtime
async def stats(client: ControlClient, out: Output, queue: str) -> None:
    """Show the numbers of a queue of a running runtime, and of its workers.

    Example: queueactors stats emails
    """
    row, workers = await client.stats(queue)
    lines = [f"{row.name} ({row.kind}, store {row.store}): {_state(row)}"]
    numbers = row.statistics or {}
    own = {"mailbox": row.mailbox, "waiting": row.waiting, "restarts": row.restarts}
    told = {**numbers, **own}
    width = max(map(len, told))
    lines += [f"  {key.ljust(width)}  {_number(value)}" for key, value in told.items()]
    lines += [_worker(each) for each in workers]
    out.tell({"queue": row, "workers": workers}, *lines)


def _cells(row: QueueRow) -> tuple[object, ...]:
    facts = row.name, row.kind, row.store, _state(row)
    return *facts, row.at_hand, row.in_hand, row.waiting, row.mailbox, row.restarts


def _state(row: QueueRow) -> str:
    """Return what a queue is at, in a word or two."""
    return ",".join([row.state, *queue_words(row)])


def _worker(row: WorkerRow) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in row.counts.items() if count)
    return (
        f"  worker {row.name}: {worker_state(row)}, {row.busy} of {row.concurrency} busy"
        f"{', ' if counts else ''}{counts}"
    )


def _number(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)


LOOKING = (status, tree, queues, stats)
