"""The peer qdrant-edge: the engine of Qdrant in this process (pip install qdrant-edge-py).

Rules of this file: only importer of ``qdrant_edge``. Writes go to its write-ahead log and are
flushed; payload fields that are filtered get its keyword index. It takes numbers for keys: what
key a number stands for is remembered here, which costs the peer nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_data import Float32Array
from bench_ours import memory_in_use
from bench_peer_base import INDEXED_FIELDS, PeerUnavailable, batches, peer_package
from bench_reference import EF_CONSTRUCTION, EF_SEARCH, M
from bench_subject import BATCH_VECTORS, Condition

_FULL_SCAN_KB = 10_000
"""Filters that match less than this are answered by an exact scan: the engine's own default."""

_INDEXING_KB = 1
"""Segments larger than this get a graph: so that every vector is in one."""


def match_of(condition: Condition) -> dict[str, dict[str, Any]]:
    """Return what a field must fulfil: a match or a range, as the arguments of its class.

    A list matches a value when one of its elements does.
    """
    if condition.operator == "range":
        return {"range": {"gte": condition.low, "lt": condition.high}}
    return {"match": {"value": condition.value}}


class QdrantEdgePeer:
    """A shard of Qdrant's engine in a folder of its own."""

    name = "qdrant-edge"
    in_process = True

    def __init__(self, target: str | None = None) -> None:
        """Import the engine.

        Args:
            target: Not for this peer; None.

        Raises:
            PeerUnavailable: The engine is not installed, or an address was given.
        """
        if target is not None:
            raise PeerUnavailable("qdrant-edge works in this process; it takes no --peer-target")
        self._edge = peer_package(self.name, "qdrant_edge", "qdrant-edge-py")
        self._memory_before = memory_in_use()
        self._folder = tempfile.TemporaryDirectory(prefix="vectorbucket-bench-")
        self._shard: Any = None
        self._keys: Sequence[str] = ()
        self._parameters = self._edge.SearchParams(hnsw_ef=EF_SEARCH)

    def store(
        self, keys: Sequence[str], data: Float32Array, metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        """Put all points into a new shard and flush it."""
        edge = self._edge
        path = Path(self._folder.name) / "shard"
        path.mkdir()
        self._keys = keys
        self._shard = edge.EdgeShard.create(str(path), self._configuration(data.shape[1]))
        for field in INDEXED_FIELDS:
            self._shard.update(
                edge.UpdateOperation.create_field_index(field, edge.PayloadSchemaType.Keyword)
            )
        for batch in batches(len(keys), BATCH_VECTORS):
            points = [
                edge.Point(number, row, dict(fields))
                for number, row, fields in zip(
                    range(batch.start, batch.stop),
                    data[batch].tolist(),
                    metadata[batch],
                    strict=True,
                )
            ]
            self._shard.update(edge.UpdateOperation.upsert_points(points))
        self._shard.flush()

    def _configuration(self, dimension: int) -> Any:
        """Return one graph over all vectors, vectors in memory."""
        edge = self._edge
        return edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(
                size=dimension, distance=edge.Distance.Cosine, memory=edge.Memory.Cached
            ),
            hnsw_config=edge.HnswIndexConfig(
                m=M, ef_construct=EF_CONSTRUCTION, full_scan_threshold=_FULL_SCAN_KB
            ),
            optimizers=edge.EdgeOptimizersConfig(
                default_segment_number=1, indexing_threshold=_INDEXING_KB
            ),
        )

    def finish(self) -> None:
        """Build the graph; the engine returns when no segment is left to optimise."""
        self._shard.optimize()

    def query(self, vector: Float32Array, top_k: int, condition: Condition | None) -> list[str]:
        """Return the nearest keys."""
        edge = self._edge
        request = edge.QueryRequest(
            limit=top_k,
            query=edge.Query.Nearest(vector.tolist()),
            filter=None if condition is None else self._filter(condition),
            params=self._parameters,
        )
        return [self._keys[point.id] for point in self._shard.query(request)]

    def _filter(self, condition: Condition) -> Any:
        """Return a condition as the engine's own object."""
        edge = self._edge
        match = match_of(condition)
        return edge.Filter(
            must=[
                edge.FieldCondition(
                    condition.field,
                    match=edge.MatchValue(**match["match"]) if "match" in match else None,
                    range=edge.RangeFloat(**match["range"]) if "range" in match else None,
                )
            ]
        )

    def memory_bytes(self) -> int:
        """Return what this process has more than before the engine."""
        return memory_in_use() - self._memory_before

    def close(self) -> None:
        """Close the shard and remove its folder."""
        if self._shard is not None:
            self._shard.close()
        self._folder.cleanup()
