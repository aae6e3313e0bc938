"""What every engine promises of writes: durable, atomic, visible, idempotent.

Rules of this file: those of suite.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.subject import ONE, ORIGIN, POLICY, THREE, TWO, Promise, Subject, batch, raises_as
from oracles import Float32Array, draw_mixture, f32, random_grid
from vectorbucket.errors import VectorIndexOperationConflict
from vectorbucket_server.model import BucketLogging, DistanceMetric, Index


class Durable(Promise):
    """When a write returns, a killed process loses nothing of it (killing: tests/durability)."""

    def test_writes_outlive_a_restart(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a", "b", "c"], [ONE, TWO, THREE], [{"n": 1.0}, {}, {"n": [True, "x"]}])
        subject.put(index, ["b"], [THREE], [{"n": "new"}])
        subject.engine.delete_vectors(index, ["a"])
        before = subject.content(index)
        subject.restart()
        if not subject.engine.capabilities.persistent:
            assert subject.buckets() == []
            return
        assert before == {
            "b": (f32(THREE).tobytes(), {"n": "new"}),
            "c": (f32(THREE).tobytes(), {"n": [True, "x"]}),
        }
        assert subject.content(subject.engine.get_index("things", "vectors")) == before

    def test_definitions_outlive_a_restart(self, subject: Subject) -> None:
        bucket = subject.put_bucket()
        index = subject.put_index(
            dimension=7, metric=DistanceMetric.COSINE, non_filterable_keys=("b", "a")
        )
        subject.put_bucket("gone")
        subject.engine.delete_bucket("gone")
        subject.engine.delete_index(subject.put_index("Gone"))
        subject.restart()
        if not subject.engine.capabilities.persistent:
            assert subject.buckets() == []
            return
        assert subject.buckets() == [bucket]
        assert subject.engine.list_indexes("things", limit=10).items == [index]

    def test_policy_and_logging_outlive_a_restart(self, subject: Subject) -> None:
        subject.put_bucket()
        subject.put_bucket("bare")
        logging = BucketLogging("logs", "ünter/", "a role")
        for name in ("things", "bare"):
            subject.engine.set_bucket_policy(name, "{}")
            subject.engine.set_bucket_policy(name, POLICY)
            subject.engine.set_bucket_logging(name, logging)
        subject.engine.set_bucket_policy("bare", "")
        subject.engine.set_bucket_logging("bare", None)
        before = subject.buckets()
        subject.restart()
        if not subject.engine.capabilities.persistent:
            assert subject.buckets() == []
            return
        assert subject.buckets() == before
        bucket, bare = (subject.engine.get_bucket(name) for name in ("things", "bare"))
        assert (bucket.policy, bucket.logging) == (POLICY, logging)
        assert (bare.policy, bare.logging) == ("", None)

    def test_queries_after_a_restart_find_what_they_found_before(self, subject: Subject) -> None:
        index = subject.put_index(dimension=16)
        data = draw_mixture(300, 16, seed=4)
        subject.put(index, [f"k{number}" for number in range(300)], data)
        subject.settle(index)
        before = subject.queries(index, data[:20], top_k=1)
        assert [hits[0].key for hits in before] == [f"k{number}" for number in range(20)]
        if subject.engine.capabilities.persistent:
            subject.restart()
            assert subject.queries(index, data[:20], top_k=1) == before
            subject.settle(index)
            assert subject.queries(index, data[:20], top_k=1) == before

    def test_index_ids_are_never_given_twice(self, subject: Subject) -> None:
        seen = set()
        for _ in range(3):
            index = subject.put_index()
            assert index.index_id not in seen
            seen.add(index.index_id)
            subject.engine.delete_index(index)
            if subject.engine.capabilities.persistent:
                subject.restart()

    def test_restart_after_restart_changes_nothing(self, subject: Subject) -> None:
        index = subject.put_index()
        for number in range(4):
            subject.put(index, ["same", f"k{number}"], [ONE, TWO], [{"n": float(number)}, {}])
            subject.restart()
            if not subject.engine.capabilities.persistent:
                assert subject.buckets() == []
                return
        assert subject.keys(index) == ["k0", "k1", "k2", "k3", "same"]
        assert subject.get(index, "same")[0].metadata == {"n": 3.0}


class Refusing:
    """A guard that lets nothing through."""

    def admit(self) -> bool:
        """Refuse the batch."""
        raise VectorIndexOperationConflict("superseded")

    def committed(self) -> None:
        """Fail: nothing was to be committed."""
        raise AssertionError("a refused batch was committed")


class Atomic(Promise):
    """A batch is applied whole or not at all."""

    def test_refused_batch_leaves_nothing(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a"], [ONE], [{"n": 1.0}])
        with raises_as(VectorIndexOperationConflict):
            subject.engine.put_vectors(index, batch(["a", "b"], [TWO, TWO]), guard=Refusing())
        assert subject.content(index) == {"a": (f32(ONE).tobytes(), {"n": 1.0})}
        assert [hit.key for hit in subject.query(index, TWO)] == ["a"]
        assert subject.engine.index_statistics(index).vector_count == 1

    def test_readers_see_a_batch_whole(self, subject: Subject) -> None:
        if not subject.engine.capabilities.atomic_batches:
            pytest.skip("declares that batches may be seen in parts")
        index = subject.put_index()
        keys = [f"k{number}" for number in range(20)]
        write_version(subject, index, keys, 0)
        for found in reads_beside_writes(subject, index, keys, versions=40):
            assert len(found) == len(keys)
            assert len({versions["version"] for versions in found}) == 1

    def test_delete_of_many_is_seen_whole(self, subject: Subject) -> None:
        index = subject.put_index()
        keys = [f"k{number}" for number in range(10)]
        write_version(subject, index, keys, 0)
        subject.engine.delete_vectors(index, ["k3", "missing", *keys[5:]])
        assert subject.keys(index) == ["k0", "k1", "k2", "k4"]
        assert len(subject.query(index, ORIGIN, top_k=100)) == 4


def write_version(subject: Subject, index: Index, keys: list[str], version: int) -> None:
    """Put all keys in one batch, their data and metadata saying which version they are."""
    row = [float(version), 0.0, 0.0, 0.0]
    subject.put(index, keys, [row] * len(keys), [{"version": float(version)}] * len(keys))


def reads_beside_writes(
    subject: Subject, index: Index, keys: list[str], *, versions: int
) -> Iterator[list[Any]]:
    """Yield what gets, listings and queries find while a writer puts version after version."""

    def write() -> None:
        for version in range(1, versions):
            write_version(subject, index, keys, version)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        going_on = True
        while going_on:
            going_on = writer.is_alive()
            yield [vector.metadata for vector in subject.get(index, *keys)]
            yield [vector.metadata for vector in subject.listing(index)]
            yield [hit.metadata for hit in subject.query(index, ORIGIN, top_k=len(keys))]
    finally:
        writer.join()


class Visible(Promise):
    """A write that returned is seen by the next read."""

    def test_new_vector_is_seen_by_the_next_read(self, subject: Subject) -> None:
        index = subject.put_index()
        rng = np.random.default_rng(1)
        for number in range(60):
            row = f32(rng.standard_normal(4))
            subject.put(index, [f"k{number}"], [row], [{"number": float(number)}])
            assert found_everywhere(subject, index, f"k{number}", row) == {"number": number}
            if number % 20 == 0:
                subject.settle(index)

    def test_overwritten_vector_is_never_seen_again(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a", "b"], [ONE, TWO])
        subject.settle(index)
        for number in range(1, 40):
            row = f32([number, -number, 0, 1])
            subject.put(index, ["a"], [row], [{"number": float(number)}])
            assert found_everywhere(subject, index, "a", row) == {"number": number}
            assert len(subject.query(index, ONE, top_k=10)) == 2
            if number % 10 == 0:
                subject.settle(index)

    def test_deleted_vector_is_gone_for_the_next_read(self, subject: Subject) -> None:
        index = subject.put_index()
        keys = [f"k{number}" for number in range(40)]
        data = random_grid(np.random.default_rng(2), 40, 4)
        subject.put(index, keys, data, [{"color": "red"}] * 40)
        subject.settle(index)
        for position, key in enumerate(keys):
            subject.engine.delete_vectors(index, [key])
            left = keys[position + 1 :]
            assert subject.get(index, key) == []
            assert subject.keys(index) == sorted(left)
            for raw_filter in (None, {"color": "red"}):
                hits = subject.query(index, data[position], top_k=100, raw_filter=raw_filter)
                assert sorted(hit.key for hit in hits) == sorted(left)

    def test_deleted_key_can_be_put_again(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a"], [ONE], [{"n": 1.0}])
        subject.settle(index)
        subject.engine.delete_vectors(index, ["a"])
        subject.put(index, ["a"], [TWO])
        assert found_everywhere(subject, index, "a", f32(TWO)) == {}

    def test_policy_and_logging_are_seen_by_the_next_read(self, subject: Subject) -> None:
        bucket = subject.put_bucket()
        for number in range(20):
            policy, logging = f"policy {number}", BucketLogging("logs", str(number))
            subject.engine.set_bucket_policy("things", policy)
            subject.engine.set_bucket_logging("things", logging)
            bucket = replace(bucket, policy=policy, logging=logging)
            assert subject.engine.get_bucket("things") == bucket
            assert subject.buckets() == [bucket]

    def test_write_of_one_thread_is_seen_by_another(self, subject: Subject) -> None:
        index = subject.put_index()
        written: list[int] = []
        failures: list[str] = []

        def read() -> None:
            while len(written) < 50:
                if written and len(subject.get(index, f"k{written[-1]}")) != 1:
                    failures.append(f"k{written[-1]} was not found")

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(50):
            subject.put(index, [f"k{number}"], [ONE])
            written.append(number)
        reader.join()
        assert failures == []


def found_everywhere(subject: Subject, index: Index, key: str, row: Float32Array) -> dict[str, Any]:
    """Check that every read finds a vector as it is, and return its metadata."""
    (got,) = subject.get(index, key)
    (listed,) = (vector for vector in subject.listing(index) if vector.key == key)
    hit = next(hit for hit in subject.query(index, row, top_k=100) if hit.key == key)
    raw_filter = dict(got.metadata or {})
    filtered = subject.query(index, row, top_k=100, raw_filter=raw_filter)
    assert key in [hit.key for hit in filtered]
    for vector in (got, listed):
        assert vector.data is not None
        assert vector.data.tobytes() == row.tobytes()
        assert vector.metadata == got.metadata
    assert hit.distance == pytest.approx(0.0, abs=1e-6)
    assert hit.metadata == got.metadata
    return raw_filter


class Idempotent(Promise):
    """The same put or delete twice is the same as once."""

    def test_same_put_twice_is_the_same_as_once(self, subject: Subject) -> None:
        index = subject.put_index()
        for _ in range(2):
            subject.put(index, ["a", "b"], [ONE, TWO], [{"n": 1.0}, {}])
            subject.settle(index)
            assert subject.content(index) == {
                "a": (f32(ONE).tobytes(), {"n": 1.0}),
                "b": (f32(TWO).tobytes(), {}),
            }
            assert [hit.key for hit in subject.query(index, ORIGIN)] == ["a", "b"]
            assert subject.engine.index_statistics(index).vector_count == 2

    def test_same_policy_and_logging_twice_are_the_same_as_once(self, subject: Subject) -> None:
        bucket = subject.put_bucket()
        logging = BucketLogging("logs")
        for _ in range(2):
            subject.engine.set_bucket_policy("things", POLICY)
            subject.engine.set_bucket_logging("things", logging)
            assert subject.buckets() == [replace(bucket, policy=POLICY, logging=logging)]
        for _ in range(2):
            subject.engine.set_bucket_policy("things", "")
            subject.engine.set_bucket_logging("things", None)
            assert subject.buckets() == [bucket]

    def test_same_delete_twice_is_the_same_as_once(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a", "b"], [ONE, TWO])
        for _ in range(2):
            subject.engine.delete_vectors(index, ["a", "never"])
            subject.settle(index)
            assert subject.keys(index) == ["b"]
            assert [hit.key for hit in subject.query(index, ORIGIN)] == ["b"]
            assert subject.engine.index_statistics(index).vector_count == 1
