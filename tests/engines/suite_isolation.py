"""What every engine promises of its neighbours: isolated.

Rules of this file: those of suite.py.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest

from engines.subject import ONE, POLICY, THREE, TWO, Promise, Subject, raises_as
from oracles import f32
from vectorbucket.errors import NoSuchVectorIndex
from vectorbucket_server.model import BucketLogging, Index


class Isolated(Promise):
    """What is done to one bucket or index is not seen in another."""

    def test_same_key_in_two_indexes_is_two_vectors(self, subject: Subject) -> None:
        first = subject.put_index("first")
        second = subject.put_index("second", bucket_name="other")
        third = subject.put_index("first", bucket_name="other")
        for index, row in ((first, ONE), (second, TWO), (third, THREE)):
            subject.put(index, ["a"], [row], [{"of": index.name + index.bucket_name}])
        subject.engine.delete_vectors(second, ["a"])
        subject.put(third, ["a"], [TWO])
        assert subject.content(first) == {
            "a": (f32(ONE).tobytes(), {"of": "firstthings"}),
        }
        assert subject.content(second) == {}
        assert [hit.key for hit in subject.query(first, TWO)] == ["a"]
        assert subject.query(second, TWO) == []

    def test_indexes_of_different_dimension_live_side_by_side(self, subject: Subject) -> None:
        indexes = [subject.put_index(f"d{size}", dimension=size) for size in (1, 2, 300)]
        for index in indexes:
            subject.put(index, ["a", "b"], np.eye(2, index.dimension) + 1)
        for index in indexes:
            subject.settle(index)
            assert subject.query(index, np.ones(index.dimension) * 9, top_k=1)[0].key == "a"

    def test_index_made_again_under_a_name_is_empty(self, subject: Subject) -> None:
        old = subject.put_index()
        kept = subject.put_index("kept")
        subject.put(old, ["a"], [ONE], [{"n": 1.0}])
        subject.put(kept, ["a"], [TWO])
        subject.settle(old)
        subject.engine.delete_index(old)
        new = subject.put_index()
        assert subject.content(new) == {}
        assert subject.query(new, ONE) == []
        assert subject.query(new, ONE, raw_filter={"n": 1}) == []
        subject.put(new, ["b"], [TWO])
        assert [hit.key for hit in subject.query(new, ONE)] == ["b"]
        assert subject.keys(kept) == ["a"]

    def test_policy_and_logging_of_a_bucket_are_not_seen_in_another(self, subject: Subject) -> None:
        other = subject.put_bucket("other")
        subject.put_bucket("things")
        subject.engine.set_bucket_policy("things", POLICY)
        subject.engine.set_bucket_logging("things", BucketLogging("other"))
        assert subject.engine.get_bucket("other") == other
        subject.engine.delete_bucket("other")
        bucket = subject.engine.get_bucket("things")
        assert (bucket.policy, bucket.logging) == (POLICY, BucketLogging("other"))

    def test_policy_and_logging_are_gone_with_their_bucket(self, subject: Subject) -> None:
        bucket = subject.put_bucket()
        for _ in range(2):
            subject.engine.set_bucket_policy("things", POLICY)
            subject.engine.set_bucket_logging("things", BucketLogging("logs"))
            subject.engine.delete_bucket("things")
            if subject.engine.capabilities.persistent:
                subject.restart()
            assert subject.put_bucket() == bucket
            assert subject.engine.get_bucket("things") == bucket

    @pytest.mark.parametrize("made_again", [False, True])
    def test_handle_of_a_deleted_index_finds_nothing(
        self, subject: Subject, *, made_again: bool
    ) -> None:
        old = subject.put_index()
        subject.put(old, ["a"], [ONE])
        subject.engine.delete_index(old)
        if made_again:
            subject.put(subject.put_index(), ["a"], [ONE])
        engine = subject.engine
        for call in (
            lambda: subject.put(old, ["b"], [ONE]),
            lambda: subject.get(old, "a"),
            lambda: subject.listing(old),
            lambda: subject.query(old, ONE),
            lambda: subject.query(old, ONE, raw_filter={"n": 1}),
            lambda: engine.delete_vectors(old, ["a"]),
            lambda: engine.index_statistics(old),
            lambda: engine.delete_index(old),
        ):
            with raises_as(NoSuchVectorIndex):
                call()
        if made_again:
            assert subject.keys(engine.get_index("things", "vectors")) == ["a"]

    def test_many_threads_write_to_many_indexes(self, subject: Subject) -> None:
        indexes = [subject.put_index(f"i{number}") for number in range(4)]

        def write(index: Index, part: str) -> None:
            for number in range(15):
                subject.put(index, [f"{part}-{number}"], [ONE], [{"of": index.name}])

        threads = [
            threading.Thread(target=write, args=(index, part)) for index in indexes for part in "ab"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index in indexes:
            found = subject.listing(index)
            assert len(found) == 30
            assert {str(one.metadata) for one in found} == {str({"of": index.name})}
