"""The example of the log shipper, in processes of its own."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "logship.py"
PATIENCE = 60  # seconds


def start(log: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", PROGRAM, log, log.with_name("archive.gz"), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(first: int, last: int) -> list[str]:
    return [f"line {number}\n" for number in range(first, last)]


def append(log: Path, some: list[str]) -> None:
    with log.open("a", encoding="ascii") as stream:
        stream.writelines(some)


def archived(log: Path) -> list[str]:
    """Return the lines of the archive, as far as it can be read: a kill may tear its end."""
    path, found = log.with_name("archive.gz"), b""
    if path.exists():
        with gzip.open(path) as stream:
            try:
                for line in stream:
                    found += line
            except EOFError:
                pass
    return found.decode().splitlines(keepends=True)


def wait_for(log: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE  # noqa: TID251 - a real process
    while len(archived(log)) < count:
        assert time.monotonic() < deadline  # noqa: TID251
        time.sleep(0.05)


@pytest.mark.slow
def test_a_log_that_grows_and_is_rotated_is_shipped_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, lines(0, 2000))
    program = start(log, "--until-quiet", "2")
    wait_for(log, 2000)
    append(log, [*lines(2000, 3000), "line 30"])  # the last one is not complete
    wait_for(log, 3000)
    append(log, ["00\n"])
    log.rename(tmp_path / "log.1")
    append(log, lines(3001, 3500))

    out, err = program.communicate(timeout=PATIENCE)

    assert (program.returncode, err) == (0, "")
    assert out.startswith("3500 lines in ")
    assert archived(log) == lines(0, 3500)


@pytest.mark.slow
def test_a_shipper_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for first in range(0, 3000, 1000):
        program = start(log)
        append(log, lines(first, first + 1000))
        wait_for(log, first + 500)
        program.send_signal(signal.SIGKILL)
        program.communicate(timeout=PATIENCE)

    out, err = start(log, "--until-quiet", "0.5").communicate(timeout=PATIENCE)

    assert err == ""
    assert "lines in" in out
    assert set(archived(log)) == set(lines(0, 3000))  # each at least once


@pytest.mark.slow
def test_half_a_member_at_the_end_of_the_archive_does_no_harm(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append(log, lines(0, 100))
    start(log, "--until-quiet", "0.5").communicate(timeout=PATIENCE)
    with log.with_name("archive.gz").open("ab") as stream:
        stream.write(gzip.compress(b"torn by a kill, or a full disk")[:-9])
    append(log, lines(100, 200))

    out, err = start(log, "--until-quiet", "0.5").communicate(timeout=PATIENCE)

    assert err == ""
    assert out.startswith("100 lines in ")
    assert gzip.decompress(log.with_name("archive.gz").read_bytes()).decode() == "".join(
        lines(0, 200)
    )
