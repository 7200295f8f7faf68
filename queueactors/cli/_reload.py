"""``queueactors plan`` and ``queueactors reload``: another configuration for what runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import attrs
import click

from ._checked import echo_json, load, refuse
from ._control import find_socket, is_given, on_runtime, runtime_options, talk, where_is
from ._places import FAILED, USAGE
from ._text import say

if TYPE_CHECKING:
    from pathlib import Path

    from queueactors.config import Plan
    from queueactors.control import ControlClient

    from ._control import Output


@click.command()
@click.argument("file")
@click.option("--against", "old", metavar="OLD", help="Compare with this configuration instead.")
@runtime_options
def plan(  # noqa: PLR0913 - its options
    file: str,
    *,
    old: str | None,
    socket: str | None,
    data_dir: str,
    config: str | None,
    as_json: bool,
) -> None:
    """Print what a reload to FILE would do to the runtime that runs.

    It is found by --socket, --config or --data-dir; otherwise FILE says where it is, and if nothing
    runs there, this is what a start would do. With --against, nobody is asked. Nothing changes. The
    exit code is 2 if the reload would be refused.

    Example: queueactors plan new.toml --config queues.toml
    """
    from queueactors.config import load_config, make_plan

    if old is not None:
        _show(make_plan(load(old, as_json=as_json), load(file, as_json=as_json)), as_json=as_json)
        return
    place = find_socket(socket, data_dir, where_is(config, file))
    meant = socket is not None or config is not None or is_given("data_dir")
    if not meant and not place.is_socket():
        _show(make_plan(load_config({}), load(file, as_json=as_json)), as_json=as_json)
        return
    _show(_planned(place, file, as_json=as_json), as_json=as_json)


def _planned(place: Path, file: str, *, as_json: bool) -> Plan:
    """Ask the runtime for its plan."""
    from queueactors.config import ConfigError

    async def ask(client: ControlClient) -> Plan:
        try:
            return await client.plan(file)
        except ConfigError as error:
            refuse(file, error, as_json=as_json)

    return talk(place, ask)


def _show(found: Plan, *, as_json: bool) -> None:
    from queueactors.config import plan_data, plan_text

    if as_json:
        echo_json(plan_data(found))
    else:
        say(*plan_text(found).split("\n"))
    if found.faults:
        sys.exit(USAGE)


@click.command()
@click.argument("file", required=False)
@click.option(
    "--drain/--keep",
    default=True,
    show_default=True,
    help="Queues that are taken out: empty them first, or take them out at once.",
)
@on_runtime
async def reload(client: ControlClient, out: Output, file: str | None, *, drain: bool) -> None:
    """Let a running runtime go by FILE; without FILE, by the file that it was started with.

    Only what must be is started again, and no message is lost. With a fault nothing changes, all
    faults are told, and the exit code is 2; it is 1 if something did not start: that is parked.

    Example: queueactors reload queues.toml
    """
    from queueactors.config import ConfigError, plan_data, plan_text

    try:
        result = await client.reload(file, removed="drain" if drain else "keep")
    except ConfigError as error:
        refuse(file, error, as_json=out.as_json)
    outcomes = {(each.what, each.name): each for each in result.children}
    if out.as_json:
        children = [attrs.asdict(each) for each in result.children]
        echo_json({"plan": plan_data(result.plan), "children": children})
    else:
        told = {
            key: each.outcome if each.error is None else f"{each.outcome}: {each.error}"
            for key, each in outcomes.items()
        }
        say(*plan_text(result.plan, told).split("\n"))
    if result.failed:
        names = ", ".join(f"{each.what} {each.name}".rstrip() for each in result.failed)
        say(f"failed: {names}; see: queueactors status", err=True)
        sys.exit(FAILED)
