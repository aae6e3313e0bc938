"""The peer milvus: a standalone server that the user has started (client: pip install pymilvus).

Its address is HOST:PORT, 127.0.0.1:19530 by default.

Rules of this file: only importer of ``pymilvus``. It says no more than a server of 2.3 understands:
fields that are filtered are columns with an index, all others are dynamic.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench_data import Float32Array
from bench_peer_base import COLLECTION, INDEXED_FIELDS, batches, peer_address, peer_package
from bench_peer_memory import server_memory_bytes
from bench_reference import EF_CONSTRUCTION, EF_SEARCH, M
from bench_subject import Condition

DEFAULT_PORT = 19_530

_KEY, _VECTOR = "key", "vector"
_BATCH_VECTORS = 2_000
"""Rows of an insert: larger ones meet the limits of a message at 2,048 dimensions."""

_TEXT_LENGTH_MAX = 1_024
_LOOK_AGAIN_S = 0.05
_SEARCH = {"metric_type": "COSINE", "params": {"ef": EF_SEARCH}}


def boolean_expression(condition: Condition | None) -> str:
    """Return a condition in the server's language; nothing for none."""
    if condition is None:
        return ""
    if condition.operator == "range":
        low, high = repr(float(condition.low)), repr(float(condition.high))
        return f"{condition.field} >= {low} and {condition.field} < {high}"
    value = json.dumps(condition.value, ensure_ascii=False)
    if condition.operator == "in_list":
        return f"json_contains({condition.field}, {value})"
    return f"{condition.field} == {value}"


class MilvusPeer:
    """A collection in a running Milvus."""

    name = "milvus"
    in_process = False

    def __init__(self, target: str | None = None) -> None:
        """Connect.

        Args:
            target: HOST:PORT; None: DEFAULT_PORT on the loopback.

        Raises:
            PeerUnavailable: The client is not installed, or nothing answers there.
        """
        self._pymilvus = peer_package(self.name, "pymilvus", "pymilvus")
        self._host, self._port = peer_address(self.name, target, DEFAULT_PORT)
        self._client = self._pymilvus.MilvusClient(uri=f"http://{self._host}:{self._port}")

    def store(
        self, keys: Sequence[str], data: Float32Array, metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        """Insert all rows into a new collection; an insert is durable in the server's log."""
        self._drop()
        types = self._pymilvus.DataType
        schema = self._pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field(_KEY, types.VARCHAR, is_primary=True, max_length=_TEXT_LENGTH_MAX)
        schema.add_field(_VECTOR, types.FLOAT_VECTOR, dim=data.shape[1])
        for field in INDEXED_FIELDS:
            schema.add_field(field, types.VARCHAR, max_length=_TEXT_LENGTH_MAX)
        self._client.create_collection(COLLECTION, schema=schema)
        absent = dict.fromkeys(INDEXED_FIELDS, "")
        for batch in batches(len(keys), _BATCH_VECTORS):
            rows = [
                {**absent, **fields, _KEY: key, _VECTOR: row}
                for key, row, fields in zip(keys[batch], data[batch], metadata[batch], strict=True)
            ]
            self._client.insert(COLLECTION, rows)

    def finish(self) -> None:
        """Seal the segments, build their graphs and the fields' indexes, and load all."""
        self._client.flush(COLLECTION)
        indexes = self._pymilvus.MilvusClient.prepare_index_params()
        indexes.add_index(
            _VECTOR,
            index_type="HNSW",
            metric_type="COSINE",
            params={"M": M, "efConstruction": EF_CONSTRUCTION},
        )
        for field in INDEXED_FIELDS:
            indexes.add_index(field, index_type="Trie")
        self._client.create_index(COLLECTION, indexes)
        while self._client.describe_index(COLLECTION, _VECTOR)["pending_index_rows"]:
            time.sleep(_LOOK_AGAIN_S)
        self._client.load_collection(COLLECTION)

    def query(self, vector: Float32Array, top_k: int, condition: Condition | None) -> list[str]:
        """Return the nearest keys; nothing is written meanwhile, so none is waited for."""
        found = self._client.search(
            COLLECTION,
            data=[vector],
            anns_field=_VECTOR,
            limit=top_k,
            filter=boolean_expression(condition),
            search_params=_SEARCH,
            consistency_level="Eventually",
        )
        return [hit["id"] for hit in found[0]]

    def memory_bytes(self) -> int | None:
        """Return what the server's processes take, when they run here."""
        return server_memory_bytes(self._host, self._port)

    def close(self) -> None:
        """Drop the collection and disconnect."""
        self._drop()
        self._client.close()

    def _drop(self) -> None:
        if self._client.has_collection(COLLECTION):
            self._client.drop_collection(COLLECTION)
