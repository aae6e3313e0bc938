"""BucketService through a real server."""

from __future__ import annotations

import time

import pytest

from conftest import StartServer
from rpc import Stubs, index_request, refused, stubs_of
from vectorbucket.v1 import bucket_service_pb2 as messages


def make(stubs: Stubs, *names: str) -> None:
    for name in names:
        stubs.buckets.PutVectorBucket(messages.PutVectorBucketRequest(bucket=name))


def page(
    stubs: Stubs, *, prefix: str = "", marker: str = "", max_keys: int = 0
) -> messages.ListVectorBucketsResponse:
    request = messages.ListVectorBucketsRequest(prefix=prefix, marker=marker, max_keys=max_keys)
    response: messages.ListVectorBucketsResponse = stubs.buckets.ListVectorBuckets(request)
    return response


def names(response: messages.ListVectorBucketsResponse) -> list[str]:
    return [bucket.bucket for bucket in response.buckets]


def test_bucket_shows_who_made_it_when_and_where(start_server: StartServer) -> None:
    with stubs_of(start_server(account_id="42", region="eu-central-1").address) as stubs:
        before_ms = time.time_ns() // 1_000_000
        make(stubs, "photos")
        request = messages.GetVectorBucketRequest(bucket="photos")
        bucket = stubs.buckets.GetVectorBucket(request).bucket
    assert (bucket.bucket, bucket.account_id, bucket.region) == ("photos", "42", "eu-central-1")
    assert before_ms <= bucket.create_time.ToMilliseconds() <= time.time_ns() // 1_000_000


def test_deleted_bucket_is_gone_and_can_be_made_again(stubs: Stubs) -> None:
    make(stubs, "photos")
    stubs.buckets.DeleteVectorBucket(messages.DeleteVectorBucketRequest(bucket="photos"))
    request = messages.GetVectorBucketRequest(bucket="photos")
    refusal = refused(lambda: stubs.buckets.GetVectorBucket(request))
    assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET"
    assert refusal.facts == {"code": "NoSuchBucket", "bucket": "photos"}
    make(stubs, "photos")
    assert names(page(stubs)) == ["photos"]


def test_deleting_what_is_not_there_is_an_error(stubs: Stubs) -> None:
    request = messages.DeleteVectorBucketRequest(bucket="nowhere")
    refusal = refused(lambda: stubs.buckets.DeleteVectorBucket(request))
    assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET"


def test_bucket_can_be_deleted_once_its_indexes_are(stubs: Stubs) -> None:
    make(stubs, "photos")
    stubs.indexes.PutVectorIndex(index_request("photos"))
    request = messages.DeleteVectorBucketRequest(bucket="photos")
    assert refused(lambda: stubs.buckets.DeleteVectorBucket(request)).code.name
    assert names(page(stubs)) == ["photos"]


def test_no_buckets_are_an_empty_page(stubs: Stubs) -> None:
    assert page(stubs) == messages.ListVectorBucketsResponse()


def test_pages_follow_each_other_by_name_without_a_gap(stubs: Stubs) -> None:
    made = [f"bucket-{number}" for number in (3, 1, 4, 10, 5, 9, 2)]
    make(stubs, *made)
    listed, marker = list[str](), ""
    for _ in range(4):
        response = page(stubs, marker=marker, max_keys=2)
        listed += names(response)
        marker = response.next_marker
        assert response.is_truncated == bool(marker)
    assert listed == sorted(made)
    assert marker == ""


def test_page_that_holds_exactly_the_rest_is_the_last(stubs: Stubs) -> None:
    make(stubs, "aaa", "bbb")
    response = page(stubs, max_keys=2)
    assert (names(response), response.is_truncated) == (["aaa", "bbb"], False)


def test_marker_stays_good_when_its_bucket_is_gone(stubs: Stubs) -> None:
    make(stubs, "aaa", "bbb", "ccc")
    marker = page(stubs, max_keys=2).next_marker
    stubs.buckets.DeleteVectorBucket(messages.DeleteVectorBucketRequest(bucket=marker))
    assert names(page(stubs, marker=marker)) == ["ccc"]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("py", ["py-a", "py-b"]), ("py-b", ["py-b"]), ("x", []), ("", ["go-a", "py-a", "py-b"])],
)
def test_prefix_narrows_the_listing(stubs: Stubs, prefix: str, expected: list[str]) -> None:
    make(stubs, "py-b", "go-a", "py-a")
    assert names(page(stubs, prefix=prefix)) == expected
