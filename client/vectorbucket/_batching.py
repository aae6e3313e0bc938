"""Vectors as callers have them → PutVectors messages, bounded by count and by bytes.

Rules of this file: pure and lazy. Of the input no more is held than one chunk and one message,
however long it is. A vector that cannot be put on the wire rejects its batch, never the whole put,
and says so in the words of the server: the field is ``vectors[3].data``, counted within the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

from vectorbucket._arrays import float32_rows
from vectorbucket._metadata import fill_metadata, text_bytes
from vectorbucket._models import Metadata, RejectedBatch, Vector, VectorLike
from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.limits import OSS
from vectorbucket.v1 import vector_service_pb2

BATCH_VECTORS_MAX = OSS.put_vectors_max
"""Vectors in a batch, unless the caller says otherwise: the most that a server takes by default."""

BATCH_BYTES_MAX = 8 * 1024 * 1024
"""Bytes in a batch, unless the caller says otherwise. Source: a batch of 500 vectors of 4,096
numbers is as large; past it a message gains nothing and only costs memory at both ends."""

CHUNK_VECTORS = 100
"""Vectors converted at a time. Source: tried with rows of 384 numbers, where a chunk of 100 costs
per row what one of 500 does, and one of 10 twice as much."""

_VECTOR_BYTES = 24
"""Tags and lengths around one vector, its key and its data, at most."""

Row: TypeAlias = tuple[Any, bytes | VectorIndexParameterInvalid, Any]
"""One vector: its key, its numbers (or what is wrong with the vector), its metadata."""


class Message(Protocol):
    """A message that holds vectors: PutVectorsRequest or PutVectorsBatchRequest."""

    @property
    def vectors(self) -> Any:
        """The repeated field of Vector messages."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that is ready to be sent.

    Attributes:
        first_position: The place of its first vector among all that are put, from 0.
        count: How many vectors it holds.
        message: Holds the vectors; who sends it fills in the rest.
        size_bytes: How large the message is, at most (but for what is not filled in yet).
    """

    first_position: int
    count: int
    message: vector_service_pb2.PutVectorsRequest
    size_bytes: int


class _Filling:
    """A message while vectors are added to it. The first bad vector spoils it."""

    __slots__ = ("_add", "count", "error", "message", "size_bytes")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._add = message.vectors.add
        self.count = 0
        self.size_bytes = 0
        self.error: VectorIndexParameterInvalid | None = None

    def add(self, row: Row) -> None:
        """Add a vector, or note what is wrong with it."""
        try:
            self.size_bytes += self._fill(row)
        except VectorIndexParameterInvalid as error:
            self.error = self.error or _of_vector(error, self.count, row[0])
        self.count += 1

    def _fill(self, row: Row) -> int:
        """Add a vector; return how many bytes it takes, at most."""
        key, data, metadata = row
        if not isinstance(data, bytes):
            raise data
        if not isinstance(key, str):
            raise VectorIndexParameterInvalid(f"key is {key!r}; it must be text", field="key")
        vector = self._add()
        try:
            vector.key = key
        except UnicodeEncodeError as error:
            raise VectorIndexParameterInvalid("key is no Unicode text", field="key") from error
        vector.data.float32_le = data
        size = _VECTOR_BYTES + text_bytes(key) + len(data)
        return size + fill_metadata(vector.metadata, metadata) if metadata else size

    def take_last(self) -> Any:
        """Take the last vector back, its Vector message."""
        self.count -= 1
        return self.message.vectors.pop()

    def give(self, vector: Any, size_bytes: int) -> None:
        """Add a vector that another message gave back."""
        self.message.vectors.append(vector)
        self.count += 1
        self.size_bytes += size_bytes

    def close(self, first_position: int) -> Batch | RejectedBatch:
        """Return what has become of the message."""
        if self.error is not None:
            return RejectedBatch(first_position, self.count, self.error)
        message = self.message
        assert isinstance(message, vector_service_pb2.PutVectorsRequest)  # noqa: S101 - for types
        return Batch(first_position, self.count, message, self.size_bytes)


def batches(
    rows: Iterable[Row],
    *,
    count_max: int = BATCH_VECTORS_MAX,
    bytes_max: int = BATCH_BYTES_MAX,
) -> Iterator[Batch | RejectedBatch]:
    """Cut rows into batches, each as large as it may be; a single vector may exceed ``bytes_max``.

    Without any rows there is one empty batch, so that the server says what it says of those.

    Args:
        rows: What ``rows_of_vectors`` or ``rows_of_arrays`` yields.
        count_max: Vectors in a batch, 1 or more.
        bytes_max: Bytes in a batch, 1 or more.

    Yields:
        Batches, and in the place of those that cannot be sent, what is wrong with them.
    """
    position = 0
    filling = _Filling(vector_service_pb2.PutVectorsRequest())
    for row in rows:
        size_before = filling.size_bytes
        filling.add(row)
        if filling.size_bytes > bytes_max and filling.count > 1 and filling.error is None:
            # Only a filled vector knows its size: it moves on to the next message.
            vector_bytes = filling.size_bytes - size_before
            vector = filling.take_last()
            filling.size_bytes = size_before
            yield filling.close(position)
            position += filling.count
            filling = _Filling(vector_service_pb2.PutVectorsRequest())
            filling.give(vector, vector_bytes)
        if filling.count >= count_max:
            yield filling.close(position)
            position += filling.count
            filling = _Filling(vector_service_pb2.PutVectorsRequest())
    if filling.count or not position:
        yield filling.close(position)


def fill_vectors(message: Message, rows: Iterable[Row]) -> None:
    """Put all rows into one message.

    Raises:
        VectorIndexParameterInvalid: About the first vector that cannot be put on the wire.
    """
    filling = _Filling(message)
    for row in rows:
        filling.add(row)
        if filling.error is not None:
            raise filling.error


def rows_of_vectors(
    vectors: Iterable[VectorLike], *, count_max: int = BATCH_VECTORS_MAX
) -> Iterator[Row]:
    """Yield the rows of vectors in any of their forms, taking them a chunk at a time.

    Args:
        vectors: The vectors.
        count_max: Vectors in a batch: no vector is taken before a batch that is full without it had
            its turn to be sent.
    """
    iterator = iter(vectors)
    sizes = [min(CHUNK_VECTORS, count_max - begun) for begun in range(0, count_max, CHUNK_VECTORS)]
    for size in cycle(sizes):
        chunk = list(islice(iterator, size))
        parts = [_parts(vector) for vector in chunk]
        data = float32_rows([values for _, values, _ in parts])
        for (key, values, metadata), row in zip(parts, data, strict=True):
            malformed = isinstance(values, VectorIndexParameterInvalid)
            yield key, values if malformed else row, metadata
        if len(chunk) < size:
            return


def rows_of_arrays(
    keys: Sequence[str],
    data: npt.ArrayLike,
    metadata: Sequence[Metadata | None] | None,
) -> Iterator[Row]:
    """Yield the rows of columns, converting a chunk at a time.

    Args:
        keys: One key a vector.
        data: An array of shape (n, dimension), or a list of n vectors; anything that has a length
            and can be sliced, as a memory-mapped array.
        metadata: One dict (or None) a vector; None where no vector has any.

    Raises:
        VectorIndexParameterInvalid: The columns are not equally long; nothing is yielded then.
    """
    rows: Any = data
    axes = getattr(rows, "ndim", 2)
    if axes != 2:  # noqa: PLR2004 - a matrix
        raise VectorIndexParameterInvalid(
            f"data has shape {rows.shape}; it must have two axes, (n, dimension)", field="data"
        )
    lengths = (len(keys), len(rows), len(keys) if metadata is None else len(metadata))
    if len(set(lengths)) != 1:
        raise VectorIndexParameterInvalid(
            f"keys, data and metadata have {lengths[0]}, {lengths[1]} and {lengths[2]} rows; they "
            "must be equally many",
            field="data",
        )
    return _rows_of_columns(keys, rows, metadata)


def _rows_of_columns(
    keys: Sequence[str], data: Any, metadata: Sequence[Metadata | None] | None
) -> Iterator[Row]:
    """Yield the rows of columns of equal length."""
    for start in range(0, len(keys), CHUNK_VECTORS):
        end = start + CHUNK_VECTORS
        chunk = keys[start:end]
        described = [None] * len(chunk) if metadata is None else metadata[start:end]
        yield from zip(chunk, float32_rows(data[start:end]), described, strict=True)


def _parts(vector: Any) -> tuple[Any, Any, Any]:
    """Return the key, data and metadata of a vector in any form.

    Where it has none of the forms, the data is the error that says so.
    """
    if isinstance(vector, Vector):
        return vector.key, vector.data, vector.metadata
    if isinstance(vector, tuple) and len(vector) in (2, 3):
        key, data, *metadata = vector
        return key, data, metadata[0] if metadata else None
    if isinstance(vector, Mapping):
        return _parts_of_dict(vector)
    shape = f"a tuple of {len(vector)}" if isinstance(vector, tuple) else type(vector).__name__
    return None, _malformed(f"is {shape}; it must be a Vector, a tuple or a dict"), None


def _parts_of_dict(vector: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return the key, data and metadata of a dict."""
    unknown = [name for name in vector if name not in ("key", "data", "metadata")]
    missing = [name for name in ("key", "data") if name not in vector]
    if unknown or missing:
        problem = f"has a member {unknown[0]!r}" if unknown else f"has no {missing[0]!r}"
        rule = "a dict has 'key', 'data' and perhaps 'metadata'"
        return vector.get("key"), _malformed(f"{problem}; {rule}"), None
    data = vector["data"]
    if isinstance(data, Mapping):
        if list(data) != ["float32"]:
            problem = f"has data with the members {list(data)}; it must be 'float32' alone"
            return vector["key"], _malformed(problem), None
        data = data["float32"]
    return vector["key"], data, vector.get("metadata")


def _malformed(problem: str) -> VectorIndexParameterInvalid:
    """Return the error about a vector as a whole; its place is put before it later."""
    return VectorIndexParameterInvalid(problem, field="")


def _of_vector(
    error: VectorIndexParameterInvalid, position: int, key: object
) -> VectorIndexParameterInvalid:
    """Return the error with the place of its vector put before what it says."""
    vector = f"vectors[{position}]"
    named = f" (key {key!a})" if isinstance(key, str) else ""
    if not error.field:
        return VectorIndexParameterInvalid(f"{vector} {error.message}{named}", field=vector)
    return VectorIndexParameterInvalid(
        f"{vector}.{error.message}{named}", field=f"{vector}.{error.field}"
    )
