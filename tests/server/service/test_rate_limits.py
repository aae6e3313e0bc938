"""Token buckets under a clock of the test's own, and the table that rates are given in."""

from __future__ import annotations

import re

import pytest

from rooms import GivenUp
from vectorbucket.errors import QpsLimitExceeded, RequestTimeout
from vectorbucket_server.auth.actions import ACTIONS
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.service.rate_limits import (
    OPERATIONS,
    OSS_RATES,
    SWEPT_FROM,
    OperationRate,
    RateLimits,
    TokenBucket,
    checked_rates,
)


class Clock:
    """A clock that stands still until it is told, or until somebody pauses."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        """Let the time pass that somebody waits."""
        self.pauses.append(seconds)
        self.now_s += seconds


def make_rate(rate: float, clock: Clock) -> OperationRate:
    return OperationRate("PutVectors", rate, clock, clock.pause)


def waited(rate: OperationRate, clock: Clock, caller: str = "a") -> float:
    """Return how long a stream of the caller waits for its turn."""
    before = clock.now_s
    rate.wait(caller, NO_DEADLINE)
    return clock.now_s - before


# --- Buckets --------------------------------------------------------------------------------------


def test_bucket_has_a_seconds_worth_of_tokens_and_fills_at_its_pace() -> None:
    bucket = TokenBucket(5, 0.0)
    assert [bucket.take(0.0) for _ in range(5)] == [0.0] * 5
    assert bucket.take(0.0) == pytest.approx(0.2)
    assert bucket.take(0.1) == pytest.approx(0.1)
    assert bucket.take(0.2) == 0.0
    assert bucket.take(0.2) == pytest.approx(0.2)


def test_bucket_never_holds_more_than_a_seconds_worth() -> None:
    bucket = TokenBucket(3, 0.0)
    assert [bucket.take(1_000.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(1 / 3)]


def test_rate_below_one_a_second_lets_one_through_at_a_time() -> None:
    bucket = TokenBucket(0.1, 0.0)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(0.0) == pytest.approx(10.0)
    assert bucket.take(10.0) == 0.0


def test_over_a_long_time_a_bucket_gives_what_its_rate_says() -> None:
    bucket = TokenBucket(7, 0.0)
    taken = sum(bucket.take(step / 100) == 0.0 for step in range(10_001))
    assert taken == pytest.approx(700 + 7, abs=1)


def test_reserved_tokens_come_one_after_the_other() -> None:
    bucket = TokenBucket(2, 0.0)
    waits = [bucket.reserve(0.0) for _ in range(5)]
    assert waits == [0.0, 0.0, pytest.approx(0.5), pytest.approx(1.0), pytest.approx(1.5)]
    # Who takes none in advance comes after all of them.
    assert bucket.take(0.0) == pytest.approx(2.0)


def test_token_that_is_given_back_is_there_for_the_next() -> None:
    bucket = TokenBucket(1, 0.0)
    assert bucket.reserve(0.0) == 0.0
    bucket.give_back()
    assert bucket.take(0.0) == 0.0
    assert bucket.take(0.0) > 0


# --- The rate of an operation ---------------------------------------------------------------------


def test_call_too_many_hears_when_the_next_is_welcome() -> None:
    clock = Clock()
    rate = make_rate(5, clock)
    for _ in range(5):
        rate.take("reader")
    with pytest.raises(QpsLimitExceeded, match=r"PutVectors .* 5 times a second by 'reader'") as it:
        rate.take("reader")
    assert it.value.retry_after_s == pytest.approx(0.2)
    assert it.value.details == {"operation": "PutVectors", "limit": "5"}
    clock.now_s += it.value.retry_after_s or 0
    rate.take("reader")


def test_callers_have_tokens_of_their_own() -> None:
    rate = make_rate(1, Clock())
    rate.take("a")
    rate.take("b")
    with pytest.raises(QpsLimitExceeded):
        rate.take("a")


def test_who_has_no_name_is_not_given_one() -> None:
    rate = make_rate(1, Clock())
    rate.take("")
    with pytest.raises(QpsLimitExceeded) as caught:
        rate.take("")
    assert "by" not in caught.value.message


def test_stream_waits_for_its_turn_and_no_longer() -> None:
    clock = Clock()
    rate = make_rate(4, clock)
    waits = [waited(rate, clock) for _ in range(7)]
    assert waits == [pytest.approx(wait) for wait in (0, 0, 0, 0, 0.25, 0.25, 0.25)]
    assert max(clock.pauses) <= 0.05


def test_stream_that_gives_up_waiting_leaves_its_turn_to_the_next() -> None:
    clock = Clock()
    rate = make_rate(1, clock)
    rate.take("a")
    for _ in range(10):
        with pytest.raises(RequestTimeout):
            rate.wait("a", GivenUp())
    assert waited(rate, clock) == pytest.approx(1.0)


def test_callers_who_stay_away_are_forgotten() -> None:
    clock = Clock()
    rate = make_rate(1, clock)
    for number in range(50 * SWEPT_FROM):
        rate.take(f"caller-{number}")
        clock.now_s += 0.1
    assert len(rate) <= 2 * SWEPT_FROM


def test_caller_who_is_not_at_rest_is_not_forgotten() -> None:
    clock = Clock()
    rate = make_rate(1, clock)
    for number in range(3 * SWEPT_FROM):
        rate.take(f"caller-{number}")
    with pytest.raises(QpsLimitExceeded):
        rate.take("caller-0")


# --- Names ----------------------------------------------------------------------------------------


def test_rpcs_count_for_the_operation_whose_work_they_do() -> None:
    clock = Clock()
    limits = RateLimits({"PutVectors": 1, "QueryVectors": 1}, clock=clock, pause=clock.pause)
    assert limits.of("PutVectors") is not None
    assert limits.of("PutVectorsBatch") is limits.of("PutVectors")
    assert limits.of("QueryVectorsBatch") is limits.of("QueryVectors")
    for rpc in ("ListVectors", "ScanVectors", "Check", "ServerReflectionInfo", "GetMetrics", ""):
        assert limits.of(rpc) is None


def test_every_operation_can_have_a_rate() -> None:
    assert set(OPERATIONS) == {action.removeprefix("oss:") for action in ACTIONS.values()}
    clock = Clock()
    limits = RateLimits(dict.fromkeys(OPERATIONS, 1.0), clock=clock, pause=clock.pause)
    assert all(limits.of(rpc) is not None for rpc in ACTIONS)


def test_documented_rates_are_rates() -> None:
    assert checked_rates(dict(OSS_RATES)) == OSS_RATES


def test_names_are_understood_in_letters_of_any_case() -> None:
    # So they come from the environment.
    table = {"queryvectors": "100", "PUTVECTORS": 0.5, "GetVectors": 3}
    assert checked_rates(table) == {"QueryVectors": 100.0, "PutVectors": 0.5, "GetVectors": 3.0}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"QueryVector": 1}, "there is no operation 'QueryVector'; there is QueryVectors"),
        ({"PutVectorsBatch": 1}, "there is no operation 'PutVectorsBatch'; there is PutVectors"),
        ({"oss:PutVectors": 1}, "there is no operation 'oss:PutVectors'; there is PutVectors"),
        ({"xyz": 1}, "there is no operation 'xyz'"),
        ({"QueryVectors": "many"}, "QueryVectors is 'many', which is no number"),
        ({"QueryVectors": [1]}, "QueryVectors is [1], which is no number"),
        ({"QueryVectors": 0}, "QueryVectors is 0; it must be more than 0"),
        ({"QueryVectors": "-1"}, "QueryVectors is '-1'; it must be more than 0"),
        ({"QueryVectors": "nan"}, "QueryVectors is 'nan'; it must be more than 0"),
        ({"QueryVectors": "inf"}, "QueryVectors is 'inf'; it must be more than 0, and 1e9"),
    ],
)
def test_bad_rate_is_named(table: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        checked_rates(table)
