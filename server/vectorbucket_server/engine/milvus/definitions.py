"""Buckets and indexes as collections of Milvus: their names, descriptions, properties and fields.

A bucket and an index are a collection each, whose name follows from theirs. The description says
what it is, in JSON, and never changes; a nonce in it tells it from another one that had, or will
have, the same name. What changes of a bucket stands in properties, whose names end in that nonce:
what somebody says of a bucket that is gone does not reach the one that was made in its place.

Rules of this file: pure; the only knower of these texts. A change of any of them is a new
FORMAT_VERSION.

Source: names as Milvus 2.3 takes them: a letter or an underscore, then letters, digits and
underscores, 255 in all. Descriptions and properties were found to hold 100,000 characters of any
kind.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from vectorbucket.errors import Corruption, ServiceUnavailable
from vectorbucket_server.model import Bucket, BucketLogging, Index

T = TypeVar("T")

KEY, VECTOR, METADATA, FILTERABLE, HASH = "key", "vector", "metadata", "filterable", "hash"
"""The fields of a row of an index: VARCHAR (primary), FLOAT_VECTOR, JSON, JSON (what filters ask
about: pushdown.py), INT64 (the key's CRC-32, which list segments are made of)."""

KEY_BYTES_MAX = 1_024
"""Bytes of a key: what its field was made for."""

FORMAT_VERSION = 1
"""Version of everything that this file describes."""

BUCKETS_PREFIX = "vb_b_"
INDEXES_PREFIX = "vb_i_"
GONE_PREFIX = "vb_gone_"
"""What the names of our collections begin with: buckets, indexes, and what is being deleted."""

_PART_MAX = 124
"""Characters that a name may become: two such, with what stands around them, are 255. It is what
the longest legal names become."""

_BETWEEN = "__"
_ESCAPES = {"-": "_h", ".": "_p", "_": "_u"}
_UNESCAPES = {escape: character for character, escape in _ESCAPES.items()}
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_ESCAPE = re.compile("_[hpu]")
_NAMES_KEPT = 8_192

_BUCKET, _INDEX = "vectorbucket bucket", "vectorbucket index"
_POLICY, _LOGGING, _DELETION = "vectorbucket.policy", "vectorbucket.logging", "vectorbucket.delete"
_BUCKET_DIMENSION = 2


# --- Names ----------------------------------------------------------------------------------------


@lru_cache(_NAMES_KEPT)
def bucket_collection(bucket_name: str) -> str:
    """Return the name of a bucket's collection."""
    return BUCKETS_PREFIX + _encoded(bucket_name)


@lru_cache(_NAMES_KEPT)
def index_collection(bucket_name: str, index_name: str) -> str:
    """Return the name of an index's collection."""
    return indexes_prefix(bucket_name) + _encoded(index_name)


def indexes_prefix(bucket_name: str) -> str:
    """Return what the names of the collections of a bucket's indexes begin with, and no others."""
    return INDEXES_PREFIX + _encoded(bucket_name) + _BETWEEN


def gone_collection(nonce: str) -> str:
    """Return the name that the collection with this nonce takes while it is being deleted."""
    return GONE_PREFIX + nonce


def partition_of(index_id: int) -> str:
    """Return the name of the partition that holds all rows of an index."""
    return f"p{index_id}"


def real_name(collection: str, prefix: str) -> str | None:
    """Return the name of the bucket or index that a collection is.

    Args:
        collection: The name of the collection.
        prefix: What it begins with: ``BUCKETS_PREFIX``, or ``indexes_prefix`` of a bucket.

    Returns:
        The name; None if it is too long to be told from that of the collection.
    """
    part = collection.removeprefix(prefix)
    if part.startswith("_z"):
        return None
    return _ESCAPE.sub(lambda found: _UNESCAPES[found.group()], part)


def _encoded(name: str) -> str:
    """Return a name in letters, digits and underscores, never two of those in a row."""
    encoded = "".join(_ESCAPES.get(character, character) for character in name)
    plain = _PLAIN.issuperset(name.translate({ord(character): None for character in _ESCAPES}))
    if plain and len(encoded) <= _PART_MAX:
        return encoded
    return "_z" + hashlib.sha256(name.encode()).hexdigest()


# --- What is claimed ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BucketClaim:
    """A bucket as its collection says it."""

    bucket: Bucket
    nonce: str
    """What tells it from others of its name."""
    deletions: frozenset[str] = frozenset()
    """Tokens of those who are deleting it."""

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self.bucket.name


@dataclass(frozen=True, slots=True)
class IndexClaim:
    """An index as its collection says it."""

    index: Index
    bucket_nonce: str
    """The nonce of the bucket that it was made in."""

    @property
    def name(self) -> str:
        """The index's name."""
        return self.index.name

    @property
    def nonce(self) -> str:
        """What tells it from others of its name."""
        return str(self.index.index_id)


class _Description(msgspec.Struct):
    """What every description begins with."""

    kind: str
    format_version: int


class _BucketDescription(_Description):
    nonce: str
    bucket: Bucket


class _IndexDescription(_Description):
    bucket_nonce: str
    index: Index


def bucket_description(claim: BucketClaim) -> str:
    """Return the description of a bucket's collection."""
    described = _BucketDescription(_BUCKET, FORMAT_VERSION, claim.nonce, claim.bucket)
    return msgspec.json.encode(described).decode()


def index_description(claim: IndexClaim) -> str:
    """Return the description of an index's collection."""
    described = _IndexDescription(_INDEX, FORMAT_VERSION, claim.bucket_nonce, claim.index)
    return msgspec.json.encode(described).decode()


def read_bucket(collection: str, description: str, properties: Mapping[str, str]) -> BucketClaim:
    """Return the bucket that a collection says it is.

    Raises:
        Corruption: It says something else, or nothing that makes sense.
        ServiceUnavailable: It is of another version.
    """
    said = _read(collection, description, _BUCKET, _BucketDescription)
    bucket, nonce = said.bucket, said.nonce
    if bucket_collection(bucket.name) != collection:
        raise _corrupt(collection, f"it says that it is bucket {bucket.name!r}")
    policy = properties.get(f"{_POLICY}.{nonce}")
    if policy:
        bucket = replace(bucket, policy=_decoded(collection, policy, str))
    logging = properties.get(f"{_LOGGING}.{nonce}")
    if logging:
        said_logging = _decoded(collection, logging, BucketLogging | None)
        bucket = replace(bucket, logging=said_logging)
    deletion = f"{_DELETION}.{nonce}."
    tokens = {
        name.removeprefix(deletion)
        for name, value in properties.items()
        if value and name.startswith(deletion)
    }
    return BucketClaim(bucket, nonce, frozenset(tokens))


def read_index(collection: str, description: str) -> IndexClaim:
    """Return the index that a collection says it is.

    Raises:
        Corruption: It says something else, or nothing that makes sense.
        ServiceUnavailable: It is of another version.
    """
    said = _read(collection, description, _INDEX, _IndexDescription)
    index = said.index
    if index_collection(index.bucket_name, index.name) != collection or index.index_id <= 0:
        what = f"index {index.name!r} of bucket {index.bucket_name!r}, {index.index_id}"
        raise _corrupt(collection, f"it says that it is {what}")
    return IndexClaim(index, said.bucket_nonce)


def read_gone(gone: str, description: str) -> tuple[str, str]:
    """Return what a collection is that is being deleted.

    Returns:
        The name that its collection had, and its nonce.

    Raises:
        Corruption: It says something else than a bucket or an index does.
        ServiceUnavailable: It is of another version.
    """
    if _decoded(gone, description, _Description).kind == _BUCKET:
        said = _read(gone, description, _BUCKET, _BucketDescription)
        return bucket_collection(said.bucket.name), said.nonce
    index = _read(gone, description, _INDEX, _IndexDescription).index
    return index_collection(index.bucket_name, index.name), str(index.index_id)


def _read(collection: str, description: str, kind: str, form: type[T]) -> T:
    begins = _decoded(collection, description, _Description)
    if begins.kind != kind:
        raise _corrupt(collection, f"it says that it is a {begins.kind}")
    if begins.format_version != FORMAT_VERSION:
        raise ServiceUnavailable(
            f"collection {collection} has format version {begins.format_version}; this server "
            f"reads version {FORMAT_VERSION}"
        )
    said: T = _decoded(collection, description, form)
    return said


def _decoded(collection: str, text: str, form: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=form)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise _corrupt(collection, str(error)) from error


def _corrupt(collection: str, what: str) -> Corruption:
    return Corruption(f"collection {collection} of Milvus is not what was written: {what}")


# --- Properties -----------------------------------------------------------------------------------


def policy_property(nonce: str, policy: str) -> dict[str, str]:
    """Return the property that says which policy the bucket with this nonce has."""
    return {f"{_POLICY}.{nonce}": msgspec.json.encode(policy).decode()}


def logging_property(nonce: str, logging: BucketLogging | None) -> dict[str, str]:
    """Return the property that says where the bucket with this nonce is logged."""
    return {f"{_LOGGING}.{nonce}": msgspec.json.encode(logging).decode()}


def deletion_property(nonce: str, token: str, *, is_on: bool) -> dict[str, str]:
    """Return the property that says whether somebody is deleting the bucket with this nonce."""
    # Properties cannot be removed: an empty one stands for none.
    return {f"{_DELETION}.{nonce}.{token}": "1" if is_on else ""}


# --- Fields ---------------------------------------------------------------------------------------


def bucket_fields() -> list[dict[str, Any]]:
    """Return the fields of a bucket's collection, which never has a row."""
    return [_key_field(), _vector_field(_BUCKET_DIMENSION)]


def index_fields(dimension: int) -> list[dict[str, Any]]:
    """Return the fields of the collection of an index of this dimension."""
    return [
        _key_field(),
        _vector_field(dimension),
        {"field_name": METADATA, "datatype": "JSON"},
        {"field_name": FILTERABLE, "datatype": "JSON"},
        {"field_name": HASH, "datatype": "INT64"},
    ]


def _key_field() -> dict[str, Any]:
    return {
        "field_name": KEY,
        "datatype": "VARCHAR",
        "is_primary": True,
        "max_length": KEY_BYTES_MAX,
    }


def _vector_field(dimension: int) -> dict[str, Any]:
    return {"field_name": VECTOR, "datatype": "FLOAT_VECTOR", "dim": dimension}
