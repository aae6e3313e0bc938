"""JSON lines ↔ rows: ``{"key": …, "data": {"float32": […]}, "metadata": {…}}``, one a line.

Rules of this file: one line is in memory at a time when reading, some hundred when writing. A
number is written in the shortest form that reads back as the same float32, also by a reader that
goes through float64; which is checked for each.

Source: the spelling is that of OSS's PutVectors; JSON lines are UTF-8, a value a line. Of all
float32 numbers, tried one by one, ±7.038531e-26 alone needs more digits for such a reader.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectorbucket._models import Float32Array, Vector
from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.rows import AnyRow, BadRow, no_constant, reason_of, row_of
from vectorbucket.cli.transfer_definition import Definition, definition_beside

LINE_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of a line; more are no vector, but a file without line ends."""

_BUFFER_BYTES = 1024 * 1024
"""How much of a file is read at once."""

_MEMBERS = frozenset({"key", "data", "metadata"})

_BOM = b"\xef\xbb\xbf"
"""What some editors put before UTF-8."""


def json_lines(vectors: Sequence[Vector]) -> bytes:
    """Return vectors as lines, with what they were read with."""
    numbers = _numbers_text(vectors)
    lines = []
    for position, vector in enumerate(vectors):
        line = f'{{"key":{_json(vector.key)}'
        if numbers is not None:
            line += f',"data":{{"float32":[{numbers[position]}]}}'
        if vector.metadata is not None:
            line += f',"metadata":{_json(vector.metadata)}'
        lines.append(f"{line}}}\n")
    return "".join(lines).encode()


def metadata_json(vector: Vector) -> str:
    """Return a vector's metadata as JSON."""
    return _json(dict(vector.metadata or {}))


def _json(value: Any) -> str:
    # Sorted, so that the same vectors make the same text whatever the server.
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
    )


def _numbers_text(vectors: Sequence[Vector]) -> list[str] | None:
    """Return the numbers of each vector with commas between them; None if there are none."""
    if not vectors or vectors[0].data is None:
        return None
    matrix: Float32Array = np.stack([cast("Float32Array", vector.data) for vector in vectors])
    count, dimension = matrix.shape
    flat = matrix.reshape(-1)
    texts = pa.array(flat).cast(pa.string())
    # "-0" is an integer to most readers, and loses its sign.
    texts = pc.if_else(pc.equal(texts, "-0"), "-0.0", texts)
    read_back = texts.cast(pa.float64()).to_numpy().astype(np.float32)
    differ = read_back.view(np.uint32) != flat.view(np.uint32)
    if differ.any():
        exact = [repr(float(number)) for number in flat[differ]]
        texts = pc.replace_with_mask(texts, pa.array(differ), pa.array(exact))
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * dimension, pa.int32())
    lists = pa.ListArray.from_arrays(offsets, texts)
    return cast("list[str]", pc.binary_join(lists, ",").to_pylist())


class JsonLines:
    """A file of JSON lines, compressed or not, or standard input.

    Args:
        name: What it is called in messages.
        stream: Where it is read.
        size: Bytes of the file, None where nobody knows.
        compressed: Whether it is gzip.
        definition: The index that it was exported from, where that is known.
    """

    unit = "line"

    def __init__(
        self,
        name: str,
        stream: BinaryIO,
        *,
        size: int | None = None,
        compressed: bool = False,
        definition: Definition | None = None,
    ) -> None:
        self.name = name
        self.definition = definition
        self._file = stream
        self._size = size
        self._lines = stream
        if compressed:
            unpacked = gzip.GzipFile(fileobj=stream)
            self._lines = io.BufferedReader(cast("io.RawIOBase", unpacked), _BUFFER_BYTES)
        self._bytes = 0
        self._number = 0
        self._compressed = compressed

    @classmethod
    def open(cls, path: Path, *, compressed: bool) -> JsonLines:
        """Return a file, with the definition that stands beside it."""
        definition = definition_beside(path)
        stream = path.open("rb", buffering=_BUFFER_BYTES)
        size = path.stat().st_size
        return cls(str(path), stream, size=size, compressed=compressed, definition=definition)

    @property
    def total(self) -> int | None:
        """About how many lines there are, judged by those that were read."""
        if not self._size or not self._number or not self.bytes_read:
            return None
        return max(self._number, round(self._number * self._size / self.bytes_read))

    @property
    def bytes_read(self) -> int:
        """How many bytes of the file have been read."""
        return self._file.tell() if self._compressed else self._bytes

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that are not empty, each with its number.

        Raises:
            BadInput: A line has no end, or the compressed file is damaged.
        """
        try:
            while line := self._lines.readline(LINE_BYTES_MAX + 1):
                self._bytes += len(line)
                self._number += 1
                if len(line) > LINE_BYTES_MAX:
                    raise BadInput(
                        f"{self.name}, line {self._number}: it is longer than {LINE_BYTES_MAX} "
                        "bytes; these are no JSON lines"
                    )
                if self._number == 1:
                    line = line.removeprefix(_BOM)
                if line.strip():
                    yield self._number, line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadInput(f"{self.name} is no whole gzip file: {error}") from error

    def rows(self, skip: int, dimension: int) -> Iterator[AnyRow]:
        """Yield the rows of all lines but the first so many.

        Args:
            skip: Lines to pass over, empty ones counted.
            dimension: Numbers in each vector.
        """
        for number, line in self.lines():
            if number > skip:
                yield row_of_line(number, line, dimension)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
        self._file.close()


def row_of_line(number: int, line: bytes, dimension: int) -> AnyRow:
    """Return the row that a line holds, or what is wrong with it."""
    try:
        members = members_of(line, _MEMBERS)
    except ValueError as error:
        return BadRow(number, "", str(error), raw=line_text(line))
    parts = (members.get("key"), members.get("data"), members.get("metadata"))
    row = row_of(number, parts, dimension)
    return replace(row, raw=line_text(line)) if isinstance(row, BadRow) else row


def members_of(line: bytes, names: frozenset[str]) -> dict[str, Any]:
    """Return the members of the object that a line holds.

    Args:
        line: The line.
        names: What members there may be.

    Raises:
        ValueError: It holds no such object; how it is wrong, as the end of a sentence.
    """
    try:
        members = json.loads(line.decode(), parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {reason_of(error)}") from error
    if not isinstance(members, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - of the file, not of a caller
    unknown = sorted(members.keys() - names)
    if unknown:
        raise ValueError(f"has a member {unknown[0]!a}; there may be {', '.join(sorted(names))}")
    return members


def line_text(line: bytes) -> str:
    """Return a line as text, whatever it holds."""
    return line.decode(errors="replace").rstrip("\r\n")
