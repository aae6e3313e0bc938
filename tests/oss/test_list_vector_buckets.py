"""ListVectorBuckets in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import SERVICE_HOST, Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_list_vector_buckets_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "list_vector_buckets", sdk)


def make_buckets(dialect: Dialect, *names: str) -> None:
    for name in names:
        dialect.make_bucket(f"{name}-1234567890.{SERVICE_HOST}")


def names_of(body: dict[str, dict[str, list[dict[str, str]]]]) -> list[str]:
    return [one["Name"].rpartition(":")[2] for one in body["ListAllMyBucketsResult"]["Buckets"]]


def test_pages_follow_each_other_though_buckets_go_meanwhile(dialect: Dialect) -> None:
    names = [f"bucket-{letter}" for letter in "edcba"]
    make_buckets(dialect, *names)
    seen, marker, pages = [], "", 0
    while True:
        query = f"max-keys=2&marker={marker}"
        listed = dialect.done("GET", query, host=SERVICE_HOST).body
        seen += names_of(listed)
        pages += 1
        for name in names_of(listed):
            dialect.done("DELETE", host=f"{name}-1234567890.{SERVICE_HOST}")
        if not listed["ListAllMyBucketsResult"].get("IsTruncated"):
            break
        marker = listed["ListAllMyBucketsResult"]["NextMarker"]
    assert seen == sorted(names)
    assert pages == 3


def test_what_was_asked_for_is_repeated_when_there_is_more(dialect: Dialect) -> None:
    make_buckets(dialect, "aaa-1", "aaa-2", "aaa-3")
    query = "prefix=aaa&marker=aaa-1&max-keys=1"
    listed = dialect.done("GET", query, host=SERVICE_HOST).body["ListAllMyBucketsResult"]
    said = {name: value for name, value in listed.items() if name != "Buckets"}
    assert said == {
        "Prefix": "aaa",
        "Marker": "aaa-1",
        "MaxKeys": 1,
        "IsTruncated": True,
        "NextMarker": "aaa-2",
    }


@pytest.mark.parametrize(
    "text", ["1001", "-1", "abc", "1.5", "0x10", "99999999999", "%E4", "1" * 300, "+1"]
)
def test_a_size_that_is_none_is_refused_and_named(dialect: Dialect, text: str) -> None:
    answer = dialect.ask("GET", f"max-keys={text}", host=SERVICE_HOST)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert "max-keys" in answer.message


@pytest.mark.parametrize("query", ["max-keys=", "max-keys=0", "max-keys", "prefix=", "marker="])
def test_what_is_empty_is_as_if_it_was_not_said(dialect: Dialect, query: str) -> None:
    make_buckets(dialect, "aaa-1")
    assert names_of(dialect.done("GET", query, host=SERVICE_HOST).body) == ["aaa-1"]


def test_a_prefix_that_is_no_text_finds_nothing(dialect: Dialect) -> None:
    make_buckets(dialect, "aaa-1")
    assert names_of(dialect.done("GET", "prefix=%FF", host=SERVICE_HOST).body) == []
