"""How much of the write-ahead log is in use is what SQLite itself says of it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from queueactors.stores import _file
from queueactors.stores._file import FRAME_HEADER, WAL_HEADER, StandardDriver

from .kit_file import message, opened, put

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("longest", [0, 100_000, _file.LONGEST_LOG])
def test_it_is_what_a_checkpoint_finds(
    longest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_file, "LONGEST_LOG", longest)
    random = Random(longest)
    path = tmp_path / "f"
    seen: set[bool] = set()
    with opened(path) as file:
        number = 0
        for _ in range(60):
            for _ in range(random.randrange(1, 9)):
                number += 1
                put(file, "q", [message(number, b"a" * random.randrange(50_000))])
            size = file.log_size()

            connection = StandardDriver.connect(str(path))
            try:
                ((page,),) = connection.execute("PRAGMA page_size")
                ((_, frames, _),) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                connection.close()
            assert isinstance(page, int)
            assert isinstance(frames, int)
            assert size == WAL_HEADER + frames * (FRAME_HEADER + page)
            seen.add(size < path.with_name("f-wal").stat().st_size)
    assert seen == ({False} if longest == 0 else {False, True})


def test_no_log_and_an_empty_one_have_no_size(tmp_path: Path) -> None:
    with opened(tmp_path / "f") as file:
        put(file, "q", [message(1, b"a")])
        assert file.log_size() > WAL_HEADER
        file.vacuum()
        assert file.log_size() == 0
        (tmp_path / "f-wal").unlink()
        assert file.log_size() == 0


def test_to_move_the_log_makes_no_file_where_it_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with opened(path) as file:
        put(file, "q", [message(1, b"a")])
        path.unlink()

        file.checkpoint()

        assert not path.exists()


def test_to_move_the_log_leaves_a_file_alone_that_came_in_its_place(tmp_path: Path) -> None:
    path, other = tmp_path / "f", tmp_path / "other"
    with opened(other) as file:
        put(file, "other", [message(1, b"b")])
    before = other.read_bytes()
    with opened(path) as file:
        put(file, "q", [message(1, b"a")])
        other.replace(path)

        file.checkpoint()

        assert path.read_bytes() == before
