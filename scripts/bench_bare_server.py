"""A bare query server: what the service's queries are measured against.

It is a gRPC server of the same kind as the service (synchronous, a pool of threads) and with as
many threads for queries. Of the contract it knows QueryVectors alone, and of that it does what any
server must: decode the request, search the graph, encode the answer. It checks nothing, looks no
index up, logs nothing, and holds its keys in a list. Run as a program it is that server:

    bench_bare_server.py FOLDER

where ``save_bare`` has put a graph of hnswlib and the keys.

Rules of this file: it imports nothing of the service but the contract's messages; it does no more
and no less than is said here, because ratios of the bench stand on it. (The service's shorter
switch interval is left out: it made no difference here, 1,586 queries/s beside 1,588.)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import hnswlib
import numpy as np

from bench_reference import EF_SEARCH, BareGraph
from vectorbucket.v1 import vector_service_pb2, vector_service_pb2_grpc

WORKERS = 8
"""Threads that answer queries: the service's default."""

_GRAPH = "graph.bin"
_KEYS = "keys.json"


def save_bare(folder: Path, graph: BareGraph, keys: Sequence[str]) -> None:
    """Write what the server serves; key i is that of row i of the graph."""
    folder.mkdir(parents=True, exist_ok=True)
    graph.graph.save_index(str(folder / _GRAPH))
    described = {"dimension": graph.graph.dim, "keys": list(keys)}
    (folder / _KEYS).write_text(json.dumps(described), encoding="utf-8")


class BareQueryService(vector_service_pb2_grpc.VectorServiceServicer):
    """QueryVectors and nothing else."""

    def __init__(self, folder: Path) -> None:
        """Load the graph and the keys."""
        described = json.loads((folder / _KEYS).read_text(encoding="utf-8"))
        self._keys: list[str] = described["keys"]
        self._graph = hnswlib.Index(space="ip", dim=described["dimension"])
        self._graph.load_index(str(folder / _GRAPH))
        self._graph.set_ef(EF_SEARCH)

    def QueryVectors(  # noqa: N802 - the contract's name
        self,
        request: vector_service_pb2.QueryVectorsRequest,
        context: grpc.ServicerContext,  # noqa: ARG002 - gRPC passes it
    ) -> vector_service_pb2.QueryVectorsResponse:
        """Answer the nearest keys and their distances."""
        query = np.frombuffer(request.query_vector.float32_le, np.float32)
        query = query / np.sqrt(query @ query)
        labels, distances = self._graph.knn_query(query, k=request.top_k, num_threads=1)
        response = vector_service_pb2.QueryVectorsResponse()
        for label, distance in zip(labels[0].tolist(), distances[0].tolist(), strict=True):
            response.vectors.add(key=self._keys[label], distance=distance)
        return response


def serve(folder: Path) -> None:
    """Serve on a free port of the loopback until the process is ended."""
    server = grpc.server(ThreadPoolExecutor(WORKERS))
    vector_service_pb2_grpc.add_VectorServiceServicer_to_server(BareQueryService(folder), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"bench-bare-server ready grpc=127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
