"""The time in which a call is served: its ids, the forms of its errors, its log line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from conftest import StartServer
from rpc import (
    BUCKET,
    INDEX,
    PutStream,
    Stubs,
    put_message,
    query_request,
    refused,
    saying,
    some_vectors,
    stubs_of,
    vector_of,
)
from stubborn import FailingEngine, eventually
from vectorbucket.errors import Corruption, ServiceUnavailable, SignatureDoesNotMatch
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.app import Server
from vectorbucket_server.auth.entries import FAULT, REMOTE_ADDRESS, encode_fault
from vectorbucket_server.auth.entries import REQUEST_ID as REQUEST_ID_ENTRY
from vectorbucket_server.service.call_scope import FIELD_CHARACTERS_MAX

LogLines = Callable[[], list[dict[str, Any]]]
PLACE: dict[str, Any] = {"bucket": BUCKET, "index_name": INDEX}
REQUEST_ID = re.compile(r"[0-9A-F]{24}")


def trailer(call: Any) -> str:
    """Return the request id that a call's trailing metadata holds."""
    request_id: str = dict(call.trailing_metadata())["x-oss-request-id"]
    return request_id


def lines_of(lines: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("method") == method]


@contextmanager
def failing_stubs(start_server: StartServer, error: Exception) -> Iterator[Stubs]:
    engine = FailingEngine()
    engine.error = error
    with stubs_of(start_server(over=engine).address) as stubs:
        stubs.make_index()
        yield stubs


# --- Request ids ----------------------------------------------------------------------------------


def test_every_call_has_an_id_of_its_own_that_caller_and_log_know(
    with_index: Stubs, log_lines: LogLines
) -> None:
    ids = []
    for _ in range(3):
        _, call = with_index.vectors.QueryVectors.with_call(query_request())
        ids.append(trailer(call))
    assert all(REQUEST_ID.fullmatch(one) for one in ids)
    assert len(set(ids)) == 3
    assert [line["request_id"] for line in lines_of(log_lines(), "QueryVectors")] == ids


def test_failed_call_has_the_same_id_in_trailer_details_and_log(
    stubs: Stubs, log_lines: LogLines
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stubs.vectors.QueryVectors(query_request())
    request_id = trailer(caught.value)
    (line,) = lines_of(log_lines(), "QueryVectors")
    assert line["request_id"] == request_id
    assert refused(lambda: stubs.vectors.QueryVectors(query_request())).request_id != request_id


def test_stream_has_one_id_in_trailer_and_batch_errors(with_index: Stubs) -> None:
    stream = PutStream(with_index)
    error = stream.ask(put_message(1)).error
    stream.finish()
    request_id = trailer(stream.call)
    assert REQUEST_ID.fullmatch(request_id)
    assert request_id.encode() in error.SerializeToString()


GIVEN_ID = "0123456789ABCDEF01234567"


def test_id_that_a_translator_has_for_its_request_is_the_calls(
    with_index: Stubs, log_lines: LogLines
) -> None:
    translator = saying(with_index, (REQUEST_ID_ENTRY, GIVEN_ID))
    stream = PutStream(translator)
    error = stream.ask(put_message(1)).error
    stream.finish()
    assert trailer(stream.call) == GIVEN_ID
    assert GIVEN_ID.encode() in error.SerializeToString()
    request = query_request(top_k=0)
    assert refused(lambda: translator.vectors.QueryVectors(request)).request_id == GIVEN_ID
    eventually(lambda: bool(lines_of(log_lines(), "PutVectors")))
    ids = {line["request_id"] for line in log_lines() if line.get("bucket") == BUCKET}
    assert GIVEN_ID in ids


@pytest.mark.parametrize("given", ["short", "0123456789abcdef01234567", "0" * 25, ""])
def test_id_that_is_none_is_refused_under_an_id_of_our_own(stubs: Stubs, given: str) -> None:
    translator = saying(stubs, (REQUEST_ID_ENTRY, given))
    refusal = refused(lambda: translator.vectors.QueryVectors(query_request()))
    assert refusal.reason == "ERROR_REASON_INVALID_ARGUMENT"
    assert REQUEST_ID.fullmatch(refusal.request_id)


def test_address_that_a_translator_has_of_its_request_is_the_calls(
    with_index: Stubs, log_lines: LogLines
) -> None:
    translator = saying(with_index, (REMOTE_ADDRESS, "[2001:db8::1]:4711"))
    translator.vectors.QueryVectors(query_request())
    refused(lambda: translator.vectors.QueryVectors(query_request(top_k=0)))
    wrong = (FAULT, encode_fault(SignatureDoesNotMatch("no")))
    unsigned = saying(with_index, (REMOTE_ADDRESS, "[2001:db8::1]:4711"), wrong)
    refused(lambda: unsigned.vectors.QueryVectors(query_request()))
    lines = lines_of(log_lines(), "QueryVectors")
    assert [line["peer"] for line in lines] == ["[2001:db8::1]:4711"] * 3


# --- Errors ---------------------------------------------------------------------------------------


INNER_TEXT = "row 00ff in /var/lib/secret"


@pytest.mark.parametrize("kind", [KeyError, Corruption, RecursionError])
def test_failure_of_the_server_is_internal_and_tells_only_its_id(
    start_server: StartServer, log_lines: LogLines, kind: type[Exception]
) -> None:
    with failing_stubs(start_server, kind(INNER_TEXT)) as stubs:
        refusal = refused(lambda: stubs.vectors.QueryVectors(query_request()))
        assert refusal.code is grpc.StatusCode.INTERNAL
        assert refusal.reason == "ERROR_REASON_INTERNAL_ERROR"
        assert refusal.facts == {"code": "InternalError"}
        assert "secret" not in refusal.message
        assert refusal.request_id in refusal.message
        (line,) = lines_of(log_lines(), "QueryVectors")
        assert (line["level"], line["code"]) == ("error", "INTERNAL")
        assert line["request_id"] == refusal.request_id
        assert INNER_TEXT in line["exception"]
        assert "query_vectors" in line["exception"]


def test_failure_inside_a_stream_of_answers_is_internal_too(start_server: StartServer) -> None:
    with failing_stubs(start_server, ValueError(INNER_TEXT)) as stubs:
        request = messages.QueryVectorsBatchRequest(
            **PLACE, top_k=1, query_vectors=vector_of("a").data
        )
        refusal = refused(lambda: list(stubs.vectors.QueryVectorsBatch(request)))
        assert refusal.code is grpc.StatusCode.INTERNAL
        assert "secret" not in refusal.message


def test_engine_that_cannot_serve_now_says_when_to_come_back(
    start_server: StartServer, log_lines: LogLines
) -> None:
    error = ServiceUnavailable("no space left on the device", retry_after_s=30.0)
    with failing_stubs(start_server, error) as stubs:
        refusal = refused(lambda: stubs.vectors.QueryVectors(query_request()))
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.retry_after_s == 30.0
        assert refusal.message == "no space left on the device"
        (line,) = lines_of(log_lines(), "QueryVectors")
        assert line["level"] == "warning"


# --- Log lines ------------------------------------------------------------------------------------


def test_line_of_a_query_says_what_was_done(with_index: Stubs, log_lines: LogLines) -> None:
    with_index.put(*some_vectors(3))
    request = query_request(top_k=2)
    with_index.vectors.QueryVectors(request)
    (line,) = lines_of(log_lines(), "QueryVectors")
    assert line["level"] == "info"
    assert (line["bucket"], line["index_name"], line["code"]) == (BUCKET, INDEX, "OK")
    assert (line["query_count"], line["vector_count"]) == (1, 2)
    assert line["request_bytes"] == request.ByteSize()
    assert line["latency_ms"] > 0
    assert line["peer"].startswith(("ipv4:127.0.0.1:", "ipv6:"))
    assert "reason" not in line
    # On a server without credentials nobody has a name.
    assert "principal" not in line


def test_line_of_a_refused_call_says_why(stubs: Stubs, log_lines: LogLines) -> None:
    refused(lambda: stubs.vectors.QueryVectors(query_request()))
    (line,) = lines_of(log_lines(), "QueryVectors")
    assert (line["level"], line["code"], line["reason"]) == ("info", "NOT_FOUND", "NoSuchBucket")
    assert BUCKET in line["message"]
    assert "exception" not in line


def test_stream_is_one_line_with_all_its_batches(with_index: Stubs, log_lines: LogLines) -> None:
    sent = [put_message(1, *some_vectors(3)), put_message(2), put_message(3, vector_of("z"))]
    list(with_index.vectors.PutVectors(iter(sent)))
    eventually(lambda: bool(lines_of(log_lines(), "PutVectors")))
    (line,) = lines_of(log_lines(), "PutVectors")
    assert (line["bucket"], line["index_name"], line["code"]) == (BUCKET, INDEX, "OK")
    assert (line["batch_count"], line["rejected_batch_count"]) == (3, 1)
    assert line["vector_count"] == 4
    assert line["request_bytes"] == sum(message.ByteSize() for message in sent)


def test_no_line_holds_a_vector_or_metadata(with_index: Stubs, log_lines: LogLines) -> None:
    numbers = (1.2345, 2, 3, 4)
    with_index.put(vector_of("a", numbers, {"title": "confidential"}))
    with_index.vectors.QueryVectors(query_request(numbers, filter={"title": "confidential"}))
    text = str(log_lines())
    assert "1.2345" not in text
    assert "confidential" not in text


def test_line_of_bad_content_says_which_field_and_not_what_was_in_it(
    with_index: Stubs, log_lines: LogLines
) -> None:
    refused(lambda: with_index.vectors.QueryVectors(query_request(filter={"x": {"$in": "secret"}})))
    refused(lambda: with_index.vectors.QueryVectors(query_request(top_k=0)))
    content, number = lines_of(log_lines(), "QueryVectors")
    assert content["field"] == "filter.x.$in"
    assert "message" not in content
    assert (number["field"], number["message"]) == ("top_k", "top_k is 0; it must be 1 to 100")


def test_path_of_a_field_is_cut(with_index: Stubs, log_lines: LogLines) -> None:
    refused(lambda: with_index.vectors.QueryVectors(query_request(filter={"x" * 1000: {"$no": 1}})))
    (line,) = lines_of(log_lines(), "QueryVectors")
    assert len(line["field"]) <= FIELD_CHARACTERS_MAX


# --- Counting -------------------------------------------------------------------------------------


def test_call_is_counted_with_the_code_of_its_line(server: Server, with_index: Stubs) -> None:
    with_index.vectors.QueryVectors(query_request())
    refused(lambda: with_index.vectors.QueryVectors(query_request(top_k=0)))
    totals = server.metrics.calls.totals()
    assert totals.methods["QueryVectors"].codes == {"OK": 1, "INVALID_ARGUMENT": 1}
    assert totals.errors == {"VectorIndexParameterInvalid": 1}
    assert totals.methods["QueryVectors"].seconds > 0


def test_method_that_a_caller_made_up_is_counted_as_unknown(server: Server, stubs: Stubs) -> None:
    for name in ("One", "Two"):
        with pytest.raises(grpc.RpcError):
            stubs.channel.unary_unary(f"/made.up.Service/{name}", None, None)(b"")
    totals = server.metrics.calls.totals()
    assert {name: one.codes for name, one in totals.methods.items()} == {
        "unknown": {"UNIMPLEMENTED": 2}
    }


def test_stream_that_is_broken_off_is_no_longer_under_way(
    server: Server, with_index: Stubs
) -> None:
    stream = PutStream(with_index)
    stream.ask(put_message(1, vector_of("a")))
    assert server.metrics.calls.totals().under_way["stream"] == 1
    stream.cancel()
    eventually(lambda: server.metrics.calls.totals().under_way["stream"] == 0)
    totals = server.metrics.calls.totals().methods["PutVectors"]
    assert (totals.codes, totals.vector_count) == ({"CANCELLED": 1}, 1)
    assert (totals.message_count, totals.batch_count) == (1, 1)


def test_message_that_ends_its_stream_was_received_and_not_answered(
    server: Server, with_index: Stubs
) -> None:
    stream = PutStream(with_index)
    stream.ask(put_message(1, vector_of("a")))
    stream.ask(put_message(2))
    stream.send(put_message(1, vector_of("b")))
    assert refused(stream.read).field == "batch_number"
    eventually(lambda: server.metrics.calls.totals().under_way["stream"] == 0)
    totals = server.metrics.calls.totals().methods["PutVectors"]
    assert (totals.message_count, totals.batch_count, totals.rejected_batch_count) == (3, 2, 1)
