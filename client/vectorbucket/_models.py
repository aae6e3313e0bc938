"""What callers hold: vectors, hits, buckets, indexes, pages, and what became of a put.

Rules of this file: frozen values without behaviour; nothing here knows of messages or of the
network. Names are those of the contract (proto/vectorbucket/v1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from vectorbucket.errors import VectorBucketError

Float32Array: TypeAlias = npt.NDArray[np.float32]
"""float32; the shape stands in the docstring of whoever uses it."""

Scalar: TypeAlias = str | int | float | bool
"""One text, number or truth value. Numpy's scalars do as well when they are put."""

MetadataValue: TypeAlias = Scalar | Sequence[Scalar]
"""The value of one metadata field. Integers are exact within ±2^53; numbers are finite."""

Metadata: TypeAlias = Mapping[str, MetadataValue]
"""A vector's metadata: value by field name."""

Filter: TypeAlias = Mapping[str, Any]
"""A filter as a plain dict: ``{"section": {"$in": ["libs", "python"]}, "size": {"$lt": 100}}``."""


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Vector:
    """A vector: its key, its numbers and its metadata.

    Attributes:
        key: Unique in its index; 1 to 1,024 bytes of UTF-8.
        data: float32, shape (dimension,), read-only, bit for bit as it was put; None where an
            answer was not asked for it. In a vector that is to be put: what was given.
        metadata: Value by field name; None where an answer was not asked for it.
    """

    key: str
    data: Float32Array | None
    metadata: Metadata | None

    def __init__(
        self,
        key: str,
        data: npt.ArrayLike | None = None,
        metadata: Metadata | None = None,
    ) -> None:
        # Nothing is checked here: a put finds what is wrong and says which batch it rejects.
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "data", cast("Float32Array | None", data))
        object.__setattr__(self, "metadata", metadata)


VectorLike: TypeAlias = (
    Vector
    | tuple[str, npt.ArrayLike]
    | tuple[str, npt.ArrayLike, Metadata | None]
    | Mapping[str, Any]
)
"""What can be put: a Vector, a tuple ``(key, data)`` or ``(key, data, metadata)``, or a dict
``{"key": …, "data": …, "metadata": …}`` whose data may also be ``{"float32": […]}``."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A vector that a query found.

    Attributes:
        key: The key of the vector.
        distance: How far it is from the query vector, smaller is nearer, in the unit of the index's
            metric; None if not asked for.
        metadata: Value by field name; None if not asked for.
    """

    key: str
    distance: float | None = None
    metadata: Metadata | None = None


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """A bucket.

    Attributes:
        bucket: Its name.
        account_id: The account that made it, decimal digits.
        create_time: When it was made, UTC.
        region: The region that stands in its ARN.
    """

    bucket: str
    account_id: str
    create_time: datetime
    region: str


@dataclass(frozen=True, slots=True)
class BucketLogging:
    """Where the requests on a bucket are logged, one line of JSON each.

    Attributes:
        target_bucket: The bucket under whose name the lines are kept; it need not exist.
        target_prefix: What the names of the files begin with, at most 128 bytes; it may hold ``/``.
        logging_role: Kept and returned, at most 128 bytes; it has no effect here.
    """

    target_bucket: str
    target_prefix: str = ""
    logging_role: str = ""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """An index, and how much it holds.

    Attributes:
        bucket: The bucket that holds it.
        index_name: Its name.
        data_type: ``float32``.
        dimension: Numbers in each vector.
        distance_metric: ``cosine`` or ``euclidean``.
        non_filterable_metadata_keys: Names of metadata fields that no filter can use.
        create_time: When it was made, UTC.
        status: ``enable`` when it takes every operation, else ``creating`` or ``deleting``.
        vector_count: Vectors it holds, exactly; None in a listing, which does not count.
        pending_vector_count: How many of them wait for the indexer (queries find them all the
            same); None in a listing.
        m: Links of a vector in the graph; None where that is left to the server.
        ef_construction: Breadth of the search for a new vector's links; None as for ``m``.
        ef_search: Breadth of the search of a query that names none itself; None as for ``m``.
        loaded: Whether it is in memory; None in a listing, as all that follows. Where it is not,
            ``dead_share`` and ``memory_bytes`` are 0.
        dead_share: The share of what its graph holds that was deleted or replaced since, 0 to 1.
        rebuilding: Whether its graph is being built anew, without what is dead.
        memory_bytes: Bytes of memory that it takes, about.
        disk_bytes: Bytes of the files of its graph and what belongs to it; without the store, which
            all indexes share.
        checkpoint_time: When its newest checkpoint was written, UTC; None also if there is none.
    """

    bucket: str
    index_name: str
    data_type: str
    dimension: int
    distance_metric: str
    non_filterable_metadata_keys: tuple[str, ...]
    create_time: datetime
    status: str
    vector_count: int | None = None
    pending_vector_count: int | None = None
    m: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None
    loaded: bool | None = None
    dead_share: float | None = None
    rebuilding: bool | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    checkpoint_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """What a server holds, and what it takes for that.

    Attributes:
        version: The version of the server.
        engine: What keeps the vectors, as ``embedded``.
        start_time: When the server started to serve, UTC.
        bucket_count: Buckets of all accounts.
        index_count: Indexes of all buckets.
        loaded_index_count: How many of them are in memory.
        vector_count: Vectors of all indexes, exactly.
        pending_vector_count: How many of them, in loaded indexes, are not in a graph yet.
        dead_vector_count: Vectors in the graphs of loaded indexes that were deleted or replaced.
        memory_bytes: Bytes of memory that loaded indexes take, about.
        memory_bytes_max: Bytes of memory that indexes may take; 0 if there is no such bound.
        store_bytes: Bytes of the store's files.
        graph_bytes: Bytes of the files of graphs and what belongs to them.
        disk_free_bytes: Free bytes of the disk with the data; 0 if the engine keeps none on a disk.
        writes_refused: Why writes are refused just now, in words; empty when they are not.
    """

    version: str
    engine: str
    start_time: datetime
    bucket_count: int
    index_count: int
    loaded_index_count: int
    vector_count: int
    pending_vector_count: int
    dead_vector_count: int
    memory_bytes: int
    memory_bytes_max: int
    store_bytes: int
    graph_bytes: int
    disk_free_bytes: int
    writes_refused: str


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """A backup in the server's folder.

    Attributes:
        name: Its name.
        create_time: When it was begun, UTC; all that was acknowledged before is in it.
        size_bytes: Bytes of its files, some of which may be shared with the server's own.
        path: Where it is, on the server's machine.
    """

    name: str
    create_time: datetime
    size_bytes: int
    path: str


@dataclass(frozen=True, slots=True)
class BucketPage:
    """A page of buckets, ascending by name.

    Attributes:
        buckets: The buckets.
        next_marker: What gets the next page; empty when there is none.
    """

    buckets: list[BucketInfo]
    next_marker: str


@dataclass(frozen=True, slots=True)
class IndexPage:
    """A page of indexes, ascending by name.

    Attributes:
        indexes: The indexes.
        next_token: What gets the next page; empty when there is none.
    """

    indexes: list[IndexInfo]
    next_token: str


@dataclass(frozen=True, slots=True)
class VectorPage:
    """A page of vectors, ascending by key.

    Attributes:
        vectors: The vectors.
        next_token: What gets the next page; empty when there is none.
    """

    vectors: list[Vector]
    next_token: str


class RejectedBatch(NamedTuple):
    """A batch of which nothing was stored, and why.

    Attributes:
        first_position: The place of its first vector among all that were to be put, from 0.
        count: How many vectors it held.
        error: Why; the field that it names, as ``vectors[3].key``, counts from the batch's first.
    """

    first_position: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody misses here
    error: VectorBucketError


@dataclass(frozen=True, slots=True)
class PutResult:
    """What became of the vectors of a put.

    Attributes:
        stored: How many are stored, durably.
        rejected: The batches that were not, ascending by position.
    """

    stored: int
    rejected: list[RejectedBatch]


class PutRejected(VectorBucketError):
    """Some batches of a put were rejected; the others are stored.

    It never crosses the wire: it is what a client makes of several answers.

    Attributes:
        result: What is stored and which batches were rejected, each with its own error.
    """

    code = "PutRejected"

    def __init__(self, result: PutResult) -> None:
        first = result.rejected[0]
        vectors = sum(batch.count for batch in result.rejected)
        super().__init__(
            f"{vectors} vectors in {len(result.rejected)} of the batches were rejected, "
            f"{result.stored} are stored; the first rejected batch begins at position "
            f"{first.first_position}: {first.error.message}",
            field=first.error.field,
            details=first.error.details,
        )
        self.result = result
