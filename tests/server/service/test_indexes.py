"""IndexService through a real server."""

from __future__ import annotations

import time

import pytest

from conftest import StartServer
from rpc import BUCKET, COSINE, EUCLIDEAN, INDEX, Stubs, index_request, refused, stubs_of, vector_of
from vectorbucket.v1 import bucket_service_pb2, index_pb2
from vectorbucket.v1 import index_service_pb2 as messages


@pytest.fixture
def with_bucket(stubs: Stubs) -> Stubs:
    stubs.buckets.PutVectorBucket(bucket_service_pb2.PutVectorBucketRequest(bucket=BUCKET))
    return stubs


def make(stubs: Stubs, *names: str) -> None:
    for name in names:
        stubs.indexes.PutVectorIndex(index_request(index_name=name))


def page(
    stubs: Stubs, *, prefix: str = "", token: str = "", max_results: int = 0
) -> messages.ListVectorIndexesResponse:
    request = messages.ListVectorIndexesRequest(
        bucket=BUCKET, prefix=prefix, next_token=token, max_results=max_results
    )
    response: messages.ListVectorIndexesResponse = stubs.indexes.ListVectorIndexes(request)
    return response


def names(response: messages.ListVectorIndexesResponse) -> list[str]:
    return [index.index_name for index in response.indexes]


@pytest.mark.parametrize("metric", [EUCLIDEAN, COSINE])
def test_index_shows_the_definition_it_was_made_with(with_bucket: Stubs, metric: int) -> None:
    before_ms = time.time_ns() // 1_000_000
    with_bucket.indexes.PutVectorIndex(
        index_request(dimension=4096, metric=metric, non_filterable=["blob", "_n"], data_type=1)
    )
    request = messages.GetVectorIndexRequest(bucket=BUCKET, index_name=INDEX)
    response = with_bucket.indexes.GetVectorIndex(request)
    index = response.index
    assert (index.bucket, index.index_name, index.dimension) == (BUCKET, INDEX, 4096)
    assert index.distance_metric == metric
    assert index.data_type == index_pb2.DATA_TYPE_FLOAT32
    assert index.status == index_pb2.INDEX_STATUS_ENABLE
    assert list(index.metadata.non_filterable_metadata_keys) == ["blob", "_n"]
    assert before_ms <= index.create_time.ToMilliseconds() <= time.time_ns() // 1_000_000
    assert (response.vector_count, response.pending_vector_count) == (0, 0)
    assert list(page(with_bucket).indexes) == [index]


def test_index_shows_the_graph_that_was_asked_for(with_bucket: Stubs) -> None:
    request = index_request()
    request.graph.m = 24
    request.graph.ef_search = 150
    with_bucket.indexes.PutVectorIndex(request)
    (index,) = page(with_bucket).indexes
    assert index.graph == index_pb2.GraphConfiguration(m=24, ef_search=150)
    assert not index.graph.HasField("ef_construction")


def test_vectors_are_counted_as_they_come_and_go(stubs: Stubs) -> None:
    stubs.make_index()
    stubs.put(vector_of("a"), vector_of("b"))
    assert stubs.count() == 2
    stubs.put(vector_of("b"), vector_of("c"))
    assert stubs.count() == 3


def test_deleted_index_is_gone_with_its_vectors(stubs: Stubs) -> None:
    stubs.make_index()
    stubs.put(vector_of("a"))
    request = messages.DeleteVectorIndexRequest(bucket=BUCKET, index_name=INDEX)
    stubs.indexes.DeleteVectorIndex(request)
    assert refused(stubs.count).reason == "ERROR_REASON_NO_SUCH_VECTOR_INDEX"
    assert refused(lambda: stubs.indexes.DeleteVectorIndex(request)).facts == {
        "code": "NoSuchVectorIndex",
        "bucket": BUCKET,
        "index_name": INDEX,
    }
    stubs.indexes.PutVectorIndex(index_request(dimension=7))
    assert stubs.count() == 0


def test_no_indexes_are_an_empty_page(with_bucket: Stubs) -> None:
    assert page(with_bucket) == messages.ListVectorIndexesResponse()


def test_eleven_indexes_are_three_pages_of_five(with_bucket: Stubs) -> None:
    made = [f"index{number}" for number in range(11)]
    make(with_bucket, *made)
    sizes, listed, token = list[int](), list[str](), ""
    while token or not sizes:
        response = page(with_bucket, token=token, max_results=5)
        listed += names(response)
        sizes.append(len(response.indexes))
        token = response.next_token
    assert sizes == [5, 5, 1]
    assert listed == sorted(made)


def test_token_stays_good_when_its_index_is_gone(with_bucket: Stubs) -> None:
    make(with_bucket, "aa", "bb", "cc")
    token = page(with_bucket, max_results=2).next_token
    request = messages.DeleteVectorIndexRequest(bucket=BUCKET, index_name="bb")
    with_bucket.indexes.DeleteVectorIndex(request)
    assert names(page(with_bucket, token=token)) == ["cc"]


def test_prefix_narrows_and_binds_the_token(with_bucket: Stubs) -> None:
    make(with_bucket, "py1", "py2", "go1")
    response = page(with_bucket, prefix="py", max_results=1)
    assert names(response) == ["py1"]
    assert names(page(with_bucket, prefix="py", token=response.next_token)) == ["py2"]
    refusal = refused(lambda: page(with_bucket, token=response.next_token))
    assert refusal.field == "next_token"


def test_missing_bucket_is_told_before_a_bad_page(stubs: Stubs) -> None:
    refusal = refused(lambda: page(stubs, max_results=-1))
    assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET"


def test_unlimited_profile_takes_longer_lists_and_freer_names(start_server: StartServer) -> None:
    with stubs_of(start_server(limits="unlimited").address) as stubs:
        stubs.buckets.PutVectorBucket(bucket_service_pb2.PutVectorBucketRequest(bucket=BUCKET))
        make(stubs, "with-hyphen", "with_underscore.and.dot")
        names_of_fields = [f"field{number}" for number in range(11)]
        stubs.indexes.PutVectorIndex(index_request(non_filterable=names_of_fields))
        assert names(page(stubs)) == [INDEX, "with-hyphen", "with_underscore.and.dot"]
        refusal = refused(lambda: make(stubs, "-edge"))
        assert refusal.field == "index_name"
