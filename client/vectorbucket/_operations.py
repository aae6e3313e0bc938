"""What an operator asks: how the server fares, its indexes' graphs, and backups.

Rules of this file: those of _control_plane.py. What takes long has a time limit of its own.
"""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from vectorbucket._caller import Caller
from vectorbucket._messages import read_backup, read_statistics
from vectorbucket._models import BackupInfo, ServerStatistics
from vectorbucket.v1 import operations_service_pb2 as messages

# It has no types; what uses it does.
_health: Any = health_pb2

LOAD_TIMEOUT_S = 600.0
"""Seconds that the loading of an index may take: it reads its files, or indexes it anew."""

BACKUP_TIMEOUT_S = 3600.0
"""Seconds that a backup may take: at worst everything is copied."""


class Operations(Caller):
    """The operations of an operator, who has a credential that says so.

    What is done to one index, the owner of its bucket may do as well. Each method takes
    ``timeout_s``, seconds for the call and its retries; None means the client's.
    """

    def get_server_statistics(self, *, timeout_s: float | None = None) -> ServerStatistics:
        """Return what the server holds and what it takes for that, as of now."""
        request = messages.GetServerStatisticsRequest()
        response: messages.GetServerStatisticsResponse = self._call(
            self._operations.GetServerStatistics, request, timeout_s
        )
        return read_statistics(response)

    def get_metrics(self, *, timeout_s: float | None = None) -> str:
        """Return the metrics of the server, in the text format of Prometheus."""
        response: messages.GetMetricsResponse = self._call(
            self._operations.GetMetrics, messages.GetMetricsRequest(), timeout_s
        )
        return response.text

    # --- Indexes ----------------------------------------------------------------------------------

    def rebuild_vector_index(
        self, bucket: str, index_name: str, *, timeout_s: float | None = None
    ) -> None:
        """Begin to build the graph of an index anew, without what is dead.

        The old graph serves until then; ``get_vector_index`` shows when it is over. If a rebuild
        is under way, nothing is begun.

        Raises:
            NoSuchBucket: There is no such bucket.
            NoSuchVectorIndex: There is no such index.
            MemoryBudgetExceeded: There is no memory for a second graph.
            MethodNotAllowed: The engine of this server has no graph.
        """
        request = messages.RebuildVectorIndexRequest(bucket=bucket, index_name=index_name)
        self._call(self._operations.RebuildVectorIndex, request, timeout_s)

    def load_vector_index(
        self, bucket: str, index_name: str, *, timeout_s: float | None = LOAD_TIMEOUT_S
    ) -> None:
        """Bring an index into memory; return when it is there.

        Indexes come by themselves when they are used; this is for having the first caller not wait.

        Raises:
            NoSuchBucket: There is no such bucket.
            NoSuchVectorIndex: There is no such index.
            MemoryBudgetExceeded: It does not fit.
        """
        request = messages.LoadVectorIndexRequest(bucket=bucket, index_name=index_name)
        self._call(self._operations.LoadVectorIndex, request, timeout_s)

    def unload_vector_index(
        self, bucket: str, index_name: str, *, timeout_s: float | None = LOAD_TIMEOUT_S
    ) -> None:
        """Let an index leave memory, its checkpoint written, until it is used again.

        Raises:
            NoSuchBucket: There is no such bucket.
            NoSuchVectorIndex: There is no such index.
            VectorIndexOperationConflict: It is in use, or being rebuilt.
        """
        request = messages.UnloadVectorIndexRequest(bucket=bucket, index_name=index_name)
        self._call(self._operations.UnloadVectorIndex, request, timeout_s)

    # --- Backups ----------------------------------------------------------------------------------

    def put_backup(self, name: str, *, timeout_s: float | None = BACKUP_TIMEOUT_S) -> BackupInfo:
        """Write a backup of everything into a folder of the server's machine; return it complete.

        It holds all that was acknowledged before the call; other calls go on meanwhile.
        ``vectorbucket-server restore`` makes a data directory of it.

        Args:
            name: 1 to 63 letters, digits, ``-``, ``_`` and ``.``, first a letter or digit.
            timeout_s: See the class.

        Raises:
            InvalidArgument: The name is not legal.
            BackupAlreadyExist: There is a backup of this name.
            MethodNotAllowed: The engine of this server makes no backups.
        """
        request = messages.PutBackupRequest(name=name)
        # A repetition would report what the first attempt did.
        response: messages.PutBackupResponse = self._call(
            self._operations.PutBackup, request, timeout_s, repeatable=False
        )
        return read_backup(response.backup)

    def list_backups(self, *, timeout_s: float | None = None) -> list[BackupInfo]:
        """Return the backups in the server's folder, by name."""
        response: messages.ListBackupsResponse = self._call(
            self._operations.ListBackups, messages.ListBackupsRequest(), timeout_s
        )
        return [read_backup(backup) for backup in response.backups]

    def delete_backup(self, name: str, *, timeout_s: float | None = None) -> None:
        """Remove a backup from the server's folder.

        Raises:
            InvalidArgument: The name is not legal.
            NoSuchBackup: There is no such backup.
        """
        request = messages.DeleteBackupRequest(name=name)
        self._call(self._operations.DeleteBackup, request, timeout_s, repeatable=False)

    def is_serving(
        self,
        bucket: str | None = None,
        index_name: str | None = None,
        *,
        timeout_s: float | None = None,
    ) -> bool:
        """Return whether the server takes calls, by its standard health service.

        Args:
            bucket: The bucket of an index; None asks for the server as a whole, which takes no
                credentials.
            index_name: The index whose queries are to be answered.
            timeout_s: Seconds for the call and its retries; None means the client's.

        Raises:
            ValueError: Only one of bucket and index was named.
            NotFound: There is no such index.
            ServiceUnavailable: Nobody is there.
        """
        if (bucket is None) != (index_name is None):
            raise ValueError("an index has a bucket and a name; only one of them was given")
        service = "" if bucket is None else f"{bucket}/{index_name}"
        stub = health_pb2_grpc.HealthStub(self._channel)
        request = _health.HealthCheckRequest(service=service)
        response = self._call(stub.Check, request, timeout_s)
        return bool(response.status == _health.HealthCheckResponse.SERVING)
