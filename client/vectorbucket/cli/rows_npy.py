"""A ``.npy`` file of numbers and JSON lines with a key (and metadata) for each row → rows.

Rules of this file: it only reads. The numbers are read in pieces, not mapped, so that memory stays
bounded and a file that is cut meanwhile is an error; nothing is unpickled.

Source: numpy's format, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.rows import AnyRow, BadRow, rows_of_columns
from vectorbucket.cli.rows_json import JsonLines, line_text, members_of

CHUNK_NUMBERS = 256 * 1024
"""Numbers that are read at once: 1 MB of float32."""

_MEMBERS = frozenset({"key", "metadata"})


class NpyRows:
    """An array of shape (n, dimension) and n JSON lines.

    Args:
        path: Where the array is.
        described: Where the JSON lines are.
        compressed: Whether those are gzip.

    Raises:
        BadInput: The file is no such array, or there are not as many lines.
    """

    unit = "row"
    definition = None

    def __init__(self, path: Path, described: Path, *, compressed: bool = False) -> None:
        self.name = str(path)
        self._file = path.open("rb")
        try:
            self._described = JsonLines.open(described, compressed=compressed)
        except (BadInput, OSError):
            self._file.close()
            raise
        try:
            self._count, self._width, self._type = self._header()
            self._check_size(path)
            self._check_count(JsonLines.open(described, compressed=compressed))
        except BadInput:
            self.close()
            raise

    @property
    def total(self) -> int:
        """How many rows there are."""
        return self._count

    @property
    def bytes_read(self) -> int:
        """How many bytes of both files have been read."""
        return self._file.tell() + self._described.bytes_read

    def rows(self, skip: int, dimension: int) -> Iterator[AnyRow]:
        """Yield the rows but for the first so many.

        Args:
            skip: Rows to pass over.
            dimension: Numbers in each vector.

        Raises:
            BadInput: The rows are not of the dimension, or a file was changed.
        """
        if self._width != dimension and self._count:
            raise BadInput(
                f"{self.name} holds vectors of {self._width} numbers; the index takes {dimension}"
            )
        lines = self._described.lines()
        size = max(1, CHUNK_NUMBERS // max(1, self._width))
        for first in range(0, self._count, size):
            numbers = self._chunk(min(size, self._count - first))
            chunk = list(islice(lines, len(numbers)))
            if len(chunk) < len(numbers):
                raise BadInput(f"{self._described.name} was cut while it was read")
            fresh = max(0, min(skip - first, len(chunk)))
            yield from self._joined(first + fresh + 1, chunk[fresh:], numbers[fresh:])

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        self._described.close()

    def _joined(
        self, first_number: int, lines: list[tuple[int, bytes]], numbers: npt.NDArray[Any]
    ) -> Iterator[AnyRow]:
        """Yield the rows of some lines and as many rows of numbers."""
        keys: list[object] = []
        metadata: list[object] = []
        problems: dict[int, BadRow] = {}
        for position, (line_number, line) in enumerate(lines):
            number = first_number + position
            try:
                members = members_of(line, _MEMBERS)
            except ValueError as error:
                problem = f"{self._described.name}, line {line_number}: it {error}"
                problems[number] = BadRow(number, "", problem, raw=line_text(line))
                members = {}
            keys.append(members.get("key"))
            metadata.append(members.get("metadata"))
        for row in rows_of_columns(first_number, keys, numbers, metadata):
            yield problems.get(row.number, row)

    def _header(self) -> tuple[int, int, np.dtype[Any]]:
        """Return rows, numbers in a row, and their type.

        Raises:
            BadInput: The file is no array of numbers with two axes.
        """
        try:
            version = np.lib.format.read_magic(self._file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, fortran_order, kind = read(self._file)
        except (ValueError, KeyError, EOFError, SyntaxError) as error:
            raise BadInput(f"{self.name} is no .npy file that can be read: {error}") from error
        if kind.kind not in "fiu":
            raise BadInput(f"{self.name} holds {kind}; it must hold numbers")
        if len(shape) != 2:  # noqa: PLR2004 - a matrix
            raise BadInput(f"{self.name} has the shape {shape}; it must be (n, dimension)")
        if fortran_order and min(shape) > 1:
            raise BadInput(
                f"{self.name} is stored column by column; "
                "numpy.save(file, numpy.ascontiguousarray(array)) stores it row by row"
            )
        return shape[0], shape[1], kind

    def _check_size(self, path: Path) -> None:
        """Raise BadInput unless the file is as long as its header says."""
        start = self._file.tell()
        expected = start + self._count * self._width * self._type.itemsize
        size = path.stat().st_size
        if size != expected:
            raise BadInput(
                f"{self.name} has {size} bytes; {self._count} rows of {self._width} {self._type} "
                f"are {expected}"
            )

    def _chunk(self, count: int) -> npt.NDArray[Any]:
        """Return the next rows.

        Raises:
            BadInput: The file ends before.
        """
        wanted = count * self._width * self._type.itemsize
        raw = self._file.read(wanted)
        if len(raw) != wanted:
            raise BadInput(f"{self.name} was cut while it was read")
        return np.frombuffer(raw, self._type).reshape(count, self._width)

    def _check_count(self, described: JsonLines) -> None:
        """Raise BadInput unless there are as many lines as rows."""
        try:
            count = sum(1 for _ in described.lines())
        finally:
            described.close()
        if count != self._count:
            raise BadInput(
                f"{self.name} has {self._count} rows, {described.name} has {count} lines; each "
                "row needs its line"
            )
