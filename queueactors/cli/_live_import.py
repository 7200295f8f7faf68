"""``queueactors import`` into a store that a runtime has: the runtime takes the messages in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ._control import Output, find_socket, talk
from ._places import FAILED, fail, owned_told
from ._progress import Progress
from ._text import counted, say

if TYPE_CHECKING:
    from pathlib import Path

    from queueactors.control import ControlClient
    from queueactors.stores._owner import OwnedError
    from queueactors.stores._transfer import Import

    from ._places import Place


@attrs.define
class _Came:
    """What has become of the lines."""

    file: str
    queue: str
    messages: int
    taken: int = 0  # lines that are done with, those before this run as well
    inserted: int = 0
    refused: int = 0
    error: str | None = None


def import_live(  # noqa: PLR0913, PLR0917 - what the command knows
    source: str,
    place: Place,
    owner: OwnedError | None,
    queue: str,
    lines: Import,
    file: str,
    *,
    skip: int,
    as_json: bool,
) -> None:
    """Let the runtime that has a store take lines in, as new messages.

    Args:
      source: The store's file, or the runtime's configuration.
      place: The store's file.
      owner: The process that has it. None: there is no file, as the queue is in memory.
      queue: The name of the queue.
      lines: Checked.
      file: Where they are.
      skip: How many were taken in before.
      as_json: How the result is printed.
    """
    path = _socket(source, place)
    came = _Came(file, queue, lines.messages, taken=skip)

    async def body(client: ControlClient) -> None:
        if owner is not None and client.pid != owner.pid:
            told = f"belongs to process {owner.pid}, and process {client.pid} answers at {path}"
            fail(f"{place.path} {told}; stop the first", FAILED)
        texts = lines.texts(skip)
        with Progress("importing", lines.messages) as progress:
            async for part in client.import_lines(queue, texts, codec=lines.codec):
                came.inserted += part["inserted"]
                came.refused += part["refused"]
                came.taken += part["inserted"] + part["refused"]
                came.error = part.get("error")
                progress(came.taken)

    done = False
    try:
        talk(path, body, nobody=None if owner is None else owned_told(place.path, owner))
        done = True
    finally:
        if not done and came.taken:
            more = f"{came.taken:,} of {came.messages:,} are in"
            say(f"{queue}: {more}; go on with --skip {came.taken}", err=True)
    refused = f", {came.refused:,} there already" if came.refused else ""
    told = f"{queue}: {counted(came.inserted, 'message')} from {file}{refused}"
    Output(as_json).tell(attrs.asdict(came), told)
    if came.error is not None:
        more = f"; mend it and go on with --skip {came.taken}"
        fail(f"{file}: message {came.taken + 1}: {came.error}{more}", FAILED)


def _socket(source: str, place: Place) -> Path:
    """Return where the runtime of a store's file should answer."""
    if source.lower().endswith(".toml"):
        return find_socket(None, "var", source)
    return place.path.parent / "control.sock"
