"""What the manual of the seam says of single methods: errors, deadlines, guards.

Rules of this file: those of suite.py; each class is about one concern of the manual.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

import pytest

from engines.subject import ACCOUNT, MANY, ONE, POLICY, THREE, TWO, Subject, batch, raises_as
from oracles import f32
from vectorbucket.errors import (
    BucketNameNotAvailable,
    NoSuchBucket,
    NoSuchVectorIndex,
    RequestTimeout,
    TooManyBuckets,
    VectorBucketIndexAlreadyExist,
    VectorBucketIndexExceedLimit,
    VectorBucketNotEmpty,
    VectorIndexOperationConflict,
)
from vectorbucket_server.model import (
    Bucket,
    BucketLogging,
    DistanceMetric,
    GraphOptions,
    Index,
    Query,
)


def index_named(name: str, bucket_name: str = "things") -> Index:
    """Return a definition that an engine has not seen."""
    return Index(bucket_name, name, 4, DistanceMetric.EUCLIDEAN)


class ControlPlane:
    """Buckets and indexes: what exists, what does not, what is too much."""

    def test_bucket_comes_back_as_it_was_put(self, subject: Subject) -> None:
        bucket = Bucket("some-bucket", "another account", created_ms=2**45 + 1)
        subject.engine.put_bucket(bucket, buckets_max=1)
        assert subject.engine.get_bucket("some-bucket") == bucket

    def test_bucket_that_exists_is_not_available(self, subject: Subject) -> None:
        bucket = subject.put_bucket()
        for account_id in (ACCOUNT, "another"):
            with raises_as(BucketNameNotAvailable):
                subject.engine.put_bucket(Bucket("things", account_id, 0), buckets_max=MANY)
        assert subject.engine.get_bucket("things") == bucket

    def test_account_has_no_more_buckets_than_it_may(self, subject: Subject) -> None:
        for name in ("a", "b"):
            subject.engine.put_bucket(Bucket(name, ACCOUNT, 0), buckets_max=2)
        with raises_as(TooManyBuckets):
            subject.engine.put_bucket(Bucket("c", ACCOUNT, 0), buckets_max=2)
        subject.engine.put_bucket(Bucket("c", "another", 0), buckets_max=2)
        subject.engine.delete_bucket("a")
        subject.engine.put_bucket(Bucket("d", ACCOUNT, 0), buckets_max=2)
        assert [bucket.name for bucket in subject.buckets()] == ["b", "d"]

    def test_taken_name_is_said_before_a_full_account(self, subject: Subject) -> None:
        subject.engine.put_bucket(Bucket("a", ACCOUNT, 0), buckets_max=1)
        with raises_as(BucketNameNotAvailable):
            subject.engine.put_bucket(Bucket("a", ACCOUNT, 0), buckets_max=1)

    def test_bucket_that_does_not_exist_is_named(self, subject: Subject) -> None:
        engine = subject.engine
        calls: list[Callable[[], object]] = [
            lambda: engine.get_bucket("none"),
            lambda: engine.delete_bucket("none"),
            lambda: engine.put_index(index_named("a", "none"), indexes_max=MANY),
            lambda: engine.get_index("none", "a"),
            lambda: engine.list_indexes("none", limit=1),
            lambda: engine.set_bucket_policy("none", "{}"),
            lambda: engine.set_bucket_policy("none", ""),
            lambda: engine.set_bucket_logging("none", BucketLogging("logs")),
            lambda: engine.set_bucket_logging("none", None),
        ]
        for call in calls:
            with pytest.raises(NoSuchBucket, match="none"):
                call()

    @pytest.mark.parametrize(
        "policy", [POLICY, " ", "\x00", "\ufeff{}", "e\u0301", "\U0010ffff", "é" * 16_384]
    )
    def test_policy_comes_back_character_for_character(self, subject: Subject, policy: str) -> None:
        subject.put_bucket()
        subject.engine.set_bucket_policy("things", policy)
        assert subject.engine.get_bucket("things").policy == policy
        if subject.engine.capabilities.persistent:
            subject.restart()
            assert subject.engine.get_bucket("things").policy == policy

    def test_policy_and_logging_of_a_new_bucket_come_back_as_they_were_put(
        self, subject: Subject
    ) -> None:
        bucket = Bucket("things", ACCOUNT, 5, POLICY, BucketLogging("logs", "p/", "r"))
        subject.engine.put_bucket(bucket, buckets_max=1)
        assert subject.engine.get_bucket("things") == bucket

    def test_policy_and_logging_leave_each_other_and_the_rest_alone(self, subject: Subject) -> None:
        index = subject.put_index()
        bucket = subject.engine.get_bucket("things")
        logging = BucketLogging("logs", "p/")
        subject.engine.set_bucket_policy("things", POLICY)
        subject.engine.set_bucket_logging("things", logging)
        assert subject.buckets() == [replace(bucket, policy=POLICY, logging=logging)]
        subject.engine.set_bucket_policy("things", "")
        assert subject.buckets() == [replace(bucket, logging=logging)]
        subject.engine.set_bucket_logging("things", None)
        assert subject.buckets() == [bucket]
        assert subject.engine.get_index("things", "vectors") == index

    def test_bucket_that_is_another_one_than_was_seen_is_left_alone(self, subject: Subject) -> None:
        engine = subject.engine
        now = Bucket("things", "another", 5, POLICY)
        engine.put_bucket(now, buckets_max=1)
        for seen in (replace(now, account_id=ACCOUNT), replace(now, created_ms=4)):
            calls: list[Callable[[], object]] = [
                partial(engine.set_bucket_policy, "things", "", seen=seen),
                partial(engine.set_bucket_logging, "things", BucketLogging("logs"), seen=seen),
                partial(engine.delete_bucket, "things", seen=seen),
            ]
            for call in calls:
                with pytest.raises(NoSuchBucket, match="things"):
                    call()
        assert engine.get_bucket("things") == now
        # Whoever saw it with other settings saw this one.
        seen = replace(now, policy="", logging=BucketLogging("logs"))
        engine.set_bucket_policy("things", "", seen=seen)
        engine.set_bucket_logging("things", None, seen=seen)
        engine.delete_bucket("things", seen=seen)
        with raises_as(NoSuchBucket):
            engine.get_bucket("things")

    def test_policies_and_logging_set_at_once_are_all_kept(self, subject: Subject) -> None:
        bucket = subject.put_bucket()
        last = BucketLogging("logs", "29")

        def set_policies() -> None:
            for number in range(30):
                subject.engine.set_bucket_policy("things", f"policy {number}")

        def set_loggings() -> None:
            for number in range(30):
                subject.engine.set_bucket_logging("things", BucketLogging("logs", str(number)))

        threads = [threading.Thread(target=each) for each in (set_policies, set_loggings)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert subject.buckets() == [replace(bucket, policy="policy 29", logging=last)]

    def test_bucket_with_an_index_is_not_empty(self, subject: Subject) -> None:
        index = subject.put_index()
        with raises_as(VectorBucketNotEmpty):
            subject.engine.delete_bucket("things")
        subject.put(index, ["a"], [ONE])
        subject.engine.delete_index(index)
        subject.engine.delete_bucket("things")
        with raises_as(NoSuchBucket):
            subject.engine.get_bucket("things")

    def test_index_comes_back_as_it_was_put(self, subject: Subject) -> None:
        made = subject.put_index(
            "Vectors1", dimension=4096, metric=DistanceMetric.COSINE, non_filterable_keys=("x", "_")
        )
        assert made.index_id != 0
        assert subject.engine.get_index("things", "Vectors1") == made
        assert (made.dimension, made.metric) == (4096, DistanceMetric.COSINE)
        assert made.non_filterable_keys == ("x", "_")

    @pytest.mark.parametrize(
        "asked",
        [
            GraphOptions(),
            GraphOptions(m=8),
            GraphOptions(ef_search=33),
            GraphOptions(m=4, ef_construction=60, ef_search=200),
        ],
    )
    def test_what_was_asked_of_a_graph_comes_back_and_the_rest_is_the_engines(
        self, subject: Subject, asked: GraphOptions
    ) -> None:
        subject.put_bucket()
        index = replace(index_named("a"), graph=asked)
        made = subject.engine.put_index(index, indexes_max=MANY)
        assert subject.engine.get_index("things", "a") == made
        assert subject.engine.list_indexes("things", limit=2).items == [made]
        for name, value in asdict(asked).items():
            assert value in {None, getattr(made.graph, name)}, name
        assert replace(made, index_id=0, graph=asked) == index

    def test_graph_of_any_options_finds_what_was_put(self, subject: Subject) -> None:
        subject.put_bucket()
        graph = GraphOptions(m=4, ef_construction=60, ef_search=200)
        made = subject.engine.put_index(replace(index_named("a"), graph=graph), indexes_max=MANY)
        subject.put(made, ["one", "two", "three"], [ONE, TWO, THREE])
        subject.settle(made)
        assert [hit.key for hit in subject.query(made, ONE)] == ["one", "two", "three"]
        asked = Query(f32([TWO]), 1, ef_search=7)
        assert [hit.key for hit in subject.engine.query_vectors(made, asked)[0]] == ["two"]

    def test_index_that_exists_is_refused(self, subject: Subject) -> None:
        made = subject.put_index()
        with raises_as(VectorBucketIndexAlreadyExist):
            subject.engine.put_index(index_named("vectors"), indexes_max=1)
        assert subject.engine.get_index("things", "vectors") == made

    def test_bucket_has_no_more_indexes_than_it_may(self, subject: Subject) -> None:
        subject.put_bucket()
        subject.put_bucket("others")
        first = subject.engine.put_index(index_named("a"), indexes_max=1)
        with raises_as(VectorBucketIndexExceedLimit):
            subject.engine.put_index(index_named("b"), indexes_max=1)
        subject.engine.put_index(index_named("b", "others"), indexes_max=1)
        subject.engine.delete_index(first)
        subject.engine.put_index(index_named("b"), indexes_max=1)

    def test_index_that_does_not_exist_is_named(self, subject: Subject) -> None:
        subject.put_index()
        with pytest.raises(NoSuchVectorIndex, match="Vectors"):
            subject.engine.get_index("things", "Vectors")

    def test_one_of_many_makers_of_a_name_wins(self, subject: Subject) -> None:
        subject.put_bucket()
        outcomes: list[type[BaseException] | None] = []

        def make() -> None:
            try:
                subject.engine.put_index(index_named("a"), indexes_max=MANY)
            except VectorBucketIndexAlreadyExist as error:
                outcomes.append(type(error))
            else:
                outcomes.append(None)

        threads = [threading.Thread(target=make) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count(None) == 1
        assert outcomes.count(VectorBucketIndexAlreadyExist) == 5


class PassedDeadline:
    """A caller who waits no longer."""

    def check(self) -> None:
        """Say so."""
        raise RequestTimeout("the deadline passed")

    def remaining_s(self) -> float:
        """Return nothing."""
        return 0.0


class PassingDeadline:
    """A caller who stops waiting between two stages of a call."""

    def __init__(self, checks: int) -> None:
        self._left = checks

    def check(self) -> None:
        """Return so often, then say that the deadline passed."""
        self._left -= 1
        if self._left < 0:
            raise RequestTimeout("the deadline passed")

    def remaining_s(self) -> float:
        """Return enough."""
        return 1.0


class Deadlines:
    """A call whose deadline passed is not begun."""

    def test_put_after_its_deadline_stores_nothing(self, subject: Subject) -> None:
        index = subject.put_index()
        with raises_as(RequestTimeout):
            subject.engine.put_vectors(index, batch(["a"], [ONE]), deadline=PassedDeadline())
        assert subject.keys(index) == []

    def test_delete_after_its_deadline_deletes_nothing(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a"], [ONE])
        with raises_as(RequestTimeout):
            subject.engine.delete_vectors(index, ["a"], deadline=PassedDeadline())
        assert subject.keys(index) == ["a"]

    def test_query_after_its_deadline_ends(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, [f"k{number}" for number in range(30)], [ONE] * 30)
        subject.settle(index)
        with raises_as(RequestTimeout):
            subject.engine.query_vectors(index, Query(f32([ONE]), 5), deadline=PassedDeadline())

    def test_call_whose_deadline_passes_midway_is_done_or_not_done(self, subject: Subject) -> None:
        index = subject.put_index()
        for checks in range(6):
            before = subject.keys(index)
            deadline = PassingDeadline(checks)
            try:
                subject.engine.put_vectors(index, batch([f"k{checks}"], [ONE]), deadline=deadline)
            except RequestTimeout:
                assert subject.keys(index) == before
            else:
                assert subject.keys(index) == [*before, f"k{checks}"]
        assert subject.keys(index)


class Recording:
    """A guard that remembers what it was asked and told."""

    def __init__(self, events: list[str], *, admits: bool = True, name: str = "") -> None:
        self._events = events
        self._admits = admits
        self._name = name

    def admit(self) -> bool:
        """Note the question."""
        self._events.append(f"admit{self._name}")
        return self._admits

    def committed(self) -> None:
        """Note the commit."""
        self._events.append(f"committed{self._name}")


class Guards:
    """A guard has its say under the index's write order."""

    def test_guard_is_asked_before_and_told_after_the_commit(self, subject: Subject) -> None:
        index = subject.put_index()
        events: list[str] = []
        stored = subject.engine.put_vectors(index, batch(["a"], [ONE]), guard=Recording(events))
        assert stored is True
        assert events == ["admit", "committed"]

    def test_batch_that_is_committed_already_is_skipped(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a"], [ONE])
        events: list[str] = []
        guard = Recording(events, admits=False)
        assert subject.engine.put_vectors(index, batch(["a"], [TWO]), guard=guard) is False
        assert events == ["admit"]
        assert subject.query(index, ONE)[0].distance == 0.0

    def test_guard_of_a_deleted_index_is_told_of_no_commit(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.engine.delete_index(index)
        events: list[str] = []
        with raises_as(NoSuchVectorIndex):
            subject.engine.put_vectors(index, batch(["a"], [ONE]), guard=Recording(events))
        assert "committed" not in events

    def test_no_other_write_comes_between_the_question_and_the_commit(
        self, subject: Subject
    ) -> None:
        index = subject.put_index()
        events: list[str] = []

        def write(name: str) -> None:
            for number in range(25):
                guard = Recording(events, name=f" {name}{number}")
                subject.engine.put_vectors(index, batch(["same"], [ONE]), guard=guard)

        threads = [threading.Thread(target=write, args=(name,)) for name in "xyz"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(events) == 2 * 3 * 25
        for admitted, committed in zip(events[::2], events[1::2], strict=True):
            assert committed == admitted.replace("admit", "committed")

    def test_refusal_of_a_guard_is_the_callers_error(self, subject: Subject) -> None:
        class Superseded(Recording):
            def admit(self) -> bool:
                raise VectorIndexOperationConflict("a newer stream took over")

        index = subject.put_index()
        with pytest.raises(VectorIndexOperationConflict, match="a newer stream"):
            subject.engine.put_vectors(index, batch(["a"], [ONE]), guard=Superseded([]))
        subject.put(index, ["a"], [TWO])
        assert subject.keys(index) == ["a"]
