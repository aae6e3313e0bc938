"""Tests of auth/entries.py: entries and faults arrive as they were sent, and nothing else does."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorbucket.errors import (
    TABLE,
    AccessDenied,
    InvalidAccessKeyId,
    InvalidArgument,
    InvalidVectorBucketName,
    MalformedJson,
    NoSuchBucket,
    RequestTimeTooSkewed,
    SignatureDoesNotMatch,
    VectorBucketError,
    VectorIndexParameterInvalid,
)
from vectorbucket_server.auth.entries import (
    ACCOUNT_ID,
    AUTHORIZATION,
    FAULT,
    FAULT_BYTES_MAX,
    MESSAGE_CHARACTERS_MAX,
    PRINCIPAL,
    REMOTE_ADDRESS,
    REQUEST_ID,
    Entries,
    decode_fault,
    encode_fault,
    read_entries,
)

KINDS = [
    MalformedJson,
    VectorIndexParameterInvalid,
    InvalidArgument,
    InvalidVectorBucketName,
    AccessDenied,
    InvalidAccessKeyId,
    SignatureDoesNotMatch,
    RequestTimeTooSkewed,
]
ENTRIES = [AUTHORIZATION, PRINCIPAL, REQUEST_ID, ACCOUNT_ID, FAULT, REMOTE_ADDRESS]
FULL = Entries("key", "ann", "0" * 24, "123", b"{}", "192.0.2.1:5")


# --- Entries ------------------------------------------------------------------------------------


def test_entries_are_read_as_they_were_written() -> None:
    assert read_entries(FULL.metadata()) == FULL
    assert read_entries(Entries().metadata()) == Entries()


def test_entries_have_the_names_that_the_other_side_reads() -> None:
    assert FULL.metadata() == (
        ("authorization", "Bearer key"),
        ("x-vectorbucket-principal", "ann"),
        ("x-vectorbucket-request-id", "0" * 24),
        ("x-vectorbucket-account-id", "123"),
        ("x-vectorbucket-fault-bin", b"{}"),
        ("x-vectorbucket-remote-address", "192.0.2.1:5"),
    )


def test_other_metadata_is_passed_over() -> None:
    metadata = (("user-agent", "x"), (PRINCIPAL, "ann"), ("user-agent", "y"), ("t-bin", b"\x00"))
    assert read_entries(metadata) == Entries(principal="ann")


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER  abc ", "abc"),
        ("Bearer a b", "a b"),
        ("Bearer ", ""),
        ("Bearer", ""),
        ("abc", ""),
        ("", ""),
        ("Basic abc", ""),
        ("OSS4-HMAC-SHA256 Credential=a", ""),
    ],
)
def test_api_key_is_what_follows_bearer(value: str, key: str) -> None:
    assert read_entries([(AUTHORIZATION, value)]).api_key == key


@pytest.mark.parametrize("name", ENTRIES)
def test_entry_that_stands_twice_or_has_not_its_type_is_refused(name: str) -> None:
    right: str | bytes = b"a" if name == FAULT else "a"
    wrong: str | bytes = "a" if name == FAULT else b"a"
    with pytest.raises(InvalidArgument, match="stands twice"):
        read_entries([(name, right), (name, right)])
    with pytest.raises(InvalidArgument, match="has not its type"):
        read_entries([(name, wrong)])


def test_key_is_not_in_the_repr() -> None:
    assert "key" not in repr(FULL).replace("api_key", "")


# --- Faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", [None, "vectors[3].key"])
def test_fault_arrives_as_the_error_it_was(
    kind: type[VectorBucketError], field: str | None
) -> None:
    error = decode_fault(encode_fault(kind("dimension is 0; it must be 1 to 4096", field=field)))
    assert type(error) is kind
    assert (error.message, error.field) == ("dimension is 0; it must be 1 to 4096", field)


def test_fault_is_json_with_three_members() -> None:
    encoded = encode_fault(MalformedJson("no", field="body"))
    assert encoded == b'{"code":"MalformedJson","message":"no","field":"body"}'


@pytest.mark.parametrize("kind", [leaf for leaf in TABLE if leaf not in KINDS])
def test_error_that_only_the_server_can_find_is_no_fault(kind: type[VectorBucketError]) -> None:
    with pytest.raises(ValueError, match=kind.__name__):
        encode_fault(kind("no"))
    encoded = msgspec.json.encode({"code": kind.code, "message": "no", "field": None})
    with pytest.raises(InvalidArgument, match="none that a translator can find"):
        decode_fault(encoded)


@pytest.mark.parametrize("character", ["a", "é", "\U0001f600", "\x01", '"', "\ud800"])
def test_long_fault_is_cut_so_that_metadata_can_hold_it(character: str) -> None:
    long = VectorIndexParameterInvalid(character * 100_000, field=character * 100_000)
    encoded = encode_fault(long)
    assert len(encoded) <= FAULT_BYTES_MAX
    error = decode_fault(encoded)
    assert 0 < len(error.message) <= MESSAGE_CHARACTERS_MAX
    assert len(error.field or "") < MESSAGE_CHARACTERS_MAX


def test_message_of_a_thousand_characters_is_whole() -> None:
    message = "x" * MESSAGE_CHARACTERS_MAX
    assert decode_fault(encode_fault(MalformedJson(message))).message == message
    assert decode_fault(encode_fault(MalformedJson(message + "y"))).message == message


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'"\xff"',
        b'{"code":"MalformedJson"}',
        b'{"code":"MalformedJson","message":5}',
        b'{"code":"Other","message":"a"}',
        b'{"code":"","message":"a"}',
        b'{"code":"MalformedJson","message":"a","field":7}',
        b"[" * 4096,
        b'{"code":"MalformedJson","message":"a"}' + b" " * FAULT_BYTES_MAX,
    ],
)
def test_bytes_that_are_no_fault_are_an_invalid_argument(encoded: bytes) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_fault(encoded)
    assert caught.value.field == FAULT


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(encoded=st.binary(max_size=100))
def test_any_bytes_are_a_fault_or_an_invalid_argument(encoded: bytes) -> None:
    with pytest.raises(InvalidArgument):
        decode_fault(encoded)


def test_fault_of_a_class_below_a_leaf_is_refused() -> None:
    class Special(MalformedJson):
        """An error of ours that the contract does not know."""

    with pytest.raises(ValueError, match="Special"):
        encode_fault(Special("no"))
    with pytest.raises(ValueError, match="NoSuchBucket"):
        encode_fault(NoSuchBucket.of("b"))
