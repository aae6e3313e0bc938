"""PutVectors in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import numpy as np
import pytest

from oss.dialect import Dialect, vector
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_put_vectors_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "put_vectors", sdk)


def put_with(dialect: Dialect, vectors: object) -> tuple[int, str, str]:
    dialect.make_index()
    answer = dialect.post("putVectors", {"indexName": "idx1", "vectors": vectors})
    return answer.status, answer.code, answer.message


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (..., "vectors"),
        (None, "vectors must be an array, and is missing"),
        ({}, "vectors must be an array, and is an object"),
        ([], "vectors has 0 elements; there must be 1 to 500"),
        ([1], "vectors[0] must be an object, and is the number 1"),
        ([vector("a"), None], "vectors[1] must be an object, and is null"),
        ([{"data": {"float32": [1, 2, 3]}}], "vectors[0].key"),
        ([{**vector("a"), "key": 1}], "vectors[0].key must be a string, and is the number 1"),
        ([vector("k" * 1025)], "vectors[0].key"),
        ([{"key": "a"}], "vectors[0].data is missing"),
        ([{"key": "a", "data": [1, 2, 3]}], "vectors[0].data must be an object, and is an array"),
        ([{"key": "a", "data": {}}], "vectors[0].data is missing"),
        ([{"key": "a", "data": {"float32": None}}], "vectors[0].data is missing"),
        ([{"key": "a", "data": {"float32": []}}], "vectors[0].data has 0 numbers; it must have as"),
        ([{"key": "a", "data": {"float32": "1,2,3"}}], "vectors[0].data.float32 must be an array"),
        ([vector("a", [1, 2])], "vectors[0].data has 2 numbers; the index's dimension is 3"),
        ([vector("a", [1, 2, True])], "vectors[0].data.float32[2] must be a number, and is true"),
        ([vector("a", [1, None, 3])], "vectors[0].data.float32[1] must be a number, and is null"),
        ([vector("a"), vector("b", [1, "2", 3])], "vectors[1].data.float32[1] must be a number"),
        (
            [vector("a", [1, [2], 3])],
            "vectors[0].data.float32[1] must be a number, and is an array",
        ),
        ([vector("a", [[1, 2, 3]])], "vectors[0].data.float32[0] must be a number"),
        ([vector("a", [1, 2, 1e39])], "vectors[0].data.float32[2] is the number 1e+39"),
        ([vector("a", [1, 2, -(10**40)])], f"vectors[0].data.float32[2] is the number -{10**40}"),
        ([{**vector("a"), "metadata": ["x"]}], "vectors[0].metadata must be an object"),
        ([vector("a", t=None)], "vectors[0].metadata.t must be a string, a number, a boolean or"),
        ([vector("a", t={"x": 1})], "vectors[0].metadata.t must be"),
        ([vector("a", t=[1, [2]])], "vectors[0].metadata.t[1] must be"),
        ([vector("a", t=[None])], "vectors[0].metadata.t[0] must be"),
        ([vector("a", n=2**53 + 1)], f"vectors[0].metadata.n is the number {2**53 + 1}"),
        ([vector("a", n=[1, -(2**70)])], f"vectors[0].metadata.n[1] is the number -{2**70}"),
        ([vector("a", **{"$eq": "x"})], "'$eq'"),
        ([vector("a", **{"": "x"})], "empty name"),
        ([vector("a", **{f"n{number}": "x" for number in range(11)})], "the limit is 10"),
        ([vector(f"k{number}") for number in range(501)], "vectors has 501 elements"),
    ],
)
def test_wrong_vectors_are_refused_and_named(dialect: Dialect, vectors: object, words: str) -> None:
    if vectors is ...:
        dialect.make_index()
        answer = dialect.post("putVectors", {"indexName": "idx1"})
        found = (answer.status, answer.code, answer.message)
    else:
        found = put_with(dialect, vectors)
    assert found[:2] == (400, "VectorIndexParameterInvalid")
    assert words in found[2]
    assert dialect.post("listVectors", {"indexName": "idx1"}).body == {"vectors": []}


@pytest.mark.parametrize(
    ("number", "words"),
    [(b"1e400", "is the number 1e400"), (b"-1e400", "-1e400"), (b"1" + b"0" * 400, "1000")],
)
def test_a_number_that_no_double_holds_is_a_wrong_parameter(
    dialect: Dialect, number: bytes, words: str
) -> None:
    dialect.make_index()
    before = b'{"vectors": [{"key": "a", "data": {"float32": [1, 2, '
    answer = dialect.post("putVectors", before + number + b']}}], "indexName": "idx1"}')
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert answer.message.startswith("vectors[0].data.float32[2] ")
    assert words in answer.message


def test_an_integer_that_a_float32_holds_is_taken_however_long(dialect: Dialect) -> None:
    """Method: Go writes 1e20 as an integer, which 64 bits do not hold."""
    dialect.make_index()
    dialect.put(vector("a", [10**20, 0, 1]))
    got = dialect.post("getVectors", {"indexName": "idx1", "keys": ["a"], "returnData": True}).body
    assert got["vectors"][0]["data"]["float32"] == [1e20, 0.0, 1.0]


def test_texts_that_look_like_nested_arrays_do_not_matter(dialect: Dialect) -> None:
    dialect.make_index()
    dialect.put(vector("a", text="one, [two], [[three]]"), vector("b", tags=["[", ",["]))
    asked = {"indexName": "idx1", "keys": ["a", "b"], "returnMetadata": True}
    got = dialect.post("getVectors", asked).body["vectors"]
    assert got[0]["metadata"] == {"text": "one, [two], [[three]]"}
    assert got[1]["metadata"] == {"tags": ["[", ",["]}


def test_unknown_members_are_passed_over_at_every_level(dialect: Dialect) -> None:
    dialect.make_index()
    odd = {**vector("a"), "extra": {"a": [1]}, "data": {"float32": [1, 2, 3], "int8": [[1]]}}
    body = {"indexName": "idx1", "vectors": [odd], "options": {"x": [{}]}}
    dialect.done("POST", "putVectors", body)
    assert len(dialect.post("listVectors", {"indexName": "idx1"}).body["vectors"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"indexName":"idx1","indexName":"idx1","vectors":[]}',
        b'{"indexName":"idx1","vectors":[{"key":"a","key":"a","data":{"float32":[1,2,3]}}]}',
        b'{"indexName":"idx1","vectors":[{"key":"a","data":{"float32":[1],"float32":[1,2,3]}}]}',
        b'{"indexName":"idx1","vectors":[{"key":"a","metadata":{"t":"x","\\u0074":"y"}}]}',
        b'{"indexName":"idx1","vectors":[{"key":"a","data":{"float32":[1]},"u":{"x":1,"x":2}}]}',
        b'{"indexName":"idx1","vectors":[{"key":1}],"u":[[{"x":1,"x":2}]]}',
        b'{"indexName":"idx1","vectors":[{"key":1,"metadata":{"x":{"y":1,"y":2}}}]}',
    ],
)
def test_a_member_that_stands_twice_is_malformed_wherever_it_is(
    dialect: Dialect, body: bytes
) -> None:
    dialect.make_index()
    answer = dialect.post("putVectors", body)
    assert (answer.status, answer.code) == (400, "MalformedJson")
    assert "stands twice" in answer.message


def test_a_large_body_is_read_off_the_loop_and_stored_bit_for_bit(dialect: Dialect) -> None:
    numbers = [[(row * 31 + column) / 997 - 0.5 for column in range(256)] for row in range(200)]
    dialect.make_index(dimension=256)
    dialect.put(*(vector(f"k{row:03}", numbers[row], row=row) for row in range(200)))
    assert dialect.offloaded
    asked = {"indexName": "idx1", "returnData": True, "returnMetadata": True}
    listed = dialect.post("listVectors", asked).body["vectors"]
    for row, found in enumerate(listed):
        assert found["metadata"] == {"row": row}
        assert np.array_equal(
            np.asarray(found["data"]["float32"], np.float32), np.asarray(numbers[row], np.float32)
        )
