"""Buckets in a real Milvus: what the seam promises, and what other servers see when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from catalogues import (
    COLLECTION,
    LOGGING,
    Clock,
    MakeCatalogue,
    nonce_of,
    put_bucket,
    put_index,
)
from engines.subject import MANY, POLICY
from rooms import BUCKET, Standing, running
from vectorbucket.errors import (
    BucketNameNotAvailable,
    NoSuchBucket,
    NoSuchVectorIndex,
    TooManyBuckets,
)
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.definitions import (
    index_collection,
)


def test_bucket_comes_back_as_it_was_put_from_another_server_too(
    catalogue: Catalogue, make_catalogue: MakeCatalogue
) -> None:
    bucket = replace(BUCKET, policy=POLICY, logging=LOGGING)
    catalogue.put_bucket(bucket, buckets_max=1)
    for each in (catalogue, make_catalogue()):
        assert each.get_bucket(BUCKET.name) == bucket
        assert each.list_buckets(BUCKET.account_id, limit=1).items == [bucket]
        assert each.bucket_names() == [BUCKET.name]


def test_bucket_that_exists_is_not_available_and_that_is_said_first(catalogue: Catalogue) -> None:
    put_bucket(catalogue)
    for account_id in (BUCKET.account_id, "another"):
        with pytest.raises(BucketNameNotAvailable):
            catalogue.put_bucket(replace(BUCKET, account_id=account_id), buckets_max=1)
    assert catalogue.get_bucket(BUCKET.name) == BUCKET


def test_account_has_no_more_buckets_than_it_may(catalogue: Catalogue) -> None:
    for name in ("a", "b"):
        catalogue.put_bucket(replace(BUCKET, name=name), buckets_max=2)
    with pytest.raises(TooManyBuckets):
        catalogue.put_bucket(replace(BUCKET, name="c"), buckets_max=2)
    catalogue.put_bucket(replace(BUCKET, name="c", account_id="another"), buckets_max=2)
    assert catalogue.bucket_names() == ["a", "b", "c"]


def test_bucket_too_many_is_undone_when_others_were_as_quick(
    make_catalogue: MakeCatalogue, catalogue: Catalogue
) -> None:

    def id_after_another() -> int:
        put_bucket(catalogue, "other")
        return 5

    late = make_catalogue(new_id=id_after_another)
    with pytest.raises(TooManyBuckets):
        late.put_bucket(BUCKET, buckets_max=1)
    assert catalogue.bucket_names() == ["other"]


def test_bucket_that_does_not_exist_is_named(catalogue: Catalogue) -> None:
    calls: list[Callable[[], object]] = [
        partial(catalogue.get_bucket, "none"),
        partial(catalogue.delete_bucket, "none"),
        partial(catalogue.set_bucket_policy, "none", ""),
        partial(catalogue.set_bucket_logging, "none", None),
        partial(put_index, catalogue, "a", "none"),
        partial(catalogue.get_index, "none", "a"),
        partial(catalogue.list_indexes, "none", limit=1),
    ]
    for call in calls:
        with pytest.raises(NoSuchBucket, match="none"):
            call()


def test_buckets_are_listed_page_by_page_and_account_by_account(catalogue: Catalogue) -> None:
    names = ["a-b", "a-c", "ab", "b", "c"]
    for name in reversed(names):
        put_bucket(catalogue, name)
    catalogue.put_bucket(replace(BUCKET, name="aa", account_id="another"), buckets_max=1)

    def page(**asked: Any) -> tuple[list[str], str | None]:
        found = catalogue.list_buckets(BUCKET.account_id, **asked)
        return [bucket.name for bucket in found.items], found.next_after

    assert page(limit=5) == (names, None)
    assert page(limit=2) == (["a-b", "a-c"], "a-c")
    assert page(limit=2, after="a-c") == (["ab", "b"], "b")
    assert page(limit=2, after="b") == (["c"], None)
    assert page(limit=9, prefix="a-", after="a-a") == (["a-b", "a-c"], None)
    assert page(limit=1, prefix="a-") == (["a-b"], "a-b")
    assert page(limit=1, prefix="x") == ([], None)


ODD_TEXTS = ("\x00", "\ufeff{}", "e\u0301", "\U0010ffff", "é" * 8_192, "\x01" * 16_384)


@pytest.mark.parametrize("policy", [POLICY, " ", *ODD_TEXTS])
def test_policy_comes_back_character_for_character(
    catalogue: Catalogue, make_catalogue: MakeCatalogue, policy: str
) -> None:
    put_bucket(catalogue)
    catalogue.set_bucket_policy(BUCKET.name, policy)
    for each in (catalogue, make_catalogue()):
        assert each.get_bucket(BUCKET.name) == replace(BUCKET, policy=policy)


def test_policy_and_logging_leave_each_other_alone_and_can_be_taken_away(
    catalogue: Catalogue,
) -> None:
    catalogue.put_bucket(replace(BUCKET, policy="first", logging=LOGGING), buckets_max=1)
    catalogue.set_bucket_policy(BUCKET.name, POLICY)
    assert catalogue.get_bucket(BUCKET.name) == replace(BUCKET, policy=POLICY, logging=LOGGING)
    catalogue.set_bucket_logging(BUCKET.name, None)
    assert catalogue.get_bucket(BUCKET.name) == replace(BUCKET, policy=POLICY)
    catalogue.set_bucket_policy(BUCKET.name, "")
    assert catalogue.get_bucket(BUCKET.name) == BUCKET


def test_bucket_made_again_keeps_nothing_of_the_old_one(
    catalogue: Catalogue, connection: Connection
) -> None:
    put_bucket(catalogue)
    old = nonce_of(connection)
    catalogue.set_bucket_policy(BUCKET.name, POLICY)
    catalogue.delete_bucket(BUCKET.name)
    put_bucket(catalogue)
    assert nonce_of(connection) != old
    # Nor what somebody says late of the old one.
    connection.set_properties(COLLECTION, {f"vectorbucket.policy.{old}": '"late"'})
    assert catalogue.list_buckets(BUCKET.account_id, limit=1).items == [BUCKET]


def test_bucket_that_is_another_one_than_was_seen_is_left_alone(catalogue: Catalogue) -> None:
    put_bucket(catalogue)
    for seen in (replace(BUCKET, account_id="another"), replace(BUCKET, created_ms=4)):
        calls: list[Callable[[], object]] = [
            partial(catalogue.set_bucket_policy, BUCKET.name, "{}", seen=seen),
            partial(catalogue.set_bucket_logging, BUCKET.name, LOGGING, seen=seen),
            partial(catalogue.delete_bucket, BUCKET.name, seen=seen),
        ]
        for call in calls:
            with pytest.raises(NoSuchBucket):
                call()
    seen = replace(BUCKET, policy="of before")
    catalogue.set_bucket_logging(BUCKET.name, LOGGING, seen=seen)
    assert catalogue.get_bucket(BUCKET.name) == replace(BUCKET, logging=LOGGING)
    catalogue.delete_bucket(BUCKET.name, seen=seen)
    assert catalogue.bucket_names() == []


def test_policy_set_while_the_bucket_is_replaced_is_of_no_bucket(
    catalogue: Catalogue, make_catalogue: MakeCatalogue
) -> None:
    put_bucket(catalogue)
    late = make_catalogue()

    def replaced_meanwhile(name: str, properties: dict[str, str]) -> None:
        catalogue.delete_bucket(BUCKET.name)
        put_bucket(catalogue)
        behind.set_properties(name, properties)

    behind = late._connection
    late._connection = Standing(behind, set_properties=replaced_meanwhile)  # type: ignore[assignment]
    with pytest.raises(NoSuchBucket):
        late.set_bucket_policy(BUCKET.name, POLICY)
    assert catalogue.get_bucket(BUCKET.name) == late.get_bucket(BUCKET.name) == BUCKET


def test_bucket_made_in_one_server_is_there_in_another_at_once(
    catalogue: Catalogue, make_catalogue: MakeCatalogue
) -> None:
    other = make_catalogue(catalogue_cache_s=MANY)
    with pytest.raises(NoSuchBucket):
        other.get_bucket(BUCKET.name)
    put_bucket(catalogue)
    assert other.get_bucket(BUCKET.name) == BUCKET
    made = put_index(catalogue)
    assert other.get_index(BUCKET.name, "a") == made
    assert other.list_buckets(BUCKET.account_id, limit=1).items == [BUCKET]
    assert other.list_indexes(BUCKET.name, limit=1).items == [made]


def test_change_is_what_every_server_goes_by_when_it_is_acknowledged(
    make_catalogue: MakeCatalogue,
) -> None:
    one, other = (make_catalogue(catalogue_cache_s=0.2) for _ in range(2))
    put_bucket(one)
    made = put_index(one)
    bucket, name = partial(other.get_bucket, BUCKET.name), BUCKET.name
    index_is_gone = partial(is_missing, other.get_index, name, "a")
    # The other one remembers what was before, read as late as can be.
    with reading(bucket):
        one.set_bucket_policy(name, POLICY)
        assert bucket().policy == POLICY
        one.set_bucket_logging(name, LOGGING)
        assert bucket().logging == LOGGING
    with reading(index_is_gone):
        one.delete_index(made)
        assert index_is_gone()
    with reading(partial(is_missing, bucket)):
        one.delete_bucket(name)
        assert is_missing(bucket)


@contextmanager
def reading(call: Callable[[], object]) -> Iterator[None]:
    """Call something again and again beside the block."""
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            call()

    with running(read):
        try:
            yield
        finally:
            is_over.set()


def is_missing(call: Callable[..., object], *arguments: str) -> bool:
    """Return whether a bucket or an index is not there."""
    try:
        call(*arguments)
    except (NoSuchBucket, NoSuchVectorIndex):
        return True
    return False


def test_milvus_is_asked_once_for_many_requests(make_catalogue: MakeCatalogue) -> None:
    clock = Clock()
    catalogue = make_catalogue(clock=clock, catalogue_cache_s=0.5)
    put_bucket(catalogue)
    made = put_index(catalogue)
    calls: list[str] = []
    behind = catalogue._claims._connection

    def describe(name: str) -> object:
        calls.append(name)
        return behind.describe(name)

    catalogue._claims._connection = Standing(behind, describe=describe)  # type: ignore[assignment]
    for _ in range(10):
        assert catalogue.get_index(BUCKET.name, "a") == made
    assert calls == []
    clock.now_s += 0.5
    for _ in range(10):
        assert catalogue.get_index(BUCKET.name, "a") == made
    assert calls == [COLLECTION, index_collection(BUCKET.name, "a")]
