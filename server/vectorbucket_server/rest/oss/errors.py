"""Errors -> responses in the envelope that the SDKs read.

Rules of this file: every error of the contract has a row in ``EC``; content type, date and request
id are as the SDKs insist on having them. A message of the server speaks of fields by the contract's
names; those are written here as the JSON has them, whole words outside of quotes and nothing else.

Source: oss-vectors-api, section 6.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from vectorbucket.errors import (
    InternalError,
    InvalidAccessKeyId,
    MemoryBudgetExceeded,
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchVectorIndex,
    VectorBucketError,
    VectorIndexParameterInvalid,
)
from vectorbucket_server.auth.credential import UNKNOWN_ACCESS_KEY
from vectorbucket_server.rest.oss.messages import HttpResponse
from vectorbucket_server.rest.oss.replies import json_bytes

JSON_TYPE = "application/json"
"""The content type of every body, exactly: SDKs take errors of any other for XML."""

EC: Mapping[str, str] = {
    "VectorIndexParameterInvalid": "0059-00000101",
    "InvalidVectorBucketName": "0059-00000102",
    "TooManyBuckets": "0059-00000103",
    "BucketNameNotAvailable": "0059-00000104",
    "NoSuchBucket": "0059-00000105",
    "VectorBucketNotEmpty": "0059-00000106",
    "VectorBucketIndexAlreadyExist": "0059-00000107",
    "VectorBucketIndexExceedLimit": "0059-00000108",
    "NoSuchVectorIndex": "0059-00000109",
    "VectorIndexOperationConflict": "0059-00000110",
    "MalformedJson": "0059-00000111",
    "QpsLimitExceeded": "0059-00000112",
    "InvalidArgument": "0059-00000113",
    "MethodNotAllowed": "0059-00000114",
    "EntityTooLarge": "0059-00000115",
    "RequestTimeout": "0059-00000116",
    "AccessDenied": "0059-00000117",
    "InternalError": "0059-00000118",
    "ServiceUnavailable": "0059-00000119",
    "MemoryBudgetExceeded": "0059-00000120",
    "NoSuchBucketPolicy": "0059-00000121",
    "InvalidPolicyDocument": "0059-00000122",
    "InvalidAccessKeyId": "0059-00000123",
    "SignatureDoesNotMatch": "0059-00000124",
    "RequestTimeTooSkewed": "0059-00000125",
    "NoSuchBackup": "0059-00000126",
    "BackupAlreadyExist": "0059-00000127",
}
"""What OSS calls the EC of an error, made up here; by code, and never to be changed."""

EXACT: Mapping[type[VectorBucketError], str] = {
    NoSuchBucket: "The specified bucket does not exist.",
    NoSuchVectorIndex: "The specified vector index does not exist.",
    InvalidAccessKeyId: UNKNOWN_ACCESS_KEY,
}
"""Messages that clients compare word for word."""

STANDS_FOR: Mapping[type[VectorBucketError], type[VectorBucketError]] = {
    MemoryBudgetExceeded: VectorIndexParameterInvalid,
}
"""Errors that OSS does not have, and what they are told as: a status that no SDK repeats."""

ALLOWED = "allowed"
"""The detail of MethodNotAllowed that names the methods which would be answered, as ``GET, PUT``.
"""

WORDS: Mapping[str, str] = {
    "index_name": "indexName",
    "data_type": "dataType",
    "distance_metric": "distanceMetric",
    "metadata.non_filterable_metadata_keys": "metadata.nonFilterableMetadataKeys",
    "max_results": "maxResults",
    "next_token": "nextToken",
    "max_keys": "max-keys",
    "return_data": "returnData",
    "return_metadata": "returnMetadata",
    "return_distance": "returnDistance",
    "segment_count": "segmentCount",
    "segment_index": "segmentIndex",
    "query_vector": "queryVector",
    "top_k": "topK",
    "logging.target_bucket": "BucketLoggingStatus.LoggingEnabled.TargetBucket",
    "logging.target_prefix": "BucketLoggingStatus.LoggingEnabled.TargetPrefix",
    "logging.logging_role": "BucketLoggingStatus.LoggingEnabled.LoggingRole",
    "DATA_TYPE_FLOAT32": "float32",
    "DISTANCE_METRIC_EUCLIDEAN": "euclidean",
    "DISTANCE_METRIC_COSINE": "cosine",
    "DISTANCE_METRIC_UNSPECIFIED": "missing",
}
"""Names of the contract, and what the JSON calls the same."""

_QUOTED_OR_WORD = re.compile(
    r"""(?<!\w)(?P<quote>['"])(?:[^\\]|\\.)*?(?P=quote)"""
    rf"|(?<![\w.])(?P<word>{'|'.join(re.escape(word) for word in WORDS)})(?!\w)",
    re.DOTALL,
)


def response_to(error: VectorBucketError, *, request_id: str, host: str, date: str) -> HttpResponse:
    """Return an error as a response.

    Args:
        error: A leaf of the tree.
        request_id: Of the request.
        host: That the request asked for.
        date: Now, as HTTP writes it.
    """
    leaf = next((told for kind, told in STANDS_FOR.items() if isinstance(error, kind)), type(error))
    envelope = {
        "Code": leaf.code,
        "Message": message_of(error, request_id),
        "RequestId": request_id,
        "HostId": host,
        "EC": EC[error.code],
    }
    headers = [*headers_of(request_id, date), ("content-type", JSON_TYPE)]
    headers.append(("x-oss-ec", EC[error.code]))
    if isinstance(error, MethodNotAllowed) and ALLOWED in error.details:
        headers.append(("allow", error.details[ALLOWED]))
    if leaf.retryable:
        headers.append(("retry-after", str(math.ceil(error.retry_after_s or 1))))
    return HttpResponse(leaf.http_status, tuple(headers), json_bytes({"Error": envelope}))


def message_of(error: VectorBucketError, request_id: str) -> str:
    """Return what is said of an error, as Unicode text; of the server's own, next to nothing."""
    if isinstance(error, InternalError):
        return f"the server failed; its log has the cause under request id {request_id}"
    if type(error) in EXACT:
        return EXACT[type(error)]
    text = error.message.encode("utf-8", "replace").decode()
    return _QUOTED_OR_WORD.sub(lambda found: WORDS.get(found[0], found[0]), text)


def headers_of(request_id: str, date: str) -> tuple[tuple[str, str], ...]:
    """Return the headers of every response."""
    return (("date", date), ("server", "vectorbucket"), ("x-oss-request-id", request_id))
