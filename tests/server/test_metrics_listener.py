"""The listener for metrics: who sees them, what else is there, and clients that are slow."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from authorities import Authority, TlsFolder, trusting
from conftest import StartServer
from measured import CREDENTIALS, OPERATOR_KEY, OWNER_KEY, kinds_in, value_in
from oss.live_rest import write_credentials
from raw_http import RawConnection, request
from rest_echo import PATIENT
from rooms import WITHIN_S, eventually
from rpc import PutStream, put_message, query_request, refused, stubs_of, vector_of
from vectorbucket_server import metrics_listener
from vectorbucket_server.app import Server
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.listening import StartFailed
from vectorbucket_server.metrics_listener import MetricsListener
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.observability.metric_table import METRICS

GET = request("GET /metrics HTTP/1.1")
ANYWHERE = "127.0.0.1:0"
OPEN = Authenticator(None, account_id="1")


def plain_listener() -> MetricsListener:
    """Return a listener of no server, which is open to everybody."""
    log = make_logger("json", "error", io.StringIO())
    return MetricsListener(ANYWHERE, lambda: "up 1.0\n", OPEN, identity=None, log=log)


@pytest.fixture(scope="module")
def listener() -> Iterator[MetricsListener]:
    made = plain_listener()
    made.start()
    yield made
    made.stop()


def ask(address: str, *parts: bytes) -> Any:
    with RawConnection(address) as connection:
        return connection.ask(*parts)


# --- Of a server ----------------------------------------------------------------------------------


def test_server_shows_what_it_has_done(start_server: StartServer) -> None:
    server = start_server(metrics_address=ANYWHERE)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        stubs.put(vector_of("a"), vector_of("b"))
        stubs.vectors.QueryVectors(query_request())
        refused(lambda: stubs.vectors.QueryVectors(query_request(top_k=0)))
        stream = PutStream(stubs)
        assert stream.ask(put_message(1, vector_of("c"))).stored.vector_count == 1
        answer = ask(server.metrics_address, GET)
        stream.finish()
    assert answer.status == 200
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    assert kinds_in(text) == {metric.name: metric.kind for metric in METRICS}
    code = {"method": "QueryVectors", "code": "INVALID_ARGUMENT"}
    assert value_in(text, "vectorbucket_calls_total", **code) == 1
    assert value_in(text, "vectorbucket_call_errors_total", reason="VectorIndexParameterInvalid")
    # Of the stream that is still open, too.
    assert value_in(text, "vectorbucket_vectors_acknowledged_total") == 3
    assert value_in(text, "vectorbucket_stream_messages_total", direction="answered") == 1
    assert value_in(text, "vectorbucket_calls_under_way", kind="stream") == 1
    assert value_in(text, "vectorbucket_vectors") == 3


def test_log_says_the_address_as_bound(
    start_server: StartServer, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    server = start_server(metrics_address=ANYWHERE)
    (line,) = [line for line in log_lines() if line["event"] == "serving"]
    assert line["metrics_address"] == server.metrics_address
    assert not server.metrics_address.endswith(":0")


def test_embedded_engine_is_measured_whole(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(metrics_address=ANYWHERE, engine="embedded", data_dir=tmp_path / "data")
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        stubs.put(vector_of("a"))
        stubs.vectors.QueryVectors(query_request())
    text = ask(server.metrics_address, GET).body.decode()
    assert value_in(text, "vectorbucket_scrape_errors_total") == 0
    assert value_in(text, "vectorbucket_queries_total", plan="exact_scan") == 1
    assert value_in(text, "vectorbucket_vectors") == 1
    assert value_in(text, "vectorbucket_indexes_loaded") == 1
    assert (value_in(text, "vectorbucket_disk_free_bytes") or 0) > 0


def test_operators_alone_see_metrics_of_a_server_with_credentials(
    start_server: StartServer, tmp_path: Path
) -> None:
    credentials = write_credentials(tmp_path, CREDENTIALS)
    address = start_server(metrics_address=ANYWHERE, credentials=credentials).metrics_address

    def status(*keys: str) -> int:
        headers = [f"authorization: Bearer {key}" for key in keys]
        answer: int = ask(address, request("GET /metrics HTTP/1.1", b"", *headers)).status
        return answer

    assert status(OPERATOR_KEY) == 200
    assert status(OWNER_KEY) == 403
    assert status() == status("vbk_wrong") == 401
    # It is not clear then who asks.
    assert status(OPERATOR_KEY, OPERATOR_KEY) == 400


def test_address_in_use_is_told_and_nothing_stays_open(start_server: StartServer) -> None:
    server = start_server(metrics_address=ANYWHERE)
    with pytest.raises(StartFailed, match="Address already in use"):
        start_server(metrics_address=server.metrics_address)


def test_address_is_free_again_when_the_server_has_stopped(start_server: StartServer) -> None:
    server: Server = start_server(metrics_address=ANYWHERE)
    server.stop()
    assert start_server(metrics_address=server.metrics_address).metrics_address


def test_listener_speaks_the_tls_of_the_others(start_server: StartServer, tmp_path: Path) -> None:
    authority = Authority()
    folder = TlsFolder(tmp_path / "tls", authority.issue(), authority)
    address = start_server(metrics_address=ANYWHERE, **folder.settings).metrics_address
    host, _, port = address.rpartition(":")
    stranger = trusting(authority)
    known = trusting(authority, authority.issue().in_file(tmp_path / "scraper.pem"))
    with socket.create_connection((host, int(port)), timeout=WITHIN_S) as plain:
        plain.sendall(GET)
        assert not plain.recv(100).startswith(b"HTTP")

    def answer_to(context: ssl.SSLContext) -> bytes:
        with (
            socket.create_connection((host, int(port)), timeout=WITHIN_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            wrapped.sendall(GET)
            return wrapped.recv(100)

    assert answer_to(known).startswith(b"HTTP/1.1 200 OK")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        answer_to(stranger)


# --- Of HTTP --------------------------------------------------------------------------------------


def test_connection_serves_one_scrape_after_the_other(listener: MetricsListener) -> None:
    with RawConnection(listener.address) as connection:
        for _ in range(3):
            assert connection.ask(GET).body == b"up 1.0\n"
        assert connection.ask(request("GET /metrics?name=x HTTP/1.1")).status == 200


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "POST /metrics HTTP/1.1", "PUT /x HTTP/1.1"])
def test_nothing_else_is_there(listener: MetricsListener, line: str) -> None:
    answer = ask(listener.address, request(line))
    assert answer.status == 404
    assert answer.header("content-type") == "text/plain; charset=utf-8"


def test_torn_request_is_refused_in_plain_text(listener: MetricsListener) -> None:
    answer = ask(listener.address, b"what\r\n\r\n")
    assert answer.status == 400
    assert answer.header("content-type") == "text/plain; charset=utf-8"


def test_clients_that_say_nothing_hold_up_nobody_and_are_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasty = replace(PATIENT, idle_timeout_s=0.5, connections_max=6, drain_grace_s=0.5)
    monkeypatch.setattr(metrics_listener, "OPTIONS", hasty)
    made = plain_listener()
    made.start()
    try:
        with ExitStack() as stack:
            idle = [stack.enter_context(RawConnection(made.address)) for _ in range(3)]
            slow = [stack.enter_context(RawConnection(made.address)) for _ in range(2)]
            for one in slow:
                one.send(GET[:10])
            assert ask(made.address, GET).status == 200
            assert all(one.is_ended() for one in idle)
            assert {one.read().status for one in slow} == {408}
    finally:
        made.stop()
    with socket.socket() as probe:
        host, port = made.address.split(":")
        eventually(lambda: probe.connect_ex((host, int(port))) != 0, "the address is free")


def test_listener_that_was_never_started_can_be_stopped() -> None:
    plain_listener().stop()
