"""Permits of streams, and the budget of message bytes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vectorbucket.errors import QpsLimitExceeded, RequestTimeout
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.service.admission import SMALL_BYTES, ByteBudget, StreamPermits

BIG = SMALL_BYTES + 1
WAIT_S = 20.0


class Cancellable:
    """A deadline that passes when a test says so."""

    def __init__(self) -> None:
        self.passed = False
        self.asked = threading.Event()

    def check(self) -> None:
        self.asked.set()
        if self.passed:
            raise RequestTimeout("cancelled by the test")

    def remaining_s(self) -> float | None:
        return None


def test_permits_are_as_many_as_said_and_come_back() -> None:
    permits = StreamPermits(2)
    with permits.hold():
        with permits.hold(), pytest.raises(QpsLimitExceeded) as caught, permits.hold():
            pass
        with permits.hold():
            pass
    assert caught.value.retry_after_s is not None
    assert caught.value.details == {"limit": "2"}
    assert "the limit is 2" in caught.value.message


def test_permit_of_a_call_that_fails_comes_back() -> None:
    permits = StreamPermits(1)
    for _ in range(3):
        with pytest.raises(KeyError), permits.hold():
            raise KeyError("a fault of the call")


def test_messages_within_the_budget_do_not_wait() -> None:
    budget = ByteBudget(3 * BIG)
    with (
        budget.hold(BIG, NO_DEADLINE, 0.0),
        budget.hold(BIG, NO_DEADLINE, 0.0),
        budget.hold(BIG, NO_DEADLINE, 0.0),
    ):
        pass


def test_message_over_the_budget_is_refused_after_its_wait() -> None:
    budget = ByteBudget(2 * BIG)
    with budget.hold(2 * BIG, NO_DEADLINE, 0.0):
        with pytest.raises(QpsLimitExceeded) as caught, budget.hold(BIG, NO_DEADLINE, 0.0):
            pass
        assert str(2 * BIG) in caught.value.message
        assert caught.value.details == {"value": str(BIG), "limit": str(2 * BIG)}
        assert caught.value.retry_after_s is not None
    with budget.hold(BIG, NO_DEADLINE, 0.0):
        pass


def test_small_messages_never_wait() -> None:
    budget = ByteBudget(1)
    with budget.hold(BIG, NO_DEADLINE, 0.0), budget.hold(SMALL_BYTES, NO_DEADLINE, 0.0):
        pass


def test_message_larger_than_the_budget_has_its_turn_alone() -> None:
    budget = ByteBudget(BIG)
    with (
        budget.hold(10 * BIG, NO_DEADLINE, 0.0),
        pytest.raises(QpsLimitExceeded),
        budget.hold(BIG, NO_DEADLINE, 0.0),
    ):
        pass
    with budget.hold(10 * BIG, NO_DEADLINE, 0.0):
        pass


def test_bytes_of_a_call_that_fails_come_back() -> None:
    budget = ByteBudget(BIG)
    for _ in range(3):
        with pytest.raises(KeyError), budget.hold(BIG, NO_DEADLINE, 0.0):
            raise KeyError("a fault of the call")


def test_who_waits_goes_on_when_bytes_come_back() -> None:
    budget = ByteBudget(BIG)
    waiting, served = Cancellable(), threading.Event()

    def wait() -> None:
        with budget.hold(BIG, waiting, None):
            served.set()

    with ThreadPoolExecutor() as pool:
        with budget.hold(BIG, NO_DEADLINE, 0.0):
            future = pool.submit(wait)
            assert waiting.asked.wait(WAIT_S)
            assert not served.is_set()
        future.result(WAIT_S)
    assert served.is_set()


def test_who_waits_stops_when_his_call_ends_and_leaves_the_queue() -> None:
    budget = ByteBudget(BIG)
    waiting = Cancellable()

    def wait() -> None:
        with budget.hold(BIG, waiting, None):
            raise AssertionError("it must not have had its turn")

    with ThreadPoolExecutor() as pool:
        with budget.hold(BIG, NO_DEADLINE, 0.0):
            future = pool.submit(wait)
            assert waiting.asked.wait(WAIT_S)
            waiting.passed = True
            assert isinstance(future.exception(WAIT_S), RequestTimeout)
        with budget.hold(BIG, NO_DEADLINE, 0.0):
            pass


def test_large_message_is_not_overtaken_by_those_that_would_fit() -> None:
    budget = ByteBudget(2 * BIG)
    large, later = Cancellable(), Cancellable()
    order: list[str] = []

    def take(name: str, size: int, deadline: Cancellable) -> None:
        with budget.hold(size, deadline, None):
            order.append(name)

    with ThreadPoolExecutor() as pool:
        with budget.hold(BIG, NO_DEADLINE, 0.0):
            first = pool.submit(take, "large", 2 * BIG, large)
            assert large.asked.wait(WAIT_S)
            second = pool.submit(take, "later", BIG, later)
            assert later.asked.wait(WAIT_S)
            assert order == []
        first.result(WAIT_S)
        second.result(WAIT_S)
    assert order == ["large", "later"]


def test_budget_is_never_exceeded_under_load() -> None:
    budget, lock = ByteBudget(3 * BIG), threading.Lock()
    held, highest = 0, 0

    def work(size: int) -> None:
        nonlocal held, highest
        for _ in range(20):
            with budget.hold(size, NO_DEADLINE, None):
                with lock:
                    held += size
                    highest = max(highest, held)
                time.sleep(0)
                with lock:
                    held -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [BIG, 2 * BIG, 3 * BIG, BIG, BIG, 2 * BIG, BIG, BIG]))
    assert held == 0
    assert highest <= 3 * BIG
