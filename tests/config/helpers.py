"""What the tests of this package share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queueactors.config import Config, ConfigError, load_config

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUE = '[queue.a]\nkind = "timed"\nreservation_time = 1\n'


def load(text: str, environ: Mapping[str, str] | None = None) -> Config:
    """Load a file ``q.toml`` of this text, after a first line with the schema."""
    Path("q.toml").write_text("schema = 1\n" + text, encoding="utf-8")
    return load_config("q.toml", environ={} if environ is None else environ)


def faults(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the faults of such a file, one line each."""
    with pytest.raises(ConfigError) as caught:
        load(text, environ)
    return str(caught.value).split("\n")


def mapping_faults(data: Mapping[str, object]) -> list[str]:
    """Return the faults of Python data."""
    with pytest.raises(ConfigError) as caught:
        load_config(data, environ={})
    return str(caught.value).split("\n")
