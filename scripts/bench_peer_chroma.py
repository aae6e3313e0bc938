"""The peer chroma: a server that the user has started (client: pip install chromadb-client).

Its address is HOST:PORT, 127.0.0.1:8000 by default (``chroma run --path DIR``).

Rules of this file: only importer of ``chromadb``. Chroma indexes all metadata by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench_data import Float32Array
from bench_peer_base import COLLECTION, PerThread, batches, peer_address, peer_package
from bench_peer_memory import server_memory_bytes
from bench_reference import EF_CONSTRUCTION, EF_SEARCH, M
from bench_subject import Condition

DEFAULT_PORT = 8_000

_BATCH_VECTORS = 1_000
_CONFIGURATION = {
    "hnsw": {
        "space": "cosine",
        "max_neighbors": M,
        "ef_construction": EF_CONSTRUCTION,
        "ef_search": EF_SEARCH,
    }
}


def where_filter(condition: Condition | None) -> dict[str, Any] | None:
    """Return a condition in the server's language."""
    if condition is None:
        return None
    if condition.operator == "range":
        return {
            "$and": [
                {condition.field: {"$gte": condition.low}},
                {condition.field: {"$lt": condition.high}},
            ]
        }
    operator = "$contains" if condition.operator == "in_list" else "$eq"
    return {condition.field: {operator: condition.value}}


def stored_fields(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return metadata as the server takes it: no empty list, and nothing rather than no field."""
    return {name: value for name, value in metadata.items() if value != []} or None


class ChromaPeer:
    """A collection in a running Chroma."""

    name = "chroma"
    in_process = False

    def __init__(self, target: str | None = None) -> None:
        """Connect.

        Args:
            target: HOST:PORT; None: DEFAULT_PORT on the loopback.

        Raises:
            PeerUnavailable: The client is not installed, or nothing answers there.
        """
        self._chromadb = peer_package(self.name, "chromadb", "chromadb-client")
        self._host, self._port = peer_address(self.name, target, DEFAULT_PORT)
        self._client = self._connect()
        self._collections = PerThread(self._open, lambda _: None)

    def _connect(self) -> Any:
        """Return a client."""
        return self._chromadb.HttpClient(host=self._host, port=self._port)

    def _open(self) -> Any:
        """Return the collection through a client of its own."""
        return self._connect().get_collection(COLLECTION, embedding_function=None)

    def store(
        self, keys: Sequence[str], data: Float32Array, metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add all to a new collection."""
        self._drop()
        collection = self._client.create_collection(
            COLLECTION, configuration=_CONFIGURATION, embedding_function=None
        )
        for batch in batches(len(keys), min(_BATCH_VECTORS, self._client.get_max_batch_size())):
            collection.add(
                ids=list(keys[batch]),
                embeddings=data[batch],
                metadatas=[stored_fields(fields) for fields in metadata[batch]],
            )

    def finish(self) -> None:
        """Query once: what its log holds and its graph does not is then brought in."""
        collection = self._open()
        some = collection.get(limit=1, include=["embeddings"])["embeddings"]
        collection.query(query_embeddings=some, n_results=1, include=[])

    def query(self, vector: Float32Array, top_k: int, condition: Condition | None) -> list[str]:
        """Return the nearest keys."""
        found = self._collections.get().query(
            query_embeddings=[vector],
            n_results=top_k,
            where=where_filter(condition),
            include=[],
        )
        return list(found["ids"][0])

    def memory_bytes(self) -> int | None:
        """Return what the server's processes take, when they run here."""
        return server_memory_bytes(self._host, self._port)

    def close(self) -> None:
        """Delete the collection."""
        self._drop()

    def _drop(self) -> None:
        if COLLECTION in [collection.name for collection in self._client.list_collections()]:
            self._client.delete_collection(COLLECTION)
