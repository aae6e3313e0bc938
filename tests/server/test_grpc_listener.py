"""The gRPC listener: the standard services beside ours, and what it bounds for all of them."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from conftest import StartServer
from policy_cases import hash_of
from rpc import (
    WAIT_S,
    Stubs,
    bearer,
    query_request,
    refused,
    saying,
    stubs_of,
    vector_of,
)
from vectorbucket_server.app import Server
from vectorbucket_server.grpc_listener import (
    CONNECTION_CALLS_MAX,
    METADATA_BYTES_MAX,
    SERVICES,
)

LogLines = Callable[[], list[dict[str, Any]]]
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"
HEALTH = "grpc.health.v1.Health"

SETTINGS_FRAME, MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE = 4, 3, 6
"""Numbers of HTTP/2. Source: RFC 9113, sections 6.5 and 6.5.2."""


# --- Reflection -----------------------------------------------------------------------------------


def test_services_are_listed(stubs: Stubs) -> None:
    services = ProtoReflectionDescriptorDatabase(stubs.channel).get_services()
    assert sorted(services) == sorted([*SERVICES, HEALTH, REFLECTION])
    assert set(SERVICES) >= {
        f"vectorbucket.v1.{one}Service" for one in ("Bucket", "Index", "Vector", "Operations")
    }


def test_stranger_to_the_contract_finds_a_method_and_calls_it(stubs: Stubs) -> None:
    stubs.make_index()
    stubs.put(vector_of("near", [1, 2, 3, 4]), vector_of("far", [9, 9, 9, 9]))
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(stubs.channel))
    service = pool.FindServiceByName("vectorbucket.v1.VectorService")
    method = service.FindMethodByName("QueryVectors")
    request: Any = GetMessageClass(method.input_type)(
        bucket="photos", index_name="faces", top_k=1, return_distance=True
    )
    request.query_vector.float32.extend([1, 2, 3, 4])
    call: Any = stubs.channel.unary_unary(
        f"/{service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    (hit,) = call(request, timeout=WAIT_S).vectors
    assert (hit.key, hit.distance) == ("near", 0.0)
    # The types of other packages are told, too.
    assert pool.FindMessageTypeByName("google.rpc.Status").fields_by_name["code"].number == 1
    assert pool.FindServiceByName(HEALTH).methods_by_name["Check"].name == "Check"


def test_what_reflection_does_not_know_is_not_found(stubs: Stubs) -> None:
    database = ProtoReflectionDescriptorDatabase(stubs.channel)
    for look in (database.FindFileByName, database.FindFileContainingSymbol):
        with pytest.raises(KeyError):
            look("nothing.Here")


def test_reflection_asks_for_credentials(
    start_server: StartServer, tmp_path: Path, log_lines: LogLines
) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(
        f'[[credential]]\nname = "guest"\naccount_id = "1"\napi_keys = ["{hash_of("of-guest")}"]\n'
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="*")
    with stubs_of(start_server(credentials=path).address) as stubs:
        reflect: Any = reflection_pb2_grpc.ServerReflectionStub(stubs.channel).ServerReflectionInfo
        refusal = refused(lambda: list(reflect(iter([request]))))
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        (answer,) = reflect(iter([request]), metadata=[bearer("of-guest")])
        assert len(answer.list_services_response.service) == len(SERVICES) + 2
        assert (
            refused(
                lambda: saying(stubs, bearer("of-guest")).vectors.QueryVectors(query_request())
            ).code
            is grpc.StatusCode.PERMISSION_DENIED
        )
    lines = [line for line in log_lines() if line.get("method") == "ServerReflectionInfo"]
    assert [line["code"] for line in lines] == ["UNAUTHENTICATED", "OK"]


def test_both_services_can_be_left_out(start_server: StartServer) -> None:
    with stubs_of(start_server(reflection=False).address) as stubs:
        reflect: Any = reflection_pb2_grpc.ServerReflectionStub(stubs.channel).ServerReflectionInfo
        request = reflection_pb2.ServerReflectionRequest(list_services="*")
        assert refused(lambda: list(reflect(iter([request])))).reason.endswith("METHOD_NOT_ALLOWED")
    with stubs_of(start_server(health=False).address) as stubs:
        assert HEALTH not in ProtoReflectionDescriptorDatabase(stubs.channel).get_services()


def test_reflection_that_is_kept_open_does_not_keep_the_server(start_server: StartServer) -> None:
    server = start_server(drain_grace_s=600)
    with stubs_of(server.address) as stubs:
        reflect: Any = reflection_pb2_grpc.ServerReflectionStub(stubs.channel).ServerReflectionInfo
        requests: SimpleQueue[Any] = SimpleQueue()
        answers = reflect(iter(requests.get, None))
        requests.put(reflection_pb2.ServerReflectionRequest(list_services="*"))
        assert next(answers).HasField("list_services_response")
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert refused(lambda: next(answers)).reason == "ERROR_REASON_SERVICE_UNAVAILABLE"
        stopping.join(WAIT_S)
        assert not stopping.is_alive()
        requests.put(None)


# --- Bounds ---------------------------------------------------------------------------------------


def test_metadata_of_a_call_is_bounded(stubs: Stubs) -> None:
    stubs.make_index()

    def call(size: int) -> object:
        said = saying(stubs, ("x-anything", "x" * size))
        return said.vectors.QueryVectors(query_request(), timeout=WAIT_S)

    call(METADATA_BYTES_MAX // 2)
    with pytest.raises(grpc.RpcError) as caught:
        call(2 * METADATA_BYTES_MAX)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def http2_settings(address: str) -> dict[int, int]:
    """Return what a server says first on a connection: its HTTP/2 settings by number."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), WAIT_S) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
        with connection.makefile("rb") as stream:
            head = stream.read(9)
            assert head[3] == SETTINGS_FRAME
            body = stream.read(int.from_bytes(head[:3], "big"))
    return dict(struct.iter_unpack(">HI", body))


def test_calls_of_one_connection_are_bounded(server: Server) -> None:
    settings = http2_settings(server.address)
    assert settings[MAX_CONCURRENT_STREAMS] == CONNECTION_CALLS_MAX
    assert settings[MAX_HEADER_LIST_SIZE] == 2 * METADATA_BYTES_MAX
