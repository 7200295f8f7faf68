"""``queueactors migrate``: queues from one store to another."""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import IO, TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import attrs
import click

from ._interrupts import interruptible, run_loop
from ._places import FAILED, USAGE, Place, fail, failures, owned, require, tables
from ._progress import Progress
from ._text import counted, json_text, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType
    from typing import Self

    from queueactors.config import Config
    from queueactors.stores import RedisStore
    from queueactors.stores._migrate import Moved, Side


@click.command("migrate")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("queues", metavar="[QUEUE]...", nargs=-1)
@click.option("--config", metavar="FILE", help="The configuration in which stores have names.")
@click.option("--keep", is_flag=True, help="Leave the queues where they are, too.")
@click.option("--undo", is_flag=True, help="Take back what was interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def migrate(  # noqa: PLR0913 - as many as the command has
    source: str,
    target: str,
    queues: tuple[str, ...],
    config: str | None,
    *,
    keep: bool,
    undo: bool,
    as_json: bool,
) -> None:
    """Move queues, all or those named, from one store to another.

    FROM and TO are a store's file, a file of lines (.jsonl), a server
    (redis://host/0?prefix=NAME), or the name of a store in a configuration. Nobody can use a queue
    while it is moved. What was interrupted goes on when the same command is run again; with --undo
    it is taken back. Queues leave FROM when all of them are in TO.

    Example: queueactors migrate disk shared emails --config queues.toml
    """
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    begun = perf_counter()
    known = _load(config)

    async def moved() -> dict[str, Moved] | list[str]:
        from queueactors.stores import _migrate

        with _Told() as tell:
            async with _side(source, known, made=False) as from_, _side(target, known) as to:
                if undo:
                    return await _migrate.undo(from_, to, queues, tables(), tell)
                return await _migrate.migrate(from_, to, queues, tables(), tell, keep=keep)

    with failures(Path(target)), _store_failures(), interruptible():
        done = run_loop(moved)
    if isinstance(done, list):
        names = ", ".join(done) or "no queue"
        _tell({"undone": done}, f"taken back: {names}", as_json=as_json)
        return
    total = sum(each.messages for each in done.values())
    result = {
        "from": shown(source),
        "to": shown(target),
        "queues": {name: attrs.asdict(each) for name, each in done.items()},
        "messages": total,
        "kept": keep,
        "seconds": round(perf_counter() - begun, 3),
    }
    many = counted(len(done), "queue")
    resumed = sum(each.resumed for each in done.values())
    before = f", {resumed:,} of them before" if resumed else ""
    records = counted(total, "record")
    _tell(result, f"{shown(target)}: {records} of {many}{before}", as_json=as_json)


def _tell(result: dict[str, object], text: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json_text(result))
    else:
        say(text)


class _Told:
    """Shows one progress after the other."""

    def __init__(self) -> None:
        self._shown = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._shown.close()

    def __call__(self, what: str, queue: str) -> Callable[[int], None]:
        """Show another one from now on."""
        self._shown.close()
        return self._shown.enter_context(Progress(f"{what} {queue}", None))


# -- export from a server --------------------------------------------------------------------------

LEASE = 60_000_000  # microseconds after which others go on if an export has died


def server_of(source: str, store: str | None, queues: tuple[str, ...]) -> RedisStore | None:
    """Return the server that a command is about; None: it is about a file.

    Args:
      source: A URL, or a configuration: its name ends in ``.toml``.
      store: The name of the configuration's store. None: that of the first queue.
      queues: What the command names.
    """
    if "://" in source:
        return _server(source)
    if not source.lower().endswith(".toml"):
        return None
    config = _load(source)
    if config is None:
        return None
    if store is None and queues and queues[0] in config.queues:
        store = config.queues[queues[0]].options.store
    if store is None or store not in config.stores:
        return None
    from queueactors.stores import RedisStore

    each = config.stores[store]
    made = each.factory(**each.options)
    return made if isinstance(made, RedisStore) else None


def export_server(
    store: RedisStore, name: str, queues: tuple[str, ...], stream: IO[bytes]
) -> dict[str, int]:
    """Write queues of a server as lines; return how many lines each made."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))

    async def written() -> dict[str, int]:
        from queueactors.stores import _migrate

        with _Told() as tell:
            async with _migrate.redis_side(store, shown(name), tables(), LEASE) as side:
                return await _migrate.export(side, queues, stream, tell)

    with failures(Path(shown(name))), _store_failures(), interruptible():
        return run_loop(written)


# -- where -----------------------------------------------------------------------------------------


def shown(place: str) -> str:
    """Return what a place is called: of a URL, all but who logs in."""
    if "://" not in place:
        return place
    scheme, _, rest = place.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _load(config: str | None) -> Config | None:
    if config is None:
        return None
    from queueactors.config import ConfigError, load_config

    try:
        return load_config(config)
    except ConfigError as error:
        fail(str(error), USAGE)


@asynccontextmanager
async def _side(place: str, config: Config | None, *, made: bool = True) -> AsyncIterator[Side]:
    """Open what an argument means.

    Args:
      place: The argument.
      config: The configuration, if one is given.
      made: Whether it is made if it is not there.
    """
    from queueactors.stores import RedisStore, SqliteStore
    from queueactors.stores._migrate import FileSide, LinesSide, redis_side

    store: object = None
    path = Path(place)
    if "://" in place:
        store = _server(place)
    elif config is not None and place in config.stores:
        each = config.stores[place]
        store = each.factory(**each.options)
        if isinstance(store, SqliteStore):
            path = store.file(place, Path(config.runtime.data_dir))
        elif not isinstance(store, RedisStore):
            fail(
                f"store {place!r} is no file and no server: a running daemon has it; see: "
                "queueactors import",
                USAGE,
            )
    if isinstance(store, RedisStore):
        async with redis_side(store, shown(place), tables()) as side:
            yield side
        return
    if not made:
        require(path)
    if path.suffix.lower() == ".jsonl":
        yield LinesSide(path, tables())
        return
    with owned(Place(path), create=made) as file:
        yield FileSide(file, tables())


def _server(url: str) -> RedisStore:
    """Return the store that a URL means: one that may have its prefix in it."""
    from queueactors.stores import RedisStore

    try:
        place, _, query = url.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        prefix = options.pop("prefix", "queueactors")
        return RedisStore(url=f"{place}?{urlencode(options)}" if options else place, prefix=prefix)
    except ValueError as error:
        fail(f"{shown(url)}: {error}", USAGE)


class _store_failures:  # noqa: N801 - a context manager
    """Ends the program with one line, if a server fails."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        from queueactors._errors import StoreError

        if isinstance(error, ModuleNotFoundError) and error.name == "coredis":
            fail("a Redis store needs the package coredis: pip install queueactors[redis]", USAGE)
        if isinstance(error, StoreError):
            fail(f"{error.store}: {error.reason}; run it again when it works", FAILED)
