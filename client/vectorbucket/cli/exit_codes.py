"""How a command ends: an error → its exit code, and what to do next.

Rules of this file: pure; the one table of exit codes, which the help shows and README repeats. A
code says who must act, so that a program can decide without reading the message.
"""

from __future__ import annotations

from collections.abc import Mapping

from vectorbucket import errors

DONE = 0
FAILED = 1
WRONG_USAGE = 2
NOT_FOUND = 3
TEMPORARY = 4
FORBIDDEN = 5
CONFLICT = 6
INTERRUPTED = 130
BROKEN_PIPE = 141

EXIT_CODES: Mapping[int, str] = {
    DONE: "done",
    FAILED: "the server failed, or a limit is reached; trying again does not help",
    WRONG_USAGE: "the command or its input is wrong: correct it",
    NOT_FOUND: "what the command names does not exist",
    TEMPORARY: "the server is not there, is busy or took too long: try again later",
    FORBIDDEN: "the caller is not known, or may not do this",
    CONFLICT: "it exists already, is not empty, or something else is happening to it",
    INTERRUPTED: "interrupted with Ctrl-C",
    BROKEN_PIPE: "whoever read the output has stopped reading",
}
"""The one table of exit codes."""

_KINDS: tuple[tuple[type[errors.VectorBucketError], int], ...] = (
    (errors.MethodNotAllowed, FAILED),
    (errors.InvalidRequest, WRONG_USAGE),
    (errors.NotFound, NOT_FOUND),
    (errors.Forbidden, FORBIDDEN),
    (errors.Conflict, CONFLICT),
    (errors.QpsLimitExceeded, TEMPORARY),
    (errors.ServiceUnavailable, TEMPORARY),
    (errors.RequestTimeout, TEMPORARY),
)
"""The first that an error is an instance of; any other has FAILED."""

_ADVICE: tuple[tuple[type[errors.VectorBucketError], str], ...] = (
    (errors.NoSuchBucket, "list-vector-buckets shows those that do"),
    (errors.NoSuchVectorIndex, "list-vector-indexes shows those that do"),
    (errors.NoSuchBackup, "list-backups shows those that do"),
    (errors.NoSuchBucketPolicy, "put-bucket-policy gives it one"),
    (errors.InvalidAccessKeyId, "--api-key or VECTORBUCKET_API_KEY says who calls"),
    (errors.Forbidden, "ask the bucket's owner for a policy, or the operator for a credential"),
    (errors.MethodNotAllowed, "this server cannot do that"),
    (errors.InvalidRequest, "correct that, and try again"),
    (errors.VectorBucketNotEmpty, "delete-vector-index deletes an index"),
    (errors.BucketNameNotAvailable, "use it, or choose another name"),
    (errors.VectorBucketIndexAlreadyExist, "use it, or choose another name"),
    (errors.BackupAlreadyExist, "choose another name, or delete it with delete-backup"),
    (errors.Conflict, "look again, then try again"),
    (errors.QpsLimitExceeded, "try again a little later"),
    (errors.LimitExceeded, "delete what is not needed, or ask the operator for more"),
    (errors.ServiceUnavailable, "is a server there? --endpoint HOST:PORT says where, --tls how"),
    (errors.RequestTimeout, "--timeout-s gives it longer"),
    (errors.MemoryBudgetExceeded, "unload-vector-index makes room; the operator can allow more"),
    (errors.InternalError, "the server's log has the cause under the request id"),
)
"""What to do next; the first that an error is an instance of."""


def exit_code(error: errors.VectorBucketError) -> int:
    """Return the exit code of a command that ended with an error."""
    return next((code for kind, code in _KINDS if isinstance(error, kind)), FAILED)


def advice(error: errors.VectorBucketError) -> str:
    """Return what to do about an error; empty where nobody can know."""
    if isinstance(error, errors.ServiceUnavailable) and error.request_id:
        # A server is there, and has said why it cannot.
        return "try again a little later"
    return next((text for kind, text in _ADVICE if isinstance(error, kind)), "")
