"""The HTTP side as a whole: before a real server, which may be away, and up and down again."""

from __future__ import annotations

import io
import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import pytest

from conftest import StartServer
from raw_http import RawAnswer, Serving, chunked, request, served_by
from rooms import WITHIN_S, eventually
from stubborn import SlowEngine
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.rest.oss.translator import Door
from vectorbucket_server.rest.serve import channel_options, serve_rest

HOST = "photos-1234567890.vectors.local"
OPTIONS = RestOptions(drain_grace_s=0.5)

Rest = Callable[..., Serving]


def rest_before(target: str, options: RestOptions) -> AbstractContextManager[Serving]:
    """Serve HTTP before a gRPC target."""
    log = make_logger("json", "debug", io.StringIO())
    return served_by(
        lambda listening, on_ready, stop: serve_rest(
            listening,
            grpc_target=target,
            door=Door("cn-hangzhou", "1234567890"),
            options=options,
            credentials=None,
            api_key="",
            now_s=time.time,
            new_request_id=lambda: secrets.token_hex(12).upper(),
            on_ready=on_ready,
            stop=stop,
            log=log,
        )
    )


@pytest.fixture
def rest() -> Iterator[Rest]:
    """Serve HTTP before a gRPC target until the end of the test."""
    with ExitStack() as stack:
        yield lambda target, options=OPTIONS: stack.enter_context(rest_before(target, options))


def call(flag: str, value: Any, host: str = HOST) -> bytes:
    """Return the request of an operation, as the SDKs write it."""
    body = json.dumps(value).encode()
    return request(f"POST /?{flag}= HTTP/1.1", body, "content-type: application/json", host=host)


def put(count: int, dimension: int = 4) -> bytes:
    """Return the request that puts so many vectors."""
    vectors = [
        {"key": f"key-{number}", "data": {"float32": [number + 0.123456789] * dimension}}
        for number in range(count)
    ]
    return call("putVectors", {"indexName": "faces", "vectors": vectors})


QUERY = call(
    "queryVectors",
    {
        "indexName": "faces",
        "queryVector": {"float32": [0.0] * 4},
        "topK": 2,
        "returnDistance": True,
    },
)


def make_index(served: Serving, dimension: int = 4) -> None:
    """Make a bucket and an index in it."""
    with served.connect() as connection:
        assert connection.ask(request("PUT / HTTP/1.1", host=HOST)).status == 200
        index = {
            "indexName": "faces",
            "dataType": "float32",
            "dimension": dimension,
            "distanceMetric": "euclidean",
        }
        answer = connection.ask(call("putVectorIndex", index))
        assert (answer.status, answer.body) == (200, b"")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def assert_away(answer: RawAnswer) -> None:
    """Check that an answer says that the server is away, and to come again."""
    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    assert int(answer.header("retry-after")) > 0
    assert answer.header("date")
    assert len(answer.header("x-oss-request-id")) == 24


# --- A server that is there ---------------------------------------------------------------------


def test_vectors_are_put_and_found(start_server: StartServer, rest: Rest) -> None:
    served = rest(start_server().address)
    make_index(served)
    with served.connect() as connection:
        assert connection.ask(put(3)).status == 200
        answer = connection.ask(QUERY)
        assert (answer.status, answer.reason) == (200, "OK")
        assert answer.header("content-type") == "application/json"
        assert [one["key"] for one in answer.json()["vectors"]] == ["key-0", "key-1"]
        gone = connection.ask(call("deleteVectors", {"indexName": "faces", "keys": ["key-0"]}))
        assert (gone.status, gone.reason, gone.body) == (204, "No Content", b"")
        assert [one["key"] for one in connection.ask(QUERY).json()["vectors"]] == ["key-1", "key-2"]


@pytest.mark.parametrize("absolute", [False, True])
def test_bucket_is_named_by_the_effective_host(
    start_server: StartServer, rest: Rest, *, absolute: bool
) -> None:
    served = rest(start_server().address)
    make_index(served)
    target, host = (f"http://{HOST}/", "127.0.0.1") if absolute else ("/", HOST)
    answer = served.ask(request(f"GET {target}?bucketInfo HTTP/1.1", host=host))
    assert answer.json()["BucketInfo"]["Name"].endswith(":1234567890:photos")


def test_bucket_may_be_named_by_the_path(start_server: StartServer, rest: Rest) -> None:
    served = rest(start_server().address)
    make_index(served)
    answer = served.ask(request("POST /photos/?listVectorIndexes HTTP/1.1", host="127.0.0.1"))
    assert [one["indexName"] for one in answer.json()["indexes"]] == ["faces"]


def test_empty_body_may_come_in_chunks(start_server: StartServer, rest: Rest) -> None:
    served = rest(start_server().address)
    chunks = "transfer-encoding: chunked"
    answer = served.ask(request("PUT / HTTP/1.1", None, chunks, host=HOST), chunked())
    assert (answer.status, answer.header("location")) == (200, "/photos")


def test_answer_has_what_the_sdks_look_for_exactly_once(
    start_server: StartServer, rest: Rest
) -> None:
    served = rest(start_server().address)
    for data in (QUERY, request("PUT / HTTP/1.1", host=HOST), b"nonsense\r\n\r\n"):
        answer = served.ask(data)
        assert answer.header("server") == "vectorbucket"
        assert answer.header("date").endswith(" GMT")
        assert len(answer.header("x-oss-request-id")) == 24
        if answer.status >= 400:
            assert answer.header("content-type") == "application/json"
            assert answer.json()["Error"]["RequestId"] == answer.header("x-oss-request-id")


def test_large_bodies_and_answers_pass(start_server: StartServer, rest: Rest) -> None:
    served = rest(start_server().address)
    make_index(served, 1024)
    body = put(500, 1024)
    assert len(body) > 5_000_000
    with served.connect() as connection:
        assert connection.ask(body).status == 200
        wanted = {"indexName": "faces", "maxResults": 500, "returnData": True}
        answer = connection.ask(call("listVectors", wanted))
        assert len(answer.json()["vectors"]) == 500
        assert len(answer.body) > 4_000_000


def test_refusals_of_the_listener_speak_the_dialect(start_server: StartServer, rest: Rest) -> None:
    served = rest(start_server().address, replace(OPTIONS, body_bytes_max=1000))
    answer = served.ask(request("POST / HTTP/1.1", None, "content-length: 1001", host=HOST))
    assert (answer.status, answer.code) == (413, "EntityTooLarge")
    assert answer.json()["Error"]["HostId"] == HOST
    answer = served.ask(request("FETCH / HTTP/1.1"))
    assert (answer.status, answer.code) == (405, "MethodNotAllowed")
    answer = served.ask(b"nonsense\r\n\r\n")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


# --- A server that is away ----------------------------------------------------------------------


def test_server_may_come_later(start_server: StartServer, rest: Rest) -> None:
    address = f"127.0.0.1:{free_port()}"
    served = rest(address)
    for _ in range(3):
        assert_away(served.ask(QUERY))
    start_server(grpc_address=address)
    began_s = time.monotonic()
    eventually(lambda: served.ask(QUERY).status == 404, "the server is found")
    assert time.monotonic() - began_s < 10


def test_server_may_go_and_come_again(start_server: StartServer, rest: Rest) -> None:
    address = f"127.0.0.1:{free_port()}"
    server = start_server(grpc_address=address)
    served = rest(address)
    with served.connect() as connection:
        assert connection.ask(QUERY).status == 404
        server.stop()
        assert_away(connection.ask(QUERY))
        start_server(grpc_address=address)
        eventually(lambda: connection.ask(QUERY).status == 404, "the server is found")


def test_channel_goes_around_the_environments_proxy(
    start_server: StartServer, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        _, _, port = start_server().address.rpartition(":")
        # An address that does not look like this machine's own.
        served = rest(f"0.0.0.0:{port}", replace(OPTIONS, call_timeout_s=5.0))
        assert served.ask(QUERY).status == 404
    assert ("grpc.enable_http_proxy", 0) in channel_options()


# --- Clients that leave, and the end ------------------------------------------------------------


def test_client_that_leaves_leaves_a_cancelled_call(
    start_server: StartServer,
    rest: Rest,
    slow: SlowEngine,
    log_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    served = rest(start_server(over=slow).address)
    make_index(served)
    with served.connect() as connection:
        connection.send(QUERY)
        assert slow.entered.acquire(timeout=WITHIN_S)
    eventually(lambda: slow.ended == ["gone"], "the engine knows that nobody waits")
    eventually(
        lambda: (
            [line["code"] for line in log_lines() if line.get("method") == "QueryVectors"]
            == ["DEADLINE_EXCEEDED"]
        ),
        "the call is logged",
    )


def test_call_that_takes_too_long_is_given_up(
    start_server: StartServer, rest: Rest, slow: SlowEngine
) -> None:
    served = rest(start_server(over=slow).address, replace(OPTIONS, call_timeout_s=0.2))
    make_index(served)
    answer = served.ask(QUERY)
    assert (answer.status, answer.code) == (408, "RequestTimeout")


def test_calls_under_way_end_before_the_end(
    start_server: StartServer, rest: Rest, slow: SlowEngine
) -> None:
    served = rest(start_server(over=slow).address, replace(OPTIONS, drain_grace_s=WITHIN_S))
    make_index(served)
    with served.connect() as connection, served.connect() as idle:
        assert idle.ask(request()).status == 200
        connection.send(QUERY)
        assert slow.entered.acquire(timeout=WITHIN_S)
        served.stop()
        assert idle.is_ended()
        slow.gate.set()
        assert connection.read().status == 200
        assert connection.is_ended()
    served.ended.result(WITHIN_S)


def test_calls_that_outlast_the_grace_are_cancelled(
    start_server: StartServer, rest: Rest, slow: SlowEngine
) -> None:
    served = rest(start_server(over=slow).address)
    make_index(served)
    with served.connect() as connection:
        connection.send(QUERY)
        assert slow.entered.acquire(timeout=WITHIN_S)
        served.stop()
        assert connection.is_ended()
    served.ended.result(WITHIN_S)
    eventually(lambda: slow.ended == ["gone"], "the engine knows that nobody waits")
