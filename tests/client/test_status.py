"""Every way in which a call can end becomes a leaf, and what the server said survives."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from vectorbucket import VectorBucketError
from vectorbucket._status import LEAF_BY_CODE, error_of_call, error_of_status
from vectorbucket.errors import (
    TABLE,
    EntityTooLarge,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NoSuchVectorIndex,
    NotFound,
    QpsLimitExceeded,
    RequestTimeout,
    ServiceUnavailable,
    VectorIndexParameterInvalid,
)


class Ended(grpc.RpcError, grpc.Call):
    """A call that ended with this status: what a stub raises, without a network."""

    def __init__(
        self, code: grpc.StatusCode, text: str, status: status_pb2.Status | None = None
    ) -> None:
        super().__init__()
        self._code = code
        self._text = text
        self._trailers: tuple[tuple[str, bytes], ...] = ()
        if status is not None:
            self._trailers = (("grpc-status-details-bin", status.SerializeToString()),)

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._text

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:  # type: ignore[override]
        return self._trailers

    def initial_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return ()

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> None:  # type: ignore[override]
        return None

    def cancel(self) -> bool:
        return False

    def add_callback(self, callback: object) -> bool:
        raise NotImplementedError


def status(code: int, message: str, *details: Message) -> status_pb2.Status:
    """Return a status with its details packed."""
    packed = [any_pb2.Any() for _ in details]
    for one, detail in zip(packed, details, strict=True):
        one.Pack(detail)
    return status_pb2.Status(code=code, message=message, details=packed)


def info(leaf: type[VectorBucketError], **facts: str) -> error_details_pb2.ErrorInfo:
    """Return the ErrorInfo that a server sends for a leaf."""
    return error_details_pb2.ErrorInfo(
        reason=leaf.reason, domain="vectorbucket", metadata={"code": leaf.code, **facts}
    )


def test_the_stand_in_for_a_call_is_read_by_the_official_package() -> None:
    sent = status(3, "bad", info(VectorIndexParameterInvalid))
    assert rpc_status.from_call(Ended(grpc.StatusCode.INVALID_ARGUMENT, "bad", sent)) == sent


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"])
def test_every_status_without_details_is_a_leaf(code: grpc.StatusCode) -> None:
    error = error_of_call(Ended(code, "why it ended"))
    assert type(error) in TABLE
    assert "why it ended" in error.message
    assert code.name in error.message


def test_table_of_codes_is_total() -> None:
    assert set(LEAF_BY_CODE) == {code for code in grpc.StatusCode if code.name != "OK"}


@pytest.mark.parametrize(
    ("code", "leaf"),
    [
        (grpc.StatusCode.UNAVAILABLE, ServiceUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, RequestTimeout),
        (grpc.StatusCode.CANCELLED, RequestTimeout),
        (grpc.StatusCode.UNIMPLEMENTED, MethodNotAllowed),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, QpsLimitExceeded),
        (grpc.StatusCode.UNKNOWN, InternalError),
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequest),
    ],
)
def test_status_without_details_becomes_what_its_code_says(
    code: grpc.StatusCode, leaf: type[VectorBucketError]
) -> None:
    assert isinstance(error_of_call(Ended(code, "")), leaf)


@pytest.mark.parametrize(
    "text",
    [
        "Received message larger than max (70000000 vs. 67108864)",
        "CLIENT: Received message larger than max (4194400 vs. 4194304)",
        "Sent message larger than max (5 vs. 4)",
    ],
)
def test_grpcs_own_refusal_of_a_message_is_entity_too_large(text: str) -> None:
    error = error_of_call(Ended(grpc.StatusCode.RESOURCE_EXHAUSTED, text))
    assert type(error) is EntityTooLarge
    assert error.retry_after_s is None


def test_only_an_absent_server_may_be_tried_again_without_being_asked() -> None:
    for code in LEAF_BY_CODE:
        error = error_of_call(Ended(code, ""))
        expected = 0.0 if code is grpc.StatusCode.UNAVAILABLE else None
        assert error.retry_after_s == expected, code


@pytest.mark.parametrize("leaf", TABLE)
def test_every_leaf_survives_with_all_that_the_server_said(leaf: type[VectorBucketError]) -> None:
    sent = status(
        leaf.grpc_code,
        "dimension is 5000; the limit is 4096",
        info(leaf, field="dimension", value="5000", limit="4096"),
        error_details_pb2.RequestInfo(request_id="5f1c"),
        error_details_pb2.BadRequest(
            field_violations=[error_details_pb2.BadRequest.FieldViolation(field="dimension")]
        ),
        error_details_pb2.RetryInfo(
            retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000)
        ),
    )
    code = next(code for code in grpc.StatusCode if code.value[0] == leaf.grpc_code)
    for error in (error_of_call(Ended(code, sent.message, sent)), error_of_status(sent)):
        assert type(error) is leaf
        assert error.message == "dimension is 5000; the limit is 4096"
        assert error.field == "dimension"
        assert error.details == {"value": "5000", "limit": "4096"}
        assert error.retry_after_s == 2.5
        assert error.request_id == "5f1c"
        assert str(error).endswith("(request id 5f1c)")


def test_without_retry_info_nobody_asked_for_a_retry() -> None:
    assert error_of_status(status(8, "busy", info(QpsLimitExceeded))).retry_after_s is None
    assert error_of_status(status(14, "draining", info(ServiceUnavailable))).retry_after_s == 0.0


def test_reason_that_this_client_does_not_know_falls_back_to_the_code() -> None:
    newer = error_details_pb2.ErrorInfo(
        reason="ERROR_REASON_OF_NEXT_YEAR", domain="vectorbucket", metadata={"index_name": "faces"}
    )
    error = error_of_status(status(5, "gone", newer))
    assert type(error) is NoSuchVectorIndex
    assert error.details == {"index_name": "faces"}


def test_reason_of_another_domain_is_not_ours() -> None:
    foreign = info(EntityTooLarge)
    foreign.domain = "proxy.example"
    assert type(error_of_status(status(14, "no backend", foreign))) is ServiceUnavailable


def test_field_is_taken_from_the_facts_where_no_field_is_blamed() -> None:
    error = error_of_status(status(3, "bad", info(VectorIndexParameterInvalid, field="top_k")))
    assert (error.field, error.details) == ("top_k", {})


@pytest.mark.parametrize("number", [0, 2, 17, 99])
def test_status_number_that_no_one_knows_is_internal(number: int) -> None:
    assert type(error_of_status(status_pb2.Status(code=number, message="?"))) is InternalError


def test_details_that_contradict_the_code_are_not_believed() -> None:
    sent = status(5, "not found", info(NoSuchVectorIndex))
    error = error_of_call(Ended(grpc.StatusCode.UNAVAILABLE, "upstream reset", sent))
    assert type(error) is ServiceUnavailable
    assert "upstream reset" in error.message


def test_details_that_cannot_be_parsed_are_not_believed() -> None:
    ended = Ended(grpc.StatusCode.UNAVAILABLE, "garbled")
    ended._trailers = (("grpc-status-details-bin", b"\xff\xff\xff"),)
    assert type(error_of_call(ended)) is ServiceUnavailable
