"""Every byte on disk: what is written is read back, what is foreign is named, what is old stays.

Method: golden bytes, written out from FORMAT.md by hand, so that no change of a codec goes unseen;
and round trips of anything. What nobody wrote: test_schema_foreign.py.
"""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from golden_records import (
    BUCKET,
    BUCKET_JSON,
    CHECKPOINT,
    CHECKPOINTS_JSON,
    INDEX,
    INDEX_JSON,
    LOGGED_BUCKET,
    LOGGED_BUCKET_JSON,
    PLACE,
)
from house import ROOT
from vectorbucket_server.engine.embedded import schema
from vectorbucket_server.engine.embedded.schema import (
    Checkpoint,
    CheckpointFile,
    Family,
    IndexState,
)
from vectorbucket_server.model import (
    Bucket,
    BucketLogging,
    DistanceMetric,
    Float32Array,
    GraphOptions,
    Index,
    Metadata,
)

QUICK = settings(derandomize=True, database=None, deadline=None, max_examples=200)

U64 = st.integers(0, 2**64 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = TEXTS.filter(lambda key: 1 <= len(key.encode()) <= 1_024)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = TEXTS | NUMBERS | st.booleans()
METADATA = st.dictionaries(TEXTS, SCALARS | st.lists(SCALARS, max_size=5), max_size=10)


def format_page() -> str:
    """Return FORMAT.md."""
    return (ROOT / "server" / "FORMAT.md").read_text(encoding="utf-8")


# --- The format, as it is written down ------------------------------------------------------------


def test_format_page_is_of_this_version() -> None:
    assert f"Format version {schema.FORMAT_VERSION}." in format_page()


@pytest.mark.parametrize("family", Family)
def test_format_page_has_a_row_for_every_family(family: Family) -> None:
    assert f"| `{family.value}` |" in format_page()


@pytest.mark.parametrize(
    "name", [name for name in vars(schema) if name.endswith(("_PREFIX", "_KEY"))]
)
def test_format_page_has_a_row_for_every_key_of_the_catalogue(name: str) -> None:
    assert f"| `{getattr(schema, name).decode()}`" in format_page()


def test_bucket_recorded_before_there_were_policies_and_logging_has_none() -> None:
    older = BUCKET_JSON.replace(b',"policy":"","logging":null', b"")
    assert older == b'{"name":"things","account_id":"1234567890","created_ms":1700}'
    assert schema.decode_bucket(PLACE, older) == BUCKET


def test_format_page_names_every_member_of_a_buckets_logging() -> None:
    members = ", ".join(f'"{name}"' for name in json.loads(LOGGED_BUCKET_JSON)["logging"])
    assert f"`{{{members}}}`" in format_page()


def test_index_recorded_before_graphs_had_options_leaves_them_open() -> None:
    older = INDEX_JSON.replace(b',"graph":{"m":null,"ef_construction":null,"ef_search":null}', b"")
    assert b"graph" not in older
    assert schema.decode_index(PLACE, older) == INDEX


@pytest.mark.parametrize("record", [BUCKET_JSON, INDEX_JSON])
def test_format_page_names_every_member_of_the_catalogues_records(record: bytes) -> None:
    members = ", ".join(f'"{name}"' for name in json.loads(record))
    assert f"`{{{members}}}`" in format_page()


@pytest.mark.parametrize(
    ("made", "written"),
    [
        (schema.bucket_key("things"), b"b/things"),
        (schema.index_key("things", "vectors"), b"i/things/vectors"),
        (schema.drop_key(258), b"d/\0\0\0\0\0\0\x01\x02"),
        (schema.state_key(258), b"s/\0\0\0\0\0\0\x01\x02"),
        (schema.checkpoints_key(258), b"c/\0\0\0\0\0\0\x01\x02"),
        (schema.FORMAT_KEY, b"format"),
        (schema.INDEX_ID_KEY, b"n/index_id"),
        (schema.vector_prefix(258), b"\0\0\0\0\0\0\x01\x02"),
        (schema.label_key(1, 258), b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02"),
        (schema.encode_number(258), b"\0\0\0\0\0\0\x01\x02"),
        (schema.encode_bucket(BUCKET), BUCKET_JSON),
        (schema.encode_bucket(LOGGED_BUCKET), LOGGED_BUCKET_JSON),
        (schema.encode_index(INDEX), INDEX_JSON),
        (schema.encode_checkpoints([CHECKPOINT]), CHECKPOINTS_JSON),
        (schema.encode_state(IndexState(3, 2, 1)), bytes([*[0] * 7, 3, *[0] * 7, 2, *[0] * 7, 1])),
        (schema.encode_row("é", {}), b"\0\x02\xc3\xa9"),
        (schema.encode_row("k", {"a": [1.0, "x", True]}), b'\0\x01k{"a":[1.0,"x",true]}'),
        (schema.encode_change([1, 258]), b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02"),
    ],
)  # fmt: skip
def test_bytes_on_disk_are_those_of_format_version_1(made: bytes, written: bytes) -> None:
    assert made == written


def test_families_on_disk_are_those_of_format_version_1() -> None:
    assert [family.value for family in Family] == ["catalog", "vectors", "rows", "data", "changes"]


def test_data_on_disk_are_little_endian_floats() -> None:
    numbers = schema.decode_data(PLACE, struct.pack("<3f", 1.5, -2.0, 0.1), 3)
    assert numbers.dtype == np.float32
    assert numbers.tolist() == [1.5, -2.0, np.float32(0.1)]


# --- Keys -----------------------------------------------------------------------------------------


@QUICK
@given(U64, U64)
def test_order_of_keys_is_the_order_of_numbers(a: int, b: int) -> None:
    assert (schema.label_key(a, 7) < schema.label_key(b, 7)) == (a < b)
    assert (schema.label_key(7, a) < schema.label_key(7, b)) == (a < b)
    assert (schema.encode_number(a) < schema.encode_number(b)) == (a < b)


@QUICK
@given(st.integers(1, 2**64 - 3), U64, KEYS)
def test_range_of_an_index_holds_its_keys_and_no_others(
    index_id: int, label: int, key: str
) -> None:
    start, stop = schema.index_range(index_id)
    for made in (
        schema.label_key(index_id, label),
        schema.vector_prefix(index_id) + key.encode(),
    ):
        assert start <= made < stop
    for other in (index_id - 1, index_id + 1):
        assert not start <= schema.label_key(other, label) < stop
        assert not start <= schema.vector_prefix(other) + key.encode() < stop


@QUICK
@given(U64, U64)
def test_numbers_in_keys_are_read_back(index_id: int, label: int) -> None:
    assert schema.label_of(Family.ROWS, schema.label_key(index_id, label)) == label
    assert schema.dropped_index_id(schema.drop_key(index_id)) == index_id
    for key in (schema.drop_key, schema.state_key, schema.checkpoints_key):
        assert schema.catalogue_index_id(key(index_id)) == index_id
    assert schema.owner_of(Family.ROWS, schema.label_key(index_id, label)) == index_id
    assert schema.owner_of(Family.VECTORS, schema.vector_prefix(index_id) + b"key") == index_id


def test_keys_of_different_kinds_never_meet() -> None:
    prefixes = [
        schema.BUCKET_PREFIX,
        schema.INDEX_PREFIX,
        schema.DROP_PREFIX,
        schema.STATE_PREFIX,
        schema.CHECKPOINTS_PREFIX,
        schema.FORMAT_KEY,
        schema.INDEX_ID_KEY,
    ]
    for one in prefixes:
        assert not any(one != other and other.startswith(one) for other in prefixes)


# --- Round trips ----------------------------------------------------------------------------------


@QUICK
@given(U64)
def test_number_is_read_back(number: int) -> None:
    assert schema.decode_number(Family.CATALOG, PLACE, schema.encode_number(number)) == number


@QUICK
@given(
    st.builds(
        Bucket,
        TEXTS,
        TEXTS,
        st.integers(0, 2**53),
        TEXTS,
        st.none() | st.builds(BucketLogging, TEXTS, TEXTS, TEXTS),
    )
)
def test_bucket_is_read_back(bucket: Bucket) -> None:
    assert schema.decode_bucket(PLACE, schema.encode_bucket(bucket)) == bucket


@QUICK
@given(
    st.builds(
        Index,
        TEXTS,
        TEXTS,
        st.integers(1, 4_096),
        st.sampled_from(DistanceMetric),
        st.lists(TEXTS, max_size=10).map(tuple),
        st.integers(0, 2**53),
        st.integers(1, 2**63 - 1),
        st.builds(GraphOptions, *[st.none() | st.integers(1, 10_000)] * 3),
    )
)
def test_index_is_read_back(index: Index) -> None:
    assert schema.decode_index(PLACE, schema.encode_index(index)) == index


@QUICK
@given(U64, U64, U64)
def test_state_is_read_back(next_label: int, seq: int, vector_count: int) -> None:
    state = IndexState(next_label, seq, vector_count)
    assert schema.decode_state(PLACE, schema.encode_state(state)) == state


@QUICK
@given(
    st.lists(
        st.builds(
            Checkpoint,
            *[U64, TEXTS, U64, U64, U64, U64],
            st.integers(1, 4_096),
            st.sampled_from(DistanceMetric),
            st.integers(1, 100),
            st.dictionaries(TEXTS, st.builds(CheckpointFile, U64, U64), max_size=3),
        ),
        max_size=3,
    )
)
def test_checkpoints_are_read_back(checkpoints: list[Checkpoint]) -> None:
    written = schema.encode_checkpoints(checkpoints)
    assert schema.decode_checkpoints(PLACE, written) == checkpoints


@QUICK
@given(KEYS, METADATA)
def test_row_is_read_back(key: str, metadata: Metadata) -> None:
    row = schema.encode_row(key, metadata)
    assert schema.decode_row_key(PLACE, row) == key
    found = schema.decode_row_metadata(PLACE, row)
    assert repr(found) == repr(metadata), "types and signs of zero count"


def test_row_of_the_longest_key_is_read_back() -> None:
    for key in ("k" * 1_024, "🜁" * 256):
        row = schema.encode_row(key, {"f": "v"})
        assert schema.decode_row_key(PLACE, row) == key
        assert schema.decode_row_metadata(PLACE, row) == {"f": "v"}


@QUICK
@given(hnp.arrays("<f4", st.integers(1, 50), elements=st.floats(width=32)))
def test_data_are_read_back_bit_for_bit(numbers: Float32Array) -> None:
    found = schema.decode_data(PLACE, numbers.tobytes(), len(numbers))
    assert found.tobytes() == numbers.tobytes()
    assert not found.flags.writeable


@QUICK
@given(st.lists(U64))
def test_change_is_read_back(labels: list[int]) -> None:
    found = schema.decode_change(PLACE, schema.encode_change(labels))
    assert found.dtype == np.uint64
    assert found.dtype.isnative
    assert found.tolist() == labels


def test_index_without_an_id_is_never_written() -> None:
    with pytest.raises(ValueError, match="id of its own"):
        schema.encode_index(Index("b", "i", 3, DistanceMetric.COSINE))
