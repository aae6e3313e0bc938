"""uvicorn as it is used here: up, down, and silent about itself."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from raw_http import RawConnection, request
from rest_echo import HASTY, PATIENT, Echo, echoing
from rooms import WITHIN_S, eventually


def is_refused(address: str) -> bool:
    """Return whether nobody listens at an address."""
    host, _, port = address.rpartition(":")
    with suppress(ConnectionRefusedError), socket.create_connection((host, int(port))):
        return False
    return True


def test_signals_stay_as_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with echoing(Echo(), PATIENT) as served:
        assert served.ask(request()).status == 200
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert during == before


def test_nothing_is_logged_of_requests_and_refusals(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), echoing(Echo(), PATIENT) as served:
        served.ask(request("GET /secret HTTP/1.1"))
        served.ask(b"secret\r\n\r\n")
        served.ask(request("GET / HTTP/1.1", None, "connection: upgrade", "upgrade: websocket"))
    assert [record for record in caplog.records if "uvicorn" in record.name] == []


def test_first_answer_has_a_date() -> None:
    with echoing(Echo(), PATIENT) as served:
        assert served.ask(request()).header("date")


def test_stop_closes_idle_connections_at_once_and_takes_no_new_ones() -> None:
    echo = Echo()
    with echoing(echo, PATIENT) as served, ExitStack() as held:
        silent = held.enter_context(served.connect())
        idle = held.enter_context(served.connect())
        assert idle.ask(request()).status == 200
        served.stop()
        assert idle.is_ended()
        assert silent.is_ended()
        served.ended.result(WITHIN_S)
        assert is_refused(served.address)


def test_requests_under_way_are_answered_when_told_to_stop() -> None:
    echo = Echo()
    with echoing(echo, PATIENT) as served, ExitStack() as held:
        answered = held.enter_context(served.connect())
        answered.send(request("GET /wait HTTP/1.1"))
        halfway = held.enter_context(served.connect())
        halfway.send(request("POST /body HTTP/1.1", None, "content-length: 4"), b"bo")
        assert echo.waiting.acquire(timeout=WITHIN_S)
        served.stop()
        eventually(lambda: is_refused(served.address), "nobody listens any more")
        assert not served.ended.done()
        echo.go_on()
        answer = answered.read()
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert answered.is_ended()
        assert halfway.ask(b"dy").json()["body"] == "body"
        served.ended.result(WITHIN_S)


def test_requests_that_outlast_the_grace_are_cut() -> None:
    echo = Echo()
    options = replace(HASTY, body_timeout_s=60.0, idle_timeout_s=60.0)
    with echoing(echo, options) as served, ExitStack() as held:
        cut: list[RawConnection] = [held.enter_context(served.connect()) for _ in range(3)]
        cut[0].send(request("GET /wait HTTP/1.1"))
        cut[1].send(request("POST / HTTP/1.1", None, "content-length: 4"), b"bo")
        cut[2].send(request("GET /large HTTP/1.1"))
        assert echo.waiting.acquire(timeout=WITHIN_S)
        eventually(lambda: "/large" in echo.targets, "the large answer was asked for")
        served.stop()
        served.ended.result(WITHIN_S)
        assert echo.cancelled == 1
        assert cut[0].is_ended()
        assert cut[1].is_ended()


def test_two_servers_have_nothing_in_common() -> None:
    with echoing(Echo(), PATIENT) as one, echoing(Echo(), PATIENT) as other:
        one.stop()
        one.ended.result(WITHIN_S)
        assert other.ask(request()).status == 200
