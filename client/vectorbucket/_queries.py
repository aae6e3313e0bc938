"""Searching: the vectors nearest to a query vector.

Rules of this file: one method per operation; a method builds a message, calls and reads the answer.
Query vectors always travel as bytes.
"""

from __future__ import annotations

import numpy.typing as npt

from vectorbucket._arrays import float32_array
from vectorbucket._caller import Caller
from vectorbucket._filter import filter_struct
from vectorbucket._messages import int32, optional_int32, read_hits, vector_data
from vectorbucket._models import Filter, Hit
from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.v1 import vector_service_pb2


class Queries(Caller):
    """The operations that find vectors.

    Each method takes ``timeout_s``, seconds for the call and its retries; None means the client's.
    All raise ``NoSuchBucket`` and ``NoSuchVectorIndex``, and ``MemoryBudgetExceeded`` where the
    server has no memory left to load the index.
    """

    def query_vectors(
        self,
        bucket: str,
        index_name: str,
        query_vector: npt.ArrayLike,
        *,
        top_k: int,
        filter: Filter | None = None,  # noqa: A002 - the contract's word
        return_distance: bool = True,
        return_metadata: bool = False,
        ef_search: int | None = None,
        timeout_s: float | None = None,
    ) -> list[Hit]:
        """Return the vectors nearest to one query vector, nearest first.

        Args:
            bucket: The bucket.
            index_name: The index.
            query_vector: Numbers, shape (dimension,).
            top_k: How many vectors to find, 1 to 100 (the operator may allow more); fewer are
                answered only when fewer match.
            filter: Which vectors take part, as ``{"section": {"$in": ["libs", "python"]}}``; None
                or empty: all.
            return_distance: Whether to answer distances.
            return_metadata: Whether to answer the metadata.
            ef_search: Breadth of the search in the graph, 1 to 10,000, raised to half of it plus
                twice ``top_k`` where that is more. More: better recall, slower. None: the index's,
                else the server's.
            timeout_s: See the class.

        Raises:
            VectorIndexParameterInvalid: The query vector, ``top_k``, the filter or ``ef_search`` is
                illegal.
        """
        request = vector_service_pb2.QueryVectorsRequest(
            bucket=bucket,
            index_name=index_name,
            query_vector=vector_data(float32_array(query_vector, "query_vector", axes=1)),
            top_k=int32("top_k", top_k),
            filter=filter_struct(filter),
            return_distance=return_distance,
            return_metadata=return_metadata,
            ef_search=optional_int32("ef_search", ef_search),
        )
        response: vector_service_pb2.QueryVectorsResponse = self._call(
            self._vectors.QueryVectors, request, timeout_s
        )
        return read_hits(response.vectors, metadata=return_metadata)

    def query_vectors_batch(
        self,
        bucket: str,
        index_name: str,
        query_vectors: npt.ArrayLike,
        *,
        top_k: int,
        filter: Filter | None = None,  # noqa: A002 - the contract's word
        return_distance: bool = True,
        return_metadata: bool = False,
        ef_search: int | None = None,
        timeout_s: float | None = None,
    ) -> list[list[Hit]]:
        """Return for each of many query vectors what ``query_vectors`` returns for one.

        Args:
            bucket: The bucket.
            index_name: The index.
            query_vectors: Numbers, shape (n, dimension).
            top_k: How many vectors to find for each; n by top_k is at most 100,000.
            filter: Which vectors take part, for all queries.
            return_distance: Whether to answer distances.
            return_metadata: Whether to answer the metadata.
            ef_search: Breadth of the search in the graph, for all queries.
            timeout_s: See the class.

        Raises:
            VectorIndexParameterInvalid: The query vectors, ``top_k``, the filter or ``ef_search``
                is illegal.
        """
        matrix = float32_array(query_vectors, "query_vectors", axes=2)
        request = vector_service_pb2.QueryVectorsBatchRequest(
            bucket=bucket,
            index_name=index_name,
            query_vectors=vector_data(matrix),
            top_k=int32("top_k", top_k),
            filter=filter_struct(filter),
            return_distance=return_distance,
            return_metadata=return_metadata,
            ef_search=optional_int32("ef_search", ef_search),
        )
        seconds = self._timeout_s if timeout_s is None else timeout_s
        responses: list[vector_service_pb2.QueryVectorsBatchResponse] = self._calls.whole_stream(
            self._vectors.QueryVectorsBatch, request, timeout_s=seconds
        )
        hits = [
            read_hits(result.vectors, metadata=return_metadata)
            for response in responses
            for result in response.results
        ]
        if len(hits) != len(matrix):
            # On the wire the queries stand one after the other: 4 of 6 numbers are 3 of 8, too.
            raise VectorIndexParameterInvalid(
                f"query_vectors has shape {matrix.shape}; for the dimension of index "
                f"{index_name!r} these are {len(hits)} vectors",
                field="query_vectors",
            )
        return hits
