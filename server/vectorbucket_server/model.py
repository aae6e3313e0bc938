"""The values that the floors hand each other: buckets, indexes, batches, queries, hits, pages.

Rules of this file: frozen values, no I/O, no knowledge of protobuf, HTTP or disk. A value checks
its own invariants when it is made (a broken one is a bug of this program, so it raises ValueError,
not an error of the contract).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from vectorbucket_server.filters.expression import Expression

Float32Array: TypeAlias = npt.NDArray[np.float32]
"""float32; the shape stands in the docstring of whoever uses it."""

MetadataScalar: TypeAlias = str | float | bool
"""One value of a metadata list. Numbers are floats: the contract has only doubles."""

MetadataValue: TypeAlias = MetadataScalar | Sequence[MetadataScalar]
"""The value of one metadata field. Lists are Python lists, in the order they were put."""

Metadata: TypeAlias = Mapping[str, MetadataValue]
"""A vector's metadata: value by field name. A vector put without metadata has an empty mapping."""


class DistanceMetric(Enum):
    """How far apart two vectors are; smaller is nearer."""

    EUCLIDEAN = "euclidean"
    """The square root of the sum of squared differences."""
    COSINE = "cosine"
    """One minus the cosine of the angle, 0 to 2; a zero vector is not allowed."""


@dataclass(frozen=True, slots=True)
class BucketLogging:
    """Where the requests on a bucket are logged."""

    target_bucket: str
    """The bucket under whose name the lines are kept; it need not exist."""
    target_prefix: str = ""
    """What the names of the files begin with."""
    logging_role: str = ""
    """Kept for the caller; without effect."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, the account that owns it, and what that account said of it."""

    name: str
    account_id: str
    created_ms: int
    """Milliseconds since the Unix epoch, UTC."""
    policy: str = ""
    """Who else may do what, in the words in which it was put; empty if there is no policy."""
    logging: BucketLogging | None = None
    """None while requests are not logged."""

    def is_same(self, other: Bucket) -> bool:
        """Return whether another bucket is this one, perhaps with other settings by now."""
        mine = (self.name, self.account_id, self.created_ms)
        return mine == (other.name, other.account_id, other.created_ms)


@dataclass(frozen=True, slots=True)
class GraphOptions:
    """How the graph of an index is built and searched; None leaves it to the engine's settings."""

    m: int | None = None
    """Links of a vector in the graph."""
    ef_construction: int | None = None
    """Breadth of the search that finds a new vector's links."""
    ef_search: int | None = None
    """Breadth of the search of a query that names none itself."""


@dataclass(frozen=True, slots=True)
class Index:
    """The definition of an index. It never changes once the index is made."""

    bucket_name: str
    name: str
    dimension: int
    metric: DistanceMetric
    non_filterable_keys: tuple[str, ...] = ()
    created_ms: int = 0
    """Milliseconds since the Unix epoch, UTC."""
    index_id: int = 0
    """Given by the engine, never reused: an index made again under its name has another one."""
    graph: GraphOptions = GraphOptions()
    """What was asked of its graph. Engines without one ignore it."""


@dataclass(frozen=True, slots=True)
class IndexStatistics:
    """What an index holds now."""

    vector_count: int
    """Vectors, exactly."""
    pending_vector_count: int
    """How many of them the graph does not hold yet; queries find them by exact scan."""
    is_loaded: bool = True
    """Whether it is in memory. What follows is 0 where it is not, except bytes on disk and time."""
    dead_share: float = 0.0
    """Share of what the graph holds that was deleted or replaced since: 0 to 1."""
    is_rebuilding: bool = False
    """Whether the graph is being built anew."""
    memory_bytes: int = 0
    """Bytes of memory that the index takes, about."""
    disk_bytes: int = 0
    """Bytes of its own files, checkpoints included, without the store that all indexes share."""
    checkpoint_ms: int | None = None
    """When its newest checkpoint was written, in milliseconds since the Unix epoch, UTC; None if
    there is none."""


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """What an engine holds now, all indexes together, and what it takes for that."""

    bucket_count: int
    index_count: int
    loaded_index_count: int
    vector_count: int
    """Vectors of all indexes, exactly."""
    pending_vector_count: int
    """How many of them, in loaded indexes, are not in a graph yet."""
    graph_vector_count: int = 0
    """Vectors in the graphs of loaded indexes, the dead ones included."""
    dead_vector_count: int = 0
    """How many of those were deleted or replaced since."""
    memory_bytes: int = 0
    """Bytes of memory that loaded indexes take, about."""
    memory_bytes_max: int = 0
    """Bytes that they may take; 0 if there is no bound."""
    store_bytes: int = 0
    """Bytes of the store's files."""
    graph_bytes: int = 0
    """Bytes of the files of graphs and what belongs to them."""
    disk_free_bytes: int = 0
    """Free bytes of the disk that holds the data; 0 if nothing is kept on a disk."""
    checkpoint_oldest_ms: int | None = None
    """When the checkpoint was written that is the oldest among the newest of each loaded index, in
    milliseconds since the Unix epoch, UTC; None if there is none."""
    writes_refused: str = ""
    """Why writes are refused just now, in words; empty when they are not."""


@dataclass(frozen=True, slots=True, eq=False)
class VectorBatch:
    """Vectors to store together: columns of equal length. Row i of each column is one vector."""

    keys: tuple[str, ...]
    """Unique keys."""
    data: Float32Array
    """float32, shape (len(keys), dimension), C-contiguous, finite; as the caller sent it."""
    metadata: tuple[Metadata, ...]
    """One mapping a key, empty where the caller gave none."""

    def __post_init__(self) -> None:
        """Check the columns against each other."""
        if self.data.dtype != np.float32 or self.data.ndim != 2:  # noqa: PLR2004 - a matrix
            raise ValueError(
                f"data is {self.data.dtype} of {self.data.ndim} axes, not a float32 matrix"
            )
        if not self.data.flags.c_contiguous:
            raise ValueError("data is not C-contiguous")
        if not len(self.keys) == self.data.shape[0] == len(self.metadata):
            raise ValueError(
                f"{len(self.keys)} keys, {self.data.shape[0]} rows of data and "
                f"{len(self.metadata)} of metadata are not the same number"
            )
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("a key stands twice in a batch")

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self.keys)


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """A stored vector, as far as the caller asked to see it."""

    key: str
    data: Float32Array | None = None
    """float32, shape (dimension,), bit for bit as it was put; None if not asked for."""
    metadata: Metadata | None = None
    """None if not asked for; empty if the vector has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One or many queries that share everything but the vector."""

    vectors: Float32Array
    """float32, shape (q, dimension), C-contiguous, finite."""
    top_k: int
    """Hits wanted for each query, 1 or more."""
    filter: Expression | None = None
    """Which vectors take part; None means all."""
    return_metadata: bool = False
    """Whether hits carry metadata."""
    ef_search: int | None = None
    """Breadth of the search in the graph, raised where ``top_k`` needs more; None means that of the
    index. A hint: engines that search exactly ignore it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A vector that a query found."""

    key: str
    distance: float
    """In the contract's unit: see DistanceMetric."""
    metadata: Metadata | None = None
    """None if not asked for."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A share of an index's keys, for listing in parallel; the default is all of them."""

    position: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Check that the position is one of the count."""
        if not 0 <= self.position < self.count:
            raise ValueError(f"segment {self.position} of {self.count} does not exist")

    def holds(self, key: bytes) -> bool:
        """Return whether the key (UTF-8) belongs to this segment.

        Source: oss-vectors-api, section 3.14; CRC-32 puts the key of the SDKs' own test where that
        test expects it.
        """
        return self.count == 1 or zlib.crc32(key) % self.count == self.position


WHOLE = Segment()
"""All keys of an index."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a listing."""

    items: Sequence[T]
    """In listing order."""
    next_after: str | None
    """What to list after to go on: the name or key of the last item; None when nothing follows."""
