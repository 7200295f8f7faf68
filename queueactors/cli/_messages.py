"""The commands about messages in a running runtime: ``insert``, ``reserve``, ``peek`` and so on."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from ._control import complete_queue, on_runtime
from ._places import FAILED, USAGE, fail
from ._text import counted, json_text

if TYPE_CHECKING:
    from queueactors.control import ControlClient, Peeked, Taken

    from ._control import Output

_queue = click.argument("queue", shell_complete=complete_queue)
_key = click.argument("key", type=int)


@click.command()
@_queue
@click.argument("values", nargs=-1, required=True, metavar="VALUE...")
@click.option("--text", is_flag=True, help="Take values as text, also if they are JSON.")
@click.option("--delay", type=float, default=0, help="Seconds before they can be taken.")
@click.option("--priority", type=int, default=0, help="Smaller comes first; timed queues.")
@click.option("--mid", help="The message's name; message queues.")
@click.option("--wait", type=float, default=0, help="Seconds to wait for room.")
@on_runtime
async def insert(  # noqa: PLR0913 - as many as the command has
    client: ControlClient,
    out: Output,
    queue: str,
    values: tuple[str, ...],
    *,
    text: bool,
    delay: float,
    priority: int,
    mid: str | None,
    wait: float,
) -> None:
    """Put messages into a queue of a running runtime.

    A VALUE is JSON if it can be read as that, and text otherwise.

    Example: queueactors insert emails '{"to": "ann@example.org"}'
    """
    given = [value if text else _json_or_text(value) for value in values]
    result = await client.insert(queue, *given, delay=delay, priority=priority, mid=mid, wait=wait)
    refused = result["refused"]
    why = result.get("error", "there already")
    told = f"{queue}: {counted(result['inserted'], 'message')} in"
    out.tell(result, told + (f", {refused:,} not: {why}" if refused else ""))


@click.command()
@_queue
@click.option("--for", "seconds", type=float, help="Seconds that it is yours; timed queues.")
@click.option("--wait", type=float, default=0, help="Seconds to wait for one.")
@on_runtime
async def reserve(
    client: ControlClient, out: Output, queue: str, *, seconds: float | None, wait: float
) -> None:
    """Take the first message of a timed or message queue, and show it.

    Finish it with delete, or give it back with release; otherwise it comes back by itself. The exit
    code is 1 if there is none.

    Example: queueactors reserve emails --for 300
    """
    taken = await client.reserve(queue, seconds=seconds, wait=wait)
    if taken is None:
        fail(f"{queue}: there is no message ready", FAILED)
    head = f"id {taken.id}, key {taken.key}, attempt {taken.attempt}"
    try:
        out.tell(taken, head, _value(taken))
    except OSError:
        await client.release(queue, taken.key)  # nobody has seen its key
        raise


@click.command()
@_queue
@_key
@on_runtime
async def delete(client: ControlClient, out: Output, queue: str, key: int) -> None:
    """Finish a message that was reserved, by the key that reserve has shown.

    Example: queueactors delete emails 1795295135093459802
    """
    await client.delete(queue, key)
    out.tell({"deleted": 1}, f"{queue}: finished")


@click.command()
@_queue
@_key
@click.option("--delay", type=float, default=0, help="Seconds before it can be taken again.")
@on_runtime
async def release(
    client: ControlClient, out: Output, queue: str, key: int, *, delay: float
) -> None:
    """Give a message back that was reserved, by the key that reserve has shown.

    Example: queueactors release emails 1795295135093459802 --delay 60
    """
    await client.release(queue, key, delay=delay)
    out.tell({"released": 1}, f"{queue}: given back")


@click.command()
@_queue
@click.option("--state", help="What they wait for: ready, delayed, reserved, buried, queued, ...")
@click.option("-n", "--limit", type=int, default=10, show_default=True, help="How many at most.")
@on_runtime
async def peek(
    client: ControlClient, out: Output, queue: str, *, state: str | None, limit: int
) -> None:
    """Show the first messages of a queue, of whatever kind; nothing changes.

    What is in a log is shown once, whoever has read it. With --json, one a line.

    Example: queueactors peek emails --state buried
    """
    async with await client.peek(queue, state, limit=limit) as messages:
        async for each in messages:
            if each.id is None:  # an item, of which there is no more to say
                out.tell(each, _value(each))
                continue
            facts = [f"id {each.id}", each.state]
            facts += [f"mid {each.mid}"] if each.mid is not None else []
            facts += [f"attempts {each.attempts}"] if each.attempts else []
            facts += [f"error {each.error}"] if each.error else []
            out.tell(each, ", ".join(facts), f"  {_value(each)}")


@click.command()
@_queue
@click.option("-n", "--limit", type=int, default=1, show_default=True, help="How many at most.")
@on_runtime
async def kick(client: ControlClient, out: Output, queue: str, *, limit: int) -> None:
    """Let buried messages, or batches, be taken again, the oldest first.

    Example: queueactors kick emails --limit 100
    """
    kicked = await client.kick(queue, limit)
    out.tell({"kicked": kicked}, f"{queue}: {counted(kicked, 'message')} kicked")


@click.command()
@_queue
@click.argument("ids", nargs=-1, required=True, type=int, metavar="ID...")
@on_runtime
async def remove(client: ControlClient, out: Output, queue: str, ids: tuple[int, ...]) -> None:
    """Take messages out by the numbers that peek and the log show, whatever they wait for.

    Example: queueactors remove emails 17 18
    """
    removed = await client.remove(queue, *ids)
    out.tell({"removed": removed}, f"{queue}: {counted(removed, 'message')} removed")


@click.command()
@click.argument("from_", metavar="FROM", shell_complete=complete_queue)
@click.argument("to", required=False, shell_complete=complete_queue)
@click.option("-n", "--limit", type=int, default=1000, show_default=True, help="How many at most.")
@on_runtime
async def redrive(
    client: ControlClient, out: Output, from_: str, to: str | None, *, limit: int
) -> None:
    """Put the dead letters in FROM back to where they came from, or all that is in it to TO.

    The exit code is 1 if one of them could not be put there; it, and what follows, stays.

    Example: queueactors redrive dead
    """
    result = await client.redrive(from_, to, limit=limit)
    told = ", ".join(f"{count:,} to {name}" for name, count in result.moved.items()) or "none moved"
    if result.left and result.error is None:
        told += f", {result.left:,} left that {'is' if result.left == 1 else 'are'} no dead letter"
        told += "; say where to"
    out.tell(result, f"{from_}: {told}")
    if result.error is not None:
        fail(f"{from_}: stopped at one that cannot be moved: {result.error}", FAILED)


@click.command()
@click.argument("queues", nargs=-1, metavar="[QUEUE]...", shell_complete=complete_queue)
@click.option("--all", "all_", is_flag=True, help="All queues.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_runtime
async def clear(
    client: ControlClient, out: Output, queues: tuple[str, ...], *, all_: bool, yes: bool
) -> None:
    """Remove all messages of queues of a running runtime, for good.

    Example: queueactors clear --all --yes
    """
    if all_ is bool(queues):
        fail("say which queues, or --all", USAGE)
    if all_ and not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            fail("--all removes all messages of all queues; say --yes, too", USAGE)
        if not click.confirm(f"Remove all messages of all queues of {client.name}?", err=True):
            fail("nothing was removed", FAILED)
    cleared = await (client.clear_all() if all_ else client.clear(*queues))
    out.tell({"cleared": cleared}, f"cleared: {', '.join(cleared) or 'they were empty already'}")


def _json_or_text(value: str) -> object:
    try:
        return json.loads(value, parse_constant=_no_constant)
    except ValueError:
        return value


def _no_constant(name: str) -> object:
    raise ValueError(name)  # NaN is text


def _value(message: Peeked | Taken) -> str:
    letter = message.dead_letter
    before = f"(dead letter of {letter['queue']}) " if letter else ""
    if message.data is not None:
        return f"{before}base64 {message.data}"
    if message.repr is not None:
        return before + message.repr
    return before + json_text(message.value)


ABOUT_MESSAGES = (insert, reserve, delete, release, peek, kick, remove, redrive, clear)
