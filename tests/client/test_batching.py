"""Vectors in every form become the same messages, cut by count and bytes, lazily."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from oracles import random_metadata
from vectorbucket import RejectedBatch, Vector, VectorIndexParameterInvalid
from vectorbucket._batching import (
    CHUNK_VECTORS,
    Batch,
    batches,
    fill_vectors,
    rows_of_arrays,
    rows_of_vectors,
)
from vectorbucket._metadata import read_metadata
from vectorbucket.v1 import vector_pb2, vector_service_pb2

DIMENSION = 4


def columns(count: int, *, seed: int = 1) -> tuple[list[str], Any, list[dict[str, Any]]]:
    """Return keys, data (float32, shape (count, 4)) and metadata from a seed."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((count, DIMENSION)).astype(np.float32)
    metadata: list[dict[str, Any]] = [dict(random_metadata(rng)) for _ in range(count)]
    return [f"key-{position}-ö" for position in range(count)], data, metadata


def sent(batch: Batch | RejectedBatch) -> Batch:
    """Return a batch that is fit to be sent."""
    assert isinstance(batch, Batch)
    return batch


def rejected(batch: Batch | RejectedBatch) -> RejectedBatch:
    """Return a batch that is not fit to be sent."""
    assert isinstance(batch, RejectedBatch)
    return batch


def contents(message: Any) -> list[tuple[str, bytes, Any]]:
    """Return what a message holds after a trip over the wire."""
    parsed = type(message).FromString(message.SerializeToString())
    return [
        (vector.key, vector.data.float32_le, read_metadata(vector.metadata))
        for vector in parsed.vectors
    ]


FORMS: dict[str, Callable[[Any, Any, Any], Iterable[Any]]] = {
    "tuples": lambda k, d, m: zip(k, d, m, strict=True),
    "vectors": lambda k, d, m: map(Vector, k, d, m),
    "lists of numbers": lambda k, d, m: zip(k, d.tolist(), m, strict=True),
    "dicts": lambda k, d, m: (
        {"key": key, "data": row, "metadata": fields}
        for key, row, fields in zip(k, d, m, strict=True)
    ),
    "dicts as OSS has them": lambda k, d, m: [
        {"key": key, "data": {"float32": row.tolist()}, "metadata": fields}
        for key, row, fields in zip(k, d, m, strict=True)
    ],
    "float64": lambda k, d, m: zip(k, d.astype(np.float64), m, strict=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_vectors_becomes_the_same_messages(form: str) -> None:
    keys, data, metadata = columns(250)
    rows = rows_of_vectors(FORMS[form](keys, data, metadata))
    cut = [sent(batch) for batch in batches(rows, count_max=120)]
    assert [(batch.first_position, batch.count) for batch in cut] == [
        (0, 120),
        (120, 120),
        (240, 10),
    ]
    held = [vector for batch in cut for vector in contents(batch.message)]
    assert held == [
        (key, row.tobytes(), fields) for key, row, fields in zip(keys, data, metadata, strict=True)
    ]


@pytest.mark.parametrize("as_list", [False, True])
def test_columns_become_the_same_messages(as_list: bool) -> None:  # noqa: FBT001 - a parameter
    keys, data, metadata = columns(250)
    rows = rows_of_arrays(keys, data.tolist() if as_list else data, metadata)
    held = [vector for batch in batches(rows) for vector in contents(sent(batch).message)]
    assert held == [
        (key, row.tobytes(), fields) for key, row, fields in zip(keys, data, metadata, strict=True)
    ]


def test_columns_may_be_arrays_of_text_and_memory_maps(tmp_path: Any) -> None:
    keys, data, _ = columns(130)
    mapped = np.memmap(tmp_path / "data", dtype=np.float32, mode="w+", shape=data.shape)
    mapped[:] = data
    (batch,) = batches(rows_of_arrays(np.array(keys), mapped, None))  # type: ignore[arg-type]
    assert contents(sent(batch).message) == [
        (key, row.tobytes(), {}) for key, row in zip(keys, data, strict=True)
    ]


def test_metadata_may_be_left_out_for_all_or_for_some() -> None:
    rows = rows_of_vectors([("a", [1.0]), ("b", [2.0], None), ("c", [3.0], {}), Vector("d", [4.0])])
    (batch,) = batches(rows)
    assert [fields for _, _, fields in contents(sent(batch).message)] == [{}, {}, {}, {}]


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1000, 1001])
def test_batches_are_cut_at_the_servers_limit_of_vectors(count: int) -> None:
    keys, data, _ = columns(count)
    cut = [sent(batch) for batch in batches(rows_of_arrays(keys, data, None))]
    assert [batch.count for batch in cut] == [500] * (count // 500) + [count % 500] * bool(
        count % 500
    )
    assert [batch.first_position for batch in cut] == list(range(0, count, 500))


@pytest.mark.parametrize("bytes_max", [1, 100, 1000, 5000, 10**6])
def test_no_message_of_several_vectors_is_larger_than_it_may_be(bytes_max: int) -> None:
    keys, data, metadata = columns(300)
    cut = [
        sent(batch)
        for batch in batches(
            rows_of_arrays(keys, data, metadata), count_max=60, bytes_max=bytes_max
        )
    ]
    for batch in cut:
        assert batch.message.ByteSize() <= batch.size_bytes
        assert batch.count == len(batch.message.vectors) <= 60
        assert batch.count == 1 or batch.size_bytes <= bytes_max
    assert [batch.first_position for batch in cut] == [
        sum(batch.count for batch in cut[:position]) for position in range(len(cut))
    ]
    held = [key for batch in cut for key, _, _ in contents(batch.message)]
    assert held == keys


def test_messages_are_as_large_as_they_may_be() -> None:
    keys, data, metadata = columns(300)
    rows = list(rows_of_arrays(keys, data, metadata))
    cut = [sent(batch) for batch in batches(rows, bytes_max=3000)]
    for batch, following in pairwise(cut):
        (first,) = batches(rows[following.first_position : following.first_position + 1])
        assert batch.size_bytes + sent(first).size_bytes > 3000


def test_nothing_to_put_is_one_empty_batch_so_that_the_server_can_say_so() -> None:
    (batch,) = batches(rows_of_vectors([]))
    assert (sent(batch).count, len(sent(batch).message.vectors)) == (0, 0)
    (batch,) = batches(rows_of_arrays([], np.empty((0, 4)), None))
    assert sent(batch).count == 0


@pytest.mark.parametrize("count_max", [1, 7, CHUNK_VECTORS, 250, 500])
def test_input_is_taken_only_as_far_as_batches_are_asked_for(count_max: int) -> None:
    taken = 0

    def endless() -> Iterator[tuple[str, list[float]]]:
        nonlocal taken
        while True:
            taken += 1
            yield str(taken), [1.0]

    cut = batches(rows_of_vectors(endless(), count_max=count_max), count_max=count_max)
    assert taken == 0
    for asked in range(1, 20):
        assert sent(next(cut)).count == count_max
        assert taken == asked * count_max


def test_exception_of_the_input_reaches_the_caller_after_the_whole_batches_before_it() -> None:
    def failing() -> Iterator[tuple[str, list[float]]]:
        for position in range(1050):
            yield str(position), [1.0]
        raise OSError("the disk is gone")

    cut = batches(rows_of_vectors(failing()), count_max=500)
    assert [sent(next(cut)).count, sent(next(cut)).count] == [500, 500]
    with pytest.raises(OSError, match="the disk is gone"):
        next(cut)


@pytest.mark.parametrize(
    ("vector", "field", "problem"),
    [
        (("k", [1.0, float("nan")]), "vectors[2].data", "holds nan at position 1"),
        (("k", [1e39, 0.0]), "vectors[2].data", "holds 1e+39 at position 0"),
        (("k", [[1.0]]), "vectors[2].data", "has shape (1, 1)"),
        (("k", None), "vectors[2].data", "is missing"),
        (("k", "abc"), "vectors[2].data", "holds <U3"),
        ((3, [1.0, 2.0]), "vectors[2].key", "is 3; it must be text"),
        ((None, [1.0, 2.0]), "vectors[2].key", "is None; it must be text"),
        ((b"k", [1.0, 2.0]), "vectors[2].key", "is b'k'; it must be text"),
        (("\ud800", [1.0, 2.0]), "vectors[2].key", "is no Unicode text"),
        (("k", [1.0, 2.0], {"n": 2**53 + 1}), "vectors[2].metadata.n", "is 9007199254740993"),
        (("k", [1.0, 2.0], {"n": None}), "vectors[2].metadata.n", "is None"),
        (("k", [1.0, 2.0], [("n", 1)]), "vectors[2].metadata", "is list; it must be a dict"),
        (Vector("k"), "vectors[2].data", "is missing"),
        (("k",), "vectors[2]", "is a tuple of 1; it must be a Vector, a tuple or a dict"),
        (["k", [1.0, 2.0]], "vectors[2]", "is list; it must be"),
        (7, "vectors[2]", "is int; it must be"),
        ({"key": "k"}, "vectors[2]", "has no 'data'"),
        ({"data": [1.0]}, "vectors[2]", "has no 'key'"),
        ({"key": "k", "data": [1.0], "meta": {}}, "vectors[2]", "has a member 'meta'"),
        ({"key": "k", "data": {"float64": [1.0]}}, "vectors[2]", "members ['float64']"),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_bad_vector_rejects_its_batch_by_name_and_no_other(
    vector: Any, field: str, problem: str
) -> None:
    good: list[Any] = [(f"k{position}", [1.0, 2.0]) for position in range(9)]
    rows = rows_of_vectors([*good[:5], vector, *good[5:]])
    first, second, third, fourth = batches(rows, count_max=3)
    assert [sent(batch).count for batch in (first, third, fourth)] == [3, 3, 1]
    position, count, error = rejected(second)
    assert (position, count) == (3, 3)
    assert isinstance(error, VectorIndexParameterInvalid)
    assert error.field == field
    assert error.message.startswith(field)
    assert problem in error.message


def test_first_of_several_bad_vectors_is_the_one_that_is_named() -> None:
    vectors: list[Any] = [("a", [1.0]), ("b", ["x"]), ("c", None)]
    (batch,) = batches(rows_of_vectors(vectors))
    error = rejected(batch).error
    assert error.field == "vectors[1].data"
    assert "(key 'b')" in error.message


def test_bad_row_of_columns_rejects_its_batch_and_no_other() -> None:
    keys, data, _ = columns(30)
    data[12, 3] = np.inf
    cut = list(batches(rows_of_arrays(keys, data, None), count_max=10))
    assert [type(batch) for batch in cut] == [Batch, RejectedBatch, Batch]
    error = rejected(cut[1]).error
    assert error.field == "vectors[2].data"
    assert "holds inf at position 3" in error.message


def test_vectors_of_different_dimensions_are_the_servers_to_judge() -> None:
    (batch,) = batches(rows_of_vectors([("a", [1.0]), ("b", [1.0, 2.0])]))
    assert [len(data) for _, data, _ in contents(sent(batch).message)] == [4, 8]


@pytest.mark.parametrize(
    ("keys", "data", "metadata", "problem"),
    [
        (["a"], np.zeros((2, 3)), None, "have 1, 2 and 1 rows"),
        (["a", "b"], [[1.0]], None, "have 2, 1 and 2 rows"),
        (["a"], [[1.0]], [{}, {}], "have 1, 1 and 2 rows"),
        (["a"], np.zeros(3), None, "data has shape (3,); it must have two axes"),
        (["a"], np.zeros((1, 2, 3)), None, "data has shape (1, 2, 3)"),
    ],
)
def test_columns_that_do_not_fit_are_refused_before_anything_is_built(
    keys: list[str], data: Any, metadata: Any, problem: str
) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        rows_of_arrays(keys, data, metadata)
    assert caught.value.field == "data"
    assert problem in caught.value.message


def test_one_message_takes_all_rows_or_says_which_is_bad() -> None:
    message = vector_service_pb2.PutVectorsBatchRequest()
    fill_vectors(message, rows_of_vectors([("a", [1.0]), ("b", [2.0], {"x": "y"})]))
    assert [key for key, _, _ in contents(message)] == ["a", "b"]
    bad: list[Any] = [("a", [1.0]), ("b", [2.0], {"x": None})]
    with pytest.raises(VectorIndexParameterInvalid, match=r"vectors\[1\]\.metadata\.x is None"):
        fill_vectors(vector_service_pb2.PutVectorsBatchRequest(), rows_of_vectors(bad))


def test_numbers_always_travel_as_bytes() -> None:
    (batch,) = batches(rows_of_vectors([("a", [1.5, -2.0])]))
    (vector,) = sent(batch).message.vectors
    assert vector.data == vector_pb2.VectorData(
        float32_le=np.array([1.5, -2.0], dtype="<f4").tobytes()
    )
