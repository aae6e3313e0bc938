"""The cloud's own SDK in front of a server, and short words for its requests.

Rules of this file: the SDK is used as it is installed; it reaches a server here because it takes
the server for a proxy. What an answer and an error must have, whatever was asked, stands here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import alibabacloud_oss_v2 as oss_sdk
import alibabacloud_oss_v2.vectors as oss_vectors
import pytest

from oss.live_rest import ACCESS_KEY_ID, ACCESS_KEY_SECRET, ACCOUNT_ID, REGION

models = oss_vectors.models

ENDPOINT = "http://cn-hangzhou.oss-vectors.aliyuncs.com"
"""Nobody looks this name up: the request goes to the proxy."""


@contextmanager
def sdk_client(
    rest_address: str,
    access_key_id: str = ACCESS_KEY_ID,
    access_key_secret: str = ACCESS_KEY_SECRET,
    *,
    security_token: str | None = None,
    account_id: str = ACCOUNT_ID,
    **config: Any,
) -> Iterator[Any]:
    """Yield the SDK's client of a server: one attempt at a call unless ``config`` says more."""
    wanted = oss_sdk.config.load_default()
    wanted.region, wanted.endpoint, wanted.account_id = REGION, ENDPOINT, account_id
    wanted.credentials_provider = (
        oss_sdk.credentials.StaticCredentialsProvider(
            access_key_id, access_key_secret, security_token
        )
        if access_key_id
        else oss_sdk.credentials.AnonymousCredentialsProvider()
    )
    wanted.proxy_host = {"http": f"http://{rest_address}"}
    wanted.retry_max_attempts = 1
    for name, value in config.items():
        setattr(wanted, name, value)
    client = oss_vectors.Client(wanted)
    try:
        yield client
    finally:
        # The SDK has no word for this, and a connection that is forgotten is a warning.
        if wanted.http_client is None:
            client._client._options.http_client.close()


def service_error(call: Callable[[], object]) -> Any:
    """Return the SDK's error of a call that the service refuses, well formed in every part."""
    with pytest.raises(oss_sdk.exceptions.OperationError) as caught:
        call()
    error = caught.value.unwrap()
    assert isinstance(error, oss_sdk.exceptions.ServiceError), error
    assert re.fullmatch(r"[0-9A-F]{24}", error.request_id)
    assert error.headers["x-oss-request-id"] == error.request_id
    assert error.headers["Content-Type"] == "application/json"
    assert "x-oss-error-type" not in error.headers
    assert re.fullmatch(r"[0-9]{4}-[0-9]{8}", error.ec)
    assert error.headers["x-oss-ec"] == error.ec
    assert set(error.error_fileds) == {"Code", "Message", "RequestId", "HostId", "EC"}
    assert error.timestamp is not None
    return error


def refused(call: Callable[[], object], status: int, code: str) -> Any:
    """Check with what a call is refused, and return the SDK's error."""
    error = service_error(call)
    assert (error.status_code, error.code) == (status, code), error
    return error


# --- Requests and answers -------------------------------------------------------------------------


def index_request(bucket: str, index_name: str = "films", **changes: Any) -> Any:
    """Return a request for an index; of 3 dimensions, euclidean, unless ``changes`` say more."""
    wanted = {"data_type": "float32", "dimension": 3, "distance_metric": "euclidean"} | changes
    return models.PutVectorIndexRequest(bucket=bucket, index_name=index_name, **wanted)


def put_index(client: Any, bucket: str, index_name: str = "films", **changes: Any) -> Any:
    """Make an index."""
    return client.put_vector_index(index_request(bucket, index_name, **changes))


def vector(key: str, numbers: Any = (1.0, 2.0, 3.0), metadata: Any = None) -> dict[str, Any]:
    """Return a vector to put."""
    data = {"key": key, "data": {"float32": list(numbers)}}
    return data if metadata is None else data | {"metadata": metadata}


def put(client: Any, index: dict[str, str], *vectors: dict[str, Any]) -> Any:
    """Put vectors."""
    return client.put_vectors(models.PutVectorsRequest(**index, vectors=list(vectors)))


def get(client: Any, index: dict[str, str], *keys: str, **asked: Any) -> list[dict[str, Any]]:
    """Return the vectors of keys."""
    found = client.get_vectors(models.GetVectorsRequest(**index, keys=list(keys), **asked))
    vectors: list[dict[str, Any]] = found.vectors
    return vectors


def query(client: Any, index: dict[str, str], **asked: Any) -> list[dict[str, Any]]:
    """Return the hits of a query; for what is nearest to the origin unless ``asked`` says more."""
    wanted = {"query_vector": {"float32": [0.0, 0.0, 0.0]}, "top_k": 10} | asked
    vectors: list[dict[str, Any]] = client.query_vectors(
        models.QueryVectorsRequest(**index, **wanted)
    ).vectors
    return vectors


def check(result: Any, status_code: int = 200) -> None:
    """Check what every answer has."""
    assert (result.status_code, result.status) == (
        (200, "OK") if status_code == 200 else (204, "No Content")
    )
    assert re.fullmatch(r"[0-9A-F]{24}", result.request_id)
    assert result.headers["x-oss-request-id"] == result.request_id
    assert result.headers["Server"] == "vectorbucket"
    told = parsedate_to_datetime(result.headers["Date"])
    assert abs(told - datetime.now(UTC)) < timedelta(minutes=1)
    if status_code == 204:
        assert not {"Content-Type", "Transfer-Encoding"} & set(result.headers)


def put_logging(client: Any, bucket: str, target: str, prefix: str = "", role: str = "") -> Any:
    """Switch on the log of a bucket."""
    enabled = oss_sdk.LoggingEnabled(target, prefix, role)
    request = models.PutBucketLoggingRequest(bucket, models.BucketLoggingStatus(enabled))
    return client.put_bucket_logging(request)


def logging_of(client: Any, bucket: str) -> tuple[str | None, str | None, str | None]:
    """Return target, prefix and role of a bucket's log; None for each where it has none."""
    found = client.get_bucket_logging(models.GetBucketLoggingRequest(bucket=bucket))
    check(found)
    enabled = found.bucket_logging_status.logging_enabled
    return enabled.target_bucket, enabled.target_prefix, enabled.logging_role


def calls_on_bucket(client: Any, bucket: str) -> dict[str, Callable[[], Any]]:
    """Return a call of each operation on a bucket that exists, and what is in it, by method."""
    logging = models.BucketLoggingStatus(logging_enabled=oss_sdk.LoggingEnabled("target"))
    requests = {
        "get_vector_bucket": models.GetVectorBucketRequest(bucket=bucket),
        "delete_vector_bucket": models.DeleteVectorBucketRequest(bucket=bucket),
        "put_bucket_policy": models.PutBucketPolicyRequest(bucket=bucket, body="{}"),
        "get_bucket_policy": models.GetBucketPolicyRequest(bucket=bucket),
        "delete_bucket_policy": models.DeleteBucketPolicyRequest(bucket=bucket),
        "put_bucket_logging": models.PutBucketLoggingRequest(
            bucket=bucket, bucket_logging_status=logging
        ),
        "get_bucket_logging": models.GetBucketLoggingRequest(bucket=bucket),
        "delete_bucket_logging": models.DeleteBucketLoggingRequest(bucket=bucket),
        # As the Go SDK's test does: what is wrong with it comes after the bucket.
        "put_vector_index": index_request(bucket, data_type="demo"),
        "list_vector_indexes": models.ListVectorIndexesRequest(bucket=bucket),
    }
    index = {"bucket": bucket, "index_name": "films"}
    return _bound(client, requests) | calls_on_index(client, index)


def calls_on_index(client: Any, index: dict[str, str]) -> dict[str, Callable[[], Any]]:
    """Return a call of each operation on an index that exists, by method."""
    row = {"float32": [1.0, 2.0, 3.0]}
    requests = {
        "get_vector_index": models.GetVectorIndexRequest(**index),
        "delete_vector_index": models.DeleteVectorIndexRequest(**index),
        "put_vectors": models.PutVectorsRequest(**index, vectors=[vector("k")]),
        "get_vectors": models.GetVectorsRequest(**index, keys=["k"]),
        "list_vectors": models.ListVectorsRequest(**index),
        "delete_vectors": models.DeleteVectorsRequest(**index, keys=["k"]),
        "query_vectors": models.QueryVectorsRequest(**index, query_vector=row, top_k=1),
    }
    return _bound(client, requests)


def _bound(client: Any, requests: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    return {name: partial(getattr(client, name), request) for name, request in requests.items()}
