"""The table of operations, and how a request finds its row."""

from __future__ import annotations

import pytest

from vectorbucket.errors import (
    InvalidArgument,
    InvalidVectorBucketName,
    MethodNotAllowed,
    VectorBucketError,
)
from vectorbucket.v1 import bucket_service_pb2, index_service_pb2, vector_service_pb2
from vectorbucket_server.rest.oss.errors import ALLOWED
from vectorbucket_server.rest.oss.routes import REFUSED, ROUTES, UNSUPPORTED, Route, route_of

SERVICES = {
    "buckets": bucket_service_pb2.DESCRIPTOR.services_by_name["BucketService"],
    "indexes": index_service_pb2.DESCRIPTOR.services_by_name["IndexService"],
    "vectors": vector_service_pb2.DESCRIPTOR.services_by_name["VectorService"],
}

NOT_IN_THE_DIALECT = {"PutVectors", "ScanVectors", "QueryVectorsBatch"}
"""RPCs that OSS has no operation for; PutVectors is a stream, and its operation uses the other."""


@pytest.mark.parametrize("route", [*ROUTES, *REFUSED], ids=lambda route: route.operation)
def test_a_route_calls_an_rpc_with_its_own_message(route: Route) -> None:
    rpc = SERVICES[route.service].methods_by_name[route.rpc]
    assert rpc.input_type is route.conversion.message.DESCRIPTOR
    assert not rpc.client_streaming
    assert not rpc.server_streaming


def test_every_rpc_is_reached_or_is_not_in_the_dialect() -> None:
    rpcs = {name for service in SERVICES.values() for name in service.methods_by_name}
    assert rpcs - {route.rpc for route in ROUTES} == NOT_IN_THE_DIALECT
    assert len({route.operation for route in ROUTES}) == len(ROUTES) == 19


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_what_deletes_has_nothing_to_say(route: Route) -> None:
    assert (route.status == 204) == route.operation.startswith("Delete")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_a_request_finds_its_row(route: Route) -> None:
    names = [route.flag] if route.flag else []
    assert route_of(route.method, names, bucket=route.on_bucket) is route
    assert route_of(route.method, [*names, "x-oss-date"], bucket=route.on_bucket) is route


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_a_row_is_printed_as_a_line(route: Route) -> None:
    line = str(route)
    assert line.startswith(route.operation)
    assert line.endswith(f"{route.rpc:18} {route.status}")
    assert f"{route.method} /" in line
    assert "\n" not in route.differences


@pytest.mark.parametrize(
    ("method", "names", "bucket", "error"),
    [
        ("POST", ["acl"], True, InvalidArgument),
        ("PUT", ["acl"], True, InvalidArgument),
        ("DELETE", ["prefix"], True, InvalidArgument),
        ("POST", ["putVectors", "encoding-type"], True, InvalidArgument),
        ("POST", ["putVectors", "getVectors"], True, InvalidArgument),
        ("POST", ["putVectors", "putVectors"], True, InvalidArgument),
        ("POST", ["putVectors", "queryVectorsFusion"], True, InvalidArgument),
        ("GET", ["prefix", "prefix"], False, InvalidArgument),
        ("GET", ["prefix", "delimiter"], False, InvalidArgument),
        ("GET", [""], False, InvalidArgument),
        ("POST", ["PUTVECTORS"], True, InvalidArgument),
        ("GET", ["bucketInfo", "prefix"], True, InvalidArgument),
        ("GET", ["putVectors"], True, MethodNotAllowed),
        ("POST", ["bucketInfo"], True, MethodNotAllowed),
        ("POST", ["policy"], True, MethodNotAllowed),
        ("HEAD", ["bucketInfo"], True, MethodNotAllowed),
        ("HEAD", [], True, MethodNotAllowed),
        ("GET", [], True, MethodNotAllowed),
        ("POST", [], True, MethodNotAllowed),
        ("POST", [], False, MethodNotAllowed),
        ("get", [], False, MethodNotAllowed),
        ("GET", ["queryVectorsFusion"], True, MethodNotAllowed),
        ("PUT", [], False, InvalidVectorBucketName),
        ("DELETE", [], False, InvalidVectorBucketName),
        ("POST", ["putVectors"], False, InvalidVectorBucketName),
        ("GET", ["bucketInfo"], False, InvalidVectorBucketName),
        ("POST", ["queryVectorsFusion"], False, InvalidVectorBucketName),
        ("POST", ["queryVectorsFusion", "topK"], True, InvalidArgument),
    ],
)
def test_what_is_no_operation_is_refused(
    method: str,
    names: list[str],
    *,
    bucket: bool,
    error: type[VectorBucketError],
) -> None:
    with pytest.raises(VectorBucketError) as caught:
        route_of(method, names, bucket=bucket)
    assert type(caught.value) is error


def test_no_refusal_repeats_at_length_what_was_asked() -> None:
    for names in (["x" * 10_000], ["putVectors"] * 1_000, ["y" * 10_000, "putVectors"]):
        with pytest.raises(InvalidArgument) as caught:
            route_of("M" * 10_000, names, bucket=True)
        assert len(caught.value.message) < 300
    with pytest.raises(MethodNotAllowed) as refused:
        route_of("M" * 10_000, [], bucket=True)
    assert len(refused.value.message) < 300


@pytest.mark.parametrize(
    ("method", "flag", "bucket", "allowed"),
    [
        ("POST", "policy", True, "DELETE, GET, PUT"),
        ("GET", "putVectors", True, "POST"),
        ("HEAD", "bucketInfo", True, "GET"),
        ("PUT", "queryVectorsFusion", True, "POST"),
        ("GET", "putVectors", False, "POST"),
        ("GET", "", True, "DELETE, PUT"),
        ("PATCH", "", False, "GET"),
    ],
)
def test_a_method_that_is_not_allowed_is_told_with_those_that_are(
    method: str, flag: str, *, bucket: bool, allowed: str
) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        route_of(method, [flag] if flag else [], bucket=bucket)
    assert caught.value.details == {ALLOWED: allowed}
    assert caught.value.message.endswith(f"it can by {allowed}")


def test_unsupported_operations_go_the_way_of_their_nearest() -> None:
    assert dict(UNSUPPORTED) == {
        "putVectorIndexFusion": "PutVectorIndexFusion",
        "queryVectorsFusion": "QueryVectorsFusion",
    }
    rpcs = [route_of("POST", [flag], bucket=True).rpc for flag in UNSUPPORTED]
    assert rpcs == ["PutVectorIndex", "QueryVectors"]
