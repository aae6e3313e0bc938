"""What an operator asks, through the client, against the real server with its files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.conftest import Connect
from rooms import eventually
from vectorbucket import (
    BackupAlreadyExist,
    Client,
    InvalidArgument,
    MethodNotAllowed,
    NoSuchBackup,
    NoSuchBucket,
    NoSuchVectorIndex,
    __version__,
)
from vectorbucket_server.app import Server

RECENTLY = timedelta(minutes=5)


@pytest.fixture(name="operator")
def fixture_operator(operated_address: str, connect: Connect) -> Iterator[Client]:
    """A client of the server with files; no backup is left behind."""
    client = connect(operated_address)
    yield client
    for backup in client.list_backups():
        client.delete_backup(backup.name)


def test_statistics_say_what_the_server_holds_and_takes(operator: Client) -> None:
    operator.load_vector_index("photos", "faces")
    found = operator.get_server_statistics()
    assert (found.version, found.engine) == (__version__, "embedded")
    assert datetime.now(UTC) - found.start_time < RECENTLY
    assert (found.bucket_count, found.index_count, found.loaded_index_count) == (1, 1, 1)
    assert (found.vector_count, found.pending_vector_count) == (30, 0)
    assert found.memory_bytes > 0
    assert found.store_bytes > 0
    assert found.disk_free_bytes > 0
    assert found.writes_refused == ""


def test_metrics_are_prometheus_text(operator: Client) -> None:
    text = operator.get_metrics()
    assert "# TYPE vectorbucket_calls_total counter" in text
    assert text.endswith("\n")


def test_index_leaves_memory_and_comes_back(operator: Client) -> None:
    operator.unload_vector_index("photos", "faces")
    away = operator.get_vector_index("photos", "faces")
    assert (away.loaded, away.memory_bytes, away.vector_count) == (False, 0, 30)
    assert away.checkpoint_time is not None
    assert datetime.now(UTC) - away.checkpoint_time < RECENTLY
    assert away.disk_bytes
    operator.unload_vector_index("photos", "faces")
    operator.load_vector_index("photos", "faces")
    back = operator.get_vector_index("photos", "faces")
    assert back.loaded is True
    assert back.memory_bytes


def test_rebuild_leaves_out_what_is_dead(operator: Client) -> None:
    worn = [f"worn{number}" for number in range(5)]
    operator.put_vectors("photos", "faces", [(key, [5.0, 5.0, 5.0, 5.0]) for key in worn])
    eventually(
        lambda: not operator.get_vector_index("photos", "faces").pending_vector_count,
        "all vectors are in the graph",
    )
    operator.delete_vectors("photos", "faces", worn)
    dead_share = operator.get_vector_index("photos", "faces").dead_share
    assert dead_share == pytest.approx(5 / 35)
    operator.rebuild_vector_index("photos", "faces")

    def rebuilt() -> bool:
        index = operator.get_vector_index("photos", "faces")
        return not index.rebuilding and index.dead_share == 0

    eventually(rebuilt, "the graph is built anew")
    assert operator.get_vector_index("photos", "faces").vector_count == 30


def test_a_listing_does_not_say_how_indexes_fare(operator: Client) -> None:
    [index] = operator.list_vector_indexes("photos")
    facts = (index.loaded, index.dead_share, index.rebuilding, index.memory_bytes)
    assert {*facts, index.disk_bytes, index.checkpoint_time, index.vector_count} == {None}


def test_backup_is_made_listed_and_deleted(operator: Client) -> None:
    assert operator.list_backups() == []
    made = [operator.put_backup(name) for name in ("tuesday", "monday")]
    assert datetime.now(UTC) - made[0].create_time < RECENTLY
    assert made[0].size_bytes > 0
    assert Path(made[0].path).is_dir()
    assert operator.list_backups() == sorted(made, key=lambda backup: backup.name)
    with pytest.raises(BackupAlreadyExist, match="'monday' exists already"):
        operator.put_backup("monday")
    operator.delete_backup("monday")
    assert operator.list_backups() == made[:1]
    assert not Path(made[1].path).exists()
    with pytest.raises(NoSuchBackup, match="'monday' does not exist"):
        operator.delete_backup("monday")


def test_bad_names_get_the_contracts_errors(operator: Client) -> None:
    for call in (
        operator.load_vector_index,
        operator.unload_vector_index,
        operator.rebuild_vector_index,
    ):
        with pytest.raises(NoSuchVectorIndex):
            call("photos", "nobody")
        with pytest.raises(NoSuchBucket):
            call("videos", "faces")
    for name in ("", "../up", "a/b"):
        with pytest.raises(InvalidArgument):
            operator.put_backup(name)
        with pytest.raises(InvalidArgument):
            operator.delete_backup(name)


def test_engine_without_graphs_and_files_says_so(server: Server, connect: Connect) -> None:
    client = connect(server.address)
    with pytest.raises(MethodNotAllowed):
        client.put_backup("monday")
    assert client.list_backups() == []
    statistics = client.get_server_statistics()
    assert (statistics.engine, statistics.disk_free_bytes, statistics.memory_bytes_max) == (
        "memory",
        0,
        0,
    )
