"""Connections that are silent, slow, too many or gone, and whatever else may be sent."""

from __future__ import annotations

import random
import re
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from raw_http import Serving, chunked, request
from rest_echo import HASTY, LARGE_BYTES, PATIENT, Echo, assert_refused, echoing
from rooms import WITHIN_S, eventually
from vectorbucket_server.rest.listener import REFUSED_MAX

HEAD = request("GET / HTTP/1.1")[:-2]


# --- Silence and slowness -----------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n"])
def test_connection_that_asks_nothing_is_closed(hasty: Serving, data: bytes) -> None:
    with hasty.connect() as connection:
        assert connection.send(data).is_ended()


def test_connection_that_asks_no_more_is_closed(hasty: Serving) -> None:
    with hasty.connect() as connection:
        assert connection.ask(request()).status == 200
        assert connection.is_ended()


@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\nhost: a", b"GET / HTTP/1.1\r\n"])
def test_request_whose_headers_do_not_come_is_timed_out(hasty: Serving, data: bytes) -> None:
    with hasty.connect() as connection:
        assert_refused(connection.ask(data), 408, "RequestTimeout")
        assert connection.is_ended()


def test_headers_that_trickle_in_are_timed_out(hasty: Serving) -> None:
    with hasty.connect() as connection:
        connection.send(HEAD)
        while not connection.has_answer(HASTY.idle_timeout_s / 10):
            connection.send_as_far_as_it_goes(b"x: y\r\n")
        assert_refused(connection.read(), 408, "RequestTimeout")


@pytest.mark.parametrize("sent", [b"", b"half"])
def test_body_that_stalls_is_timed_out(hasty: Serving, sent: bytes) -> None:
    with hasty.connect() as connection:
        answer = connection.ask(request("POST / HTTP/1.1", None, "content-length: 8"), sent)
        assert_refused(answer, 408, "RequestTimeout")
        assert connection.is_ended()


def test_body_that_trickles_in_is_timed_out(echo: Echo, hasty: Serving) -> None:
    with hasty.connect() as connection:
        connection.send(request("POST / HTTP/1.1", None, "content-length: 1000000"))
        while not connection.has_answer(HASTY.idle_timeout_s / 10):
            connection.send_as_far_as_it_goes(b"x")
        assert_refused(connection.read(), 408, "RequestTimeout")
    assert echo.targets == []


def test_request_that_takes_long_to_answer_is_not_timed_out(echo: Echo, hasty: Serving) -> None:
    with hasty.connect() as connection:
        connection.send(request("GET /wait HTTP/1.1"))
        assert echo.waiting.acquire(timeout=WITHIN_S)
        for _ in range(3):  # longer than all patience with clients
            with hasty.connect() as silent:
                assert silent.is_ended()
        echo.go_on()
        assert connection.read().json()["target"] == "/wait"


def test_answer_that_nobody_reads_ends_the_connection(echo: Echo) -> None:
    alone = replace(HASTY, connections_max=1)
    with echoing(echo, alone) as served, served.connect() as connection:
        connection.send(request("GET /large HTTP/1.1"))
        eventually(lambda: echo.targets, "the request arrived")
        eventually(lambda: served.ask(request()).status == 200, "there is room for another")
        assert len(connection.read_to_end()) < LARGE_BYTES


def test_answer_that_is_read_too_slowly_ends_the_connection(echo: Echo) -> None:
    alone = replace(HASTY, connections_max=1, idle_timeout_s=WITHIN_S, answer_timeout_s=1.0)
    with echoing(echo, alone) as served, served.connect() as connection:
        # What the system keeps for the client counts as taken.
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        connection.send(request("GET /large HTTP/1.1"))
        eventually(lambda: echo.targets, "the request arrived")
        began_s, size = time.monotonic(), 0
        while served.ask(request()).status != 200:  # there is no room for another
            size += len(connection.socket.recv(LARGE_BYTES // 5000))
        assert time.monotonic() - began_s < WITHIN_S
        assert size + len(connection.read_to_end()) < LARGE_BYTES


def test_answer_that_is_read_slowly_arrives_whole(hasty: Serving) -> None:
    with hasty.connect() as connection:
        connection.send(request("GET /large HTTP/1.1"))
        began_s, parts = time.monotonic(), 0
        while time.monotonic() < began_s + 3 * HASTY.idle_timeout_s:
            parts += len(connection.socket.recv(10_000))
            connection.has_answer(HASTY.idle_timeout_s / 50)
        assert parts + len(connection.read_to_end()) > LARGE_BYTES


# --- Clients that leave, and too many of them ---------------------------------------------------


def test_client_that_leaves_takes_its_request_with_it(echo: Echo, served: Serving) -> None:
    with served.connect() as connection:
        connection.send(request("GET /wait HTTP/1.1"), request("GET /next HTTP/1.1"))
        assert echo.waiting.acquire(timeout=WITHIN_S)
    eventually(lambda: echo.cancelled == 1, "the request is broken off")
    assert served.ask(request("GET /another HTTP/1.1")).status == 200
    assert echo.targets == ["/wait", "/another"]


def test_client_that_leaves_within_a_body_leaves_nothing(echo: Echo, served: Serving) -> None:
    for _ in range(3 * PATIENT.connections_max):
        with served.connect() as connection:
            head = request("POST /half HTTP/1.1", None, "content-length: 1000000")
            connection.send(head, b"x" * 700_000)
    with ExitStack() as held:
        for _ in range(PATIENT.connections_max - 1):
            connection = held.enter_context(served.connect())
            eventually(lambda: served.ask(request("GET /a HTTP/1.1")).status == 200, "room")
    assert set(echo.targets) == {"/a"}


def test_client_that_leaves_behind_a_large_body_takes_its_request_with_it(
    echo: Echo, served: Serving
) -> None:
    with served.connect() as connection:
        connection.send(request("POST /wait HTTP/1.1", b"x" * PATIENT.body_bytes_max))
        assert echo.waiting.acquire(timeout=WITHIN_S)
    eventually(lambda: echo.cancelled == 1, "the request is broken off")


def test_connections_past_their_bound_are_refused_and_welcome_later(served: Serving) -> None:
    with ExitStack() as held:
        for _ in range(PATIENT.connections_max):
            connection = held.enter_context(served.connect())
            assert connection.ask(request()).status == 200
        refused = served.ask(request())
        assert_refused(refused, 503, "QpsLimitExceeded")
        assert refused.header("retry-after")
        assert connection.ask(request()).status == 200
    eventually(lambda: served.ask(request()).status == 200, "there is room again")


def test_flood_of_connections_is_cut(served: Serving) -> None:
    with ExitStack() as held:
        for _ in range(PATIENT.connections_max):
            held.enter_context(served.connect()).ask(request())
        for _ in range(REFUSED_MAX):
            assert held.enter_context(served.connect()).read().status == 503
        assert held.enter_context(served.connect()).is_ended()


# --- Anything at all ----------------------------------------------------------------------------


def mangled(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few of them replaced, removed, doubled or added."""
    mangled = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(mangled))
        match chance.randrange(4):
            case 0:
                mangled[place] = chance.randrange(256)
            case 1:
                del mangled[place : place + chance.randrange(1, 20)]
            case 2:
                mangled[place:place] = mangled[place : place + chance.randrange(1, 40)]
            case _:
                mangled[place:place] = chance.choice([b"\r\n", b"\n", b"\0", b": ", b"0\r\n\r\n"])
    return bytes(mangled) or b"x"


def test_whatever_is_sent_gets_an_answer_or_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chance = random.Random(1)
    chunks = request("POST /?a= HTTP/1.1", None, "transfer-encoding: chunked")
    seeds = [
        request("POST /?putVectors= HTTP/1.1", b"{}", "expect: 100-continue") + request(),
        request("GET http://a-1.b/?x HTTP/1.1", None, "connection: upgrade", "upgrade: h2c") * 2,
        chunks + chunked(b"some", b"bytes") + request("DELETE /nothing HTTP/1.1"),
        request("HEAD / HTTP/1.0") + request("CONNECT a:1 HTTP/1.1"),
    ]
    brisk = replace(HASTY, idle_timeout_s=0.05, linger_s=0.05)
    with echoing(Echo(), brisk) as served:
        for number in range(400):
            data = mangled(chance.choice(seeds), chance)
            with served.connect() as connection:
                connection.send_as_far_as_it_goes(data)
                if number % 4:
                    with suppress(OSError):  # the other side may have ended already
                        connection.socket.shutdown(socket.SHUT_WR)
                answers = connection.read_to_end()
            found = set(re.findall(rb"^HTTP/1.1 (\d+)", answers, re.MULTILINE))
            assert found <= {b"100", b"200", b"204", b"400", b"405", b"408", b"413", b"503"}, data
        assert served.ask(request()).status == 200
    assert caplog.records == []
