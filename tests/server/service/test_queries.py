"""Queries through a real server: one, many, filtered, and split by size."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from conftest import StartServer
from measured import made_metrics
from rpc import (
    BUCKET,
    COSINE,
    INDEX,
    Stubs,
    data_of,
    filter_struct,
    metadata_of,
    query_request,
    refused,
    stubs_of,
    vector_of,
)
from stubborn import FailingEngine, SlowEngine, eventually
from vectorbucket.errors import MemoryBudgetExceeded
from vectorbucket.v1 import vector_pb2
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Hit, Index, Query
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.service.calls import CallObserver

PLACE: dict[str, Any] = {"bucket": BUCKET, "index_name": INDEX}
MIB = 1024 * 1024


def hits(stubs: Stubs, *numbers: float, **fields: Any) -> list[vector_pb2.Hit]:
    return list(stubs.vectors.QueryVectors(query_request(numbers, **fields)).vectors)


def batch_request(
    queries: Any, *, top_k: int = 3, as_bytes: bool = True, **fields: Any
) -> messages.QueryVectorsBatchRequest:
    flat = np.asarray(queries, np.float32).reshape(-1)
    return messages.QueryVectorsBatchRequest(
        **PLACE, query_vectors=data_of(flat, as_bytes=as_bytes), top_k=top_k, **fields
    )


def many(stubs: Stubs, queries: Any, **fields: Any) -> list[list[vector_pb2.Hit]]:
    """Return the hits of each query; check that the messages fit together."""
    results: list[list[vector_pb2.Hit]] = []
    request = batch_request(queries, **fields)
    for response in stubs.vectors.QueryVectorsBatch(request):
        assert response.first_position == len(results)
        results += [list(result.vectors) for result in response.results]
    return results


@pytest.fixture
def line(stubs: Stubs) -> Stubs:
    """Twenty vectors at 0, 1, 2 … on a line; every third is red."""
    stubs.make_index(dimension=2, non_filterable=["note"])
    stubs.put(
        *[
            vector_of(f"at-{n:02}", (n, 0), {"n": n, "red": n % 3 == 0, "tags": [f"t{n % 5}"]})
            for n in range(20)
        ]
    )
    return stubs


# --- One ------------------------------------------------------------------------------------------


def test_nearest_come_first_with_their_distance(line: Stubs) -> None:
    found = hits(line, 4.25, 0, top_k=3)
    assert [hit.key for hit in found] == ["at-04", "at-05", "at-03"]
    assert [hit.distance for hit in found] == pytest.approx([0.25, 0.75, 1.25])


def test_equal_distances_come_in_the_order_of_their_keys(line: Stubs) -> None:
    line.put(vector_of("twin-b", (0, 7)), vector_of("twin-a", (0, -7)))
    assert [hit.key for hit in hits(line, 0, 0, top_k=10)][-3:] == ["at-07", "twin-a", "twin-b"]


def test_cosine_distance_is_one_minus_the_cosine(stubs: Stubs) -> None:
    stubs.make_index(dimension=2, metric=COSINE)
    stubs.put(vector_of("same", (5, 0)), vector_of("right", (0, 1)), vector_of("back", (-2, 0)))
    found = hits(stubs, 1, 0)
    assert [(hit.key, round(hit.distance, 6)) for hit in found] == [
        ("same", 0.0),
        ("right", 1.0),
        ("back", 2.0),
    ]


def test_distance_and_metadata_are_answered_only_if_asked(line: Stubs) -> None:
    (bare,) = hits(line, 3, 0, top_k=1, return_distance=False)
    assert bare == vector_pb2.Hit(key="at-03")
    assert not bare.HasField("distance")
    (whole,) = hits(line, 3, 0, top_k=1, return_metadata=True)
    assert whole.HasField("distance")
    assert whole.distance == 0
    assert metadata_of(whole) == {"n": 3.0, "red": True, "tags": ["t3"]}


def test_query_finds_fewer_than_it_asked_for_only_where_there_are_fewer(line: Stubs) -> None:
    assert len(hits(line, 0, 0, top_k=100)) == 20
    assert hits(line, 0, 0, filter={"n": {"$gt": 99}}) == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"red": True}, ["at-09", "at-12", "at-06"]),
        ({"n": {"$lt": 3}}, ["at-02", "at-01", "at-00"]),
        ({"tags": "t1"}, ["at-11", "at-06", "at-16"]),
        ({"$and": [{"red": {"$ne": True}}, {"n": {"$in": [1, 3, 5]}}]}, ["at-05", "at-01"]),
        ({"$or": [{"n": {"$gte": 19}}, {"n": 0}]}, ["at-19", "at-00"]),
        ({"red": True, "n": {"$gt": 5, "$lte": 12}}, ["at-09", "at-12", "at-06"]),
        ({"nothing": {"$exists": False}}, ["at-10", "at-09", "at-11"]),
    ],
)
def test_filter_decides_who_takes_part(
    line: Stubs, raw: dict[str, Any], expected: list[str]
) -> None:
    assert [hit.key for hit in hits(line, 9.75, 0, top_k=3, filter=raw)] == expected


def test_query_takes_numbers_in_either_form(line: Stubs) -> None:
    request = query_request((4, 0), top_k=1)
    request.query_vector.CopyFrom(data_of((4, 0), as_bytes=True))
    assert line.vectors.QueryVectors(request).vectors[0].key == "at-04"


class Planning(MemoryEngine):
    """Tells its observer of a plan, as engines that have several do, and notes the breadth."""

    def __init__(self) -> None:
        super().__init__()
        self.breadths: list[int | None] = []

    def query_vectors(
        self, index: Index, query: Query, *, deadline: Deadline = NO_DEADLINE
    ) -> list[list[Hit]]:
        log = make_logger("json", "info", io.StringIO())
        CallObserver(log, made_metrics()).plan_chosen("by_hand", 1)
        self.breadths.append(query.ef_search)
        return super().query_vectors(index, query, deadline=deadline)


def test_plan_that_the_engine_chose_stands_in_the_log(
    start_server: StartServer, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    with stubs_of(start_server(over=Planning()).address) as stubs:
        stubs.make_index()
        stubs.vectors.QueryVectors(query_request())
    (line,) = [one for one in log_lines() if one.get("method") == "QueryVectors"]
    assert line["plan"] == "by_hand"


def test_breadth_of_search_is_handed_to_the_engine_in_every_turn(start_server: StartServer) -> None:
    engine = Planning()
    with stubs_of(start_server(over=engine).address) as stubs:
        stubs.make_index(dimension=2)
        hits(stubs, 0, 0)
        hits(stubs, 0, 0, ef_search=77)
        many(stubs, [(0, 0)] * 600, ef_search=88)
    assert engine.breadths == [None, 77, 88, 88]


def test_index_that_finds_no_memory_is_told_with_its_needs(start_server: StartServer) -> None:
    engine = FailingEngine()
    engine.error = MemoryBudgetExceeded.of(INDEX, 700, 500)
    with stubs_of(start_server(over=engine).address) as stubs:
        stubs.make_index()
        refusal = refused(lambda: stubs.vectors.QueryVectors(query_request()))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.reason == "ERROR_REASON_MEMORY_BUDGET_EXCEEDED"
    assert refusal.facts == {
        "code": "MemoryBudgetExceeded",
        "index_name": INDEX,
        "needed_bytes": "700",
        "limit_bytes": "500",
    }
    assert refusal.retry_after_s is None


# --- Many -----------------------------------------------------------------------------------------


def test_many_queries_answer_as_one_by_one(line: Stubs) -> None:
    queries = np.random.default_rng(4).uniform(-5, 25, (40, 2)).astype(np.float32)
    for as_bytes in (True, False):
        results = many(line, queries, as_bytes=as_bytes, return_distance=True, return_metadata=True)
        assert results == [
            hits(line, *query.tolist(), top_k=3, return_metadata=True) for query in queries
        ]


def test_many_queries_share_their_filter(line: Stubs) -> None:
    results = many(line, [(0, 0), (19, 0)], top_k=2, filter=filter_struct({"red": True}))
    assert [[hit.key for hit in result] for result in results] == [
        ["at-00", "at-03"],
        ["at-18", "at-15"],
    ]
    assert not results[0][0].HasField("distance")


def test_more_queries_than_the_engine_gets_at_once_keep_their_order(line: Stubs) -> None:
    queries = [(number % 20, 0) for number in range(1_200)]
    results = many(line, queries, top_k=1)
    assert [result[0].key for result in results] == [f"at-{n % 20:02}" for n in range(1_200)]


def test_large_answers_come_in_messages_that_any_client_takes(stubs: Stubs) -> None:
    stubs.make_index(dimension=2, non_filterable=["note"])
    stubs.put(*[vector_of(f"k{n}", (n, 0), {"note": "x" * 30_000}) for n in range(40)])
    request = batch_request([(0, 0)] * 10, top_k=40, return_metadata=True)
    responses = list(stubs.vectors.QueryVectorsBatch(request))
    assert len(responses) > 2
    assert all(response.ByteSize() < 4 * MIB for response in responses)
    assert [response.first_position for response in responses] == list(
        np.cumsum([0, *(len(response.results) for response in responses[:-1])])
    )
    assert sum(len(response.results) for response in responses) == 10


def test_result_larger_than_a_message_has_one_of_its_own(start_server: StartServer) -> None:
    with stubs_of(start_server(limit={"page_bytes_max": 100}).address) as stubs:
        stubs.make_index(dimension=2)
        stubs.put(*[vector_of(f"k{n}", (n, 0), {"note": "x" * 1_000}) for n in range(3)])
        request = batch_request([(0, 0)] * 3, top_k=3, return_metadata=True)
        responses = list(stubs.vectors.QueryVectorsBatch(request))
        assert [len(response.results) for response in responses] == [1, 1, 1]


@pytest.mark.parametrize(
    ("queries", "top_k", "field", "words"),
    [
        ([1, 2, 3], 1, "query_vectors", "3 numbers, no multiple of the index's dimension 2"),
        ([], 1, "query_vectors", "missing"),
        ([1, 2], 0, "top_k", "top_k is 0"),
        ([1, 2], 101, "top_k", "1 to 100"),
        ([1, 2] * 1_001, 100, "query_vectors", "100100 hits; the limit is 100000"),
        ([1, 2, np.nan, 1], 1, "query_vectors[1]", "nan at position 0"),
    ],
)
def test_bad_batch_of_queries_is_refused(
    line: Stubs, queries: list[float], top_k: int, field: str, words: str
) -> None:
    refusal = refused(
        lambda: list(line.vectors.QueryVectorsBatch(batch_request(queries, top_k=top_k)))
    )
    assert refusal.field == field
    assert words in refusal.message


def test_bad_filter_of_a_batch_is_refused(line: Stubs) -> None:
    request = batch_request([1, 2], filter=filter_struct({"note": "x"}))
    refusal = refused(lambda: list(line.vectors.QueryVectorsBatch(request)))
    assert "note" in refusal.message


def test_batch_of_queries_whose_caller_leaves_stops(
    start_server: StartServer, slow: SlowEngine
) -> None:
    with stubs_of(start_server(over=slow).address) as stubs:
        stubs.make_index(dimension=2)
        call = stubs.vectors.QueryVectorsBatch(batch_request([(0, 0)] * 5_000, top_k=1))
        threading.Timer(0.05, call.cancel).start()
        eventually(lambda: slow.ended == ["gone"])
