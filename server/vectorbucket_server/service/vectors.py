"""VectorService: the data plane.

Rules of this file: convert, check, call the engine, convert; no logic of its own. The bidirectional
stream is put_stream.py's, queries are queries.py's.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace

import grpc

from vectorbucket.limits import Limits
from vectorbucket.v1 import vector_pb2, vector_service_pb2_grpc
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.auth.principal import current_caller
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.filters.expression import Expression
from vectorbucket_server.filters.matcher import compile_matcher
from vectorbucket_server.model import Page, Vector
from vectorbucket_server.naming import check_key
from vectorbucket_server.service import checks
from vectorbucket_server.service.batches import batch_of
from vectorbucket_server.service.calls import ContextDeadline, current_call
from vectorbucket_server.service.convert import vector_message
from vectorbucket_server.service.pages import Scope, decode_token, encode_token
from vectorbucket_server.service.put_stream import PutStreams
from vectorbucket_server.service.queries import Queries, parsed_filter
from vectorbucket_server.service.resources import Resources
from vectorbucket_server.service.vector_checks import check_keys, check_unique

BACKLOG_WAIT_S = 5.0
"""The longest that a unary put waits while the indexer is too far behind. A stream waits on."""

TOKEN_BYTES = 64 * 1024
"""What a page that may be as large as a message leaves free: for its token, and to be safe."""

FRUITLESS_PAGES = 50
"""Pages that a filtered scan reads without a match before it says, with an empty message, that it
is still at work: less than a second's reading, where a client waits two minutes for a message."""

_FRAME_BYTES = 8
"""Bytes that a vector takes in a page, beside its own message, at most."""


class VectorServicer(vector_service_pb2_grpc.VectorServiceServicer):
    """Answers the RPCs of VectorService; see proto/vectorbucket/v1/vector_service.proto."""

    def __init__(
        self, engine: Engine, limits: Limits, resources: Resources, put_streams: PutStreams
    ) -> None:
        """Take what the calls are answered with.

        Args:
            engine: Keeps and finds the vectors.
            limits: What callers are held to.
            resources: Finds what requests are about, for those who may.
            put_streams: Serves PutVectors.
        """
        self._engine = engine
        self._limits = limits
        self._index = resources.index
        self._put_streams = put_streams
        self._queries = Queries(engine, limits)

    def PutVectors(
        self,
        request_iterator: Generator[messages.PutVectorsRequest, None, None],
        context: grpc.ServicerContext,
    ) -> Iterator[messages.PutVectorsResponse]:
        """Store batches as they come, and answer each."""
        return self._put_streams.answers(request_iterator, ContextDeadline(context), current_call())

    def PutVectorsBatch(
        self, request: messages.PutVectorsBatchRequest, context: grpc.ServicerContext
    ) -> messages.PutVectorsBatchResponse:
        """Store one batch."""
        index = self._index("PutVectorsBatch", request.bucket, request.index_name)
        batch = batch_of(request.vectors, index, self._limits)
        self._engine.put_vectors(
            index, batch, backlog_wait_s=BACKLOG_WAIT_S, deadline=ContextDeadline(context)
        )
        current_call().vector_count = len(batch)
        return messages.PutVectorsBatchResponse(vector_count=len(batch))

    def GetVectors(
        self, request: messages.GetVectorsRequest, _context: grpc.ServicerContext
    ) -> messages.GetVectorsResponse:
        """Read vectors by key."""
        index = self._index("GetVectors", request.bucket, request.index_name)
        keys = list(request.keys)
        checks.check_count("keys", len(keys), self._limits.get_vectors_max)
        check_keys(keys, "keys[{}]", self._limits)
        checks.check_data_encoding(request.data_encoding)
        vectors = self._engine.get_vectors(
            index, keys, data=request.return_data, metadata=request.return_metadata
        )
        current_call().vector_count = len(vectors)
        return messages.GetVectorsResponse(
            vectors=[vector_message(vector, request.data_encoding) for vector in vectors]
        )

    def ListVectors(
        self, request: messages.ListVectorsRequest, _context: grpc.ServicerContext
    ) -> messages.ListVectorsResponse:
        """List a page of vectors."""
        limits = self._limits
        index = self._index("ListVectors", request.bucket, request.index_name)
        size = checks.check_page_size(
            "max_results",
            request.max_results,
            default=limits.list_vectors_default,
            maximum=limits.list_vectors_max,
        )
        segment = checks.check_segment(request.segment_count, request.segment_index, limits)
        checks.check_data_encoding(request.data_encoding)
        scope: Scope = (
            "ListVectors",
            request.bucket,
            request.index_name,
            segment.count,
            segment.position,
        )
        bytes_max = limits.page_bytes_max
        if request.whole_page and current_caller().translates:
            bytes_max = max(bytes_max, limits.message_bytes_max - TOKEN_BYTES)
        page = self._engine.list_vectors(
            index,
            after=decode_token(scope, request.next_token, limits.vector_token_bytes_max),
            limit=size,
            bytes_max=bytes_max,
            segment=segment,
            data=request.return_data,
            metadata=request.return_metadata,
        )
        vectors, after = _fitted(page, request.data_encoding, bytes_max)
        current_call().vector_count = len(vectors)
        return messages.ListVectorsResponse(
            vectors=vectors, next_token=encode_token(scope, after) if after else ""
        )

    def ScanVectors(
        self, request: messages.ScanVectorsRequest, context: grpc.ServicerContext
    ) -> Iterator[messages.ScanVectorsResponse]:
        """Read an index, or a segment of it, from one end to the other."""
        limits, record, deadline = self._limits, current_call(), ContextDeadline(context)
        index = self._index("ScanVectors", request.bucket, request.index_name)
        segment = checks.check_segment(request.segment_count, request.segment_index, limits)
        checks.check_data_encoding(request.data_encoding)
        expression = parsed_filter(request, index, limits)
        selection = None if expression is None else _Selection(expression, request)
        after: str | None = request.after_key
        if after:
            check_key(after, "after_key", limits)
        fruitless = 0
        while after is not None:
            deadline.check()
            page = self._engine.list_vectors(
                index,
                after=after,
                limit=limits.list_vectors_max,
                bytes_max=limits.page_bytes_max,
                segment=segment,
                data=request.return_data,
                metadata=request.return_metadata or selection is not None,
            )
            if selection is not None:
                page = selection.of(page)
            vectors, after = _fitted(page, request.data_encoding, limits.page_bytes_max)
            record.vector_count += len(vectors)
            fruitless += 1
            if vectors or fruitless == FRUITLESS_PAGES:
                fruitless = 0
                yield messages.ScanVectorsResponse(vectors=vectors)

    def DeleteVectors(
        self, request: messages.DeleteVectorsRequest, context: grpc.ServicerContext
    ) -> messages.DeleteVectorsResponse:
        """Delete vectors by key."""
        index = self._index("DeleteVectors", request.bucket, request.index_name)
        keys = list(request.keys)
        checks.check_count("keys", len(keys), self._limits.delete_vectors_max)
        check_keys(keys, "keys[{}]", self._limits)
        check_unique(keys, "keys[{}]")
        self._engine.delete_vectors(index, keys, deadline=ContextDeadline(context))
        current_call().vector_count = len(keys)
        return messages.DeleteVectorsResponse()

    def QueryVectors(
        self, request: messages.QueryVectorsRequest, context: grpc.ServicerContext
    ) -> messages.QueryVectorsResponse:
        """Find the vectors nearest to one."""
        index = self._index("QueryVectors", request.bucket, request.index_name)
        return self._queries.one(index, request, ContextDeadline(context), current_call())

    def QueryVectorsBatch(
        self, request: messages.QueryVectorsBatchRequest, context: grpc.ServicerContext
    ) -> Iterator[messages.QueryVectorsBatchResponse]:
        """Find the vectors nearest to each of many."""
        index = self._index("QueryVectorsBatch", request.bucket, request.index_name)
        return self._queries.many(index, request, ContextDeadline(context), current_call())


class _Selection:
    """What a filtered scan answers of the pages that it reads, with their metadata."""

    def __init__(self, expression: Expression, request: messages.ScanVectorsRequest) -> None:
        self._matches = compile_matcher(expression)
        self._return_metadata = request.return_metadata

    def of(self, page: Page[Vector]) -> Page[Vector]:
        """Return a page's matching vectors, without their metadata where nobody asked for it."""
        matching = [one for one in page.items if self._matches(one.metadata or {})]
        if not self._return_metadata:
            matching = [replace(one, metadata=None) for one in matching]
        return Page(matching, page.next_after)


def _fitted(
    page: Page[Vector], data_encoding: int, bytes_max: int
) -> tuple[list[vector_pb2.Vector], str | None]:
    """Return a page's vectors as messages, and what to list after.

    The engine measures what it keeps; a message can be several times larger (a list of small
    numbers is), so the page is measured again here, and cut, though never before its first vector.
    """
    vectors: list[vector_pb2.Vector] = []
    size = 0
    for vector in page.items:
        message = vector_message(vector, data_encoding)
        size += message.ByteSize() + _FRAME_BYTES
        if vectors and size > bytes_max:
            return vectors, vectors[-1].key
        vectors.append(message)
    return vectors, page.next_after
