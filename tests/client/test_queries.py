"""Searching, through the client, against the real server over the exact engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from oracles import distances
from vectorbucket import (
    Client,
    Hit,
    MemoryBudgetExceeded,
    NoSuchBucket,
    NoSuchVectorIndex,
    VectorIndexParameterInvalid,
)
from vectorbucket_server.app import Server
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Hit as VectorHit
from vectorbucket_server.model import Index, Query

COUNT = 200
KEYS = [f"key-{number:03}" for number in range(COUNT)]
DATA = np.random.default_rng(8).standard_normal((COUNT, 4)).astype(np.float32)
METADATA: list[dict[str, Any]] = [
    {"number": number, "even": number % 2 == 0, "tags": ["all", f"mod{number % 5}"]}
    for number in range(COUNT)
]


@pytest.fixture
def searcher(client: Client) -> Client:
    """A client whose index ``faces`` holds 200 vectors."""
    client.put_vectors("photos", "faces", keys=KEYS, data=DATA, metadata=METADATA)
    return client


def nearest(query: Any, k: int, among: Callable[[int], bool] = lambda _: True) -> list[str]:
    """Return the keys of the nearest vectors by numpy alone, of those that take part."""
    gaps = np.linalg.norm(DATA.astype(np.float64) - np.asarray(query), axis=1)
    return [KEYS[row] for row in np.argsort(gaps, kind="stable") if among(int(row))][:k]


def told_distances(hits: list[Hit]) -> list[float]:
    """Return the distances of hits, all of which have one."""
    return [hit.distance for hit in hits if hit.distance is not None]


@pytest.mark.parametrize(
    "query",
    [DATA[17], DATA[17].astype(np.float64), DATA[17].tolist(), tuple(DATA[17].tolist())],
    ids=["float32", "float64", "list", "tuple"],
)
def test_nearest_vectors_are_found_nearest_first(searcher: Client, query: Any) -> None:
    hits = searcher.query_vectors("photos", "faces", query, top_k=10)
    assert [hit.key for hit in hits] == nearest(DATA[17], 10)
    assert hits[0] == Hit("key-017", 0.0, None)
    rows = [KEYS.index(hit.key) for hit in hits]
    (expected,) = distances(DATA[17:18], DATA[rows], "euclidean")
    assert told_distances(hits) == pytest.approx(expected, abs=1e-6)


def test_hits_hold_only_what_was_asked_for(searcher: Client) -> None:
    (bare,) = searcher.query_vectors("photos", "faces", DATA[3], top_k=1, return_distance=False)
    assert bare == Hit("key-003", None, None)
    (whole,) = searcher.query_vectors("photos", "faces", DATA[3], top_k=1, return_metadata=True)
    assert whole == Hit("key-003", 0.0, {"number": 3, "even": False, "tags": ["all", "mod3"]})


@pytest.mark.parametrize(
    ("wanted", "among"),
    [
        (None, lambda _: True),
        ({}, lambda _: True),
        ({"even": True}, lambda n: n % 2 == 0),
        ({"tags": {"$eq": "mod2"}}, lambda n: n % 5 == 2),
        ({"number": {"$gte": 50, "$lt": 70}}, lambda n: 50 <= n < 70),
        ({"$or": [{"number": 7}, {"tags": {"$in": ("mod0",)}}]}, lambda n: n == 7 or n % 5 == 0),
        ({"missing": {"$exists": False}}, lambda _: True),
        ({"number": {"$gt": np.int64(190)}}, lambda n: n > 190),
    ],
    ids=lambda value: "matches" if callable(value) else str(value),
)
def test_only_vectors_that_match_the_filter_take_part(
    searcher: Client, wanted: dict[str, Any] | None, among: Callable[[int], bool]
) -> None:
    hits = searcher.query_vectors("photos", "faces", DATA[0], top_k=12, filter=wanted)
    assert [hit.key for hit in hits] == nearest(DATA[0], 12, among)
    assert len(hits) == min(12, sum(among(number) for number in range(COUNT)))


def test_batch_answers_each_query_as_a_call_of_its_own(searcher: Client) -> None:
    queries = DATA[:40] + np.float32(0.01)
    arguments: dict[str, Any] = {"top_k": 7, "filter": {"even": True}, "return_metadata": True}
    together = searcher.query_vectors_batch("photos", "faces", queries, **arguments)
    apart = [searcher.query_vectors("photos", "faces", query, **arguments) for query in queries]
    assert together == apart
    assert searcher.query_vectors_batch("photos", "faces", queries.tolist(), **arguments) == apart


def test_answers_of_a_batch_that_fill_many_messages_stay_in_order(
    searcher: Client,
) -> None:
    """Method: 1,000 hits a message would do; keys of 1,000 bytes make the answers long."""
    searcher.put_vector_index("photos", "long", dimension=4, distance_metric="euclidean")
    keys = [f"{number:03}{'k' * 997}" for number in range(100)]
    searcher.put_vectors("photos", "long", keys=keys, data=DATA[:100])
    found = searcher.query_vectors_batch("photos", "long", DATA[:100], top_k=50)
    assert [hits[0].key for hits in found] == keys
    assert {len(hits) for hits in found} == {50}


def test_cosine_distances_are_those_of_the_contract(client: Client) -> None:
    client.put_vector_index("photos", "cats", dimension=4, distance_metric="cosine")
    client.put_vectors("photos", "cats", keys=KEYS, data=DATA)
    query = DATA[9:10] * np.float32(3.0)
    (hits,) = client.query_vectors_batch("photos", "cats", query, top_k=COUNT // 2)
    rows = [KEYS.index(hit.key) for hit in hits]
    (expected,) = distances(query, DATA[rows], "cosine")
    assert told_distances(hits) == pytest.approx(expected, abs=1e-6)
    assert hits[0].key == "key-009"


def test_empty_index_has_no_hits(client: Client) -> None:
    assert client.query_vectors("photos", "faces", [1.0] * 4, top_k=3) == []
    assert client.query_vectors_batch("photos", "faces", [[1.0] * 4] * 2, top_k=3) == [[], []]


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "wrong dimension": ({"query_vector": [1.0] * 3}, "query_vector", "3"),
    "NaN": ({"query_vector": [float("nan")] * 4}, "query_vector", "nan"),
    "overflow of float32": ({"query_vector": [1e39] * 4}, "query_vector", "1e+39"),
    "no numbers": ({"query_vector": []}, "query_vector", ""),
    "a matrix": ({"query_vector": [[1.0] * 4]}, "query_vector", "(1, 4)"),
    "text": ({"query_vector": "abcd"}, "query_vector", "abcd"),
    "top_k 0": ({"top_k": 0}, "top_k", "0"),
    "top_k 101": ({"top_k": 101}, "top_k", "100"),
    "top_k past 32 bits": ({"top_k": 2**31}, "top_k", "2147483648"),
    "top_k that is no number": ({"top_k": "5"}, "top_k", "'5'"),
    "ef_search 0": ({"ef_search": 0}, "ef_search", "1 to 10000"),
    "ef_search 10001": ({"ef_search": 10_001}, "ef_search", "10000"),
    "ef_search that is no number": ({"ef_search": 64.0}, "ef_search", "64.0"),
    "unknown operator": ({"filter": {"a": {"$near": 1}}}, "filter.a.$near", "$near"),
    "empty $and": ({"filter": {"$and": []}}, "filter.$and", "$and"),
    "null operand": ({"filter": {"a": {"$eq": None}}}, "filter.a.$eq", ""),
    "NaN operand": ({"filter": {"a": {"$lt": float("nan")}}}, "filter.a.$lt", "nan"),
    "integer past 2^53": ({"filter": {"a": 2**53 + 1}}, "filter.a", "9007199254740993"),
    "filter that is no dict": ({"filter": [1]}, "filter", "list"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_query_is_refused_by_name(client: Client, case: str) -> None:
    changes, field, words = BAD[case]
    arguments: dict[str, Any] = {"query_vector": [1.0] * 4, "top_k": 3} | changes
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        client.query_vectors("photos", "faces", **arguments)
    assert caught.value.field is not None
    assert caught.value.field.startswith(field)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("queries", "words"),
    [
        ([1.0] * 4, r"query_vectors has shape \(4,\)"),
        ([[1.0] * 4, [1.0] * 3], "query_vectors is not a list of vectors of equal length"),
        ([[1.0] * 4, [1.0, float("inf"), 1.0, 1.0]], r"query_vectors\[1\] holds inf"),
        (np.ones((3, 5)), "query_vectors"),
        (np.ones((4, 3)), r"query_vectors has shape \(4, 3\); .* these are 3 vectors"),
        (np.ones((0, 4)), "query_vectors"),
    ],
    ids=["one vector", "ragged", "infinity", "dimension 5", "dimension 3", "none"],
)
def test_bad_query_vectors_are_refused_by_name(client: Client, queries: Any, words: str) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match=words):
        client.query_vectors_batch("photos", "faces", queries, top_k=3)


class Noting(MemoryEngine):
    """Notes the queries that reach it; answers none once there is no memory."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[Query] = []
        self.memory_is_used_up = False

    def query_vectors(
        self, index: Index, query: Query, *, deadline: Deadline = NO_DEADLINE
    ) -> list[list[VectorHit]]:
        self.queries.append(query)
        if self.memory_is_used_up:
            raise MemoryBudgetExceeded.of(index.name, 700, 500)
        return super().query_vectors(index, query, deadline=deadline)


@pytest.fixture
def noting() -> Noting:
    """The engine of ``noted``."""
    return Noting()


@pytest.fixture
def noted(
    noting: Noting, start_server: Callable[..., Server], connect: Callable[..., Client]
) -> Client:
    """A client of a server whose engine notes queries; index ``faces`` is there."""
    client = connect(start_server(over=noting).address)
    client.put_vector_bucket("photos")
    client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
    return client


@pytest.mark.parametrize("breadth", [None, 1, 10_000])
def test_breadth_of_search_reaches_the_engine(
    noted: Client, noting: Noting, breadth: int | None
) -> None:
    noted.query_vectors("photos", "faces", [1.0] * 4, top_k=5, ef_search=breadth)
    noted.query_vectors_batch("photos", "faces", [[1.0] * 4] * 600, top_k=5, ef_search=breadth)
    assert [query.ef_search for query in noting.queries] == [breadth] * 3


def test_breadth_of_a_batch_is_refused_by_name(client: Client) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match="ef_search is -1; it must be 1 to 10000"):
        client.query_vectors_batch("photos", "faces", [[1.0] * 4], top_k=1, ef_search=-1)


def test_index_that_finds_no_memory_is_told_at_once_and_not_asked_for_again(
    noted: Client, noting: Noting
) -> None:
    noting.memory_is_used_up = True
    with pytest.raises(MemoryBudgetExceeded, match="'faces' needs 700 bytes") as caught:
        noted.query_vectors("photos", "faces", [1.0] * 4, top_k=1)
    facts = {"index_name": "faces", "needed_bytes": "700", "limit_bytes": "500"}
    assert caught.value.details == facts
    assert caught.value.retry_after_s is None
    with pytest.raises(MemoryBudgetExceeded):
        noted.query_vectors_batch("photos", "faces", [[1.0] * 4], top_k=1)
    assert len(noting.queries) == 2


def test_too_many_hits_in_all_are_refused(client: Client) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match=r"100,?000"):
        client.query_vectors_batch("photos", "faces", np.ones((1001, 4)), top_k=100)


def test_filter_that_is_too_deep_is_refused_however_deep(client: Client) -> None:
    for levels in (9, 40, 3000):
        wanted: dict[str, Any] = {"a": 1}
        for _ in range(levels):
            wanted = {"$and": [wanted]}
        with pytest.raises(VectorIndexParameterInvalid, match="8"):
            client.query_vectors("photos", "faces", [1.0] * 4, top_k=1, filter=wanted)


def test_filter_on_a_non_filterable_key_names_the_key(client: Client) -> None:
    client.put_vector_index(
        "photos",
        "cats",
        dimension=4,
        distance_metric="cosine",
        non_filterable_metadata_keys=["note"],
    )
    with pytest.raises(VectorIndexParameterInvalid, match="note"):
        client.query_vectors("photos", "cats", [1.0] * 4, top_k=1, filter={"note": "x"})


@pytest.mark.parametrize(
    ("bucket", "index_name", "leaf"),
    [("nowhere", "faces", NoSuchBucket), ("photos", "cats", NoSuchVectorIndex)],
)
def test_queries_need_their_index(
    client: Client, bucket: str, index_name: str, leaf: type[Exception]
) -> None:
    with pytest.raises(leaf):
        client.query_vectors(bucket, index_name, [1.0] * 4, top_k=1)
    with pytest.raises(leaf):
        client.query_vectors_batch(bucket, index_name, [[1.0] * 4], top_k=1)
