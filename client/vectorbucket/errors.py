"""Every error that crosses the contract, as one tree and one table.

The engine raises a leaf, the gRPC floor and the REST edge render it, the client raises the same
leaf.

Rules of this file:

- It imports nothing outside the standard library: the engine may raise these errors without knowing
  that gRPC exists, so a gRPC code is a plain integer here.
- Kinds are abstract and say who must act; leaves carry statuses, and are named as their OSS code,
  from which the reason of the contract is derived.
- A message names the thing, the value and the limit: ``dimension is 5000; the limit is 4096``.

The tree::

    VectorBucketError
    ├── InvalidRequest                     the caller must change the request
    │   ├── VectorIndexParameterInvalid    400
    │   ├── InvalidVectorBucketName        400
    │   ├── InvalidArgument                400
    │   ├── MalformedJson                  400
    │   ├── InvalidPolicyDocument          400
    │   ├── MethodNotAllowed               405
    │   └── EntityTooLarge                 413
    ├── Forbidden                          the caller must change its rights
    │   ├── AccessDenied                   403
    │   ├── InvalidAccessKeyId             403
    │   ├── SignatureDoesNotMatch          403
    │   └── RequestTimeTooSkewed           403
    ├── NotFound                           the caller must make the thing first
    │   ├── NoSuchBucket                   404
    │   ├── NoSuchVectorIndex              404
    │   ├── NoSuchBucketPolicy             404
    │   └── NoSuchBackup                   404
    ├── Conflict                           the caller must look at what is there
    │   ├── BucketNameNotAvailable         409
    │   ├── VectorBucketNotEmpty           409
    │   ├── VectorBucketIndexAlreadyExist  409
    │   ├── VectorIndexOperationConflict   409
    │   └── BackupAlreadyExist             409
    ├── LimitExceeded                      the caller must slow down or ask for quota
    │   ├── TooManyBuckets                 400
    │   ├── VectorBucketIndexExceedLimit   400
    │   └── QpsLimitExceeded               503, retryable
    └── ServerError                        the operator must act, or time must pass
        ├── InternalError                  500
        │   └── Corruption                 500, rendered as InternalError
        ├── RequestTimeout                 408
        ├── ServiceUnavailable             503, retryable
        └── MemoryBudgetExceeded           507

Source: the codes and statuses are those of the OSS Vectors API; the tree's shape follows httpx.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Self

DOMAIN = "vectorbucket"
"""The ``domain`` of every ErrorInfo."""

RETRY_AFTER_DEFAULT_S = 1.0
"""Seconds a retryable error asks the caller to wait where nothing better is known."""


class VectorBucketError(Exception):
    """The root of the tree; only leaves are raised.

    Attributes:
        message: What went wrong, in words: the thing, the value, the limit.
        field: The path of the request's field to blame, as ``vectors[3].key``; None if none is.
        details: More facts by name, as they stand in the ErrorInfo of the contract.
        retry_after_s: Seconds to wait before a retry; None where a retry makes no sense.
        request_id: The id of the failed call, once it is known.
    """

    reason: ClassVar[str] = ""
    code: ClassVar[str] = ""
    http_status: ClassVar[int] = 0
    grpc_code: ClassVar[int] = 0
    retryable: ClassVar[bool] = False

    def __init_subclass__(
        cls, *, http_status: int = 0, grpc_code: int = 0, retryable: bool = False
    ) -> None:
        """Make a class with statuses a leaf, named as its code; one without is as its parent."""
        super().__init_subclass__()
        if http_status:
            cls.code = cls.__name__
            cls.reason = "ERROR_REASON" + re.sub("(?=[A-Z])", "_", cls.__name__).upper()
            cls.http_status, cls.grpc_code, cls.retryable = http_status, grpc_code, retryable

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        details: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        if not self.code:
            raise TypeError(f"{type(self).__name__} is a kind of error, not an error: raise a leaf")
        super().__init__(message)
        self.message = message
        self.field = field
        self.details = dict(details or {})
        if retry_after_s is None and self.retryable:
            retry_after_s = RETRY_AFTER_DEFAULT_S
        self.retry_after_s = retry_after_s
        self.request_id = request_id

    def __str__(self) -> str:
        """Return ``Code: message (request id …)``, the line a person reads."""
        suffix = f" (request id {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.message}{suffix}"


# --- The caller must change the request ---------------------------------------------------------


class InvalidRequest(VectorBucketError):
    """The request is wrong as it stands; repeating it cannot help."""


class VectorIndexParameterInvalid(InvalidRequest, http_status=400, grpc_code=3):
    """A field of an index or vector call is out of its range."""


class InvalidVectorBucketName(InvalidRequest, http_status=400, grpc_code=3):
    """A bucket's name breaks the rules."""


class InvalidArgument(InvalidRequest, http_status=400, grpc_code=3):
    """A parameter of a call that concerns no index is out of its range."""


class MalformedJson(InvalidRequest, http_status=400, grpc_code=3):
    """A body, or a policy, that should be JSON is not."""


class InvalidPolicyDocument(InvalidRequest, http_status=400, grpc_code=3):
    """A bucket policy is JSON, and no policy."""


class MethodNotAllowed(InvalidRequest, http_status=405, grpc_code=12):
    """The server does not know this call."""


class EntityTooLarge(InvalidRequest, http_status=413, grpc_code=8):
    """The request is larger than the server takes."""


# --- The caller must change its rights ----------------------------------------------------------


class Forbidden(VectorBucketError):
    """The caller may not do this."""


class AccessDenied(Forbidden, http_status=403, grpc_code=7):
    """The caller is known, and may not do this."""


class InvalidAccessKeyId(Forbidden, http_status=403, grpc_code=16):
    """The caller gave no key, or one that nobody has; messages never repeat it."""


class SignatureDoesNotMatch(Forbidden, http_status=403, grpc_code=16):
    """The signature is not the one that the caller's credential makes for this request."""


class RequestTimeTooSkewed(Forbidden, http_status=403, grpc_code=16):
    """The request was signed too long ago, or too far ahead; to be signed anew, not repeated."""


# --- The caller must make the thing first -------------------------------------------------------


class NotFound(VectorBucketError):
    """What the request names does not exist."""


class NoSuchBucket(NotFound, http_status=404, grpc_code=5):
    """There is no such bucket."""

    @classmethod
    def of(cls, bucket: str) -> Self:
        """Return this error about the bucket."""
        return cls(f"bucket {bucket!r} does not exist", details={"bucket": bucket})


class NoSuchVectorIndex(NotFound, http_status=404, grpc_code=5):
    """There is no such index in the bucket."""

    @classmethod
    def of(cls, bucket: str, index_name: str) -> Self:
        """Return this error about the index."""
        facts = {"bucket": bucket, "index_name": index_name}
        return cls(f"index {index_name!r} does not exist in bucket {bucket!r}", details=facts)


class NoSuchBucketPolicy(NotFound, http_status=404, grpc_code=5):
    """The bucket has no policy."""

    @classmethod
    def of(cls, bucket: str) -> Self:
        """Return this error about the bucket."""
        return cls(f"bucket {bucket!r} has no policy", details={"bucket": bucket})


class NoSuchBackup(NotFound, http_status=404, grpc_code=5):
    """The server has no such backup."""

    @classmethod
    def of(cls, name: str) -> Self:
        """Return this error about the backup."""
        return cls(f"backup {name!r} does not exist", details={"name": name})


# --- The caller must look at what is there ------------------------------------------------------


class Conflict(VectorBucketError):
    """The request does not fit what exists, or what someone else is doing."""


class BucketNameNotAvailable(Conflict, http_status=409, grpc_code=6):
    """The bucket exists already."""

    @classmethod
    def of(cls, bucket: str) -> Self:
        """Return this error about the bucket."""
        return cls(f"bucket {bucket!r} exists already", details={"bucket": bucket})


class VectorBucketNotEmpty(Conflict, http_status=409, grpc_code=9):
    """The bucket still holds indexes."""

    @classmethod
    def of(cls, bucket: str) -> Self:
        """Return this error about the bucket."""
        message = f"bucket {bucket!r} still holds indexes; delete them first"
        return cls(message, details={"bucket": bucket})


class VectorBucketIndexAlreadyExist(Conflict, http_status=409, grpc_code=6):
    """The index exists already."""

    @classmethod
    def of(cls, bucket: str, index_name: str) -> Self:
        """Return this error about the index."""
        facts = {"bucket": bucket, "index_name": index_name}
        return cls(f"index {index_name!r} exists already in bucket {bucket!r}", details=facts)


class VectorIndexOperationConflict(Conflict, http_status=409, grpc_code=10):
    """Something else is happening to the index, or a newer stream took this one's place."""


class BackupAlreadyExist(Conflict, http_status=409, grpc_code=6):
    """The server has a backup of this name already."""

    @classmethod
    def of(cls, name: str) -> Self:
        """Return this error about the backup."""
        return cls(f"backup {name!r} exists already", details={"name": name})


# --- The caller must slow down or ask for quota -------------------------------------------------


class LimitExceeded(VectorBucketError):
    """A quota or a rate is used up."""


class TooManyBuckets(LimitExceeded, http_status=400, grpc_code=8):
    """The account has as many buckets as it may."""

    @classmethod
    def of(cls, limit: int) -> Self:
        """Return this error about the limit."""
        message = f"the account has {limit} buckets; the limit is {limit}"
        return cls(message, details={"limit": str(limit)})


class VectorBucketIndexExceedLimit(LimitExceeded, http_status=400, grpc_code=8):
    """The bucket holds as many indexes as it may."""

    @classmethod
    def of(cls, bucket: str, limit: int) -> Self:
        """Return this error about the bucket and the limit."""
        message = f"bucket {bucket!r} holds {limit} indexes; the limit is {limit}"
        return cls(message, details={"bucket": bucket, "limit": str(limit)})


class QpsLimitExceeded(LimitExceeded, http_status=503, grpc_code=8, retryable=True):
    """Too much at once; the same request is welcome a little later."""


# --- The operator must act, or time must pass ---------------------------------------------------


class ServerError(VectorBucketError):
    """The request may be fine; the server is not."""


class InternalError(ServerError, http_status=500, grpc_code=13):
    """The server failed. The cause is in its log under the request id, and is never sent."""


class Corruption(InternalError):
    """Stored bytes are not what was written; the message names family and key, for the log only."""


class RequestTimeout(ServerError, http_status=408, grpc_code=4):
    """The deadline passed before the call was done; what it changed is unknown."""


class ServiceUnavailable(ServerError, http_status=503, grpc_code=14, retryable=True):
    """The server, its engine or its disk cannot serve now."""


class MemoryBudgetExceeded(ServerError, http_status=507, grpc_code=8):
    """An index cannot be loaded or grow: the memory that the server allows its indexes is used up.

    Not retryable: it lasts until the operator allows more, an index is deleted or falls idle.
    """

    @classmethod
    def of(cls, index_name: str, needed_bytes: int, limit_bytes: int) -> Self:
        """Return this error about the index, what it needs and what all may have."""
        sizes = {"needed_bytes": str(needed_bytes), "limit_bytes": str(limit_bytes)}
        return cls(
            f"index {index_name!r} needs {needed_bytes} bytes of memory, more than is left for "
            f"indexes; the limit is {limit_bytes} bytes",
            details={"index_name": index_name, **sizes},
        )


TABLE: tuple[type[VectorBucketError], ...] = (
    VectorIndexParameterInvalid, InvalidVectorBucketName, TooManyBuckets, BucketNameNotAvailable,
    NoSuchBucket, VectorBucketNotEmpty, VectorBucketIndexAlreadyExist, VectorBucketIndexExceedLimit,
    NoSuchVectorIndex, VectorIndexOperationConflict, MalformedJson, QpsLimitExceeded,
    InvalidArgument, MethodNotAllowed, EntityTooLarge, RequestTimeout, AccessDenied, InternalError,
    ServiceUnavailable, MemoryBudgetExceeded, NoSuchBucketPolicy, InvalidPolicyDocument,
    InvalidAccessKeyId, SignatureDoesNotMatch, RequestTimeTooSkewed, NoSuchBackup,
    BackupAlreadyExist,
)  # fmt: skip
"""The one table: every leaf that crosses the wire, in the order of the contract's ErrorReason."""

BY_REASON: Mapping[str, type[VectorBucketError]] = {leaf.reason: leaf for leaf in TABLE}
"""Leaf by the name of its ErrorReason."""
