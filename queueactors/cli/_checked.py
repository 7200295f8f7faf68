"""A configuration that a command reads, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NoReturn

import attrs
import click

from ._places import USAGE, fail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queueactors.config import Config, ConfigError, Fault


def load(file: str, *, as_json: bool = False) -> Config:
    """Return a configuration, or tell its faults and end the program."""
    from queueactors.config import ConfigError, load_config

    try:
        return load_config(file)
    except ConfigError as error:
        refuse(file, error, as_json=as_json)


def refuse(file: str | None, error: ConfigError, *, as_json: bool) -> NoReturn:
    """Tell the faults of a configuration, and end the program."""
    if as_json:
        echo_json({"file": file, "ok": False, **told(error.faults, ())})
        sys.exit(USAGE)
    fail(str(error), USAGE)


def told(faults: Iterable[Fault], warnings: Iterable[Fault]) -> dict[str, object]:
    """Return faults and warnings as JSON has them."""
    return {
        "faults": [attrs.asdict(each) for each in faults],
        "warnings": [attrs.asdict(each) for each in warnings],
    }


def echo_json(value: object, *, indent: int | None = None) -> None:
    """Print a JSON document."""
    click.echo(json.dumps(value, indent=indent))
