"""OperationsService: how the server fares, what an operator does to its indexes, and backups.

Rules of this file: convert, check, call, convert; no logic of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc

from vectorbucket.v1 import operations_service_pb2 as messages
from vectorbucket.v1 import operations_service_pb2_grpc
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.service import convert
from vectorbucket_server.service.backups import BackupInfo, Backups
from vectorbucket_server.service.calls import ContextDeadline
from vectorbucket_server.service.resources import Resources


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself, and what no engine knows."""

    version: str
    """Of the server, as ``1.2.0``."""
    engine: str
    """What keeps the vectors, as the setting names it."""
    started_ms: int
    """When it began to serve: milliseconds since the Unix epoch, UTC."""


class OperationsServicer(operations_service_pb2_grpc.OperationsServiceServicer):
    """Answers the RPCs of OperationsService; see proto/vectorbucket/v1/operations_service.proto."""

    def __init__(
        self,
        engine: Engine,
        resources: Resources,
        backups: Backups,
        *,
        metrics_text: Callable[[], str],
        facts: ServerFacts,
    ) -> None:
        """Take what the calls are answered with.

        Args:
            engine: Keeps everything.
            resources: Knows who may operate the server, and finds indexes for those.
            backups: Makes, lists and deletes backups.
            metrics_text: Returns the metrics, in the text format of Prometheus.
            facts: Of this server.
        """
        self._engine = engine
        self._resources = resources
        self._backups = backups
        self._metrics_text = metrics_text
        self._facts = facts

    def GetServerStatistics(
        self, _request: messages.GetServerStatisticsRequest, _context: grpc.ServicerContext
    ) -> messages.GetServerStatisticsResponse:
        """Show what the server holds, and what it takes for that."""
        self._resources.operator("GetServerStatistics")
        statistics = self._engine.statistics()
        return messages.GetServerStatisticsResponse(
            version=self._facts.version,
            engine=self._facts.engine,
            start_time=convert.timestamp(self._facts.started_ms),
            bucket_count=statistics.bucket_count,
            index_count=statistics.index_count,
            loaded_index_count=statistics.loaded_index_count,
            vector_count=statistics.vector_count,
            pending_vector_count=statistics.pending_vector_count,
            dead_vector_count=statistics.dead_vector_count,
            memory_bytes=statistics.memory_bytes,
            memory_bytes_max=statistics.memory_bytes_max,
            store_bytes=statistics.store_bytes,
            graph_bytes=statistics.graph_bytes,
            disk_free_bytes=statistics.disk_free_bytes,
            writes_refused=statistics.writes_refused,
        )

    def GetMetrics(
        self, _request: messages.GetMetricsRequest, _context: grpc.ServicerContext
    ) -> messages.GetMetricsResponse:
        """Show the metrics."""
        self._resources.operator("GetMetrics")
        return messages.GetMetricsResponse(text=self._metrics_text())

    def RebuildVectorIndex(
        self, request: messages.RebuildVectorIndexRequest, _context: grpc.ServicerContext
    ) -> messages.RebuildVectorIndexResponse:
        """Begin to build the graph of an index anew."""
        index = self._resources.operated_index(
            "RebuildVectorIndex", request.bucket, request.index_name
        )
        self._engine.rebuild_index(index)
        return messages.RebuildVectorIndexResponse()

    def LoadVectorIndex(
        self, request: messages.LoadVectorIndexRequest, context: grpc.ServicerContext
    ) -> messages.LoadVectorIndexResponse:
        """Bring an index into memory."""
        index = self._resources.operated_index(
            "LoadVectorIndex", request.bucket, request.index_name
        )
        self._engine.load_index(index, deadline=ContextDeadline(context))
        return messages.LoadVectorIndexResponse()

    def UnloadVectorIndex(
        self, request: messages.UnloadVectorIndexRequest, _context: grpc.ServicerContext
    ) -> messages.UnloadVectorIndexResponse:
        """Save an index and let it leave memory."""
        index = self._resources.operated_index(
            "UnloadVectorIndex", request.bucket, request.index_name
        )
        self._engine.unload_index(index)
        return messages.UnloadVectorIndexResponse()

    def PutBackup(
        self, request: messages.PutBackupRequest, context: grpc.ServicerContext
    ) -> messages.PutBackupResponse:
        """Write a backup of everything."""
        self._resources.operator("PutBackup")
        made = self._backups.put(request.name, deadline=ContextDeadline(context))
        return messages.PutBackupResponse(backup=_backup_message(made))

    def ListBackups(
        self, _request: messages.ListBackupsRequest, _context: grpc.ServicerContext
    ) -> messages.ListBackupsResponse:
        """Show the backups."""
        self._resources.operator("ListBackups")
        return messages.ListBackupsResponse(
            backups=[_backup_message(backup) for backup in self._backups.list()]
        )

    def DeleteBackup(
        self, request: messages.DeleteBackupRequest, _context: grpc.ServicerContext
    ) -> messages.DeleteBackupResponse:
        """Remove a backup."""
        self._resources.operator("DeleteBackup")
        self._backups.delete(request.name)
        return messages.DeleteBackupResponse()


def _backup_message(backup: BackupInfo) -> messages.Backup:
    """Return a backup as a message."""
    return messages.Backup(
        name=backup.name,
        create_time=convert.timestamp(backup.create_ms),
        size_bytes=backup.size_bytes,
        path=str(backup.path),
    )
