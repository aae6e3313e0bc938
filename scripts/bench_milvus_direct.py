"""pymilvus used directly, on the very collections that the engine on Milvus keeps its indexes in.

What it reads and writes is what a server reads and writes there: the same schema, partition, graph,
breadth of search, expressions and consistency. So what differs is what stands between a caller and
pymilvus.

Rules of this file: nothing of ours is between it and Milvus; rows are ready-made before they are
put, expressions before they are asked; pymilvus is asked for when somebody connects, not before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bench_data import Dataset, Float32Array
from bench_ours import expression_of
from bench_peer_base import batches, peer_package
from bench_session import BUCKET
from bench_subject import BATCH_VECTORS, Condition
from vectorbucket_server.engine.milvus.definitions import (
    KEY,
    VECTOR,
    index_collection,
    partition_of,
    read_index,
)
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.engine.milvus.pushdown import boolean_expression, keys_expression
from vectorbucket_server.engine.milvus.rows import rows_of
from vectorbucket_server.model import VectorBatch

_LOOK_AGAIN_S = 0.05


class Direct:
    """An index's collection, through pymilvus; queried by many threads, which share a connection.

    It is asked as the subjects of bench_subject.py are.
    """

    name = "pymilvus"

    def __init__(self, uri: str, database: str, index_name: str) -> None:
        """Connect.

        Args:
            uri: Where Milvus is.
            database: Which of its databases a server keeps the bucket in.
            index_name: An index of ``BUCKET``.

        Raises:
            PeerUnavailable: The client is not installed.
        """
        pymilvus = peer_package("milvus", "pymilvus", "pymilvus")
        # Not one that others in this process use, too.
        self._client = pymilvus.MilvusClient(uri=uri, db_name=database, dedicated=True)
        self._collection = index_collection(BUCKET, index_name)
        described = self._client.describe_collection(self._collection)
        self._index = read_index(self._collection, described["description"]).index
        self._partition = partition_of(self._index.index_id)
        self._ef = MilvusOptions().ef_search
        self._expressions: dict[Condition | None, str] = {}

    def batches_of(self, dataset: Dataset) -> list[list[dict[str, Any]]]:
        """Return a data set as batches of rows, as the engine stores them."""
        return [
            rows_of(
                self._index,
                VectorBatch(dataset.keys[rows], dataset.data[rows], dataset.metadata[rows]),
            )
            for rows in batches(len(dataset.keys), BATCH_VECTORS)
        ]

    def put(self, row_batches: Sequence[list[dict[str, Any]]], *, probe_every: int) -> list[float]:
        """Upsert batch after batch, and make sure of some at a time that readers see them.

        Args:
            row_batches: What to put.
            probe_every: How many batches are upserted before a Strong read makes sure of them.

        Returns:
            For each batch how many seconds after the first one's start that was.
        """
        answered_s: list[float] = []
        began = time.perf_counter()
        for number, rows in enumerate(row_batches, 1):
            self._client.upsert(self._collection, rows, partition_name=self._partition)
            if number % probe_every == 0 or number == len(row_batches):
                self.probe()
                late = number - len(answered_s)
                answered_s += [time.perf_counter() - began] * late
        return answered_s

    def probe(self) -> None:
        """Return once readers see all that was upserted: a Strong read of nothing."""
        self._client.query(
            self._collection,
            filter=keys_expression([""]),
            output_fields=[KEY],
            partition_names=[self._partition],
            consistency_level="Strong",
            limit=1,
        )

    def finish(self) -> None:
        """Return when all is in graphs, and those are what is searched."""
        self._client.flush(self._collection)
        while self._client.describe_index(self._collection, VECTOR)["pending_index_rows"]:
            time.sleep(_LOOK_AGAIN_S)
        # Query nodes take up a graph when they please, but for what they load.
        self._client.release_collection(self._collection)
        self._client.load_collection(self._collection)
        self.probe()

    def query(self, vector: Float32Array, top_k: int, condition: Condition | None) -> list[str]:
        """Return the nearest keys at Bounded consistency, which is the engine's, too."""
        found = self._client.search(
            self._collection,
            data=[vector],
            anns_field=VECTOR,
            filter=self._expression(condition),
            limit=top_k,
            search_params={"params": {"ef": max(self._ef, top_k)}},
            partition_names=[self._partition],
            consistency_level="Bounded",
        )
        return [hit["id"] for hit in found[0]]

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def _expression(self, condition: Condition | None) -> str:
        if condition not in self._expressions:
            asked = expression_of(condition)
            self._expressions[condition] = "" if asked is None else boolean_expression(asked)
        return self._expressions[condition]
