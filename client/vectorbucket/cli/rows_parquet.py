"""Parquet ↔ rows: the columns ``key``, ``vector`` and ``metadata``.

Rules of this file: a row group is in memory when writing, a batch of rows when reading. Metadata is
one column of JSON, because the types of a field may differ from vector to vector. What the file
says of its index stands in its schema, as ``vectorbucket.index`` and ``vectorbucket.source``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vectorbucket._models import Vector
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.rows import AnyRow, BadRow, rows_of_columns
from vectorbucket.cli.rows_json import metadata_json
from vectorbucket.cli.transfer_definition import Definition

INDEX = b"vectorbucket.index"
SOURCE = b"vectorbucket.source"

BATCH_NUMBERS = 1024 * 1024
"""Numbers of the vectors that are read at once: 4 MB."""

_BUFFER_BYTES = 1024 * 1024
"""How much of a column is read at once, so that a row group need not fit into memory."""


def schema_of(definition: Definition, source: Mapping[str, Any], *, data: bool) -> pa.Schema:
    """Return the schema of a file.

    Args:
        definition: The index.
        source: Where the vectors come from.
        data: Whether the numbers are in it.
    """
    # The name that Parquet itself gives to what is in a list.
    numbers = pa.list_(pa.field("element", pa.float32()), definition.dimension)
    columns = [
        pa.field("key", pa.string(), nullable=False),
        *([pa.field("vector", numbers, nullable=False)] if data else []),
        pa.field("metadata", pa.string(), nullable=False),
    ]
    said = {
        INDEX: json.dumps(definition.as_json(), ensure_ascii=False),
        SOURCE: json.dumps(dict(source), ensure_ascii=False),
    }
    return pa.schema(columns, said)


def record_batch(vectors: Sequence[Vector], schema: pa.Schema) -> pa.RecordBatch:
    """Return vectors as columns."""
    columns: list[Any] = [pa.array([vector.key for vector in vectors], pa.string())]
    if "vector" in schema.names:
        rows = [cast("npt.NDArray[np.float32]", vector.data) for vector in vectors]
        numbers = pa.array(np.concatenate(rows))
        columns.append(pa.FixedSizeListArray.from_arrays(numbers, type=schema.field("vector").type))
    columns.append(pa.array([metadata_json(vector) for vector in vectors], pa.string()))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Return what writes a file."""
    # Keys differ, and so do numbers: only metadata repeats itself. Statistics of numbers say
    # nothing.
    return pq.ParquetWriter(path, schema, use_dictionary=["metadata"], write_statistics=["key"])


def join_parts(parts: Sequence[Path], path: Path, schema: pa.Schema) -> None:
    """Write one file with the row groups of others, one in memory at a time."""
    with parquet_writer(path, schema) as writer:
        for part in parts:
            with pq.ParquetFile(part) as read:
                for group in range(read.num_row_groups):
                    writer.write_table(read.read_row_group(group))


class ParquetRows:
    """A Parquet file, from an export or from elsewhere.

    Args:
        path: Where it is.

    Raises:
        BadInput: It is no Parquet file, or has not the columns.
    """

    unit = "row"

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._size = path.stat().st_size
        try:
            self._file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except pa.ArrowException as error:
            raise BadInput(f"{path} is no Parquet file: {_first_line(error)}") from error
        try:
            self._columns = self._checked_columns(self._file.schema_arrow)
            self.definition = _definition(self._file.schema_arrow, path)
        except BadInput:
            self._file.close()
            raise
        self._total: int = self._file.metadata.num_rows
        self._read = 0

    @property
    def total(self) -> int:
        """How many rows there are."""
        return self._total

    @property
    def bytes_read(self) -> int:
        """How many bytes of the file have been read, judged by the rows."""
        return self._size * self._read // self._total if self._total else self._size

    def rows(self, skip: int, dimension: int) -> Iterator[AnyRow]:
        """Yield the rows but for the first so many.

        Args:
            skip: Rows to pass over.
            dimension: Numbers in each vector.

        Raises:
            BadInput: The file is damaged.
        """
        number = 0
        groups: list[int] = []
        for group in range(self._file.num_row_groups):
            count = self._file.metadata.row_group(group).num_rows
            if not groups and number + count <= skip:
                number += count
            else:
                groups.append(group)
        batches = self._file.iter_batches(
            batch_size=max(1, BATCH_NUMBERS // max(1, dimension)),
            row_groups=groups,
            columns=self._columns,
            use_threads=False,
        )
        for batch in self._batches(batches):
            fresh = batch.slice(max(0, min(skip - number, len(batch))))
            number += len(batch)
            if len(fresh):
                yield from _rows(fresh, number - len(fresh) + 1, dimension)
            self._read = number

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _batches(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield batches.

        Raises:
            BadInput: The file is damaged.
        """
        try:
            yield from batches
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{self.name} is damaged: {_first_line(error)}") from error

    def _checked_columns(self, schema: pa.Schema) -> list[str]:
        """Return the columns to read.

        Raises:
            BadInput: One is missing, or of another type.
        """
        wanted = {"key": "string", "vector": "list of numbers", "metadata": "string (JSON)"}
        for name, kind in wanted.items():
            found = schema.field(name).type if name in schema.names else None
            if found is None and name == "metadata":
                continue
            if found is None or not _fits(name, found):
                seen = f"is {found}" if found is not None else "is missing"
                raise BadInput(f"{self.name}: the column {name!r} {seen}; it must be {kind}")
        return [name for name in wanted if name in schema.names]


def _fits(name: str, kind: pa.DataType) -> bool:
    """Return whether a column has a type that can be read."""
    if name != "vector":
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    listed = (
        pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    )
    return bool(
        listed and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))
    )


def _definition(schema: pa.Schema, path: Path) -> Definition | None:
    """Return what a schema says of the index; None if nothing.

    Raises:
        BadInput: It says something else.
    """
    text = (schema.metadata or {}).get(INDEX)
    if text is None:
        return None
    try:
        return Definition.of_json(json.loads(text))
    except ValueError as error:
        raise BadInput(f"{path}: vectorbucket.index in its schema: {error}") from error


def _rows(batch: pa.RecordBatch, first_number: int, dimension: int) -> Iterator[AnyRow]:
    """Yield the rows of a batch."""
    keys = batch.column("key").to_pylist()
    has_metadata = "metadata" in batch.schema.names
    metadata = batch.column("metadata").to_pylist() if has_metadata else [None] * len(keys)
    vectors = batch.column("vector")
    matrix = _matrix(vectors, dimension)
    if matrix is not None:
        yield from rows_of_columns(first_number, keys, matrix, metadata)
        return
    # Some row has no numbers, or not as many as the others: one by one.
    for position, (key, described) in enumerate(zip(keys, metadata, strict=True)):
        numbers = vectors[position].values
        if numbers is None or numbers.null_count:
            problem = "data is missing" if numbers is None else "data holds a null"
            yield BadRow(first_number + position, "data", problem, key)
        elif len(numbers) != dimension:
            problem = f"data has {len(numbers)} numbers; the index takes {dimension}"
            yield BadRow(first_number + position, "data", problem, key)
        else:
            row = numbers.to_numpy(zero_copy_only=False).reshape(1, -1)
            yield from rows_of_columns(first_number + position, [key], row, [described])


def _matrix(vectors: pa.Array, dimension: int) -> npt.NDArray[Any] | None:
    """Return a column of vectors as one matrix; None if they are not all of that dimension."""
    if vectors.null_count:
        return None
    if pa.types.is_fixed_size_list(vectors.type):
        if vectors.type.list_size != dimension:
            return None
    else:
        lengths = vectors.value_lengths().to_numpy(zero_copy_only=False)
        if (lengths != dimension).any():
            return None
    numbers = vectors.flatten()
    if numbers.null_count:
        return None
    matrix: npt.NDArray[Any] = numbers.to_numpy(zero_copy_only=False)
    return matrix.reshape(-1, dimension)


def _first_line(error: BaseException) -> str:
    """Return the first line of what a library says."""
    return (str(error).splitlines() or [type(error).__name__])[0]
