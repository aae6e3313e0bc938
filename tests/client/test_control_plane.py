"""Buckets and indexes, through the client, against the real server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from faulty_proxy import Fault, FaultyProxy
from vectorbucket import (
    BucketNameNotAvailable,
    Client,
    InvalidArgument,
    InvalidVectorBucketName,
    NoSuchBucket,
    NoSuchVectorIndex,
    TooManyBuckets,
    VectorBucketError,
    VectorBucketIndexAlreadyExist,
    VectorBucketIndexExceedLimit,
    VectorBucketNotEmpty,
    VectorIndexParameterInvalid,
)
from vectorbucket_server.app import Server

EMPTY = "videos"


def test_bucket_is_made_shown_listed_and_deleted(client: Client) -> None:
    client.put_vector_bucket(EMPTY)
    bucket = client.get_vector_bucket(EMPTY)
    assert (bucket.bucket, bucket.account_id, bucket.region) == (EMPTY, "1234567890", "cn-hangzhou")
    assert abs(datetime.now(UTC) - bucket.create_time) < timedelta(minutes=5)
    assert [one.bucket for one in client.list_vector_buckets()] == ["photos", EMPTY]
    client.delete_vector_bucket(EMPTY)
    with pytest.raises(NoSuchBucket):
        client.get_vector_bucket(EMPTY)


def test_buckets_are_listed_over_all_pages(client: Client) -> None:
    names = [f"many-{number:03}" for number in range(25)]
    for name in names:
        client.put_vector_bucket(name)
    page = client.list_vector_buckets_page("many-", max_keys=10)
    assert [one.bucket for one in page.buckets] == names[:10]
    assert page.next_marker == names[9]
    found = [one.bucket for one in page.buckets]
    while page.next_marker:
        page = client.list_vector_buckets_page("many-", max_keys=10, marker=page.next_marker)
        found += [one.bucket for one in page.buckets]
    assert found == names
    assert [one.bucket for one in client.list_vector_buckets("many-")] == names


def test_more_buckets_than_a_page_holds_are_all_iterated(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    client = connect(start_server(limit={"list_buckets_default": 3}).address)
    names = [f"many-{number}" for number in range(8)]
    for name in names:
        client.put_vector_bucket(name)
    assert [one.bucket for one in client.list_vector_buckets()] == names
    assert len(client.list_vector_buckets_page().buckets) == 3


def test_index_is_made_shown_listed_and_deleted(client: Client) -> None:
    client.put_vector_index(
        "photos",
        "cats",
        dimension=8,
        distance_metric="cosine",
        non_filterable_metadata_keys=["note", "raw"],
    )
    index = client.get_vector_index("photos", "cats")
    assert (index.bucket, index.index_name, index.status) == ("photos", "cats", "enable")
    assert (index.data_type, index.dimension, index.distance_metric) == ("float32", 8, "cosine")
    assert index.non_filterable_metadata_keys == ("note", "raw")
    assert (index.vector_count, index.pending_vector_count) == (0, 0)
    listed = list(client.list_vector_indexes("photos"))
    assert [one.index_name for one in listed] == ["cats", "faces"]
    assert (listed[0].dimension, listed[0].vector_count) == (8, None)
    client.delete_vector_index("photos", "cats")
    with pytest.raises(NoSuchVectorIndex):
        client.get_vector_index("photos", "cats")


def test_index_shows_what_was_asked_of_its_graph(client: Client) -> None:
    client.put_vector_index(
        "photos",
        "cats",
        dimension=8,
        distance_metric="cosine",
        m=24,
        ef_construction=np.int64(300),  # type: ignore[arg-type]  # numpy's numbers do as well
        ef_search=150,
    )
    index = client.get_vector_index("photos", "cats")
    assert (index.m, index.ef_construction, index.ef_search) == (24, 300, 150)
    (listed, plain) = client.list_vector_indexes("photos")
    assert (listed.m, listed.ef_construction, listed.ef_search) == (24, 300, 150)
    assert (plain.m, plain.ef_construction, plain.ef_search) == (None, None, None)


def test_indexes_are_listed_over_all_pages(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    client = connect(start_server(limit={"list_indexes_default": 3}).address)
    client.put_vector_bucket("photos")
    names = [f"many{number}" for number in range(8)]
    for name in [*names, "other"]:
        client.put_vector_index("photos", name, dimension=2, distance_metric="euclidean")
    assert [one.index_name for one in client.list_vector_indexes("photos", "many")] == names
    page = client.list_vector_indexes_page("photos", "many", max_results=5)
    assert [one.index_name for one in page.indexes] == names[:5]
    rest = client.list_vector_indexes_page("photos", "many", next_token=page.next_token)
    assert [one.index_name for one in rest.indexes] == names[5:]
    assert rest.next_token == ""


def test_index_counts_what_it_holds(client: Client) -> None:
    client.put_vectors("photos", "faces", [(str(number), [1.0] * 4) for number in range(7)])
    assert client.get_vector_index("photos", "faces").vector_count == 7


def put_index(name: str = "cats", **changes: Any) -> Callable[[Client], object]:
    """Return a call that makes an index, legal but for what is changed."""
    arguments: dict[str, Any] = {"dimension": 4, "distance_metric": "cosine"} | changes
    return lambda client: client.put_vector_index("photos", name, **arguments)


REFUSALS: dict[str, tuple[Callable[[Client], object], type[VectorBucketError], str]] = {
    "bad bucket name": (
        lambda client: client.put_vector_bucket("My_Bucket"),
        InvalidVectorBucketName,
        "My_Bucket",
    ),
    "existing bucket": (
        lambda client: client.put_vector_bucket("photos"),
        BucketNameNotAvailable,
        "bucket 'photos' exists already",
    ),
    "missing bucket": (
        lambda client: client.get_vector_bucket("nowhere"),
        NoSuchBucket,
        "bucket 'nowhere' does not exist",
    ),
    "bucket that is not empty": (
        lambda client: client.delete_vector_bucket("photos"),
        VectorBucketNotEmpty,
        "still holds indexes",
    ),
    "missing bucket to delete": (
        lambda client: client.delete_vector_bucket("nowhere"),
        NoSuchBucket,
        "nowhere",
    ),
    "too large a page of buckets": (
        lambda client: client.list_vector_buckets_page(max_keys=1001),
        InvalidArgument,
        "max_keys is 1001",
    ),
    "page of buckets past 32 bits": (
        lambda client: client.list_vector_buckets_page(max_keys=2**31),
        InvalidArgument,
        "max_keys is 2147483648",
    ),
    "existing index": (put_index("faces"), VectorBucketIndexAlreadyExist, "'faces' exists already"),
    "bad index name": (put_index("my-index"), VectorIndexParameterInvalid, "my-index"),
    "dimension 0": (put_index(dimension=0), VectorIndexParameterInvalid, "dimension is 0"),
    "dimension 4097": (put_index(dimension=4097), VectorIndexParameterInvalid, "4096"),
    "dimension that is no whole number": (
        put_index(dimension=4.5),
        VectorIndexParameterInvalid,
        "dimension is 4.5",
    ),
    "m of 3": (put_index(m=3), VectorIndexParameterInvalid, "graph.m is 3; it must be 4 to 128"),
    "m of 129": (put_index(m=129), VectorIndexParameterInvalid, "graph.m is 129"),
    "m that is no whole number": (put_index(m="16"), VectorIndexParameterInvalid, "m is '16'"),
    "ef_construction of 7": (
        put_index(ef_construction=7),
        VectorIndexParameterInvalid,
        "graph.ef_construction is 7; it must be 8 to 4096",
    ),
    "ef_search of 0": (
        put_index(ef_search=0),
        VectorIndexParameterInvalid,
        "graph.ef_search is 0; it must be 1 to 10000",
    ),
    "unknown metric": (
        put_index(distance_metric="dot"),
        VectorIndexParameterInvalid,
        "distance_metric is 'dot'",
    ),
    "eleven non-filterable keys": (
        put_index(non_filterable_metadata_keys=[f"key{number}" for number in range(11)]),
        VectorIndexParameterInvalid,
        "11",
    ),
    "non-filterable keys that are one text": (
        put_index(non_filterable_metadata_keys="raw"),
        VectorIndexParameterInvalid,
        "non_filterable_metadata_keys is the text 'raw'",
    ),
    "non-filterable key of 64 characters": (
        put_index(non_filterable_metadata_keys=["k" * 64]),
        VectorIndexParameterInvalid,
        "63",
    ),
    "index in a missing bucket": (
        lambda client: client.put_vector_index(
            "nowhere", "cats", dimension=4, distance_metric="cosine"
        ),
        NoSuchBucket,
        "nowhere",
    ),
    "missing index": (
        lambda client: client.get_vector_index("photos", "cats"),
        NoSuchVectorIndex,
        "index 'cats' does not exist in bucket 'photos'",
    ),
    "missing index to delete": (
        lambda client: client.delete_vector_index("photos", "cats"),
        NoSuchVectorIndex,
        "cats",
    ),
    "indexes of a missing bucket": (
        lambda client: list(client.list_vector_indexes("nowhere")),
        NoSuchBucket,
        "nowhere",
    ),
    "negative page of indexes": (
        lambda client: client.list_vector_indexes_page("photos", max_results=-1),
        VectorIndexParameterInvalid,
        "max_results is -1",
    ),
    "foreign token": (
        lambda client: client.list_vector_indexes_page("photos", next_token="foreign"),  # noqa: S106
        VectorIndexParameterInvalid,
        "next_token",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_bad_input_gets_the_contracts_error(client: Client, case: str) -> None:
    call, leaf, words = REFUSALS[case]
    with pytest.raises(leaf) as caught:
        call(client)
    assert type(caught.value) is leaf
    assert words in caught.value.message


def test_bucket_and_index_past_the_quota_are_refused(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    limits = {"buckets_max": 1, "indexes_per_bucket_max": 1}
    client = connect(start_server(limit=limits).address)
    client.put_vector_bucket("photos")
    with pytest.raises(TooManyBuckets, match="the limit is 1"):
        client.put_vector_bucket("videos")
    client.put_vector_index("photos", "faces", dimension=2, distance_metric="cosine")
    with pytest.raises(VectorBucketIndexExceedLimit, match="the limit is 1"):
        client.put_vector_index("photos", "cats", dimension=2, distance_metric="cosine")


def test_what_only_reads_is_repeated_over_a_broken_connection(
    recorded_server: Server, connect: Callable[..., Client]
) -> None:
    reads: list[Callable[[Client], object]] = [
        lambda client: client.get_vector_bucket("photos"),
        lambda client: list(client.list_vector_buckets()),
        lambda client: client.get_vector_index("photos", "faces"),
        lambda client: list(client.list_vector_indexes("photos")),
    ]
    for read in reads:
        with FaultyProxy(recorded_server.address, Fault(cut_down=60)) as proxy:
            assert read(connect(proxy.address))
        assert len(proxy.connections) == 2
