"""The mark for tests that are too slow to be traced holds what it promises."""

from __future__ import annotations

import sys
import threading

import pytest


@pytest.mark.no_cover
def test_what_is_marked_no_cover_is_not_traced() -> None:
    assert sys.gettrace() is None
    assert threading.gettrace() is None
