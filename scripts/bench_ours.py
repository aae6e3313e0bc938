"""Our own subjects: the engine in this process, and the server through the Python client.

Rules of this file: both have their default settings and durability; what they are asked is in
bench_subject.py.
"""

from __future__ import annotations

import ctypes
import gc
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench_data import Float32Array
from bench_server import ServerProcess, anonymous_bytes
from bench_session import BUCKET, INDEX_NAME, wait_until_indexed
from bench_subject import BATCH_VECTORS, Condition
from vectorbucket import Client
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.filters.expression import (
    And,
    Compare,
    Comparison,
    Equals,
    Expression,
)
from vectorbucket_server.model import Bucket, DistanceMetric, Index, Query, VectorBatch

_LOOK_AGAIN_S = 0.02


def memory_in_use() -> int:
    """Return the anonymous memory of this process, without what is free but not given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return anonymous_bytes(os.getpid())


class EngineSubject:
    """The embedded engine in this process, without the RPC."""

    name = "engine"
    in_process = True

    def __init__(self, dimension: int) -> None:
        """Open an engine over a folder of its own, with an index under cosine."""
        self._before = memory_in_use()
        self._folder = tempfile.TemporaryDirectory(prefix="vectorbucket-bench-")
        self._engine = EmbeddedEngine(EmbeddedOptions(Path(self._folder.name) / "data"))
        self._engine.open()
        self._engine.put_bucket(Bucket(BUCKET, "bench", 0), buckets_max=1)
        index = Index(BUCKET, INDEX_NAME, dimension, DistanceMetric.COSINE)
        self._index = self._engine.put_index(index, indexes_max=1)

    def store(
        self, keys: Sequence[str], data: Float32Array, metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        """Put batch after batch, each synced, as the server does for a stream."""
        for start in range(0, len(keys), BATCH_VECTORS):
            end = start + BATCH_VECTORS
            batch = VectorBatch(tuple(keys[start:end]), data[start:end], tuple(metadata[start:end]))
            self._engine.put_vectors(self._index, batch)

    def finish(self) -> None:
        """Wait until no vector is pending."""
        while self._engine.index_statistics(self._index).pending_vector_count:
            time.sleep(_LOOK_AGAIN_S)

    def query(self, vector: Float32Array, top_k: int, condition: Condition | None) -> list[str]:
        """Ask the engine as the server does."""
        asked = Query(vector[None, :], top_k, expression_of(condition))
        return [hit.key for hit in self._engine.query_vectors(self._index, asked)[0]]

    def memory_bytes(self) -> int:
        """Return what this process has more than before the engine."""
        return memory_in_use() - self._before

    def close(self) -> None:
        """Close the engine and remove its folder."""
        self._engine.close()
        self._folder.cleanup()


class ServerSubject:
    """A server that speaks QueryVectors, ours or another, through the Python client."""

    in_process = False

    def __init__(self, process: ServerProcess, name: str = "server") -> None:
        """Take a server that runs; ``close`` does not stop it."""
        self.name = name
        self._process = process
        # Lent to one caller at a time, so that there are as many as callers, however many threads.
        self._idle: list[Client] = []
        self._clients = ExitStack()

    def store(
        self, keys: Sequence[str], data: Float32Array, metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        """Put everything in one stream."""
        with self._client() as client:
            client.put_vectors(
                BUCKET, INDEX_NAME, keys=keys, data=data, metadata=[dict(one) for one in metadata]
            )

    def finish(self) -> None:
        """Wait until no vector is pending."""
        with self._client() as client:
            wait_until_indexed(client)

    def query(self, vector: Float32Array, top_k: int, condition: Condition | None) -> list[str]:
        """Call QueryVectors with a client that nobody else uses meanwhile."""
        wanted = condition.as_filter() if condition else None
        with self._client() as client:
            hits = client.query_vectors(BUCKET, INDEX_NAME, vector, top_k=top_k, filter=wanted)
        return [hit.key for hit in hits]

    def memory_bytes(self) -> int:
        """Return the server's anonymous memory."""
        return anonymous_bytes(self._process.pid)

    def close(self) -> None:
        """Close the clients."""
        self._clients.close()

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """Lend a client."""
        try:
            client = self._idle.pop()
        except IndexError:
            client = Client(self._process.target)
            self._clients.callback(client.close)
        try:
            yield client
        finally:
            self._idle.append(client)


def expression_of(condition: Condition | None) -> Expression | None:
    """Return a condition as the engine's filter."""
    if condition is None:
        return None
    if condition.operator == "range":
        return And(
            (
                Compare(condition.field, Comparison.GTE, condition.low),
                Compare(condition.field, Comparison.LT, condition.high),
            )
        )
    return Equals(condition.field, condition.value)
