"""The commands, and what an error of theirs looks like."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import attrs
import click

from queueactors.config import TEMPLATE, ConfigError, load_config, render

from ._store import store_
from ._transfer import export, import_

if TYPE_CHECKING:
    from queueactors.config import Config

USAGE, INTERRUPTED = 2, 130  # exit codes


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        """Run a command; Ctrl-C has an exit code of its own, wherever it lands."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="queueactors")
def main() -> None:
    """Named queues as supervised actors, from a configuration file."""


@main.command()
@click.argument("file")
@click.option("--until-idle", is_flag=True, help="End when there is nothing left to do.")
@click.option(
    "--log-format",
    type=click.Choice(["console", "json"]),
    default="console",
    show_default=True,
    help="How the log on standard error looks.",
)
def run(file: str, *, until_idle: bool, log_format: str) -> None:
    """Run the queues and workers of FILE until stopped.

    SIGINT (Ctrl-C) and SIGTERM stop everything in order; a second one stops it at once.
    """
    from ._run import run_config

    code = run_config(_load(file), until_idle=until_idle, log_format=log_format)
    sys.stdout.flush()  # what handlers printed: here a closed pipe is no traceback
    sys.exit(code)


@main.command()
@click.argument("file")
def check(file: str) -> None:
    """Check FILE, and import what it names. Starts nothing.

    Warnings go to standard error and change nothing about the exit code.
    """
    config = _load(file)
    counts = {
        "queue": len(config.queues),
        "worker": len(config.workers),
        "supervisor": len(config.supervisors),
    }
    if config.warnings:
        counts["warning"] = len(config.warnings)
    for warning in config.warnings:
        click.echo(str(attrs.evolve(warning, message=f"warning: {warning.message}")), err=True)
    told = ", ".join(f"{n} {thing}{'' if n == 1 else 's'}" for thing, n in counts.items())
    click.echo(f"{file}: ok ({told})")


@main.command("print")
@click.argument("file")
def print_(file: str) -> None:
    """Print the effective configuration of FILE, with where each value came from."""
    click.echo(render(_load(file)), nl=False)


@main.command()
@click.argument("file", default="queues.toml")
def init(file: str) -> None:
    """Write a commented configuration to FILE, which must not exist."""
    try:
        with open(file, "x", encoding="utf-8") as stream:  # noqa: PTH123 - "x" creates, or fails
            stream.write(TEMPLATE)
    except OSError as error:
        _fail(f"{file}: {error.strerror or error}")
    click.echo(f"wrote {file}; try: queueactors check {file}")


main.add_command(export)
main.add_command(import_)
main.add_command(store_)


def _load(file: str) -> Config:
    try:
        return load_config(file)
    except ConfigError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(USAGE)
