"""The page views of an access log: the same totals as a plain loop over it, however it ends."""

from __future__ import annotations

import runpy
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import trio

from queueactors import open_runtime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio.testing import MockClock

PROGRAM: Final = Path(__file__).parents[2] / "examples" / "pageviews.py"
EXAMPLE: Final = runpy.run_path(str(PROGRAM))
LINES: Final = 20_000
KILLS: Final = 3

Totals = dict[tuple[str, str], int]


def command(folder: Path) -> list[str]:
    return [sys.executable, "-W", "error", str(PROGRAM), str(folder), str(LINES)]


def totals(folder: Path) -> Totals:
    """Return what the program has counted."""
    with closing(sqlite3.connect(folder / "totals.sqlite")) as file:
        rows = file.execute("SELECT what, hour, lines FROM total").fetchall()
    return {(what, hour): lines for what, hour, lines in rows}


def chunks(folder: Path) -> int:
    """Return how many chunks are in the totals."""
    if not (folder / "totals.sqlite").exists():
        return 0
    with closing(sqlite3.connect(folder / "totals.sqlite")) as file:
        if not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'counted'").fetchall():
            return 0
        (number,) = file.execute("SELECT count(*) FROM counted").fetchone()
    return int(number)


def plainly(lines: Iterable[str]) -> Totals:
    """Return what a plain loop counts."""
    return dict(Counter(map(EXAMPLE["classify"], lines)))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{} "GET /a HTTP/1.1" 200 17', "/a"),
        ('{} "GET /a?b=c HTTP/1.1" 304 -', "/a"),
        ('{} "GET /style.css HTTP/1.0" 200 17', "(file)"),
        ('{} "GET /a HTTP/1.1" 404 17', "(failed)"),
        ('{} "HEAD /a HTTP/1.1" 200 -', "(no view)"),
        ('crawl-{} "GET /a HTTP/1.1" 200 17', "(crawler)"),
        ('{} "GET /robots.txt HTTP/1.1" 200 17', "(crawler)"),
        (r'{} "\x16\x03\x01" 400 226', "(broken)"),
        ('{} "-" 408 -', "(broken)"),
        ('{} "GET /a HTT', "(broken)"),
        ("", "(broken)"),
    ],
)
def test_a_line_is_the_view_of_a_page_or_what_it_was_instead(line: str, what: str) -> None:
    line = line.format("192.0.2.1 - ann [29/Feb/2004:23:59:59 +0100]")

    hour = "" if what == "(broken)" else "29/Feb/2004 23"
    assert EXAMPLE["classify"](line) == (what, hour)


def test_the_same_number_of_lines_is_always_the_same_log() -> None:
    log = list(EXAMPLE["make_log"](500))

    assert log == list(EXAMPLE["make_log"](500))
    assert {what for what, _ in plainly(log)} > {"/", "(crawler)", "(failed)", "(file)"}


def test_a_chunk_that_comes_again_is_not_added_again(tmp_path: Path) -> None:
    file = tmp_path / "totals.sqlite"
    first = [[1, "/", "h", 5], [1, "/a", "h", 1], [2, "/", "h", 7]]

    EXAMPLE["add"](file, None, first)
    EXAMPLE["add"](file, None, first[:2])  # as after a kill: in other company
    EXAMPLE["add"](file, None, [first[2], [3, "/", "h", 1]])

    assert totals(tmp_path) == {("/", "h"): 13, ("/a", "h"): 1}


@pytest.mark.slow
async def test_no_chunk_is_in_two_batches_however_long_its_lines_are(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await trio.sleep_forever()

    count_lines = EXAMPLE["count_lines"]
    monkeypatch.setitem(count_lines.__globals__, "add", hang)
    line = '192.0.2.1 - - [29/Feb/2004:23:59:59 +0100] "GET /{} HTTP/1.1" 200 17\n'
    with (tmp_path / "access.log").open("w", encoding="utf-8") as log:
        log.writelines(line.format(f"{n:08000}") for n in range(3 * EXAMPLE["CHUNK"]))

    with trio.move_on_after(60):
        await count_lines(tmp_path)

    config = {"runtime": {"data_dir": str(tmp_path)}, "store": {"disk": {"type": "sqlite"}}}
    async with open_runtime(config) as runtime:
        views = await runtime.define("views", kind="batch", store="disk", process=hang)
        await views.pause()
        batches = await views.peek(limit=10) + await views.peek("claimed", limit=10)
    found = [{chunk for chunk, *_ in batch.items} for batch in batches]  # type: ignore[misc, has-type] # lists
    assert sorted(chunk for some in found for chunk in some) == [0, 1, 2]


@pytest.mark.slow
def test_the_totals_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    for _ in range(2):  # the second time all of it is there
        done = subprocess.run(
            command(tmp_path), capture_output=True, text=True, timeout=60, check=False
        )

        assert done.returncode == 0, done.stderr
        with (tmp_path / "access.log").open(encoding="utf-8") as log:
            expected = plainly(line.removesuffix("\n") for line in log)
        assert totals(tmp_path) == expected
        first, *_ = done.stdout.splitlines()
        views = sum(lines for (what, _), lines in expected.items() if what.startswith("/"))
        assert first.startswith(f"{LINES:,} lines, {views:,} views of ")
        assert "\n12 " in done.stdout


@pytest.mark.slow
@pytest.mark.long
def test_the_totals_are_those_of_a_plain_loop_also_after_kills(tmp_path: Path) -> None:
    ends = []
    for _ in range(KILLS):
        before = chunks(tmp_path)
        program = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60  # noqa: TID251 - a real process
        while chunks(tmp_path) == before:
            assert program.poll() is None
            assert time.monotonic() < deadline  # noqa: TID251
        program.kill()
        program.wait()
        ends.append(chunks(tmp_path))
    assert ends[0] < LINES // EXAMPLE["CHUNK"]

    subprocess.run(command(tmp_path), stdout=subprocess.DEVNULL, timeout=60, check=True)

    with (tmp_path / "access.log").open(encoding="utf-8") as log:
        assert totals(tmp_path) == plainly(line.removesuffix("\n") for line in log)
