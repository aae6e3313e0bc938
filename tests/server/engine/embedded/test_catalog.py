"""Definitions: what exists and how many there may be, under races, refusals and restarts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rooms import BUCKET, MANY, Refusals, make_index, records_of, refused
from vectorbucket.errors import (
    BucketNameNotAvailable,
    Corruption,
    NoSuchBucket,
    NoSuchVectorIndex,
    ServiceUnavailable,
    TooManyBuckets,
    VectorBucketError,
    VectorBucketIndexAlreadyExist,
    VectorBucketIndexExceedLimit,
    VectorBucketNotEmpty,
)
from vectorbucket_server.engine.embedded.catalog import Catalog
from vectorbucket_server.engine.embedded.schema import (
    FORMAT_KEY,
    FORMAT_VERSION,
    INDEX_ID_KEY,
    Family,
    IndexState,
    bucket_key,
    decode_state,
    drop_key,
    encode_bucket,
    encode_index,
    encode_number,
    index_key,
    state_key,
)
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Bucket, BucketLogging, Index

LOGGING = BucketLogging("logs", "p/")


@pytest.fixture(name="catalog")
def fixture_catalog(store: Store) -> Catalog:
    """Return a catalogue with BUCKET in it."""
    catalog = Catalog(store)
    catalog.put_bucket(BUCKET, MANY)
    return catalog


def bucket(name: str, account_id: str = BUCKET.account_id) -> Bucket:
    """Return a bucket to make."""
    return replace(BUCKET, name=name, account_id=account_id)


def index(name: str, bucket_name: str = BUCKET.name) -> Index:
    """Return an index to make."""
    return replace(make_index(name=name), bucket_name=bucket_name, index_id=0)


def put(store: Store, key: bytes, value: bytes) -> None:
    """Write a record of the catalogue."""
    made = store.batch()
    made.put(Family.CATALOG, key, value)
    store.write(made)


# --- Buckets --------------------------------------------------------------------------------------


def test_bucket_that_was_made_is_there(catalog: Catalog) -> None:
    assert catalog.get_bucket(BUCKET.name) == BUCKET
    assert catalog.list_buckets(BUCKET.account_id, "", "", 10).items == [BUCKET]


def test_bucket_that_is_missing_is_named(catalog: Catalog) -> None:
    calls: list[Callable[[], object]] = [
        lambda: catalog.get_bucket("missing"),
        lambda: catalog.delete_bucket("missing"),
        lambda: catalog.set_bucket_policy("missing", "{}"),
        lambda: catalog.set_bucket_logging("missing", None),
        lambda: catalog.put_index(index("a", "missing"), MANY),
        lambda: catalog.get_index("missing", "a"),
        lambda: catalog.list_indexes("missing", "", "", 10),
    ]
    for call in calls:
        with pytest.raises(NoSuchBucket, match="'missing'"):
            call()


def test_bucket_that_exists_is_not_made_again(catalog: Catalog) -> None:
    with pytest.raises(BucketNameNotAvailable, match="'things'"):
        catalog.put_bucket(bucket(BUCKET.name, "another account"), MANY)
    assert catalog.get_bucket(BUCKET.name) == BUCKET


def test_buckets_are_counted_by_account(catalog: Catalog) -> None:
    catalog.put_bucket(bucket("second"), 2)
    with pytest.raises(TooManyBuckets, match="limit is 2"):
        catalog.put_bucket(bucket("third"), 2)
    catalog.put_bucket(bucket("third", "another account"), 1)
    catalog.delete_bucket("second")
    catalog.put_bucket(bucket("fourth"), 2)


def test_bucket_that_exists_is_told_before_the_limit(catalog: Catalog) -> None:
    with pytest.raises(BucketNameNotAvailable):
        catalog.put_bucket(BUCKET, 1)


def test_bucket_with_an_index_is_not_deleted(catalog: Catalog) -> None:
    made = catalog.put_index(index("a"), MANY)
    with pytest.raises(VectorBucketNotEmpty, match="'things'"):
        catalog.delete_bucket(BUCKET.name)
    catalog.drop_index(made)
    catalog.delete_bucket(BUCKET.name)
    with pytest.raises(NoSuchBucket):
        catalog.get_bucket(BUCKET.name)


def test_policy_and_logging_are_written_into_the_buckets_record(
    catalog: Catalog, store: Store, writes: Refusals
) -> None:
    writes.written = 0
    catalog.set_bucket_policy(BUCKET.name, "é")
    catalog.set_bucket_logging(BUCKET.name, LOGGING)
    assert writes.written == 2
    changed = replace(BUCKET, policy="é", logging=LOGGING)
    assert store.get(Family.CATALOG, bucket_key(BUCKET.name)) == encode_bucket(changed)
    assert catalog.get_bucket(BUCKET.name) == Catalog(store).get_bucket(BUCKET.name) == changed


# --- Indexes --------------------------------------------------------------------------------------


def test_index_that_was_made_is_there_under_an_id_of_its_own(catalog: Catalog) -> None:
    first, second = catalog.put_index(index("a"), MANY), catalog.put_index(index("b"), MANY)
    assert catalog.get_index(BUCKET.name, "a") == first == replace(index("a"), index_id=1)
    assert catalog.get_index(BUCKET.name, "b") == second
    assert second.index_id == 2
    assert catalog.indexes() == [first, second]


def test_new_index_is_empty_and_its_labels_begin_at_one(catalog: Catalog, store: Store) -> None:
    made = catalog.put_index(index("a"), MANY)
    key = state_key(made.index_id)
    state = decode_state(key, store.get(Family.CATALOG, key) or b"")
    assert state == IndexState(next_label=1, seq=0, vector_count=0)


def test_index_that_is_missing_is_named(catalog: Catalog) -> None:
    with pytest.raises(NoSuchVectorIndex, match=r"'missing'.*'things'"):
        catalog.get_index(BUCKET.name, "missing")


def test_index_that_exists_is_not_made_again(catalog: Catalog) -> None:
    made = catalog.put_index(index("a"), 1)
    with pytest.raises(VectorBucketIndexAlreadyExist, match=r"'a'.*'things'"):
        catalog.put_index(replace(index("a"), dimension=9), 1)
    assert catalog.get_index(BUCKET.name, "a") == made


def test_indexes_are_counted_by_bucket(catalog: Catalog) -> None:
    catalog.put_bucket(bucket("other"), MANY)
    made = catalog.put_index(index("a"), 1)
    with pytest.raises(VectorBucketIndexExceedLimit, match=r"'things'.*limit is 1"):
        catalog.put_index(index("b"), 1)
    catalog.put_index(index("b", "other"), 1)
    catalog.drop_index(made)
    catalog.put_index(index("b"), 1)


def test_index_is_dropped_once(catalog: Catalog) -> None:
    made = catalog.put_index(index("a"), MANY)
    catalog.drop_index(made)
    for call in (
        lambda: catalog.drop_index(made),
        lambda: catalog.get_index(BUCKET.name, "a"),
    ):
        with pytest.raises(NoSuchVectorIndex):
            call()
    assert catalog.drops() == [made.index_id]


def test_index_that_was_made_again_is_another_one(catalog: Catalog) -> None:
    first = catalog.put_index(index("a"), MANY)
    catalog.drop_index(first)
    second = catalog.put_index(index("a"), MANY)
    assert second.index_id > first.index_id
    with pytest.raises(NoSuchVectorIndex):
        catalog.drop_index(first)
    assert catalog.get_index(BUCKET.name, "a") == second


def test_drop_is_noted_in_the_batch_that_forgets_the_index(
    catalog: Catalog, store: Store, writes: Refusals
) -> None:
    made = catalog.put_index(index("a"), MANY)
    writes.written = 0
    catalog.drop_index(made)
    assert writes.written == 1
    assert store.get(Family.CATALOG, index_key(BUCKET.name, "a")) is None
    assert store.get(Family.CATALOG, drop_key(made.index_id)) == b""


# --- Pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "after", "limit", "names", "next_after"),
    [
        ("", "", 10, ["a", "a1", "ab", "b", "things"], None),
        ("", "", 2, ["a", "a1"], "a1"),
        ("", "a1", 2, ["ab", "b"], "b"),
        ("", "b", 2, ["things"], None),
        ("", "aa", 1, ["ab"], "ab"),
        ("a", "", 10, ["a", "a1", "ab"], None),
        ("a", "a", 1, ["a1"], "a1"),
        ("a", "a1", 1, ["ab"], None),
        ("x", "", 10, [], None),
        ("", "things", 10, [], None),
    ],
)
def test_page_holds_the_first_with_the_prefix_after_a_name(  # noqa: PLR0917 - a table's columns
    catalog: Catalog,
    prefix: str,
    after: str,
    limit: int,
    names: list[str],
    next_after: str | None,
) -> None:
    for name in ("b", "ab", "a", "a1"):
        catalog.put_bucket(bucket(name), MANY)
        catalog.put_index(index(name), MANY)
    catalog.put_index(index("things"), MANY)
    catalog.put_bucket(bucket("a0", "another account"), MANY)
    buckets = catalog.list_buckets(BUCKET.account_id, prefix, after, limit)
    indexes = catalog.list_indexes(BUCKET.name, prefix, after, limit)
    assert [one.name for one in buckets.items] == names == [one.name for one in indexes.items]
    assert buckets.next_after == next_after == indexes.next_after


# --- The store ------------------------------------------------------------------------------------


def test_catalogue_is_read_back_as_it_was(catalog: Catalog, store: Store) -> None:
    catalog.put_bucket(bucket("other", "another account"), MANY)
    kept = catalog.put_index(index("kept"), MANY)
    dropped = catalog.put_index(index("dropped"), MANY)
    catalog.drop_index(dropped)
    again = Catalog(store)
    assert again.get_bucket(BUCKET.name) == BUCKET
    assert again.get_bucket("other").account_id == "another account"
    assert again.indexes() == [kept]
    assert again.drops() == [dropped.index_id]
    assert again.put_index(index("new"), MANY).index_id == 3, "ids are never given twice"


def test_refused_write_changes_nothing(catalog: Catalog, store: Store, writes: Refusals) -> None:
    made = catalog.put_index(index("a"), MANY)
    catalog.put_bucket(bucket("empty"), MANY)
    before = records_of(store, Family.CATALOG)
    writes.on = True
    calls: list[Callable[[], object]] = [
        lambda: catalog.put_bucket(bucket("new"), MANY),
        lambda: catalog.delete_bucket("empty"),
        lambda: catalog.set_bucket_policy("empty", "{}"),
        lambda: catalog.set_bucket_logging("empty", LOGGING),
        lambda: catalog.put_index(index("b"), MANY),
        lambda: catalog.drop_index(made),
    ]
    for call in calls:
        assert isinstance(refused(call), ServiceUnavailable)
    assert records_of(store, Family.CATALOG) == before
    assert catalog.list_buckets(BUCKET.account_id, "", "", 9).items == [bucket("empty"), BUCKET]
    assert catalog.indexes() == [made]
    writes.on = False
    assert catalog.put_index(index("b"), MANY).index_id == made.index_id + 1


def test_new_store_gets_the_format_version(store: Store) -> None:
    Catalog(store)
    assert store.get(Family.CATALOG, FORMAT_KEY) == encode_number(FORMAT_VERSION)
    Catalog(store)


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, 2**64 - 1])
def test_store_of_another_format_is_refused_with_both_versions(store: Store, version: int) -> None:
    put(store, FORMAT_KEY, encode_number(version))
    with pytest.raises(
        ServiceUnavailable, match=rf"version {version}; .* version {FORMAT_VERSION}$"
    ):
        Catalog(store)
    assert store.get(Family.CATALOG, FORMAT_KEY) == encode_number(version)


GOOD = replace(index("a"), index_id=7)
BROKEN: dict[str, tuple[bytes, bytes]] = {
    "format of a wrong length": (FORMAT_KEY, b"1"),
    "bucket that is no JSON": (bucket_key("x"), b"{"),
    "bucket under another's name": (bucket_key("x"), encode_bucket(BUCKET)),
    "index that is no JSON": (index_key("things", "x"), b""),
    "index under another's name": (index_key("things", "x"), encode_index(GOOD)),
    "index in no bucket": (
        index_key("missing", "a"),
        encode_index(replace(GOOD, bucket_name="missing")),
    ),
    "counter of a wrong length": (INDEX_ID_KEY, b"\0" * 7),
    "drop of a wrong length": (b"d/1", b""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_record_is_named(catalog: Catalog, store: Store, name: str) -> None:
    key, value = BROKEN[name]
    assert catalog.indexes() == []
    put(store, key, value)
    with pytest.raises(Corruption, match=f"family catalog, key {key.hex()}"):
        Catalog(store).drops()


@pytest.mark.parametrize("next_id", [1, 7])
def test_counter_that_would_give_an_id_twice_is_named(
    catalog: Catalog, store: Store, next_id: int
) -> None:
    put(store, index_key(BUCKET.name, "a"), encode_index(GOOD))
    put(store, INDEX_ID_KEY, encode_number(next_id))
    with pytest.raises(Corruption, match=f"key {INDEX_ID_KEY.hex()}: index id 7 exists") as told:
        Catalog(store)
    assert isinstance(told.value, VectorBucketError)
    put(store, INDEX_ID_KEY, encode_number(8))
    assert Catalog(store).put_index(index("b"), MANY).index_id == 8
    assert catalog.indexes() == []
