"""The bridge to prometheus_client: the same numbers, from any thread, at any time."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from prometheus_client import CollectorRegistry, Gauge, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families as parse_text

from queueactors import open_runtime
from queueactors.metrics import PrometheusCollector

if TYPE_CHECKING:
    from queueactors import Runtime

CONFIG = {
    "queue": {"q": {"kind": "timed", "reservation_time": 30}, "c": {"kind": "channel"}},
    "worker": {"w": {"queue": "c", "handler": print}},
}


def samples(text: str) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
    """Return all samples of a text."""
    return {
        (each.name, tuple(sorted(each.labels.items())), each.value)
        for family in parse_text(text)
        for each in family.samples
    }


def registry_of(runtime: Runtime) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(PrometheusCollector(runtime))
    return registry


async def test_it_yields_what_our_own_text_says() -> None:
    async with open_runtime(CONFIG) as runtime:
        await runtime.queue("q").insert("a", delay=100)
        registry = registry_of(runtime)

        theirs = samples(generate_latest(registry).decode())
        ours = samples(runtime.metrics().text())

    assert theirs == ours
    assert len(ours) > 80


async def test_it_stands_beside_the_programs_own() -> None:
    async with open_runtime(CONFIG) as runtime:
        registry = registry_of(runtime)
        Gauge("own", "The program's.", registry=registry).set(7)

        text = generate_latest(registry).decode()

    assert "\nown 7.0\n" in text
    assert 'queueactors_queue_up{kind="timed",queue="q"} 1.0' in text


async def test_another_thread_waits_until_the_loop_has_taken_the_numbers() -> None:
    async with open_runtime(CONFIG) as runtime:
        registry = registry_of(runtime)
        collect = partial(generate_latest, registry)

        from_a_thread = (await trio.to_thread.run_sync(collect)).decode()

        assert samples(from_a_thread) == samples(runtime.metrics().text())


@pytest.mark.slow
async def test_the_server_of_prometheus_client_can_serve_it() -> None:
    async with open_runtime(CONFIG) as runtime:
        server, thread = start_http_server(0, addr="127.0.0.1", registry=registry_of(runtime))
        url = f"http://127.0.0.1:{server.server_port}/metrics"

        def fetch() -> str:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())

        text = await trio.to_thread.run_sync(fetch)
        await trio.to_thread.run_sync(server.shutdown)
        server.server_close()
        thread.join()

    assert 'queueactors_queue_up{kind="timed",queue="q"} 1.0' in text


def test_after_the_end_of_trio_there_are_none() -> None:
    async def main() -> CollectorRegistry:
        async with open_runtime(CONFIG) as runtime:
            return registry_of(runtime)

    assert generate_latest(trio.run(main)) == b""


async def test_it_is_made_in_trio() -> None:
    async with open_runtime(CONFIG) as runtime:
        with pytest.raises(RuntimeError):
            await trio.to_thread.run_sync(PrometheusCollector, runtime)


# -- without the extra -----------------------------------------------------------------------------


def without(module: str, program: str) -> str:
    """Run a program in a process that does not have a module; return what it prints."""
    hide = f"import sys; sys.modules[{module!r}] = None\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", hide + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
def test_without_prometheus_client_its_error_names_the_extra() -> None:
    told = without(
        "prometheus_client.core",
        """
import queueactors.metrics
try:
    queueactors.metrics.PrometheusCollector
except ImportError as error:
    print(error)
""",
    )

    assert told == (
        "PrometheusCollector needs prometheus_client, which is not installed: "
        "pip install 'queueactors[metrics]'\n"
    )


@pytest.mark.slow
def test_without_h11_an_address_is_a_fault_that_names_the_extra() -> None:
    told = without(
        "h11",
        """
import queueactors, trio
try:
    queueactors.load_config({"metrics": {"listen": "127.0.0.1:0"}})
except queueactors.ConfigError as error:
    print(error)
async def main():
    async with queueactors.open_runtime({"queue": {"q": {"kind": "channel"}}}) as runtime:
        print(runtime.metrics().value("queueactors_queues"))
trio.run(main)
""",
    )

    assert told.startswith(
        "metrics.listen: listen needs h11, which is not installed: "
        "pip install 'queueactors[metrics]'\n"
    )
    assert "\n1\n" in told


@pytest.mark.slow
def test_importing_the_package_imports_neither() -> None:
    program = (
        "import sys, queueactors.metrics; print({'h11', 'prometheus_client'} & {*sys.modules})"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "set()\n"
