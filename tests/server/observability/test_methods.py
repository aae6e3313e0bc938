"""The methods of a server: all of the contract's, whether they stream, and a name for the rest."""

from __future__ import annotations

import pytest

from rpc_calls import CALLS
from vectorbucket_server.observability.methods import METHODS, UNKNOWN, label_of


def test_every_call_of_the_contract_is_known_with_its_service() -> None:
    assert set(CALLS) <= set(METHODS)
    assert METHODS["QueryVectors"].service == "vectorbucket.v1.VectorService"
    assert METHODS["PutVectorBucket"].service == "vectorbucket.v1.BucketService"
    assert METHODS["GetMetrics"].service == "vectorbucket.v1.OperationsService"
    assert METHODS["Check"].service == "grpc.health.v1.Health"


def test_methods_that_stream_are_those_with_more_than_one_message() -> None:
    streams = {name for name, method in METHODS.items() if method.streams}
    ours = {"PutVectors", "ScanVectors", "QueryVectorsBatch"}
    assert streams == ours | {"Watch", "ServerReflectionInfo"}


def test_method_that_is_none_has_one_name_however_it_is_called() -> None:
    assert {label_of(name) for name in ("", "putvectors", "x" * 1000, "Method7")} == {UNKNOWN}


@pytest.mark.parametrize("name", ["QueryVectors", "Watch"])
def test_method_that_is_known_keeps_its_name(name: str) -> None:
    assert label_of(name) == name
