"""Rows in a file, mapped: written once, kept over a restart, unharmed by a full disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from oracles import draw_noise
from rooms import files_no_longer_than
from vectorbucket_server.engine.embedded.column import Column
from vectorbucket_server.model import Float32Array

Floats = Column[np.float32]

DIMENSION = 64
ROW_BYTES = DIMENSION * 4


def noise(count: int, seed: int = 1) -> Float32Array:
    """Return rows to write."""
    return draw_noise(count, DIMENSION, seed=seed)


@pytest.fixture(name="column")
def fixture_column(tmp_path: Path) -> Iterator[Floats]:
    """Yield an empty column."""
    column = Column(tmp_path / "column.f32", DIMENSION, np.float32)
    yield column
    column.close()


def test_rows_come_back_bit_for_bit(column: Floats) -> None:
    rows = noise(100)
    rows[3, 5], rows[4, 6] = -0.0, np.float32(1e-45)
    column.write(0, rows)
    assert column.rows[:100].tobytes() == rows.tobytes()


def test_rows_are_placed_by_slot_whatever_the_size_of_the_pieces(column: Floats) -> None:
    rows = noise(1_000)
    first = 0
    for count in (1, 499, 7, 293, 200):
        column.write(first, rows[first : first + count])
        first += count
    assert column.rows[:1_000].tobytes() == rows.tobytes()


def test_new_column_is_empty(column: Floats) -> None:
    assert column.rows.shape == (0, DIMENSION)
    assert column.rows.dtype == np.float32


def test_writing_no_rows_changes_nothing(column: Floats) -> None:
    column.write(0, noise(0))
    column.write(0, noise(2))
    column.write(2, noise(0))
    assert column.rows[:2].tobytes() == noise(2).tobytes()


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64])
def test_row_may_be_of_any_type(tmp_path: Path, dtype: type[np.generic]) -> None:
    rows = np.arange(-60, 60).reshape(40, 3).astype(dtype)
    column = Column(tmp_path / "column", 3, dtype)
    column.write(0, rows[:7])
    column.write(7, rows[7:])
    assert column.rows.dtype == dtype
    assert column.rows[:40].tolist() == rows.tolist()
    assert (tmp_path / "column").read_bytes()[: rows.nbytes] == rows.tobytes()
    column.close()


@pytest.mark.parametrize("dimension", [1, 3, 4_096])
def test_row_may_have_any_dimension(tmp_path: Path, dimension: int) -> None:
    column = Column(tmp_path / "column.f32", dimension, np.float32)
    rows = draw_noise(700, dimension, seed=2)
    column.write(0, rows[:3])
    column.write(3, rows[3:])
    assert column.rows[:700].tobytes() == rows.tobytes()
    column.close()


def test_file_holds_the_rows_from_its_first_byte_on(column: Floats, tmp_path: Path) -> None:
    column.write(0, noise(10))
    assert (tmp_path / "column.f32").read_bytes()[: 10 * ROW_BYTES] == noise(10).tobytes()


def test_rows_that_were_staged_but_not_published_are_overwritten(column: Floats) -> None:
    column.write(0, noise(5))
    column.write(5, noise(8, seed=2))
    column.write(5, noise(4, seed=3))
    assert column.rows[:9].tobytes() == noise(5).tobytes() + noise(4, seed=3).tobytes()


def test_growth_makes_a_new_mapping_and_leaves_the_old_one_valid(column: Floats) -> None:
    column.write(0, noise(10))
    old = column.rows
    column.write(10, noise(20_000, seed=2))
    assert column.rows is not old
    assert len(column.rows) >= 20_010 > len(old)
    assert old[:10].tobytes() == noise(10).tobytes()
    assert column.rows[:10].tobytes() == noise(10).tobytes()
    assert column.rows[10:20_010].tobytes() == noise(20_000, seed=2).tobytes()


def test_growth_is_rare(column: Floats) -> None:
    mappings = {id(column.rows): column.rows}
    for first in range(0, 40_000, 100):
        column.write(first, noise(100))
        mappings[id(column.rows)] = column.rows
    assert len(mappings) < 8


def test_room_that_is_reserved_takes_no_disk(column: Floats, tmp_path: Path) -> None:
    column.write(0, noise(2))
    status = (tmp_path / "column.f32").stat()
    assert status.st_size >= 1 << 20
    assert status.st_blocks * 512 < 1 << 18


def test_nobody_can_write_through_the_mapping(column: Floats) -> None:
    column.write(0, noise(2))
    assert not column.rows.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        column.rows[0, 0] = 1.0


def test_file_is_nobody_elses_and_not_inherited(column: Floats, tmp_path: Path) -> None:
    assert (tmp_path / "column.f32").stat().st_mode & 0o777 == 0o600
    assert not os.get_inheritable(column._file)


def test_file_of_an_earlier_life_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "column.f32").write_bytes(b"\xff" * 4_096)
    column = Column(tmp_path / "column.f32", DIMENSION, np.float32)
    assert (tmp_path / "column.f32").stat().st_size == 0
    column.write(0, noise(1))
    assert not column.rows[1:16].any()
    column.close()


def written(path: Path, count: int) -> Float32Array:
    """Leave a column of noise behind and return its rows."""
    column, rows = Column(path, DIMENSION, np.float32), noise(count)
    column.write(0, rows)
    column.close()
    return rows


@pytest.mark.parametrize("count", [1, 999, 1_000])
def test_column_goes_on_behind_the_rows_that_are_kept(tmp_path: Path, count: int) -> None:
    rows, newer = written(tmp_path / "column.f32", 1_000), noise(9_000, seed=2)
    column = Column(tmp_path / "column.f32", DIMENSION, np.float32, count=count)
    assert column.rows[:count].tobytes() == rows[:count].tobytes()
    before = column.rows
    column.write(count, newer)
    assert column.rows[:count].tobytes() == before[:count].tobytes() == rows[:count].tobytes()
    assert column.rows[count : count + 9_000].tobytes() == newer.tobytes()
    column.close()


def test_column_may_be_kept_of_a_file_that_ends_with_its_last_row(tmp_path: Path) -> None:
    rows = noise(10)
    (tmp_path / "column.f32").write_bytes(rows.tobytes())
    column = Column(tmp_path / "column.f32", DIMENSION, np.float32, count=10)
    assert column.rows.tobytes() == rows.tobytes()
    assert not column.rows.flags.writeable
    column.write(10, rows)
    assert column.rows[:20].tobytes() == rows.tobytes() * 2
    column.close()


def test_file_that_is_too_short_for_the_rows_to_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / "column.f32").write_bytes(noise(10).tobytes()[:-1])
    with pytest.raises(ValueError, match=r"column.f32 has 9 rows, not 10"):
        Column(tmp_path / "column.f32", DIMENSION, np.float32, count=10)
    assert (tmp_path / "column.f32").stat().st_size == 10 * ROW_BYTES - 1, "it is left as it was"


def test_rows_to_be_kept_need_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Column(tmp_path / "column.f32", DIMENSION, np.float32, count=1)


def test_column_in_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Column(tmp_path / "missing" / "column.f32", DIMENSION, np.float32)


def test_mapping_outlives_the_column(tmp_path: Path) -> None:
    column = Column(tmp_path / "column.f32", DIMENSION, np.float32)
    column.write(0, noise(10))
    rows = column.rows
    column.close()
    column.close()
    (tmp_path / "column.f32").unlink()
    assert rows[:10].tobytes() == noise(10).tobytes()


def test_closed_column_refuses_rows(column: Floats) -> None:
    column.write(0, noise(2))
    column.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        column.write(2, noise(1))


def test_disk_that_is_full_where_the_file_grows_is_an_error(column: Floats) -> None:
    column.write(0, noise(1_000))
    before, reserved = column.rows, len(column.rows)
    with files_no_longer_than(reserved * ROW_BYTES), pytest.raises(OSError, match="large") as told:
        column.write(1_000, noise(reserved, seed=2))
    assert told.value.errno == errno.EFBIG
    assert column.rows is before
    assert column.rows[:1_000].tobytes() == noise(1_000).tobytes()


def test_disk_that_is_full_in_the_middle_of_a_write_is_an_error(column: Floats) -> None:
    column.write(0, noise(1_000))
    half = 1_000 * ROW_BYTES + 50 * ROW_BYTES + 10
    with files_no_longer_than(half), pytest.raises(OSError, match="large"):
        column.write(1_000, noise(100, seed=2))
    assert column.rows[:1_000].tobytes() == noise(1_000).tobytes()


def test_column_goes_on_once_the_disk_has_room_again(column: Floats) -> None:
    column.write(0, noise(1_000))
    for limit in (1_000 * ROW_BYTES + 3, len(column.rows) * ROW_BYTES):
        with files_no_longer_than(limit), pytest.raises(OSError, match="large"):
            column.write(1_000, noise(9_000, seed=2))
    column.write(1_000, noise(9_000, seed=3))
    assert column.rows[:1_000].tobytes() == noise(1_000).tobytes()
    assert column.rows[1_000:10_000].tobytes() == noise(9_000, seed=3).tobytes()


def test_disk_that_takes_less_than_it_was_given_is_asked_again(
    column: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def reluctant(file: int, view: memoryview, offset: int) -> int:
        sizes.append(len(view))
        return write(file, view[:777], offset)

    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", reluctant)
    column.write(0, noise(10))
    assert column.rows[:10].tobytes() == noise(10).tobytes()
    assert sizes == [10 * ROW_BYTES - 777 * step for step in range(4)]
