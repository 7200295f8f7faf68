"""Checks the tables against the schema, and against each other.

Supervisors and their children are left to `_tree`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeVar, Union

import attrs

from queueactors.metrics._options import MetricsOptions
from queueactors.queues._kind_options import KIND_OPTIONS
from queueactors.queues._options import StoredOptions
from queueactors.workers._options import WorkerOptions, unfit
from supervisors import did_you_mean

from ._reader import Reader, defaults, required
from ._schema import Config, ControlOptions, QueueConfig, RuntimeOptions, StoreConfig
from ._source import SORTS
from ._targets import TargetError, target_text
from ._tree import SUPERVISOR_KEYS, read_supervisors

if TYPE_CHECKING:
    from ._faults import KeyPath
    from ._reader import Hints
    from ._source import Source

Table = dict[str, object]
Tables = dict[str, Table]
Made = TypeVar("Made")

_MEMORY = "memory"
STORE_TYPES: Final = (_MEMORY, "sqlite", "redis")
_NO_QUEUE = ("drop", "bury")  # what on_exhausted may be instead of a queue


def check(source: Source, file: str | None) -> Config:
    """Return the configuration that tables mean, after noting every fault in ``source``.

    It is worth something only if there was none.
    """
    reader = Reader(source)
    tables: dict[str, Tables] = {}
    for sort in SORTS:
        named = source.data.get(sort, {})
        tables[sort] = {name: reader.table((sort, name), value) for name, value in named.items()}
    _apply_defaults(reader, tables)
    tables["store"].setdefault(_MEMORY, {"type": _MEMORY})
    runtime = _single(reader, "runtime", RuntimeOptions)
    metrics = _single(reader, "metrics", MetricsOptions)
    stores = _stores(reader, tables["store"])
    return Config(
        runtime=runtime,
        metrics=metrics,
        control=_single(reader, "control", ControlOptions),
        stores=stores,
        queues=_queues(reader, tables, stores),
        workers=_workers(reader, tables),
        supervisors=read_supervisors(reader, tables),
        file=file,
    )


def _apply_defaults(reader: Reader, tables: dict[str, Tables]) -> None:
    """Give each table the keys of its sort's defaults table that it does not have."""
    kinds = {kind: {"kind", *reader.hints(options)} for kind, options in KIND_OPTIONS.items()}
    allowed = _allowed(reader)
    for sort, value in reader.source.data.get("defaults", {}).items():
        path: KeyPath = ("defaults", sort)
        if sort not in allowed:
            reader.refuse(path, f"unknown table {sort!r}{did_you_mean(sort, allowed)}")
            continue
        for key, default in reader.table(path, value).items():
            if key not in allowed[sort]:
                hint = did_you_mean(key, allowed[sort])
                reader.refuse((*path, key), f"unknown key {key!r}{hint}")
                continue
            takers = [
                (name, table)
                for name, table in tables[sort].items()
                if key not in table and (sort != "queue" or _has(kinds, value, table, key))
            ]
            for name, table in takers:
                table[key] = default
                reader.source.aliases[sort, name, key] = (*path, key)
            if not takers:  # nobody else will look at it
                reader.convert((*path, key), key, allowed[sort][key], default)


def _allowed(reader: Reader) -> dict[str, Hints]:
    """Return the keys of each defaults table, and the annotation of each."""
    queue: dict[str, list[object]] = {"kind": [Literal[tuple(KIND_OPTIONS)]]}
    for options in KIND_OPTIONS.values():
        for key, hint in reader.hints(options).items():
            queue.setdefault(key, []).append(hint)
    return {
        "queue": {key: Union[tuple(hints)] for key, hints in queue.items()},  # noqa: UP007 - of a list
        "worker": reader.hints(WorkerOptions),
        "supervisor": SUPERVISOR_KEYS,
    }


def _has(kinds: dict[str, set[str]], defaults: object, table: Table, key: str) -> bool:
    """Whether the queue's kind has a key; a kind that is wrong is reported elsewhere."""
    kind = table.get("kind", defaults.get("kind") if isinstance(defaults, dict) else None)
    return not isinstance(kind, str) or key in kinds.get(kind, {key})


def _single(reader: Reader, name: str, options: type[Made]) -> Made:
    """Return the options of a table that there is one of."""
    if name not in reader.source.data:
        return options()
    table = reader.table((name,), reader.source.data[name][""])
    return reader.build(options, (name,), table) or options()


def _stores(reader: Reader, tables: Tables) -> dict[str, StoreConfig]:
    stores = {}
    for name, table in tables.items():
        path = ("store", name)
        if path in reader.refused:
            continue
        factory = _factory(reader, path, table)
        if factory is not None:
            given = {key: value for key, value in table.items() if key != "type"}
            options = reader.read(path, given, reader.hints(factory), required(factory))
            reader.make(factory, path, options)  # opens nothing; but what it refuses is a fault
            kind = table["type"]
            type_ = kind if isinstance(kind, str) else target_text(kind) or repr(kind)
            stores[name] = StoreConfig(
                type=type_, factory=factory, options=defaults(factory) | options
            )
    return stores


def store_class(type_: str) -> type:
    """Return the class of a store of ours, by its type; only that is imported."""
    if type_ == _MEMORY:
        from queueactors.stores import MemoryStore

        return MemoryStore
    if type_ == "sqlite":
        from queueactors.stores import SqliteStore

        return SqliteStore
    from queueactors.stores import RedisStore

    return RedisStore


def _factory(reader: Reader, path: KeyPath, table: Table) -> type | None:
    """Return the class of a store; None if there is none."""
    at = (*path, "type")
    kind = table.get("type")
    if "type" not in table:
        reader.refuse(path, "type is required")
    elif at in reader.refused:
        pass
    elif isinstance(kind, str) and kind in STORE_TYPES:
        return store_class(kind)
    elif isinstance(kind, str) and ":" not in kind:
        secret = reader.got(at, kind) != repr(kind)
        hint = "" if secret else did_you_mean(kind, STORE_TYPES)
        known = ", ".join(map(repr, STORE_TYPES))
        told = f"expected type to be one of {known} or a target 'module:Class', got "
        reader.refuse(at, f"{told}{reader.got(at, kind)}{hint}")
    else:
        return _own_store(reader, at, kind)
    return None


def _own_store(reader: Reader, at: KeyPath, kind: object) -> type | None:
    try:
        found = reader.targets.load(kind) if isinstance(kind, str) else kind
        if isinstance(found, type) and attrs.has(found):
            reader.hints(found)
            return found
    except TargetError as error:
        reader.refuse_foreign(at, str(error))
    except Exception as error:  # noqa: BLE001 - annotations may be anything
        reader.refuse_foreign(at, f"the annotations of the class cannot be read: {error}")
    else:
        reader.refuse(at, f"expected type to be an attrs class, got {reader.got(at, kind)}")
    return None


def _queues(
    reader: Reader, tables: dict[str, Tables], stores: dict[str, StoreConfig]
) -> dict[str, QueueConfig]:
    queues = {}
    for name, table in tables["queue"].items():
        path = ("queue", name)
        if path in reader.refused:
            continue
        kind = table.get("kind")
        if not isinstance(kind, str) or kind not in KIND_OPTIONS:
            _wrong_kind(reader, path, table)
            continue
        given = {key: value for key, value in table.items() if key != "kind"}
        options = reader.build(KIND_OPTIONS[kind], path, given)
        _exists(reader, path, "store", given, tables["store"])
        _check_store(reader, path, given, kind, stores)
        if given.get("on_exhausted", "drop") not in _NO_QUEUE:
            _check_dead_letter(reader, path, given, tables["queue"])
        if options is not None:
            queues[name] = QueueConfig(name=name, kind=kind, options=options)
    return queues


def _check_store(
    reader: Reader, path: KeyPath, given: Table, kind: str, stores: dict[str, StoreConfig]
) -> None:
    """Note a store that does not keep the kind: a durable one, if only memory can keep it."""
    name = given.get("store", _MEMORY)
    if not isinstance(name, str) or name not in stores:
        return
    factory = stores[name].factory
    at = (*path, "store") if "store" in given else path
    if not issubclass(KIND_OPTIONS[kind], StoredOptions):
        if getattr(factory, "durable", False) is True:
            told = f"a {kind} is kept in memory only, and store {reader.got(at, name)} is durable"
            reader.refuse(at, told)
    elif kind not in getattr(factory, "keeps", KIND_OPTIONS):
        keeps = ", ".join(getattr(factory, "keeps", ()))
        told = f"store {reader.got(at, name)} keeps no queues of kind {kind}, only of {keeps}"
        reader.refuse(at, told)


def _wrong_kind(reader: Reader, path: KeyPath, table: Table) -> None:
    if "kind" not in table:
        reader.refuse(path, f"kind is required: {', '.join(KIND_OPTIONS)}")
    elif (*path, "kind") not in reader.refused:
        reader.convert((*path, "kind"), "kind", Literal[tuple(KIND_OPTIONS)], table["kind"])


def _check_dead_letter(reader: Reader, path: KeyPath, given: Table, queues: Tables) -> None:
    at = (*path, "on_exhausted")
    to = given.get("on_exhausted")
    if not isinstance(to, str) or at in reader.refused:
        return
    if to == path[1]:
        reader.refuse(at, "a queue cannot be its own dead letter queue; use 'bury' or 'drop'")
    elif to not in queues:
        reader.unknown(at, "queue", to, [*_NO_QUEUE, *queues])


def _workers(reader: Reader, tables: dict[str, Tables]) -> dict[str, WorkerOptions]:
    workers = {}
    for name, table in tables["worker"].items():
        path = ("worker", name)
        if path in reader.refused:
            continue
        options = reader.build(WorkerOptions, path, table)
        _exists(reader, path, "queue", table, tables["queue"])
        _check_letters(reader, path, table, tables["queue"])
        if options is not None:
            _check_fed(reader, path, options, tables["queue"])
        if options is not None:
            workers[name] = options
    return workers


def _check_letters(reader: Reader, path: KeyPath, table: Table, queues: Tables) -> None:
    """Note a queue for dead letters that is not there."""
    at = (*path, "dead_letter")
    name = table.get("dead_letter")
    if isinstance(name, str) and name not in queues and at not in reader.refused:
        reader.unknown(at, "queue", name, queues)


def _check_fed(reader: Reader, path: KeyPath, options: WorkerOptions, queues: Tables) -> None:
    """Note options that are not for the kind of the worker's queue."""
    kind = queues.get(options.queue, {}).get("kind")
    if isinstance(kind, str) and kind in KIND_OPTIONS:
        for option, told in unfit(options, kind):
            reader.refuse((*path, option), told)


def _exists(reader: Reader, path: KeyPath, key: str, table: Table, known: Tables) -> None:
    at = (*path, key)
    name = table.get(key)
    if isinstance(name, str) and name not in known and at not in reader.refused:
        reader.unknown(at, key, name, known)
