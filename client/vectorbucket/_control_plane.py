"""Buckets and indexes: rare, small calls.

Rules of this file: one method per operation, named and ordered as in the contract; a method builds
a message, calls and reads the answer, nothing else. What makes or deletes is not repeated after a
broken connection, because the repetition would report what the first attempt did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vectorbucket._caller import Caller
from vectorbucket._messages import (
    int32,
    key_list,
    metric_number,
    optional_int32,
    read_bucket,
    read_index,
)
from vectorbucket._models import BucketInfo, BucketPage, IndexInfo, IndexPage
from vectorbucket.errors import InvalidArgument
from vectorbucket.v1 import bucket_service_pb2, index_pb2, index_service_pb2


class ControlPlane(Caller):
    """The operations on buckets and indexes.

    Each method takes ``timeout_s``, seconds for the call and its retries; None means the client's.
    """

    # --- Buckets ----------------------------------------------------------------------------------

    def put_vector_bucket(self, bucket: str, *, timeout_s: float | None = None) -> None:
        """Make a bucket.

        Args:
            bucket: Its name: 3 to 63 lower-case letters, digits and hyphens.
            timeout_s: See the class.

        Raises:
            InvalidVectorBucketName: The name is not legal.
            BucketNameNotAvailable: The bucket exists.
            TooManyBuckets: The account has as many buckets as it may.
        """
        request = bucket_service_pb2.PutVectorBucketRequest(bucket=bucket)
        self._call(self._buckets.PutVectorBucket, request, timeout_s, repeatable=False)

    def get_vector_bucket(self, bucket: str, *, timeout_s: float | None = None) -> BucketInfo:
        """Return what is known of a bucket.

        Raises:
            InvalidVectorBucketName: The name is not legal.
            NoSuchBucket: There is no such bucket.
        """
        request = bucket_service_pb2.GetVectorBucketRequest(bucket=bucket)
        response: bucket_service_pb2.GetVectorBucketResponse = self._call(
            self._buckets.GetVectorBucket, request, timeout_s
        )
        return read_bucket(response.bucket)

    def list_vector_buckets(
        self, prefix: str = "", *, timeout_s: float | None = None
    ) -> Iterator[BucketInfo]:
        """Yield all buckets of the account, by name, a page at a time.

        Args:
            prefix: Only buckets whose name starts with this.
            timeout_s: Seconds for each page; see the class.
        """
        marker = ""
        while True:
            page = self.list_vector_buckets_page(prefix, marker=marker, timeout_s=timeout_s)
            yield from page.buckets
            marker = page.next_marker
            if not marker:
                return

    def list_vector_buckets_page(
        self,
        prefix: str = "",
        *,
        marker: str = "",
        max_keys: int = 0,
        timeout_s: float | None = None,
    ) -> BucketPage:
        """Return one page of the account's buckets.

        Args:
            prefix: Only buckets whose name starts with this.
            marker: Only buckets whose name comes after this: a page's ``next_marker``.
            max_keys: The most buckets in the page, 1 to 1,000; 0 means 100.
            timeout_s: See the class.

        Raises:
            InvalidArgument: ``max_keys`` is out of range.
        """
        request = bucket_service_pb2.ListVectorBucketsRequest(
            prefix=prefix, marker=marker, max_keys=int32("max_keys", max_keys, InvalidArgument)
        )
        response: bucket_service_pb2.ListVectorBucketsResponse = self._call(
            self._buckets.ListVectorBuckets, request, timeout_s
        )
        return BucketPage([read_bucket(one) for one in response.buckets], response.next_marker)

    def delete_vector_bucket(self, bucket: str, *, timeout_s: float | None = None) -> None:
        """Delete an empty bucket.

        Raises:
            InvalidVectorBucketName: The name is not legal.
            NoSuchBucket: There is no such bucket.
            VectorBucketNotEmpty: It still holds indexes.
        """
        request = bucket_service_pb2.DeleteVectorBucketRequest(bucket=bucket)
        self._call(self._buckets.DeleteVectorBucket, request, timeout_s, repeatable=False)

    # --- Indexes ----------------------------------------------------------------------------------

    def put_vector_index(
        self,
        bucket: str,
        index_name: str,
        *,
        dimension: int,
        distance_metric: str,
        non_filterable_metadata_keys: Sequence[str] = (),
        m: int | None = None,
        ef_construction: int | None = None,
        ef_search: int | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Make an index. Its definition never changes afterwards.

        Args:
            bucket: The bucket that will hold it.
            index_name: Its name: 1 to 63 letters and digits, first a letter.
            dimension: Numbers in each vector, 1 to 4,096.
            distance_metric: ``cosine`` or ``euclidean``.
            non_filterable_metadata_keys: Names of metadata fields that are stored and returned, but
                that no filter can use: at most 10.
            m: Links of a vector in the graph, 4 to 128. More: better recall on hard data, more
                memory, slower indexing. None: as the server's setting is now.
            ef_construction: Breadth of the search for a new vector's links, 8 to 4,096. More:
                better recall, slower indexing. None: as the server's setting is now.
            ef_search: Breadth of the search of a query that names none itself, 1 to 10,000, raised
                where its ``top_k`` needs more. More: better recall, slower queries. None: as the
                server's setting is when the query comes.
            timeout_s: See the class.

        Raises:
            NoSuchBucket: There is no such bucket.
            VectorBucketIndexAlreadyExist: The index exists.
            VectorBucketIndexExceedLimit: The bucket holds as many indexes as it may.
            VectorIndexParameterInvalid: An argument is out of its range.
            VectorIndexOperationConflict: An index of this name is being made or deleted.
            MemoryBudgetExceeded: The server's memory for indexes is used up.
        """
        request = index_service_pb2.PutVectorIndexRequest(
            bucket=bucket,
            index_name=index_name,
            data_type=index_pb2.DATA_TYPE_FLOAT32,
            dimension=int32("dimension", dimension),
            distance_metric=metric_number(distance_metric),
            metadata=index_pb2.MetadataConfiguration(
                non_filterable_metadata_keys=key_list(
                    non_filterable_metadata_keys, "non_filterable_metadata_keys"
                )
            ),
            graph=index_pb2.GraphConfiguration(
                m=optional_int32("m", m),
                ef_construction=optional_int32("ef_construction", ef_construction),
                ef_search=optional_int32("ef_search", ef_search),
            ),
        )
        self._call(self._indexes.PutVectorIndex, request, timeout_s, repeatable=False)

    def get_vector_index(
        self, bucket: str, index_name: str, *, timeout_s: float | None = None
    ) -> IndexInfo:
        """Return what is known of an index, with the number of its vectors and how it fares.

        Raises:
            NoSuchBucket: There is no such bucket.
            NoSuchVectorIndex: There is no such index.
        """
        request = index_service_pb2.GetVectorIndexRequest(bucket=bucket, index_name=index_name)
        response: index_service_pb2.GetVectorIndexResponse = self._call(
            self._indexes.GetVectorIndex, request, timeout_s
        )
        return read_index(response.index, response)

    def list_vector_indexes(
        self, bucket: str, prefix: str = "", *, timeout_s: float | None = None
    ) -> Iterator[IndexInfo]:
        """Yield all indexes of a bucket, by name, a page at a time.

        Args:
            bucket: The bucket.
            prefix: Only indexes whose name starts with this.
            timeout_s: Seconds for each page; see the class.

        Raises:
            NoSuchBucket: There is no such bucket (raised when the first one is asked for).
        """
        token = ""
        while True:
            page = self.list_vector_indexes_page(
                bucket, prefix, next_token=token, timeout_s=timeout_s
            )
            yield from page.indexes
            token = page.next_token
            if not token:
                return

    def list_vector_indexes_page(
        self,
        bucket: str,
        prefix: str = "",
        *,
        max_results: int = 0,
        next_token: str = "",
        timeout_s: float | None = None,
    ) -> IndexPage:
        """Return one page of a bucket's indexes.

        Args:
            bucket: The bucket.
            prefix: Only indexes whose name starts with this.
            max_results: The most indexes in the page, 1 to 500; 0 means 100.
            next_token: What the page before gave; empty for the first page.
            timeout_s: See the class.

        Raises:
            NoSuchBucket: There is no such bucket.
            VectorIndexParameterInvalid: ``max_results`` is out of range, or the token is none of
                this bucket's.
        """
        request = index_service_pb2.ListVectorIndexesRequest(
            bucket=bucket,
            prefix=prefix,
            max_results=int32("max_results", max_results),
            next_token=next_token,
        )
        response: index_service_pb2.ListVectorIndexesResponse = self._call(
            self._indexes.ListVectorIndexes, request, timeout_s
        )
        return IndexPage([read_index(one) for one in response.indexes], response.next_token)

    def delete_vector_index(
        self, bucket: str, index_name: str, *, timeout_s: float | None = None
    ) -> None:
        """Delete an index and all its vectors.

        Raises:
            NoSuchBucket: There is no such bucket.
            NoSuchVectorIndex: There is no such index.
            VectorIndexOperationConflict: It is being made or deleted by someone else.
        """
        request = index_service_pb2.DeleteVectorIndexRequest(bucket=bucket, index_name=index_name)
        self._call(self._indexes.DeleteVectorIndex, request, timeout_s, repeatable=False)
