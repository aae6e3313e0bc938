"""QueryVectors and QueryVectorsBatch: one query, or many in one call.

Rules of this file: a filter is parsed once a request; a query costs no step here that it does not
need, because the interpreter sets the pace of small queries.
"""

from __future__ import annotations

from collections.abc import Iterator

from vectorbucket.limits import Limits
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.engine.base import Deadline, Engine
from vectorbucket_server.filters.expression import Expression
from vectorbucket_server.filters.parser import parse
from vectorbucket_server.model import Hit, Index, Query
from vectorbucket_server.observability.logs import CallRecord
from vectorbucket_server.service.checks import (
    check_ef_search,
    check_filter_size,
    check_query_hits,
    check_top_k,
)
from vectorbucket_server.service.convert import add_hits, data_matrix, filter_dict, query_matrix
from vectorbucket_server.service.vector_checks import check_numbers

QUERIES_PER_TURN = 512
"""Queries of a batch that the engine gets at once: enough to use all cores (two threads answer 500
in 60 ms), few enough that answers flow and that a cancelled call stops soon."""

QUERIES_PER_TURN_WITH_METADATA = 32
"""The same when hits carry metadata: 32 queries for 100 hits of 40 KB are 128 MB at once."""

_FRAME_BYTES = 8
"""Bytes that a message takes inside another one, beside its own, at most."""


class Queries:
    """Answers queries; one for a server."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits

    def one(
        self,
        index: Index,
        request: messages.QueryVectorsRequest,
        deadline: Deadline,
        record: CallRecord,
    ) -> messages.QueryVectorsResponse:
        """Answer one query.

        Raises:
            VectorIndexParameterInvalid: The vector, ``top_k``, the filter or ``ef_search`` is not
                legal.
        """
        vectors = data_matrix([request.query_vector], index.dimension, "query_vector")
        check_numbers(vectors, index.metric, "query_vector")
        query = Query(
            vectors=vectors,
            top_k=check_top_k(request.top_k, self._limits),
            filter=parsed_filter(request, index, self._limits),
            return_metadata=request.return_metadata,
            ef_search=check_ef_search(request, self._limits),
        )
        hits = self._engine.query_vectors(index, query, deadline=deadline)[0]
        record.query_count = 1
        record.vector_count = len(hits)
        response = messages.QueryVectorsResponse()
        add_hits(response, hits, return_distance=request.return_distance)
        return response

    def many(
        self,
        index: Index,
        request: messages.QueryVectorsBatchRequest,
        deadline: Deadline,
        record: CallRecord,
    ) -> Iterator[messages.QueryVectorsBatchResponse]:
        """Answer many queries, in messages that end at ``page_bytes_max``.

        Raises:
            VectorIndexParameterInvalid: As for one; also when all together ask for too many hits.
        """
        limits = self._limits
        vectors = query_matrix(request.query_vectors, index.dimension, "query_vectors")
        top_k = check_top_k(request.top_k, limits)
        check_query_hits(len(vectors), top_k, limits)
        check_numbers(vectors, index.metric, "query_vectors[{}]")
        expression = parsed_filter(request, index, limits)
        ef_search = check_ef_search(request, limits)
        turn = QUERIES_PER_TURN_WITH_METADATA if request.return_metadata else QUERIES_PER_TURN
        for position in range(0, len(vectors), turn):
            deadline.check()
            query = Query(
                vectors=vectors[position : position + turn],
                top_k=top_k,
                filter=expression,
                return_metadata=request.return_metadata,
                ef_search=ef_search,
            )
            results = self._engine.query_vectors(index, query, deadline=deadline)
            record.query_count += len(results)
            record.vector_count += sum(map(len, results))
            yield from _split(
                results, position, limits.page_bytes_max, return_distance=request.return_distance
            )


def parsed_filter(
    request: messages.QueryVectorsRequest
    | messages.QueryVectorsBatchRequest
    | messages.ScanVectorsRequest,
    index: Index,
    limits: Limits,
) -> Expression | None:
    """Return the parsed filter of a request; None for absent and empty ones: they match everything.

    Raises:
        VectorIndexParameterInvalid: It is no filter, or one that this index cannot answer.
    """
    if not request.HasField("filter"):
        return None
    check_filter_size(request.filter, limits)
    return parse(
        filter_dict(request.filter),
        limits=limits,
        non_filterable_keys=index.non_filterable_keys,
    )


def _split(
    results: list[list[Hit]], position: int, bytes_max: int, *, return_distance: bool
) -> Iterator[messages.QueryVectorsBatchResponse]:
    """Yield results in messages that end before they pass so many bytes, unless one alone does.

    Args:
        results: The hits of queries that follow each other.
        position: The position of the first of the queries.
        bytes_max: Bytes of a message.
        return_distance: Whether the hits show their distance.
    """
    response = messages.QueryVectorsBatchResponse(first_position=position)
    size = 0
    for hits in results:
        result = messages.QueryResult()
        add_hits(result, hits, return_distance=return_distance)
        result_bytes = result.ByteSize() + _FRAME_BYTES
        if size and size + result_bytes > bytes_max:
            yield response
            position += len(response.results)
            response = messages.QueryVectorsBatchResponse(first_position=position)
            size = 0
        response.results.append(result)
        size += result_bytes
    yield response
