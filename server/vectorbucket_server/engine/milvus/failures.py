"""What Milvus says when it fails, in our words.

Rules of this file: codes in, errors out. Texts of Milvus may hold what callers sent (filters,
keys), so an error tells its code, and its text only where the call carried none of that.

Source: codes as in Milvus' pkg/util/merr/errors.go; version 2.3 has one, 65535, for most of what is
wrong with a call.
"""

from __future__ import annotations

import re

import grpc
from pymilvus.exceptions import ErrorCode, MilvusException

from vectorbucket.errors import QpsLimitExceeded, ServiceUnavailable

_NOT_READY, _UNAVAILABLE, _TOO_MANY_REQUESTS = 1, 2, 4
_RATE_LIMIT, _FORCE_DENY, _DISK_LIMIT, _MEMORY_LIMIT = 8, 9, 7, 3
_BEHIND, _WANT = 11, 12
_COLLECTION_NOT_FOUND, _NOT_LOADED, _NOT_FULLY_LOADED = 100, 101, 103
_PARTITION_NOT_FOUND, _PARTITION_NOT_LOADED, _PARTITION_NOT_FULLY_LOADED = 200, 201, 202
_DATABASE_NOT_FOUND = 800
_SEGMENT_WANT = 605
_CANCELED, _TIMEOUT = 10_000, 10_001
_OLD_STYLE = 65_535

_NO_ANSWER = -1
"""No code of Milvus: it was not reached, or its answer did not come."""

_OF_THE_CLIENT = -2
"""No code of Milvus: the client finds the call wrong, or gRPC does."""

PASSES = frozenset(
    {_NOT_READY, _UNAVAILABLE, _TOO_MANY_REQUESTS}
    # A service that is behind, and a collection that is being put in order.
    | {_BEHIND, 106, 110}
    # Replicas, channels, segments and nodes that are being moved.
    | {400, 401, 500, 501, 502, 503, 505, 507, 600, 601, 602, 901, 902, 903, 904, 905, 906}
)
"""Codes of what is over when Milvus has put itself in order."""

_MISSING = frozenset({_COLLECTION_NOT_FOUND, _PARTITION_NOT_FOUND})
_UNLOADED = frozenset(
    {_NOT_LOADED, _NOT_FULLY_LOADED, _PARTITION_NOT_LOADED, _PARTITION_NOT_FULLY_LOADED}
)
_FULL = frozenset({_FORCE_DENY, _DISK_LIMIT, _MEMORY_LIMIT, _WANT, _SEGMENT_WANT})

_NO_PARTITION = re.compile(r"partition name \S+ not found")
"""What reads say in the old style where writes say 200."""

_GIVEN_UP = re.compile(
    r"proxy TaskCondition context Done"
    r"|fail(ed)? to (query|search)\b.*\bcontext (deadline exceeded|canceled)",
    re.DOTALL | re.IGNORECASE,
)
"""What is said in the old style where our time was over before Milvus had an answer: while its
nodes still catch up after a restart, for instance. Texts about filters begin otherwise."""

_STRANGER = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_WRONG = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Statuses of calls that would fail again; of a message that is too long, for instance."""

RETRY_AFTER_S = 1.0
"""When callers may come again whom Milvus' rate limits refuse: Milvus counts by the second."""


class Missing(Exception):
    """The collection or the partition does not exist."""


class Unloaded(Exception):
    """The collection is not in the memory of the query nodes."""


class Refused(Exception):
    """Milvus says that the call is wrong, or failed at it."""


def code_of(error: MilvusException | grpc.RpcError) -> int:
    """Return Milvus' code of a failure; a negative number where the failure is not of Milvus."""
    if not isinstance(error, MilvusException):
        return _OF_THE_CLIENT if _status_of(error) in _WRONG else _NO_ANSWER
    # The client's own faults have a number that means another thing with Milvus.
    if error.code is ErrorCode.UNEXPECTED_ERROR:
        return _OF_THE_CLIENT
    # Where the client gave up to try again, it has a status of gRPC.
    if not isinstance(error.code, int):
        return _NO_ANSWER
    if error.code == _OLD_STYLE and _NO_PARTITION.fullmatch(error.message):
        return _PARTITION_NOT_FOUND
    # Some part of Milvus gave up, on another or because we did.
    if error.code in {_CANCELED, _TIMEOUT} or (
        error.code == _OLD_STYLE and _GIVEN_UP.fullmatch(error.message)
    ):
        return _NO_ANSWER
    return int(error.code)


def outcome_of(error: MilvusException | grpc.RpcError) -> str:
    """Return a failure as a metric's label: one of a few words."""
    code = code_of(error)
    for word, codes in (
        ("missing", _MISSING),
        ("unloaded", _UNLOADED),
        ("rate_limited", {_RATE_LIMIT}),
        ("unavailable", PASSES | _FULL | {_NO_ANSWER}),
    ):
        if code in codes:
            return word
    return "failed"


def words_of(error: MilvusException | grpc.RpcError) -> str:
    """Return a failure in Milvus' words and, where there are any, gRPC's, in one line."""
    said = f"{error.message} (code {error.code})" if isinstance(error, MilvusException) else ""
    call = _call_of(error)
    if call is not None:
        said += f" {call.code().name}: {call.details()}"
    return " ".join(said.split())


def _call_of(error: BaseException) -> grpc.RpcError | None:
    """Return what gRPC knows, where gRPC is why the call failed."""
    # The client raises some errors "from" themselves, which overwrites their cause.
    for one in (error, error.__cause__, error.__context__):
        if isinstance(one, grpc.RpcError):
            return one
    return None


def _status_of(error: BaseException) -> grpc.StatusCode | None:
    call = _call_of(error)
    return None if call is None else call.code()


def translated(  # noqa: PLR0911 - one a kind of failure
    error: MilvusException | grpc.RpcError, *, carries_data: bool
) -> Exception:
    """Return a failure in our words.

    Args:
        error: What the client raised.
        carries_data: Whether its text may hold what callers sent.
    """
    code = code_of(error)
    said = f"code {code}" if carries_data else words_of(error)
    if code in _MISSING:
        return Missing(said)
    if code in _UNLOADED:
        return Unloaded(said)
    if code == _RATE_LIMIT:
        return QpsLimitExceeded(
            "Milvus limits the rate of these calls, and it is reached; its operator sets the limit "
            "(quotaAndLimits)",
            retry_after_s=RETRY_AFTER_S,
        )
    if code in _FULL:
        return ServiceUnavailable(f"Milvus refuses it for want of memory or disk ({said})")
    status = _status_of(error)
    if status in _STRANGER:
        return ServiceUnavailable(f"Milvus does not let us in ({status.name}); see milvus_token")
    if code == _NO_ANSWER or (code in PASSES and status is not None):
        return ServiceUnavailable(
            "Milvus does not answer" + (f" ({status.name})" if status else "")
        )
    if code in PASSES:
        return ServiceUnavailable(f"Milvus is not ready ({said})")
    if code == _DATABASE_NOT_FOUND:
        return ServiceUnavailable("Milvus does not know the database any more")
    # Old versions of Milvus have one code for most of what is wrong with a call.
    return Refused(said)


def still_loading(waited_s: float) -> ServiceUnavailable:
    """Return the error of a call about an index that Milvus still brings into memory."""
    return ServiceUnavailable(
        f"Milvus is still loading the index, after {max(waited_s, 0.0):.0f} s; call again"
    )
