"""Limits of requests: right at them passes, one beyond is refused with value and limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rpc import filter_struct
from vectorbucket.errors import (
    InvalidArgument,
    InvalidPolicyDocument,
    MalformedJson,
    VectorIndexParameterInvalid,
)
from vectorbucket.limits import OSS, UNLIMITED, Limits
from vectorbucket.v1 import index_pb2, vector_pb2, vector_service_pb2
from vectorbucket_server.model import DistanceMetric, GraphOptions, Segment
from vectorbucket_server.service import checks


def graph(**fields: int) -> GraphOptions:
    """Return what a new index may ask of its graph, if it asks for this."""
    return checks.check_graph(index_pb2.GraphConfiguration(**fields), OSS)


def breadth(value: int, limits: Limits = OSS) -> int | None:
    """Return the breadth of search that a query may ask for, if it asks for this."""
    request = vector_service_pb2.QueryVectorsRequest(ef_search=value)
    return checks.check_ef_search(request, limits)


@pytest.mark.parametrize(
    ("check", "legal", "illegal"),
    [
        (lambda n: checks.check_count("keys", n, 100), [1, 2, 100], [-1, 0, 101]),
        (lambda n: checks.check_dimension(n, OSS), [1, 384, 4096], [-1, 0, 4097, 2**31 - 1]),
        (lambda n: checks.check_top_k(n, OSS), [1, 100], [-5, 0, 101]),
        (lambda n: checks.check_top_k(n, Limits(top_k_max=500)), [101, 500], [501]),
        (lambda n: checks.check_top_k(n, UNLIMITED), [501, 1_000_000], [0]),
        (lambda n: checks.check_query_hits(n, 100, OSS), [1, 1000], [1001]),
        (lambda n: graph(m=n), [4, 16, 128], [-1, 0, 3, 129, 2**31 - 1]),
        (lambda n: graph(ef_construction=n), [8, 200, 4096], [-1, 0, 7, 4097]),
        (lambda n: graph(ef_search=n), [1, 64, 10_000], [-1, 0, 10_001]),
        (breadth, [1, 64, 10_000], [-1, 0, 10_001]),
        (lambda n: breadth(n, Limits(ef_search_max=500)), [500], [501]),
        (checks.check_data_type, [0, 1], [2, -1]),
        (checks.check_data_encoding, [0, 1, 2], [3, -1]),
        (checks.check_metric, [1, 2], [0, 3, -1]),
        (lambda n: checks.check_segment(n, 0, OSS), [0, 1, 16], [-1, 17]),
        (lambda n: checks.check_segment(4, n, OSS), [0, 3], [-1, 4]),
        (lambda n: checks.check_segment(0, n, OSS), [0], [-1, 1]),
    ],
)
def test_value_is_legal_up_to_its_limit(
    check: Callable[[Any], object], legal: list[int], illegal: list[int]
) -> None:
    for value in legal:
        check(value)
    for value in illegal:
        with pytest.raises(VectorIndexParameterInvalid) as caught:
            check(value)
        assert caught.value.field
        assert caught.value.field.split(".")[0] in caught.value.message
        assert "value" in caught.value.details


def test_refusal_names_field_value_and_limit() -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        checks.check_dimension(5000, OSS)
    assert caught.value.message == "dimension is 5000; it must be 1 to 4096"
    assert caught.value.field == "dimension"
    assert caught.value.details == {"value": "5000", "limit": "4096"}


@pytest.mark.parametrize(("value", "bound"), [(3, "4"), (129, "128")])
def test_refusal_of_a_graph_names_its_place_and_the_bound_that_it_breaks(
    value: int, bound: str
) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        graph(m=value)
    assert caught.value.message == f"graph.m is {value}; it must be 4 to 128"
    assert caught.value.field == "graph.m"
    assert caught.value.details == {"value": str(value), "limit": bound}


def test_what_is_not_said_of_a_graph_stays_open() -> None:
    assert graph() == GraphOptions()
    assert graph(m=24) == GraphOptions(m=24)
    assert graph(ef_construction=300, ef_search=90) == GraphOptions(None, 300, 90)


@pytest.mark.parametrize(
    "request_of",
    [vector_service_pb2.QueryVectorsRequest, vector_service_pb2.QueryVectorsBatchRequest],
)
def test_query_that_names_no_breadth_leaves_it_to_the_index(request_of: type[Any]) -> None:
    assert checks.check_ef_search(request_of(), OSS) is None
    assert checks.check_ef_search(request_of(ef_search=7), OSS) == 7


def test_refusal_leaves_out_what_is_not_known() -> None:
    error = checks.refused("field", "no good", error=InvalidArgument)
    assert isinstance(error, InvalidArgument)
    assert error.details == {}


@pytest.mark.parametrize(("asked", "got"), [(0, 500), (1, 1), (1000, 1000)])
def test_page_size_of_zero_means_the_default(asked: int, got: int) -> None:
    assert checks.check_page_size("max_results", asked, default=500, maximum=1000) == got


@pytest.mark.parametrize("asked", [-1, 1001])
def test_page_size_out_of_range_is_refused(asked: int) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match=f"max_results is {asked}"):
        checks.check_page_size("max_results", asked, default=500, maximum=1000)


def test_page_of_buckets_concerns_no_index() -> None:
    assert checks.check_bucket_page_size(0, OSS) == OSS.list_buckets_default
    with pytest.raises(InvalidArgument, match="max_keys is 1001"):
        checks.check_bucket_page_size(1001, OSS)


def test_no_segments_means_one() -> None:
    assert checks.check_segment(0, 0, OSS) == Segment(0, 1)
    assert checks.check_segment(4, 3, OSS) == Segment(3, 4)


def test_known_metrics_are_translated() -> None:
    assert checks.check_metric(index_pb2.DISTANCE_METRIC_COSINE) is DistanceMetric.COSINE
    assert checks.check_metric(index_pb2.DISTANCE_METRIC_EUCLIDEAN) is DistanceMetric.EUCLIDEAN


def test_missing_metric_is_named_as_the_contract_does() -> None:
    with pytest.raises(VectorIndexParameterInvalid, match="DISTANCE_METRIC_UNSPECIFIED"):
        checks.check_metric(index_pb2.DISTANCE_METRIC_UNSPECIFIED)


def test_non_filterable_names_are_returned_in_their_order() -> None:
    names = ["b", "a", "_c"]
    configuration = index_pb2.MetadataConfiguration(non_filterable_metadata_keys=names)
    assert checks.check_non_filterable(configuration, OSS) == tuple(names)
    assert checks.check_non_filterable(index_pb2.MetadataConfiguration(), OSS) == ()


@pytest.mark.parametrize(
    "raw",
    [
        {"a": {"$in": ["1"] * 1024}},
        {"a": {"$in": [1.0] * 1024}},
        {"a": {"$in": [True] * 1024}},
        {"a": {"$in": ["x" * 63] * 960}},
        {"$or": [{"$and": [{"a": 1.0}]}] * 500},
    ],
)
def test_no_legal_filter_is_too_large_on_the_wire(raw: dict[str, Any]) -> None:
    # Small values grow most: each is a message of its own in a Struct.
    checks.check_filter_size(filter_struct(raw), OSS)


def test_filter_far_over_its_limit_is_refused_unread() -> None:
    struct = filter_struct({"a": "x" * (33 * OSS.filter_bytes_max)})
    with pytest.raises(VectorIndexParameterInvalid, match="65536") as caught:
        checks.check_filter_size(struct, OSS)
    assert caught.value.field == "filter"


def test_every_encoding_of_the_contract_can_be_answered() -> None:
    for number in vector_pb2.DataEncoding.values():
        checks.check_data_encoding(number)


def test_policy_is_measured_in_bytes_and_parsed() -> None:
    policy = (
        '{"Version":"1","Statement":[{"Effect":"Allow","Principal":["*"],'
        '"Action":["oss:*"],"Resource":["*"]}]}'
    )
    limits = Limits(bucket_policy_bytes_max=len(policy))
    checks.check_policy(policy, limits)
    with pytest.raises(InvalidPolicyDocument) as caught:
        checks.check_policy(policy + " ", limits)
    assert caught.value.details == {"value": str(len(policy) + 1), "limit": str(len(policy))}
    with pytest.raises(InvalidPolicyDocument):
        checks.check_policy("ü" * len(policy), limits)
    with pytest.raises(MalformedJson):
        checks.check_policy("ü", limits)
