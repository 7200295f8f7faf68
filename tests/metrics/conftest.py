"""Fixtures of all these tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

Events = list["MutableMapping[str, object]"]


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    """Return the list that log events go to: tests are quiet, and can read it."""
    with capture_logs() as captured:
        yield captured
