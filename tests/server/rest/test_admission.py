"""The budget of bytes."""

from __future__ import annotations

import pytest

from vectorbucket.errors import QpsLimitExceeded
from vectorbucket_server.rest.admission import SMALL_BYTES, Budget

BIG = SMALL_BYTES + 1


def test_bodies_within_the_budget_are_held_and_given_back() -> None:
    budget = Budget(2 * BIG, "bodies that wait")
    with budget.share() as one, budget.share() as other:
        one.grow_to(BIG)
        other.grow_to(BIG)
        assert budget.bytes_held == 2 * BIG
    assert budget.bytes_held == 0


def test_body_over_the_budget_is_refused_at_once_and_may_come_again() -> None:
    budget = Budget(2 * BIG, "bodies that wait")
    with budget.share() as one:
        one.grow_to(BIG)
        with pytest.raises(QpsLimitExceeded) as caught, budget.share() as other:
            other.grow_to(BIG + 1)
        assert caught.value.retry_after_s is not None
        assert caught.value.details == {"limit": str(2 * BIG)}
        assert f"there are {BIG} bytes of bodies that wait;" in caught.value.message
        assert budget.bytes_held == BIG


def test_body_that_grows_is_counted_once() -> None:
    budget = Budget(10 * BIG, "bodies that wait")
    with budget.share() as share:
        for size_bytes in (BIG, 2 * BIG, 3 * BIG, 3 * BIG, BIG):
            share.grow_to(size_bytes)
        assert budget.bytes_held == 3 * BIG


def test_what_a_refused_body_held_before_is_given_back() -> None:
    budget = Budget(3 * BIG, "bodies that wait")
    with budget.share() as one:
        one.grow_to(BIG)
        with budget.share() as other:
            other.grow_to(BIG)
            with pytest.raises(QpsLimitExceeded):
                other.grow_to(3 * BIG)
        assert budget.bytes_held == BIG


def test_small_bodies_are_not_counted() -> None:
    budget = Budget(BIG, "bodies that wait")
    with budget.share() as big, budget.share() as small:
        big.grow_to(BIG)
        small.grow_to(SMALL_BYTES)
        assert budget.bytes_held == BIG


def test_body_larger_than_the_budget_fits_alone() -> None:
    budget = Budget(BIG, "bodies that wait")
    with budget.share() as share:
        share.grow_to(2 * BIG)
        share.grow_to(3 * BIG)
        with pytest.raises(QpsLimitExceeded), budget.share() as other:
            other.grow_to(BIG)
