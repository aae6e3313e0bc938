"""QueryVectors in the dialect: golden exchanges, and what else it promises."""

from __future__ import annotations

import pytest

from oss.dialect import Dialect, vector
from oss.golden import SDKS, play


@pytest.mark.parametrize("sdk", SDKS)
def test_query_vectors_is_answered_as_the_sdks_expect(dialect: Dialect, sdk: str) -> None:
    play(dialect, "query_vectors", sdk)


def query(**members: object) -> dict[str, object]:
    said = {"indexName": "idx1", "queryVector": {"float32": [0, 0, 0]}, "topK": 10}
    return {name: value for name, value in {**said, **members}.items() if value is not ...}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"topK": ...}, "topK is 0; it must be 1 to 100"),
        ({"topK": 0}, "topK is 0"),
        ({"topK": 101}, "topK is 101; it must be 1 to 100"),
        ({"topK": "10"}, "topK must be an integer, and is the string '10'"),
        ({"topK": 2**31}, f"topK is {2**31}"),
        ({"topK": 10**30}, f"topK is {10**30}; it must be within"),
        ({"queryVector": ...}, "queryVector is missing"),
        ({"queryVector": None}, "queryVector is missing"),
        ({"queryVector": {"float32": []}}, "queryVector has 0 numbers"),
        ({"topK": None}, "topK is 0"),
        ({"queryVector": [0, 0, 0]}, "queryVector must be an object, and is an array"),
        ({"queryVector": {"float32": [0, 0]}}, "queryVector has 2 numbers"),
        ({"queryVector": {"float32": [0, 0, "0"]}}, "queryVector.float32[2] must be a number"),
        ({"queryVector": {"float32": [0, [0], 0]}}, "queryVector.float32[1] must be a number"),
        ({"queryVector": {"float32": [0, 0, 1e39]}}, "queryVector.float32[2] is the number 1e+39"),
        ({"filter": []}, "filter must be an object, and is an array"),
        ({"filter": "x"}, "filter must be an object, and is the string 'x'"),
        ({"filter": {"n": {"$gt": 2**53 + 1}}}, f"filter.n.$gt is the number {2**53 + 1}"),
        ({"filter": {"n": {"$in": [1, 10**30]}}}, f"filter.n.$in[1] is the number {10**30}"),
        ({"filter": {"$not": []}}, "filter.$not: unknown operator"),
        ({"filter": {"n": {"$in": []}}}, "filter.n.$in: expected a list of"),
        ({"filter": {"n": None}}, "filter.n: expected"),
        ({"filter": {"$and": [{"n": {"$gt": "x"}}]}}, "filter.$and[0].n.$gt: expected a number"),
        ({"filter": {"secret": "x"}}, "non-filterable"),
        ({"returnDistance": 0}, "returnDistance must be true or false"),
        ({"returnMetadata": 1}, "returnMetadata must be true or false, and is the number 1"),
    ],
)
def test_wrong_members_are_refused_and_named(
    dialect: Dialect, members: dict[str, object], words: str
) -> None:
    dialect.make_index(metadata={"nonFilterableMetadataKeys": ["secret"]})
    answer = dialect.post("queryVectors", query(**members))
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert words in answer.message


@pytest.mark.parametrize("levels", [1, 8, 9, 19, 20, 60, 400])
def test_a_filter_is_refused_in_words_however_deep_it_is(dialect: Dialect, levels: int) -> None:
    dialect.make_index()
    nested: dict[str, object] = {"n": 1}
    for _ in range(levels):
        nested = {"$and": [nested]}
    answer = dialect.post("queryVectors", query(filter=nested))
    if levels <= 8:
        assert answer.status == 200
    else:
        assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
        assert "filter" in answer.message


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ({}, "abcd"),
        (None, "abcd"),
        ({"type": "comedy"}, "a"),
        ({"type": {"$eq": "comedy"}}, "a"),
        ({"type": {"$ne": "comedy"}}, "bcd"),
        ({"tags": {"$eq": "x"}}, "ab"),
        ({"tags": {"$in": ["x", "y"]}}, "abc"),
        ({"tags": {"$nin": ["x"]}}, "cd"),
        ({"year": {"$gt": 1999}}, "b"),
        ({"year": {"$gte": 1999, "$lt": 2001.5}}, "ab"),
        ({"year": {"$lte": 1999}}, "a"),
        ({"seen": True}, "a"),
        ({"seen": {"$exists": False}}, "bcd"),
        ({"$or": [{"type": "comedy"}, {"$and": [{"year": {"$gt": 0}}, {"tags": "x"}]}]}, "ab"),
        ({"type": "comedy", "year": 1999.0}, "a"),
    ],
)
def test_filters_mean_what_the_pages_say(dialect: Dialect, filter_: object, found: str) -> None:
    dialect.make_index()
    dialect.put(
        vector("a", [1, 0, 0], type="comedy", year=1999, tags=["x", "z"], seen=True),
        vector("b", [2, 0, 0], type="drama", year=2001, tags=["x"]),
        vector("c", [3, 0, 0], tags=["y"]),
        vector("d", [4, 0, 0]),
    )
    answer = dialect.post("queryVectors", query(filter=filter_))
    assert [hit["key"] for hit in answer.body["vectors"]] == list(found)


def test_an_empty_index_finds_nothing(dialect: Dialect) -> None:
    dialect.make_index()
    assert dialect.post("queryVectors", query()).body == {"vectors": []}


def test_distance_and_metadata_come_only_when_asked_for(dialect: Dialect) -> None:
    dialect.make_index()
    dialect.put(vector("a", [0, 3, 4], t="x"))
    plain = dialect.post("queryVectors", query()).body
    assert plain == {"vectors": [{"key": "a"}]}
    full = dialect.post("queryVectors", query(returnDistance=True, returnMetadata=True)).body
    assert full == {"vectors": [{"key": "a", "distance": 5.0, "metadata": {"t": "x"}}]}


def test_a_zero_vector_under_cosine_is_refused(dialect: Dialect) -> None:
    dialect.make_index(distanceMetric="cosine")
    answer = dialect.post("queryVectors", query())
    assert (answer.status, answer.code) == (400, "VectorIndexParameterInvalid")
    assert "queryVector" in answer.message
