"""Everything that the cloud's own SDK is refused, and that it reads it as its typed error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import alibabacloud_oss_v2 as oss_sdk
import pytest

from oss.live_rest import ACCOUNT_ID, Flags, LiveProcess, serving
from oss.sdk import (
    calls_on_bucket,
    calls_on_index,
    index_request,
    logging_of,
    models,
    put_index,
    put_logging,
    refused,
    sdk_client,
    vector,
)

BUCKET = "films-bucket"
INDEX = {"bucket": BUCKET, "index_name": "films"}

NO_BUCKET = "The specified bucket does not exist."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, engine: Flags) -> Iterator[LiveProcess]:
    few = ["--limit", "buckets_max=3", "--limit", "indexes_per_bucket_max=2"]
    folder = tmp_path_factory.mktemp("refused")
    with serving(folder, *few, *engine) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: LiveProcess) -> Iterator[Any]:
    with sdk_client(server.rest_address) as client:
        client.put_vector_bucket(models.PutVectorBucketRequest(bucket=BUCKET))
        put_index(client, BUCKET, distance_metric="cosine")
        yield client


def test_missing_bucket_is_told_by_every_operation_in_the_clouds_words(client: Any) -> None:
    for call in calls_on_bucket(client, "go-sdk-test-bucket--not-exist").values():
        error = refused(call, 404, "NoSuchBucket")
        assert error.message == NO_BUCKET


def test_missing_index_is_told_by_every_operation(client: Any) -> None:
    for call in calls_on_index(client, {"bucket": BUCKET, "index_name": "none"}).values():
        error = refused(call, 404, "NoSuchVectorIndex")
        assert error.error_fileds["HostId"] == (
            f"{BUCKET}-{ACCOUNT_ID}.cn-hangzhou.oss-vectors.aliyuncs.com"
        )


def test_bucket_is_made_once_and_goes_when_it_is_empty(client: Any) -> None:
    again = models.PutVectorBucketRequest(bucket=BUCKET)
    refused(lambda: client.put_vector_bucket(again), 409, "BucketNameNotAvailable")
    gone = models.DeleteVectorBucketRequest(bucket=BUCKET)
    refused(lambda: client.delete_vector_bucket(gone), 409, "VectorBucketNotEmpty")


def test_index_is_made_once(client: Any) -> None:
    refused(lambda: put_index(client, BUCKET), 409, "VectorBucketIndexAlreadyExist")


def test_limits_are_told_with_their_codes(client: Any) -> None:
    for name in ("second", "third"):
        client.put_vector_bucket(models.PutVectorBucketRequest(bucket=name))
    fourth = models.PutVectorBucketRequest(bucket="fourth")
    refused(lambda: client.put_vector_bucket(fourth), 400, "TooManyBuckets")
    for name in ("one", "two"):
        put_index(client, "second", name)
    refused(lambda: put_index(client, "second", "three"), 400, "VectorBucketIndexExceedLimit")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data_type": "demo"}, "dataType"),
        ({"dimension": 0}, "dimension"),
        ({"dimension": 4097}, "4096"),
        ({"dimension": None}, "dimension"),
        ({"distance_metric": "dot"}, "distanceMetric"),
        ({"index_name": "with-hyphen"}, "indexName"),
        ({"index_name": "x" * 64}, "indexName"),
        ({"metadata": {"nonFilterableMetadataKeys": ["1st"]}}, "nonFilterableMetadataKeys"),
    ],
    ids=str,
)
def test_wrong_index_is_refused_with_what_is_wrong(
    client: Any, changes: dict[str, Any], told: str
) -> None:
    request = index_request(BUCKET, **({"index_name": "another"} | changes))
    error = refused(lambda: client.put_vector_index(request), 400, "VectorIndexParameterInvalid")
    assert told in error.message


@pytest.mark.parametrize(
    "vectors",
    [
        [vector("k", (1.0,))],
        [vector("k", (0.0, 0.0, 0.0))],
        [vector("k", (1e39, 1.0, 1.0))],
        [vector("k"), vector("k")],
        [vector("")],
        [vector("x" * 1025)],
        [vector("k", metadata={"field": None})],
        [vector("k", metadata={"field": {"nested": 1}})],
        [vector("k", metadata={"field": [[1]]})],
        [vector("k", metadata={"field": 2**53 + 1})],
        [vector(str(number)) for number in range(501)],
        [],
    ],
    ids=lambda vectors: str(vectors)[:60],
)
def test_wrong_vectors_are_refused_and_none_is_stored(client: Any, vectors: Any) -> None:
    request = models.PutVectorsRequest(**INDEX, vectors=[*vectors])
    refused(lambda: client.put_vectors(request), 400, "VectorIndexParameterInvalid")
    assert client.list_vectors(models.ListVectorsRequest(**INDEX)).vectors == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_no_word_for_are_malformed(client: Any, number: float) -> None:
    request = models.PutVectorsRequest(**INDEX, vectors=[vector("k", (1.0, 1.0, number))])
    refused(lambda: client.put_vectors(request), 400, "MalformedJson")


@pytest.mark.parametrize(
    "changes",
    [
        {"top_k": 101},
        {"top_k": 0},
        {"top_k": None},
        {"query_vector": {"float32": [1.0]}},
        {"query_vector": None},
        {"filter": {"a": {"$like": "b"}}},
        {"filter": {"$and": []}},
        {"filter": {"a": {"$gt": "b"}}},
        {"filter": {"a": {"$exists": 1}}},
        {"filter": {"a": {"$in": []}}},
    ],
    ids=str,
)
def test_wrong_query_is_refused(client: Any, changes: dict[str, Any]) -> None:
    asked = {"query_vector": {"float32": [1.0, 2.0, 3.0]}, "top_k": 1} | changes
    request = models.QueryVectorsRequest(**INDEX, **asked)
    refused(lambda: client.query_vectors(request), 400, "VectorIndexParameterInvalid")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no policy", "MalformedJson"),
        ('{"Version":"1","Version":"1","Statement":[]}', "MalformedJson"),
        ('{"Version":"1"}', "InvalidPolicyDocument"),
        ("[]", "InvalidPolicyDocument"),
        (
            '{"Statement":[{"Effect":"Maybe","Principal":["*"],"Action":["*"],"Resource":["*"]}]}',
            "InvalidPolicyDocument",
        ),
    ],
)
def test_text_that_is_no_policy_is_refused_and_not_stored(
    client: Any, text: str, code: str
) -> None:
    request = models.PutBucketPolicyRequest(bucket=BUCKET, body=text)
    refused(lambda: client.put_bucket_policy(request), 400, code)
    asked = models.GetBucketPolicyRequest(bucket=BUCKET)
    refused(lambda: client.get_bucket_policy(asked), 404, "NoSuchBucketPolicy")


@pytest.mark.parametrize(
    ("target", "prefix"),
    [("No Bucket", ""), ("target", "../up"), ("target", "/root"), ("target", "a\nb")],
)
def test_logging_to_a_strange_place_is_refused(client: Any, target: str, prefix: str) -> None:
    assert refused_status(lambda: put_logging(client, BUCKET, target, prefix)) == 400
    assert logging_of(client, BUCKET) == (None, None, None)


def refused_status(call: Callable[[], Any]) -> int:
    """Return the status with which a call is refused."""
    with pytest.raises(oss_sdk.exceptions.OperationError) as caught:
        call()
    status: int = caught.value.unwrap().status_code
    return status


def test_fusion_is_refused_as_not_supported(client: Any) -> None:
    fields = [{"name": "text", "type": "string"}]
    made = models.PutVectorIndexFusionRequest(
        bucket=BUCKET,
        index_name="fusion",
        mode="fusion",
        schema_configuration={"fields": fields},
    )
    asked = models.QueryVectorsFusionRequest(bucket=BUCKET, index_name="films")
    for call in (
        lambda: client.put_vector_index_fusion(made),
        lambda: client.query_vectors_fusion(asked),
    ):
        error = refused(call, 400, "VectorIndexParameterInvalid")
        assert "not supported" in error.message


@pytest.mark.parametrize(
    ("method", "flag", "status", "code"),
    [
        ("POST", "noSuchFlag", 400, "InvalidArgument"),
        ("PUT", "tagging", 400, "InvalidArgument"),
        ("PATCH", "putVectors", 405, "MethodNotAllowed"),
    ],
)
def test_what_the_service_does_not_know_is_told(
    client: Any, method: str, flag: str, status: int, code: str
) -> None:
    made = oss_sdk.OperationInput(
        op_name="Unknown", method=method, parameters={flag: ""}, bucket=BUCKET, body="{}"
    )
    refused(lambda: client.invoke_operation(made), status, code)
