"""Reading vectors back: by key, in pages, or all of them.

Rules of this file: one method per operation; a method builds a message, calls and reads the answer.
Numbers are always asked for as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vectorbucket._caller import Caller
from vectorbucket._filter import filter_struct
from vectorbucket._messages import int32, key_list, read_vectors
from vectorbucket._models import Filter, Vector, VectorPage
from vectorbucket.v1 import vector_pb2, vector_service_pb2


class Reads(Caller):
    """The operations that read vectors by key.

    Each method but the streaming one takes ``timeout_s``, seconds for the call and its retries;
    None means the client's. All raise ``NoSuchBucket`` and ``NoSuchVectorIndex``.
    """

    def get_vectors(
        self,
        bucket: str,
        index_name: str,
        keys: Sequence[str],
        *,
        return_data: bool = False,
        return_metadata: bool = False,
        timeout_s: float | None = None,
    ) -> list[Vector]:
        """Return the vectors that exist of those with these keys, in the order of the keys.

        Args:
            bucket: The bucket.
            index_name: The index.
            keys: 1 to 100 keys; a repeated one is answered once.
            return_data: Whether to answer the numbers.
            return_metadata: Whether to answer the metadata.
            timeout_s: See the class.

        Raises:
            VectorIndexParameterInvalid: No keys, too many, or an illegal one.
        """
        request = vector_service_pb2.GetVectorsRequest(
            bucket=bucket,
            index_name=index_name,
            keys=key_list(keys),
            return_data=return_data,
            return_metadata=return_metadata,
            data_encoding=vector_pb2.DATA_ENCODING_FLOAT32_LE,
        )
        response: vector_service_pb2.GetVectorsResponse = self._call(
            self._vectors.GetVectors, request, timeout_s
        )
        return read_vectors(response.vectors, data=return_data, metadata=return_metadata)

    def list_vectors(
        self,
        bucket: str,
        index_name: str,
        *,
        return_data: bool = False,
        return_metadata: bool = False,
        segment_count: int = 1,
        segment_index: int = 0,
        timeout_s: float | None = None,
    ) -> Iterator[Vector]:
        """Yield all vectors of an index or of one segment of it, by key, a page at a time.

        Args:
            bucket: The bucket.
            index_name: The index.
            return_data: Whether to answer the numbers.
            return_metadata: Whether to answer the metadata.
            segment_count: Into how many segments the keys are split, 1 to 16.
            segment_index: Which segment to list, 0 to segment_count - 1.
            timeout_s: Seconds for each page; see the class.

        Raises:
            VectorIndexParameterInvalid: The segment is out of range (raised when the first vector
                is asked for).
        """
        token = ""
        while True:
            page = self.list_vectors_page(
                bucket,
                index_name,
                next_token=token,
                return_data=return_data,
                return_metadata=return_metadata,
                segment_count=segment_count,
                segment_index=segment_index,
                timeout_s=timeout_s,
            )
            yield from page.vectors
            token = page.next_token
            if not token:
                return

    def list_vectors_page(
        self,
        bucket: str,
        index_name: str,
        *,
        max_results: int = 0,
        next_token: str = "",
        return_data: bool = False,
        return_metadata: bool = False,
        segment_count: int = 1,
        segment_index: int = 0,
        timeout_s: float | None = None,
    ) -> VectorPage:
        """Return one page of an index's vectors.

        Args:
            bucket: The bucket.
            index_name: The index.
            max_results: The most vectors in the page, 1 to 1,000; 0 means 500. A page also ends
                at 3.5 MB.
            next_token: What the page before gave; empty for the first page.
            return_data: Whether to answer the numbers.
            return_metadata: Whether to answer the metadata.
            segment_count: Into how many segments the keys are split, 1 to 16.
            segment_index: Which segment to list, 0 to segment_count - 1.
            timeout_s: See the class.

        Raises:
            VectorIndexParameterInvalid: ``max_results`` or the segment is out of range, or the
                token is none of this index and segment.
        """
        request = vector_service_pb2.ListVectorsRequest(
            bucket=bucket,
            index_name=index_name,
            max_results=int32("max_results", max_results),
            next_token=next_token,
            return_data=return_data,
            return_metadata=return_metadata,
            segment_count=int32("segment_count", segment_count),
            segment_index=int32("segment_index", segment_index),
            data_encoding=vector_pb2.DATA_ENCODING_FLOAT32_LE,
        )
        response: vector_service_pb2.ListVectorsResponse = self._call(
            self._vectors.ListVectors, request, timeout_s
        )
        vectors = read_vectors(response.vectors, data=return_data, metadata=return_metadata)
        return VectorPage(vectors, response.next_token)

    def scan_vectors(
        self,
        bucket: str,
        index_name: str,
        *,
        after_key: str = "",
        filter: Filter | None = None,  # noqa: A002 - the contract's word
        return_data: bool = False,
        return_metadata: bool = False,
        segment_count: int = 1,
        segment_index: int = 0,
    ) -> Iterator[Vector]:
        """Yield all vectors of an index or of one segment of it, by key, over one stream.

        It is what exports everything fastest. A broken connection is resumed after the last key.

        Args:
            bucket: The bucket.
            index_name: The index.
            after_key: Only keys after this one in byte order.
            filter: Which vectors to yield, as in ``query_vectors``; None or empty: all. The server
                reads all the same.
            return_data: Whether to answer the numbers.
            return_metadata: Whether to answer the metadata.
            segment_count: Into how many segments the keys are split, 1 to 16.
            segment_index: Which segment to read, 0 to segment_count - 1.

        Raises:
            VectorIndexParameterInvalid: The segment, ``after_key`` or the filter is illegal (raised
                when the first vector is asked for).
            QpsLimitExceeded: Too many streams are open, also after retries.
        """
        request = vector_service_pb2.ScanVectorsRequest(
            bucket=bucket,
            index_name=index_name,
            after_key=after_key,
            return_data=return_data,
            return_metadata=return_metadata,
            segment_count=int32("segment_count", segment_count),
            segment_index=int32("segment_index", segment_index),
            data_encoding=vector_pb2.DATA_ENCODING_FLOAT32_LE,
            filter=filter_struct(filter),
        )
        responses: Iterator[vector_service_pb2.ScanVectorsResponse] = self._calls.resumed_stream(
            lambda: self._vectors.ScanVectors(request),
            message_timeout_s=self._answer_timeout_s,
            resume_timeout_s=self._resume_timeout_s,
        )
        for response in responses:
            yield from read_vectors(response.vectors, data=return_data, metadata=return_metadata)
            if response.vectors:
                request.after_key = response.vectors[-1].key
