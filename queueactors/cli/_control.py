"""What commands that talk to a running runtime have in common: where it is, what may fail.

Like all modules that define commands, it imports what only a command needs when that runs: the
others, ``--help`` and a shell's completion do not wait for it.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

import attrs
import click
from click.core import ParameterSource

from ._interrupts import run_loop
from ._places import FAILED, USAGE, fail
from ._text import fit, json_text, len_of, plain, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from queueactors.control import ControlClient

P = ParamSpec("P")
T = TypeVar("T")

Command: TypeAlias = "Callable[..., None]"  # type: ignore[explicit-any] # click calls it by name

COMPLETING: Final = 0.5  # seconds that a shell waits for names


@attrs.frozen
class Output:
    """Where results go, and how.

    Args:
      as_json: One JSON document, or of a list one a line; otherwise text for people.
    """

    as_json: bool

    def tell(self, result: object, *lines: str) -> None:
        """Print a result: it, or what it is to people."""
        if self.as_json:
            click.echo(json_text(result))
        elif lines:
            say(*lines)


_OPTIONS: Final = (
    click.option(
        "--socket",
        metavar="PATH",
        envvar="QUEUEACTORS_SOCKET",
        help="The runtime's control socket; default: that of --config or --data-dir.",
    ),
    click.option(
        "--data-dir",
        metavar="DIR",
        default="var",
        show_default=True,
        help="The runtime's data_dir, with control.sock in it.",
    ),
    click.option("--config", metavar="FILE", help="The runtime's configuration, which says both."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
)


def on_runtime(
    function: Callable[Concatenate[ControlClient, Output, P], Awaitable[None]],
) -> Command:
    """Make a command's callback of a function that gets a client: it asks the runtime."""

    @functools.wraps(function)
    def command(
        *, socket: str | None, data_dir: str, config: str | None, as_json: bool, **given: object
    ) -> None:
        async def body(client: ControlClient) -> None:
            await function(client, Output(as_json), **given)  # type: ignore[arg-type, call-arg] # click's

        place = find_socket(socket, data_dir, where_is(config, given.get("file")))
        talk(place, body)

    return runtime_options(command)


def runtime_options(command: Command) -> Command:
    """Give a command's callback the options that say where the runtime is."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def is_given(option: str) -> bool:
    """Whether somebody has said that option of the present command."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not ParameterSource.DEFAULT


def where_is(config: str | None, file: object) -> str | None:
    """Return the configuration that says where the runtime is: of two, the one that runs.

    Args:
      config: Of ``--config``.
      file: What the command is about, perhaps another configuration.
    """
    if config is None and isinstance(file, str) and not is_given("data_dir"):
        return file
    return config


def find_socket(socket: str | None, data_dir: str, config: str | None) -> Path:
    """Return where a runtime's control socket is, or end the program.

    A configuration may have faults: the runtime was started before they were made.
    """
    if socket is not None:
        return Path(socket)
    if config is None:
        return Path(data_dir) / "control.sock"
    from queueactors.config._source import Source

    source = Source(os.environ)
    source.read_file(config)
    if not source.data and source.faults:
        fail("\n".join(map(str, source.faults)), USAGE)
    tables = {}
    for name in ("runtime", "control"):
        table = source.data.get(name, {}).get("")
        tables[name] = table if isinstance(table, dict) else {}
    given = tables["control"].get("socket", True)
    if given is False:
        fail(f"{config}: [control] socket is false; if there is one, say --socket PATH", USAGE)
    if isinstance(given, str):
        return Path(given)
    return Path(str(tables["runtime"].get("data_dir", data_dir))) / "control.sock"


def talk(
    path: Path, body: Callable[[ControlClient], Awaitable[T]], *, nobody: str | None = None
) -> T:
    """Connect to a runtime and ask it; an error ends the program with one line.

    Args:
      path: Its control socket.
      body: What to ask.
      nobody: What to say if nobody answers. None: where that was.
    """
    import trio

    from queueactors import ConfigError, QueueActorsError
    from queueactors.control import ControlUnreachableError, open_control
    from supervisors import SupervisorsError

    async def connected() -> T:
        async with open_control(path) as client:
            return await body(client)

    try:
        return run_loop(connected)
    except ControlUnreachableError as error:
        fail(nobody or _line(error), FAILED)
    except ConfigError as error:
        fail(str(error), USAGE)
    except (ValueError, TypeError) as error:
        fail(_line(error), USAGE)
    except trio.TooSlowError as error:
        fail(_line(error) or "there was no room in time", FAILED)
    except (QueueActorsError, SupervisorsError, LookupError) as error:
        fail(_line(error), FAILED)
    except BrokenPipeError:
        raise  # nobody reads what is printed, so nobody is told: click ends silently
    except OSError as error:
        sys.stdout = None  # what is still to be written there cannot be: no second error at exit
        fail(f"{error.filename or 'the output'}: {error.strerror or error}", FAILED)


def _line(error: Exception) -> str:
    return " ".join(str(error).splitlines())


def names(ctx: click.Context, *, workers: bool) -> list[str]:
    """Return the names of queues, and of workers, for a shell; none if nobody answers soon."""
    import trio

    from queueactors.control import open_control

    async def ask() -> list[str]:
        found: list[str] = []
        with trio.move_on_after(COMPLETING):
            params = ctx.params
            path = find_socket(
                params.get("socket"), params.get("data_dir") or "var", params.get("config")
            )
            async with open_control(path) as client:
                found = [each.name for each in await client.queues()]
                if workers:
                    found += [each.name for each in await client.workers()]
        return found

    try:
        return run_loop(ask)
    except (Exception, SystemExit):  # noqa: BLE001 - a shell is told nothing
        return []


def complete_queue(ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Complete the name of a queue."""
    return [name for name in names(ctx, workers=False) if name.startswith(begun)]


def complete_child(ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Complete the name of a queue or worker."""
    return [name for name in names(ctx, workers=True) if name.startswith(begun)]


def table(rows: list[tuple[object, ...]]) -> str:
    """Return rows as columns; numbers are on the right."""
    texts = [["-" if cell is None else plain(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len_of, column)) for column in zip(*texts, strict=True)]
    right = [
        all(isinstance(row[number], int | float | None) for row in rows[1:])
        for number in range(len(widths))
    ]
    return "\n".join(
        "  ".join(
            " " * (width - len_of(cell)) + cell if is_right else fit(cell, width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in texts
    )
