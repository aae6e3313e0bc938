"""OperationsService through a real server, over the embedded engine and over one without graphs.

Who may call it is shown in test_operations_rights.py.
"""

from __future__ import annotations

import contextvars
import io
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import grpc
import pytest

from rooms import eventually
from rpc import BUCKET, INDEX, Stubs, query_request, refused, stubs_of, vector_of
from rpc_calls import CALLS, OPERATED_CALLS, OPERATOR_CALLS
from vectorbucket.limits import OSS
from vectorbucket.v1 import index_service_pb2, vector_service_pb2
from vectorbucket.v1 import operations_service_pb2 as messages
from vectorbucket_server.app import Server, running_server
from vectorbucket_server.auth.principal import Caller, Principal, begin
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.service.backups import Backups
from vectorbucket_server.service.operations import OperationsServicer, ServerFacts
from vectorbucket_server.service.resources import Resources
from vectorbucket_server.settings import Settings

MEMORY_BYTES = 10**9


@pytest.fixture(scope="module", name="running")
def fixture_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server over the embedded engine, where twenty vectors are enough for a graph."""
    folder = tmp_path_factory.mktemp("operations")
    settings = Settings(
        data_dir=folder / "data",
        grpc_address="127.0.0.1:0",
        embedded={"graph_rows_min": 20, "memory_bytes_max": MEMORY_BYTES},
        backup_dir=folder / "backups",
    )
    log = make_logger("json", "error", io.StringIO())
    with running_server(settings, log=log) as server:
        yield server


@pytest.fixture(name="operated")
def fixture_operated(running: Server) -> Iterator[Stubs]:
    """Stubs of that server, with an index of 150 vectors of which 50 were deleted."""
    with stubs_of(running.address) as stubs:
        stubs.make_index()
        stubs.put(*(vector_of(f"k{number:03}", [number, 1, 2, 3]) for number in range(150)))
        eventually(lambda: shown(stubs).pending_vector_count == 0, "all is in the graph")
        gone = [f"k{number:03}" for number in range(50)]
        stubs.vectors.DeleteVectors(
            vector_service_pb2.DeleteVectorsRequest(bucket=BUCKET, index_name=INDEX, keys=gone)
        )
        yield stubs
        CALLS["DeleteVectorIndex"](stubs, BUCKET, INDEX)
        CALLS["DeleteVectorBucket"](stubs, BUCKET, INDEX)


def shown(stubs: Stubs) -> index_service_pb2.GetVectorIndexResponse:
    """Return what GetVectorIndex says."""
    request = index_service_pb2.GetVectorIndexRequest(bucket=BUCKET, index_name=INDEX)
    answer: index_service_pb2.GetVectorIndexResponse = stubs.indexes.GetVectorIndex(request)
    return answer


def statistics(stubs: Stubs) -> messages.GetServerStatisticsResponse:
    """Return what GetServerStatistics says."""
    answer: messages.GetServerStatisticsResponse = stubs.operations.GetServerStatistics(
        messages.GetServerStatisticsRequest()
    )
    return answer


def operate(stubs: Stubs, rpc: str) -> None:
    """Do something to the index."""
    OPERATED_CALLS[rpc](stubs, BUCKET, INDEX)


def nearest(stubs: Stubs) -> list[tuple[str, float]]:
    """Return what a query finds."""
    hits = stubs.vectors.QueryVectors(query_request([60, 1, 2, 3], top_k=5)).vectors
    return [(hit.key, hit.distance) for hit in hits]


# --- The server -----------------------------------------------------------------------------------


def test_statistics_show_the_server_and_what_it_holds(operated: Stubs) -> None:
    before_ms = time.time_ns() // 1_000_000
    seen = statistics(operated)
    assert (seen.version, seen.engine) == (metadata.version("vectorbucket"), "embedded")
    assert 0 < seen.start_time.ToMilliseconds() <= before_ms
    assert (seen.bucket_count, seen.index_count, seen.loaded_index_count) == (1, 1, 1)
    assert (seen.vector_count, seen.pending_vector_count, seen.dead_vector_count) == (100, 0, 50)
    assert 0 < seen.memory_bytes <= seen.memory_bytes_max == MEMORY_BYTES
    assert seen.store_bytes > 0
    assert seen.graph_bytes >= 0
    assert seen.disk_free_bytes > 0
    assert seen.writes_refused == ""


def test_metrics_are_the_text_that_the_server_collects() -> None:
    engine = MemoryEngine()
    servicer = OperationsServicer(
        engine,
        Resources(engine, OSS, region="cn-hangzhou"),
        Backups(engine, Path("never made"), lambda: 0),
        metrics_text=lambda: "calls_total 7\n",
        facts=ServerFacts("1.2.0", "memory", 5),
    )

    def call(rpc: str) -> Any:
        begin(Caller(Principal("ops", "1", operator=True)))
        return getattr(servicer, rpc)(getattr(messages, f"{rpc}Request")(), None)

    ask = contextvars.copy_context().run
    assert ask(call, "GetMetrics").text == "calls_total 7\n"
    seen = ask(call, "GetServerStatistics")
    assert (seen.version, seen.engine, seen.start_time.nanos) == ("1.2.0", "memory", 5_000_000)


def test_backups_are_made_shown_and_deleted(operated: Stubs, running: Server) -> None:
    before_ms = time.time_ns() // 1_000_000
    made = operated.operations.PutBackup(messages.PutBackupRequest(name="nightly")).backup
    assert made.name == "nightly"
    assert before_ms <= made.create_time.ToMilliseconds() <= time.time_ns() // 1_000_000
    assert made.size_bytes > 0
    assert Path(made.path) == running.settings.backups() / "nightly"
    assert Path(made.path).is_dir()
    again = refused(
        lambda: operated.operations.PutBackup(messages.PutBackupRequest(name="nightly"))
    )
    assert again.code is grpc.StatusCode.ALREADY_EXISTS
    assert again.facts == {"code": "BackupAlreadyExist", "name": "nightly"}
    listed = operated.operations.ListBackups(messages.ListBackupsRequest())
    assert list(listed.backups) == [made]
    request = messages.DeleteBackupRequest(name="nightly")
    assert operated.operations.DeleteBackup(request) == messages.DeleteBackupResponse()
    gone = refused(lambda: operated.operations.DeleteBackup(request))
    assert (gone.code, gone.reason) == (
        grpc.StatusCode.NOT_FOUND,
        "ERROR_REASON_NO_SUCH_BACKUP",
    )
    listed = operated.operations.ListBackups(messages.ListBackupsRequest())
    assert listed == messages.ListBackupsResponse()


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "x" * 64, "é", "-a", "a\0"])
def test_backup_of_an_illegal_name_is_refused(operated: Stubs, name: str) -> None:
    for call in (
        lambda: operated.operations.PutBackup(messages.PutBackupRequest(name=name)),
        lambda: operated.operations.DeleteBackup(messages.DeleteBackupRequest(name=name)),
    ):
        refusal = refused(call)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.reason == "ERROR_REASON_INVALID_ARGUMENT"


# --- One index ------------------------------------------------------------------------------------


def test_index_shows_how_it_fares(operated: Stubs) -> None:
    seen = shown(operated)
    assert (seen.vector_count, seen.loaded, seen.rebuilding) == (100, True, False)
    assert seen.dead_share == pytest.approx(1 / 3)
    assert seen.memory_bytes > 0
    assert seen.disk_bytes > 0
    assert not seen.HasField("checkpoint_time")


def test_index_leaves_memory_and_comes_back_as_it_was(operated: Stubs) -> None:
    found, before_ms = nearest(operated), time.time_ns() // 1_000_000 - 1
    for _ in range(2):  # of one that is not there nothing is wanted
        operate(operated, "UnloadVectorIndex")
        seen = shown(operated)
        assert (seen.loaded, seen.memory_bytes, seen.dead_share) == (False, 0, 0.0)
        assert (seen.vector_count, statistics(operated).loaded_index_count) == (100, 0)
    assert before_ms <= seen.checkpoint_time.ToMilliseconds() <= time.time_ns() // 1_000_000
    assert seen.disk_bytes > 0
    for _ in range(2):
        operate(operated, "LoadVectorIndex")
        assert shown(operated).loaded
    assert shown(operated).dead_share == pytest.approx(1 / 3)
    assert nearest(operated) == found


def test_index_is_rebuilt_without_its_dead(operated: Stubs) -> None:
    found = nearest(operated)
    operate(operated, "RebuildVectorIndex")
    eventually(lambda: not shown(operated).rebuilding, "it is rebuilt")
    seen = shown(operated)
    assert (seen.vector_count, seen.dead_share) == (100, 0.0)
    assert statistics(operated).dead_vector_count == 0
    assert nearest(operated) == found


@pytest.mark.parametrize("rpc", OPERATED_CALLS)
def test_what_is_missing_is_told(operated: Stubs, rpc: str) -> None:
    for bucket, index_name, reason in (
        ("nowhere", INDEX, "NO_SUCH_BUCKET"),
        (BUCKET, "none", "NO_SUCH_VECTOR_INDEX"),
        ("NO", INDEX, "INVALID_VECTOR_BUCKET_NAME"),
        (BUCKET, "no-name", "VECTOR_INDEX_PARAMETER_INVALID"),
    ):
        refusal = refused(
            lambda where=(bucket, index_name): OPERATED_CALLS[rpc](operated, *where)  # type: ignore[misc]
        )
        assert refusal.reason == f"ERROR_REASON_{reason}"


def test_engine_without_graphs_and_disk_says_what_it_does_not_do(stubs: Stubs) -> None:
    stubs.make_index()
    stubs.put(vector_of("a"))
    seen = statistics(stubs)
    assert (seen.engine, seen.vector_count, seen.loaded_index_count) == ("memory", 1, 1)
    assert (seen.memory_bytes_max, seen.disk_free_bytes) == (0, 0)
    operate(stubs, "LoadVectorIndex")
    refusals = [
        refused(lambda rpc=rpc: operate(stubs, rpc))  # type: ignore[misc]
        for rpc in ("UnloadVectorIndex", "RebuildVectorIndex")
    ]
    refusals.append(refused(lambda: OPERATOR_CALLS["PutBackup"](stubs, "", "")))
    for refusal in refusals:
        assert refusal.code is grpc.StatusCode.UNIMPLEMENTED
        assert refusal.reason == "ERROR_REASON_METHOD_NOT_ALLOWED"
