"""What a legal name is: of a bucket, an index, a vector's key, a metadata field, a stream, a log.

Rules of this file: pure checks that return nothing and raise the contract's error, which names the
thing, the value and the rule. Long or unprintable values are shown shortened and escaped. A name is
Unicode text: half of a surrogate pair, which JSON can spell, is refused and never stored.

Source: oss-vectors-api, sections 0, 3.7 and 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vectorbucket.errors import (
    InvalidArgument,
    InvalidRequest,
    InvalidVectorBucketName,
    VectorIndexParameterInvalid,
)
from vectorbucket.limits import Limits
from vectorbucket_server.model import BucketLogging

ACCOUNT_ID_FORM = "[0-9]{1,32}"
"""What the whole id of an account looks like: a regular expression. Source: ours; those of the
service have 16 digits."""

_BUCKET = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_INDEX_STRICT = re.compile(r"[A-Za-z][A-Za-z0-9]*", re.ASCII)
_INDEX_LENIENT = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_NON_FILTERABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SHOWN_CHARACTERS = 64


def shown(value: str) -> str:
    """Return a value fit for a message: quoted, escaped, at most about 64 characters of it."""
    if len(value) <= _SHOWN_CHARACTERS:
        return repr(value)
    return f"{value[:_SHOWN_CHARACTERS]!r}… ({len(value)} characters)"


def fact(value: str) -> str:
    """Return a value as a fact for programs: as it is, if it is short and printable."""
    return value if len(value) <= _SHOWN_CHARACTERS and value.isprintable() else shown(value)


def check_text(
    value: str, field: str, error: type[InvalidRequest] = VectorIndexParameterInvalid
) -> None:
    """Raise an error unless a string is Unicode text.

    Args:
        value: The string.
        field: Its path in the request, for the message.
        error: What to raise.
    """
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError:
        problem = f"{field} {shown(value)} is no Unicode text"
        raise _invalid(field, problem, value, error=error) from None


def check_bucket_name(name: str, limits: Limits, field: str = "bucket") -> None:
    """Raise InvalidVectorBucketName unless the name is legal.

    Args:
        name: The name.
        limits: The limits in force.
        field: Its path in the request, for the message.
    """
    error = InvalidVectorBucketName
    if not name:
        raise error(f"{field} is empty", field=field)
    least, limit = limits.bucket_name_min, limits.bucket_name_max
    if not least <= len(name) <= limit:
        size = f"has {len(name)} characters; a name has {least} to {limit}"
        raise _invalid(field, f"{field} {shown(name)} {size}", name, limit, error)
    if not _BUCKET.fullmatch(name):
        rule = "lower-case letters, digits and hyphens, first and last a letter or a digit"
        problem = f"{field} {shown(name)} is no legal name: {rule}"
        raise _invalid(field, problem, name, error=error)


def check_index_name(name: str, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless the name is legal under the limits' profile."""
    if not name:
        raise VectorIndexParameterInvalid("index_name is empty", field="index_name")
    limit = limits.index_name_max
    if len(name) > limit:
        problem = f"index_name {shown(name)} has {len(name)} characters; the limit is {limit}"
        raise _invalid("index_name", problem, name, limit)
    lenient = limits.index_name_punctuation
    if not (_INDEX_LENIENT if lenient else _INDEX_STRICT).fullmatch(name):
        inside = "; '-', '_' and '.' inside" if lenient else ""
        rule = f"letters and digits, first a letter{inside}"
        raise _invalid("index_name", f"index_name {shown(name)} is no legal name: {rule}", name)


def check_key(key: str, field: str, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless the vector's key is legal.

    Args:
        key: The key.
        field: The path of the key in the request, as ``vectors[3].key``, for the message.
        limits: The limits in force.
    """
    check_text(key, field)
    size, limit = len(key.encode()), limits.key_bytes_max
    if not 1 <= size <= limit:
        problem = f"{field} {shown(key)} has {size} bytes; a key has 1 to {limit}"
        raise _invalid(field, problem, key, limit)


def check_metadata_key(name: str, field: str, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless the name of a metadata field is legal.

    Args:
        name: The name.
        field: The path of the metadata in the request, for the message.
        limits: The limits in force.
    """
    if not name:
        raise VectorIndexParameterInvalid(f"{field} has a field with an empty name", field=field)
    if name.startswith("$"):
        problem = f"{field} has a field named {shown(name)}; names do not start with '$'"
        raise _invalid(field, problem, name)
    check_text(name, field)
    size, limit = len(name.encode()), limits.metadata_key_bytes_max
    if size > limit:
        problem = f"{field} has a field name {shown(name)} of {size} bytes; the limit is {limit}"
        raise _invalid(field, problem, name, limit)


def check_non_filterable_keys(names: Sequence[str], limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless an index's non-filterable keys can be these."""
    field = "metadata.non_filterable_metadata_keys"
    limit = limits.non_filterable_keys_max
    if len(names) > limit:
        raise VectorIndexParameterInvalid(
            f"{field} has {len(names)} names; the limit is {limit}",
            field=field,
            details={"value": str(len(names)), "limit": str(limit)},
        )
    seen: set[str] = set()
    for position, name in enumerate(names):
        place = f"{field}[{position}]"
        _check_non_filterable_key(name, place, limits)
        if name in seen:
            raise _invalid(place, f"{place} {shown(name)} stands twice", name)
        seen.add(name)


def _check_non_filterable_key(name: str, field: str, limits: Limits) -> None:
    if not _NON_FILTERABLE.fullmatch(name):
        rule = "letters, digits and '_', first a letter or '_'"
        raise _invalid(field, f"{field} {shown(name)} is no legal name: {rule}", name)
    # A legal name is ASCII, so its characters are its bytes.
    limit = limits.non_filterable_key_bytes_max
    if len(name) > limit:
        problem = f"{field} {shown(name)} has {len(name)} bytes; the limit is {limit}"
        raise _invalid(field, problem, name, limit)


def check_stream_id(stream_id: str, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless this can name a PutVectors stream."""
    check_text(stream_id, "stream_id")
    size, limit = len(stream_id.encode()), limits.stream_id_bytes_max
    if not 1 <= size <= limit:
        problem = f"stream_id {shown(stream_id)} has {size} bytes; it has 1 to {limit}"
        raise _invalid("stream_id", problem, stream_id, limit)


def check_logging(logging: BucketLogging, limits: Limits) -> None:
    """Raise an error unless a bucket can be logged so.

    The target and the prefix become names of directories and files: neither can lead out of the
    directory that is meant for them.

    Raises:
        InvalidVectorBucketName: The target is no legal name of a bucket.
        InvalidArgument: The prefix or the role is too long, or the prefix leads elsewhere.
    """
    check_bucket_name(logging.target_bucket, limits, "logging.target_bucket")
    prefix, field = logging.target_prefix, "logging.target_prefix"
    for name, value in ((field, prefix), ("logging.logging_role", logging.logging_role)):
        check_text(value, name, InvalidArgument)
        size, limit = len(value.encode()), limits.logging_text_bytes_max
        if size > limit:
            problem = f"{name} {shown(value)} has {size} bytes; the limit is {limit}"
            raise _invalid(name, problem, value, limit, InvalidArgument)
    if prefix.startswith("/") or ".." in prefix or _CONTROL.search(prefix):
        rule = "no '/' at its start, no '..', no control characters"
        problem = f"{field} {shown(prefix)} is no legal prefix: {rule}"
        raise _invalid(field, problem, prefix, error=InvalidArgument)


def _invalid(
    field: str,
    problem: str,
    value: str,
    limit: int | None = None,
    error: type[InvalidRequest] = VectorIndexParameterInvalid,
) -> InvalidRequest:
    """Return the error about a name, with its value and limit as facts of their own."""
    details = {"value": fact(value)}
    if limit is not None:
        details["limit"] = str(limit)
    return error(problem, field=field, details=details)
