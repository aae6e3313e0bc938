"""Numbers in the order of their values: ranges agree with looking at every pair."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable

import numpy as np
import pytest

from rooms import running
from vectorbucket_server.engine.embedded import number_lists
from vectorbucket_server.engine.embedded.number_lists import NumberList
from vectorbucket_server.filters.expression import Comparison

INFINITY = float("inf")

OPERATORS: dict[Comparison, Callable[[float, float], bool]] = {
    Comparison.GT: operator.gt,
    Comparison.GTE: operator.ge,
    Comparison.LT: operator.lt,
    Comparison.LTE: operator.le,
}


def filled(values: list[float], *, per_publish: int = 1_000) -> NumberList:
    """Return a list of values whose slots are their positions, published in pieces."""
    numbers = NumberList()
    for slot, value in enumerate(values):
        numbers.add(value, slot)
        if slot % per_publish == per_publish - 1:
            numbers.publish()
    numbers.publish()
    return numbers


def many(count: int, seed: int = 1) -> list[float]:
    """Return values of which many are equal, and some extreme."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-500, 500, count).astype(float)
    values[rng.integers(count, size=20)] = [-1e308, 1e308, 5e-324, -0.0, 0.0] * 4
    result: list[float] = values.tolist()
    return result


def test_comparisons_are_all_known() -> None:
    assert set(OPERATORS) == set(Comparison)


def test_empty_list_matches_nothing() -> None:
    numbers = NumberList()
    numbers.publish()
    assert numbers.between(-INFINITY, INFINITY).tolist() == []
    assert numbers.between(0.0, 0.0).dtype == np.uint32


def test_added_number_is_seen_after_it_was_published() -> None:
    numbers = NumberList()
    numbers.add(1.0, 7)
    assert numbers.between(1.0, 1.0).tolist() == []
    numbers.publish()
    assert numbers.between(1.0, 1.0).tolist() == [7]
    numbers.publish()
    assert numbers.between(1.0, 1.0).tolist() == [7]


@pytest.mark.parametrize("count", [10, 4_096, 4_097, 30_000])
@pytest.mark.parametrize("per_publish", [1_000, 100_000])
def test_range_agrees_with_looking_at_every_number(count: int, per_publish: int) -> None:
    values = many(count)
    numbers = filled(values, per_publish=per_publish)
    rng = np.random.default_rng(count)
    for _ in range(40):
        low, high = np.sort(rng.choice(values, 2)).tolist()
        for open_low, open_high in ((False, False), (True, False), (False, True), (True, True)):
            found = numbers.between(low, high, open_low=open_low, open_high=open_high)
            expected = [
                slot
                for slot, value in enumerate(values)
                if (low < value if open_low else low <= value)
                and (value < high if open_high else value <= high)
            ]
            assert sorted(found.tolist()) == expected


@pytest.mark.parametrize("comparison", Comparison)
def test_comparison_agrees_with_looking_at_every_number(comparison: Comparison) -> None:
    values = many(9_000)
    numbers = filled(values)
    for operand in (-1e308, -500.0, -0.5, -0.0, 0.0, 5e-324, 3.0, 499.0, 1e308):
        expected = [
            slot for slot, value in enumerate(values) if OPERATORS[comparison](value, operand)
        ]
        assert sorted(numbers.compared([(comparison, operand)]).tolist()) == expected


def test_zero_is_zero_whatever_its_sign() -> None:
    numbers = filled([0.0, -0.0, 1.0])
    assert sorted(numbers.between(-0.0, -0.0).tolist()) == [0, 1]
    assert sorted(numbers.between(0.0, 0.0).tolist()) == [0, 1]
    assert sorted(numbers.compared([(Comparison.GT, -0.0)]).tolist()) == [2]


def test_range_whose_ends_are_crossed_is_empty() -> None:
    numbers = filled(many(6_000))
    assert numbers.between(10.0, -10.0).tolist() == []
    assert numbers.between(10.0, 10.0, open_low=True).tolist() == []
    assert numbers.between(10.0, 10.0, open_high=True).tolist() == []


def test_slot_with_several_numbers_is_found_by_each() -> None:
    numbers = NumberList()
    for value in (1.0, 5.0, 5.0, 9.0):
        numbers.add(value, 3)
    numbers.publish()
    assert set(numbers.between(5.0, 5.0).tolist()) == {3}
    assert set(numbers.between(0.0, 2.0).tolist()) == {3}
    assert numbers.between(2.0, 4.0).tolist() == []


def test_tail_is_merged_when_it_has_grown_to_its_share() -> None:
    numbers = NumberList()
    sizes = []
    for slot in range(60_000):
        numbers.add(float(slot % 977), slot)
        if slot % 500 == 499:
            numbers.publish()
            pairs = numbers._pairs
            assert (np.diff(pairs.values) >= 0).all()
            assert len(pairs.values) == len(pairs.slots)
            assert len(pairs.tail_values) == len(pairs.tail_slots)
            assert len(pairs.values) + len(pairs.tail_values) == slot + 1
            sizes.append(len(pairs.values))
    largest_tail = max(number_lists._TAIL_MIN, max(sizes) // number_lists._TAIL_SHARE)
    assert 60_000 - sizes[-1] <= largest_tail
    assert 5 < len(set(sizes)) < 20, "merges happen, and seldom"


def test_equal_numbers_stay_in_the_order_of_their_slots_through_merges() -> None:
    numbers = filled([1.0] * 20_000, per_publish=3_000)
    assert numbers.between(1.0, 1.0).tolist() == list(range(20_000))


@pytest.mark.parametrize("count", [1, 10, 30_000])
def test_list_is_made_again_of_its_pairs(count: int) -> None:
    numbers = filled(many(count))
    values, slots = numbers.pairs()
    assert (np.diff(values) >= 0).all()
    again = NumberList.of(values, slots)
    assert again.size_bytes == numbers.size_bytes == 12 * count
    for comparison in Comparison:
        found, wanted = again.compared([(comparison, 3.0)]), numbers.compared([(comparison, 3.0)])
        assert np.array_equal(np.sort(found), np.sort(wanted))
    again.add(3.5, count)
    again.publish()
    assert count in again.between(3.5, 3.5)


def test_reader_sees_whole_publications_beside_the_writer() -> None:
    numbers = NumberList()
    done = threading.Event()
    torn: list[int] = []

    def read() -> None:
        last = 0
        while not done.is_set():
            found = numbers.between(-INFINITY, INFINITY)
            if len(found) % 100 or len(found) < last or len(set(found.tolist())) != len(found):
                torn.append(len(found))
            last = len(found)

    with running(read, times=2):
        for first in range(0, 12_000, 100):
            for slot in range(first, first + 100):
                numbers.add(float(slot % 13), slot)
            numbers.publish()
        done.set()
    assert torn == []
    assert len(numbers.between(-INFINITY, INFINITY)) == 12_000


@pytest.mark.parametrize(
    "ends",
    [
        [(Comparison.GTE, 3.0), (Comparison.LT, 7.0)],
        [(Comparison.GT, 3.0), (Comparison.LTE, 7.0)],
        [(Comparison.GT, 3.0), (Comparison.GTE, 3.0), (Comparison.GTE, 2.0)],
        [(Comparison.LTE, 7.0), (Comparison.LT, 7.0), (Comparison.LT, 8.0)],
        [(Comparison.GTE, 7.0), (Comparison.LT, 3.0)],
        [],
    ],
)
def test_several_comparisons_are_one_range(ends: list[tuple[Comparison, float]]) -> None:
    numbers = NumberList()
    for slot in range(10):
        numbers.add(float(slot), slot)
    numbers.publish()
    wanted = [
        s for s in range(10) if all(OPERATORS[one](float(s), operand) for one, operand in ends)
    ]
    assert sorted(numbers.compared(ends).tolist()) == wanted


def test_slot_with_two_numbers_is_noticed_also_after_a_restart() -> None:
    numbers = NumberList()
    numbers.add(1.0, 0)
    numbers.add(2.0, 1)
    numbers.publish()
    before = numbers.is_single, NumberList.of(*numbers.pairs()).is_single
    numbers.add(9.0, 1)
    numbers.publish()
    after = numbers.is_single, NumberList.of(*numbers.pairs()).is_single
    assert (before, after) == ((True, True), (False, False))
    assert NumberList.of(np.empty(0), np.empty(0, dtype=np.uint32)).is_single
