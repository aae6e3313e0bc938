"""Error -> ``google.rpc.Status``: the one place where an error gets its form on the wire.

Rules of this file: what is sent is what the contract's error.proto promises; errors of the server's
own (``InternalError`` and below) are sent without their text; everything sent is bounded, because a
status travels in HTTP/2 trailers, which receivers cut off at 8 KiB.
"""

from __future__ import annotations

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from vectorbucket.errors import DOMAIN, InternalError, VectorBucketError

MESSAGE_BYTES_MAX = 600
"""Bytes of a message. It is sent three times, once percent-encoded (up to three characters a byte)
and twice in base64, so that all of it and the details below stay under 8 KiB in the worst case."""

DETAIL_BYTES_MAX = 160
"""Bytes of a field's path and of each value in ErrorInfo."""


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
    """Return a text, cut where it is longer than so many bytes of UTF-8."""
    encoded = text.encode()
    if len(encoded) <= bytes_max:
        return text
    return encoded[: bytes_max - len("…".encode())].decode(errors="ignore") + "…"
