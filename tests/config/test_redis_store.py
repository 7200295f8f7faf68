"""A Redis store in a configuration."""

from __future__ import annotations

import subprocess
import sys
from typing import cast

import pytest

from queueactors import Config, RedisStore, open_runtime
from queueactors.stores import MemoryStore

from .helpers import faults, load

STORE = '[store.shared]\ntype = "redis"\nurl = "redis://ann:hunter2@db:7000/3"\n'
QUEUE = '[queue.a]\nstore = "shared"\n'


def made(config: Config) -> object:
    """Return the store of a configuration."""
    store = config.stores["shared"]
    return cast("type", store.factory)(**store.options)


def test_it_is_made_of_its_options() -> None:
    config = load(STORE + QUEUE + 'kind = "timed"\nreservation_time = "30s"\n')

    store = made(config)
    assert isinstance(store, RedisStore)
    assert (store.url, store.poll) == ("redis://ann:hunter2@db:7000/3", 5.0)


def test_what_it_does_not_keep_is_a_fault() -> None:
    found = faults(STORE + QUEUE + 'kind = "batch"\nprocess = "builtins:print"\n')

    assert any(
        "store 'shared' keeps no queues of kind batch, only of timed, message, capacity, log"
        in each
        for each in found
    )


async def test_a_definition_of_what_it_does_not_keep_is_refused() -> None:
    class Small(MemoryStore):
        keeps = ("timed",)

    async with open_runtime() as runtime:
        runtime._stores["memory"] = Small()  # noqa: SLF001
        with pytest.raises(ValueError, match="keeps no queues of kind log, only of timed"):
            await runtime.define("a", kind="log")


def test_its_password_is_in_no_fault_and_in_no_repr() -> None:
    (told,) = faults(STORE + "poll = 0\n")

    assert "hunter2" not in told
    assert "hunter2" not in repr(made(load(STORE)))


@pytest.mark.slow
def test_a_check_does_not_import_the_client() -> None:
    load(STORE + QUEUE + 'kind = "timed"\nreservation_time = "30s"\n')
    code = (
        "import sys; from queueactors import load_config; load_config('q.toml');"
        "sys.exit('coredis' in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
