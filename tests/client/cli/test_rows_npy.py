"""Arrays of numpy with JSON lines beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.cli.transfers import lines_of
from vectorbucket.cli import rows_json, rows_npy
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.rows import BadRow, Row
from vectorbucket.cli.rows_npy import NpyRows

DATA = np.arange(30, dtype=np.float32).reshape(10, 3)
LINES = lines_of({"key": f"k{number}", "metadata": {"n": number}} for number in range(10))


def saved(folder: Path, array: Any = DATA, lines: str = LINES) -> tuple[Path, Path]:
    np.save(folder / "a.npy", array)
    (folder / "a.jsonl").write_text(lines)
    return folder / "a.npy", folder / "a.jsonl"


def rows_of(folder: Path, *given: Any, dimension: int = 3, skip: int = 0) -> list[Row | BadRow]:
    read = NpyRows(*saved(folder, *given))
    try:
        return list(read.rows(skip, dimension))
    finally:
        read.close()


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f8", "<i2"])
def test_each_row_has_its_line(tmp_path: Path, kind: str) -> None:
    rows = [row for row in rows_of(tmp_path, DATA.astype(kind)) if isinstance(row, Row)]
    assert [row.key for row in rows] == [f"k{number}" for number in range(10)]
    assert np.array_equal(np.stack([row.data for row in rows]), DATA)
    assert [row.metadata for row in rows] == [{"n": number} for number in range(10)]


@pytest.mark.parametrize("skip", [0, 1, 4, 5, 9, 10, 12])
def test_skipped_rows_are_as_many_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip: int
) -> None:
    monkeypatch.setattr(rows_npy, "CHUNK_NUMBERS", 12)
    rows = rows_of(tmp_path, skip=skip)
    assert [row.number for row in rows] == list(range(skip + 1, 11))
    assert [row.key for row in rows] == [f"k{number}" for number in range(skip, 10)]


def test_total_and_bytes_are_known(tmp_path: Path) -> None:
    array, lines = saved(tmp_path)
    read = NpyRows(array, lines)
    assert (read.total, read.definition) == (10, None)
    assert len(list(read.rows(0, 3))) == 10
    assert read.bytes_read == array.stat().st_size + lines.stat().st_size
    read.close()


def test_bad_lines_and_numbers_spoil_their_row_only(tmp_path: Path) -> None:
    data = DATA.copy()
    data[2, 1] = np.inf
    lines = LINES.splitlines(keepends=True)
    lines[4] = "no JSON\n"
    lines[6] = '{"key": "k6", "data": [1]}\n'
    lines[7] = '{"metadata": {}}\n'
    rows = rows_of(tmp_path, data, "".join(lines))
    assert [(row.number, row.field) for row in rows if isinstance(row, BadRow)] == [
        (3, "data"),
        (5, ""),
        (7, ""),
        (8, "key"),
    ]
    assert isinstance(rows[4], BadRow)
    assert "a.jsonl, line 5: it is no JSON" in rows[4].problem
    assert rows[4].raw == "no JSON"


@pytest.mark.parametrize(("count", "words"), [(9, "has 9 lines"), (11, "has 11 lines")])
def test_rows_and_lines_must_be_equally_many(tmp_path: Path, count: int, words: str) -> None:
    lines = lines_of({"key": f"{number}"} for number in range(count))
    with pytest.raises(BadInput, match=words) as caught:
        NpyRows(*saved(tmp_path, DATA, lines))
    assert "has 10 rows" in str(caught.value)


def test_other_dimension_is_told_before_the_first_row(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds vectors of 3 numbers; the index takes 4"):
        rows_of(tmp_path, dimension=4)
    assert rows_of(tmp_path, DATA[:0], "", dimension=4) == []


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (DATA.reshape(-1), r"the shape \(30,\); it must be \(n, dimension\)"),
        (DATA.reshape(10, 3, 1), "it must be"),
        (np.array([["a"] * 3] * 10), "it must hold numbers"),
        (DATA > 3, "holds bool; it must hold numbers"),
        (DATA.astype(np.complex64), "it must hold numbers"),
        (np.asfortranarray(DATA), "is stored column by column"),
    ],
    ids=["one axis", "three axes", "texts", "booleans", "complex", "fortran"],
)
def test_array_of_another_kind_is_refused(tmp_path: Path, array: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        NpyRows(*saved(tmp_path, array))


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    array = np.array([[object()] * 3] * 10, dtype=object)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    (tmp_path / "a.jsonl").write_text(LINES)
    with pytest.raises(BadInput, match="holds object; it must hold numbers"):
        NpyRows(tmp_path / "a.npy", tmp_path / "a.jsonl")


@pytest.mark.parametrize("cut", [3, 50, 130, 247], ids=["magic", "header", "data", "last byte"])
def test_file_that_is_cut_is_refused(tmp_path: Path, cut: int) -> None:
    array, lines = saved(tmp_path)
    array.write_bytes(array.read_bytes()[:cut])
    with pytest.raises(BadInput, match=r"a\.npy (is no \.npy file|has \d+ bytes)"):
        NpyRows(array, lines)


def test_files_that_shrink_while_they_are_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_npy, "CHUNK_NUMBERS", 300)
    monkeypatch.setattr(rows_json, "_BUFFER_BYTES", 4096)
    array, lines = saved(tmp_path, np.ones((5_000, 3), np.float32), LINES * 500)
    for path, words in ((array, "was cut"), (lines, "was cut")):
        whole = path.read_bytes()
        read = NpyRows(array, lines)
        rows = read.rows(0, 3)
        next(rows)
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(BadInput, match=words):
            list(rows)
        read.close()
        path.write_bytes(whole)


def test_missing_lines_leave_no_file_open(tmp_path: Path) -> None:
    array, lines = saved(tmp_path)
    lines.unlink()
    with pytest.raises(FileNotFoundError):
        NpyRows(array, lines)
