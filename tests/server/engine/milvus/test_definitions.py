"""Definitions as texts of Milvus: names that cannot be mixed up, and what comes back from them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engines.subject import POLICY
from vectorbucket.errors import Corruption, ServiceUnavailable
from vectorbucket.limits import UNLIMITED
from vectorbucket_server.engine.milvus.definitions import (
    BUCKETS_PREFIX,
    INDEXES_PREFIX,
    BucketClaim,
    IndexClaim,
    bucket_collection,
    bucket_description,
    bucket_fields,
    deletion_property,
    gone_collection,
    index_collection,
    index_description,
    index_fields,
    indexes_prefix,
    logging_property,
    partition_of,
    policy_property,
    read_bucket,
    read_gone,
    read_index,
    real_name,
)
from vectorbucket_server.model import Bucket, BucketLogging, DistanceMetric, GraphOptions, Index
from vectorbucket_server.naming import check_bucket_name, check_index_name

LEGAL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
"""Names that Milvus takes."""

BUCKET_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])", fullmatch=True)
INDEX_NAMES = st.from_regex(r"[A-Za-z]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", fullmatch=True)
ANY_NAMES = BUCKET_NAMES | INDEX_NAMES | st.text(min_size=1, max_size=400)

LONGEST_BUCKET = "a" + "-" * (UNLIMITED.bucket_name_max - 2) + "z"
LONGEST_INDEX = "a" + "_" * (UNLIMITED.index_name_max - 2) + "z"

BUCKET = BucketClaim(Bucket("some-bucket", "1234567890", 5), "77")
INDEX = IndexClaim(
    Index(
        "some-bucket", "some.index", 4, DistanceMetric.COSINE, ("x", "_"), 6, 2**63 - 1,
        GraphOptions(16, 200, None),
    ),
    "77",
)  # fmt: skip
COLLECTION = bucket_collection("some-bucket")
INDEX_COLLECTION = index_collection("some-bucket", "some.index")


@given(ANY_NAMES, ANY_NAMES)
def test_every_name_becomes_one_that_milvus_takes(bucket: str, index: str) -> None:
    assume(bucket.isprintable() and index.isprintable())
    assert LEGAL.fullmatch(bucket_collection(bucket))
    assert LEGAL.fullmatch(index_collection(bucket, index))


@given(st.tuples(ANY_NAMES, ANY_NAMES), st.tuples(ANY_NAMES, ANY_NAMES))
def test_different_names_become_different_collections(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assume(all(name.isprintable() for name in (*one, *other)))
    assert (bucket_collection(one[0]) == bucket_collection(other[0])) == (one[0] == other[0])
    assert (index_collection(*one) == index_collection(*other)) == (one == other)
    assert bucket_collection(one[0]) != index_collection(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "b_c"), ("a-b", "c")), (("a", "b-c"), ("a", "b_c")), (("a-h", "b"), ("a", "h-b"))],
    ids=["bounds", "punctuation", "escapes"],
)
def test_names_that_look_alike_are_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert index_collection(*one) != index_collection(*other)


@given(BUCKET_NAMES, INDEX_NAMES)
def test_legal_names_are_told_from_those_of_their_collections(bucket: str, index: str) -> None:
    assert real_name(bucket_collection(bucket), BUCKETS_PREFIX) == bucket
    collection = index_collection(bucket, index)
    assert collection.startswith(INDEXES_PREFIX)
    assert real_name(collection, indexes_prefix(bucket)) == index


@given(BUCKET_NAMES, INDEX_NAMES, BUCKET_NAMES)
def test_collections_of_a_bucket_are_known_by_their_beginning(
    bucket: str, index: str, other: str
) -> None:
    begins_so = index_collection(bucket, index).startswith(indexes_prefix(other))
    assert begins_so == (bucket == other)


def test_longest_legal_names_are_still_told_from_those_of_their_collections() -> None:
    check_bucket_name(LONGEST_BUCKET, UNLIMITED)
    check_index_name(LONGEST_INDEX, UNLIMITED)
    collection = index_collection(LONGEST_BUCKET, LONGEST_INDEX)
    assert len(collection) == 255
    assert real_name(collection, indexes_prefix(LONGEST_BUCKET)) == LONGEST_INDEX


def test_longer_names_are_known_from_the_description_alone() -> None:
    long = "a" * 400
    index = replace(INDEX, index=replace(INDEX.index, bucket_name=long, name=long))
    collection = index_collection(long, long)
    assert real_name(collection, indexes_prefix(long)) is None
    assert real_name(bucket_collection(long), BUCKETS_PREFIX) is None
    assert read_index(collection, index_description(index)) == index


def test_partitions_and_what_is_being_deleted_have_names_that_milvus_takes() -> None:
    assert LEGAL.fullmatch(partition_of(2**63 - 1))
    assert LEGAL.fullmatch(gone_collection("77"))


@pytest.mark.parametrize(
    "bucket",
    [
        BUCKET.bucket,
        replace(BUCKET.bucket, policy=POLICY, logging=BucketLogging("logs", "é/", "r")),
        replace(BUCKET.bucket, account_id="\x00\ufeff\U0010ffff", created_ms=2**53),
    ],
    ids=["plain", "with settings", "odd account"],
)
def test_bucket_comes_back_from_its_description(bucket: Bucket) -> None:
    claim = replace(BUCKET, bucket=bucket)
    assert read_bucket(COLLECTION, bucket_description(claim), {}) == claim


def test_index_comes_back_from_its_description() -> None:
    assert read_index(INDEX_COLLECTION, index_description(INDEX)) == INDEX
    assert INDEX.nonce == str(2**63 - 1)
    assert (BUCKET.name, INDEX.name) == ("some-bucket", "some.index")


def test_what_is_being_deleted_still_says_what_it_was() -> None:
    assert read_gone("vb_gone_77", bucket_description(BUCKET)) == (COLLECTION, "77")
    assert read_gone("vb_gone_1", index_description(INDEX)) == (INDEX_COLLECTION, INDEX.nonce)
    for description in ("", '{"kind":"another","format_version":1}'):
        with pytest.raises(Corruption, match="vb_gone_1"):
            read_gone("vb_gone_1", description)


@pytest.mark.parametrize("policy", ["", " ", POLICY, "\x00", "\ufeff{}", "\U0010ffff", "null"])
def test_policy_of_a_property_is_believed_rather_than_that_of_the_description(policy: str) -> None:
    made_with = replace(BUCKET, bucket=replace(BUCKET.bucket, policy="old"))
    found = read_bucket(COLLECTION, bucket_description(made_with), policy_property("77", policy))
    assert found.bucket.policy == policy
    assert all(policy_property("77", policy).values())


@pytest.mark.parametrize("logging", [None, BucketLogging("logs", "é/", "r")], ids=["none", "some"])
def test_logging_of_a_property_is_believed_rather_than_that_of_the_description(
    logging: BucketLogging | None,
) -> None:
    old = replace(BUCKET, bucket=replace(BUCKET.bucket, logging=BucketLogging("old")))
    found = read_bucket(COLLECTION, bucket_description(old), logging_property("77", logging))
    assert found.bucket.logging == logging


def test_what_was_said_of_another_bucket_of_the_name_is_not_believed() -> None:
    said = (
        policy_property("78", "{}")
        | logging_property("7", BucketLogging("logs"))
        | deletion_property("78", "1", is_on=True)
        | {"collection.ttl.seconds": "0"}
    )
    assert read_bucket(COLLECTION, bucket_description(BUCKET), said) == BUCKET


def test_marks_of_a_deletion_are_told_apart_and_can_be_taken_away() -> None:
    said = deletion_property("77", "1", is_on=True) | deletion_property("77", "2", is_on=True)
    found = read_bucket(COLLECTION, bucket_description(BUCKET), said)
    assert found.deletions == {"1", "2"}
    said |= deletion_property("77", "1", is_on=False)
    assert read_bucket(COLLECTION, bucket_description(BUCKET), said).deletions == {"2"}


@pytest.mark.parametrize(
    "description",
    [
        "",
        "a collection of somebody else",
        "{}",
        "[1]",
        index_description(INDEX),
        bucket_description(replace(BUCKET, bucket=replace(BUCKET.bucket, name="another"))),
        bucket_description(BUCKET).replace('"nonce":"77"', '"nonce":77'),
        bucket_description(BUCKET).replace('"created_ms":5', '"created_ms":"5"'),
    ],
    ids=["empty", "foreign", "no kind", "list", "index", "another's", "nonce", "time"],
)
def test_bucket_that_says_something_else_is_corrupt(description: str) -> None:
    with pytest.raises(Corruption, match=COLLECTION):
        read_bucket(COLLECTION, description, {})


def test_bucket_with_a_broken_property_is_corrupt() -> None:
    for name in (*policy_property("77", ""), *logging_property("77", None)):
        with pytest.raises(Corruption, match=COLLECTION):
            read_bucket(COLLECTION, bucket_description(BUCKET), {name: "{"})


@pytest.mark.parametrize(
    "description",
    [
        "",
        bucket_description(BUCKET),
        index_description(replace(INDEX, index=replace(INDEX.index, name="another"))),
        index_description(replace(INDEX, index=replace(INDEX.index, index_id=0))),
        index_description(INDEX).replace('"metric":"cosine"', '"metric":"manhattan"'),
    ],
    ids=["empty", "bucket", "another's", "no id", "metric"],
)
def test_index_that_says_something_else_is_corrupt(description: str) -> None:
    with pytest.raises(Corruption, match=INDEX_COLLECTION):
        read_index(INDEX_COLLECTION, description)


def test_description_of_a_newer_version_is_named_with_both_versions() -> None:
    newer = bucket_description(BUCKET).replace('"format_version":1', '"format_version":2')
    with pytest.raises(ServiceUnavailable, match=r"version 2.*version 1"):
        read_bucket(COLLECTION, newer, {})
    newer = '{"kind":"vectorbucket index","format_version":3,"what":"is new"}'
    with pytest.raises(ServiceUnavailable, match=r"version 3.*version 1"):
        read_index(INDEX_COLLECTION, newer)


def test_format_is_the_one_that_is_out_there() -> None:
    assert bucket_description(BUCKET) == (
        '{"kind":"vectorbucket bucket","format_version":1,"nonce":"77","bucket":{"name":'
        '"some-bucket","account_id":"1234567890","created_ms":5,"policy":"","logging":null}}'
    )
    assert index_description(INDEX) == (
        '{"kind":"vectorbucket index","format_version":1,"bucket_nonce":"77","index":{'
        '"bucket_name":"some-bucket","name":"some.index","dimension":4,"metric":"cosine",'
        '"non_filterable_keys":["x","_"],"created_ms":6,"index_id":9223372036854775807,'
        '"graph":{"m":16,"ef_construction":200,"ef_search":null}}}'
    )
    assert (COLLECTION, INDEX_COLLECTION) == (
        "vb_b_some_hbucket",
        "vb_i_some_hbucket__some_pindex",
    )
    assert policy_property("77", "{}") == {"vectorbucket.policy.77": '"{}"'}
    assert logging_property("77", None) == {"vectorbucket.logging.77": "null"}
    assert deletion_property("77", "8", is_on=True) == {"vectorbucket.delete.77.8": "1"}


def test_fields_are_what_rows_are_made_of() -> None:
    names = [field["field_name"] for field in index_fields(4096)]
    assert names == ["key", "vector", "metadata", "filterable", "hash"]
    assert index_fields(4096)[1]["dim"] == 4096
    assert [field["field_name"] for field in bucket_fields()] == ["key", "vector"]
    assert [field["is_primary"] for field in bucket_fields() if "is_primary" in field] == [True]
