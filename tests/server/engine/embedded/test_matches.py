"""What matches, asked in either form: the slots in order, and whether they hold a slot."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from vectorbucket_server.engine.embedded.matches import Matches

QUICK = settings(derandomize=True, database=None, deadline=None, max_examples=200)

COUNT = 300


def listed(slots: list[int]) -> npt.NDArray[np.uint32]:
    """Return slots as a list of numbers gives them."""
    return np.array(slots, dtype=np.uint32)


SLOTS = st.lists(st.integers(0, COUNT + 50), max_size=60)


@QUICK
@given(slots=SLOTS, asked=st.lists(st.integers(0, COUNT - 1), max_size=20), as_bitmap=st.booleans())
def test_slots_and_single_questions_agree(
    *, slots: list[int], asked: list[int], as_bitmap: bool
) -> None:
    true = sorted({slot for slot in slots if slot < COUNT})
    for slots_first in (True, False):
        matches = Matches(BitMap(slots) if as_bitmap else listed(slots), COUNT)
        if slots_first:
            assert matches.slots().tolist() == true
        held = matches.hold(np.array(asked, dtype=np.int64))
        assert held.tolist() == [slot in true for slot in asked]
        assert matches.slots().tolist() == true
        assert list(matches) == true
        assert len(matches) >= len(true)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("as_bitmap", [True, False])
def test_many_and_few_matches_are_put_in_order(*, share: float, as_bitmap: bool) -> None:
    rng = np.random.default_rng(1)
    slots = rng.permutation(10_000)[: int(10_000 * share)]
    matches = Matches(BitMap(slots.tolist()) if as_bitmap else listed(slots.tolist()), 10_000)
    assert np.array_equal(matches.slots(), np.sort(slots))
    assert matches.slots().dtype == np.intp
    assert len(matches) == len(slots)


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (3, 5), (40, 300), (2, 0)])
@pytest.mark.parametrize("as_bitmap", [True, False])
def test_question_has_an_answer_of_its_shape(*, shape: tuple[int, ...], as_bitmap: bool) -> None:
    even = list(range(0, 5_000, 2))
    matches = Matches(BitMap(even) if as_bitmap else listed(even), 5_000)
    asked = np.random.default_rng(1).integers(0, 5_000, shape)
    held = matches.hold(asked)
    assert held.dtype == np.bool_
    assert np.array_equal(held, asked % 2 == 0)


@pytest.mark.parametrize("nothing", [BitMap(), listed([])])
@pytest.mark.parametrize("count", [0, 5])
def test_nothing_matches(nothing: BitMap | npt.NDArray[np.uint32], count: int) -> None:
    matches = Matches(nothing, count)
    assert not matches
    assert matches.slots().tolist() == []
    assert not matches.hold(np.arange(count)).any()


def test_slot_that_is_listed_twice_matches_once() -> None:
    for count in (10, 10_000):
        assert Matches(listed([7, 3, 7, 7]), count).slots().tolist() == [3, 7]


def test_bitmap_that_grows_meanwhile_is_cut_and_left_alone() -> None:
    growing = BitMap([1, 4])
    matches = Matches(growing, 5)
    growing.update(range(5, 90))
    assert matches.slots().tolist() == [1, 4]
    assert matches.hold(np.arange(5)).tolist() == [False, True, False, False, True]
    assert growing == BitMap([1, 4, *range(5, 90)])
