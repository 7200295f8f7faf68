"""The commands that operate a running runtime: ``pause``, ``resume``, ``stop`` and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ._control import complete_child, complete_queue, on_runtime

if TYPE_CHECKING:
    from queueactors.control import ControlClient

    from ._control import Output

_queue = click.argument("queue", shell_complete=complete_queue)
_child = click.argument("child", shell_complete=complete_child)


@click.command()
@_queue
@click.option("--for", "seconds", type=float, help="Seconds; otherwise until resume.")
@on_runtime
async def pause(client: ControlClient, out: Output, queue: str, *, seconds: float | None) -> None:
    """Let nobody take anything from a queue; what comes in is kept.

    Example: queueactors pause emails --for 600
    """
    await client.pause(queue, seconds)
    until = "until resume" if seconds is None else f"for {seconds:g} seconds"
    out.tell({"paused": queue}, f"{queue}: paused {until}")


@click.command()
@_queue
@on_runtime
async def resume(client: ControlClient, out: Output, queue: str) -> None:
    """End a pause.

    Example: queueactors resume emails
    """
    await client.resume(queue)
    out.tell({"resumed": queue}, f"{queue}: resumed")


@click.command()
@_child
@on_runtime
async def stop(client: ControlClient, out: Output, child: str) -> None:
    """Stop a queue, a worker, or any other child of the tree; it stays stopped until start.

    CHILD is its name, also as queue.NAME or worker.NAME, or an id or path in the tree. Nothing is
    lost. To end the whole runtime, send it SIGTERM.

    Example: queueactors stop worker.mailer
    """
    await client.stop(child)
    out.tell({"stopped": child}, f"{child}: stopped")


@click.command()
@_child
@on_runtime
async def start(client: ControlClient, out: Output, child: str) -> None:
    """Start what was stopped, or parked because it failed too often.

    Example: queueactors start worker.mailer
    """
    await client.start(child)
    out.tell({"started": child}, f"{child}: started")


@click.command()
@_child
@on_runtime
async def restart(client: ControlClient, out: Output, child: str) -> None:
    """Stop and start a child of the tree; messages, reservations and callers are kept.

    Example: queueactors restart queue.emails
    """
    await client.restart(child)
    out.tell({"restarted": child}, f"{child}: restarted")


OPERATING = (pause, resume, stop, start, restart)
