"""Buckets: their requests as messages, their answers as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from vectorbucket.errors import InvalidArgument
from vectorbucket.v1 import bucket_pb2
from vectorbucket.v1 import bucket_service_pb2 as messages
from vectorbucket_server.rest.oss import buckets
from vectorbucket_server.rest.oss.conversion import About


def bucket(name: str) -> bucket_pb2.Bucket:
    return bucket_pb2.Bucket(
        bucket=name, account_id="42", region="cn-test", create_time=Timestamp(seconds=1_744_853_627)
    )


def described(name: str) -> dict[str, str]:
    return {
        "CreationDate": "2025-04-17T01:33:47.000Z",
        "ExtranetEndpoint": "oss.local:9000",
        "IntranetEndpoint": "oss.local:9000",
        "Location": "oss-cn-test",
        "Name": f"acs:ossvector:cn-test:42:{name}",
        "Region": "cn-test",
        "ResourceGroupId": "rg-default",
    }


def said(reply: Any, answer: Any, request: Any = None) -> Any:
    return json.loads(reply(answer, About(request, "oss.local:9000")).body)


def test_a_new_bucket_has_a_location() -> None:
    request = messages.PutVectorBucketRequest(bucket="photos")
    reply = buckets.say_location(messages.PutVectorBucketResponse(), About(request, "h"))
    assert reply.headers == (("location", "/photos"),)
    assert reply.body == b""


def test_a_bucket_is_described_by_its_name_in_the_world() -> None:
    answer = messages.GetVectorBucketResponse(bucket=bucket("photos"))
    assert said(buckets.say_bucket, answer) == {"BucketInfo": described("photos")}


def test_a_last_page_says_nothing_of_pages() -> None:
    for names in ([], ["a", "b"]):
        answer = messages.ListVectorBucketsResponse(buckets=map(bucket, names))
        listed = said(buckets.say_buckets, answer, messages.ListVectorBucketsRequest(prefix="p"))
        assert listed == {"ListAllMyBucketsResult": {"Buckets": list(map(described, names))}}


@pytest.mark.parametrize(("max_keys", "written"), [(0, 1), (7, 7)])
def test_another_page_says_how_to_go_on(max_keys: int, written: int) -> None:
    answer = messages.ListVectorBucketsResponse(
        buckets=[bucket("a")], is_truncated=True, next_marker="a"
    )
    request = messages.ListVectorBucketsRequest(prefix="p", marker="m", max_keys=max_keys)
    assert said(buckets.say_buckets, answer, request)["ListAllMyBucketsResult"] == {
        "Prefix": "p",
        "Marker": "m",
        "MaxKeys": written,
        "IsTruncated": True,
        "NextMarker": "a",
        "Buckets": [described("a")],
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 0), ("0", 0), ("7", 7), ("-7", -7), ("007", 7), ("2147483647", 2**31 - 1)],
)
def test_a_size_is_read_and_not_judged(text: str, number: int) -> None:
    request = messages.ListVectorBucketsRequest()
    buckets.fill_list(request, {"max-keys": text, "prefix": "p", "marker": "m"})
    assert (request.max_keys, request.prefix, request.marker) == (number, "p", "m")


@pytest.mark.parametrize(
    "text", ["x", "1.0", " 1", "+1", "2147483648", "9" * 400, "\u0661", "--1", "-"]
)
def test_a_size_that_is_no_integer_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="max-keys is") as caught:
        buckets.fill_list(messages.ListVectorBucketsRequest(), {"max-keys": text})
    assert len(caught.value.message) < 200
