"""Every byte on disk: keys and records of the store's families. FORMAT.md is this file in prose.

Rules of this file:

- The only knower of bytes: no other module packs or unpacks what is stored.
- Integers are big-endian, so that the order of bytes is the order of numbers; vectors are
  little-endian float32, as they came.
- Checks are paired: what encode asserts, decode asserts too, and raises Corruption that names the
  family and the key.
- A change of any byte is a new FORMAT_VERSION and an entry in FORMAT.md.

Source: the habit of leveldb's ``dbformat.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from vectorbucket.errors import Corruption
from vectorbucket_server.model import Bucket, DistanceMetric, Float32Array, Index, Metadata

T = TypeVar("T")

FORMAT_VERSION = 1
"""Version of everything that this file describes."""

LabelArray = npt.NDArray[np.uint64]


class Family(Enum):
    """The store's column families; the value is the family's name on disk."""

    CATALOG = "catalog"
    """Buckets, indexes, drops under way, counters, the format."""
    VECTORS = "vectors"
    """index_id · key → label: the only row that an overwrite changes."""
    ROWS = "rows"
    """index_id · label → key, metadata; never changes."""
    DATA = "data"
    """index_id · label → numbers, as the caller sent them; never changes."""
    CHANGES = "changes"
    """index_id · seq → labels that died with this change; kept until their rows are removed. A
    change in which nothing died leaves no record: labels that were born are known by their number.
    """


FORMAT_KEY = b"format"
INDEX_ID_KEY = b"n/index_id"
BUCKET_PREFIX = b"b/"
INDEX_PREFIX = b"i/"
DROP_PREFIX = b"d/"
STATE_PREFIX = b"s/"
CHECKPOINTS_PREFIX = b"c/"

_U64 = struct.Struct(">Q")
_PAIR = struct.Struct(">QQ")
_STATE = struct.Struct(">QQQ")
_KEY_LENGTH = struct.Struct(">H")

_metadata_encoder = msgspec.json.Encoder()
_metadata_decoder = msgspec.json.Decoder(dict[str, str | bool | float | list[str | bool | float]])


def corrupt(family: Family, key: bytes, what: str) -> Corruption:
    """Return the error for a record that is not what was written."""
    return Corruption(f"family {family.value}, key {key.hex()}: {what}")


# --- Numbers ------------------------------------------------------------------------------------


def encode_number(number: int) -> bytes:
    """Return the eight bytes of a counter, an index_id or a format version."""
    return _U64.pack(number)


def decode_number(family: Family, key: bytes, value: bytes) -> int:
    """Return the number that ``encode_number`` wrote."""
    if len(value) != _U64.size:
        raise corrupt(family, key, f"a number has {len(value)} bytes, not {_U64.size}")
    return int(_U64.unpack(value)[0])


# --- Catalogue ----------------------------------------------------------------------------------


def bucket_key(name: str) -> bytes:
    """Return the catalogue key of a bucket."""
    return BUCKET_PREFIX + name.encode()


def index_key(bucket_name: str, index_name: str) -> bytes:
    """Return the catalogue key of an index. Names hold no ``/``, so it cannot be ambiguous."""
    return INDEX_PREFIX + bucket_name.encode() + b"/" + index_name.encode()


def drop_key(index_id: int) -> bytes:
    """Return the catalogue key that says that an index is being dropped."""
    return DROP_PREFIX + _U64.pack(index_id)


def state_key(index_id: int) -> bytes:
    """Return the catalogue key of an index's state."""
    return STATE_PREFIX + _U64.pack(index_id)


def checkpoints_key(index_id: int) -> bytes:
    """Return the catalogue key of an index's checkpoints."""
    return CHECKPOINTS_PREFIX + _U64.pack(index_id)


def dropped_index_id(key: bytes) -> int:
    """Return the index_id in a key that ``drop_key`` made."""
    return decode_number(Family.CATALOG, key, key[len(DROP_PREFIX) :])


def catalogue_index_id(key: bytes) -> int:
    """Return the index_id in a key of the catalogue that ends in one."""
    return decode_number(Family.CATALOG, key, key[len(STATE_PREFIX) :])


def encode_bucket(bucket: Bucket) -> bytes:
    """Return the catalogue record of a bucket: JSON."""
    return msgspec.json.encode(bucket)


def decode_bucket(key: bytes, value: bytes) -> Bucket:
    """Return the bucket of a catalogue record."""
    return _decode_catalogue(key, value, Bucket)


def encode_index(index: Index) -> bytes:
    """Return the catalogue record of an index: JSON."""
    if index.index_id <= 0:
        raise ValueError("an index is stored under an id of its own")
    return msgspec.json.encode(index)


def decode_index(key: bytes, value: bytes) -> Index:
    """Return the index of a catalogue record."""
    index = _decode_catalogue(key, value, Index)
    if index.index_id <= 0 or not isinstance(index.metric, DistanceMetric):
        raise corrupt(Family.CATALOG, key, "the index has no id")
    return index


def _decode_catalogue(key: bytes, value: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise corrupt(Family.CATALOG, key, str(error)) from error


@dataclass(frozen=True, slots=True)
class IndexState:
    """The counters of an index; written with every batch."""

    next_label: int
    """The label that the next vector takes; labels below it are never taken again."""
    seq: int
    """The number of the last change."""
    vector_count: int
    """Vectors that exist."""


def encode_state(state: IndexState) -> bytes:
    """Return the 24 bytes of an index's state."""
    return _STATE.pack(state.next_label, state.seq, state.vector_count)


def decode_state(key: bytes, value: bytes) -> IndexState:
    """Return the state of an index."""
    if len(value) != _STATE.size:
        raise corrupt(Family.CATALOG, key, f"a state has {len(value)} bytes, not {_STATE.size}")
    return IndexState(*_STATE.unpack(value))


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A file of a checkpoint, as it must be found."""

    size_bytes: int
    """Of the file; of a file that later rows go on with, the bytes up to them."""
    crc32: int
    """Of those bytes."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A graph and its rows on disk, and what must be true of them to be believed."""

    generation: int
    """The number of the generation, and the name of its directory."""
    name: str
    """Of the checkpoint's directory in the generation's."""
    seq: int
    """The last change that it contains."""
    next_label: int
    """Labels below it are in it, unless they were dead."""
    count: int
    """Slots."""
    graphed: int
    """Slots below it are in the graph, or were dead before their turn."""
    dimension: int
    metric: DistanceMetric
    m: int
    files: dict[str, CheckpointFile]
    """By path in the generation's directory."""


def encode_checkpoints(checkpoints: Sequence[Checkpoint]) -> bytes:
    """Return the catalogue record of an index's checkpoints, the newest first: JSON."""
    return msgspec.json.encode(checkpoints)


def decode_checkpoints(key: bytes, value: bytes) -> list[Checkpoint]:
    """Return the checkpoints of an index, the newest first."""
    return _decode_catalogue(key, value, list[Checkpoint])


# --- Vectors, rows, data ------------------------------------------------------------------------


def index_range(index_id: int) -> tuple[bytes, bytes]:
    """Return the first key of an index in every family but the catalogue, and the end of them."""
    return _U64.pack(index_id), _U64.pack(index_id + 1)


def vector_prefix(index_id: int) -> bytes:
    """Return what the keys of an index start with in ``vectors``."""
    return _U64.pack(index_id)


def owner_of(family: Family, key: bytes) -> int:
    """Return the index_id that a key of any family but the catalogue begins with."""
    return decode_number(family, key, key[: _U64.size])


def label_key(index_id: int, label: int) -> bytes:
    """Return the key of a label's row in ``rows`` and ``data``, or of a seq in ``changes``."""
    return _PAIR.pack(index_id, label)


def label_of(family: Family, key: bytes) -> int:
    """Return the label (or seq) in a key that ``label_key`` made."""
    if len(key) != _PAIR.size:
        raise corrupt(family, key, f"a key has {len(key)} bytes, not {_PAIR.size}")
    return int(_PAIR.unpack(key)[1])


def encode_row(key: str, metadata: Metadata) -> bytes:
    """Return the record of ``rows``: length of the key, key, metadata as JSON (or nothing)."""
    encoded = key.encode()
    return (
        _KEY_LENGTH.pack(len(encoded))
        + encoded
        + (_metadata_encoder.encode(metadata) if metadata else b"")
    )


def decode_row_key(row_key: bytes, value: bytes) -> str:
    """Return the vector's key in a record of ``rows``."""
    if len(value) < _KEY_LENGTH.size:
        raise corrupt(Family.ROWS, row_key, f"a row has only {len(value)} bytes")
    end = _KEY_LENGTH.size + (value[0] << 8 | value[1])
    try:
        if len(value) < end:
            raise corrupt(Family.ROWS, row_key, f"a row of {len(value)} bytes ends in its key")
        return value[_KEY_LENGTH.size : end].decode()
    except UnicodeDecodeError as error:
        raise corrupt(Family.ROWS, row_key, "a vector's key is not UTF-8") from error


def decode_row_metadata(row_key: bytes, value: bytes) -> Metadata:
    """Return the metadata in a record of ``rows`` whose key was decoded before."""
    encoded = value[_KEY_LENGTH.size + (value[0] << 8 | value[1]) :]
    if not encoded:
        return {}
    try:
        return _metadata_decoder.decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise corrupt(Family.ROWS, row_key, f"metadata: {error}") from error


def decode_data(row_key: bytes, value: bytes, dimension: int) -> Float32Array:
    """Return the numbers in a record of ``data``: float32, shape (dimension,), read-only."""
    if len(value) != dimension * 4:
        raise corrupt(Family.DATA, row_key, f"a vector has {len(value)} bytes, not {dimension * 4}")
    return np.frombuffer(value, dtype="<f4")


# --- Changes ------------------------------------------------------------------------------------


def encode_change(dead: Sequence[int]) -> bytes:
    """Return the record of a change: the labels that died with it, eight bytes each."""
    return np.asarray(dead, dtype=">u8").tobytes()


def decode_change(key: bytes, value: bytes) -> LabelArray:
    """Return the labels that died with a change: uint64, shape (n,)."""
    if len(value) % 8:
        raise corrupt(Family.CHANGES, key, f"a change has {len(value)} bytes, no multiple of 8")
    return np.frombuffer(value, dtype=">u8").astype(np.uint64)
