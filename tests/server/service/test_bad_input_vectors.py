"""What bad input gets: vectors that are put, at a real server.

Method: each case is vectors and what their refusal must say: the field, and the words that name
the value and the limit. Each is tried as a unary call and as a message of a stream.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from conftest import StartServer
from rpc import (
    COSINE,
    PutStream,
    Stubs,
    assert_parameter_refused,
    index_request,
    put_message,
    refusal_of,
    refused,
    some_vectors,
    stubs_of,
    vector_of,
)
from vectorbucket.v1 import (
    vector_pb2,
)

KIB = 1024

FLOAT32_MAX_PLUS = 3.5e38
"""A double that no float32 can hold: protobuf's float field makes it infinity."""


@dataclass(frozen=True)
class Fault:
    """Vectors that must not be put, and what their refusal says."""

    vectors: list[vector_pb2.Vector]
    field: str
    words: tuple[str, ...]


def with_metadata(**fields: Any) -> list[vector_pb2.Vector]:
    """Return three good vectors; the last one has the metadata."""
    return [*some_vectors(2), vector_of("key-2", metadata=fields)]


def with_numbers(*numbers: float, as_bytes: bool = False) -> list[vector_pb2.Vector]:
    """Return three good vectors; the last one has the numbers."""
    return [*some_vectors(2), vector_of("key-2", numbers, as_bytes=as_bytes)]


def both_forms() -> list[vector_pb2.Vector]:
    (vector,) = with_numbers(1, 2, 3, 4)[2:]
    vector.data.float32_le = b"\0" * 16
    return [*some_vectors(2), vector]


LAST_DATA = "vectors[2].data"
LAST_METADATA = "vectors[2].metadata"

PUT_FAULTS = {
    "too few numbers": Fault(with_numbers(1, 2, 3), LAST_DATA, ("3 numbers", "dimension is 4")),
    "too many numbers": Fault(with_numbers(*range(5)), LAST_DATA, ("5 numbers", "dimension is 4")),
    "too few numbers as bytes": Fault(
        with_numbers(1, 2, 3, as_bytes=True), LAST_DATA, ("3 numbers", "dimension is 4")
    ),
    "no whole numbers": Fault(
        [
            *some_vectors(2),
            vector_pb2.Vector(key="a", data=vector_pb2.VectorData(float32_le=b"\0" * 15)),
        ],
        f"{LAST_DATA}.float32_le",
        ("15 bytes",),
    ),
    "no data": Fault([*some_vectors(2), vector_pb2.Vector(key="a")], LAST_DATA, ("missing",)),
    "both forms of data": Fault(both_forms(), LAST_DATA, ("4 numbers", "16 bytes")),
    "NaN": Fault(with_numbers(1, 2, math.nan, 4), LAST_DATA, ("nan", "position 2", "finite")),
    "NaN as bytes": Fault(
        with_numbers(1, 2, math.nan, 4, as_bytes=True), LAST_DATA, ("nan", "position 2")
    ),
    "infinity": Fault(with_numbers(math.inf, 2, 3, 4), LAST_DATA, ("inf", "position 0")),
    "minus infinity": Fault(with_numbers(1, 2, 3, -math.inf), LAST_DATA, ("-inf", "position 3")),
    "overflow of float32": Fault(
        with_numbers(1, FLOAT32_MAX_PLUS, 3, 4), LAST_DATA, ("inf", "position 1", "3.4028")
    ),
    "an empty key": Fault(
        [*some_vectors(2), vector_of("")], "vectors[2].key", ("0 bytes", "1 to 1024")
    ),
    "a key of 1,025 bytes": Fault(
        [*some_vectors(2), vector_of("k" * 1025)], "vectors[2].key", ("1025 bytes", "1 to 1024")
    ),
    "a key of 1,025 bytes in 513 characters": Fault(
        [*some_vectors(2), vector_of("é" * 512 + "k")],
        "vectors[2].key",
        ("1025 bytes", "1 to 1024"),
    ),
    "a key twice": Fault(
        [*some_vectors(2), vector_of("key-0")], "vectors[2].key", ("'key-0'", "vectors[0].key")
    ),
    "501 vectors": Fault(some_vectors(501), "vectors", ("501", "1 to 500")),
    "0 vectors": Fault([], "vectors", ("0 elements", "1 to 500")),
    "11 metadata fields": Fault(
        with_metadata(**{f"field{number}": "x" for number in range(11)}),
        LAST_METADATA,
        ("11 fields", "limit is 10"),
    ),
    "11 metadata fields, most of them non-filterable": Fault(
        with_metadata(blob="x", note="x", **{f"field{number}": "x" for number in range(9)}),
        LAST_METADATA,
        ("11 fields", "limit is 10"),
    ),
    "a filterable field of 2 KB + 1": Fault(
        # Two quotes each around name and value.
        with_metadata(title="x" * (2 * KIB + 1 - len("title") - 4)),
        f"{LAST_METADATA}.title",
        ("2049 bytes", "2048"),
    ),
    "a filterable list of more than 2 KB": Fault(
        with_metadata(tags=["x" * 20] * 100), f"{LAST_METADATA}.tags", ("bytes", "2048")
    ),
    "40 KB + 1 in all": Fault(
        with_metadata(blob="x" * (40 * KIB + 1 - len("blob") - 4)),
        LAST_METADATA,
        ("40961 bytes", "40960"),
    ),
    "40 KB + 1 in all, in several fields": Fault(
        with_metadata(blob="x" * 30 * KIB, note="x" * 10 * KIB), LAST_METADATA, ("bytes", "40960")
    ),
    "a metadata value without a kind": Fault(
        with_metadata(title=None), f"{LAST_METADATA}.title", ("no kind", "null")
    ),
    "a list element without a kind": Fault(
        with_metadata(tags=["a", None]), f"{LAST_METADATA}.tags", ("no kind",)
    ),
    "a metadata number that is NaN": Fault(
        with_metadata(year=math.nan), f"{LAST_METADATA}.year", ("nan", "finite")
    ),
    "a metadata number that is infinite": Fault(
        with_metadata(years=[1.0, math.inf]), f"{LAST_METADATA}.years", ("inf", "finite")
    ),
    "an integer beyond 2^53": Fault(
        with_metadata(big=float(2**53 + 2)),
        f"{LAST_METADATA}.big",
        ("9007199254740994", "9007199254740992"),
    ),
    "an integer below -2^53": Fault(
        with_metadata(big=[-1e300]), f"{LAST_METADATA}.big", ("-1e+300", "9007199254740992")
    ),
    "a metadata name that is empty": Fault(
        with_metadata(**{"": "x"}), LAST_METADATA, ("empty name",)
    ),
    "a metadata name that starts with a dollar": Fault(
        with_metadata(**{"$eq": "x"}), LAST_METADATA, ("'$eq'", "'$'")
    ),
    "a metadata name of 256 bytes": Fault(
        with_metadata(**{"n" * 256: "x"}), LAST_METADATA, ("256 bytes", "255")
    ),
}


@pytest.mark.parametrize("fault", PUT_FAULTS.values(), ids=PUT_FAULTS)
def test_bad_vectors_are_refused_in_a_unary_put(with_index: Stubs, fault: Fault) -> None:
    assert_parameter_refused(
        refused(lambda: with_index.put(*fault.vectors)), fault.field, fault.words
    )
    assert with_index.all_keys() == []


@pytest.mark.parametrize("fault", PUT_FAULTS.values(), ids=PUT_FAULTS)
def test_bad_vectors_are_refused_in_a_stream_that_goes_on(with_index: Stubs, fault: Fault) -> None:
    stream = PutStream(with_index)
    rejected = stream.ask(put_message(1, *fault.vectors))
    assert rejected.batch_number == 1
    assert_parameter_refused(refusal_of(rejected.error), fault.field, fault.words)
    assert with_index.all_keys() == []
    assert stream.ask(put_message(2, vector_of("good"))).stored.vector_count == 1
    assert stream.finish() == []
    assert with_index.all_keys() == ["good"]


def test_zero_vector_is_refused_under_cosine_only(stubs: Stubs) -> None:
    stubs.make_index(metric=COSINE)
    for zero in (0.0, -0.0):
        vectors = with_numbers(zero, 0, 0, 0)
        refusal = refused(lambda vectors=vectors: stubs.put(*vectors))  # type: ignore[misc]
        assert_parameter_refused(refusal, LAST_DATA, ("zero vector", "cosine"))
    assert stubs.all_keys() == []
    # The smallest float32 there is still has an angle.
    assert stubs.put(*with_numbers(1e-45, 0, 0, 0)) == 3
    stubs.indexes.PutVectorIndex(index_request(index_name="flat"))
    assert stubs.put(*with_numbers(0, 0, 0, 0), index_name="flat") == 3


def test_metadata_other_than_texts_is_refused_where_the_server_takes_only_texts(
    start_server: StartServer,
) -> None:
    with stubs_of(start_server(metadata_types="strings").address) as stubs:
        stubs.make_index()
        for value, shown in ((1.0, "1"), (2.5, "2.5"), (True, "true"), (["a", 3.0], "3")):
            vectors = with_metadata(field=value)
            refusal = refused(lambda vectors=vectors: stubs.put(*vectors))  # type: ignore[misc]
            assert_parameter_refused(
                refusal, f"{LAST_METADATA}.field", (f"holds {shown};", "only texts")
            )
        assert stubs.all_keys() == []
        assert stubs.put(*with_metadata(one="text", many=["a", "b"], none=[])) == 3


def test_metadata_right_at_its_limits_is_stored(with_index: Stubs) -> None:
    ten = {f"field{number}": float(number) for number in range(9)}
    widest = "x" * (2 * KIB - len("title") - 4)
    largest = "x" * (40 * KIB - len("blob") - 4)
    good = [
        vector_of("ten", metadata=ten | {"flag": True}),
        vector_of("wide", metadata={"title": widest}),
        vector_of("large", metadata={"blob": largest}),
        vector_of("big", metadata={"number": float(2**53), "negative": -float(2**53)}),
        vector_of("k" * 1024, metadata={"n" * 255: "x"}),
        vector_of("🜁" * 256),
    ]
    assert with_index.put(*good) == len(good)
