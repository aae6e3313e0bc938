"""Claims in a real Milvus: made once, found by name, dropped only as what they were."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import pytest

from rooms import BUCKET, Standing, make_index
from vectorbucket.errors import Corruption, InternalError, ServiceUnavailable
from vectorbucket_server.engine.milvus.claims import Claims, looked_at
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.definitions import (
    BucketClaim,
    IndexClaim,
    bucket_collection,
    bucket_fields,
    gone_collection,
    index_collection,
)

CLAIM = BucketClaim(BUCKET, "77")
INDEX = IndexClaim(make_index(name="a"), "77")
COLLECTION = index_collection(BUCKET.name, "a")


def again(claim: IndexClaim) -> IndexClaim:
    """Return the claim of whoever makes the index again."""
    return replace(claim, index=replace(claim.index, index_id=claim.index.index_id + 1))


@pytest.fixture(name="claims")
def fixture_claims(connection: Connection) -> Claims:
    """Return the claims of an empty database, nothing of which is remembered."""
    return Claims(connection, 0.0, time.monotonic)


def test_claim_is_made_once_and_read_by_all(claims: Claims) -> None:
    assert claims.claim_bucket(CLAIM)
    assert not claims.claim_bucket(replace(CLAIM, nonce="78"))
    assert claims.buckets.get(bucket_collection(BUCKET.name)) == CLAIM
    assert claims.claim_index(INDEX)
    assert not claims.claim_index(replace(INDEX, index=replace(INDEX.index, index_id=2)))
    assert claims.indexes.get(index_collection(BUCKET.name, "a")) == INDEX


def test_whoever_claims_again_what_he_has_still_has_it(claims: Claims) -> None:
    assert claims.claim_index(INDEX)
    assert claims.claim_index(INDEX)


def test_only_the_claim_that_is_meant_is_dropped(claims: Claims) -> None:
    claims.claim_bucket(CLAIM)
    claims.claim_index(INDEX)
    assert not claims.drop_bucket(replace(CLAIM, nonce="78"))
    assert not claims.drop_index(replace(INDEX, index=replace(INDEX.index, index_id=2)))
    assert claims.of_buckets(claims.buckets.ask) == [CLAIM]
    assert claims.of_indexes(claims.indexes.ask) == [INDEX]
    assert claims.drop_bucket(CLAIM)
    assert claims.drop_index(INDEX)
    assert not claims.drop_bucket(CLAIM)
    assert not claims.drop_index(INDEX)
    assert claims.of_buckets(claims.buckets.ask) == []
    assert claims.of_indexes(claims.indexes.ask) == []


def test_what_was_claimed_anew_while_a_drop_was_held_up_is_left_alone(
    claims: Claims, connection: Connection
) -> None:
    late, newer = Claims(connection, 0.0, time.monotonic), again(INDEX)
    claims.claim_index(INDEX)

    def held_up(name: str, new_name: str) -> None:
        if claims.drop_index(INDEX):
            assert claims.claim_index(newer)
        connection.rename(name, new_name)

    late._connection = Standing(connection, rename=held_up)  # type: ignore[assignment]
    assert not late.drop_index(INDEX)
    assert claims.of_indexes(claims.indexes.ask) == [newer]
    assert connection.names() == [COLLECTION]


def test_what_lost_its_name_by_mistake_is_kept_when_the_name_is_taken_again(
    claims: Claims, connection: Connection
) -> None:
    newer, newest = again(INDEX), again(again(INDEX))
    gone = gone_collection(INDEX.nonce)
    assert claims.claim_index(newer)
    connection.rename(COLLECTION, gone)
    assert claims.claim_index(newest)
    with pytest.raises(InternalError, match=f"{gone}.*{COLLECTION}"):
        claims._finish(gone)
    claims.finish_drops()
    assert sorted(connection.names()) == [gone, COLLECTION]
    assert claims.drop_index(newest)
    claims.finish_drops()
    assert claims.of_indexes(claims.indexes.ask) == [newer]
    assert connection.names() == [COLLECTION]


def test_drop_that_was_begun_is_finished_by_others(claims: Claims, connection: Connection) -> None:
    late = Claims(connection, 0.0, time.monotonic)
    claims.claim_index(INDEX)
    claims.claim_bucket(CLAIM)

    def fail(_: str) -> None:
        raise ServiceUnavailable("Milvus does not answer")

    late._connection = Standing(connection, drop=fail)  # type: ignore[assignment]
    for drop in (partial(late.drop_index, INDEX), partial(late.drop_bucket, CLAIM)):
        with pytest.raises(ServiceUnavailable):
            drop()
    assert claims.of_buckets(claims.buckets.ask) == []
    assert claims.of_indexes(claims.indexes.ask) == []
    late.finish_drops()  # it fails, which is nothing to whoever has dropped something else
    assert len(connection.names()) == 2
    claims.finish_drops()
    assert connection.names() == []


def test_claim_that_milvus_refuses_is_an_error_that_says_why(claims: Claims) -> None:
    impossible = replace(INDEX, index=replace(INDEX.index, dimension=10**6))
    with pytest.raises(InternalError, match="dimension"):
        claims.claim_index(impossible)


def test_collections_of_others_are_ignored(claims: Claims, connection: Connection) -> None:
    claims.claim_bucket(CLAIM)
    for name in ("notes", "vb_", "vb_other", "VB_B_things"):
        connection.create(name, "of somebody else", bucket_fields())
    assert claims.buckets_named() == [(BUCKET.name, bucket_collection(BUCKET.name))]
    assert claims.are_buckets_at_most(1, BUCKET.account_id)
    assert claims.of_indexes(claims.indexes.ask) == []


def test_collection_with_our_name_that_is_not_ours_is_corrupt(
    claims: Claims, connection: Connection
) -> None:
    connection.create(bucket_collection("things"), "of somebody else", bucket_fields())
    with pytest.raises(Corruption, match="vb_b_things"):
        claims.buckets.get(bucket_collection("things"))
    with pytest.raises(Corruption, match="vb_b_things"):
        claims.of_buckets(claims.buckets.ask)


def test_names_ascend_and_are_chosen_without_reading_what_they_are(
    claims: Claims, connection: Connection
) -> None:
    for name in ("b-1", "b.1", "b", "a", "B"):
        connection.create(index_collection("things", name), "never read", bucket_fields())
    names = [name for name, _ in claims.indexes_named("things")]
    assert names == sorted(["b-1", "b.1", "b", "a", "B"])
    assert [name for name, _ in claims.indexes_named("things", "b", "b-1")] == ["b.1"]
    assert claims.indexes_named("thing") == claims.indexes_named("things-") == []


def test_names_too_long_for_milvus_are_listed_in_order_too(claims: Claims) -> None:
    long = "b" * 200
    for name in ("a", "c", long):
        claims.claim_bucket(replace(CLAIM, bucket=replace(BUCKET, name=name)))
    assert [name for name, _ in claims.buckets_named()] == ["a", long, "c"]


def test_counts_look_at_what_belongs(claims: Claims) -> None:
    other = replace(BUCKET, name="other", account_id="another")
    claims.claim_bucket(CLAIM)
    claims.claim_bucket(replace(CLAIM, bucket=other))
    assert claims.are_buckets_at_most(1, BUCKET.account_id)
    assert not claims.are_buckets_at_most(0, BUCKET.account_id)
    claims.claim_index(INDEX)
    assert claims.are_indexes_at_most(1, CLAIM)
    assert not claims.are_indexes_at_most(0, CLAIM)
    assert claims.are_indexes_at_most(0, replace(CLAIM, nonce="78"))


def test_many_are_looked_at_in_their_order_and_what_is_gone_is_left_out() -> None:
    names = [str(number) for number in range(50)]
    found = {name: replace(CLAIM, nonce=name) for name in names if int(name) % 7}
    assert looked_at(names, found.get) == list(found.values())
    assert looked_at(names[:3], found.get) == [found["1"], found["2"]]
