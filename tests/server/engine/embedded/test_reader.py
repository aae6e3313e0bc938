"""Vectors by key, pages and hits: order, bounds, only what was asked for, and named corruption."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from oracles import draw_noise
from rooms import MANY, batch, make_index, make_room, running
from vectorbucket.errors import Corruption
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import reader as module
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import Family, encode_row, label_key, vector_prefix
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import (
    WHOLE,
    DistanceMetric,
    Float32Array,
    Hit,
    Metadata,
    Page,
    Query,
    Segment,
    Vector,
)

KEYS = ["b", "a", "a\0", "ab", "B", "é", "z/", "🜁", "\U00010000", "￿", "k" * 1_024]
"""Keys whose order as bytes, as characters and as text differ."""


def put(
    room: OpenIndex, keys: Sequence[str], metadata: Sequence[Metadata] | None = None
) -> Float32Array:
    """Put noise under keys and return it, float32 of shape (n, 4)."""
    rows = draw_noise(len(keys), 4, seed=len(keys))
    room.put(batch(keys, rows, metadata), None, None, NO_DEADLINE)
    return rows


def page(
    room: OpenIndex,
    after: str = "",
    *,
    limit: int = MANY,
    bytes_max: int = MANY,
    segment: Segment = WHOLE,
    data: bool = False,
    metadata: bool = False,
) -> Page[Vector]:
    """Return a page."""
    return room.page(
        after=after,
        limit=limit,
        bytes_max=bytes_max,
        segment=segment,
        data=data,
        metadata=metadata,
    )


def pages(room: OpenIndex, *, limit: int, segment: Segment = WHOLE) -> list[list[str]]:
    """Return the keys of all pages of a segment."""
    found = []
    after: str | None = ""
    while after is not None:
        one = page(room, after, limit=limit, segment=segment)
        found.append([vector.key for vector in one.items])
        after = one.next_after
    return found


def query(room: OpenIndex, vector: Sequence[float], top_k: int, *, metadata: bool) -> list[Hit]:
    """Return the hits of one query."""
    asked = Query(np.array([vector], np.float32), top_k, return_metadata=metadata)
    return room.query(asked, NO_DEADLINE)[0]


def remove(store: Store, family: Family, label: int) -> None:
    """Lose a record."""
    made = store.batch()
    made.delete(family, label_key(1, label))
    store.write(made)


# --- By key ---------------------------------------------------------------------------------------


def test_vectors_come_once_each_in_the_order_of_first_mention(room: OpenIndex) -> None:
    put(room, KEYS)
    asked = ["é", "missing", "a", "é", "k" * 1_024, "a", ""]
    found = room.get(asked, data=False, metadata=False)
    assert [vector.key for vector in found] == ["é", "a", "k" * 1_024]
    assert room.get([], data=True, metadata=True) == []


@pytest.mark.parametrize("metric", DistanceMetric)
def test_data_come_back_as_they_were_put(
    store: Store, options: EmbeddedOptions, metric: DistanceMetric
) -> None:
    room = make_room(store, options, make_index(metric=metric, index_id=3))
    rows = put(room, KEYS)
    found = room.get(KEYS, data=True, metadata=False)
    listed = {vector.key: vector.data for vector in page(room, data=True).items}
    for vector, row in zip(found, rows, strict=True):
        assert vector.data is not None
        assert vector.data.tobytes() == row.tobytes(), "preprocessed rows are for the engine alone"
        assert vector.data.tobytes() == np.asarray(listed[vector.key]).tobytes()


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("metadata", [True, False])
def test_only_what_was_asked_for_is_returned(
    room: OpenIndex, *, data: bool, metadata: bool
) -> None:
    put(room, ["a", "b"], [{"n": 1.0}, {}])
    (by_key, bare) = room.get(["a", "b"], data=data, metadata=metadata)
    (listed, _) = page(room, data=data, metadata=metadata).items
    for vector in (by_key, listed):
        assert (vector.data is not None) is data
        assert vector.metadata == ({"n": 1.0} if metadata else None)
    assert bare.metadata == ({} if metadata else None)


def test_only_what_was_asked_for_is_read(room: OpenIndex, store: Store) -> None:
    put(room, ["a"], [{"n": 1.0}])
    remove(store, Family.DATA, 1)
    assert room.get(["a"], data=False, metadata=True)[0].metadata == {"n": 1.0}
    assert page(room, metadata=True).items[0].metadata == {"n": 1.0}
    remove(store, Family.ROWS, 1)
    assert [vector.key for vector in room.get(["a"], data=False, metadata=False)] == ["a"]
    assert [vector.key for vector in page(room).items] == ["a"]


@pytest.mark.parametrize(
    ("family", "data", "metadata"),
    [
        (Family.ROWS, False, True),
        (Family.ROWS, True, True),
        (Family.DATA, True, False),
        (Family.DATA, True, True),
    ],
)
def test_record_that_is_missing_is_named(
    room: OpenIndex,
    store: Store,
    family: Family,
    *,
    data: bool,
    metadata: bool,
) -> None:
    put(room, ["a", "b"])
    remove(store, family, 2)
    expected = f"family {family.value}, key {label_key(1, 2).hex()}: missing"
    with pytest.raises(Corruption, match=expected):
        room.get(["a", "b"], data=data, metadata=metadata)
    with pytest.raises(Corruption, match=expected):
        page(room, data=data, metadata=metadata)
    assert len(room.get(["a"], data=True, metadata=True)) == 1


def test_row_of_another_key_is_named(room: OpenIndex, store: Store) -> None:
    put(room, ["a", "b"])
    made = store.batch()
    made.put(Family.ROWS, label_key(1, 1), encode_row("b", {}))
    store.write(made)
    with pytest.raises(Corruption, match=rf"key {label_key(1, 1).hex()}: .*not that of key 'a'"):
        room.get(["a"], data=False, metadata=True)


def test_label_of_a_wrong_length_is_named(room: OpenIndex, store: Store) -> None:
    put(room, ["a"])
    key = vector_prefix(1) + b"a"
    made = store.batch()
    made.put(Family.VECTORS, key, b"1")
    store.write(made)
    for read in (lambda: room.get(["a"], data=False, metadata=False), lambda: page(room)):
        with pytest.raises(Corruption, match=f"family vectors, key {key.hex()}"):
            read()


# --- Pages ----------------------------------------------------------------------------------------


def test_listing_ascends_by_the_bytes_of_the_keys(room: OpenIndex) -> None:
    put(room, KEYS)
    ordered = sorted(KEYS, key=str.encode)
    assert pages(room, limit=MANY) == [ordered]
    assert pages(room, limit=1) == [[key] for key in ordered]


@pytest.mark.parametrize("limit", [1, 50, 127, 128, 129, 299, 300, 301])
def test_pages_hold_their_limit_and_say_whether_more_follows(room: OpenIndex, limit: int) -> None:
    keys = [f"k{number:03}" for number in range(300)]
    put(room, keys)
    found = pages(room, limit=limit)
    assert list(itertools.chain(*found)) == keys
    assert all(len(one) == limit for one in found[:-1])
    assert len(found) == -(-300 // limit), "no page is empty, none says more where nothing follows"


def test_listing_of_an_empty_index_is_one_empty_page(room: OpenIndex) -> None:
    assert page(room) == Page([], None)


@pytest.mark.parametrize(
    ("after", "first"), [("a", "a\0"), ("a\0", "ab"), ("aa", "ab"), ("", "B"), ("ab", "b")]
)
def test_listing_goes_on_after_a_key_that_need_not_exist(
    room: OpenIndex, after: str, first: str
) -> None:
    put(room, KEYS)
    assert page(room, after, limit=1).items[0].key == first


def test_listing_after_the_last_key_is_empty(room: OpenIndex) -> None:
    put(room, KEYS)
    assert page(room, max(KEYS, key=str.encode)) == Page([], None)


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_segments_hold_every_key_exactly_once(room: OpenIndex, count: int) -> None:
    keys = [f"k{number:03}" for number in range(200)]
    put(room, keys)
    segments = [
        list(itertools.chain(*pages(room, limit=17, segment=Segment(position, count))))
        for position in range(count)
    ]
    assert sorted(itertools.chain(*segments)) == keys
    assert all(segment == sorted(segment) and segment for segment in segments)


@pytest.mark.parametrize(("bytes_max", "expected"), [(0, 1), (1, 1), (1_000, 1), (1_001, 2)])
def test_page_ends_when_it_holds_its_bytes_but_not_before_its_first_vector(
    room: OpenIndex, bytes_max: int, expected: int
) -> None:
    # A vector is its key, its data and its row: two bytes, the key again, metadata as JSON.
    put(room, ["a", "b", "c"], [{"n": "x" * 972}] * 3)
    (vector,) = page(room, limit=1, data=True, metadata=True).items
    assert vector.data is not None
    assert 1 + 16 + 3 + len('{"n":""}') + 972 == 1_000
    one = page(room, bytes_max=bytes_max, data=True, metadata=True)
    assert [vector.key for vector in one.items] == ["a", "b", "c"][:expected]
    assert one.next_after == one.items[-1].key


def test_page_that_ends_with_the_last_vector_says_so_whatever_its_bytes(room: OpenIndex) -> None:
    put(room, ["a", "b"])
    assert page(room, "a", bytes_max=1).next_after is None
    assert page(room, bytes_max=2).next_after is None


def test_only_what_was_asked_for_counts_as_bytes(room: OpenIndex) -> None:
    put(room, ["a", "b", "c"], [{"n": "x" * 500}] * 3)
    assert len(page(room, bytes_max=20).items) == 3
    assert len(page(room, bytes_max=20, data=True).items) == 2
    assert len(page(room, bytes_max=20, metadata=True).items) == 1


def test_indexes_beside_it_are_not_listed(
    room: OpenIndex, store: Store, options: EmbeddedOptions
) -> None:
    put(room, ["a", "b"])
    for index_id in (0, 2, 2**32):
        put(make_room(store, options, make_index(index_id=index_id)), ["a", "c", "\U0010ffff"])
    assert pages(room, limit=10) == [["a", "b"]]
    assert [vector.key for vector in room.get(["a", "c"], data=False, metadata=False)] == ["a"]


def test_keys_that_exist_throughout_are_listed_once_beside_writes(
    room: OpenIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS_PER_FETCH", 5)
    kept = [f"k{number:02}" for number in range(40)]
    put(room, kept)
    done = threading.Event()

    def write() -> None:
        for number in itertools.count():
            if done.is_set():
                break
            put(room, kept[number % 40 :][:4])
            put(room, [f"k{number % 40:02}+"])
            room.delete([f"k{(number + 7) % 40:02}+"], NO_DEADLINE)
            room.dead_rows.remove()

    with running(write):
        for limit in (1, 7, 11, 100) * 5:
            listed = [key for one in pages(room, limit=limit) for key in one]
            assert [key for key in listed if not key.endswith("+")] == kept
            assert len(set(listed)) == len(listed)
        done.set()


# --- Hits -----------------------------------------------------------------------------------------


def test_hits_of_equal_distance_ascend_by_the_bytes_of_the_key(room: OpenIndex) -> None:
    room.put(batch(KEYS, [[3, 4, 0, 0]] * len(KEYS)), None, None, NO_DEADLINE)
    room.put(batch(["near", "far"], [[1, 0, 0, 0], [0, 0, 0, 9]]), None, None, NO_DEADLINE)
    ordered = ["near", *sorted(KEYS, key=str.encode), "far"]
    for top_k in range(1, len(ordered) + 2):
        hits = query(room, [0, 0, 0, 0], top_k, metadata=False)
        assert [hit.key for hit in hits] == ordered[:top_k]
    assert [hit.distance for hit in hits] == [1.0, *[5.0] * len(KEYS), 9.0]


def test_queries_of_one_call_get_their_own_hits(room: OpenIndex) -> None:
    rows = [[number // 2, 0, 0, 0] for number in range(10)]
    metadata = [{"n": float(number)} for number in range(10)]
    room.put(
        batch([f"k{9 - number}" for number in range(10)], rows, metadata), None, None, NO_DEADLINE
    )
    for top_k in (1, 2, 3, 20):
        asked = Query(
            np.array([[4, 0, 0, 0], [0, 0, 0, 0]], np.float32), top_k, return_metadata=True
        )
        last, first = room.query(asked, NO_DEADLINE)
        assert [hit.key for hit in last[:3]] == ["k0", "k1", "k2"][:top_k]
        assert [hit.key for hit in first[:3]] == ["k8", "k9", "k6"][:top_k]
        assert [hit.metadata for hit in first[:2]] == [{"n": 1.0}, {"n": 0.0}][:top_k]
        assert len(last) == len(first) == min(top_k, 10)


@pytest.mark.parametrize("metadata", [True, False])
def test_hits_carry_metadata_if_they_were_asked_for(room: OpenIndex, *, metadata: bool) -> None:
    put(room, ["a", "b"], [{"n": 1.0}, {}])
    found = {hit.key: hit.metadata for hit in query(room, [0, 0, 0, 0], 5, metadata=metadata)}
    assert found == ({"a": {"n": 1.0}, "b": {}} if metadata else {"a": None, "b": None})


def test_row_of_a_hit_that_is_missing_is_named(room: OpenIndex, store: Store) -> None:
    put(room, ["a", "b"])
    remove(store, Family.ROWS, 2)
    with pytest.raises(Corruption, match=f"family rows, key {label_key(1, 2).hex()}: missing"):
        query(room, [0, 0, 0, 0], 5, metadata=True)
