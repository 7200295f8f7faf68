"""``queueactors ready``: whether a running daemon is, for health checks and scripts."""

from __future__ import annotations

import json
import sys

import click

from ._places import FAILED, USAGE, fail
from ._text import say

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - who listens everywhere, listens here


@click.command()
@click.argument("source")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def ready(source: str, *, timeout: float, as_json: bool) -> None:
    """Ask a running daemon whether everything in it is up.

    SOURCE is the ADDRESS:PORT where it serves its metrics, or its configuration (.toml), which
    says so. The exit code is 0 if it is ready; 1 if it is not, a line for each thing that is not
    up; 1 also if it does not answer.

    Example: queueactors ready 127.0.0.1:9464
    """
    address = _address(source)
    missing = _ask(address, timeout)
    if as_json:
        click.echo(json.dumps({"ready": not missing, "missing": missing}))
    else:
        say(*(missing or ["ready"]))
    sys.exit(FAILED if missing else 0)


def _address(source: str) -> tuple[str, int]:
    """Return where to ask, or end the program."""
    from queueactors.metrics._options import parse_address

    listen: str | None = source
    if source.lower().endswith(".toml"):
        from queueactors.config import ConfigError, load_config

        try:
            listen = load_config(source).metrics.listen
        except ConfigError as error:
            fail(str(error), USAGE)
        if listen is None:
            told = "it serves no metrics, so nobody can be asked; see [metrics] listen"
            fail(f"{source}: {told}", USAGE)
    address = parse_address(listen)
    if address is None:
        fail(f"expected ADDRESS:PORT or a file whose name ends in .toml, got {source!r}", USAGE)
    host, port = address
    if not port:
        fail(f"{source}: port 0 is any port; give the one that the log tells", USAGE)
    return _ANY.get(host, host), port


def _ask(address: tuple[str, int], timeout: float) -> list[str]:
    """Return what is not up, or end the program."""
    import http.client
    from http import HTTPStatus

    host, port = address
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        text = response.read(1 << 20).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        told = " ".join(str(error).split()) or type(error).__name__  # it may quote a stranger
        fail(f"{host}:{port} does not answer: {told}", FAILED)
    finally:
        connection.close()
    if response.status not in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}:
        fail(f"{host}:{port} is no queueactors: it answers {response.status}", FAILED)
    if response.status == HTTPStatus.OK:
        return []
    return text.splitlines() or ["it does not say what"]
