"""BucketService: the control plane of buckets, their policies and their logging.

Rules of this file: convert, check, call the engine, convert; no logic of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc

from vectorbucket.errors import NoSuchBucketPolicy
from vectorbucket.limits import Limits
from vectorbucket.v1 import bucket_service_pb2 as messages
from vectorbucket.v1 import bucket_service_pb2_grpc
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.model import Bucket
from vectorbucket_server.naming import check_logging
from vectorbucket_server.service import checks, convert
from vectorbucket_server.service.calls import current_call
from vectorbucket_server.service.resources import Resources


class BucketServicer(bucket_service_pb2_grpc.BucketServiceServicer):
    """Answers the RPCs of BucketService; see proto/vectorbucket/v1/bucket_service.proto."""

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        resources: Resources,
        *,
        region: str,
        now_ms: Callable[[], int],
    ) -> None:
        """Take what the calls are answered with.

        Args:
            engine: Keeps the buckets.
            limits: What callers are held to.
            resources: Finds what requests are about, for those who may.
            region: Stands in every bucket that is shown.
            now_ms: The clock: milliseconds since the Unix epoch, UTC.
        """
        self._engine = engine
        self._limits = limits
        self._resources = resources
        self._region = region
        self._now_ms = now_ms

    def PutVectorBucket(
        self, request: messages.PutVectorBucketRequest, _context: grpc.ServicerContext
    ) -> messages.PutVectorBucketResponse:
        """Make a bucket."""
        account_id = self._resources.new_bucket("PutVectorBucket", request.bucket)
        bucket = Bucket(request.bucket, account_id, self._now_ms())
        self._engine.put_bucket(bucket, buckets_max=self._limits.buckets_max)
        return messages.PutVectorBucketResponse()

    def GetVectorBucket(
        self, request: messages.GetVectorBucketRequest, _context: grpc.ServicerContext
    ) -> messages.GetVectorBucketResponse:
        """Show a bucket."""
        bucket = self._resources.bucket("GetVectorBucket", request.bucket)
        return messages.GetVectorBucketResponse(bucket=convert.bucket_message(bucket, self._region))

    def ListVectorBuckets(
        self, request: messages.ListVectorBucketsRequest, _context: grpc.ServicerContext
    ) -> messages.ListVectorBucketsResponse:
        """List a page of the caller's buckets."""
        page = self._engine.list_buckets(
            self._resources.account("ListVectorBuckets"),
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
        bucket = self._resources.bucket("DeleteVectorBucket", request.bucket)
        self._engine.delete_bucket(bucket.name, seen=bucket)
        # Nobody can ask the bucket any more where this call is logged.
        current_call().logging = bucket.logging
        return messages.DeleteVectorBucketResponse()

    def PutBucketPolicy(
        self, request: messages.PutBucketPolicyRequest, _context: grpc.ServicerContext
    ) -> messages.PutBucketPolicyResponse:
        """Replace a bucket's policy."""
        bucket = self._resources.bucket("PutBucketPolicy", request.bucket)
        checks.check_policy(request.policy, self._limits)
        self._engine.set_bucket_policy(bucket.name, request.policy, seen=bucket)
        return messages.PutBucketPolicyResponse()

    def GetBucketPolicy(
        self, request: messages.GetBucketPolicyRequest, _context: grpc.ServicerContext
    ) -> messages.GetBucketPolicyResponse:
        """Show a bucket's policy."""
        bucket = self._resources.bucket("GetBucketPolicy", request.bucket)
        if not bucket.policy:
            raise NoSuchBucketPolicy.of(bucket.name)
        return messages.GetBucketPolicyResponse(policy=bucket.policy)

    def DeleteBucketPolicy(
        self, request: messages.DeleteBucketPolicyRequest, _context: grpc.ServicerContext
    ) -> messages.DeleteBucketPolicyResponse:
        """Remove a bucket's policy."""
        bucket = self._resources.bucket("DeleteBucketPolicy", request.bucket)
        self._engine.set_bucket_policy(bucket.name, "", seen=bucket)
        return messages.DeleteBucketPolicyResponse()

    def PutBucketLogging(
        self, request: messages.PutBucketLoggingRequest, _context: grpc.ServicerContext
    ) -> messages.PutBucketLoggingResponse:
        """Say where the requests on a bucket are logged."""
        bucket = self._resources.bucket("PutBucketLogging", request.bucket)
        logging = convert.logging_of(request)
        check_logging(logging, self._limits)
        self._resources.check_log_target(bucket, logging.target_bucket)
        self._engine.set_bucket_logging(bucket.name, logging, seen=bucket)
        return messages.PutBucketLoggingResponse()

    def GetBucketLogging(
        self, request: messages.GetBucketLoggingRequest, _context: grpc.ServicerContext
    ) -> messages.GetBucketLoggingResponse:
        """Show where the requests on a bucket are logged."""
        bucket = self._resources.bucket("GetBucketLogging", request.bucket)
        return messages.GetBucketLoggingResponse(logging=convert.logging_message(bucket.logging))

    def DeleteBucketLogging(
        self, request: messages.DeleteBucketLoggingRequest, _context: grpc.ServicerContext
    ) -> messages.DeleteBucketLoggingResponse:
        """Log the requests on a bucket no more; this one is the last."""
        bucket = self._resources.bucket("DeleteBucketLogging", request.bucket)
        self._engine.set_bucket_logging(bucket.name, None, seen=bucket)
        current_call().logging = bucket.logging
        return messages.DeleteBucketLoggingResponse()
