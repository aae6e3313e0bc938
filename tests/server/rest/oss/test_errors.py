"""Errors as responses: the envelope, the codes, the words."""

from __future__ import annotations

import json

import pytest

from oss.dialect import DATE, check_form
from vectorbucket import errors
from vectorbucket.errors import VectorBucketError
from vectorbucket_server.rest.oss.errors import EC, WORDS, message_of, response_to
from vectorbucket_server.rest.oss.messages import HttpResponse

REQUEST_ID = "534B371674E88A4D89060000"


def rendered(error: VectorBucketError) -> HttpResponse:
    response = response_to(error, request_id=REQUEST_ID, host="photos-1.h:80", date=DATE)
    check_form(response)
    return response


@pytest.mark.parametrize("leaf", [*errors.TABLE, errors.Corruption], ids=lambda leaf: leaf.__name__)
def test_every_error_is_rendered(leaf: type[VectorBucketError]) -> None:
    response = rendered(leaf("what is wrong"))
    told = json.loads(response.body)["Error"]
    assert told["HostId"] == "photos-1.h:80"
    assert told["RequestId"] == REQUEST_ID
    if leaf is errors.MemoryBudgetExceeded:
        assert (response.status, told["Code"]) == (400, "VectorIndexParameterInvalid")
    else:
        assert (response.status, told["Code"]) == (leaf.http_status, leaf.code)


def test_codes_are_one_for_each_error_and_never_change() -> None:
    assert set(EC) == {leaf.code for leaf in errors.TABLE}
    assert len(set(EC.values())) == len(EC)
    assert EC["VectorIndexParameterInvalid"] == "0059-00000101"
    assert EC["RequestTimeTooSkewed"] == "0059-00000125"


@pytest.mark.parametrize("leaf", [errors.InternalError, errors.Corruption])
def test_what_the_server_failed_at_is_not_told(leaf: type[VectorBucketError]) -> None:
    response = rendered(leaf("/secret/path is broken"))
    told = json.loads(response.body)["Error"]
    assert told["Code"] == "InternalError"
    assert b"secret" not in response.body
    assert REQUEST_ID in told["Message"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.NoSuchBucket.of("photos"), "The specified bucket does not exist."),
        (errors.NoSuchVectorIndex.of("b", "i"), "The specified vector index does not exist."),
        (
            errors.InvalidAccessKeyId("no such key"),
            "The OSS Access Key Id you provided does not exist in our records.",
        ),
    ],
)
def test_messages_that_clients_compare_are_exact(error: VectorBucketError, message: str) -> None:
    assert json.loads(rendered(error).body)["Error"]["Message"] == message


@pytest.mark.parametrize(
    ("retry_after_s", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (4.01, "5"), (None, "1")]
)
def test_what_may_be_tried_again_says_when(retry_after_s: float | None, header: str) -> None:
    error = errors.QpsLimitExceeded("too fast")
    error.retry_after_s = retry_after_s
    assert dict(rendered(error).headers)["retry-after"] == header


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("max_results is 5; it must be", "maxResults is 5; it must be"),
        ("index_name is empty", "indexName is empty"),
        ("max_keys is 0", "max-keys is 0"),
        ("query_vector has 2 numbers; the index's dimension is 3", ...),
        (
            "metadata.non_filterable_metadata_keys[0] 'top_k' is",
            "metadata.nonFilterableMetadataKeys[0] 'top_k' is",
        ),
        ("distance_metric is DISTANCE_METRIC_UNSPECIFIED", "distanceMetric is missing"),
        ("index 'top_k' does not exist in bucket 'next_token'", None),
        ('index "it\'s top_k" and top_k', 'index "it\'s top_k" and topK'),
        (r"'a\' top_k' and 'top_k", r"'a\' top_k' and 'topK"),
        ("vectors[0].metadata.top_k is wrong", None),
        ("filter.top_k.$eq: expected", None),
        ("my_top_k and top_k_max and topk", None),
        (
            "segment_index is 2; less than segment_count",
            "segmentIndex is 2; less than segmentCount",
        ),
        (
            "logging.target_bucket is",
            "BucketLoggingStatus.LoggingEnabled.TargetBucket is",
        ),
    ],
)
def test_fields_are_called_as_the_json_calls_them(said: str, told: object) -> None:
    error = errors.VectorIndexParameterInvalid(said)
    if told is ...:
        told = said.replace("query_vector", "queryVector")
    assert message_of(error, REQUEST_ID) == (said if told is None else told)


def test_no_word_is_the_beginning_of_another_where_it_would_win() -> None:
    for word, written in WORDS.items():
        error = errors.VectorIndexParameterInvalid(f"{word} is wrong")
        assert message_of(error, REQUEST_ID) == f"{written} is wrong"


def test_a_method_that_is_not_allowed_is_told_with_those_that_are() -> None:
    error = errors.MethodNotAllowed("not so", details={"allowed": "GET, PUT"})
    assert dict(rendered(error).headers)["allow"] == "GET, PUT"
    assert "allow" not in dict(rendered(errors.MethodNotAllowed("not so")).headers)


def test_a_message_that_is_no_text_can_be_told() -> None:
    rendered(errors.InvalidArgument("half \ud800 a pair"))
