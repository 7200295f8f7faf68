"""Queues are moved to and from servers in a cluster, behind a sentinel, and behind TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from queueactors import RedisStore
from queueactors.stores._migrate import FileSide, migrate, redis_side
from queueactors.stores._transfer import TransferError

from .kit_file import TABLES, head, message, named, opened, put, rows
from .redis_servers import a_cluster, make_certificates, make_cluster, running, tls
from .test_redis_sentinel import own

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

NAMES = tuple("abcdefgh")  # so many that each of three masters has some


def quietly(_what: str, _queue: str) -> Callable[[int], None]:
    """Show no progress."""
    return lambda _done: None


def state(path: Path) -> dict[str, object]:
    """Return all that is in a file."""
    with opened(path) as file:
        return {name: (rows(file, name), head(file, name)) for name in file.names()}


async def there_and_back(folder: Path, store: RedisStore) -> None:
    """Move queues from a file to a server, and from there into another file."""
    with opened(folder / "a") as file:
        for name in NAMES:
            messages = [message(n, f"{name}{n}") for n in range(1, 30)]
            put(file, name, messages if name < "e" else [named(1, name, name)])
    before = state(folder / "a")

    async with redis_side(store, "server", TABLES) as side:
        with opened(folder / "a") as file:
            await migrate(FileSide(file, TABLES), side, NAMES, TABLES, quietly)
        with opened(folder / "b") as file:
            await migrate(side, FileSide(file, TABLES), NAMES, TABLES, quietly)

    assert state(folder / "a") == {}
    assert state(folder / "b") == before


async def test_of_a_cluster_each_queue_is_moved_wherever_it_is(tmp_path: Path) -> None:
    masters = a_cluster(tmp_path, 3)
    with running(*masters):
        await make_cluster(masters, [])
        store = RedisStore(url=masters[1].url, prefix=uuid4().hex)

        await there_and_back(tmp_path, store)

        async with redis_side(store, "server", TABLES) as side:
            with (
                opened(tmp_path / "b") as file,
                pytest.raises(TransferError, match="in a cluster nobody knows all queues"),
            ):
                await migrate(side, FileSide(file, TABLES), (), TABLES, quietly)


async def test_the_master_that_a_sentinel_names_is_used(tmp_path: Path) -> None:
    async with own(tmp_path) as servers:
        store = RedisStore(url=servers.url, prefix=uuid4().hex, sentinel="main")

        await there_and_back(tmp_path, store)


async def test_a_server_is_used_over_tls(tmp_path: Path, valkey: str) -> None:
    files = make_certificates(tmp_path)
    async with tls(valkey, files) as port:
        store = RedisStore(
            url=f"rediss://localhost:{port}", prefix=uuid4().hex, tls_ca=str(files / "cert.pem")
        )

        await there_and_back(tmp_path, store)
