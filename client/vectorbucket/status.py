"""Error ↔ ``google.rpc.Status``: the one place that knows an error's form on the wire.

A server sends what ``to_status`` makes; a client, and whoever else calls one, gets the same leaf
back from ``error_of_call`` or ``error_of_status``.

Rules of this file:

- What is sent is what the contract's error.proto promises; errors of the server's own
  (``InternalError`` and below) are sent without their text.
- Everything sent is bounded, because a status travels in HTTP/2 trailers, which receivers cut off
  at 8 KiB.
- Reading is total and pure: every status becomes a leaf, also one that no server of ours sent (a
  refused connection, a proxy's answer, gRPC's own refusal of a message); nothing is swallowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from vectorbucket import errors
from vectorbucket.errors import DOMAIN, InternalError, VectorBucketError

MESSAGE_BYTES_MAX = 600
"""Bytes of a message. It is sent three times, once percent-encoded (up to three characters a byte)
and twice in base64, so that all of it and the details below stay under 8 KiB in the worst case."""

DETAIL_BYTES_MAX = 160
"""Bytes of a field's path and of each value in ErrorInfo."""

LEAF_BY_CODE: Mapping[grpc.StatusCode, type[VectorBucketError]] = {
    grpc.StatusCode.CANCELLED: errors.RequestTimeout,
    grpc.StatusCode.UNKNOWN: errors.InternalError,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.RequestTimeout,
    grpc.StatusCode.NOT_FOUND: errors.NoSuchVectorIndex,
    grpc.StatusCode.ALREADY_EXISTS: errors.VectorBucketIndexAlreadyExist,
    grpc.StatusCode.PERMISSION_DENIED: errors.AccessDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.QpsLimitExceeded,
    grpc.StatusCode.FAILED_PRECONDITION: errors.VectorIndexOperationConflict,
    grpc.StatusCode.ABORTED: errors.VectorIndexOperationConflict,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidArgument,
    grpc.StatusCode.UNIMPLEMENTED: errors.MethodNotAllowed,
    grpc.StatusCode.INTERNAL: errors.InternalError,
    grpc.StatusCode.UNAVAILABLE: errors.ServiceUnavailable,
    grpc.StatusCode.DATA_LOSS: errors.InternalError,
    grpc.StatusCode.UNAUTHENTICATED: errors.InvalidAccessKeyId,
}
"""The leaf of a status without an ErrorInfo of ours: the one whose remedy fits."""

_CODE_BY_NUMBER = {code.value[0]: code for code in LEAF_BY_CODE}

_MESSAGE_TOO_LARGE = "larger than max"
"""Stands in the refusal of a message that is over a limit of gRPC itself.

Source: gRPC core, message_size_filter.cc: "Received message larger than max (%u vs. %d)" and "Sent
…".
"""

# --- Error → status -----------------------------------------------------------------------------


def to_status(error: VectorBucketError, request_id: str) -> status_pb2.Status:
    """Return an error as a status with all its details.

    Args:
        error: A leaf of the tree.
        request_id: The id of the call that failed.
    """
    internal = isinstance(error, InternalError)
    message = (
        f"the server failed; its log has the cause under request id {request_id}"
        if internal
        else _fitted(error.message, MESSAGE_BYTES_MAX)
    )
    details = [
        error_details_pb2.ErrorInfo(
            reason=error.reason,
            domain=DOMAIN,
            metadata={"code": error.code} if internal else _facts(error),
        ),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    if error.field is not None and not internal:
        details.append(_blame(_fitted(error.field, DETAIL_BYTES_MAX), message))
    if error.retry_after_s is not None:
        wait = duration_pb2.Duration()
        wait.FromNanoseconds(round(error.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=wait))
    return status_pb2.Status(
        code=error.grpc_code, message=message, details=[_packed(detail) for detail in details]
    )


def _facts(error: VectorBucketError) -> dict[str, str]:
    """Return the metadata of an error's ErrorInfo."""
    facts = {"code": error.code}
    if error.field is not None:
        facts["field"] = error.field
    facts.update(error.details)
    return {name: _fitted(value, DETAIL_BYTES_MAX) for name, value in facts.items()}


def _blame(field: str, description: str) -> error_details_pb2.BadRequest:
    """Return a BadRequest that names one field."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
    return error_details_pb2.BadRequest(field_violations=[violation])


def _packed(detail: Message) -> any_pb2.Any:
    """Return a detail as Any."""
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _fitted(text: str, bytes_max: int) -> str:
    """Return a text, cut where it is longer than so many bytes of UTF-8.

    What is no Unicode text (half of a surrogate pair) cannot be sent and becomes a question mark.
    """
    encoded = text.encode(errors="replace")
    if len(encoded) <= bytes_max:
        return encoded.decode()
    return encoded[: bytes_max - len("…".encode())].decode(errors="ignore") + "…"


# --- Status → error -----------------------------------------------------------------------------


def error_of_call(call: grpc.RpcError) -> VectorBucketError:
    """Return the leaf that tells how a call ended.

    Args:
        call: What a stub raised, of a synchronous channel or one of ``grpc.aio``; it has ended, and
            not with OK.
    """
    ended = cast("grpc.Call", call)
    code = ended.code()
    text = ended.details() or ""
    try:
        status = rpc_status.from_call(ended)
    except (ValueError, DecodeError):
        # The details are garbled or contradict the code: an intermediary's doing. The code counts.
        status = None
    if status is None:
        leaf = _leaf_of_code(code, text)
        return _made(leaf, f"{text or 'no details'} (gRPC status {code.name})")
    return error_of_status(status)


def error_of_status(status: status_pb2.Status) -> VectorBucketError:
    """Return the leaf that a status stands for: of a call, or of one batch of a stream."""
    info = error_details_pb2.ErrorInfo()
    blame = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    request = error_details_pb2.RequestInfo()
    present = {
        detail.DESCRIPTOR.full_name
        for packed in status.details
        for detail in (info, blame, retry, request)
        if packed.Unpack(detail)
    }
    code = _CODE_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    leaf = errors.BY_REASON.get(info.reason) if info.domain == DOMAIN else None
    if leaf is None:
        leaf = _leaf_of_code(code, status.message)
    retry_after_s = None
    if error_details_pb2.RetryInfo.DESCRIPTOR.full_name in present:
        retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return _made(
        leaf,
        status.message,
        field=blame.field_violations[0].field if blame.field_violations else None,
        details=dict(info.metadata),
        retry_after_s=retry_after_s,
        request_id=request.request_id or None,
    )


def _leaf_of_code(code: grpc.StatusCode, text: str) -> type[VectorBucketError]:
    """Return the leaf that fits a code, and what gRPC says about it."""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _MESSAGE_TOO_LARGE in text:
        return errors.EntityTooLarge
    return LEAF_BY_CODE[code]


def _made(
    leaf: type[VectorBucketError],
    message: str,
    *,
    field: str | None = None,
    details: dict[str, str] | None = None,
    retry_after_s: float | None = None,
    request_id: str | None = None,
) -> VectorBucketError:
    """Return an error of this class as its raiser made it."""
    facts = details or {}
    # The code is the class; the field has its own attribute.
    facts.pop("code", None)
    named_field = facts.pop("field", None)
    error = leaf(
        message,
        field=field or named_field,
        details=facts,
        retry_after_s=retry_after_s,
        request_id=request_id,
    )
    if retry_after_s is None:
        # Without RetryInfo nobody asked for a retry. A server that is not there did not say when
        # it comes back: as soon as one likes.
        error.retry_after_s = 0.0 if isinstance(error, errors.ServiceUnavailable) else None
    return error
