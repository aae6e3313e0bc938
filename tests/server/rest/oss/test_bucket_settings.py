"""Policy and logging: their requests as messages, their answers as JSON."""

from __future__ import annotations

import json

import pytest

from vectorbucket.errors import InvalidArgument, MalformedJson
from vectorbucket.v1 import bucket_pb2
from vectorbucket.v1 import bucket_service_pb2 as messages
from vectorbucket_server.rest.oss import bucket_settings
from vectorbucket_server.rest.oss.bodies import parse_carefully, parse_quickly
from vectorbucket_server.rest.oss.conversion import About
from vectorbucket_server.rest.oss.reader import Reader

ABOUT = About(None, "h")


@pytest.mark.parametrize("text", ['{"a": 1}', " \n{}\t", "größe 東京", "\ufeff{}", "not json"])
def test_a_policy_goes_in_and_out_byte_for_byte(text: str) -> None:
    request = messages.PutBucketPolicyRequest()
    bucket_settings.fill_policy(request, text.encode())
    assert request.policy == text
    answer = messages.GetBucketPolicyResponse(policy=request.policy)
    assert bucket_settings.say_policy(answer, ABOUT).body == text.encode()


@pytest.mark.parametrize("raw", [b"", b"\xff", b'{"a":"\xed\xa0\x80"}'])
def test_what_is_no_text_is_no_policy(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        bucket_settings.fill_policy(messages.PutBucketPolicyRequest(), raw)


@pytest.mark.parametrize(
    ("enabled", "logging"),
    [
        ({"TargetBucket": "b"}, bucket_pb2.BucketLogging(target_bucket="b")),
        ({}, bucket_pb2.BucketLogging()),
        (
            {"TargetBucket": "b", "TargetPrefix": "p", "LoggingRole": "r"},
            bucket_pb2.BucketLogging(target_bucket="b", target_prefix="p", logging_role="r"),
        ),
    ],
)
def test_logging_is_read_and_not_judged(
    enabled: dict[str, str], logging: bucket_pb2.BucketLogging
) -> None:
    raw = json.dumps({"BucketLoggingStatus": {"LoggingEnabled": enabled}}).encode()
    for parse in (parse_quickly, parse_carefully):
        request = messages.PutBucketLoggingRequest()
        bucket_settings.fill_logging(request, Reader(parse(raw)))
        assert request.HasField("logging")
        assert request.logging == logging


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"{}", "BucketLoggingStatus"),
        (b'{"BucketLoggingStatus":1}', "BucketLoggingStatus"),
        (b'{"BucketLoggingStatus":{}}', "BucketLoggingStatus.LoggingEnabled"),
        (
            b'{"BucketLoggingStatus":{"LoggingEnabled":{"TargetPrefix":1}}}',
            "BucketLoggingStatus.LoggingEnabled.TargetPrefix",
        ),
    ],
)
def test_wrong_members_are_an_argument_that_is_named(raw: bytes, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        bucket_settings.fill_logging(
            messages.PutBucketLoggingRequest(), Reader(parse_carefully(raw))
        )
    assert caught.value.field == field
    assert caught.value.message.startswith(field)


@pytest.mark.parametrize(
    ("logging", "enabled"),
    [
        (None, {}),
        ({"target_bucket": "b"}, {"TargetBucket": "b", "TargetPrefix": ""}),
        (
            {"target_bucket": "b", "target_prefix": "p", "logging_role": "r"},
            {"TargetBucket": "b", "TargetPrefix": "p", "LoggingRole": "r"},
        ),
    ],
)
def test_logging_is_said_as_it_was_put(
    logging: dict[str, str] | None, enabled: dict[str, str]
) -> None:
    answer = messages.GetBucketLoggingResponse()
    if logging is not None:
        answer.logging.CopyFrom(bucket_pb2.BucketLogging(**logging))
    body = bucket_settings.say_logging(answer, ABOUT).body
    assert json.loads(body) == {"BucketLoggingStatus": {"LoggingEnabled": enabled}}
