"""Parquet: what is written can be read by others, and what others write can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.cli.transfers import ODD
from vectorbucket import Vector
from vectorbucket.cli import rows_parquet
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.rows import BadRow, Row
from vectorbucket.cli.rows_parquet import (
    ParquetRows,
    join_parts,
    parquet_writer,
    record_batch,
    schema_of,
)
from vectorbucket.cli.transfer_definition import Definition

DEFINITION = Definition(3, "cosine", ("text",), m=24)
SCHEMA = schema_of(DEFINITION, {"bucket": "photos"}, data=True)
VECTORS = [Vector(key, np.array(data, np.float32), metadata) for key, data, metadata in ODD]


def write(path: Path, *groups: list[Vector], schema: pa.Schema = SCHEMA) -> Path:
    with parquet_writer(path, schema) as writer:
        for group in groups:
            writer.write_batch(record_batch(group, schema))
    return path


def foreign(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def rows_of(path: Path, dimension: int = 3, skip: int = 0) -> list[Row | BadRow]:
    read = ParquetRows(path)
    try:
        return list(read.rows(skip, dimension))
    finally:
        read.close()


def test_file_has_the_columns_and_says_its_index(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", VECTORS[:20], VECTORS[20:])
    table = pq.read_table(path)
    assert table.schema.names == ["key", "vector", "metadata"]
    assert table.schema.field("vector").type == SCHEMA.field("vector").type
    assert table.column("key").to_pylist() == [key for key, _, _ in ODD]
    numbers = table.column("vector").combine_chunks().flatten().to_numpy()
    assert numbers.tobytes() == np.array([data for _, data, _ in ODD], np.float32).tobytes()
    assert [json.loads(one) for one in table.column("metadata").to_pylist()] == [
        metadata or {} for _, _, metadata in ODD
    ]
    said = table.schema.metadata
    assert Definition.of_json(json.loads(said[b"vectorbucket.index"])) == DEFINITION
    assert json.loads(said[b"vectorbucket.source"]) == {"bucket": "photos"}
    assert pq.ParquetFile(path).num_row_groups == 2


def test_rows_come_back_exactly(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", VECTORS[:20], VECTORS[20:])
    read = ParquetRows(path)
    assert (read.definition, read.total) == (DEFINITION, len(ODD))
    rows = [row for row in read.rows(0, 3) if isinstance(row, Row)]
    assert read.bytes_read == path.stat().st_size
    read.close()
    assert [row.number for row in rows] == list(range(1, len(ODD) + 1))
    for row, (key, data, metadata) in zip(rows, ODD, strict=True):
        assert row.key == key
        assert row.data.tobytes() == np.array(data, np.float32).tobytes()
        assert row.metadata == (metadata or {})


@pytest.mark.parametrize("skip", [0, 1, 9, 10, 11, 25, 39, 40, 99])
def test_skipped_rows_are_as_many_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip: int
) -> None:
    monkeypatch.setattr(rows_parquet, "BATCH_NUMBERS", 3 * 4)
    path = write(tmp_path / "a.parquet", VECTORS[:10], VECTORS[10:25], VECTORS[25:])
    rows = rows_of(path, skip=skip)
    assert [row.number for row in rows] == list(range(skip + 1, len(ODD) + 1))
    assert [row.key for row in rows] == [key for key, _, _ in ODD[skip:]]


def test_parts_are_joined_in_order_with_their_row_groups(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / f"{number}.parquet", VECTORS[number * 10 : number * 10 + 10])
        for number in range(4)
    ]
    joined = tmp_path / "joined.parquet"
    join_parts(parts, joined, SCHEMA)
    assert [row.key for row in rows_of(joined)] == [key for key, _, _ in ODD]
    assert pq.ParquetFile(joined).num_row_groups == 4
    join_parts([], joined, SCHEMA)
    assert rows_of(joined) == []
    assert pq.read_schema(joined).equals(SCHEMA, check_metadata=True)


def test_export_without_numbers_has_no_column_for_them(tmp_path: Path) -> None:
    schema = schema_of(DEFINITION, {}, data=False)
    path = write(tmp_path / "a.parquet", [Vector("a", None, {"n": 1})], schema=schema)
    assert pq.read_table(path).to_pylist() == [{"key": "a", "metadata": '{"n":1}'}]
    with pytest.raises(BadInput, match="the column 'vector' is missing; it must be list of"):
        ParquetRows(path)


FOREIGN: dict[str, Any] = {
    "list of double": pa.array([[1, 2], [3, 4]], pa.list_(pa.float64())),
    "large list of float": pa.array([[1, 2], [3, 4]], pa.large_list(pa.float32())),
    "fixed list of integers": pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)),
    "half floats": pa.array(np.array([1, 2, 3, 4], np.float16)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_vectors_of_other_programs_are_read(tmp_path: Path, kind: str) -> None:
    column = FOREIGN[kind]
    if kind == "half floats":
        column = pa.FixedSizeListArray.from_arrays(column, 2)
    path = foreign(tmp_path / "a.parquet", more=[1, 2], vector=column, key=["a", "b"])
    rows = [row for row in rows_of(path, 2) if isinstance(row, Row)]
    assert [(row.key, row.data.tolist(), row.metadata) for row in rows] == [
        ("a", [1, 2], None),
        ("b", [3, 4], None),
    ]


def test_bad_rows_are_named_one_by_one(tmp_path: Path) -> None:
    path = foreign(
        tmp_path / "a.parquet",
        key=["a", "b", "c", None, "e", "f", "g"],
        vector=pa.array(
            [[1, 2], [1], None, [3, 4], [5, None], [float("nan"), 0], [7, 8]],
            pa.list_(pa.float32()),
        ),
        metadata=["{}", "{}", "{}", "{}", "{}", "{}", "[]"],
    )
    rows = rows_of(path, 2)
    assert [(row.number, row.field, row.problem) for row in rows if isinstance(row, BadRow)] == [
        (2, "data", "data has 1 numbers; the index takes 2"),
        (3, "data", "data is missing"),
        (4, "key", "key is missing"),
        (5, "data", "data holds a null"),
        (6, "data", rows[5].problem if isinstance(rows[5], BadRow) else ""),
        (7, "metadata", "metadata is a list; it must be an object"),
    ]
    assert [row.key for row in rows if isinstance(row, Row)] == ["a"]


def test_fixed_lists_of_another_length_are_bad_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", VECTORS[:2])
    rows = rows_of(path, 4)
    assert [row.problem for row in rows if isinstance(row, BadRow)] == [
        "data has 3 numbers; the index takes 4"
    ] * 2


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"vector": [[1.0]]}, "the column 'key' is missing; it must be string"),
        ({"key": [1], "vector": [[1.0]]}, "the column 'key' is int64; it must be string"),
        ({"key": ["a"], "vector": [1.0]}, "the column 'vector' is double; it must be list"),
        ({"key": ["a"], "vector": [["x"]]}, "the column 'vector' is list"),
        (
            {"key": ["a"], "vector": [[1.0]], "metadata": [{"x": 1}]},
            "the column 'metadata' is struct",
        ),
    ],
    ids=["no key", "key", "vector", "texts", "metadata"],
)
def test_file_with_other_columns_is_refused(
    tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    path = foreign(tmp_path / "a.parquet", **columns)
    with pytest.raises(BadInput) as caught:
        ParquetRows(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A file whose pages hold nonsense."""
    path = write(tmp_path / "a.parquet", VECTORS)
    raw = bytearray(path.read_bytes())
    raw[40:200] = bytes(160)
    path.write_bytes(raw)
    return path


def test_damaged_file_is_told_as_one(damaged: Path) -> None:
    with pytest.raises(BadInput, match="is damaged"):
        rows_of(damaged)


@pytest.mark.parametrize("raw", [b"", b"no parquet", b"PAR1" * 10], ids=["empty", "text", "cut"])
def test_file_that_is_no_parquet_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(raw)
    with pytest.raises(BadInput, match="is no Parquet file"):
        ParquetRows(path)


def test_schema_that_says_no_definition_is_refused(tmp_path: Path) -> None:
    schema = SCHEMA.with_metadata({"vectorbucket.index": '{"dimension": "three"}'})
    path = write(tmp_path / "a.parquet", VECTORS, schema=schema)
    with pytest.raises(BadInput, match=r"vectorbucket\.index in its schema"):
        ParquetRows(path)
