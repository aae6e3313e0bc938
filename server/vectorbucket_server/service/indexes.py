"""IndexService: the control plane of indexes.

Rules of this file: convert, check, call the engine, convert; no logic of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc

from vectorbucket.limits import Limits
from vectorbucket.v1 import index_service_pb2 as messages
from vectorbucket.v1 import index_service_pb2_grpc
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.model import Index
from vectorbucket_server.service import checks, convert
from vectorbucket_server.service.pages import Scope, decode_token, encode_token
from vectorbucket_server.service.resources import Resources


class IndexServicer(index_service_pb2_grpc.IndexServiceServicer):
    """Answers the RPCs of IndexService; see proto/vectorbucket/v1/index_service.proto."""

    def __init__(
        self, engine: Engine, limits: Limits, resources: Resources, *, now_ms: Callable[[], int]
    ) -> None:
        """Take what the calls are answered with.

        Args:
            engine: Keeps the indexes.
            limits: What callers are held to.
            resources: Finds what requests are about, for those who may.
            now_ms: The clock: milliseconds since the Unix epoch, UTC.
        """
        self._engine = engine
        self._limits = limits
        self._resources = resources
        self._now_ms = now_ms

    def PutVectorIndex(
        self, request: messages.PutVectorIndexRequest, _context: grpc.ServicerContext
    ) -> messages.PutVectorIndexResponse:
        """Make an index."""
        self._resources.new_index("PutVectorIndex", request.bucket, request.index_name)
        checks.check_data_type(request.data_type)
        index = Index(
            bucket_name=request.bucket,
            name=request.index_name,
            dimension=checks.check_dimension(request.dimension, self._limits),
            metric=checks.check_metric(request.distance_metric),
            non_filterable_keys=checks.check_non_filterable(request.metadata, self._limits),
            created_ms=self._now_ms(),
            graph=checks.check_graph(request.graph, self._limits),
        )
        self._engine.put_index(index, indexes_max=self._limits.indexes_per_bucket_max)
        return messages.PutVectorIndexResponse()

    def GetVectorIndex(
        self, request: messages.GetVectorIndexRequest, _context: grpc.ServicerContext
    ) -> messages.GetVectorIndexResponse:
        """Show an index, count its vectors, and say how it fares."""
        index = self._resources.index("GetVectorIndex", request.bucket, request.index_name)
        statistics = self._engine.index_statistics(index)
        return messages.GetVectorIndexResponse(
            index=convert.index_message(index),
            vector_count=statistics.vector_count,
            pending_vector_count=statistics.pending_vector_count,
            loaded=statistics.is_loaded,
            dead_share=statistics.dead_share,
            rebuilding=statistics.is_rebuilding,
            memory_bytes=statistics.memory_bytes,
            disk_bytes=statistics.disk_bytes,
            checkpoint_time=convert.optional_timestamp(statistics.checkpoint_ms),
        )

    def ListVectorIndexes(
        self, request: messages.ListVectorIndexesRequest, _context: grpc.ServicerContext
    ) -> messages.ListVectorIndexesResponse:
        """List a page of a bucket's indexes."""
        limits = self._limits
        self._resources.bucket("ListVectorIndexes", request.bucket)
        size = checks.check_page_size(
            "max_results",
            request.max_results,
            default=limits.list_indexes_default,
            maximum=limits.list_indexes_max,
        )
        scope: Scope = ("ListVectorIndexes", request.bucket, request.prefix)
        page = self._engine.list_indexes(
            request.bucket,
            prefix=request.prefix,
            after=decode_token(scope, request.next_token, limits.index_token_bytes_max),
            limit=size,
        )
        return messages.ListVectorIndexesResponse(
            indexes=[convert.index_message(index) for index in page.items],
            next_token=encode_token(scope, page.next_after) if page.next_after else "",
        )

    def DeleteVectorIndex(
        self, request: messages.DeleteVectorIndexRequest, _context: grpc.ServicerContext
    ) -> messages.DeleteVectorIndexResponse:
        """Delete an index with its vectors."""
        index = self._resources.index("DeleteVectorIndex", request.bucket, request.index_name)
        self._engine.delete_index(index)
        return messages.DeleteVectorIndexResponse()
