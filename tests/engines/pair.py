"""The specification and another engine, living through the same operations and compared at each.

Rules of this file: it compares what the contract fixes and nothing more: content, errors and counts
exactly; distances to 1e-5; hits position by position where the search is exact, else by a recall.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from engines.subject import MANY, Subject, content_of
from oracles import Float32Array
from vectorbucket.errors import (
    MethodNotAllowed,
    VectorBucketError,
    VectorIndexOperationConflict,
)
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.model import BucketLogging, DistanceMetric, Hit, Index, Segment

Place: TypeAlias = tuple[str, str]
"""Names of a bucket and an index."""

RECALL_FLOOR = 0.95
"""Which share of the nearest a graph must find, over a whole life. Its ef of 64 finds 99 % of clean
data; these data are full of ties and of vectors that were overwritten."""


@dataclass(slots=True)
class Handles:
    """What the two engines call the same index: their ids differ."""

    of_specification: Index
    of_subject: Index


class Pair:
    """Two engines that must agree. Every method is one operation, done to both."""

    def __init__(self, specification: Subject, subject: Subject, *, exact: bool) -> None:
        """Start with both empty.

        Args:
            specification: Says what is right.
            subject: Is compared with it.
            exact: Whether the subject scans, so that its hits must be the specification's.
        """
        self._specification = specification
        self._subject = subject
        self._exact = exact
        self._handles: dict[Place, Handles] = {}
        self._wanted = 0
        self._found = 0

    @property
    def recall(self) -> float:
        """Which share of the nearest the subject has found so far, 0 to 1."""
        return self._found / self._wanted if self._wanted else 1.0

    def put_bucket(self, name: str) -> None:
        """Make a bucket, which may exist."""
        self._both(lambda side: side.put_bucket(name))

    def delete_bucket(self, name: str) -> None:
        """Delete a bucket, which may be missing or full."""
        self._both(lambda side: side.engine.delete_bucket(name))

    def set_policy(self, name: str, policy: str) -> None:
        """Give a bucket, which may be missing, a policy."""
        self._both(lambda side: side.engine.set_bucket_policy(name, policy))

    def set_logging(self, name: str, logging: BucketLogging | None) -> None:
        """Say where a bucket, which may be missing, is logged."""
        self._both(lambda side: side.engine.set_bucket_logging(name, logging))

    def put_index(self, place: Place, dimension: int, metric: DistanceMetric) -> None:
        """Make an index, which may exist, and remember its handles even after it is deleted."""
        index = Index(*place, dimension, metric, created_ms=5)
        wanted = self._outcome(lambda: self._specification.engine.put_index(index, indexes_max=3))
        made = self._outcome(lambda: self._subject.engine.put_index(index, indexes_max=3))
        if isinstance(wanted, Index) and isinstance(made, Index):
            self._handles[place] = Handles(wanted, made)
        else:
            assert made == wanted

    def delete_index(self, place: Place) -> None:
        """Delete an index by its last handle; it may be deleted already."""
        self._with_index(place, lambda side, index: side.engine.delete_index(index))

    def put(
        self,
        place: Place,
        keys: Sequence[str],
        rows: Float32Array,
        metadata: Sequence[Mapping[str, Any]],
    ) -> None:
        """Put a batch."""
        self._with_index(place, lambda side, index: side.put(index, keys, rows, metadata))

    def delete(self, place: Place, keys: Sequence[str]) -> None:
        """Delete vectors, of which some may not exist."""
        self._with_index(place, lambda side, index: side.engine.delete_vectors(index, keys))

    def get(self, place: Place, keys: Sequence[str]) -> None:
        """Get vectors, of which some may not exist."""
        self._with_index(
            place, lambda side, index: list(content_of(side.get(index, *keys)).items())
        )

    def listing(self, place: Place, segment: Segment, limit: int) -> None:
        """List a segment to its end in pages of ``limit``."""
        self._with_index(
            place,
            lambda side, index: list(
                content_of(side.listing(index, segment=segment, limit=limit)).items()
            ),
        )

    def count(self, place: Place) -> None:
        """Count vectors."""
        self._with_index(
            place, lambda side, index: side.engine.index_statistics(index).vector_count
        )

    def catalogue(self) -> None:
        """List all buckets and their indexes."""

        def listed(side: Subject) -> object:
            return [
                (
                    bucket,
                    [
                        (index.name, index.dimension, index.metric)
                        for index in side.engine.list_indexes(bucket.name, limit=MANY).items
                    ],
                )
                for bucket in side.buckets()
            ]

        self._both(listed)

    def query(
        self, place: Place, row: Float32Array, top_k: int, raw_filter: Mapping[str, Any] | None
    ) -> None:
        """Query for one vector, float32 of shape (dimension,)."""
        handles = self._handles.get(place)
        if handles is None:
            return
        truth = self._outcome(
            lambda: self._specification.query(
                handles.of_specification, row, top_k=MANY, raw_filter=raw_filter
            )
        )
        hits = self._outcome(
            lambda: self._subject.query(handles.of_subject, row, top_k=top_k, raw_filter=raw_filter)
        )
        if isinstance(truth, list) and isinstance(hits, list):
            self._compare(truth, hits, top_k, handles.of_subject.metric)
        else:
            assert hits == truth

    def restart(self) -> None:
        """Restart the subject; the specification would forget."""
        self._subject.restart()

    def settle(self, place: Place) -> None:
        """Let the subject finish its indexing of one index, once it is in memory."""
        handles = self._handles.get(place)
        if handles is not None:
            self.operate(place, lambda engine, index: engine.load_index(index))
            self._outcome(lambda: self._subject.settle(handles.of_subject))

    def operate(self, place: Place, act: Callable[[Engine, Index], None]) -> None:
        """Do to an index of the subject what operators do; the specification knows nothing of it.

        Args:
            place: Where the index is, or was.
            act: Takes an engine and an index; may be refused while the index is in use.
        """
        handles = self._handles.get(place)
        if handles is None:
            return
        there = self._outcome(
            lambda: self._specification.engine.load_index(handles.of_specification)
        )
        outcome = self._outcome(lambda: act(self._subject.engine, handles.of_subject))
        if isinstance(outcome, tuple) and outcome[0] in (
            VectorIndexOperationConflict,
            MethodNotAllowed,
        ):
            assert there is None
            allowed = self._subject.engine.capabilities.graphs
            assert allowed is (outcome[0] is VectorIndexOperationConflict)
        else:
            assert outcome == there

    def _compare(
        self, truth: list[Hit], hits: list[Hit], top_k: int, metric: DistanceMetric
    ) -> None:
        """Check a query's hits against the ranking of all vectors that match."""
        nearest = truth[:top_k]
        assert len(hits) == len(nearest)
        assert len({hit.key for hit in hits}) == len(hits)
        assert [(hit.distance, hit.key.encode()) for hit in hits] == sorted(
            (hit.distance, hit.key.encode()) for hit in hits
        )
        true = {hit.key: hit for hit in truth}
        for hit in hits:
            assert hit.distance == pytest.approx(true[hit.key].distance, rel=1e-5, abs=1e-5)
            assert hit.metadata == true[hit.key].metadata
        if self._exact:
            expected = [hit.distance for hit in nearest]
            assert [hit.distance for hit in hits] == pytest.approx(expected, rel=1e-5, abs=1e-5)
            if metric is DistanceMetric.EUCLIDEAN:
                assert [hit.key for hit in hits] == [hit.key for hit in nearest]
        elif nearest:
            farthest = nearest[-1].distance + 1e-5
            self._wanted += len(nearest)
            self._found += sum(hit.distance <= farthest for hit in hits)

    def _both(self, call: Callable[[Subject], object]) -> None:
        """Do something to both and compare what came of it."""
        wanted = self._outcome(lambda: call(self._specification))
        assert self._outcome(lambda: call(self._subject)) == wanted

    def _with_index(self, place: Place, call: Callable[[Subject, Index], object]) -> None:
        """Do something to an index of both, if they ever had it, and compare what came of it."""
        handles = self._handles.get(place)
        if handles is None:
            return
        wanted = self._outcome(lambda: call(self._specification, handles.of_specification))
        assert self._outcome(lambda: call(self._subject, handles.of_subject)) == wanted

    @staticmethod
    def _outcome(call: Callable[[], object]) -> object:
        """Return what a call returned, or the class and the words of the error that it raised."""
        try:
            return call()
        except VectorBucketError as error:
            return (type(error), error.message)
