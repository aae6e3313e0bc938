"""Every error as a status, within its bounds, and nothing of the server's own."""

from __future__ import annotations

import pytest
from grpc_status import rpc_status

from rpc import refusal_of
from vectorbucket.errors import (
    TABLE,
    Corruption,
    InternalError,
    NoSuchBucket,
    QpsLimitExceeded,
    VectorBucketError,
    VectorIndexParameterInvalid,
)
from vectorbucket.v1 import error_pb2
from vectorbucket_server.service.status import MESSAGE_BYTES_MAX, to_status

REQUEST_ID = "0123456789ABCDEF01234567"

TRAILER_BYTES_MAX = 8 * 1024
"""What receivers of gRPC take by default."""


@pytest.mark.parametrize("leaf", TABLE)
def test_every_leaf_gets_its_code_reason_and_request_id(leaf: type[VectorBucketError]) -> None:
    status = to_status(leaf("what went wrong"), REQUEST_ID)
    refusal = refusal_of(status)
    assert status.code == leaf.grpc_code == refusal.code.value[0]
    assert refusal.reason == leaf.reason
    assert refusal.reason in error_pb2.ErrorReason.DESCRIPTOR.values_by_name
    assert refusal.domain == "vectorbucket"
    assert refusal.facts == {"code": leaf.code}
    assert refusal.request_id == REQUEST_ID
    assert (refusal.retry_after_s is not None) == leaf.retryable
    assert refusal.field is None


def test_field_value_and_limit_stand_in_the_facts() -> None:
    error = VectorIndexParameterInvalid(
        "dimension is 5000; the limit is 4096",
        field="dimension",
        details={"value": "5000", "limit": "4096"},
    )
    refusal = refusal_of(to_status(error, REQUEST_ID))
    assert refusal.message == "dimension is 5000; the limit is 4096"
    assert refusal.field == "dimension"
    assert refusal.facts == {
        "code": "VectorIndexParameterInvalid",
        "field": "dimension",
        "value": "5000",
        "limit": "4096",
    }


def test_details_of_a_resource_stand_in_the_facts() -> None:
    refusal = refusal_of(to_status(NoSuchBucket.of("photos"), REQUEST_ID))
    assert refusal.facts == {"code": "NoSuchBucket", "bucket": "photos"}


def test_retry_says_how_long_to_wait() -> None:
    error = QpsLimitExceeded("too much at once", retry_after_s=0.25)
    assert refusal_of(to_status(error, REQUEST_ID)).retry_after_s == 0.25


@pytest.mark.parametrize("leaf", [InternalError, Corruption])
def test_servers_own_failures_keep_their_text_to_themselves(leaf: type[InternalError]) -> None:
    error = leaf("family rows, key 00ff", field="secret", details={"path": "/var/lib"})
    status = to_status(error, REQUEST_ID)
    refusal = refusal_of(status)
    assert refusal.reason == "ERROR_REASON_INTERNAL_ERROR"
    assert refusal.facts == {"code": "InternalError"}
    assert refusal.field is None
    assert REQUEST_ID in refusal.message
    for secret in (b"rows", b"00ff", b"secret", b"/var/lib"):
        assert secret not in status.SerializeToString()


@pytest.mark.parametrize("character", ["x", "é", "🜁", "\n", "%", "\0"])
def test_status_of_the_longest_error_fits_the_trailers(character: str) -> None:
    long = character * 5_000
    error = VectorIndexParameterInvalid(
        long, field=long, details={"value": long, "limit": long}, retry_after_s=1.0
    )
    status = to_status(error, REQUEST_ID)
    assert len(status.message.encode()) <= MESSAGE_BYTES_MAX
    assert status.message.endswith("…")
    rendered = rpc_status.to_status(status)
    trailers = rendered.trailing_metadata or ()
    binary = sum(len(value) for _, value in trailers)
    percent_encoded = 3 * len(status.message.encode())
    assert percent_encoded + binary * 4 // 3 + 500 < TRAILER_BYTES_MAX


def test_message_that_fits_is_not_touched() -> None:
    text = "é" * (MESSAGE_BYTES_MAX // 2)
    assert to_status(VectorIndexParameterInvalid(text), REQUEST_ID).message == text
    assert to_status(VectorIndexParameterInvalid(text + "x"), REQUEST_ID).message.endswith("é…")
