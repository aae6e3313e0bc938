"""Answers as they are framed, over an application that frames them in every way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from raw_http import Serving, request, serving
from rest_echo import PATIENT


async def answer_as_told(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer in the way that the path says."""
    await receive()
    headers: list[tuple[bytes, bytes]] = []
    parts = [b"one"]
    match scope["path"]:
        case "/named":
            headers = [(b"Server", b"another"), (b"DATE", b"yesterday"), (b"Content-Length", b"3")]
        case "/closing":
            headers = [(b"Connection", b"close")]
        case "/parts":
            parts = [b"one", b"two", b"three"]
        case "/large":
            parts = [b"x" * 200_000]
        case "/break":
            headers = [(b"x", b"a\nb")]
        case "/cancel":
            raise asyncio.CancelledError
        case "/silent":
            return
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for part in parts[:-1]:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": parts[-1]})


@pytest.fixture
def served() -> Iterator[Serving]:
    """The application, served."""
    with serving(answer_as_told, PATIENT) as served:
        yield served


def test_headers_of_every_answer_are_added_where_they_are_missing(served: Serving) -> None:
    answer = served.ask(request())
    assert answer.header("server") == "vectorbucket"
    assert answer.header("content-length") == "3"
    assert answer.header("date")


def test_headers_that_an_application_gives_stand_once(served: Serving) -> None:
    answer = served.ask(request("GET /named HTTP/1.1"))
    assert answer.header("server") == "another"
    assert answer.header("date") == "yesterday"
    assert answer.header("content-length") == "3"


def test_application_may_close_the_connection(served: Serving) -> None:
    with served.connect() as connection:
        assert connection.ask(request("GET /closing HTTP/1.1")).header("connection") == "close"
        assert connection.is_ended()


def test_answer_in_parts_goes_out_in_chunks(served: Serving) -> None:
    with served.connect() as connection:
        answer = connection.ask(request("GET /parts HTTP/1.1"))
        assert answer.body == b"onetwothree"
        assert answer.header("transfer-encoding") == "chunked"
        assert answer.header("server") == "vectorbucket"
        assert connection.ask(request()).status == 200


def test_large_answer_arrives_whole(served: Serving) -> None:
    with served.connect() as connection:
        assert connection.ask(request("GET /large HTTP/1.1")).body == b"x" * 200_000
        assert connection.ask(request()).status == 200


def test_header_with_a_line_break_is_never_sent(served: Serving) -> None:
    answer = served.ask(request("GET /break HTTP/1.1"))
    assert (answer.status, answer.all("x")) == (500, [])


def test_application_without_an_answer_is_an_error(served: Serving) -> None:
    assert served.ask(request("GET /silent HTTP/1.1")).status == 500


def test_application_that_is_broken_off_ends_the_connection(
    served: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    with served.connect() as connection:
        assert connection.send(request("GET /cancel HTTP/1.1")).is_ended()
    assert caplog.records == []
