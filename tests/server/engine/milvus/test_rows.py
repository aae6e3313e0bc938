"""Vectors as rows and back, what Milvus cannot hold, and what it measures."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from engines.subject import batch
from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.limits import OSS
from vectorbucket_server.engine.milvus import rows as module
from vectorbucket_server.engine.milvus.definitions import (
    FILTERABLE,
    HASH,
    KEY,
    KEY_BYTES_MAX,
    METADATA,
    VECTOR,
)
from vectorbucket_server.engine.milvus.pushdown import filterable_document
from vectorbucket_server.engine.milvus.rows import (
    JSON_BYTES_MAX,
    LENGTH_MAX,
    LENGTH_MIN,
    distance_of,
    fields_of,
    in_messages,
    metadata_of,
    metric_name,
    rows_of,
    searchable,
    vector_of,
)
from vectorbucket_server.model import DistanceMetric, Index, Metadata

EUCLIDEAN, COSINE = DistanceMetric.EUCLIDEAN, DistanceMetric.COSINE
INDEX = Index("photos", "faces", 2, EUCLIDEAN, ("note",))
EVERYTHING: Metadata = {
    "text": 'é\U0001f600"\\\x00\n',
    "": "an empty name",
    "whole": 1.0,
    "large": 1e308,
    "small": 5e-324,
    "beyond integers": 2.0**53 + 2,
    "nearly an integer": 1e18,
    "minus nothing": -0.0,
    "yes": True,
    "no": False,
    "list": [1.0, "1", True, -2.5, False],
    "nothing": [],
    "note": "not to be filtered by",
}


def row_of(key: str = "k", metadata: Metadata | None = None) -> dict[str, Any]:
    (row,) = rows_of(INDEX, batch([key], [[1, 2]], [metadata or {}]))
    return row


def refusal_of(number: int, key: str, metadata: Metadata) -> VectorIndexParameterInvalid:
    """Return how a vector is refused that stands at a place among others that are right."""
    keys = [f"k{n}" for n in range(number)] + [key]
    made = batch(keys, [[1, 2]] * len(keys), [*({} for _ in range(number)), metadata])
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        rows_of(INDEX, made)
    return caught.value


# --- There ----------------------------------------------------------------------------------------


def test_row_holds_what_stands_in_the_batch() -> None:
    made = batch(["a", "é"], [[1, 2], [3, 4]], [{}, EVERYTHING])
    rows = rows_of(INDEX, made)
    assert [row[KEY] for row in rows] == ["a", "é"]
    assert all(row.keys() == {KEY, VECTOR, METADATA, FILTERABLE, HASH} for row in rows)
    for row, data in zip(rows, made.data, strict=True):
        assert row[VECTOR].dtype == np.float32
        assert row[VECTOR].tobytes() == data.tobytes()
    assert [row[METADATA] for row in rows] == ["{}", orjson.dumps(EVERYTHING).decode()]
    assert [row[HASH] for row in rows] == [zlib.crc32(b"a"), zlib.crc32("é".encode())]


def test_document_of_filters_leaves_out_what_is_not_filterable() -> None:
    document = json.loads(row_of(metadata=EVERYTHING)[FILTERABLE])
    assert document == filterable_document(EVERYTHING, ("note",))
    assert "not to be filtered by" not in json.dumps(document)


def test_batch_of_none_is_no_rows() -> None:
    assert rows_of(INDEX, batch([], np.zeros((0, 2), np.float32), [])) == []


# --- What does not fit ----------------------------------------------------------------------------


def test_longest_key_of_the_contract_fits_and_one_byte_more_is_refused() -> None:
    assert OSS.key_bytes_max <= KEY_BYTES_MAX
    longest = "é" * (KEY_BYTES_MAX // 2)
    assert row_of(longest)[KEY] == longest
    error = refusal_of(2, longest + "x", {})
    assert error.field == "vectors[2].key"
    assert error.details["limit"] == "1024"
    assert error.message.startswith("vectors[2].key 'ééé")
    assert error.message.endswith("has 1025 bytes; Milvus holds keys of 1024")
    assert len(error.message) < 300


def test_metadata_fits_to_the_byte_as_milvus_counts() -> None:
    metadata = {"note": "é"}
    metadata["note"] += "x" * (JSON_BYTES_MAX - len(orjson.dumps(metadata)))
    assert len(row_of(metadata=metadata)[METADATA].encode()) == JSON_BYTES_MAX
    metadata["note"] += "x"
    error = refusal_of(1, "k", metadata)
    assert error.field == "vectors[1].metadata"
    assert error.details["limit"] == "65536"
    assert error.message == "vectors[1].metadata takes 65537 bytes as JSON; Milvus holds 65536"


def test_metadata_that_is_too_long_for_filters_alone_says_what_to_do() -> None:
    metadata: Metadata = {"numbers": [float(n) / 7 for n in range(3_400)]}
    size = len(orjson.dumps(filterable_document(metadata, ())))
    assert len(orjson.dumps(metadata)) < JSON_BYTES_MAX < size
    error = refusal_of(0, "k", metadata)
    assert error.field == "vectors[0].metadata"
    assert error.message == (
        f"vectors[0].metadata, prepared for filters, takes {size} bytes as JSON; Milvus holds "
        "65536, and less without fields that are not filterable"
    )
    assert row_of(metadata={"note": metadata["numbers"]})[FILTERABLE] == "{}"


@pytest.mark.parametrize("metric", [EUCLIDEAN, COSINE], ids=lambda one: one.value)
@pytest.mark.parametrize(
    "length", [LENGTH_MIN * 1.01, 1.0, LENGTH_MAX * 0.99], ids=["least", "one", "most"]
)
def test_vector_is_taken_up_to_the_lengths_that_milvus_can_measure(
    metric: DistanceMetric, length: float
) -> None:
    index = replace(INDEX, metric=metric)
    (row,) = rows_of(index, batch(["a"], [[0.6 * length, 0.8 * length]]))
    assert np.all(np.isfinite(row[VECTOR] ** 2))
    assert np.any(row[VECTOR] ** 2 > 0)


@pytest.mark.parametrize(
    ("numbers", "length"),
    [([3e18, 4e18], "5e+18"), ([3.4e38, 3.4e38], "4.81e+38"), ([0.0, 1e-18], "1e-18")],
    ids=["long", "longest", "short"],
)
def test_vector_that_milvus_cannot_measure_is_named(numbers: list[float], length: str) -> None:
    made = batch(["a", "b", "c"], [[0.0, 0.0], [1.0, 1.0], numbers])
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        rows_of(INDEX, made)
    assert caught.value.field == "vectors[2].data"
    assert caught.value.message == (
        f"vectors[2].data has the length (Euclidean norm) {length}; Milvus measures vectors of "
        f"length {LENGTH_MIN:g} to {LENGTH_MAX:g}, and zero"
    )


def test_text_of_a_refusal_holds_no_metadata() -> None:
    error = refusal_of(0, "k", {"name": "SECRET" * JSON_BYTES_MAX})
    assert "SECRET" not in str(error)


# --- Queries --------------------------------------------------------------------------------------


def test_query_for_the_nearest_by_length_goes_as_it_is_or_is_refused() -> None:
    queries = np.array([[0, 0], [1, 2]], np.float32)
    assert searchable(EUCLIDEAN, queries).tobytes() == queries.tobytes()
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        searchable(EUCLIDEAN, np.array([[1, 1], [1e30, 0]], np.float32))
    assert caught.value.field == "query_vector"
    assert "query_vector has the length (Euclidean norm) 1e+30" in caught.value.message


def test_query_for_the_nearest_by_angle_may_have_any_length() -> None:
    queries = np.array([[3, 4], [3e38, 3e38], [0, -1e-45]], np.float32)
    found = searchable(COSINE, queries)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([[0.6, 0.8], [0.5**0.5, 0.5**0.5], [0, -1]]))


# --- Back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dumped", [dict, json.dumps, orjson.dumps], ids=["plain", "str", "bytes"])
def test_metadata_comes_back_with_its_types(dumped: Any) -> None:
    found = metadata_of({METADATA: dumped(EVERYTHING)})
    assert repr(found) == repr(EVERYTHING)


def test_numbers_that_became_integers_are_floats_and_truth_stays_truth() -> None:
    found = metadata_of({METADATA: '{"n": 1, "l": [1, 2.5, true, "1"], "t": true, "f": false}'})
    assert repr(found) == repr({"n": 1.0, "l": [1.0, 2.5, True, "1"], "t": True, "f": False})


def test_vector_has_what_was_asked_for_and_nothing_else() -> None:
    row = {KEY: "a", VECTOR: [1.0, 2.0], METADATA: {"x": 1}}
    for data in (False, True):
        for metadata in (False, True):
            wanted = {KEY, *([VECTOR] if data else []), *([METADATA] if metadata else [])}
            assert set(fields_of(data=data, metadata=metadata)) == wanted
            part = {name: row[name] for name in wanted}
            found = vector_of(part, data=data, metadata=metadata)
            assert found.key == "a"
            assert (found.data is not None, found.metadata is not None) == (data, metadata)


def test_data_are_the_same_bits_after_the_doubles_that_the_client_makes_of_them() -> None:
    edges = np.array([0.0, -0.0, 1e-45, -1e-45, 3.4028235e38, 1.17549435e-38, 0.1, 1 / 3])
    random = np.random.default_rng(5).integers(0, 2**32, 4_000, np.uint32).view(np.float32)
    sent = np.concatenate([edges.astype(np.float32), random[np.isfinite(random)]])
    found = vector_of({KEY: "a", VECTOR: [float(one) for one in sent]}, data=True, metadata=False)
    assert found.data is not None
    assert found.data.dtype == np.float32
    assert found.data.tobytes() == sent.tobytes()


# --- Distances ------------------------------------------------------------------------------------


def test_metrics_have_milvus_names() -> None:
    assert [metric_name(metric) for metric in (EUCLIDEAN, COSINE)] == ["L2", "COSINE"]


@pytest.mark.parametrize(
    ("metric", "measured", "distance"),
    [
        (EUCLIDEAN, 0.0, 0.0),
        (EUCLIDEAN, 25.0, 5.0),
        (EUCLIDEAN, -1e-9, 0.0),
        (COSINE, 1.0, 0.0),
        (COSINE, 0.25, 0.75),
        (COSINE, -1.0, 2.0),
        (COSINE, 1.0000001, 0.0),
        (COSINE, -1.0000001, 2.0),
    ],
)
def test_distance_is_the_contracts(
    metric: DistanceMetric, measured: float, distance: float
) -> None:
    assert distance_of(metric, measured) == distance


def test_rows_go_over_in_messages_that_milvus_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MESSAGE_BYTES", 1_000)
    sizes = (400, 400, 400, 5_000, 10, 900, 900, 1)
    # Two bytes a letter; with all else about 25 more.
    made = [row_of(f"k{n}", {"note": "é" * (size // 2)}) for n, size in enumerate(sizes)]
    parts = list(in_messages(made))
    assert [row for part in parts for row in part] == made
    assert [len(part) for part in parts] == [2, 1, 1, 2, 2]
    assert list(in_messages([])) == []
