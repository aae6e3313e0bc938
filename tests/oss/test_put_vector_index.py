"""PutVectorIndex in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

from typing import Any

import pytest

from oss.dialect import Dialect
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_put_vector_index_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "put_vector_index", sdk)


def definition(**members: object) -> dict[str, object]:
    said = {"indexName": "idx1", "dimension": 3, "distanceMetric": "cosine"}
    return {name: value for name, value in {**said, **members}.items() if value is not ...}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"indexName": ...}, "indexName"),
        ({"indexName": 5}, "indexName must be a string, and is the number 5"),
        ({"indexName": "with-hyphen"}, "indexName 'with-hyphen'"),
        ({"dimension": ...}, "dimension is 0; it must be 1 to 4096"),
        ({"dimension": 4097}, "dimension is 4097; it must be 1 to 4096"),
        ({"dimension": -1}, "dimension is -1"),
        ({"dimension": "128"}, "dimension must be an integer, and is the string '128'"),
        ({"dimension": 10.5}, "dimension must be an integer, and is the number 10.5"),
        ({"dimension": True}, "dimension must be an integer, and is true"),
        ({"dimension": 2**40}, f"dimension is {2**40}"),
        ({"dimension": 2**70}, f"dimension is {2**70}; it must be within"),
        ({"distanceMetric": ...}, "distanceMetric is missing; it must be euclidean or cosine"),
        ({"distanceMetric": "ip"}, "distanceMetric is 'ip'; it must be euclidean or cosine"),
        ({"distanceMetric": "COSINE"}, "distanceMetric is 'COSINE'"),
        ({"dataType": "demo"}, "dataType is 'demo'; it must be float32"),
        ({"distanceMetric": None}, "distanceMetric is missing; it must be euclidean or cosine"),
        ({"dimension": None}, "dimension is 0"),
        ({"metadata": []}, "metadata must be an object"),
        ({"metadata": {"nonFilterableMetadataKeys": "a"}}, "nonFilterableMetadataKeys must be"),
        ({"metadata": {"nonFilterableMetadataKeys": ["a", 1]}}, "nonFilterableMetadataKeys[1]"),
        ({"metadata": {"nonFilterableMetadataKeys": ["1a"]}}, "nonFilterableMetadataKeys[0]"),
        ({"metadata": {"nonFilterableMetadataKeys": ["a"] * 11}}, "the limit is 10"),
    ],
)
def test_wrong_members_are_refused_and_named(
    dialect: Dialect, members: dict[str, object], words: str
) -> None:
    dialect.make_bucket()
    answer = dialect.post("putVectorIndex", definition(**members))
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert words in answer.message


@pytest.mark.parametrize("members", [{}, {"dataType": None, "metadata": None}])
def test_a_missing_type_means_float32(dialect: Dialect, members: dict[str, Any]) -> None:
    dialect.make_index(**members)
    assert dialect.post("getVectorIndex", {"indexName": "idx1"}).body["index"]["dataType"] == (
        "float32"
    )


def test_unknown_members_are_passed_over_however_deep(dialect: Dialect) -> None:
    dialect.make_bucket()
    body = definition(mode={"a": [{"b": {}}]}, tags=[1, [2, {"c": None}]], graph={"m": 999})
    assert dialect.post("putVectorIndex", body).status == 200


def test_a_whole_number_with_a_fraction_of_zero_is_an_integer(dialect: Dialect) -> None:
    dialect.make_index(dimension=8.0)  # type: ignore[arg-type]  # that is the point
    index = dialect.post("getVectorIndex", {"indexName": "idx1"}).body["index"]
    assert index["dimension"] == 8
