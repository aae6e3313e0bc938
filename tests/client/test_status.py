"""Every error as a status, within its bounds; every way in which a call can end as a leaf."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from rpc import refusal_of
from vectorbucket import VectorBucketError
from vectorbucket.errors import (
    TABLE,
    Corruption,
    EntityTooLarge,
    InternalError,
    InvalidAccessKeyId,
    InvalidRequest,
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchVectorIndex,
    NotFound,
    QpsLimitExceeded,
    RequestTimeout,
    ServiceUnavailable,
    VectorIndexParameterInvalid,
)
from vectorbucket.status import (
    LEAF_BY_CODE,
    MESSAGE_BYTES_MAX,
    error_of_call,
    error_of_status,
    to_status,
)
from vectorbucket.v1 import error_pb2

REQUEST_ID = "0123456789ABCDEF01234567"

TRAILER_BYTES_MAX = 8 * 1024
"""What receivers of gRPC take by default."""

# --- Error → status -------------------------------------------------------------------------------


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


@pytest.mark.parametrize("character", ["\ud800", "a\udfffb"])
def test_text_that_is_no_unicode_is_sent_as_far_as_it_is(character: str) -> None:
    error = VectorIndexParameterInvalid("bad", field=character, details={"value": character})
    assert (
        refusal_of(to_status(error, REQUEST_ID)).field
        == character.encode(errors="replace").decode()
    )


# --- There and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("leaf", TABLE)
def test_leaf_that_was_sent_is_the_leaf_that_is_read(leaf: type[VectorBucketError]) -> None:
    error = leaf("what went wrong")
    read = error_of_status(to_status(error, REQUEST_ID))
    error.request_id = REQUEST_ID
    if leaf is InternalError:
        error.message = read.message  # its text stays at home
    assert type(read) is leaf
    assert vars(read) == vars(error)


def test_all_that_an_error_tells_is_read_back() -> None:
    error = VectorIndexParameterInvalid(
        "dimension is 5000; the limit is 4096",
        field="dimension",
        details={"value": "5000", "limit": "4096"},
        retry_after_s=0.25,
        request_id=REQUEST_ID,
    )
    assert vars(error_of_status(to_status(error, REQUEST_ID))) == vars(error)


@pytest.fixture(name="refusing")
def fixture_refusing() -> Iterator[str]:
    """Yield the address of a server that refuses every call as a server of ours would."""

    def refuse(_request: bytes, context: grpc.ServicerContext) -> bytes:
        error = QpsLimitExceeded("too much at once", details={"limit": "32"}, retry_after_s=0.5)
        context.abort_with_status(rpc_status.to_status(to_status(error, REQUEST_ID)))

    handlers = {"Call": grpc.unary_unary_rpc_method_handler(refuse)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("x.Y", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def check_refusal(error: VectorBucketError) -> None:
    """Check that nothing of the refusal was lost."""
    assert type(error) is QpsLimitExceeded
    assert (error.message, error.details) == ("too much at once", {"limit": "32"})
    assert (error.retry_after_s, error.request_id) == (0.5, REQUEST_ID)


def test_error_of_a_synchronous_call_is_read(refusing: str) -> None:
    with grpc.insecure_channel(refusing) as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/x.Y/Call", None, None)(b"")
    check_refusal(error_of_call(raised.value))


def test_error_of_an_asynchronous_call_is_read(refusing: str) -> None:
    async def call() -> VectorBucketError:
        async with grpc.aio.insecure_channel(refusing) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await channel.unary_unary("/x.Y/Call", None, None)(b"")
        return error_of_call(raised.value)

    check_refusal(asyncio.run(call()))


def test_error_of_an_asynchronous_call_to_nobody_is_read() -> None:
    async def call() -> VectorBucketError:
        async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await channel.unary_unary("/x.Y/Call", None, None)(b"", timeout=10)
        return error_of_call(raised.value)

    assert type(asyncio.run(call())) is ServiceUnavailable


# --- Status → error -------------------------------------------------------------------------------


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
        (grpc.StatusCode.UNAUTHENTICATED, InvalidAccessKeyId),
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
