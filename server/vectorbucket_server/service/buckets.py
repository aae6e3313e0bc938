"""BucketService: the control plane of buckets.

Rules of this file: convert, check, call the engine, convert; no logic of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc

from vectorbucket.limits import Limits
from vectorbucket.v1 import bucket_service_pb2 as messages
from vectorbucket.v1 import bucket_service_pb2_grpc
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.model import Bucket
from vectorbucket_server.naming import check_bucket_name
from vectorbucket_server.service import checks, convert


class BucketServicer(bucket_service_pb2_grpc.BucketServiceServicer):
    """Answers the RPCs of BucketService; see proto/vectorbucket/v1/bucket_service.proto."""

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        *,
        account_id: str,
        region: str,
        now_ms: Callable[[], int],
    ) -> None:
        """Take what the calls are answered with.

        Args:
            engine: Keeps the buckets.
            limits: What callers are held to.
            account_id: Whose the buckets are.
            region: Stands in every bucket that is shown.
            now_ms: The clock: milliseconds since the Unix epoch, UTC.
        """
        self._engine = engine
        self._limits = limits
        self._account_id = account_id
        self._region = region
        self._now_ms = now_ms

    def PutVectorBucket(
        self, request: messages.PutVectorBucketRequest, _context: grpc.ServicerContext
    ) -> messages.PutVectorBucketResponse:
        """Make a bucket."""
        check_bucket_name(request.bucket, self._limits)
        bucket = Bucket(request.bucket, self._account_id, self._now_ms())
        self._engine.put_bucket(bucket, buckets_max=self._limits.buckets_max)
        return messages.PutVectorBucketResponse()

    def GetVectorBucket(
        self, request: messages.GetVectorBucketRequest, _context: grpc.ServicerContext
    ) -> messages.GetVectorBucketResponse:
        """Show a bucket."""
        check_bucket_name(request.bucket, self._limits)
        bucket = self._engine.get_bucket(request.bucket)
        return messages.GetVectorBucketResponse(bucket=convert.bucket_message(bucket, self._region))

    def ListVectorBuckets(
        self, request: messages.ListVectorBucketsRequest, _context: grpc.ServicerContext
    ) -> messages.ListVectorBucketsResponse:
        """List a page of buckets."""
        page = self._engine.list_buckets(
            self._account_id,
            prefix=request.prefix,
            after=request.marker,
            limit=checks.check_bucket_page_size(request.max_keys, self._limits),
        )
        return messages.ListVectorBucketsResponse(
            buckets=[convert.bucket_message(bucket, self._region) for bucket in page.items],
            is_truncated=page.next_after is not None,
            next_marker=page.next_after or "",
        )

    def DeleteVectorBucket(
        self, request: messages.DeleteVectorBucketRequest, _context: grpc.ServicerContext
    ) -> messages.DeleteVectorBucketResponse:
        """Delete an empty bucket."""
        check_bucket_name(request.bucket, self._limits)
        self._engine.delete_bucket(request.bucket)
        return messages.DeleteVectorBucketResponse()
