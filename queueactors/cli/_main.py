"""The commands, and what an error of theirs looks like."""

from __future__ import annotations

import sys

import attrs
import click

from ._checked import echo_json, load, told
from ._early import end_at_signals, take_signals
from ._look import LOOKING
from ._messages import ABOUT_MESSAGES
from ._migrate import migrate
from ._operate import OPERATING
from ._places import USAGE, fail
from ._ready import ready
from ._reload import plan, reload
from ._store import store_
from ._text import say
from ._top_command import top
from ._transfer import export, import_

INTERRUPTED = 130  # exit code


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        """Run a command; Ctrl-C has an exit code of its own, wherever it lands."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


_json = click.option("--json", "json_", is_flag=True, help="Print the result as JSON.")


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

    SIGINT (Ctrl-C) and SIGTERM stop everything in order; a second one stops it at once. The exit
    code is 0 when it is idle or was stopped by SIGTERM, 130 after Ctrl-C, 1 if something failed.
    SIGHUP reloads FILE: what is changed in it is changed in what runs; nothing if it has faults.

    Example: queueactors run queues.toml --log-format json
    """
    hangup = take_signals()  # unless `queueactors.__main__` has, before anything that takes time
    from queueactors.config import ConfigError

    from ._run import run_file

    try:
        code = run_file(file, until_idle=until_idle, log_format=log_format, hangup=hangup)
    except ConfigError as error:
        fail(str(error), USAGE)
    end_at_signals(code)
    sys.stdout.flush()  # what handlers printed: here a closed pipe is no traceback
    sys.exit(code)


@main.command()
@click.argument("file")
@_json
def check(file: str, *, json_: bool) -> None:
    """Check FILE, and import what it names. Starts nothing.

    Faults go to standard error, one a line, and the exit code is 2. So do warnings, which change
    nothing about the exit code.

    Example: queueactors check queues.toml
    """
    config = load(file, as_json=json_)
    counts = {
        "queue": len(config.queues),
        "worker": len(config.workers),
        "supervisor": len(config.supervisors),
    }
    if json_:
        echo_json({"file": file, "ok": True, "counts": counts, **told((), config.warnings)})
        return
    if config.warnings:
        counts["warning"] = len(config.warnings)
    for warning in config.warnings:
        say(str(attrs.evolve(warning, message=f"warning: {warning.message}")), err=True)
    counted = ", ".join(f"{n} {thing}{'' if n == 1 else 's'}" for thing, n in counts.items())
    say(f"{file}: ok ({counted})")


@main.command("print")
@click.argument("file")
@click.option("--show-secrets", is_flag=True, help="Show secrets, not only where they are from.")
@_json
def print_(file: str, *, show_secrets: bool, json_: bool) -> None:
    """Print the effective configuration of FILE, with where each value came from.

    What is printed is a configuration again. Example: queueactors print queues.toml
    """
    from queueactors.config import as_json, render

    config = load(file, as_json=json_)
    if json_:
        printed = as_json(config, secrets=show_secrets)
        echo_json({"file": file, "ok": True, **printed, **told((), config.warnings)})
    else:
        click.echo(render(config, secrets=show_secrets), nl=False)


@main.command()
def schema() -> None:
    """Print the JSON schema of a configuration, for editors.

    Example: queueactors schema > queues.schema.json; then write #:schema queues.schema.json into
    the first line of a configuration, for Taplo and Even Better TOML.
    """
    from queueactors.config import json_schema

    echo_json(json_schema(), indent=2)


@main.command()
@click.argument("file", default="queues.toml")
def init(file: str) -> None:
    """Write a commented configuration to FILE, which must not exist.

    Example: queueactors init queues.toml
    """
    from queueactors.config import TEMPLATE

    try:
        with open(file, "x", encoding="utf-8") as stream:  # noqa: PTH123 - "x" creates, or fails
            stream.write(TEMPLATE)
    except OSError as error:
        fail(f"{file}: {error.strerror or error}", USAGE)
    click.echo(f"wrote {file}; try: queueactors check {file}")


main.add_command(export)
main.add_command(import_)
main.add_command(migrate)
main.add_command(ready)
main.add_command(store_)
main.add_command(top)
for _command in (*LOOKING, *ABOUT_MESSAGES, *OPERATING, plan, reload):
    main.add_command(_command)
