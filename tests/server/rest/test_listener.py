"""Requests, byte by byte: as they should be, and as they should not."""

from __future__ import annotations

import sys
import time

import pytest

from raw_http import Serving, chunked, request
from rest_echo import PATIENT, assert_refused

TOO_LARGE = f"content-length: {PATIENT.body_bytes_max + 1}"


# --- Requests as they should be -----------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/?putVectors=",
        "/?putVectors",
        "/photos/?queryVectors&a=%2F%20b",
        "http://photos-1234567890.vectors.local/?putVectors=",
        "http://photos-1234567890.vectors.local:8080/",
        "http://photos-1234567890.vectors.local",
        "http://photos-1234567890.vectors.local?bucketInfo=/a",
        "//double//slashes",
    ],
)
def test_target_arrives_as_it_was_sent(served: Serving, target: str) -> None:
    answer = served.ask(request(f"POST {target} HTTP/1.1", b"{}"))
    assert answer.status == 200
    asked = answer.json()
    assert (asked["method"], asked["target"], asked["body"]) == ("POST", target, "{}")


def test_headers_arrive_all_of_them_with_lower_case_names(served: Serving) -> None:
    answer = served.ask(request("GET / HTTP/1.1", None, "X-Oss-Date: a", "x-oss-date:b", "X: \xe9"))
    headers = [tuple(pair) for pair in answer.json()["headers"]]
    assert headers == [
        ("host", "vectors.local"),
        ("x-oss-date", "a"),
        ("x-oss-date", "b"),
        ("x", "\xe9"),
    ]


def test_answer_says_what_every_answer_says_once(served: Serving) -> None:
    answer = served.ask(request())
    assert (answer.status, answer.reason) == (200, "OK")
    assert answer.header("server") == "vectorbucket"
    assert answer.header("date").endswith(" GMT")
    assert answer.header("content-length") == str(len(answer.body))
    assert not answer.all("connection")


def test_answer_without_a_body_says_no_length(served: Serving) -> None:
    with served.connect() as connection:
        answer = connection.ask(request("DELETE /nothing HTTP/1.1"))
        assert (answer.status, answer.reason, answer.body) == (204, "No Content", b"")
        assert connection.ask(request()).status == 200


def test_answer_to_head_is_only_its_head(served: Serving) -> None:
    with served.connect() as connection:
        answer = connection.send(request("HEAD / HTTP/1.1")).read(head_only=True)
        assert int(answer.header("content-length")) > 0
        assert connection.ask(request()).status == 200


def test_connection_serves_one_request_after_the_other(served: Serving) -> None:
    with served.connect() as connection:
        for number in range(5):
            line, body = f"POST /{number} HTTP/1.1", b"x" * number * 50_000
            assert connection.ask(request(line, body)).json()["size"] == len(body)


def test_requests_in_one_go_are_answered_in_their_order(served: Serving) -> None:
    lines = [f"POST /{number} HTTP/1.1" for number in range(10)]
    with served.connect() as connection:
        connection.send(*(request(line, b"x" * 100) for line in lines))
        targets = [connection.read().json()["target"] for _ in lines]
    assert targets == [f"/{number}" for number in range(10)]


def test_requests_in_one_go_beyond_their_bound_are_refused_in_their_turn(served: Serving) -> None:
    with served.connect() as connection:
        connection.send(request() * 100)
        answers = [connection.read() for _ in range(34)]
        assert {one.status for one in answers[:33]} == {200}
        assert_refused(answers[33], 503, "QpsLimitExceeded")
        assert connection.is_ended()


@pytest.mark.parametrize("size", [0, 1, 1000, 64 * 1024, 64 * 1024 + 1, 1_000_000])
@pytest.mark.parametrize("in_chunks", [False, True])
def test_body_arrives_whole(served: Serving, size: int, *, in_chunks: bool) -> None:
    body = bytes(range(97, 123)) * (size // 26 + 1)
    body = body[:size]
    if in_chunks:
        third = size // 3
        parts = [one for one in (body[:third], body[third:]) if one]
        head = request("POST / HTTP/1.1", None, "transfer-encoding: chunked")
        answer = served.ask(head, chunked(*parts))
    else:
        answer = served.ask(request("POST / HTTP/1.1", body))
    assert answer.json()["size"] == size
    assert answer.json()["sum"] == sum(body)


def test_body_may_come_in_pieces_and_headers_too(served: Serving) -> None:
    data = request("POST / HTTP/1.1", b"some bytes")
    with served.connect() as connection:
        for byte in data:
            connection.send(bytes([byte]))
        assert connection.read().json()["body"] == "some bytes"


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that can be told")
def test_body_that_comes_after_its_headers_is_not_waited_for(served: Serving) -> None:
    # The client's system sends the body only when the headers are acknowledged, which another one
    # puts off for 40 ms, unless it is told not to. It is quick while a connection is new.
    took_s = []
    with served.connect() as connection:
        for _ in range(40):
            began_s = time.perf_counter()
            connection.send(request("POST / HTTP/1.1", None, "content-length: 200"))
            assert connection.ask(b"x" * 200).status == 200
            took_s.append(time.perf_counter() - began_s)
    assert min(took_s[20:]) < 0.035


def test_what_follows_the_chunks_of_a_body_is_no_header(served: Serving) -> None:
    head = request("POST / HTTP/1.1", None, "transfer-encoding: chunked")
    body = b"2\r\nhi\r\n0\r\nauthorization: Bearer of bad news\r\n\r\n"
    with served.connect() as connection:
        asked = connection.ask(head, body).json()
        assert asked["body"] == "hi"
        assert [name for name, _ in asked["headers"]] == ["host", "transfer-encoding"]
        assert connection.ask(request()).status == 200


def test_old_client_is_answered_and_left(served: Serving) -> None:
    with served.connect() as connection:
        answer = connection.ask(request("GET / HTTP/1.0", None, "connection: keep-alive"))
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert connection.is_ended()


@pytest.mark.parametrize(
    "line", ["GET /?a HTTP/1.0", "GET http://vectors.local/ HTTP/1.1", "GET http://a HTTP/1.0"]
)
def test_request_that_need_not_say_its_host_is_answered(served: Serving, line: str) -> None:
    answer = served.ask(f"{line}\r\n\r\n".encode())
    assert answer.json()["target"] == line.split()[1]


def test_client_that_wants_no_more_is_left(served: Serving) -> None:
    with served.connect() as connection:
        answer = connection.ask(request("GET / HTTP/1.1", None, "Connection: close"))
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert connection.is_ended()


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_wish_to_speak_another_protocol_is_ignored(served: Serving, protocol: str) -> None:
    wish = ("connection: Upgrade, HTTP2-Settings", f"upgrade: {protocol}", "http2-settings: AA")
    with served.connect() as connection:
        for body in (None, b"a body", None):
            answer = connection.ask(request("POST / HTTP/1.1", body, *wish))
            assert answer.json()["body"] == (body or b"").decode()
        connection.send(request("GET / HTTP/1.1", None, *wish) * 3)
        assert [connection.read().status for _ in range(3)] == [200] * 3


def test_wish_for_a_tunnel_is_answered_and_the_connection_closed(served: Serving) -> None:
    with served.connect() as connection:
        answer = connection.ask(request("CONNECT elsewhere:443 HTTP/1.1"), b"\x16\x03\x01")
        assert answer.json()["target"] == "elsewhere:443"
        assert answer.header("connection") == "close"
        assert connection.is_ended()


# --- Expect: 100-continue -----------------------------------------------------------------------


def test_client_that_asks_is_told_to_go_on(served: Serving) -> None:
    head = request("POST / HTTP/1.1", None, "content-length: 4", "Expect: 100-continue")
    with served.connect() as connection:
        answer = connection.ask(head)
        assert (answer.status, answer.reason, answer.headers) == (100, "Continue", ())
        assert connection.ask(b"body").json()["body"] == "body"


def test_client_that_asks_is_told_at_once_if_its_body_is_too_large(served: Serving) -> None:
    with served.connect() as connection:
        answer = connection.ask(request("POST / HTTP/1.1", None, TOO_LARGE, "expect: 100-continue"))
        assert_refused(answer, 413, "EntityTooLarge")


# --- Requests as they should not be -------------------------------------------------------------

MALFORMED = {
    "no_http": b"hello\r\n\r\n",
    "of_another_protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "of_http_2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "without_a_version": b"GET /\r\n\r\n",
    "of_an_unknown_version": b"GET / HTTP/3.7\r\nhost: a\r\n\r\n",
    "with_a_space_in_the_target": b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
    "with_a_byte_in_the_target_that_is_none": b"GET /\xe9 HTTP/1.1\r\nhost: a\r\n\r\n",
    "with_a_header_without_a_colon": b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
    "with_a_control_character": b"GET / HTTP/1.1\r\nhost: a\x00b\r\n\r\n",
    "with_a_length_that_is_no_number": request("POST / HTTP/1.1", None, "content-length: few"),
    "with_a_negative_length": request("POST / HTTP/1.1", None, "content-length: -1"),
    "with_a_length_past_counting": request("POST / HTTP/1.1", None, f"content-length: {10**30}"),
    "with_two_lengths": request("POST / HTTP/1.1", b"a", "content-length: 2"),
    "with_length_and_chunks": request("POST / HTTP/1.1", b"", "transfer-encoding: chunked"),
    "with_chunks_and_length": request(
        "POST / HTTP/1.1", None, "transfer-encoding: chunked", "content-length: 0"
    ),
    "in_an_unknown_encoding": request("POST / HTTP/1.1", None, "transfer-encoding: gzip"),
    "in_an_unknown_encoding_that_wants_another_protocol": request(
        "POST / HTTP/1.1", None, "connection: upgrade", "upgrade: a", "transfer-encoding: gzip"
    ),
    "without_a_host": b"GET / HTTP/1.1\r\n\r\n",
    "without_a_host_for_everything": b"OPTIONS * HTTP/1.1\r\n\r\n",
    "with_two_hosts": request("GET / HTTP/1.1", None, "host: another.local"),
    "of_old_with_two_hosts": request("GET / HTTP/1.0", None, "host: another.local"),
    "with_chunks_that_are_none": request("POST / HTTP/1.1", None, "transfer-encoding: chunked")
    + b"zz\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_request_is_refused_in_the_dialect(
    served: Serving, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with served.connect() as connection:
        assert_refused(connection.ask(data), 400, "InvalidArgument")
        assert connection.is_ended()
    assert caplog.records == []


@pytest.mark.parametrize("method", ["FETCH", "post", "PUTS"])
def test_unknown_method_is_called_that(served: Serving, method: str) -> None:
    with served.connect() as connection:
        assert_refused(connection.ask(request(f"{method} / HTTP/1.1")), 405, "MethodNotAllowed")
        assert connection.is_ended()


def test_request_before_a_malformed_one_is_answered_first(served: Serving) -> None:
    with served.connect() as connection:
        connection.send(request("GET /good HTTP/1.1"), b"nonsense\r\n\r\n")
        assert connection.read().json()["target"] == "/good"
        assert_refused(connection.read(), 400, "InvalidArgument")
        assert connection.is_ended()


HEAD = request("GET / HTTP/1.1")[:-2]
LONG = {
    "in_one_header": HEAD + b"x: " + b"a" * 65_536 + b"\r\n\r\n",
    "in_many_headers": HEAD + b"x: y\r\n" * 16_384 + b"\r\n",
    "in_the_target": b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    "without_an_end": HEAD + b"x: " + b"a" * 65_536,
    "behind_a_body": request("POST / HTTP/1.1", None, "transfer-encoding: chunked")
    + b"1\r\na\r\n0\r\nx: "
    + b"a" * 200_000,
}


@pytest.mark.parametrize("data", LONG.values(), ids=LONG)
def test_headers_past_their_bound_are_refused(served: Serving, data: bytes) -> None:
    with served.connect() as connection:
        answer = connection.ask(data)
        assert_refused(answer, 400, "InvalidArgument")
        assert connection.is_ended()


def test_headers_up_to_their_bound_are_taken(served: Serving) -> None:
    answer = served.ask(request("GET / HTTP/1.1", None, "x: " + "a" * 65_000))
    assert answer.status == 200


def test_host_of_a_refusal_is_the_one_that_was_asked_for(served: Serving) -> None:
    answer = served.ask(request("POST / HTTP/1.1", None, TOO_LARGE, host="b-1.vectors.local:80"))
    assert answer.json()["Error"]["HostId"] == "b-1.vectors.local:80"
    line = "POST http://b-2.vectors.local/?putVectors HTTP/1.1"
    answer = served.ask(request(line, None, TOO_LARGE, host="proxy.local"))
    assert answer.json()["Error"]["HostId"] == "b-2.vectors.local"
