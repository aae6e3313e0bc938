"""What a legal name is: of a bucket, an index, a vector's key, a metadata field, a stream.

Rules of this file: pure checks that return nothing and raise the contract's error, which names the thing, the
value and the rule. Long or unprintable values are shown shortened and escaped.

Source: oss-vectors-api, sections 0 and 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vectorbucket.errors import InvalidVectorBucketName, VectorIndexParameterInvalid
from vectorbucket.limits import Limits

_BUCKET = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_INDEX_STRICT = re.compile(r"[A-Za-z][A-Za-z0-9]*", re.ASCII)
_INDEX_LENIENT = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_NON_FILTERABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SHOWN_CHARACTERS = 64


def shown(value: str) -> str:
    """Return a value fit for a message: quoted, escaped, at most about 64 characters of it."""
    if len(value) <= _SHOWN_CHARACTERS:
        return repr(value)
    return f"{value[:_SHOWN_CHARACTERS]!r}… ({len(value)} characters)"


def check_bucket_name(name: str, limits: Limits) -> None:
    """Raise InvalidVectorBucketName unless the name is legal."""
    if not name:
        raise InvalidVectorBucketName("bucket is empty", field="bucket")
    if not limits.bucket_name_min <= len(name) <= limits.bucket_name_max:
        raise InvalidVectorBucketName(
            f"bucket {shown(name)} has {len(name)} characters; a name has "
            f"{limits.bucket_name_min} to {limits.bucket_name_max}",
            field="bucket",
        )
    if not _BUCKET.fullmatch(name):
        raise InvalidVectorBucketName(
            f"bucket {shown(name)} is no legal name: lower-case letters, digits and hyphens, first "
            "and last a letter or a digit",
            field="bucket",
        )


def check_index_name(name: str, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless the name is legal under the limits' profile."""
    if not name:
        raise VectorIndexParameterInvalid("index_name is empty", field="index_name")
    if len(name) > limits.index_name_max:
        raise VectorIndexParameterInvalid(
            f"index_name {shown(name)} has {len(name)} characters; the limit is "
            f"{limits.index_name_max}",
            field="index_name",
        )
    lenient = limits.index_name_punctuation
    if not (_INDEX_LENIENT if lenient else _INDEX_STRICT).fullmatch(name):
        inside = ", and '-', '_' or '.' inside" if lenient else ""
        raise VectorIndexParameterInvalid(
            f"index_name {shown(name)} is no legal name: letters and digits, first a letter{inside}",
            field="index_name",
        )


def check_key(key: str, field: str, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless the vector's key is legal.

    Args:
        key: The key.
        field: The path of the key in the request, as ``vectors[3].key``, for the message.
        limits: The limits in force.
    """
    # A key has at most as many characters as bytes, so short ones need no encoding.
    if 0 < len(key) <= limits.key_bytes_max // 4:
        return
    size = len(key.encode())
    if not 1 <= size <= limits.key_bytes_max:
        raise VectorIndexParameterInvalid(
            f"{field} {shown(key)} has {size} bytes; a key has 1 to {limits.key_bytes_max}",
            field=field,
        )


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
        raise VectorIndexParameterInvalid(
            f"{field} has a field named {shown(name)}; names do not start with '$'", field=field
        )
    size = len(name.encode())
    if size > limits.metadata_key_bytes_max:
        raise VectorIndexParameterInvalid(
            f"{field} has a field name {shown(name)} of {size} bytes; the limit is "
            f"{limits.metadata_key_bytes_max}",
            field=field,
        )


def check_non_filterable_keys(names: Sequence[str], limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless these can be an index's non-filterable metadata keys."""
    field = "metadata.non_filterable_metadata_keys"
    if len(names) > limits.non_filterable_keys_max:
        raise VectorIndexParameterInvalid(
            f"{field} has {len(names)} names; the limit is {limits.non_filterable_keys_max}",
            field=field,
        )
    for position, name in enumerate(names):
        place = f"{field}[{position}]"
        if len(name.encode()) > limits.non_filterable_key_bytes_max:
            raise VectorIndexParameterInvalid(
                f"{place} {shown(name)} has {len(name.encode())} bytes; the limit is "
                f"{limits.non_filterable_key_bytes_max}",
                field=place,
            )
        if not _NON_FILTERABLE.fullmatch(name):
            raise VectorIndexParameterInvalid(
                f"{place} {shown(name)} is no legal name: letters, digits and '_', first a letter or '_'",
                field=place,
            )
        if name in names[:position]:
            raise VectorIndexParameterInvalid(
                f"{place} {shown(name)} stands twice", field=place
            )


def check_stream_id(stream_id: str, limits: Limits) -> None:
    """Raise VectorIndexParameterInvalid unless this can name a PutVectors stream."""
    size = len(stream_id.encode())
    if not 1 <= size <= limits.stream_id_bytes_max:
        raise VectorIndexParameterInvalid(
            f"stream_id {shown(stream_id)} has {size} bytes; it has 1 to {limits.stream_id_bytes_max}",
            field="stream_id",
        )
