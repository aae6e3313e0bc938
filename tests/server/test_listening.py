"""Addresses are listened on, or refused in the operating system's words."""

from __future__ import annotations

import socket

import pytest

from vectorbucket_server.listening import StartFailed, listen, why_not


def connect(host: str, port: int) -> None:
    """Connect, which succeeds as soon as somebody listens."""
    with socket.create_connection((host, port), timeout=5):
        pass


def test_port_0_takes_a_free_port_that_can_be_connected_to() -> None:
    with listen("127.0.0.1:0") as first, listen("127.0.0.1:0") as second:
        ports = {one.getsockname()[1] for one in (first, second)}
        assert len(ports) == 2
        for port in ports:
            connect("127.0.0.1", port)


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
def test_other_spellings_of_loopback_are_listened_on(host: str) -> None:
    with listen(f"{host}:0") as listening:
        connect(host.strip("[]"), listening.getsockname()[1])


def test_any_address_of_ipv6_is_also_any_of_ipv4() -> None:
    with listen("[::]:0") as listening:
        port = listening.getsockname()[1]
        connect("127.0.0.1", port)
        connect("::1", port)


def test_address_in_use_is_told() -> None:
    with listen("127.0.0.1:0") as first:
        address = f"127.0.0.1:{first.getsockname()[1]}"
        with pytest.raises(StartFailed) as caught:
            listen(address)
        assert str(caught.value) == f"cannot serve on {address}: Address already in use"
        assert why_not(address) == "Address already in use"


def test_address_can_be_taken_again_at_once() -> None:
    with listen("127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            accepted, _ = first.accept()
            accepted.close()  # the side that closes first keeps the port in TIME_WAIT
    with listen(f"127.0.0.1:{port}") as second:
        assert second.getsockname()[1] == port


def test_address_of_another_machine_is_told() -> None:
    with pytest.raises(StartFailed, match=r"cannot serve on 192\.0\.2\.1:0: Cannot assign"):
        listen("192.0.2.1:0")
    assert why_not("192.0.2.1:0").startswith("Cannot assign")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64])
def test_host_that_is_none_is_told_in_one_line(host: str) -> None:
    with pytest.raises(StartFailed) as caught:
        listen(f"{host}:0")
    assert str(caught.value).startswith(f"cannot serve on {host}:0: ")
    assert "\n" not in str(caught.value)


def test_nothing_is_said_against_an_address_that_can_be_had() -> None:
    assert why_not("127.0.0.1:0") == "gRPC refused it"
