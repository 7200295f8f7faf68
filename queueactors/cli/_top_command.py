"""``queueactors top``: the command; what it does is in `_top`."""

from __future__ import annotations

import click

from ._control import find_socket, runtime_options


@click.command()
@runtime_options
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks, at least.",
)
@click.option("--once", is_flag=True, help="Print it once, and end.")
def top(  # noqa: PLR0913 - its options
    *,
    socket: str | None,
    data_dir: str,
    config: str | None,
    as_json: bool,
    interval: float,
    once: bool,
) -> None:
    """Watch a running runtime: queues and workers, with rates; press ? for the keys.

    Without a terminal (or on a dumb one), or with --json, it prints a line for each queue, or a
    JSON document, each time. If the runtime goes away it waits for it to come back; with --once, or
    if there never was one, the exit code is 1.

    Example: queueactors top --interval 5
    """
    from ._top import watch

    watch(find_socket(socket, data_dir, config), interval, as_json=as_json, once=once)
