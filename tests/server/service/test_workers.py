"""Which threads a call runs on."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vectorbucket.v1 import (
    bucket_service_pb2,
    index_service_pb2,
    operations_service_pb2,
    vector_service_pb2,
)
from vectorbucket_server.service.workers import OPERATORS, REFUSERS, Workers

WAIT_S = 20.0

WRITING = {
    "PutVectorBucket",
    "DeleteVectorBucket",
    "PutBucketPolicy",
    "DeleteBucketPolicy",
    "PutBucketLogging",
    "DeleteBucketLogging",
    "PutVectorIndex",
    "DeleteVectorIndex",
    "PutVectorsBatch",
    "DeleteVectors",
}
"""Unary RPCs that change something."""

LONG = {
    "RebuildVectorIndex",
    "LoadVectorIndex",
    "UnloadVectorIndex",
    "PutBackup",
    "DeleteBackup",
}
"""Unary RPCs of operators that may take minutes."""


def methods() -> list[tuple[str, bool]]:
    """Return the name of every RPC, and whether it streams."""
    return [
        (method.name, method.client_streaming or method.server_streaming)
        for module in (
            bucket_service_pb2,
            index_service_pb2,
            vector_service_pb2,
            operations_service_pb2,
        )
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]


def fill(pool: ThreadPoolExecutor, gate: threading.Event) -> int:
    """Occupy all threads of a pool; return how many they are."""
    started = threading.Semaphore(0)

    def occupy() -> None:
        started.release()
        assert gate.wait(WAIT_S)

    count = pool._max_workers
    for _ in range(count):
        pool.submit(occupy)
        assert started.acquire(timeout=WAIT_S)
    return count


def test_every_rpc_has_the_pool_of_its_kind() -> None:
    workers = Workers(4, 2)
    pools = {workers.pool_of("PutVectors", streaming=True): "streams"}
    pools[workers.pool_of("PutVectorsBatch", streaming=False)] = "writers"
    pools[workers.pool_of("QueryVectors", streaming=False)] = "readers"
    pools[workers.pool_of("PutBackup", streaming=False)] = "operators"
    assert len(pools) == 4
    unary = dict.fromkeys(WRITING, "writers") | dict.fromkeys(LONG, "operators")
    assert {name for name, _ in methods()} > unary.keys()
    for name, streaming in methods():
        kind = pools[workers.pool_of(name, streaming=streaming)]
        assert kind == ("streams" if streaming else unary.get(name, "readers")), name
    assert not pools.keys() & {workers.checkers, workers.watchers}
    workers.shut_down()


@pytest.mark.parametrize(
    "taken", [("PutVectors", True), ("PutVectorsBatch", False), ("PutBackup", False)]
)
def test_readers_work_while_all_others_are_taken(taken: tuple[str, bool]) -> None:
    workers, gate = Workers(4, 2), threading.Event()
    name, streaming = taken
    count = fill(workers.pool_of(name, streaming=streaming), gate)
    assert count == {"PutVectors": 4 + REFUSERS, "PutVectorsBatch": 2, "PutBackup": OPERATORS}[name]
    reading = workers.pool_of("QueryVectors", streaming=False).submit(lambda: "answered")
    assert reading.result(WAIT_S) == "answered"
    gate.set()
    workers.shut_down()


def test_shutting_down_waits_for_what_runs() -> None:
    workers, gate, done = Workers(1, 1), threading.Event(), list[str]()

    def work() -> None:
        assert gate.wait(WAIT_S)
        done.append("done")

    workers.pool_of("DeleteVectors", streaming=False).submit(work)
    threading.Timer(0.05, gate.set).start()
    workers.shut_down()
    assert done == ["done"]
