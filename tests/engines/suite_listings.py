"""What the manual of the seam says of listings and counts: pages, segments, statistics.

Rules of this file: those of suite.py; each class is about one concern of the manual.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from engines.subject import ACCOUNT, MANY, ONE, TWO, Subject, raises_as
from oracles import random_grid
from vectorbucket.errors import NoSuchVectorIndex
from vectorbucket_server.model import Bucket, Segment


class Pages:
    """Listings come in pages that fit together, whatever happens between them."""

    def test_pages_of_buckets_fit_together(self, subject: Subject) -> None:
        names = sorted(f"{prefix}-{number}" for prefix in ("x", "xy", "y") for number in range(5))
        for name in reversed(names):
            subject.put_bucket(name)
        subject.engine.put_bucket(Bucket("x-of-another", "another", 0), buckets_max=MANY)
        for prefix, limit in itertools.product(("", "x", "x-", "xy-3", "z"), (1, 2, 5, 100)):
            found: list[str] = []
            after: str | None = ""
            while after is not None:
                page = subject.engine.list_buckets(ACCOUNT, prefix=prefix, after=after, limit=limit)
                assert len(page.items) <= limit
                found += [bucket.name for bucket in page.items]
                after = page.next_after
            assert found == [name for name in names if name.startswith(prefix)]

    def test_pages_of_indexes_fit_together(self, subject: Subject) -> None:
        names = sorted(f"{prefix}{number}" for prefix in ("x", "xy", "X") for number in range(4))
        for name in reversed(names):
            subject.put_index(name)
        subject.put_index("x", bucket_name="things2")
        for prefix, limit in itertools.product(("", "x", "xy", "X3", "z"), (1, 3, 100)):
            found: list[str] = []
            after: str | None = ""
            while after is not None:
                page = subject.engine.list_indexes(
                    "things", prefix=prefix, after=after, limit=limit
                )
                assert len(page.items) <= limit
                found += [index.name for index in page.items]
                after = page.next_after
            assert found == [name for name in names if name.startswith(prefix)]

    def test_page_goes_on_after_a_name_that_is_gone(self, subject: Subject) -> None:
        for name in "abcd":
            subject.put_index(name)
        page = subject.engine.list_indexes("things", limit=2)
        assert page.next_after == "b"
        subject.engine.delete_index(subject.engine.get_index("things", "b"))
        rest = subject.engine.list_indexes("things", after="b", limit=10)
        assert ([index.name for index in rest.items], rest.next_after) == (["c", "d"], None)

    def test_last_page_says_that_nothing_follows(self, subject: Subject) -> None:
        index = subject.put_index()
        empty = subject.engine.list_vectors(index, limit=2, bytes_max=MANY)
        assert (empty.items, empty.next_after) == ([], None)
        subject.put(index, ["a", "b", "c", "d"], [ONE] * 4)
        page = subject.engine.list_vectors(index, limit=2, bytes_max=MANY)
        assert page.next_after == "b"
        page = subject.engine.list_vectors(index, after="b", limit=2, bytes_max=MANY)
        assert ([vector.key for vector in page.items], page.next_after) == (["c", "d"], None)
        page = subject.engine.list_vectors(index, after="d", limit=2, bytes_max=MANY)
        assert (page.items, page.next_after) == ([], None)

    def test_page_ends_at_its_bytes_but_holds_one_vector(self, subject: Subject) -> None:
        index = subject.put_index(dimension=1000)
        keys = [f"k{number}" for number in range(6)]
        subject.put(index, keys, np.ones((6, 1000)), [{"text": "x" * 1000}] * 6)
        sizes = []
        for bytes_max in (1, 9_000, MANY):
            page = subject.engine.list_vectors(
                index, limit=10, bytes_max=bytes_max, data=True, metadata=True
            )
            assert [vector.key for vector in page.items] == keys[: len(page.items)]
            assert page.next_after == (None if len(page.items) == 6 else page.items[-1].key)
            sizes.append(len(page.items))
        assert sizes[0] == 1
        assert 1 <= sizes[1] <= 3
        assert sizes[2] == 6

    def test_keys_that_stay_are_listed_once_whatever_happens_meanwhile(
        self, subject: Subject
    ) -> None:
        index = subject.put_index()
        stay = [f"stay{number:02d}" for number in range(30)]
        come_and_go = [
            f"{prefix}{number}" for prefix in ("s", "stay05", "t") for number in range(5)
        ]
        subject.put(index, stay, [ONE] * 30)
        found: list[str] = []
        after: str | None = ""
        for turn in itertools.count():
            if after is None:
                break
            page = subject.engine.list_vectors(index, after=after, limit=4, bytes_max=MANY)
            found += [vector.key for vector in page.items]
            after = page.next_after
            subject.put(index, stay[turn : turn + 2], [TWO] * len(stay[turn : turn + 2]))
            if turn % 2:
                subject.engine.delete_vectors(index, come_and_go)
            else:
                subject.put(index, come_and_go, [ONE] * len(come_and_go))
        assert [key for key in found if key in stay] == stay
        assert len(set(found)) == len(found)

    def test_get_returns_what_exists_once_each_in_the_order_asked(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a", "b", "c"], [ONE] * 3)
        found = subject.get(index, "c", "missing", "a", "c", "", "a", "b")
        assert [vector.key for vector in found] == ["c", "a", "b"]
        assert subject.get(index, "missing") == []


class Segments:
    """Segments share the keys of an index among callers."""

    @pytest.mark.parametrize("count", [1, 2, 7, 16])
    def test_segments_hold_every_key_once(self, subject: Subject, count: int) -> None:
        index = subject.put_index()
        keys = [f"{'é' * (number % 3)}key{number:03d}" for number in range(100)]
        subject.put(index, keys, random_grid(np.random.default_rng(12), 100, 4))
        found = []
        for position in range(count):
            segment = Segment(position, count)
            mine = [vector.key for vector in subject.listing(index, segment=segment, limit=5)]
            assert all(segment.holds(key.encode()) for key in mine)
            assert mine == sorted(mine, key=str.encode)
            found += mine
        assert sorted(found) == sorted(keys)

    def test_page_of_a_segment_says_whether_more_of_it_follows(self, subject: Subject) -> None:
        index = subject.put_index()
        keys = [f"key{number}" for number in range(40)]
        subject.put(index, keys, [ONE] * 40)
        segment = Segment(1, 4)
        mine = sorted(key for key in keys if segment.holds(key.encode()))
        page = subject.engine.list_vectors(index, limit=len(mine), bytes_max=MANY, segment=segment)
        assert ([vector.key for vector in page.items], page.next_after) == (mine, None)


class Statistics:
    """Counts are exact, and what is pending is part of what is there."""

    def test_vectors_are_counted_exactly(self, subject: Subject) -> None:
        index = subject.put_index()
        engine = subject.engine
        statistics = engine.index_statistics(index)
        assert (statistics.vector_count, statistics.pending_vector_count) == (0, 0)
        keys = [f"k{number}" for number in range(30)]
        subject.put(index, keys, random_grid(np.random.default_rng(13), 30, 4))
        assert engine.index_statistics(index).vector_count == 30
        subject.settle(index)
        subject.put(index, [*keys[:10], "new"], [ONE] * 11)
        assert engine.index_statistics(index).vector_count == 31
        engine.delete_vectors(index, [*keys[5:15], "missing"])
        statistics = engine.index_statistics(index)
        assert statistics.vector_count == 21
        assert 0 <= statistics.pending_vector_count <= 21

    def test_counts_outlive_a_restart(self, subject: Subject) -> None:
        index = subject.put_index()
        subject.put(index, ["a", "b", "c"], [ONE] * 3)
        subject.put(index, ["a"], [TWO])
        subject.engine.delete_vectors(index, ["b"])
        subject.restart()
        if subject.engine.capabilities.persistent:
            assert subject.engine.index_statistics(index).vector_count == 2
        else:
            with raises_as(NoSuchVectorIndex):
                subject.engine.index_statistics(index)
