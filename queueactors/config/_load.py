"""`load_config`: from a file, a mapping or nothing to a checked configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import attrs

from ._faults import ConfigError, Fault, as_table, dotted
from ._schema import Config, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._faults import KeyPath
    from ._source import Source


def load_config(
    source: str | os.PathLike[str] | Mapping[str, object] | Config | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Return a configuration, read and checked; nothing is started.

    Targets are imported, and the directory of the file stays on ``sys.path`` for it.

    Args:
      source: The path of a TOML file; or the same tables as Python data, where a callable may
        stand for its target, and ``include`` starts from the current directory; or a `Config`,
        which is returned as it is. None: an empty configuration.
      environ: The variables for ``${NAME}``. None: those of the process.

    Raises:
      ConfigError: If anything is wrong; ``.faults`` has all of it.
      TypeError: If ``source`` is none of these.
    """
    if isinstance(source, Config):
        return source
    from ._source import Source

    if not (source is None or isinstance(source, Mapping | str | os.PathLike)):
        raise TypeError(f"expected source to be a path, a mapping, a Config or None: {source!r}")
    tables = Source(os.environ if environ is None else environ)
    try:
        return _load(source, tables)
    except RecursionError:
        file = None if source is None or isinstance(source, Mapping) else os.fspath(source)
        raise ConfigError([Fault(file, None, "", "values are nested too deeply")]) from None


def _load(source: str | os.PathLike[str] | Mapping[str, object] | None, tables: Source) -> Config:
    from ._check import check
    from ._targets import make_importable
    from ._traps import find_warnings

    file = None
    if source is None or isinstance(source, Mapping):
        tables.read_mapping(source or {})
    else:
        file = os.fspath(source)
        make_importable(os.path.dirname(file))  # noqa: PTH120 - as it was given
        tables.read_file(file)
    config = check(tables, file)
    if tables.faults:
        raise ConfigError(tables.faults)
    return attrs.evolve(config, origins=_Origins(tables), warnings=find_warnings(config, tables))


class _Origins(Mapping[str, Origin]):
    """Where each value came from, found when it is first asked: a start does not."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @cached_property
    def _all(self) -> dict[str, Origin]:
        return dict(_origins(self._source))

    def __getitem__(self, path: str) -> Origin:
        return self._all[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def _origins(source: Source) -> Iterator[tuple[str, Origin]]:
    """Say for each key that was given where it came from."""
    for path, value in _keys(source):
        real = source.real(path)
        place = source.place(path)
        texts = source.within(path)
        yield (
            dotted(path),
            Origin(
                file=place.file,
                line=place.line,
                table=None if real == path else dotted(real[:-1]),
                variables=tuple(dict.fromkeys(n for text in texts for n in text.variables)),
                secret=any(text.secret for text in texts),
                written=source.written(value, path),
                clear=source.written(value, path, secrets=True),
                masked=any(text.masked for text in texts),
            ),
        )


def _keys(source: Source) -> Iterator[tuple[KeyPath, object]]:
    from ._source import SINGLE, SORTS

    if ("schema",) in source.owners:
        yield ("schema",), 1
    singles = {sort: as_table(source.data.get(sort, {}).get("")) or {} for sort in SINGLE}
    yield from (((sort, key), value) for sort in SINGLE for key, value in singles[sort].items())
    for sort in SORTS:
        for name, table in source.data.get(sort, {}).items():
            for key, value in (as_table(table) or {}).items():
                if sort == "supervisor" and key == "child" and isinstance(value, list | tuple):
                    for index, child in enumerate(value):
                        for each, item in (as_table(child) or {}).items():
                            yield (sort, name, key, index, each), item
                else:
                    yield (sort, name, key), value
    for path, real in source.aliases.items():
        table = as_table(source.data["defaults"][str(real[1])]) or {}
        yield path, table[str(real[2])]
