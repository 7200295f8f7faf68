"""``queueactors store``: what concerns a store's file as a whole."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import attrs
import click

from ._places import FAILED, failures, find_place, owned, require, tables
from ._progress import Progress
from ._text import counted, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueactors.stores._inspect import FileReport

_store = click.option("--store", metavar="NAME", help="Which store of a configuration.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group("store")
def store_() -> None:
    """Look after a store's file."""


@store_.command()
@click.argument("source")
@_store
@_json
def check(source: str, store: str | None, *, as_json: bool) -> None:
    """Check a store's file, and tell what is in it. Changes nothing.

    SOURCE is the file, or a configuration (.toml). A runtime may use it meanwhile. The exit code is
    1 if anything is wrong. Values in a codec of your own are decoded only with a configuration.

    Example: queueactors store check var/disk.sqlite
    """
    from queueactors.stores._inspect import inspect_file

    place = find_place(source, store)
    require(place.path)
    with failures(place.path), Progress("checking", None) as progress:
        report = inspect_file(place.path, tables(), place.values, progress)
    if as_json:
        click.echo(json.dumps({**attrs.asdict(report), "ok": not report.faults}))
    else:
        say(*_told(report))
        for fault in report.faults:
            say(f"{report.path}: {fault}", err=True)
    sys.exit(FAILED if report.faults else 0)


@store_.command()
@click.argument("source")
@_store
@_json
def vacuum(source: str, store: str | None, *, as_json: bool) -> None:
    """Give back the space that a store's file does not need any more.

    SOURCE is the file, or a configuration (.toml). No runtime may use it meanwhile. For a while it
    takes as much space again as there are messages.

    Example: queueactors store vacuum var/disk.sqlite
    """
    place = find_place(source, store)
    with owned(place) as file:
        before = place.path.stat().st_size + file.log_size()
        file.vacuum()
    after = place.path.stat().st_size
    if as_json:
        click.echo(json.dumps({"path": str(place.path), "before": before, "bytes": after}))
    else:
        say(f"{place.path}: {_size(before)} before, {_size(after)} now")


def _told(report: FileReport) -> Iterator[str]:
    """Yield a report as lines of text."""
    yield f"{report.path}: schema version {report.version}, {_size(report.bytes)}"
    yield f"  write-ahead log  {_size(report.log_bytes)}"
    yield f"  free             {_size(report.free_bytes)}"
    owner = "nobody"
    if report.owner is not None:
        owner = f"process {report.owner['pid']} since {report.owner['started_at']}"
    yield f"  owner            {owner}"
    for queue in report.queues:
        size = counted(queue.messages, "message")
        yield f"  queue {queue.name} ({queue.kind}): {size}, {_size(queue.bytes)} of values"
        for facts in (queue.states, queue.codecs):
            if facts:
                yield "    " + ", ".join(f"{name} {count:,}" for name, count in facts.items())
        if queue.unchecked:
            yield f"    {queue.unchecked:,} not decoded: only the program knows their codec"
    yield "  " + ("FAULTY" if report.faults else "ok")


def _size(number: int) -> str:
    """Return a number of bytes for people."""
    size, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
