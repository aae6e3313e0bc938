"""The peer zvec: an engine in this process (pip install zvec).

Rules of this file: only importer of ``zvec``. Fields that are filtered get its inverted index; the
graph's memory is contiguous, which its documentation names as the faster of the two.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_data import Float32Array
from bench_ours import memory_in_use
from bench_peer_base import INDEXED_FIELDS, PeerUnavailable, batches, field_kinds, peer_package
from bench_reference import EF_CONSTRUCTION, EF_SEARCH, M
from bench_subject import BATCH_VECTORS, Condition

_VECTOR = "vector"
_DATA_TYPES = {"text": "STRING", "number": "DOUBLE", "list": "ARRAY_STRING"}
"""Its type by what a field holds."""


def filter_text(condition: Condition) -> str:
    """Return a condition in the engine's filter language."""
    if condition.operator == "range":
        low, high = repr(float(condition.low)), repr(float(condition.high))
        return f"{condition.field} >= {low} and {condition.field} < {high}"
    value = condition.value.replace("'", "\\'")  # its backslash escapes quotes, not itself
    if condition.operator == "in_list":
        return f"{condition.field} contain_any ('{value}')"
    return f"{condition.field} = '{value}'"


class ZvecPeer:
    """A collection of zvec in a folder of its own."""

    name = "zvec"
    in_process = True

    def __init__(self, target: str | None = None) -> None:
        """Import the engine.

        Args:
            target: Not for this peer; None.

        Raises:
            PeerUnavailable: The engine is not installed, or an address was given.
        """
        if target is not None:
            raise PeerUnavailable("zvec works in this process; it takes no --peer-target")
        self._zvec = peer_package(self.name, "zvec", "zvec")
        self._memory_before = memory_in_use()
        self._folder = tempfile.TemporaryDirectory(prefix="vectorbucket-bench-")
        self._collection: Any = None
        self._parameters = self._zvec.HnswQueryParam(ef=EF_SEARCH)

    def store(
        self, keys: Sequence[str], data: Float32Array, metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        """Insert all documents into a new collection and flush it.

        Raises:
            RuntimeError: A document was refused.
        """
        zvec = self._zvec
        path = Path(self._folder.name) / "collection"
        self._collection = zvec.create_and_open(str(path), self._schema(data.shape[1], metadata))
        for batch in batches(len(keys), BATCH_VECTORS):
            documents = [
                zvec.Doc(id=key, vectors={_VECTOR: row}, fields=dict(fields))
                for key, row, fields in zip(keys[batch], data[batch], metadata[batch], strict=True)
            ]
            for status in self._collection.insert(documents):
                if not status.ok():
                    raise RuntimeError(f"zvec refused a document: {status}")
        self._collection.flush()

    def _schema(self, dimension: int, metadata: Sequence[Mapping[str, Any]]) -> Any:
        """Return the fields of the metadata and one vector with a graph."""
        zvec = self._zvec
        graph = zvec.HnswIndexParam(
            metric_type=zvec.MetricType.COSINE,
            m=M,
            ef_construction=EF_CONSTRUCTION,
            use_contiguous_memory=True,
        )
        fields = [
            zvec.FieldSchema(
                name,
                getattr(zvec.DataType, _DATA_TYPES[kind]),
                nullable=True,
                index_param=zvec.InvertIndexParam() if name in INDEXED_FIELDS else None,
            )
            for name, kind in field_kinds(metadata).items()
        ]
        vector = zvec.VectorSchema(_VECTOR, zvec.DataType.VECTOR_FP32, dimension, index_param=graph)
        return zvec.CollectionSchema(name="vectors", fields=fields, vectors=[vector])

    def finish(self) -> None:
        """Build the graph; the engine returns when it is complete."""
        self._collection.optimize()

    def query(self, vector: Float32Array, top_k: int, condition: Condition | None) -> list[str]:
        """Return the nearest keys."""
        found = self._collection.query(
            self._zvec.Query(_VECTOR, vector=vector, param=self._parameters),
            topk=top_k,
            filter=None if condition is None else filter_text(condition),
            output_fields=[],
        )
        return [document.id for document in found]

    def memory_bytes(self) -> int:
        """Return what this process has more than before the engine."""
        return memory_in_use() - self._memory_before

    def close(self) -> None:
        """Close the collection and remove its folder."""
        if self._collection is not None:
            self._collection.close()
        self._folder.cleanup()
