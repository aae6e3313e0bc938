"""What the head of a request says, and what can be wrong with one.

Rules of this file: it knows the syntax of HTTP/1.1 and no connection; every fault is an error of
the contract, in words for whoever wrote the client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import httptools

from vectorbucket.errors import InvalidArgument, MethodNotAllowed, VectorBucketError

HEAD_BYTES_MAX = 64 * 1024
"""The most that request line and headers may have together, and likewise what follows a body."""

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.[01]\r?\n")


def path_of(target: bytes) -> str:
    """Return the path of a target without its query, by which routes are chosen."""
    target = target.partition(b"?")[0]
    if not target.startswith(b"/"):
        _, _, rest = target.partition(b"://")
        slash = rest.find(b"/")
        target = rest[slash:] if slash >= 0 else b"/"
    return target.decode("latin-1")


def check_head(version: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Check what the parser does not.

    Args:
        version: Of HTTP, as ``1.1``.
        target: As on the request line.
        headers: With lower-case names.

    Raises:
        InvalidArgument: Another version is spoken, or it is not said once whom it is for. HTTP/1.0
            does not have to say so, nor does a request with a target that does.
    """
    if version not in {"1.0", "1.1"}:
        raise InvalidArgument(f"the request is of HTTP/{version}; the server speaks HTTP/1.1")
    hosts = sum(1 for name, _ in headers if name == b"host")
    absolute = not target.startswith(b"/") and b"://" in target
    if hosts > 1 or (not hosts and version == "1.1" and not absolute):
        raise InvalidArgument(f"the request has {hosts} Host headers; it has to have one")


def fault_of(
    error: httptools.HttpParserError, data: bytes, *, is_beginning: bool
) -> VectorBucketError:
    """Return what is wrong with what the parser did not take.

    Args:
        error: That the parser raised.
        data: That it was given.
        is_beginning: It is at the beginning of the data; otherwise it may be anywhere.
    """
    cause = error.__context__
    if isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
        if isinstance(cause, VectorBucketError):
            return cause
        if not isinstance(cause, httptools.HttpParserError):
            raise cause
    unknown_method = isinstance(error, httptools.HttpParserInvalidMethodError)
    if unknown_method and is_beginning and _REQUEST_LINE.match(data):
        return MethodNotAllowed("the server does not know the method of the request")
    return InvalidArgument(f"the request is not HTTP/1.1: {error}")


def too_long() -> InvalidArgument:
    """Return what is wrong with a head that is longer than it may be."""
    return InvalidArgument(
        f"the headers of the request are too long; the limit is {HEAD_BYTES_MAX} bytes",
        details={"limit": str(HEAD_BYTES_MAX)},
    )
