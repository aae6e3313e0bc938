"""The commands of an operator: how the server fares, the indexes' graphs, and backups.

Rules of this file: those of buckets.py; but OSS has no such operations, and so no names for them.
"""

from __future__ import annotations

from typing import Any

import typer

from vectorbucket import BackupInfo
from vectorbucket.cli.answers import (
    answer,
    answer_done,
    answer_text,
    columns,
    facts,
    short_size_text,
    size_text,
)
from vectorbucket.cli.command import operation
from vectorbucket.cli.connection import Connection
from vectorbucket.cli.flags import BackupName, BucketName, IndexName
from vectorbucket.cli.spelling import backup_document, statistics_document

_PANEL = "Operating"

app = typer.Typer()


@operation(app, "get-server-statistics", panel=_PANEL)
def get_server_statistics(connection: Connection) -> None:
    """Show what the server holds and what it takes for that."""
    with connection.connect() as client:
        found = client.get_server_statistics()
    bound = size_text(found.memory_bytes_max) if found.memory_bytes_max else "no bound"
    pairs: list[tuple[str, object]] = [
        ("version", found.version),
        ("engine", found.engine),
        ("serving since", found.start_time),
        ("buckets", found.bucket_count),
        ("indexes", found.index_count),
        ("loaded", found.loaded_index_count),
        ("vectors", found.vector_count),
        ("pending", found.pending_vector_count),
        ("dead in graphs", found.dead_vector_count),
        ("memory", size_text(found.memory_bytes)),
        ("memory at most", bound),
        ("store", size_text(found.store_bytes)),
        ("graphs", size_text(found.graph_bytes)),
        ("disk free", size_text(found.disk_free_bytes) if found.disk_free_bytes else "not known"),
        ("writes", f"refused: {found.writes_refused}" if found.writes_refused else "taken"),
    ]
    answer(connection, statistics_document(found), facts(pairs))


@operation(app, "get-metrics", panel=_PANEL)
def get_metrics(connection: Connection) -> None:
    """Show the server's metrics, as Prometheus reads them."""
    with connection.connect() as client:
        answer_text(connection, client.get_metrics(), member="text")


@operation(app, "rebuild-vector-index", panel=_PANEL)
def rebuild_vector_index(
    connection: Connection, *, bucket: BucketName, index_name: IndexName
) -> None:
    """Begin to build an index's graph anew, without what is dead; the old one serves until then."""
    with connection.connect() as client:
        client.rebuild_vector_index(bucket, index_name)
    answer_done(connection, f"a rebuild of index {index_name} is under way; see get-vector-index")


@operation(app, "load-vector-index", panel=_PANEL)
def load_vector_index(connection: Connection, *, bucket: BucketName, index_name: IndexName) -> None:
    """Bring an index into memory, so that its first caller need not wait."""
    with connection.connect() as client:
        client.load_vector_index(bucket, index_name, **_patience(connection))
    answer_done(connection, f"index {index_name} is in memory")


@operation(app, "unload-vector-index", panel=_PANEL)
def unload_vector_index(
    connection: Connection, *, bucket: BucketName, index_name: IndexName
) -> None:
    """Let an index leave memory until it is used again."""
    with connection.connect() as client:
        client.unload_vector_index(bucket, index_name, **_patience(connection))
    answer_done(connection, f"index {index_name} is not in memory")


@operation(app, "put-backup", panel=_PANEL)
def put_backup(connection: Connection, *, name: BackupName) -> None:
    """Write a backup of everything into a folder of the server's machine."""
    with connection.connect() as client:
        backup = client.put_backup(name, **_patience(connection))
    answer(connection, {"backup": backup_document(backup)}, _table([backup]))


@operation(app, "list-backups", panel=_PANEL)
def list_backups(connection: Connection) -> None:
    """List the backups in the server's folder."""
    with connection.connect() as client:
        backups = client.list_backups()
    documents = [backup_document(backup) for backup in backups]
    answer(connection, {"backups": documents}, _table(backups))


@operation(app, "delete-backup", panel=_PANEL)
def delete_backup(connection: Connection, *, name: BackupName) -> None:
    """Remove a backup from the server's folder."""
    with connection.connect() as client:
        client.delete_backup(name)
    answer_done(connection, f"backup {name} is deleted")


def _table(backups: list[BackupInfo]) -> Any:
    """Return a table of backups."""
    rows = (
        (one.name, one.create_time, short_size_text(one.size_bytes), one.path) for one in backups
    )
    return columns(("backup", "begun", "size", "path"), rows)


def _patience(connection: Connection) -> dict[str, float]:
    """Return the time limit that was asked for; without, the client has one for what is long."""
    return {} if connection.timeout_s is None else {"timeout_s": connection.timeout_s}
