"""What every engine promises of reads: ordered, complete, faithful, honest.

Rules of this file: those of suite.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engines.subject import ONE, THREE, TWO, Promise, Subject, raises_as
from oracles import (
    NON_FILTERABLE,
    Float32Array,
    distances,
    draw_mixture,
    f32,
    matches,
    random_filter,
    random_grid,
    random_metadata,
)
from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket_server.model import DistanceMetric, Index


class Ordered(Promise):
    """Hits ascend by distance, then by key; listings by name or by the key's UTF-8 bytes."""

    ODD_KEYS = (
        "",
        "\t",
        " ",
        "0",
        "A",
        "Z",
        "a",
        "aa",
        "z",
        "é",
        "語",
        "\uffee",
        "🜁",
        "\U0010fffd",
    )

    def test_hits_ascend_by_distance(self, subject: Subject) -> None:
        index = subject.put_index(dimension=16)
        data = draw_mixture(200, 16, seed=5)
        subject.put(index, [f"k{number}" for number in range(200)], data)
        subject.settle(index)
        for hits in subject.queries(index, data[:10] * 1.01, top_k=50):
            found = [hit.distance for hit in hits]
            assert len(found) == 50
            assert found == sorted(found)

    @pytest.mark.parametrize("metric", list(DistanceMetric))
    def test_hits_of_equal_distance_ascend_by_the_bytes_of_the_key(
        self, subject: Subject, metric: DistanceMetric
    ) -> None:
        index = subject.put_index(metric=metric)
        keys = [f"{key}!" for key in self.ODD_KEYS]
        subject.put(index, keys[::-1], [TWO] * len(keys))
        subject.put(index, ["far"], [[-1.0, -9.0, 0.0, 0.0]])
        wanted = [*sorted(keys, key=str.encode), "far"]
        for top_k in (1, 3, len(keys), 100):
            found = [hit.key for hit in subject.query(index, TWO, top_k=top_k)]
            if top_k >= len(keys) or subject.engine.capabilities.exact_search:
                assert found == wanted[:top_k]
            else:
                # Which of the equals are found may differ; that they come in order may not.
                assert found == sorted(found, key=str.encode)
                assert len(set(found) & set(keys)) == top_k
        subject.settle(index)
        assert [hit.key for hit in subject.query(index, TWO, top_k=100)] == wanted

    def test_vectors_are_listed_by_the_bytes_of_the_key(self, subject: Subject) -> None:
        index = subject.put_index()
        keys = [f"{key}{end}" for key in self.ODD_KEYS for end in ("!", "\x00", "~~")]
        subject.put(index, keys, [ONE] * len(keys))
        assert subject.keys(index) == sorted(keys, key=str.encode)

    def test_buckets_and_indexes_are_listed_by_name(self, subject: Subject) -> None:
        for name in ("beta", "alpha", "alpha-2", "a0", "zz"):
            subject.put_bucket(name)
        for name in ("b", "B", "a1", "a", "Z9"):
            subject.put_index(name, bucket_name="zz")
        assert [bucket.name for bucket in subject.buckets()] == [
            "a0",
            "alpha",
            "alpha-2",
            "beta",
            "zz",
        ]
        indexes = subject.engine.list_indexes("zz", limit=10).items
        assert [index.name for index in indexes] == ["B", "Z9", "a", "a1", "b"]


class Complete(Promise):
    """A filtered query finds top_k vectors whenever top_k match."""

    def test_filter_finds_as_many_as_match_whatever_their_share(self, subject: Subject) -> None:
        index = subject.put_index(dimension=8)
        count = 400
        data = draw_mixture(count, 8, seed=6)
        metadata = [{"rank": float(number)} for number in range(count)]
        subject.put(index, [f"k{number:03d}" for number in range(count)], data, metadata)
        subject.settle(index)
        for share in (1, 2, 7, 10, 11, 50, 200, 399, 400):
            for query in data[:3]:
                raw_filter = {"rank": {"$lt": share}}
                hits = subject.query(index, query, top_k=10, raw_filter=raw_filter)
                expected = min(10, share)
                if subject.engine.capabilities.filter_pushdown:
                    assert len(hits) == expected
                assert len({hit.key for hit in hits}) == len(hits) <= expected
                assert all(hit.metadata and hit.metadata["rank"] < share for hit in hits)  # type: ignore[operator]

    def test_filter_means_what_the_truth_table_says(self, subject: Subject) -> None:
        index = subject.put_index(non_filterable_keys=(NON_FILTERABLE,))
        rng = np.random.default_rng(7)
        metadata = [random_metadata(rng) for _ in range(150)]
        keys = [f"k{number:03d}" for number in range(150)]
        subject.put(index, keys, random_grid(rng, 150, 4), metadata)
        for number in range(150):
            raw_filter = random_filter(rng)
            hits = subject.query(index, ONE, top_k=1_000, raw_filter=raw_filter)
            wanted = {
                key for key, one in zip(keys, metadata, strict=True) if matches(raw_filter, one)
            }
            assert {hit.key for hit in hits} == wanted, raw_filter
            if number == 75:
                subject.settle(index)

    def test_query_for_more_than_there_are_finds_all(self, subject: Subject) -> None:
        index = subject.put_index()
        assert subject.query(index, ONE, top_k=100) == []
        subject.put(index, ["a", "b"], [ONE, TWO])
        subject.settle(index)
        assert [hit.key for hit in subject.query(index, ONE, top_k=100)] == ["a", "b"]

    def test_each_query_of_many_gets_its_own_hits(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a", "b", "c"], [ONE, TWO, THREE])
        hits = subject.queries(index, [THREE, ONE, TWO, ONE], top_k=1)
        assert [[hit.key for hit in one] for one in hits] == [["c"], ["a"], ["b"], ["a"]]

    def test_empty_filter_matches_everything(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a", "b"], [ONE, TWO], [{"n": 1.0}, {}])
        assert len(subject.query(index, ONE, raw_filter={})) == 2


class Faithful(Promise):
    """Data come back bit for bit, metadata value for value."""

    @pytest.mark.parametrize("metric", list(DistanceMetric))
    def test_data_come_back_bit_for_bit(self, subject: Subject, metric: DistanceMetric) -> None:
        index = subject.put_index(dimension=6, metric=metric)
        edge = np.finfo(np.float32)
        largest = edge.max if subject.engine.capabilities.any_length else 1e14
        row = np.array([largest, -largest, edge.tiny, edge.smallest_subnormal, -0.0, 1 / 3])
        rows = f32(np.stack([row, row[::-1], np.arange(6.0)]))
        subject.put(index, ["a", "b", "c"], rows)
        for _ in range(2):
            found = {vector.key: vector.data for vector in subject.listing(index)}
            assert [tobytes(found[key]) for key in "abc"] == [one.tobytes() for one in rows]
            subject.settle(index)

    def test_metadata_come_back_value_for_value(self, subject: Subject) -> None:
        index = subject.put_index(non_filterable_keys=("text",))
        metadata: dict[str, Any] = {
            "text": "é語🜁\x00\n" * 100,
            "": "an empty name",
            "none": "",
            "number": -0.1,
            "whole": 2.0**53,
            "true": True,
            "false": False,
            "list": ["a", 1.0, True, False, "", -2.5],
            "empty": [],
        }
        subject.put(index, ["a", "b"], [ONE, TWO], [metadata, {}])
        (hit,) = subject.query(index, ONE, top_k=1)
        (got,) = subject.get(index, "a")
        for found in (got.metadata, subject.listing(index)[0].metadata, hit.metadata):
            assert typed(found) == typed(metadata)
        assert subject.get(index, "b")[0].metadata == {}

    def test_random_metadata_come_back_from_every_read(self, subject: Subject) -> None:
        index = subject.put_index(non_filterable_keys=(NON_FILTERABLE,))
        rng = np.random.default_rng(8)
        metadata = [random_metadata(rng) for _ in range(100)]
        keys = [f"k{number:02d}" for number in range(100)]
        subject.put(index, keys, random_grid(rng, 100, 4), metadata)
        wanted = {key: typed(one) for key, one in zip(keys, metadata, strict=True)}
        assert {one.key: typed(one.metadata) for one in subject.get(index, *keys)} == wanted
        assert {one.key: typed(one.metadata) for one in subject.listing(index)} == wanted
        hits = subject.query(index, ONE, top_k=100)
        assert {one.key: typed(one.metadata) for one in hits} == wanted

    def test_overwrite_replaces_metadata_whole(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a"], [ONE], [{"old": "x", "both": 1.0}])
        subject.put(index, ["a"], [ONE], [{"both": 2.0}])
        assert subject.get(index, "a")[0].metadata == {"both": 2.0}
        assert subject.query(index, ONE, raw_filter={"old": {"$exists": True}}) == []
        assert subject.query(index, ONE, raw_filter={"both": 1}) == []

    def test_keys_of_any_kind_and_length_are_kept(self, subject: Subject) -> None:
        index = subject.put_index()
        keys = ["k" * 1024, "\x00", "\x00\x00", "a/b", "a\nb", "🜁" * 256, " "]
        data = random_grid(np.random.default_rng(9), len(keys), 4)
        subject.put(index, keys, data)
        assert [vector.key for vector in subject.get(index, *keys)] == keys
        assert {hit.key for hit in subject.query(index, ONE)} == set(keys)

    def test_array_that_its_owner_changes_later_is_stored_as_it_was(self, subject: Subject) -> None:
        index = subject.put_index()
        row = f32([ONE])
        subject.put(index, ["a"], row)
        row[:] = 9.0
        assert subject.query(index, ONE)[0].distance == 0.0
        assert tobytes(subject.get(index, "a")[0].data) == f32(ONE).tobytes()

    def test_reads_return_only_what_was_asked_for(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a"], [ONE], [{"n": 1.0}])
        for data in (False, True):
            for metadata in (False, True):
                (got,) = subject.engine.get_vectors(index, ["a"], data=data, metadata=metadata)
                (listed,) = subject.engine.list_vectors(
                    index, limit=1, bytes_max=1, data=data, metadata=metadata
                ).items
                for vector in (got, listed):
                    assert (vector.data is not None) is data
                    assert (vector.metadata is not None) is metadata


def tobytes(data: Any) -> bytes:
    """Return the bytes of an array that must be there, and of the contract's type."""
    assert data is not None
    assert data.dtype == np.float32
    return bytes(data.tobytes())


def typed(metadata: Any) -> Any:
    """Return metadata with every value's type beside it: True == 1.0 in Python, but not here."""
    if isinstance(metadata, dict):
        return {name: typed(value) for name, value in metadata.items()}
    if isinstance(metadata, list):
        return [typed(value) for value in metadata]
    return (type(metadata), metadata)


def refuses_for_its_length(
    subject: Subject, index: Index, rows: Float32Array, scale: float
) -> bool:
    """Return whether the engine says that it cannot measure such vectors, having checked it."""
    if subject.engine.capabilities.any_length or 1e-15 < scale < 1e15:
        return False
    with raises_as(VectorIndexParameterInvalid):
        subject.put(index, [str(number) for number in range(len(rows))], rows)
    assert subject.keys(index) == []
    return True


class Honest(Promise):
    """Distances are in the contract's unit, whatever the engine computes inside."""

    def test_euclidean_distance_is_rooted(self, subject: Subject) -> None:
        index = subject.put_index(dimension=2)
        subject.put(index, ["a"], [[3.0, 4.0]])
        subject.settle(index)
        assert subject.query(index, [0.0, 0.0])[0].distance == pytest.approx(5.0, rel=1e-6)

    @pytest.mark.parametrize("scale", [1.0, 1e-20, 1e-38, 1e18, 1e38])
    def test_cosine_distance_is_of_the_angle_alone(self, subject: Subject, scale: float) -> None:
        index = subject.put_index(dimension=2, metric=DistanceMetric.COSINE)
        rows = f32([[1, 0], [1, 1], [0, 1], [-1, 0]]) * scale
        if refuses_for_its_length(subject, index, rows, scale):
            return
        subject.put(index, ["0", "45", "90", "180"], rows)
        subject.settle(index)
        hits = subject.query(index, [1.0, 0.0])
        assert [hit.key for hit in hits] == ["0", "45", "90", "180"]
        expected = [0.0, 1.0 - np.sqrt(0.5), 1.0, 2.0]
        assert [hit.distance for hit in hits] == pytest.approx(expected, abs=1e-6)
        assert all(0.0 <= hit.distance <= 2.0 for hit in hits)

    @pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e10, 1e30])
    def test_euclidean_distance_of_large_and_small_numbers_is_right(
        self, subject: Subject, scale: float
    ) -> None:
        index = subject.put_index(dimension=2)
        rows = f32([[3, 4], [6, 8], [30, 40]]) * scale
        if refuses_for_its_length(subject, index, rows, scale):
            return
        subject.put(index, ["near", "far", "farther"], rows)
        hits = subject.query(index, [0.0, 0.0], top_k=3)
        assert [hit.key for hit in hits] == ["near", "far", "farther"]
        expected = [5 * scale, 10 * scale, 50 * scale]
        assert [hit.distance for hit in hits] == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("metric", list(DistanceMetric))
    @pytest.mark.parametrize("dimension", [1, 3, 100])
    def test_distances_are_those_of_exact_arithmetic(
        self, subject: Subject, metric: DistanceMetric, dimension: int
    ) -> None:
        index = subject.put_index(dimension=dimension, metric=metric)
        data = draw_mixture(120, dimension, seed=10) * 3
        queries = draw_mixture(5, dimension, seed=10, draw=1)
        subject.put(index, [str(number) for number in range(120)], data)
        for _ in range(2):
            expected = distances(queries, data, metric.value)
            found = subject.queries(index, queries, top_k=20)
            for hits, row in zip(found, expected, strict=True):
                assert len(hits) == 20
                for hit in hits:
                    assert hit.distance == pytest.approx(row[int(hit.key)], rel=1e-5, abs=1e-5)
            subject.settle(index)

    def test_vector_is_at_no_distance_from_itself(self, subject: Subject) -> None:
        index = subject.put_index(dimension=32)
        data = draw_mixture(50, 32, seed=11)
        subject.put(index, [f"k{number}" for number in range(50)], data)
        subject.settle(index)
        for number, hits in enumerate(subject.queries(index, data, top_k=1)):
            assert (hits[0].key, hits[0].distance) == (f"k{number}", 0.0)
