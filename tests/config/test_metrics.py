"""The table ``[metrics]``: its rules, its faults with their lines, and its warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueactors import OptionsError
from queueactors.config import Config, load_config, render
from queueactors.metrics import MetricsOptions

from .helpers import faults, load

WORD = "letters, digits and _, no digit first"
ADDRESS = "an address and a port, such as '127.0.0.1:9464' or '[::1]:9464'"


def test_without_it_nothing_is_served(folder: Path) -> None:
    assert load("").metrics == Config().metrics == MetricsOptions()
    assert load("").metrics.listen is None


def test_it_is_read(folder: Path) -> None:
    text = (
        '[metrics]\nlisten = "127.0.0.1:9464"\nnamespace = "q"\nmax_queues = 2\nmax_workers = 3\n'
    )

    assert load(text).metrics == MetricsOptions(
        listen="127.0.0.1:9464", namespace="q", max_queues=2, max_workers=3
    )


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:9464", "localhost:1", "127.9.9.9:65535"])
def test_a_loopback_address_is_no_surprise(listen: str, folder: Path) -> None:
    assert load(f'[metrics]\nlisten = "{listen}"\n').warnings == ()


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:80", "example.org:80"])
def test_any_other_address_is_a_warning_at_its_line(listen: str, folder: Path) -> None:
    (warning,) = load(f'[metrics]\nlisten = "{listen}"\n').warnings

    assert str(warning) == (
        "q.toml:3: metrics.listen: the metrics are served to other machines, without a password: "
        "they tell the names of queues and workers; use 127.0.0.1 unless a firewall says who may "
        "ask"
    )


@pytest.mark.parametrize(
    "listen",
    [
        *("", ":", ":9464", "9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"),
        *("127.0.0.1:-1", "::1:9464", "[::1]9464", "[127.0.0.1]:80", "a b:1", "http://a:1", "a:٣"),
        "a:000000001",
    ],
)
def test_what_is_no_address_is_a_fault_at_its_line(listen: str, folder: Path) -> None:
    assert faults(f'[metrics]\nlisten = "{listen}"\n') == [
        f"q.toml:3: metrics.listen: expected listen to be {ADDRESS}, got {listen!r}"
    ]


def test_every_fault_is_told_at_once(folder: Path) -> None:
    text = "[metrics]\nlisten = 1\nnamespace = '1'\nmax_queues = 0\nmax_workers = -1\nmax = 1\n"

    assert faults(text) == [
        "q.toml:3: metrics.listen: expected listen to be a string, got 1",
        f"q.toml:4: metrics.namespace: expected namespace to be {WORD}, got '1'",
        "q.toml:5: metrics.max_queues: expected max_queues to be an int >= 1, got 0",
        "q.toml:6: metrics.max_workers: expected max_workers to be an int >= 1, got -1",
        "q.toml:7: metrics.max: unknown key 'max'",
    ]


@pytest.mark.parametrize("namespace", [None, True, 1.0, b"q"])
def test_a_namespace_in_code_is_a_string_too(namespace: object) -> None:
    with pytest.raises(OptionsError, match=f"^expected namespace to be {WORD}, got {namespace!r}$"):
        MetricsOptions(namespace=namespace)  # type: ignore[arg-type] # on purpose


def test_an_included_file_may_not_have_it(folder: Path) -> None:
    Path("b.toml").write_text("[metrics]\nmax_queues = 1\n", encoding="utf-8")

    assert faults('include = ["b.toml"]\n') == [
        (
            "b.toml:1: metrics: an included file may not have [metrics], "
            "unless it says override = true"
        )
    ]


def test_it_is_printed_with_where_it_came_from(folder: Path) -> None:
    config = load('[metrics]\nlisten = "127.0.0.1:${PORT:-1}"\n')

    printed = render(config)

    assert 'listen = "127.0.0.1:1"  # ${PORT}, q.toml:3' in printed
    assert "max_queues = 1000  # default" in printed
    assert load_config(config) is config
