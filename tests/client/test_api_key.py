"""The key goes with every call of every shape, and is shown nowhere."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
import numpy as np
import pytest

from vectorbucket import BucketLogging, Client, InvalidAccessKeyId, RetryPolicy
from vectorbucket_server.app import Server

Connect = Callable[..., Client]

KEY = "vbk_" + "0aZ-_" * 8


class Doorkeeper(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Lets nobody in, and notes who came how.

    Attributes:
        came: The call's method and its authorization entries, in the order of arrival.
    """

    def __init__(self) -> None:
        self.came: list[tuple[str, list[str | bytes]]] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Note a call and answer it, whatever its shape, with UNAUTHENTICATED."""
        sent = handler_call_details.invocation_metadata or ()
        method = handler_call_details.method.rpartition("/")[2]
        self.came.append((method, [value for name, value in sent if name == "authorization"]))

        def refuse(_requests: Any, context: grpc.ServicerContext) -> NoReturn:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

        return grpc.stream_stream_rpc_method_handler(refuse)


@pytest.fixture(name="doorkeeper")
def fixture_doorkeeper() -> Doorkeeper:
    """Return the doorkeeper of ``address``."""
    return Doorkeeper()


@pytest.fixture(name="address")
def fixture_address(doorkeeper: Doorkeeper) -> Iterator[str]:
    """Yield the address of a server that lets nobody in."""
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((doorkeeper,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


ROW = np.ones(3, np.float32)

CALLS: dict[str, Callable[[Client], object]] = {
    "PutVectorBucket": lambda client: client.put_vector_bucket("photos"),
    "GetVectorBucket": lambda client: client.get_vector_bucket("photos"),
    "ListVectorBuckets": lambda client: list(client.list_vector_buckets()),
    "DeleteVectorBucket": lambda client: client.delete_vector_bucket("photos"),
    "PutBucketPolicy": lambda client: client.put_bucket_policy("photos", "{}"),
    "GetBucketPolicy": lambda client: client.get_bucket_policy("photos"),
    "DeleteBucketPolicy": lambda client: client.delete_bucket_policy("photos"),
    "PutBucketLogging": lambda client: client.put_bucket_logging("photos", BucketLogging("logs")),
    "GetBucketLogging": lambda client: client.get_bucket_logging("photos"),
    "DeleteBucketLogging": lambda client: client.delete_bucket_logging("photos"),
    "PutVectorIndex": lambda client: client.put_vector_index(
        "photos", "faces", dimension=3, distance_metric="cosine"
    ),
    "GetVectorIndex": lambda client: client.get_vector_index("photos", "faces"),
    "ListVectorIndexes": lambda client: list(client.list_vector_indexes("photos")),
    "DeleteVectorIndex": lambda client: client.delete_vector_index("photos", "faces"),
    "PutVectors": lambda client: client.put_vectors("photos", "faces", [("a", ROW)]),
    "PutVectorsBatch": lambda client: client.put_vectors_batch("photos", "faces", [("a", ROW)]),
    "GetVectors": lambda client: client.get_vectors("photos", "faces", ["a"]),
    "ListVectors": lambda client: list(client.list_vectors("photos", "faces")),
    "ScanVectors": lambda client: list(client.scan_vectors("photos", "faces")),
    "DeleteVectors": lambda client: client.delete_vectors("photos", "faces", ["a"]),
    "QueryVectors": lambda client: client.query_vectors("photos", "faces", ROW, top_k=1),
    "QueryVectorsBatch": lambda client: list(
        client.query_vectors_batch("photos", "faces", ROW[None], top_k=1)
    ),
}
"""A call of every operation of the contract."""


def test_every_operation_of_the_contract_is_called(connect: Connect) -> None:
    client = connect("127.0.0.1:1")
    stubs = (client._buckets, client._indexes, client._vectors)
    assert set(CALLS) == {name for stub in stubs for name in vars(stub)}


@pytest.mark.parametrize("rpc", CALLS)
def test_key_goes_with_every_call(
    rpc: str, connect: Connect, address: str, doorkeeper: Doorkeeper
) -> None:
    with pytest.raises(InvalidAccessKeyId, match="who are you") as raised:
        CALLS[rpc](connect(address, api_key=KEY))
    assert doorkeeper.came == [(rpc, [f"Bearer {KEY}"])], "once, and not tried again"
    assert KEY not in "".join(traceback.format_exception(raised.value))


def test_client_without_a_key_sends_none(
    connect: Connect, address: str, doorkeeper: Doorkeeper
) -> None:
    with pytest.raises(InvalidAccessKeyId):
        connect(address).get_vector_bucket("photos")
    assert doorkeeper.came == [("GetVectorBucket", [])]


def test_calls_with_a_key_end_as_calls_without_one(server: Server, connect: Connect) -> None:
    client = connect(server.address, api_key=KEY)
    client.put_vector_bucket("photos")
    client.put_vector_index("photos", "faces", dimension=3, distance_metric="cosine")
    assert client.put_vectors("photos", "faces", [("a", ROW), ("b", -ROW)]).stored == 2
    assert [hit.key for hit in client.query_vectors("photos", "faces", ROW, top_k=2)] == ["a", "b"]
    assert [one.key for one in client.scan_vectors("photos", "faces")] == ["a", "b"]
    client.close()
    with pytest.raises(ValueError, match="closed channel"):
        client.get_vector_bucket("photos")


def test_stream_with_a_key_can_be_given_up(connect: Connect, server: Server) -> None:
    client = connect(server.address, api_key=KEY)
    client.put_vector_bucket("photos")
    client.put_vector_index("photos", "faces", dimension=3, distance_metric="cosine")
    client.put_vectors("photos", "faces", [(f"k{number}", ROW) for number in range(10)])
    scanned: Any = client.scan_vectors("photos", "faces")
    next(scanned)
    scanned.close()


@pytest.mark.parametrize("key", ["a", KEY, "!~", "x" * 500, "sk:+/=.,;%\"'\\"])
def test_key_of_visible_ascii_is_taken(key: str) -> None:
    Client("127.0.0.1:1", api_key=key).close()


@pytest.mark.parametrize(
    "secret",
    ["", "secret key", "secret\n", "\tsecret", "secr\0et", "sécret", "🜁secret", "secret\x7f"],
)
def test_key_that_cannot_be_sent_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="api_key cannot be sent") as raised:
        Client("127.0.0.1:1", api_key=secret)
    assert "secret" not in str(raised.value)
    assert not secret or secret not in str(raised.value)


def test_key_is_shown_by_no_representation(connect: Connect) -> None:
    client = connect("127.0.0.1:1", api_key=KEY, retry=RetryPolicy())
    stub_methods = vars(client._buckets), vars(client._vectors)
    shown = [repr(client), str(client), repr(vars(client)), repr(stub_methods)]
    assert [text for text in shown if KEY in text] == []
