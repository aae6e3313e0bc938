"""What the service is measured against: a bare stream server, its bare client, and hnswlib alone.

The bare server speaks PutVectors of the same contract and does the least that durability asks for:
each message is one RocksDB write of three records a vector (key, metadata, data), one sync of the
write-ahead log, one answer. It checks nothing, looks nothing up, indexes nothing. Run as a program
it is that server:

    bench_reference.py DATA_DIR

Rules of this file: it imports nothing of the service but the contract's messages; it does no more
and no less than is said here, because every ratio of the bench stands on it.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import hnswlib
import numpy as np
from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from bench_data import Dataset, Float32Array, MetadataScalar, MetadataValue, PositionArray
from vectorbucket.v1 import vector_pb2, vector_service_pb2, vector_service_pb2_grpc

BATCH_VECTORS = 500
"""Vectors in a message."""

M = 16
EF_CONSTRUCTION = 200
EF_SEARCH = 96
"""Parameters of the graph: the service's defaults."""

_MESSAGE_BYTES_MAX = 64 * 1024 * 1024
_LABEL = struct.Struct(">Q")


# --- The bare server ------------------------------------------------------------------------------


class BareService(vector_service_pb2_grpc.VectorServiceServicer):
    """PutVectors and nothing else."""

    def __init__(self, data_dir: Path) -> None:
        """Open a RocksDB."""
        self._db = Rdict(str(data_dir), options=Options(raw_mode=True))
        self._options = WriteOptions()
        self._options.sync = False
        self._label = 0

    def PutVectors(  # noqa: N802 - the contract's name
        self,
        request_iterator: Iterator[vector_service_pb2.PutVectorsRequest],
        context: grpc.ServicerContext,  # noqa: ARG002 - gRPC passes it
    ) -> Iterator[vector_service_pb2.PutVectorsResponse]:
        """Store message after message and answer each when it is synced."""
        for request in request_iterator:
            self._db.write(self._batch(request), self._options)
            # Synced apart from the write, because the write would hold the interpreter lock.
            self._db.flush_wal(True)  # noqa: FBT003 - the binding's only form
            stored = vector_service_pb2.PutVectorsStored(vector_count=len(request.vectors))
            yield vector_service_pb2.PutVectorsResponse(
                batch_number=request.batch_number, stored=stored
            )

    def _batch(self, request: vector_service_pb2.PutVectorsRequest) -> WriteBatch:
        """Return the three records of each vector."""
        batch = WriteBatch(raw_mode=True)
        for vector in request.vectors:
            self._label += 1
            label = _LABEL.pack(self._label)
            batch.put(b"v" + vector.key.encode(), label)
            batch.put(b"d" + label, vector.data.float32_le)
            vector.ClearField("data")
            batch.put(b"r" + label, vector.SerializeToString())
        return batch


def serve(data_dir: Path) -> None:
    """Serve on a free port of the loopback until the process is ended."""
    server = grpc.server(
        ThreadPoolExecutor(4),
        options=[("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX)],
    )
    vector_service_pb2_grpc.add_VectorServiceServicer_to_server(BareService(data_dir), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"bench-reference ready grpc=127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


# --- The bare client ------------------------------------------------------------------------------


def put_bare(target: str, dataset: Dataset) -> list[float]:
    """Stream a data set into a server and return when, in seconds, each answer came.

    The messages are built as they are sent, inside the measured time, as any client must.
    """
    options = [("grpc.max_send_message_length", _MESSAGE_BYTES_MAX)]
    with grpc.insecure_channel(target, options=options) as channel:
        stub = vector_service_pb2_grpc.VectorServiceStub(channel)  # type: ignore[no-untyped-call]
        grpc.channel_ready_future(channel).result()
        began = time.perf_counter()
        return [time.perf_counter() - began for _ in stub.PutVectors(_messages(dataset))]


def _messages(dataset: Dataset) -> Iterator[vector_service_pb2.PutVectorsRequest]:
    """Yield a data set as messages."""
    for start in range(0, len(dataset.keys), BATCH_VECTORS):
        request = vector_service_pb2.PutVectorsRequest(batch_number=start // BATCH_VECTORS + 1)
        if start == 0:
            request.bucket, request.index_name, request.stream_id = "bench", "vectors", "bare"
        for position in range(start, min(start + BATCH_VECTORS, len(dataset.keys))):
            vector = request.vectors.add(key=dataset.keys[position])
            vector.data.float32_le = dataset.data[position].tobytes()
            for name, value in dataset.metadata[position].items():
                _fill(vector.metadata[name], value)
        yield request


def _fill(message: vector_pb2.MetadataValue, value: MetadataValue) -> None:
    """Write a value of metadata into its message."""
    if isinstance(value, list):
        message.list_value.SetInParent()
        for element in value:
            _fill_scalar(message.list_value.values.add(), element)
    else:
        _fill_scalar(message, value)


def _fill_scalar(
    message: vector_pb2.MetadataValue | vector_pb2.MetadataScalar, value: MetadataScalar
) -> None:
    """Write a scalar into its message."""
    if isinstance(value, str):
        message.string_value = value
    elif isinstance(value, bool):
        message.bool_value = value
    else:
        message.number_value = value


# --- hnswlib alone --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BareGraph:
    """A graph under cosine without anything around it."""

    graph: hnswlib.Index
    build_s: float
    """How long it took to build."""

    def search_many(self, queries: Float32Array, k: int) -> PositionArray:
        """Return the positions of each query's k nearest rows, int64, shape (q, k), on all cores.

        ``queries`` is float32 of shape (q, dimension), of unit length.
        """
        found, _ = self.graph.knn_query(queries, k=k, num_threads=os.cpu_count() or 1)
        return np.asarray(found, np.int64)

    def search(self, query: Float32Array, k: int) -> PositionArray:
        """Return the positions of the k nearest rows, nearest first: int64, shape (k,).

        ``query`` is float32 of shape (dimension,), of unit length.
        """
        found, _ = self.graph.knn_query(query, k=k, num_threads=1)
        return np.asarray(found[0], np.int64)


def build_bare_graph(rows: Float32Array) -> BareGraph:
    """Put rows, float32 of shape (n, dimension), into a graph at once, with all cores."""
    began = time.perf_counter()
    graph = hnswlib.Index(space="ip", dim=rows.shape[1])
    graph.init_index(max_elements=len(rows), M=M, ef_construction=EF_CONSTRUCTION)
    graph.add_items(unit_rows(rows), num_threads=os.cpu_count() or 1)
    build_s = time.perf_counter() - began
    graph.set_ef(EF_SEARCH)
    return BareGraph(graph, build_s)


def unit_rows(rows: Float32Array) -> Float32Array:
    """Return rows of unit length, float32 of the same shape."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
