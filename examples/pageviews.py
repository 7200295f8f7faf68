"""Counts the page views of an access log, by page and hour: exactly, also after ``kill -9``.

    python examples/pageviews.py [FOLDER] [LINES]

The log, ``FOLDER/access.log``, is made first if it is not there: a week of a web site in the common
log format, from the seed below, so that the same number of lines is always the same log. Few pages
get most of the views, people sleep at night, crawlers do not, some requests fail, and some lines
are broken. Every line is counted: as a view of its page, or as what it was instead.

Lines are pushed to a batch queue with a merging buffer, so what is stored is not a row for each
line but a count for each page and hour. The process function adds them to totals in an SQLite file.

The queue hands each batch out at least once: a process that is killed after the totals were
committed, and before the queue knew of it, gets the batch again. Counted twice, that is wrong. So
the log is read in chunks, and each count says of which chunk it is. A chunk is pushed in one
operation and nothing flushes in the middle of one (there is no ``flush_size``): all of it is in one
batch, or lost with the process. (A flush of over 4 MiB would make several batches. So the next
chunk is pushed when this one is stored; and 500 lines of the 8 KiB that servers take are less.) The
totals note the chunks that they have, in the same transaction: one that is there already is left
out. What was lost is pushed again by the next run, which first lets the queue finish what is
stored, and then goes on with the chunks that the totals lack.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import sys
from bisect import bisect_left
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate, count, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import structlog
import trio

from queueactors import Fixed, open_runtime, wait_until_idle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueactors import BatchQueue

SEED: Final = 20_040_229
LINES: Final = 100_000
CHUNK: Final = 500  # lines
TOP: Final = 10  # pages that are shown
WIDTH: Final = 50  # characters of the longest bar

Count = list[object]  # of which chunk, what, in which hour, how many: as msgpack brings it back

# -- the log -------------------------------------------------------------------------------------

BEGIN: Final = datetime(2026, 11, 2, tzinfo=UTC)
HOURS: Final = 7 * 24
BUSY: Final = (2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 12, 11, 12, 12, 11, 10, 10, 11, 13, 13, 10, 7, 4)
SECTIONS: Final = ("blog", "docs", "shop", "news")
PAGES: Final = ("/", "/about", "/search", *(f"/{SECTIONS[n % 4]}/{n:03}" for n in range(400)))
ZIPF: Final = list(accumulate(1 / (rank + 1) ** 1.1 for rank in range(len(PAGES))))
FILES: Final = ("/style.css", "/app.js", "/logo.png", "/favicon.ico")
STATUSES: Final = {"200": 90, "304": 5, "301": 1, "404": 3, "500": 1}  # in a hundred


def make_log(lines: int) -> Iterator[str]:
    """Yield the lines of a log; the same ones for the same number."""
    dice = Random(SEED)  # noqa: S311 - the same log each time
    words, weights = list(STATUSES), list(STATUSES.values())
    busy = list(accumulate(BUSY[hour % 24] * (6 if hour < 120 else 4) for hour in range(HOURS)))
    seconds = (
        3600 * (bisect_left(busy, dice.random() * busy[-1]) + dice.random()) for _ in count()
    )
    crawled = 0
    for second in sorted(islice(seconds, lines)):
        at = (BEGIN + timedelta(seconds=second)).strftime("%d/%b/%Y:%H:%M:%S +0000")
        kind = dice.random()
        (status,) = dice.choices(words, weights)
        host = "198.51.100." + str(int(255 * dice.random() ** 2))
        (page,) = dice.choices(PAGES, cum_weights=ZIPF)
        request = f"GET {page} HTTP/1.1"
        if kind < 0.1:  # a crawler takes one page after the other
            crawled += 1
            host = f"crawl-{crawled % 7}.search.example"
            request = (
                f"GET {PAGES[crawled % len(PAGES)] if crawled % 50 else '/robots.txt'} HTTP/1.1"
            )
        elif kind < 0.4:
            request = f"GET {dice.choice(FILES)} HTTP/1.1"
        elif kind < 0.43:
            request = f"{dice.choice(['POST', 'HEAD'])} {page} HTTP/1.1"
        elif kind < 0.5:  # the same page with a query
            request = f"GET {page}?ref={dice.randrange(1000)} HTTP/1.1"
        elif kind < 0.502:  # who speaks TLS to it, or nothing at all
            request, status = dice.choice([(r"\x16\x03\x01\x02", "400"), ("-", "408")])
        size = "-" if status in {"304", "408"} else str(int(dice.lognormvariate(8.5, 1)))
        line = f'{host} - - [{at}] "{request}" {status} {size}'
        yield line[: dice.randrange(len(line))] if kind > 0.999 else line  # a disk that was full


# -- what a line is ------------------------------------------------------------------------------

LINE: Final = re.compile(
    r"(?P<host>\S+) \S+ \S+ \[(?P<day>\d\d/\w{3}/\d{4}):(?P<hour>\d\d):\d\d:\d\d [+-]\d{4}\] "
    r'"(?P<method>[A-Z]+) (?P<path>/[^\s?]*)\S* HTTP/[\d.]+" (?P<status>\d{3}) (?:\d+|-)'
)


def classify(line: str) -> tuple[str, str]:
    """Return what a line is, and in which hour: a page that was viewed, or why it is none."""
    found = LINE.fullmatch(line)
    if found is None:
        return "(broken)", ""
    hour = f"{found['day']} {found['hour']}"
    path: str = found["path"]
    if found["host"].startswith("crawl-") or path == "/robots.txt":
        return "(crawler)", hour
    if found["method"] != "GET":
        return "(no view)", hour
    if found["status"] not in {"200", "304"}:
        return "(failed)", hour
    return ("(file)" if path in FILES else path), hour


# -- the totals ----------------------------------------------------------------------------------

TABLES: Final = """
    CREATE TABLE IF NOT EXISTS counted (chunk INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS total (
        what TEXT, hour TEXT, lines INTEGER NOT NULL, PRIMARY KEY (what, hour)
    );
"""
ADD: Final = """
    INSERT INTO total VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET lines = lines + excluded.lines
"""


def open_totals(file: Path) -> sqlite3.Connection:
    """Open the file of the totals."""
    totals = sqlite3.connect(file)
    totals.executescript(TABLES)
    return totals


def add(file: Path, _queue: BatchQueue, items: list[Count]) -> None:
    """Add counts to the totals, and note their chunks: the process function, in a thread."""
    with closing(open_totals(file)) as totals, totals:  # one transaction
        totals.execute("BEGIN IMMEDIATE")
        there = {chunk for (chunk,) in totals.execute("SELECT chunk FROM counted")}
        new = {chunk for chunk, *_ in items} - there
        totals.executemany("INSERT INTO counted VALUES (?)", [(chunk,) for chunk in new])
        totals.executemany(ADD, [rest for chunk, *rest in items if chunk in new])


# -- the queue -----------------------------------------------------------------------------------


def key(item: Count) -> tuple[object, ...]:
    """Return what is counted together: a chunk's lines of one page and hour."""
    chunk, what, hour, _ = item
    return chunk, what, hour


def plus(old: Count, new: Count) -> Count:
    """Return the sum of two counts."""
    return [*old[:-1], old[-1] + new[-1]]  # type: ignore[operator] # two numbers


async def count_lines(folder: Path) -> None:
    """Count the lines of ``folder/access.log`` that are not in ``folder/totals.sqlite`` yet."""
    config = {"runtime": {"data_dir": str(folder)}, "store": {"disk": {"type": "sqlite"}}}
    file = folder / "totals.sqlite"
    async with open_runtime(config) as runtime:
        views = await runtime.define(
            "views",
            kind="batch",
            store="disk",
            process=partial(add, file),
            buffer="merging",
            merge_key=key,
            merge=plus,
            flush_size=0,  # not in the middle of a chunk
            batches=10,
            retry=Fixed(0, 1),
        )
        await wait_until_idle(runtime)  # what a run before has stored
        with closing(open_totals(file)) as totals:
            there = {chunk for (chunk,) in totals.execute("SELECT chunk FROM counted")}
        with (folder / "access.log").open(encoding="utf-8") as log:
            for chunk in count():
                lines = [line.removesuffix("\n") for line in islice(log, CHUNK)]
                if not lines:
                    break
                if chunk not in there:
                    counts = [[chunk, *classify(line), 1] for line in lines]
                    await views.push_many(counts, stored=True)  # a flush, and so a batch, for it
        await wait_until_idle(runtime)
        await views.close()


# -- the result ----------------------------------------------------------------------------------


def report(file: Path) -> Iterator[str]:
    """Yield a table of the pages and a plot of the hours, as text."""
    with closing(open_totals(file)) as totals:
        found = totals.execute("SELECT what, hour, lines FROM total").fetchall()
    pages: dict[str, int] = {}
    hours = dict.fromkeys(range(24), 0)
    for what, hour, lines in found:
        pages[what] = pages.get(what, 0) + lines
        if what.startswith("/"):
            hours[int(hour[-2:])] += lines
    others = {what: lines for what, lines in pages.items() if not what.startswith("/")}
    views = sum(pages.values()) - sum(others.values())
    yield f"{sum(pages.values()):,} lines, {views:,} views of {len(pages) - len(others)} pages"
    yield ", ".join(f"{lines:,} {what}" for what, lines in sorted(others.items()))
    yield ""
    yield f"{'page':<20} {'views':>8} {'share':>7}"
    viewed = [(lines, what) for what, lines in pages.items() if what not in others]
    for lines, what in sorted(viewed, reverse=True)[:TOP]:
        yield f"{what:<20} {lines:>8,} {lines / views:>7.1%}"
    yield ""
    yield "views by the hour of the day"
    most = max(hours.values(), default=0) or 1
    for hour, lines in hours.items():
        yield f"{hour:02} {lines:>8,} {'#' * round(WIDTH * lines / most)}".rstrip()


def main(folder: Path, lines: int) -> None:
    """Make the log if it is not there, count its lines, and print what came out."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "access.log"
    if not log.exists():
        part = folder / "access.log.part"
        with part.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in make_log(lines))
        part.rename(log)
    trio.run(count_lines, folder)
    print("\n".join(report(folder / "totals.sqlite")))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    given = dict(enumerate(sys.argv[1:]))
    main(Path(given.get(0, "var/pageviews")), int(given.get(1, LINES)))
