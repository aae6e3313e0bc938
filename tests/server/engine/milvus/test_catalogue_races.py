"""Definitions under races, through two connections to a real Milvus: of many makers one wins.

Time: a race takes about 0.1 s, nearly all of it in Milvus. So the ordinary run has a hundred races
of makers and some dozens of others; ``--long`` has hundreds of each, of twice as many threads.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import cycle, islice

import pytest

from long_runs import Rounds
from rooms import BUCKET, MANY, WITHIN_S, eventually, make_index, refused, running
from vectorbucket.errors import (
    BucketNameNotAvailable,
    NoSuchBucket,
    NoSuchVectorIndex,
    TooManyBuckets,
    VectorBucketIndexAlreadyExist,
    VectorBucketIndexExceedLimit,
    VectorBucketNotEmpty,
)
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.model import Bucket, Index

THREADS = 8
"""Threads of a race, with ``--long``; half of them otherwise."""


@pytest.fixture(name="both")
def fixture_both(make_catalogue: Callable[..., Catalogue]) -> tuple[Catalogue, Catalogue]:
    """Return two servers' catalogues of one database."""
    return make_catalogue(), make_catalogue()


def bucket(name: str) -> Bucket:
    """Return a bucket to make."""
    return replace(BUCKET, name=name)


def index(name: str, bucket_name: str = BUCKET.name) -> Index:
    """Return an index to make."""
    return replace(make_index(name=name), bucket_name=bucket_name, index_id=0)


def at_once(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Run calls in a thread each, all begun at once; return what came of each, in order."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait(WITHIN_S)
        return refused(call)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def kinds(outcomes: list[object]) -> dict[type, int]:
    """Return how often each type stands in a list."""
    found = [type(outcome) for outcome in outcomes]
    return {kind: found.count(kind) for kind in set(found)}


def test_one_of_many_makes_the_bucket_each_time(
    both: tuple[Catalogue, Catalogue], rounds: Rounds
) -> None:
    threads = rounds(THREADS // 2, THREADS)
    for number in range(rounds(50, 500)):
        name = f"race-{number}"
        made = [
            replace(bucket(name), created_ms=turn, policy=f"of {turn}") for turn in range(threads)
        ]
        calls = [
            partial(each.put_bucket, one, buckets_max=MANY)
            for each, one in zip(cycle(both), made, strict=False)
        ]
        outcomes = at_once(calls)
        assert kinds(outcomes) == {type(None): 1, BucketNameNotAvailable: threads - 1}
        winner = made[outcomes.index(None)]
        assert [each.get_bucket(name) for each in both] == [winner, winner]


def test_one_of_many_makes_the_index_each_time(
    both: tuple[Catalogue, Catalogue], rounds: Rounds
) -> None:
    both[0].put_bucket(BUCKET, buckets_max=MANY)
    threads = rounds(THREADS // 2, THREADS)
    for number in range(rounds(50, 500)):
        name = f"race{number}"
        calls = [
            partial(each.put_index, index(name), indexes_max=MANY)
            for each in islice(cycle(both), threads)
        ]
        outcomes = at_once(calls)
        assert kinds(outcomes) == {Index: 1, VectorBucketIndexAlreadyExist: threads - 1}
        (winner,) = (one for one in outcomes if isinstance(one, Index))
        assert [each.get_index(BUCKET.name, name) for each in both] == [winner, winner]


def test_bucket_is_deleted_or_gets_an_index_and_never_both(
    both: tuple[Catalogue, Catalogue], rounds: Rounds
) -> None:
    one, other = both
    chance = random.Random(6)
    seen: set[type] = set()
    for number in range(rounds(30, 500)):
        name = f"race-{number}"
        one.put_bucket(bucket(name), buckets_max=MANY)
        # Each is sometimes far ahead, and mostly in the midst of the other.
        ahead_s = (-0.1, 0.1)[number] if number < 2 else chance.uniform(-0.03, 0.03)
        put = partial(one.put_index, index("a", name), indexes_max=9)
        made, deleted = at_once(
            [
                partial(after, ahead_s, put),
                partial(after, -ahead_s, partial(other.delete_bucket, name)),
            ]
        )
        seen.add(type(made))
        if isinstance(made, Index):
            assert isinstance(deleted, VectorBucketNotEmpty)
            assert [each.get_index(name, "a") for each in both] == [made, made]
        else:
            assert isinstance(made, NoSuchBucket)
            assert deleted is None
            assert [type(refused(partial(each.get_bucket, name))) for each in both] == [
                NoSuchBucket,
                NoSuchBucket,
            ]
    assert seen == {Index, NoSuchBucket}


def after(seconds: float, call: Callable[[], object]) -> object:
    """Call something a little later, if the time is not negative."""
    threading.Event().wait(max(0.0, seconds))
    return call()


def test_bucket_made_anew_while_others_delete_it_is_there_when_that_was_said(
    both: tuple[Catalogue, Catalogue], rounds: Rounds
) -> None:
    for number in range(rounds(5, 100)):
        name = f"race-{number}"
        both[0].put_bucket(bucket(name), buckets_max=MANY)
        outcomes = at_once([partial(each.delete_bucket, name) for each in (*both, *both)])
        assert kinds(outcomes) == {type(None): 1, NoSuchBucket: 3}
        again = replace(bucket(name), created_ms=number + 6)
        both[1].put_bucket(again, buckets_max=MANY)
        assert both[0].get_bucket(name) == again


def test_one_of_many_deletes_the_index(both: tuple[Catalogue, Catalogue], rounds: Rounds) -> None:
    both[0].put_bucket(BUCKET, buckets_max=MANY)
    for _ in range(rounds(5, 100)):
        made = both[0].put_index(index("a"), indexes_max=1)
        outcomes = at_once([partial(each.delete_index, made) for each in (*both, *both)])
        assert kinds(outcomes) == {type(None): 1, NoSuchVectorIndex: 3}


def test_limits_are_never_exceeded(both: tuple[Catalogue, Catalogue]) -> None:
    both[0].put_bucket(BUCKET, buckets_max=MANY)
    names = [f"n{number}" for number in range(THREADS)]
    calls = [
        partial(each.put_bucket, bucket(name), buckets_max=4)
        for each, name in zip(cycle(both), names, strict=False)
    ]
    outcomes = at_once(calls)
    made = outcomes.count(None)
    assert kinds(outcomes).get(TooManyBuckets, 0) == THREADS - made
    assert made <= 3
    assert len(both[0].bucket_names()) == made + 1
    calls_for_indexes = [
        partial(each.put_index, index(name), indexes_max=4)
        for each, name in zip(cycle(both), names, strict=False)
    ]
    outcomes = at_once(calls_for_indexes)
    count = kinds(outcomes).get(Index, 0)
    assert kinds(outcomes).get(VectorBucketIndexExceedLimit, 0) == THREADS - count
    assert count <= 4
    assert len(both[1].list_indexes(BUCKET.name, limit=MANY).items) == count


def test_bucket_is_deleted_or_gets_a_policy_and_never_comes_back(
    both: tuple[Catalogue, Catalogue], rounds: Rounds
) -> None:
    for number in range(rounds(5, 100)):
        name = f"race-{number}"
        both[0].put_bucket(bucket(name), buckets_max=MANY)
        said, deleted = at_once(
            [
                partial(both[0].set_bucket_policy, name, "{}"),
                partial(both[1].delete_bucket, name),
            ]
        )
        assert deleted is None
        assert said is None or isinstance(said, NoSuchBucket)
        for each in both:
            assert isinstance(refused(partial(each.get_bucket, name)), NoSuchBucket)
        both[0].put_bucket(bucket(name), buckets_max=MANY)
        assert both[1].get_bucket(name) == bucket(name)


def test_settings_made_through_two_servers_at_once_are_all_kept(
    both: tuple[Catalogue, Catalogue],
) -> None:
    one, other = both
    one.put_bucket(BUCKET, buckets_max=MANY)
    logging = BUCKET.logging

    def set_policies() -> None:
        for number in range(10):
            one.set_bucket_policy(BUCKET.name, f"policy {number}")

    with running(set_policies):
        for _ in range(10):
            other.set_bucket_logging(BUCKET.name, logging)
    eventually(lambda: other.get_bucket(BUCKET.name).policy == "policy 9", "the last one is seen")
