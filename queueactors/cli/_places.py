"""Where a command's store is, a file or a configuration's, and what may be wrong there."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import attrs

from supervisors import did_you_mean

from ._text import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from queueactors._codecs import Codec, Values
    from queueactors.config import Config
    from queueactors.stores import Table
    from queueactors.stores._file import StoreFile
    from queueactors.stores._owner import OwnedError

FAILED, USAGE = 1, 2  # exit codes


@attrs.frozen
class Place:
    """A store's file, as a command's arguments name it.

    Args:
      path: The file.
      configured: Whether a configuration names it: then it may be made.
      values: How the values of queues are encoded, where a configuration says it.
      kinds: Of what kind they are, likewise.
      elsewhere: A queue that was named and is in no file: in memory. None: there is none.
    """

    path: Path
    configured: bool = False
    values: Mapping[str, Values] = attrs.field(factory=dict)
    kinds: Mapping[str, str] = attrs.field(factory=dict)
    elsewhere: str | None = None


def find_place(source: str, store: str | None, queues: Sequence[str] = ()) -> Place:
    """Return the store's file that a command is about, or end the program.

    Args:
      source: A store's file, or a configuration: its name ends in ``.toml``.
      store: The name of the configuration's store. None: that of the queues, or the only one.
      queues: What the command names.
    """
    if not source.lower().endswith(".toml"):
        if store is not None:
            fail("--store goes with a configuration, whose name ends in .toml", USAGE)
        return Place(Path(source))
    from queueactors.config import ConfigError, load_config

    try:
        config = load_config(source)
    except ConfigError as error:
        fail(str(error), USAGE)
    return _configured(source, config, store, queues)


def _configured(source: str, config: Config, store: str | None, queues: Sequence[str]) -> Place:
    from queueactors.stores import SqliteStore

    files = {}
    for name, each in config.stores.items():
        made = each.factory(**each.options)
        if isinstance(made, SqliteStore):
            files[name] = made.file(name, Path(config.runtime.data_dir))
    kinds = {name: queue.kind for name, queue in config.queues.items()}
    if store is None:
        for name in queues:
            if name in config.queues and config.queues[name].options.store not in files:
                return Place(Path(source), configured=True, kinds=kinds, elsewhere=name)
        named = {config.queues[queue].options.store for queue in queues if queue in config.queues}
        found = [name for name in files if name in named] or list(files)
        if len(found) != 1:
            known = ", ".join(found) or "none"
            fail(f"{source}: say --store NAME; its stores in files: {known}", USAGE)
        store = found[0]
    if store not in files:
        hint = did_you_mean(store, files)
        fail(f"{source}: there is no store {store!r} in a file{hint}", USAGE)
    values = {
        name: _values(queue.kind, codec, queue.options.type)
        for name, queue in config.queues.items()
        if queue.options.store == store and (codec := queue.options.codec_made)
    }
    return Place(files[store], configured=True, values=values, kinds=kinds)


def _values(kind: str, codec: Codec, type: type | None) -> Values:
    """Return how the values of a queue are encoded."""
    from queueactors._codecs import ItemValues, Values

    return ItemValues(codec, type) if tables()[kind].together else Values(codec)


def tables() -> dict[str, Table]:
    """Return how the messages of each kind stand in a store's file."""
    from queueactors.queues import KINDS

    return {name: kind.table for name, kind in KINDS.items() if kind.table is not None}


@contextmanager
def owned(place: Place, *, create: bool = False) -> Iterator[StoreFile]:
    """Open a store's file that nobody else uses meanwhile.

    Args:
      place: Where it is.
      create: Whether it is made if it is not there.
    """
    from queueactors.stores._file import StandardDriver, StoreFile
    from queueactors.stores._owner import Owner

    path = place.path
    if not create:
        require(path)
    owner = Owner(path)
    with failures(path):
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        owner.take()
        try:
            file = StoreFile(path, "power", StandardDriver())
            try:
                yield file
            finally:
                file.close()
        finally:
            owner.release()


def owner_of(place: Place) -> OwnedError | None:
    """Return who has a store's file now; None: nobody, or there is no file."""
    from queueactors.stores._owner import OwnedError, Owner

    try:
        Owner(place.path).check()
    except OwnedError as error:
        return error
    return None


@contextmanager
def readable(place: Place) -> Iterator[StoreFile]:
    """Open a store's file for reading: as it is at this instant, if a runtime has it."""
    from queueactors.stores._file import SnapshotDriver, StoreFile

    if owner_of(place) is None:
        with owned(place) as file:
            yield file
        return
    with failures(place.path):
        file = StoreFile(place.path, "process", SnapshotDriver())
        try:
            file.freeze()
            yield file
        finally:
            file.close()


def kind_of(place: Place, queue: str) -> str | None:
    """Return the kind of a queue: as it is configured, or as it is in the file; None: neither."""
    if queue in place.kinds or not place.path.is_file():
        return place.kinds.get(queue)
    with readable(place) as file:
        stored = file.queue(queue)
    return None if stored is None else stored.kind


def require(path: Path) -> None:
    """See that a file is there, or end the program."""
    if not path.is_file():
        what = "it is no file" if path.exists() else "there is no such file"
        fail(f"{path}: {what}", USAGE)


@contextmanager
def failures(path: Path) -> Iterator[None]:
    """End the program with one line, if what is done with a store's file fails."""
    import sqlite3

    import msgspec

    from queueactors.stores._file import NotAStoreError
    from queueactors.stores._owner import OwnedError
    from queueactors.stores._transfer import TransferError

    try:
        yield
    except OwnedError as error:
        fail(owned_told(path, error), FAILED)
    except (NotAStoreError, TransferError) as error:
        fail(str(error), FAILED)
    except sqlite3.Error as error:
        fail(f"{path}: {error}{_HELP.get(str(error), '')}", FAILED)
    except msgspec.DecodeError as error:
        fail(f"{path}: the head of a queue cannot be read: {error}", FAILED)
    except OSError as error:
        fail(f"{error.filename or path}: {error.strerror or error}", FAILED)


def owned_told(path: Path, owner: OwnedError) -> str:
    """Return who has a store's file, and what to do."""
    return f"{path} belongs to {owner}; stop it first"


_HELP = {
    "database disk image is malformed": "; see: queueactors store check",
    "database or disk is full": "; make room and run it again",
}


def fail(message: str, code: int) -> NoReturn:
    """Tell what is wrong, and end the program."""
    say(*message.split("\n"), err=True)
    sys.exit(code)
