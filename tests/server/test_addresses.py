"""Addresses: what is one, and which ones only this machine reaches."""

from __future__ import annotations

import pytest

from vectorbucket_server.addresses import (
    check_reachable,
    domain,
    domains,
    is_loopback,
    split_address,
)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:50051", "[::1]", 50051),
    ],
)
def test_address_is_host_and_port(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)


@pytest.mark.parametrize(
    "address", ["", ":1", "host", "host:", "a:b:1", "[::1]", "host:1x", "h:\u0661"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"is no HOST:PORT|has no port"):
        split_address(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "[::1]", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", [".".join("0000"), "192.168.1.1", "[::]", "example.com"])
def test_what_other_machines_reach_needs_permission(host: str) -> None:
    assert not is_loopback(host)


def test_listener_that_other_machines_reach_needs_somebody_who_wants_that() -> None:
    check_reachable("grpc_address", "127.0.0.1:1", guarded=False)
    check_reachable("grpc_address", "0.0.0.0:1", guarded=True)
    with pytest.raises(ValueError, match=r"grpc_address 0\.0\.0\.0:1 is no loopback address"):
        check_reachable("grpc_address", "0.0.0.0:1", guarded=False)


def test_domain_is_a_host_name_in_small_letters() -> None:
    assert domain("Vectors.Example.org:8080") == "vectors.example.org:8080"
    for wrong in ("", "-a", "a_b", "a:", 7):
        with pytest.raises(ValueError, match="is no host name"):
            domain(wrong)


def test_domains_stand_in_a_list_or_between_commas() -> None:
    assert domains("A.org, b.org,") == domains(["a.org", "b.org"]) == ("a.org", "b.org")
    assert domains(7) == 7
