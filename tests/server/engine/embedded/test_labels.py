"""Slots in label order, deaths by seq, and arrays that readers hold while they are replaced."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from vectorbucket_server.engine.embedded.labels import NEVER, LabelArray, Labels


def labels_of(*numbers: int) -> LabelArray:
    """Return labels, uint64 of shape (n,)."""
    return np.array(numbers, dtype=np.uint64)


def slots_of(*numbers: int) -> npt.NDArray[np.intp]:
    """Return slots, intp of shape (n,)."""
    return np.array(numbers, dtype=np.intp)


@pytest.fixture(name="labels")
def fixture_labels() -> Labels:
    """Return four labels with gaps between them."""
    labels = Labels()
    labels.append(labels_of(3, 5, 9))
    labels.append(labels_of(20))
    return labels


def test_labels_take_slots_in_the_order_they_come(labels: Labels) -> None:
    assert labels.count == 4
    assert labels.by_slot[: labels.count].tolist() == [3, 5, 9, 20]


def test_slots_are_found_by_label_in_any_order(labels: Labels) -> None:
    assert labels.slots(labels_of(20, 3, 9, 3)).tolist() == [3, 0, 2, 0]


def test_no_labels_have_no_slots(labels: Labels) -> None:
    assert labels.slots(labels_of()).tolist() == []
    assert Labels().slots(labels_of()).tolist() == []


@pytest.mark.parametrize("wrong", [1, 4, 21, 2**64 - 1])
def test_label_that_is_not_here_is_refused(labels: Labels, wrong: int) -> None:
    with pytest.raises(ValueError, match="no slot"):
        labels.slots(labels_of(3, wrong))


def test_label_is_refused_where_there_is_none_at_all() -> None:
    with pytest.raises(ValueError, match="no slot"):
        Labels().slots(labels_of(1))


def test_room_reserved_beyond_the_count_holds_no_labels(labels: Labels) -> None:
    assert len(labels.by_slot) > labels.count
    labels.by_slot[labels.count :] = 77  # what happens to lie there
    with pytest.raises(ValueError, match="no slot"):
        labels.slots(labels_of(77))


def test_labels_up_to_the_largest_number_are_kept_apart() -> None:
    labels = Labels()
    labels.append(labels_of(2**53, 2**53 + 1, 2**64 - 2))
    assert labels.slots(labels_of(2**53 + 1, 2**64 - 2, 2**53)).tolist() == [1, 2, 0]


def test_slots_live_until_they_are_killed(labels: Labels) -> None:
    assert (labels.died[: labels.count] == NEVER).all()
    labels.kill(slots_of(1, 3), 8)
    assert labels.died[: labels.count].tolist() == [NEVER, 8, NEVER, 8]


def test_never_is_later_than_every_change() -> None:
    assert int(NEVER) == 2**64 - 1
    assert np.uint64(2**63) < NEVER


def test_growth_keeps_labels_and_deaths() -> None:
    labels = Labels()
    labels.append(np.arange(1, 1_001, dtype=np.uint64))
    labels.kill(slots_of(0, 999), 4)
    before = labels.by_slot
    labels.append(np.arange(2_000, 7_000, dtype=np.uint64))
    assert labels.by_slot is not before, "the arrays were to grow"
    assert labels.count == 6_000
    assert labels.slots(labels_of(1, 1_000, 2_000, 6_999)).tolist() == [0, 999, 1_000, 5_999]
    assert np.flatnonzero(labels.died[: labels.count] != NEVER).tolist() == [0, 999]
    assert labels.died[999] == 4


def test_growth_leaves_room_so_that_it_is_rare() -> None:
    labels = Labels()
    arrays: list[LabelArray] = []
    for label in range(1, 20_001, 10):
        labels.append(np.arange(label, label + 10, dtype=np.uint64))
        if not arrays or labels.by_slot is not arrays[-1]:
            arrays.append(labels.by_slot)
    assert labels.count == 20_000
    assert len(arrays) < 12


def test_reader_that_holds_old_arrays_still_sees_its_moment() -> None:
    labels = Labels()
    labels.append(np.arange(1, 1_025, dtype=np.uint64))
    labels.kill(slots_of(7), 2)
    seq, count, died, by_slot = 2, labels.count, labels.died, labels.by_slot
    labels.append(np.arange(2_000, 9_000, dtype=np.uint64))
    labels.kill(slots_of(0, 1_024), 3)
    assert labels.died is not died, "the arrays were to grow"
    alive = np.flatnonzero(died[:count] > seq)
    assert alive.tolist() == [slot for slot in range(1_024) if slot != 7]
    assert by_slot[:count].tolist() == list(range(1, 1_025))


def test_death_after_a_readers_seq_does_not_reach_it(labels: Labels) -> None:
    died, count = labels.died, labels.count
    labels.kill(slots_of(0), 6)
    assert (died[:count] > 5).all(), "who took seq 5 sees the slot alive"
    assert (died[:count] > 6).tolist() == [False, True, True, True]


def test_new_slots_live_whatever_lay_in_the_room_reserved_for_them(labels: Labels) -> None:
    labels.died[labels.count :] = 1
    labels.append(labels_of(30, 31))
    assert labels.died[4:6].tolist() == [NEVER, NEVER]


def test_labels_of_a_checkpoint_are_gone_on_with() -> None:
    labels = Labels()
    labels.resume(labels_of(3, 5, 9), np.array([False, True, False]))
    assert labels.count == 3
    assert labels.slots(labels_of(9, 3)).tolist() == [2, 0]
    assert (labels.died[:3] > 0).tolist() == [True, False, True], "dead for who sees seq 0 too"
    labels.append(labels_of(*range(20, 3_000)))
    labels.kill(slots_of(0), 7)
    assert labels.slots(labels_of(3, 2_999)).tolist() == [0, 2_982]
    assert labels.died[:4].tolist() == [7, 0, NEVER, NEVER]


def test_no_labels_may_be_gone_on_with() -> None:
    labels = Labels()
    labels.resume(labels_of(), np.zeros(0, dtype=np.bool_))
    labels.append(labels_of(4))
    assert labels.slots(labels_of(4)).tolist() == [0]


def test_size_is_that_of_both_arrays(labels: Labels) -> None:
    assert Labels().size_bytes == 0
    assert labels.size_bytes == 16 * len(labels.by_slot) > 0
