"""Reads of a real Milvus whose answers are shorter than what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engines.subject import MANY
from rooms import BUCKET, Standing, make_index, numbered
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.milvus import reads
from vectorbucket_server.engine.milvus.access import Access
from vectorbucket_server.engine.milvus.engine import MilvusEngine
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.engine.milvus.reads import Reads
from vectorbucket_server.model import WHOLE, Page, Query, Vector

COUNT, WIDE = 10, 4_096
KEYS = [f"k{number}" for number in range(COUNT)]


@pytest.fixture(name="access")
def fixture_access(make_engine: Callable[..., MilvusEngine]) -> Access:
    """The access to an index with KEYS, the first of which is nearest to the origin."""
    engine = make_engine()
    engine.put_bucket(BUCKET, buckets_max=MANY)
    index = engine.put_index(make_index(WIDE), indexes_max=MANY)
    engine.put_vectors(index, numbered(COUNT, width=WIDE)[0])
    return engine._opened(index).access


def reads_through(access: Any) -> Reads:
    return Reads(access, MilvusOptions())


def page_of(found: Reads, *, limit: int = MANY, bytes_max: int = MANY) -> Page[Vector]:
    return found.page(
        after="", limit=limit, bytes_max=bytes_max, segment=WHOLE, data=True, metadata=True
    )


def test_page_of_large_vectors_is_fetched_in_several_answers(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def query(expression: str, fields: list[str], **named: Any) -> list[dict[str, Any]]:
        asked.append(named.get("limit", 0))
        return access.query(expression, fields, **named)

    # Three rows, whatever they hold, are more than this.
    monkeypatch.setattr(reads, "_ANSWER_BYTES", 3 * 90_000)
    found = reads_through(Standing(access, query=query))
    whole = page_of(found)
    assert ([one.key for one in whole.items], whole.next_after) == (KEYS, None)
    assert [one.data is not None and one.data[0] for one in whole.items] == list(range(COUNT))
    assert max(asked) == 3
    assert [one.key for one in found.get(KEYS[::-1], data=True, metadata=True)] == KEYS[::-1]
    some = page_of(found, limit=5)
    assert ([one.key for one in some.items], some.next_after) == (KEYS[:5], "k4")
    light = page_of(found, bytes_max=3 * 4 * WIDE)
    assert ([one.key for one in light.items], light.next_after) == (KEYS[:3], "k2")


def test_answer_that_is_short_is_not_the_end(access: Access) -> None:
    """Milvus counts what is being replaced twice, and answers it once."""

    def query(*given: Any, **named: Any) -> list[dict[str, Any]]:
        found = access.query(*given, **named)
        return found[: (len(found) + 1) // 2]

    found = reads_through(Standing(access, query=query))
    for limit in (1, 5, COUNT, MANY):
        page = page_of(found, limit=limit)
        assert [one.key for one in page.items] == KEYS[:limit]
        assert page.next_after == (KEYS[limit - 1] if limit < COUNT else None)


@pytest.mark.parametrize("left", [0, 2])
def test_query_that_the_graph_leaves_short_is_completed_by_looking_at_all(
    access: Access, left: int
) -> None:
    asked: list[str] = []

    def search(*given: Any, **named: Any) -> list[list[Any]]:
        asked.append("search")
        return [list(hits)[:left] for hits in access.search(*given, **named)]

    def query(expression: str, fields: list[str], **named: Any) -> list[dict[str, Any]]:
        asked.append("query")
        return access.query(expression, fields, **named)

    found = reads_through(Standing(access, search=search, query=query))
    vectors = np.zeros((2, WIDE), np.float32)
    vectors[1, 0] = COUNT
    near, far = found.search(Query(vectors, 5, return_metadata=True), NO_DEADLINE)
    assert [(hit.key, hit.distance, hit.metadata) for hit in near] == [
        (f"k{n}", float(n), {"n": float(n)}) for n in range(5)
    ]
    assert [(hit.key, hit.distance) for hit in far] == [
        (f"k{COUNT - n}", float(n)) for n in range(1, 6)
    ]
    assert asked.count("query") >= 2, "it counted, and looked at all"
    asked.clear()
    (few,) = reads_through(access).search(Query(vectors[:1], MANY // 100), NO_DEADLINE)
    assert [hit.key for hit in few] == KEYS


def test_metadata_of_hits_never_take_more_than_one_answer_holds(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[tuple[int, int]] = []

    def search(vectors: Any, **named: Any) -> Any:
        searched.append((len(vectors), len(named["fields"])))
        return access.search(vectors, **named)

    # Three rows with data, and four without, are as much, whatever they hold.
    monkeypatch.setattr(reads, "_ANSWER_BYTES", 3 * 90_000)
    found = reads_through(Standing(access, search=search))
    vectors = np.zeros((5, WIDE), np.float32)
    few = found.search(Query(vectors, 2, return_metadata=True), NO_DEADLINE)
    assert searched == [(2, 1), (2, 1), (1, 1)]
    searched.clear()
    many = found.search(Query(vectors[:2], 6, return_metadata=True), NO_DEADLINE)
    assert searched == [(2, 0)], "metadata come afterwards"
    whole = [(f"k{n}", float(n), {"n": float(n)}) for n in range(6)]
    for hits, count in [(hits, 2) for hits in few] + [(hits, 6) for hits in many]:
        assert [(hit.key, hit.distance, hit.metadata) for hit in hits] == whole[:count]


def test_more_hits_than_milvus_gives_are_found_by_looking_at_all(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = reads_through(access)
    vectors = np.zeros((2, WIDE), np.float32)
    for hits in found.search(Query(vectors, 16_385), NO_DEADLINE):
        assert [hit.key for hit in hits] == KEYS
    monkeypatch.setattr(reads, "_TOP_K_MAX", 3)
    for hits in found.search(Query(vectors, 5), NO_DEADLINE):
        assert [hit.key for hit in hits] == KEYS[:5]
