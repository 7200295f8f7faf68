"""``queueactors export`` and ``import``: queues to JSON lines, and back."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import click

from ._interrupts import interruptible
from ._live_import import import_live
from ._migrate import export_server, server_of
from ._places import (
    FAILED,
    USAGE,
    fail,
    failures,
    find_place,
    kind_of,
    owned,
    owner_of,
    readable,
    require,
    tables,
)
from ._progress import Progress
from ._text import counted, say

if TYPE_CHECKING:
    from queueactors.stores import RedisStore

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_store = click.option("--store", metavar="NAME", help="Which store of a configuration.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.command("export")
@click.argument("source")
@click.argument("queues", metavar="[QUEUE]...", nargs=-1)
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to; - is the output.")
@_store
@_json
def export(
    source: str, queues: tuple[str, ...], output: str, store: str | None, *, as_json: bool
) -> None:
    """Write queues of SOURCE, all or those named, as JSON lines.

    SOURCE is a store's file, a configuration (.toml), or a server (redis://host/0?prefix=NAME). A
    runtime may use the file meanwhile: what is written is as it was at one instant. On a server
    nobody can use a queue while it is written. An export from a file that was interrupted goes on
    when the same command is run again.

    Example: queueactors export var/disk.sqlite emails -o emails.jsonl
    """
    from queueactors.stores._transfer import Export

    begun = perf_counter()
    server = server_of(source, store, queues)
    if server is not None:
        _export_server(server, source, queues, output, begun, as_json=as_json)
        return
    place = find_place(source, store, queues)
    if place.elsewhere is not None:
        told = f"queue {place.elsewhere!r} is in no file, so it cannot be exported; look at it with"
        fail(f"{source}: {told}: queueactors peek {place.elsewhere} --json", USAGE)
    with readable(place) as file:
        made = Export(file, tables(), queues)
        total = sum(made.messages.values())
        with Progress("exporting", total) as progress, interruptible():
            if output == "-":
                made.write(sys.stdout.buffer, progress)
                sys.stdout.buffer.flush()
            else:
                made.write_file(Path(output), progress)
    if output == "-":
        return
    result = {
        "file": output,
        "queues": made.messages,
        "messages": total,
        "resumed": made.resumed,
        "seconds": round(perf_counter() - begun, 3),
    }
    before = f", {made.resumed:,} of them before" if made.resumed else ""
    many = counted(len(made.messages), "queue")
    _tell(result, f"{output}: {counted(total, 'message')} of {many}{before}", as_json=as_json)


def _export_server(  # noqa: PLR0913 - as many as the command has
    server: RedisStore,
    source: str,
    queues: tuple[str, ...],
    output: str,
    begun: float,
    *,
    as_json: bool,
) -> None:
    """Write queues of a server; to a file, under another name until it is complete."""
    if output == "-":
        export_server(server, source, queues, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    if path.exists():
        fail(f"{path} is there already; remove it, or choose another name", FAILED)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        made = export_server(server, source, queues, stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.rename(path)
    total, seconds = sum(made.values()), round(perf_counter() - begun, 3)
    result = {"file": output, "queues": made, "messages": total, "resumed": 0, "seconds": seconds}
    many = counted(len(made), "queue")
    _tell(result, f"{output}: {counted(total, 'message')} of {many}", as_json=as_json)


@click.command("import")
@click.argument("source")
@click.argument("queue")
@click.argument("file")
@click.option("--skip", type=int, default=0, help="Lines that a runtime has taken in before.")
@click.option("--again", is_flag=True, help="Also if these lines have been imported before.")
@_store
@_json
def import_(  # noqa: PLR0913 - as many as the command has
    source: str,
    queue: str,
    file: str,
    store: str | None,
    *,
    skip: int,
    again: bool,
    as_json: bool,
) -> None:
    """Put the messages of FILE, JSON lines, into QUEUE of SOURCE.

    SOURCE is a store's file, or a configuration (.toml). An import that was interrupted goes on
    when it is run again; one that is complete does nothing then. If a runtime uses the store, or
    QUEUE is in memory, the runtime takes them in, as new messages, and --skip says where to go on.
    A line needs a value only: {"value": "ann@example.org"}.

    Example: queueactors import queues.toml emails emails.jsonl
    """
    from queueactors.stores._transfer import Import

    begun = perf_counter()
    if "://" in source:
        told = "name the configuration of a daemon that uses it; or, for a new queue, see"
        fail(f"a server takes no lines by itself: {told}: queueactors migrate --help", USAGE)
    place, path = find_place(source, store, (queue,)), Path(file)
    if not place.configured:
        require(place.path)
    require(path)
    with failures(place.path):
        now = (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
        lines = Import(path, queue, tables(), now, kind_of(place, queue))
        with Progress("checking", lines.messages) as progress:
            lines.check(progress)
    owner = None if place.elsewhere is not None else owner_of(place)
    if owner is not None or place.elsewhere is not None:
        import_live(source, place, owner, queue, lines, file, skip=skip, as_json=as_json)
        return
    with (
        owned(place, create=place.configured) as stored,
        Progress("importing", lines.messages) as progress,
        interruptible(),
    ):
        lines.run(stored, progress, again=again)
    result = {
        "file": file,
        "queue": queue,
        "messages": lines.messages,
        "resumed": lines.resumed,
        "seconds": round(perf_counter() - begun, 3),
    }
    messages = counted(lines.messages, "message")
    if lines.finished_at is not None:
        at = (_EPOCH + timedelta(microseconds=lines.finished_at // 1000)).isoformat(" ", "seconds")
        told = f"{queue}: these {messages} were imported at {at}; see --again"
    else:
        before = f", {lines.resumed:,} of them before" if lines.resumed else ""
        told = f"{queue}: {messages} from {file}{before}"
    _tell(result, told, as_json=as_json)


def _tell(result: dict[str, object], text: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result))
    else:
        say(text)
