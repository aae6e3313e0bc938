"""Every decoder fed with what nobody wrote: it reads it, or raises Corruption that says where."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_records import (
    BUCKET_JSON,
    CHECKPOINTS_JSON,
    INDEX_JSON,
    LOGGED_BUCKET_JSON,
    PLACE,
    names_place,
)
from rooms import refused
from vectorbucket.errors import Corruption
from vectorbucket_server.engine.embedded import schema
from vectorbucket_server.engine.embedded.schema import Family, IndexState

QUICK = settings(derandomize=True, database=None, deadline=None, max_examples=200)

Decoder = Callable[[bytes], object]

DECODERS: dict[str, tuple[Family, bytes, Decoder]] = {
    "number": (
        Family.VECTORS,
        schema.encode_number(5),
        lambda value: schema.decode_number(Family.VECTORS, PLACE, value),
    ),
    "bucket": (Family.CATALOG, BUCKET_JSON, lambda value: schema.decode_bucket(PLACE, value)),
    "logged bucket": (
        Family.CATALOG,
        LOGGED_BUCKET_JSON,
        lambda value: schema.decode_bucket(PLACE, value),
    ),
    "index": (Family.CATALOG, INDEX_JSON, lambda value: schema.decode_index(PLACE, value)),
    "state": (
        Family.CATALOG,
        schema.encode_state(IndexState(3, 2, 1)),
        lambda value: schema.decode_state(PLACE, value),
    ),
    "checkpoints": (
        Family.CATALOG,
        CHECKPOINTS_JSON,
        lambda value: schema.decode_checkpoints(PLACE, value),
    ),
    "row key": (
        Family.ROWS,
        schema.encode_row("klé", {}),
        lambda value: schema.decode_row_key(PLACE, value),
    ),
    "row metadata": (
        Family.ROWS,
        schema.encode_row("k", {"tag": ["é", 1.5]}),
        lambda value: (
            schema.decode_row_key(PLACE, value),
            schema.decode_row_metadata(PLACE, value),
        ),
    ),
    "data": (
        Family.DATA,
        struct.pack("<3f", 1, 2, 3),
        lambda value: schema.decode_data(PLACE, value, 3),
    ),
    "change": (
        Family.CHANGES,
        schema.encode_change([5]),
        lambda value: schema.decode_change(PLACE, value),
    ),
}
"""Decoder by name: the family it reads, a good record, and how it is called."""


def reads_or_names(decode: Decoder, value: bytes, family: Family) -> bool:
    """Return whether a decoder reads a value, or raises Corruption that says where it was."""
    outcome = refused(lambda: decode(value))
    if not isinstance(outcome, Exception):
        return True
    return isinstance(outcome, Corruption) and names_place(outcome, family)


@pytest.mark.parametrize("name", DECODERS)
def test_record_that_was_cut_is_named(name: str) -> None:
    family, record, decode = DECODERS[name]
    decode(record)
    shortest = {"change": 1, "row metadata": 4}.get(name, 0)
    for size in range(shortest, len(record)):
        with pytest.raises(Corruption) as told:
            decode(record[:size])
        assert names_place(told.value, family)


@pytest.mark.parametrize(
    "name", ["number", "state", "data", "change", "bucket", "index", "checkpoints"]
)
def test_record_with_something_behind_it_is_named(name: str) -> None:
    family, record, decode = DECODERS[name]
    with pytest.raises(Corruption) as told:
        decode(record + b"\xff")
    assert names_place(told.value, family)


@pytest.mark.parametrize("name", DECODERS)
@QUICK
@given(st.binary(max_size=60))
def test_foreign_bytes_are_read_or_named_and_nothing_else(name: str, value: bytes) -> None:
    family, _, decode = DECODERS[name]
    assert reads_or_names(decode, value, family)


@pytest.mark.parametrize("name", DECODERS)
@QUICK
@given(st.data())
def test_flipped_bytes_are_read_or_named_and_nothing_else(name: str, data: st.DataObject) -> None:
    family, record, decode = DECODERS[name]
    position = data.draw(st.integers(0, len(record) - 1))
    flipped = bytearray(record)
    flipped[position] ^= data.draw(st.integers(1, 255))
    assert reads_or_names(decode, bytes(flipped), family)


@pytest.mark.parametrize(
    "record",
    [
        INDEX_JSON.replace(b"cosine", b"dotproduct"),
        INDEX_JSON.replace(b'"index_id":9', b'"index_id":0'),
        INDEX_JSON.replace(b'"dimension":3', b'"dimension":"3"'),
        INDEX_JSON.replace(b',"index_id":9', b""),
        INDEX_JSON.replace(b"things", b"th\xffngs"),
        b"{}",
        b"[]",
    ],
)
def test_index_that_cannot_be_is_named(record: bytes) -> None:
    with pytest.raises(Corruption) as told:
        schema.decode_index(PLACE, record)
    assert names_place(told.value, Family.CATALOG)


@pytest.mark.parametrize(
    "record",
    [
        CHECKPOINTS_JSON.replace(b"cosine", b"dotproduct"),
        CHECKPOINTS_JSON.replace(b'"seq":9,', b""),
        CHECKPOINTS_JSON.replace(b'"crc32":1', b'"crc32":null'),
        CHECKPOINTS_JSON[1:-1],
    ],
)
def test_checkpoints_that_cannot_be_are_named(record: bytes) -> None:
    with pytest.raises(Corruption) as told:
        schema.decode_checkpoints(PLACE, record)
    assert names_place(told.value, Family.CATALOG)


@pytest.mark.parametrize(
    "metadata", [b'{"a":null}', b'{"a":{}}', b'{"a":[[1]]}', b"[1]", b'{"\xff":1}', b'{"a":"\xff"}']
)
def test_metadata_that_cannot_be_are_named(metadata: bytes) -> None:
    row = schema.encode_row("k", {}) + metadata
    with pytest.raises(Corruption) as told:
        schema.decode_row_metadata(PLACE, row)
    assert names_place(told.value, Family.ROWS)


@pytest.mark.parametrize("key", [b"", b"\0" * 15, b"\0" * 17])
def test_key_of_a_wrong_length_is_named(key: bytes) -> None:
    with pytest.raises(Corruption) as told:
        schema.label_of(Family.CHANGES, key)
    assert names_place(told.value, Family.CHANGES, key)
    with pytest.raises(Corruption):
        schema.dropped_index_id(b"d/" + key)


def test_data_of_another_dimension_are_named() -> None:
    for dimension in (2, 4):
        with pytest.raises(Corruption, match=f"12 bytes, not {dimension * 4}") as told:
            schema.decode_data(PLACE, struct.pack("<3f", 1, 2, 3), dimension)
        assert names_place(told.value, Family.DATA)
