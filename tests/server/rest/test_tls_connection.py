"""HTTP over TLS: what holds for plain connections holds for these, and handshakes have an end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from authorities import Authority, TlsFolder, trusting
from raw_http import RawConnection, Serving, request
from rest_echo import HASTY, LARGE_BYTES, PATIENT, Echo, assert_refused, echoing
from rooms import WITHIN_S, eventually
from vectorbucket_server.certificates import TlsFiles, load_identity
from vectorbucket_server.rest.http_server import Tls
from vectorbucket_server.rest.listener import REFUSED_MAX
from vectorbucket_server.rest.options import RestOptions

AUTHORITY = Authority()
QUICK = replace(HASTY, handshake_timeout_s=0.2)

Serve = Callable[[RestOptions], AbstractContextManager[Serving]]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What the listener shows."""
    folder = TlsFolder(tmp_path_factory.mktemp("tls"), AUTHORITY.issue())
    return load_identity(TlsFiles(str(folder.certificate), str(folder.key), None)).context


@pytest.fixture(scope="module")
def echo() -> Echo:
    """Answers with what was asked."""
    return Echo()


@pytest.fixture(scope="module")
def failures() -> list[str]:
    """Why handshakes failed."""
    return []


@pytest.fixture(scope="module")
def serve(echo: Echo, context: ssl.SSLContext, failures: list[str]) -> Serve:
    """Serve the echo over TLS."""

    @contextmanager
    def serving(options: RestOptions) -> Iterator[Serving]:
        tls = Tls(lambda: context, lambda reason, _address: failures.append(reason))
        with echoing(echo, options, tls) as served:
            served.tls = trusting(AUTHORITY)
            yield served

    return serving


@pytest.fixture(scope="module")
def encrypted(serve: Serve) -> Iterator[Serving]:
    """The echo, served with patience."""
    with serve(PATIENT) as served:
        yield served


@pytest.fixture(autouse=True)
def _forget(echo: Echo, failures: list[str]) -> None:
    echo.targets.clear()
    failures.clear()


def bare(served: Serving) -> socket.socket:
    """Return a connection on which nobody has said anything."""
    host, _, port = served.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=WITHIN_S)


def ended(connection: socket.socket) -> bytes:
    """Return what comes before the other side's end, which is no reset."""
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def is_room(served: Serving) -> bool:
    """Return whether one more connection is answered."""
    try:
        return served.ask(request()).status == 200
    except OSError:
        return False


# --- As plain connections -------------------------------------------------------------------------


def test_request_is_answered_and_another_on_the_same_connection(encrypted: Serving) -> None:
    with encrypted.connect() as connection:
        for number in range(3):
            answer = connection.ask(request(f"POST /{number} HTTP/1.1", b"body"))
            assert (answer.json()["target"], answer.json()["body"]) == (f"/{number}", "body")
            assert answer.json()["from"].endswith(f":{connection.socket.getsockname()[1]}")
        tls: Any = connection.socket
        assert tls.version() == "TLSv1.3"


def test_http_is_what_is_agreed_on_and_older_clients_are_served(encrypted: Serving) -> None:
    asking = trusting(AUTHORITY)
    asking.maximum_version = ssl.TLSVersion.TLSv1_2
    asking.set_alpn_protocols(["h2", "http/1.1"])
    with RawConnection(encrypted.address, asking) as connection:
        assert connection.ask(request()).status == 200
        tls: Any = connection.socket
        assert (tls.version(), tls.selected_alpn_protocol()) == ("TLSv1.2", "http/1.1")


@pytest.mark.parametrize("size", [0, 1, 64 * 1024 + 1, 1_000_000])
def test_bodies_arrive_whole(encrypted: Serving, size: int) -> None:
    body = (bytes(range(97, 123)) * (size // 26 + 1))[:size]
    asked = encrypted.ask(request("POST / HTTP/1.1", body)).json()
    assert (asked["size"], asked["sum"]) == (size, sum(body))


def test_large_answer_arrives_whole(encrypted: Serving) -> None:
    with encrypted.connect() as connection:
        assert connection.ask(request("GET /large HTTP/1.1")).body == b"1" * LARGE_BYTES
        assert connection.ask(request()).status == 200


def test_requests_in_one_go_are_answered_in_their_order(encrypted: Serving) -> None:
    lines = [f"POST /{number} HTTP/1.1" for number in range(10)]
    with encrypted.connect() as connection:
        connection.send(*(request(line, b"x" * 50_000) for line in lines))
        assert [connection.read().json()["target"] for _ in lines] == [
            f"/{number}" for number in range(10)
        ]


def test_client_that_sends_a_too_large_body_sees_the_answer(encrypted: Serving) -> None:
    too_large = b"x" * (PATIENT.body_bytes_max + 1)
    with encrypted.connect() as connection:
        connection.send_as_far_as_it_goes(request("POST / HTTP/1.1", too_large))
        assert_refused(connection.read(), 413, "EntityTooLarge")
        assert connection.is_ended()


def test_malformed_request_is_refused_in_the_dialect(encrypted: Serving) -> None:
    with encrypted.connect() as connection:
        assert_refused(connection.ask(b"hello\r\n\r\n"), 400, "InvalidArgument")
        assert connection.is_ended()


def test_client_that_says_its_end_is_told_ours(encrypted: Serving) -> None:
    connection = encrypted.connect()
    assert connection.ask(request()).status == 200
    tls: Any = connection.socket
    assert ended(tls.unwrap()) == b""
    connection.close()


def test_client_that_leaves_takes_its_request_with_it(encrypted: Serving, echo: Echo) -> None:
    connection = encrypted.connect()
    connection.send(request("GET /wait HTTP/1.1"))
    assert echo.waiting.acquire(timeout=WITHIN_S)
    connection.close()
    eventually(lambda: echo.cancelled == 1, "the request is broken off")


def test_answer_that_nobody_reads_ends_the_connection(serve: Serve, echo: Echo) -> None:
    with (
        serve(replace(QUICK, connections_max=1)) as served,
        served.connect() as connection,
    ):
        connection.send(request("GET /large HTTP/1.1"))
        eventually(lambda: echo.targets, "the request arrived")
        assert served.ask(request()).status == 503
        eventually(lambda: served.ask(request()).status == 200, "there is room for another")


# --- Handshakes -----------------------------------------------------------------------------------


def test_handshake_may_come_byte_by_byte(encrypted: Serving) -> None:
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = trusting(AUTHORITY).wrap_bio(received, sent, server_hostname="127.0.0.1")
    with bare(encrypted) as connection:

        def until_done(step: Callable[[], Any]) -> Any:
            while True:
                with suppress(ssl.SSLWantReadError):
                    return step()
                for byte in sent.read():
                    connection.sendall(bytes([byte]))
                received.write(connection.recv(1 << 16))

        until_done(asking.do_handshake)
        asking.write(request())
        assert until_done(lambda: asking.read(1000)).startswith(b"HTTP/1.1 200 OK")


def test_plain_request_is_closed_on(encrypted: Serving, failures: list[str]) -> None:
    with bare(encrypted) as connection:
        connection.sendall(request())
        assert b"HTTP" not in ended(connection)
    assert failures == ["HTTP_REQUEST"]
    assert encrypted.ask(request()).status == 200


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x00\x05hello", b"\0" * 100_000, b"\xff"],
    ids=["no_hello", "zeros", "one_byte"],
)
def test_bytes_of_any_kind_end_in_nothing_worse(
    serve: Serve, failures: list[str], data: bytes
) -> None:
    with serve(QUICK) as served:
        with bare(served) as connection, suppress(ConnectionError):
            connection.sendall(data)
            ended(connection)
        eventually(lambda: len(failures) == 1, "the handshake has failed")
        assert served.ask(request()).status == 200


def test_client_that_trusts_somebody_else_leaves(encrypted: Serving, failures: list[str]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        RawConnection(encrypted.address, trusting(Authority()))
    eventually(lambda: failures, "it was told why")
    assert "UNKNOWN_CA" in failures[0]


def test_handshake_that_never_comes_is_not_waited_for(serve: Serve, failures: list[str]) -> None:
    with serve(QUICK) as served, bare(served) as connection:
        assert ended(connection) == b""
    assert failures == ["it took too long"]


def test_client_that_leaves_in_its_handshake_is_forgotten(
    serve: Serve, failures: list[str]
) -> None:
    with serve(replace(PATIENT, connections_max=1)) as served:
        for _ in range(2 * REFUSED_MAX):
            bare(served).close()
        eventually(lambda: is_room(served), "all of them are forgotten")
    assert failures == []


def test_handshakes_count_as_connections(serve: Serve) -> None:
    with serve(replace(PATIENT, connections_max=1)) as served:
        with ExitStack() as held:
            for _ in range(REFUSED_MAX + 1):
                held.enter_context(bare(served))
            assert ended(held.enter_context(bare(served))) == b""
            assert not is_room(served)
        eventually(lambda: is_room(served), "there is room again")


def test_stop_waits_for_no_handshake(serve: Serve) -> None:
    patient = replace(PATIENT, drain_grace_s=WITHIN_S)
    with serve(patient) as served, bare(served) as connection:
        assert served.ask(request()).status == 200, "the connection before it was taken, too"
        served.stop()
        assert ended(connection) == b""
        served.ended.result(WITHIN_S)
