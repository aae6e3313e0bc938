"""Which errors are tried again, and after how long: with a clock and a chance of the test's own."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

import pytest

from vectorbucket import RetryPolicy, VectorBucketError
from vectorbucket._retry import Patience, may_retry
from vectorbucket.errors import (
    TABLE,
    AccessDenied,
    Forbidden,
    InternalError,
    InvalidAccessKeyId,
    NoSuchBucket,
    QpsLimitExceeded,
    RequestTimeout,
    RequestTimeTooSkewed,
    ServiceUnavailable,
    VectorIndexOperationConflict,
)

STEADY = RetryPolicy(jitter=0.0)


@dataclass
class Watch:
    """A clock that is set by hand."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def middle() -> float:
    """Return what chance would on average."""
    return 0.5


def broken() -> ServiceUnavailable:
    """Return what a client makes of a broken connection: nobody asked for a delay."""
    error = ServiceUnavailable("socket closed")
    error.retry_after_s = 0.0
    return error


def test_delays_double_up_to_their_limit() -> None:
    delays = [STEADY.delay_s(failures, 0.0, middle) for failures in range(1, 9)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


@pytest.mark.parametrize("failures", [100, 10_000, 10**9])
def test_delay_after_very_many_failures_is_still_its_limit(failures: int) -> None:
    assert STEADY.delay_s(failures, 0.0, middle) == 5.0


def test_jitter_takes_away_up_to_its_share_and_never_adds() -> None:
    policy = RetryPolicy(jitter=0.5)
    assert policy.delay_s(1, 0.0, lambda: 0.0) == 0.1
    assert policy.delay_s(1, 0.0, middle) == pytest.approx(0.075)
    chance = random.Random(3).random
    delays = [policy.delay_s(4, 0.0, chance) for _ in range(1000)]
    assert 0.4 < min(delays) < 0.41
    assert 0.79 < max(delays) <= 0.8


def test_what_the_server_asks_for_is_never_shortened() -> None:
    policy = RetryPolicy(jitter=1.0)
    assert policy.delay_s(1, 7.5, lambda: 0.999) == 7.5
    assert STEADY.delay_s(7, 2.0, middle) == 5.0


@pytest.mark.parametrize("leaf", TABLE)
def test_only_an_absent_server_or_one_that_asks_is_tried_again(
    leaf: type[VectorBucketError],
) -> None:
    silent = leaf("no RetryInfo")
    silent.retry_after_s = None
    asking = leaf("with RetryInfo", retry_after_s=1.5)
    assert may_retry(silent) is (leaf is ServiceUnavailable)
    assert may_retry(silent, repeatable=False) is False
    # A caller who is refused for who he is stays who he is, whatever a proxy asks for.
    assert may_retry(asking) is not issubclass(leaf, Forbidden)
    assert may_retry(asking, repeatable=False) is not issubclass(leaf, Forbidden)


def test_broken_connection_is_tried_again_only_where_twice_is_as_good_as_once() -> None:
    assert may_retry(broken())
    assert not may_retry(broken(), repeatable=False)


@pytest.mark.parametrize(
    "error",
    [
        RequestTimeout("late"),
        InternalError("oops"),
        NoSuchBucket.of("photos"),
        VectorIndexOperationConflict("superseded"),
        AccessDenied("not yours"),
        InvalidAccessKeyId("no such key"),
        InvalidAccessKeyId("no such key", retry_after_s=0.1),
        RequestTimeTooSkewed("signed an hour ago"),
    ],
)
def test_other_errors_end_patience_at_once(error: VectorBucketError) -> None:
    assert Patience(STEADY, 60.0, Watch(), middle).delay_s(error) is None


def test_patience_bears_one_failure_fewer_than_there_are_attempts() -> None:
    patience = Patience(STEADY, 60.0, Watch(), middle, failures_max=3)
    assert [patience.delay_s(broken()) for _ in range(4)] == [0.1, 0.2, None, None]


def test_patience_without_a_count_ends_with_its_budget() -> None:
    watch = Watch()
    patience = Patience(STEADY, 10.0, watch, middle)
    waited = 0.0
    while (delay := patience.delay_s(broken())) is not None:
        watch.now_s += delay
        waited += delay
    assert 10.0 - STEADY.delay_s_max < waited < 10.0


def test_budget_counts_from_the_first_failure_and_not_from_the_last_success() -> None:
    watch = Watch()
    patience = Patience(STEADY, 10.0, watch, middle)
    watch.now_s += 3600.0
    assert patience.delay_s(broken()) == 0.1


def test_progress_makes_patience_whole_again() -> None:
    watch = Watch()
    patience = Patience(STEADY, 1.0, watch, middle, failures_max=4)
    for _ in range(50):
        assert patience.delay_s(broken()) == 0.1
        watch.now_s += 0.5
        assert patience.delay_s(broken()) == 0.2
        watch.now_s += 0.6
        patience.progressed()


def test_wait_that_would_outlast_the_budget_is_not_begun() -> None:
    patience = Patience(STEADY, 10.0, Watch(), middle)
    assert patience.delay_s(QpsLimitExceeded("busy", retry_after_s=10.5)) is None
    assert patience.delay_s(QpsLimitExceeded("busy", retry_after_s=9.5)) == 9.5


def test_delays_of_two_clients_that_lost_the_same_server_drift_apart() -> None:
    policy = RetryPolicy()
    one, other = random.Random(1).random, random.Random(2).random
    delays = [
        (policy.delay_s(failures, 0.0, one), policy.delay_s(failures, 0.0, other))
        for failures in range(1, 7)
    ]
    assert all(first != second for first, second in delays)
    assert all(before < after for (before, _), (after, _) in pairwise(delays[::2]))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"attempts_max": 0}, "attempts_max is 0"),
        ({"first_delay_s": -1.0}, "must be 0 or more"),
        ({"delay_s_max": -0.1}, "must be 0 or more"),
        ({"factor": 0.5}, "factor is 0.5"),
        ({"jitter": 1.5}, "jitter is 1.5"),
        ({"jitter": -0.1}, "jitter is -0.1"),
    ],
)
def test_policy_that_makes_no_sense_is_refused(settings: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        RetryPolicy(**settings)  # type: ignore[arg-type]
