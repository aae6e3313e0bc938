"""Where requests go: every form of host and target, and what only looks like one."""

from __future__ import annotations

import pytest

from vectorbucket_server.rest.oss.hosts import Address, address_of, text_of
from vectorbucket_server.rest.oss.messages import HttpRequest


def address(target: str, *hosts: str, base_domains: tuple[str, ...] = ()) -> Address:
    headers = tuple(("host", host) for host in hosts)
    return address_of(HttpRequest("POST", target, headers), base_domains)


@pytest.mark.parametrize(
    ("host", "bucket", "account_id", "service_host"),
    [
        ("photos-1234567890.oss.local:9000", "photos", "1234567890", "oss.local:9000"),
        ("photos-1.127.0.0.1:9000", "photos", "1", "127.0.0.1:9000"),
        ("photos-1.localhost", "photos", "1", "localhost"),
        ("Photos-1.OSS.Local", "photos", "1", "oss.local"),
        ("my-photos-2024-1.h.local", "my-photos-2024", "1", "h.local"),
        ("a--b-7.h", "a--b", "7", "h"),
        ("1-2.h", "1", "2", "h"),
        ("photos-1.h.", "photos", "1", "h"),
    ],
)
def test_the_first_label_names_bucket_and_account(
    host: str, bucket: str, account_id: str, service_host: str
) -> None:
    found = address("/?putVectors=", host)
    assert (found.bucket, found.account_id) == (bucket, account_id)
    assert found.service_host == service_host
    assert found.host == host.lower()
    assert found.fault is None


@pytest.mark.parametrize(
    "host",
    [
        *(
            "oss.local:9000",
            "127.0.0.1:9000",
            "localhost",
            "[::1]:9000",
            "node-7",
            "node-7:9000",
            "",
        ),
        *("photos.h", "photos-.h", "photos-x1.h", "-1.h", "photos-1x.h", "pho_tos-1.h", "photos-1"),
        *("photos-" + "9" * 33 + ".h", "photos-1.", "cn-hangzhou.oss.local"),
    ],
)
def test_other_hosts_are_the_service_itself(host: str) -> None:
    found = address("/", host)
    assert (found.bucket, found.account_id, found.fault) == ("", "", None)
    assert found.service_host == host


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("photos-1.vectors.local", "photos"),
        ("photos-1.node-7.vectors.local:80", "photos"),
        ("node-7.vectors.local", ""),
        ("vectors.local", ""),
        ("photos-1.other.local", ""),
        ("photos-1.deeper.vectors.local", ""),
        ("photos-1.xvectors.local", ""),
    ],
)
def test_with_base_domains_only_what_stands_left_of_one_is_a_bucket(host: str, bucket: str) -> None:
    base_domains = ("vectors.local", "node-7.vectors.local")
    assert address("/", host, base_domains=base_domains).bucket == bucket


@pytest.mark.parametrize(
    ("target", "bucket"),
    [
        ("/photos/?putVectors", "photos"),
        ("/photos?putVectors", "photos"),
        ("/photos/", "photos"),
        ("/ph%6Ftos/", "photos"),
        ("/photos%2Fx/", "photos/x"),
        ("/..", ".."),
        ("/%FF", "�"),
        ("/%ED%A0%80", "���"),
        ("/?a", ""),
        ("/", ""),
    ],
)
def test_without_a_bucket_in_the_host_the_path_names_it(target: str, bucket: str) -> None:
    found = address(target, "127.0.0.1:9000")
    assert (found.bucket, found.account_id, found.fault) == (bucket, "", None)


@pytest.mark.parametrize(
    ("target", "host", "bucket"),
    [
        ("/photos/object", "127.0.0.1", "photos"),
        ("/photos//", "127.0.0.1", "photos"),
        ("//", "127.0.0.1", ""),
        ("//photos/", "127.0.0.1", ""),
        ("/object", "photos-1.h", "photos"),
        ("/photos/", "photos-1.h", "photos"),
        ("//", "photos-1.h", "photos"),
    ],
)
def test_a_path_that_names_more_is_a_fault(target: str, host: str, bucket: str) -> None:
    found = address(target, host)
    assert found.bucket == bucket
    assert found.fault is not None
    assert "path" in found.fault.message


def test_the_host_of_an_absolute_target_counts_and_not_the_header() -> None:
    found = address("http://photos-1.h:80/?putVectors=", "other-2.h")
    assert (found.bucket, found.account_id, found.service_host) == ("photos", "1", "h:80")
    assert found.query == (("putVectors", ""),)
    assert address("HTTPS://photos-1.h").bucket == "photos"
    assert address("http://photos-1.h?bucketInfo").query == (("bucketInfo", ""),)
    assert address("http://127.0.0.1:9000/photos/?a=b").bucket == "photos"


@pytest.mark.parametrize(
    "target", ["", "*", "photos", "photos-1.h:80", "ftp://h/", "http:/h/", "http://h/#a", "http//"]
)
def test_a_target_that_is_neither_a_path_nor_a_url_is_a_fault(target: str) -> None:
    found = address(target, "photos-1.h")
    assert found.fault is not None
    assert "target" in found.fault.message


@pytest.mark.parametrize(
    "host",
    [
        *(
            "user@photos-1.h",
            "h:80x",
            "h:80:90",
            "[::1",
            "::1",
            "photos-1.h/",
            "photos 1.h",
            "h\x00",
        ),
        *("photos-1.höst", "photos-٣.h", "a" * 256, "a,b"),
    ],
)
def test_a_host_that_is_none_is_a_fault(host: str) -> None:
    found = address("/", host)
    assert found.fault is not None
    assert (found.bucket, found.host, found.service_host) == ("", "", "")
    assert "host" in found.fault.message


def test_hosts_that_differ_are_a_fault_and_the_same_twice_is_none() -> None:
    assert address("/", "photos-1.h", "other-1.h").fault is not None
    assert address("/", "photos-1.h", "photos-1.h").fault is None
    assert address("http://photos-1.h/", "a", "b").fault is None


def test_the_query_is_decoded_pair_by_pair() -> None:
    found = address("/?putVectors&a=&b=c=d&%61%3D=%26+%2B&&=x", "h")
    assert found.query == (
        ("putVectors", ""),
        ("a", ""),
        ("b", "c=d"),
        ("a=", "&++"),
        ("", "x"),
    )


def test_bytes_that_are_no_text_can_be_told_apart_for_the_signature() -> None:
    """Method: encoded back, they are as they were; as text, they are replaced."""
    ((_, value),) = address("/?prefix=a%FFb", "h").query
    assert value.encode("utf-8", "surrogateescape") == b"a\xffb"
    assert text_of(value) == "a�b"
    assert text_of("größe") == "größe"
    assert address("/?größe".encode().decode("latin-1"), "h").query == (("größe", ""),)
