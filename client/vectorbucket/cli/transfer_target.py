"""Where an export goes: JSON lines, Parquet in parts, or standard output.

Rules of this file: a file is written under another name, and gets its own when it is whole. A point
to resume from is a number: the bytes of JSON lines, the parts of Parquet, that are whole and on the
disk; what lies behind it is thrown away before the export goes on.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import pyarrow as pa

from vectorbucket._models import Vector
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.rows_json import json_lines
from vectorbucket.cli.rows_parquet import join_parts, parquet_writer, record_batch, schema_of
from vectorbucket.cli.transfer_definition import Definition, definition_path, described

_GZIP_LEVEL = 6
"""gzip's own default; 9 takes twice the time for one percent."""


class Target(Protocol):
    """Takes vectors."""

    def begin(self, point: int) -> None:
        """Begin, or go on from a point that ``reach_point`` returned."""

    def write(self, vectors: Sequence[Vector]) -> int:
        """Take vectors; return about how many bytes they make."""

    def reach_point(self) -> int:
        """Make all that was taken durable; return the point from which to go on."""

    def finish(self) -> int:
        """Give the file its name; return its bytes."""

    def close(self) -> None:
        """Close what is open, finished or not."""


class JsonLinesTarget:
    """A file of JSON lines, and the definition of its index beside it.

    Args:
        path: Where the file will be.
        definition: The index.
        source: Where the vectors come from.
        compressed: Whether to write gzip: a member from point to point, which any reader joins.
    """

    def __init__(
        self, path: Path, definition: Definition, source: Mapping[str, Any], *, compressed: bool
    ) -> None:
        self._path = path
        self._partial = partial_path(path)
        self._description = described(definition, source)
        self._compressed = compressed
        self._file: BinaryIO | None = None
        self._member: gzip.GzipFile | None = None

    def begin(self, point: int) -> None:
        """Begin, or go on from a point.

        Raises:
            BadInput: There is less than the point says.
        """
        if not point:
            discard(self._partial)
        self._file = self._partial.open("r+b" if point else "xb")
        size = self._file.seek(0, os.SEEK_END)
        if size < point:
            raise BadInput(
                f"{self._partial} has {size} bytes, its record says {point}; --overwrite begins "
                "anew"
            )
        self._file.truncate(point)
        self._file.seek(point)

    def write(self, vectors: Sequence[Vector]) -> int:
        """Take vectors; return how many bytes they make before they are compressed."""
        text = json_lines(vectors)
        file = cast("BinaryIO", self._file)
        if self._compressed and self._member is None:
            # Without name and time, so that the same vectors make the same bytes.
            self._member = gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0)
        (self._member or file).write(text)
        return len(text)

    def reach_point(self) -> int:
        """Make all that was taken durable; return how many bytes that are."""
        self._end_member()
        file = cast("BinaryIO", self._file)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()

    def finish(self) -> int:
        """Give the file its name; return its bytes."""
        size = self.reach_point()
        self.close()
        definition_path(self._path).write_text(self._description, encoding="utf-8")
        self._partial.replace(self._path)
        return size

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._end_member()
            self._file.close()

    def _end_member(self) -> None:
        """End a member of gzip."""
        if self._member is not None:
            self._member.close()
            self._member = None


class ParquetTarget:
    """A Parquet file, written as parts and joined in the end.

    A file of Parquet is readable once its end is written, so that one that is cut is lost: hence
    the parts, a row group each. Until the file has its name it takes twice the room.

    Args:
        path: Where the file will be.
        schema: What ``schema_of`` returned.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._partial = partial_path(path)
        self._schema = schema
        self._parts = 0
        self._batches: list[pa.RecordBatch] = []

    def begin(self, point: int) -> None:
        """Begin, or go on after so many parts.

        Raises:
            BadInput: There are fewer.
        """
        if not point:
            discard(self._partial)
        self._partial.mkdir(exist_ok=point > 0)
        missing = [part for part in map(self._part, range(point)) if not part.exists()]
        if missing:
            raise BadInput(f"{missing[0]} is missing; --overwrite begins anew")
        self._parts = point

    def write(self, vectors: Sequence[Vector]) -> int:
        """Take vectors; return how many bytes they make before they are compressed."""
        batch = record_batch(vectors, self._schema)
        self._batches.append(batch)
        return int(batch.nbytes)

    def reach_point(self) -> int:
        """Write a part with all that was taken; return how many parts there are."""
        if self._batches:
            part = self._part(self._parts)
            table = pa.Table.from_batches(self._batches, self._schema)
            with parquet_writer(part, self._schema) as writer:
                writer.write_table(table, row_group_size=max(1, len(table)))
            _sync(part)
            self._batches = []
            self._parts += 1
        return self._parts

    def finish(self) -> int:
        """Join the parts under the file's name; return its bytes."""
        self.reach_point()
        joined = self._partial / "joined.parquet"
        join_parts(list(map(self._part, range(self._parts))), joined, self._schema)
        _sync(joined)
        joined.replace(self._path)
        shutil.rmtree(self._partial)
        return self._path.stat().st_size

    def close(self) -> None:
        """Let go of what was not written."""
        self._batches = []

    def _part(self, number: int) -> Path:
        return self._partial / f"part-{number:06}.parquet"


class StreamTarget:
    """Standard output, which gets JSON lines.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = 0

    def begin(self, point: int) -> None:
        """Begin; nothing can be resumed here."""

    def write(self, vectors: Sequence[Vector]) -> int:
        """Write vectors; return how many bytes they make."""
        text = json_lines(vectors)
        self._stream.write(text)
        self._size += len(text)
        return len(text)

    def reach_point(self) -> int:
        """Hand on what is buffered."""
        self._stream.flush()
        return self._size

    def finish(self) -> int:
        """Hand on the rest; return all bytes."""
        return self.reach_point()

    def close(self) -> None:
        """Leave the stream open: it is not ours."""


def partial_path(path: Path) -> Path:
    """Return where a file is written until it is whole."""
    return path.with_name(f"{path.name}.partial")


def discard(path: Path) -> None:
    """Remove a file or directory, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def parquet_target(
    path: Path, definition: Definition, source: Mapping[str, Any], *, data: bool
) -> ParquetTarget:
    """Return the target of an export to Parquet.

    Args:
        path: Where the file will be.
        definition: The index.
        source: Where the vectors come from.
        data: Whether the numbers are in it.
    """
    return ParquetTarget(path, schema_of(definition, source, data=data))


def _sync(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
