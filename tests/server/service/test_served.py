"""What a call passes between gRPC and the servicer: its first message, its rate, open methods."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from conftest import StartServer
from oss.dialect import dialect_before, vector
from policy_cases import hash_of
from rpc import (
    WAIT_S,
    PutStream,
    Stubs,
    bearer,
    index_request,
    put_message,
    query_request,
    refused,
    saying,
    stubs_of,
    vector_of,
)
from stubborn import eventually
from vectorbucket_server.service.served import NOTED_CHARACTERS_MAX, OPEN_BYTES_MAX

LogLines = Callable[[], list[dict[str, Any]]]
VECTORS = "/vectorbucket.v1.VectorService"
HEALTH = "/grpc.health.v1.Health"
SERVING = health_pb2.HealthCheckResponse.SERVING


def lines_of(lines: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("method") == method]


@contextmanager
def silent(stubs: Stubs, path: str, count: int) -> Iterator[list[Any]]:
    """Yield calls of which only the headers are sent while the block runs."""
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait()
        yield from ()

    call: Any = stubs.channel.stream_stream(path)  # type: ignore[call-arg]
    try:
        yield [call(nothing()) for _ in range(count)]
    finally:
        over.set()


# --- First messages -------------------------------------------------------------------------------


@pytest.mark.parametrize("rpc", ["QueryVectors", "PutVectorsBatch", "ScanVectors"])
def test_callers_who_keep_their_message_back_lose_their_threads(
    start_server: StartServer, log_lines: LogLines, rpc: str
) -> None:
    settings = {"first_message_timeout_s": 0.3, "streams_max": 2, "unary_workers": 2}
    with stubs_of(start_server(**settings).address) as stubs:
        stubs.make_index()
        with silent(stubs, f"{VECTORS}/{rpc}", 4) as calls:
            # They have all threads there are; who comes now needs one of them.
            stubs.vectors.QueryVectors(query_request(), timeout=WAIT_S)
            assert stubs.put(vector_of("a")) == 1
            eventually(lambda: all(call.done() for call in calls))
            assert {call.code() for call in calls} == {grpc.StatusCode.CANCELLED}
        assert stubs.all_keys() == ["a"]
    reasons = [line.get("reason") for line in lines_of(log_lines(), rpc)]
    assert reasons.count("RequestTimeout") == len(calls)


def test_time_that_a_message_travels_is_not_the_calls(stubs: Stubs, log_lines: LogLines) -> None:
    stubs.make_index()
    gate = threading.Event()

    def late() -> Iterator[bytes]:
        gate.wait(0.3)
        yield query_request().SerializeToString()

    call: Any = stubs.channel.stream_stream(f"{VECTORS}/QueryVectors")  # type: ignore[call-arg]
    assert len(list(call(late()))) == 1
    eventually(lambda: bool(lines_of(log_lines(), "QueryVectors")))
    (line,) = lines_of(log_lines(), "QueryVectors")
    assert line["latency_ms"] < 300


# --- Rates ----------------------------------------------------------------------------------------


def test_unary_calls_over_their_rate_are_refused_until_the_next_token(
    start_server: StartServer, log_lines: LogLines
) -> None:
    # So slow that no token comes while the test runs.
    with stubs_of(start_server(rate_limit={"PutVectors": "0.001"}).address) as stubs:
        stubs.make_index()
        assert stubs.put(vector_of("a")) == 1
        refusal = refused(lambda: stubs.put(vector_of("b")))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.reason == "ERROR_REASON_QPS_LIMIT_EXCEEDED"
        assert refusal.retry_after_s is not None
        assert 900 < refusal.retry_after_s <= 1_000
        assert refusal.facts is not None
        assert refusal.facts["operation"] == "PutVectors"
        # Of what has no rate there may be as many as ever.
        for _ in range(20):
            stubs.vectors.QueryVectors(query_request())
        # Refused before it was read.
        line = lines_of(log_lines(), "PutVectorsBatch")[-1]
        assert (line["request_bytes"], line["reason"]) == (0, "QpsLimitExceeded")
        assert stubs.all_keys() == ["a"]


def test_documented_rates_are_one_setting(start_server: StartServer) -> None:
    with stubs_of(start_server(rate_limits="oss").address) as stubs:
        stubs.make_index()

        def outcome(number: int) -> str:
            try:
                stubs.indexes.PutVectorIndex(index_request(index_name=f"more{number}"))
            except grpc.RpcError as error:
                return error.code().name
            return "made"

        outcomes = [outcome(number) for number in range(12)]
        assert outcomes[:4] == ["made"] * 4
        assert "RESOURCE_EXHAUSTED" in outcomes


def test_rates_of_a_stream_of_answers_are_refused_too(start_server: StartServer) -> None:
    with stubs_of(start_server(rate_limit={"ListVectors": "0.001"}).address) as stubs:
        stubs.make_index()
        assert stubs.all_keys() == []
        assert refused(stubs.all_keys).reason == "ERROR_REASON_QPS_LIMIT_EXCEEDED"


def test_rest_says_in_how_many_seconds_the_next_call_is_welcome(start_server: StartServer) -> None:
    address = start_server(rate_limit={"PutVectors": "0.1"}).address
    with dialect_before(address) as dialect:
        dialect.make_index()
        dialect.put(vector("a"))
        answer = dialect.post("putVectors", {"indexName": "idx1", "vectors": [vector("b")]})
        assert (answer.status, answer.code) == (503, "QpsLimitExceeded")
        assert 5 <= int(answer.headers["retry-after"]) <= 10


def test_put_stream_is_slowed_and_not_refused(start_server: StartServer) -> None:
    with stubs_of(start_server(rate_limit={"PutVectors": 20}).address) as stubs:
        stubs.make_index()
        stream, count = PutStream(stubs), 25
        for number in range(1, count + 1):
            stream.send(put_message(number, vector_of(f"k{number}")))
        answers = [stream.read() for _ in range(count)]
        assert [answer.WhichOneof("result") for answer in answers] == ["stored"] * count
        # All its tokens were taken in advance, so a call finds none left.
        assert refused(lambda: stubs.put(vector_of("x"))).reason.endswith("QPS_LIMIT_EXCEEDED")
        stream.finish()


def test_put_stream_that_waits_for_its_turn_can_be_cancelled_and_drained(
    start_server: StartServer, log_lines: LogLines
) -> None:
    server = start_server(rate_limit={"PutVectors": "0.001"}, streams_max=2)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        left, stayed = PutStream(stubs), PutStream(stubs)
        left.ask(put_message(1, vector_of("a"), stream_id="left"))
        left.send(put_message(2, vector_of("b"), stream_id="left"))
        stayed.send(put_message(1, vector_of("c"), stream_id="stayed"))
        left.cancel()
        eventually(lambda: len(lines_of(log_lines(), "PutVectors")) == 1)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert refused(stayed.read).reason == "ERROR_REASON_SERVICE_UNAVAILABLE"
        stopping.join(WAIT_S)
        assert not stopping.is_alive()


def test_callers_cannot_use_up_each_others_tokens(
    start_server: StartServer, tmp_path: Path
) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(
        "".join(
            f'[[credential]]\nname = "{name}"\naccount_id = "1"\n{more}\n'
            f'api_keys = ["{hash_of(f"of-{name}")}"]\n'
            for name, more in (("owner", "owner = true"), ("guest", ""))
        )
    )
    server = start_server(credentials=path, rate_limit={"QueryVectors": "0.001"})
    with stubs_of(server.address) as stubs:
        owner, guest = saying(stubs, bearer("of-owner")), saying(stubs, bearer("of-guest"))
        owner.make_index()
        strangers = [saying(stubs), saying(stubs, bearer("of-nobody"))]
        for stranger in strangers:
            refusal = refused(lambda one=stranger: one.vectors.QueryVectors(query_request()))  # type: ignore[misc]
            assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        codes = [refused(lambda: guest.vectors.QueryVectors(query_request())).code for _ in "12"]
        assert codes == [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert not owner.vectors.QueryVectors(query_request()).vectors


# --- Open methods ---------------------------------------------------------------------------------


def test_strangers_who_keep_their_message_back_do_not_keep_probes_waiting_for_long(
    start_server: StartServer,
) -> None:
    with stubs_of(start_server().address) as stubs:
        health: Any = health_pb2_grpc.HealthStub(stubs.channel)
        with ExitStack() as stack:
            # Half a minute, were each of them given all its time.
            for method, count in (("Check", 60), ("Watch", 8)):
                stack.enter_context(silent(stubs, f"{HEALTH}/{method}", count))
            request = health_pb2.HealthCheckRequest()
            statuses: list[int] = []

            def answered() -> bool:
                try:
                    statuses.append(health.Check(request, timeout=WAIT_S).status)
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
                return bool(statuses)

            eventually(answered)
            assert statuses == [SERVING]


def test_torn_message_of_a_probe_is_refused(stubs: Stubs) -> None:
    call: Any = stubs.channel.unary_unary(f"{HEALTH}/Check")  # type: ignore[call-arg]
    assert refused(lambda: call(b"\xff\xff")).reason == "ERROR_REASON_INVALID_ARGUMENT"
    assert refused(lambda: call(b"\x0a\x02\xff\xfe")).reason == "ERROR_REASON_INVALID_ARGUMENT"


def test_message_of_a_probe_is_small(stubs: Stubs) -> None:
    call: Any = stubs.channel.unary_unary(f"{HEALTH}/Check")  # type: ignore[call-arg]
    text = "a" * OPEN_BYTES_MAX
    refusal = refused(lambda: call(health_pb2.HealthCheckRequest(service=text).SerializeToString()))
    assert refusal.reason == "ERROR_REASON_ENTITY_TOO_LARGE"


def test_names_that_are_none_make_no_long_lines(stubs: Stubs, log_lines: LogLines) -> None:
    request = query_request()
    request.bucket = request.index_name = "a" * 100_000
    refused(lambda: stubs.vectors.QueryVectors(request))
    eventually(lambda: bool(lines_of(log_lines(), "QueryVectors")))
    (line,) = lines_of(log_lines(), "QueryVectors")
    assert line["bucket"] == line["index_name"] == "a" * NOTED_CHARACTERS_MAX
    assert len(line["message"]) < NOTED_CHARACTERS_MAX
