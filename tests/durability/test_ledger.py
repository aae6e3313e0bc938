"""Tests of ledger.py: it accepts what may be found after a crash, and nothing else."""

from __future__ import annotations

from itertools import islice

import pytest

from durability.ledger import Ledger, Operation, data_of, metadata_of, part_of, random_operations

DIMENSION = 3
FIRST = Operation(("a", "b"), 1)
SECOND = Operation(("b", "c"), 2)
THIRD = Operation(("a",), 0)


def content_of(versions: dict[str, int]) -> dict[str, tuple[bytes, dict[str, object]]]:
    """Return what a store that is right holds."""
    return {
        key: (data_of(key, version, DIMENSION).tobytes(), dict(metadata_of(key, version)))
        for key, version in versions.items()
    }


def ledger() -> Ledger:
    """Return a book in which the first is acknowledged and two are under way."""
    book = Ledger(DIMENSION)
    book.begun(FIRST)
    book.begun(SECOND)
    book.answered()
    book.begun(THIRD)
    return book


@pytest.mark.parametrize(
    ("versions", "applied"),
    [({"a": 1, "b": 1}, 0), ({"a": 1, "b": 2, "c": 2}, 1), ({"b": 2, "c": 2}, 2)],
)
def test_first_ones_of_what_was_under_way_may_be_there(
    versions: dict[str, int], applied: int
) -> None:
    book = ledger()
    assert book.settle(content_of(versions)) == applied
    assert book.settled == versions
    assert book.under_way == []
    assert book.acknowledged == 1


@pytest.mark.parametrize(
    ("versions", "complaint"),
    [
        ({"a": 1}, "missing, b among"),
        ({"a": 1, "b": 2}, "the data of b are not those of version 1"),
        ({"a": 1, "b": 1, "c": 2}, "should not be there, c among"),
        ({"a": 1, "b": 1, "ghost": 2}, "ghost"),
        ({"b": 1}, "missing, a among"),
        ({}, "2 keys are missing"),
    ],
)
def test_losses_halves_and_ghosts_are_refused(versions: dict[str, int], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        ledger().settle(content_of(versions))


def test_metadata_of_another_version_are_refused() -> None:
    content = content_of({"a": 1, "b": 1})
    content["a"] = (content["a"][0], dict(metadata_of("a", 2)))
    with pytest.raises(AssertionError, match="the metadata of a are not those of version 1"):
        ledger().settle(content)


def test_random_operations_are_the_same_for_a_seed_and_mix_puts_with_deletes() -> None:
    first, second = (
        list(islice(random_operations(5, "x", keys=40, batch_max=9, delete_share=0.3), 50))
        for _ in range(2)
    )
    assert first == second
    assert {operation.deletes for operation in first} == {True, False}
    assert all(len(set(operation.keys)) == len(operation.keys) <= 9 for operation in first)
    versions = [operation.version for operation in first if not operation.deletes]
    assert len(set(versions)) == len(versions)


def test_part_of_content_is_chosen_by_prefix() -> None:
    content = content_of({"a1": 1, "a2": 1, "b1": 1})
    assert set(part_of(content, "a")) == {"a1", "a2"}
