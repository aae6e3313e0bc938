"""The application: bodies within their bounds, and who answers what."""

from __future__ import annotations

import asyncio
import json
import socket
import tracemalloc
from collections.abc import MutableMapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from raw_http import RawConnection, Serving, chunked, request, serving
from rest_echo import LARGE_BYTES, PATIENT, Echo, assert_refused, echoing
from rooms import eventually
from vectorbucket_server.rest.admission import SMALL_BYTES
from vectorbucket_server.rest.app import TARGET, make_app
from vectorbucket_server.rest.oss.messages import HttpRequest, HttpResponse

LIMIT = PATIENT.body_bytes_max
CHUNKED = "transfer-encoding: chunked"
POST = "POST / HTTP/1.1"


def holding(stack: ExitStack, served: Serving, sent_bytes: int) -> RawConnection:
    """Return a connection on which a body as large as may be was begun."""
    connection = stack.enter_context(served.connect())
    connection.send(request(POST, None, f"content-length: {LIMIT}", "expect: 100-continue"))
    assert connection.read().status == 100
    return connection.send(b"x" * sent_bytes)


def is_full(served: Serving) -> bool:
    """Return whether there is no room for a body that is counted."""
    return served.ask(request(POST, b"x" * (SMALL_BYTES + 1))).status == 503


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


def test_body_that_does_not_fit_beside_others_is_refused_as_soon_as_it_does_not(
    served: Serving,
) -> None:
    with ExitStack() as stack:
        held = [holding(stack, served, LIMIT - 1) for _ in range(2)]
        eventually(lambda: is_full(served), "both are held")
        begun = request(POST, None, f"content-length: {LIMIT}") + b"x" * (SMALL_BYTES + 1)
        refused = served.ask(begun)
        assert_refused(refused, 503, "QpsLimitExceeded")
        assert refused.header("retry-after")
        refused = served.ask(
            request(POST, None, CHUNKED), chunked(b"x" * SMALL_BYTES, b"x" * SMALL_BYTES)
        )
        assert_refused(refused, 503, "QpsLimitExceeded")
        assert served.ask(request(POST, b"x" * SMALL_BYTES)).status == 200
        for connection in held:
            assert connection.ask(b"x").status == 200
        assert served.ask(request(POST, b"x" * LIMIT)).status == 200


def test_body_that_was_begun_and_is_refused_gives_back_what_it_had(served: Serving) -> None:
    with ExitStack() as stack:
        held = [holding(stack, served, LIMIT - 1) for _ in range(3)]
        eventually(lambda: any(one.has_answer(0) for one in held), "one does not fit")
        refused = [one for one in held if one.has_answer(0)]
        assert_refused(refused[0].read(), 503, "QpsLimitExceeded")
        assert len(refused) == 1
        for connection in set(held) - set(refused):
            assert connection.ask(b"x").status == 200


def test_body_that_was_announced_and_is_not_sent_holds_nothing(served: Serving) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            holding(stack, served, 0)
        assert served.ask(request(POST, b"x" * LIMIT)).status == 200


def test_body_in_tiny_chunks_takes_little_more_memory_than_it_has(served: Serving) -> None:
    data = request(POST, None, CHUNKED) + chunked(*[b"xy"] * (LIMIT // 8))
    with served.connect() as connection:
        tracemalloc.start()
        try:
            assert connection.ask(data).json()["size"] == LIMIT // 4
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 5 * LIMIT // 4


def test_room_of_a_body_is_free_again_when_its_client_has_left(served: Serving) -> None:
    with ExitStack() as stack:
        for _ in range(2):
            holding(stack, served, LIMIT - 1)
        eventually(lambda: is_full(served), "both are held")
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


def test_room_of_a_body_is_held_while_work_on_it_goes_on_that_nobody_waits_for(
    echo: Echo, served: Serving
) -> None:
    for _ in range(2):
        with served.connect() as connection:
            connection.send(request("POST /stubborn HTTP/1.1", b"x" * LIMIT))
            assert echo.waiting.acquire(timeout=20)
    eventually(lambda: echo.cancelled == 2, "both are broken off")
    assert is_full(served)
    echo.go_on()
    eventually(lambda: not is_full(served), "there is room again")


# --- Strangers ----------------------------------------------------------------------------------


def test_body_of_a_stranger_is_not_waited_for(echo: Echo, served: Serving) -> None:
    with ExitStack() as stack:
        for sent in (b"", b"x" * 1000):
            connection = stack.enter_context(served.connect())
            head = request(POST, None, f"content-length: {LIMIT}", "x-stranger: 1")
            assert_refused(connection.ask(head, sent), 403, "AccessDenied")
            assert connection.is_ended()
    assert echo.targets == []


def test_stranger_who_asks_is_not_told_to_send_a_body(served: Serving) -> None:
    head = request(POST, None, "content-length: 4", "x-stranger: 1", "expect: 100-continue")
    assert_refused(served.ask(head), 403, "AccessDenied")


def test_stranger_who_sends_a_body_sees_the_answer(served: Serving) -> None:
    body = b"x" * (10 * LIMIT)
    with served.connect() as connection:
        connection.send(request(POST, body, "x-stranger: 1"))
        assert connection.read().code == "AccessDenied"
        assert connection.is_ended()


def test_stranger_whose_body_is_there_may_ask_again(served: Serving) -> None:
    with served.connect() as connection:
        for body in (None, b"", b"{}"):
            answer = connection.ask(request(POST, body, "x-stranger: 1"))
            assert (answer.status, answer.all("connection")) == (403, [])
        assert connection.ask(request()).status == 200


# --- The size of all answers --------------------------------------------------------------------


def test_answer_that_does_not_fit_beside_others_is_refused(echo: Echo) -> None:
    large = request("GET /large HTTP/1.1")
    options = replace(PATIENT, answers_bytes_max=LARGE_BYTES + SMALL_BYTES)
    with echoing(echo, options) as served, served.connect() as slow, served.connect() as other:
        slow.send(large)
        eventually(lambda: served.ask(large).status == 503, "the answer is held")
        refused = other.ask(large)
        assert (refused.status, refused.code) == (503, "QpsLimitExceeded")
        assert refused.header("retry-after")
        assert other.ask(request(POST, b"x" * LIMIT)).status == 200
        assert len(slow.read().body) == LARGE_BYTES
        eventually(lambda: other.ask(large).status == 200, "there is room again")


def test_room_of_an_answer_is_free_again_when_its_client_has_left(echo: Echo) -> None:
    large = request("GET /large HTTP/1.1")
    options = replace(PATIENT, answers_bytes_max=LARGE_BYTES)
    with echoing(echo, options) as served:
        with served.connect() as slow:
            slow.send(large)
            eventually(lambda: served.ask(large).status == 503, "the answer is held")
        eventually(lambda: served.ask(large).status == 200, "there is room again")


def test_answer_behind_one_that_is_not_taken_is_not_made(echo: Echo, served: Serving) -> None:
    with served.connect() as slow:
        slow.send(request("GET /large HTTP/1.1"), request("GET /next HTTP/1.1"))
        eventually(lambda: echo.targets == ["/large"], "the answer is made")
        assert served.ask(request()).status == 200
        assert echo.targets == ["/large", "/"]
        assert len(slow.read().body) == LARGE_BYTES
        assert slow.read().json()["target"] == "/next"


# --- Who asks -----------------------------------------------------------------------------------


def test_address_of_a_client_is_told(served: Serving) -> None:
    with served.connect() as connection:
        host, port = connection.socket.getsockname()
        assert connection.ask(request()).json()["from"] == f"{host}:{port}"


@pytest.mark.parametrize(
    ("client", "told"), [(None, ""), (("::1", 80), "[::1]:80"), (("10.0.0.1", 80), "10.0.0.1:80")]
)
def test_address_of_a_client_is_written_as_addresses_are(
    echo: Echo, client: tuple[str, int] | None, told: str
) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], TARGET: b"/"}
    asyncio.run(make_app(echo, PATIENT)({**scope, "client": client}, receive, send))
    assert json.loads(sent[1]["body"])["from"] == told


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


# --- A page beside the dialect ------------------------------------------------------------------


class Sheet:
    """A page that is asked for by a target."""

    def is_asked_for(self, request: HttpRequest) -> bool:
        assert (request.method, request.body) == ("GET", b"")
        return request.target == "/sheet"

    async def answer(self, request: HttpRequest) -> HttpResponse:
        said = f"for {request.header('x-name')}".encode()
        return HttpResponse(200, (("content-type", "text/plain"),), said)


def test_page_answers_what_is_for_it_and_the_dialect_everything_else(echo: Echo) -> None:
    with serving(make_app(echo, PATIENT, Sheet()), PATIENT) as served, served.connect() as one:
        answer = one.ask(request("GET /sheet HTTP/1.1", None, "x-name: you"))
        assert (answer.status, answer.body) == (200, b"for you")
        for line in ("GET /sheet? HTTP/1.1", "POST /sheet HTTP/1.1", "GET / HTTP/1.1"):
            assert one.ask(request(line)).json()["target"] == line.split()[1]
        # What is not fit to be read is refused in the dialect, wherever it was to go.
        refused = one.ask(request("GET /sheet HTTP/1.1", None, "host: another"))
        assert refused.status == 400
        assert refused.code


def test_body_of_a_request_for_the_page_is_not_read(echo: Echo) -> None:
    with serving(make_app(echo, PATIENT, Sheet()), PATIENT) as served, served.connect() as one:
        answer = one.ask(request("GET /sheet HTTP/1.1", None, "content-length: 5"))
        assert answer.body == b"for "
        assert answer.header("connection") == "close"
