"""The application: bodies within their bounds, and who answers what."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from raw_http import RawConnection, Serving, chunked, request
from rest_echo import PATIENT, Echo
from rooms import eventually
from vectorbucket_server.rest.admission import SMALL_BYTES

LIMIT = PATIENT.body_bytes_max
CHUNKED = "transfer-encoding: chunked"
POST = "POST / HTTP/1.1"


def holding(stack: ExitStack, served: Serving, size_bytes: int) -> RawConnection:
    """Return a connection on which the first half of a body was sent."""
    connection = stack.enter_context(served.connect())
    connection.send(request(POST, None, f"content-length: {size_bytes}", "expect: 100-continue"))
    assert connection.read().status == 100
    return connection.send(b"x" * (size_bytes // 2))


# --- The size of a body -------------------------------------------------------------------------


def test_body_as_large_as_may_be_is_taken(served: Serving) -> None:
    assert served.ask(request(POST, b"x" * LIMIT)).json()["size"] == LIMIT
    head = request(POST, None, CHUNKED)
    half = b"x" * (LIMIT // 2)
    assert served.ask(head, chunked(half, half)).json()["size"] == LIMIT


def test_body_that_says_it_is_larger_is_refused_before_it_is_sent(
    echo: Echo, served: Serving
) -> None:
    with served.connect() as connection:
        answer = connection.ask(request(POST, None, f"content-length: {LIMIT + 1}"))
        assert (answer.status, answer.reason) == (413, "Request Entity Too Large")
        assert (answer.code, answer.header("connection")) == ("EntityTooLarge", "close")
        assert str(LIMIT) in answer.json()["Error"]["Message"]
        assert connection.is_ended()
    assert echo.targets == []


def test_body_that_turns_out_to_be_larger_is_refused_before_its_end(
    echo: Echo, served: Serving
) -> None:
    with served.connect() as connection:
        connection.send(request(POST, None, CHUNKED))
        part = b"%x\r\n%b\r\n" % (100_000, b"x" * 100_000)
        connection.send_as_far_as_it_goes(part * (LIMIT // 100_000 + 1))
        assert connection.read().code == "EntityTooLarge"
    assert echo.targets == []


def test_client_that_sends_a_too_large_body_sees_the_answer(served: Serving) -> None:
    body = b"x" * (10 * LIMIT)
    with served.connect() as connection:
        connection.send(request(POST, body))
        assert connection.read().code == "EntityTooLarge"
        assert connection.is_ended()


# --- The size of all bodies ---------------------------------------------------------------------


def test_body_that_does_not_fit_beside_others_is_refused_at_once(served: Serving) -> None:
    with ExitStack() as stack:
        held = [holding(stack, served, LIMIT) for _ in range(2)]
        refused = served.ask(request(POST, None, f"content-length: {SMALL_BYTES + 1}"))
        assert (refused.status, refused.code) == (503, "QpsLimitExceeded")
        assert refused.header("retry-after")
        refused = served.ask(
            request(POST, None, CHUNKED), chunked(b"x" * SMALL_BYTES, b"x" * SMALL_BYTES)
        )
        assert (refused.status, refused.code) == (503, "QpsLimitExceeded")
        assert served.ask(request(POST, b"x" * SMALL_BYTES)).status == 200
        for connection in held:
            assert connection.ask(b"x" * (LIMIT // 2)).status == 200
        assert served.ask(request(POST, b"x" * LIMIT)).status == 200


def test_room_of_a_body_is_free_again_when_its_client_has_left(served: Serving) -> None:
    with ExitStack() as stack:
        for _ in range(2):
            holding(stack, served, LIMIT)
    eventually(lambda: served.ask(request(POST, b"x" * LIMIT)).status == 200, "there is room again")


def test_room_of_a_body_is_held_until_it_is_answered(echo: Echo, served: Serving) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(served.connect()) for _ in range(2)]
        for connection in waiting:
            connection.send(request("POST /wait HTTP/1.1", b"x" * LIMIT))
            assert echo.waiting.acquire(timeout=20)
        body = b"x" * (SMALL_BYTES + 1)
        assert served.ask(request(POST, body)).code == "QpsLimitExceeded"
        echo.go_on()
        for connection in waiting:
            assert connection.read().status == 200
        assert served.ask(request(POST, body)).status == 200


# --- What goes wrong ----------------------------------------------------------------------------


def test_what_nobody_foresaw_is_an_internal_error_without_its_text(
    served: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    answer = served.ask(request("GET /broken HTTP/1.1", None, host="photos-1.local"))
    assert (answer.status, answer.reason) == (500, "Internal Server Error")
    assert (answer.code, answer.json()["Error"]["HostId"]) == ("InternalError", "photos-1.local")
    assert answer.header("content-type") == "application/json"
    assert b"foresaw" not in answer.body
    eventually(lambda: any(one.exc_info for one in caplog.records), "it is logged")
    assert served.ask(request()).status == 200


@pytest.mark.parametrize("target", ["/a/b/c", "/%2e%2e/", "*", "/%zz?x=%"])
def test_every_path_is_the_dialects(served: Serving, target: str) -> None:
    answer = served.ask(request(f"OPTIONS {target} HTTP/1.1"))
    assert answer.json()["target"] == target


def test_client_that_shuts_its_side_has_left(echo: Echo, served: Serving) -> None:
    with served.connect() as connection:
        connection.send(request("GET /wait HTTP/1.1"))
        assert echo.waiting.acquire(timeout=20)
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.is_ended()
    eventually(lambda: echo.cancelled == 1, "the request is broken off")
