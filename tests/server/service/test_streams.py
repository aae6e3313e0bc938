"""Which stream is current, and what an id has stored."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from vectorbucket.errors import VectorIndexOperationConflict
from vectorbucket_server.service.streams import (
    RANGES_MAX,
    PutStream,
    StoredNumbers,
    StreamRegistry,
    superseded_error,
)


def nothing() -> None:
    """Stand for a stream that needs not be told."""


def stored(*numbers: int) -> StoredNumbers:
    known = StoredNumbers()
    for number in numbers:
        known.add(number)
    return known


def commit(stream: PutStream, number: int) -> bool:
    """Do what an engine does with a batch; return whether it was applied."""
    guard = stream.guard(number)
    if not guard.admit():
        return False
    guard.committed()
    return True


@pytest.fixture
def registry() -> StreamRegistry:
    return StreamRegistry(ids_max=3)


# --- Numbers --------------------------------------------------------------------------------------


def test_no_number_is_stored_at_first() -> None:
    assert 1 not in stored()
    assert len(stored()) == 0


def test_consecutive_numbers_take_one_range() -> None:
    known = stored(*range(1, 10_001))
    assert len(known) == 1
    assert 1 in known
    assert 10_000 in known
    assert 10_001 not in known
    assert 0 not in known


def test_gaps_are_not_stored() -> None:
    known = stored(1, 2, 5, 6, 9)
    assert [number for number in range(12) if number in known] == [1, 2, 5, 6, 9]
    assert len(known) == 3


def test_number_that_fills_a_gap_makes_the_later_ones_unknown() -> None:
    known = stored(1, 2, 4, 5)
    known.add(3)
    assert [number for number in range(8) if number in known] == [1, 2, 3]


def test_number_below_all_makes_all_unknown() -> None:
    known = stored(5, 6, 7)
    known.add(2)
    assert [number for number in range(9) if number in known] == [2]


def test_number_inside_a_range_cuts_it() -> None:
    known = stored(1, 2, 3, 4)
    known.add(2)
    assert [number for number in range(6) if number in known] == [1, 2]


def test_only_the_latest_ranges_are_kept() -> None:
    known = stored(*range(2, 1_000, 2))
    assert len(known) == RANGES_MAX
    assert 998 in known
    assert 2 not in known


def test_largest_batch_number_is_a_number_like_others() -> None:
    known = stored(1, 2**64 - 2, 2**64 - 1)
    assert 2**64 - 1 in known
    assert 2**63 not in known


def test_what_is_stored_was_added_after_everything_lower() -> None:
    # The property that makes skipping correct: nothing below a stored number came after it.
    chance = random.Random(11)
    known, history = StoredNumbers(), list[int]()
    for _ in range(1_000):
        number = chance.randrange(1, 60)
        if number not in known:
            known.add(number)
            history.append(number)
        for one in range(1, 60):
            if one in known:
                last = len(history) - 1 - history[::-1].index(one)
                assert all(later > one for later in history[last + 1 :])


# --- Streams --------------------------------------------------------------------------------------


def test_stream_stores_each_number_once(registry: StreamRegistry) -> None:
    stream = registry.open(1, "s", nothing)
    assert commit(stream, 1)
    assert not commit(stream, 1)
    assert commit(stream, 2)


def test_rejected_number_is_not_taken_for_stored(registry: StreamRegistry) -> None:
    stream = registry.open(1, "s", nothing)
    assert stream.guard(1).admit()
    stream.close()
    assert commit(registry.open(1, "s", nothing), 1)


def test_resumed_stream_knows_what_its_predecessor_stored(registry: StreamRegistry) -> None:
    first = registry.open(1, "s", nothing)
    commit(first, 1)
    commit(first, 2)
    first.close()
    second = registry.open(1, "s", nothing)
    assert not commit(second, 1)
    assert not commit(second, 2)
    assert commit(second, 3)


def test_newer_stream_supersedes_the_older_and_tells_it(registry: StreamRegistry) -> None:
    told: list[str] = []
    older = registry.open(1, "s", lambda: told.append("older"))
    newer = registry.open(1, "s", lambda: told.append("newer"))
    assert told == ["older"]
    with pytest.raises(VectorIndexOperationConflict, match="took this one's place"):
        older.guard(1).admit()
    assert commit(newer, 1)


def test_batch_that_was_admitted_before_the_newer_stream_came_counts(
    registry: StreamRegistry,
) -> None:
    older = registry.open(1, "s", nothing)
    guard = older.guard(1)
    assert guard.admit()
    newer = registry.open(1, "s", nothing)
    guard.committed()
    assert not commit(newer, 1)


def test_superseded_stream_that_closes_does_not_end_the_newer(registry: StreamRegistry) -> None:
    older = registry.open(1, "s", nothing)
    newer = registry.open(1, "s", nothing)
    older.close()
    assert commit(newer, 1)
    newer.close()
    newer.close()
    assert not commit(registry.open(1, "s", nothing), 1)


def test_stream_that_was_closed_commits_nothing(registry: StreamRegistry) -> None:
    stream = registry.open(1, "s", nothing)
    stream.close()
    with pytest.raises(VectorIndexOperationConflict):
        stream.guard(1).admit()


def test_same_id_on_another_index_is_another_stream(registry: StreamRegistry) -> None:
    one = registry.open(1, "s", nothing)
    other = registry.open(2, "s", nothing)
    assert commit(one, 1)
    assert commit(other, 1)


def test_oldest_closed_ids_are_forgotten(registry: StreamRegistry) -> None:
    for name in "abcd":
        stream = registry.open(1, name, nothing)
        commit(stream, 1)
        stream.close()
    assert commit(registry.open(1, "a", nothing), 1)
    assert not commit(registry.open(1, "d", nothing), 1)


def test_open_stream_is_never_forgotten(registry: StreamRegistry) -> None:
    kept = registry.open(1, "kept", nothing)
    commit(kept, 1)
    for number in range(20):
        stream = registry.open(1, f"s{number}", nothing)
        commit(stream, 1)
        stream.close()
    assert not commit(kept, 1)
    assert not commit(registry.open(1, "kept", nothing), 1)


def test_stream_of_a_forgotten_id_can_never_commit_again() -> None:
    registry = StreamRegistry(ids_max=1)
    zombie = registry.open(1, "s", nothing)
    registry.open(1, "s", nothing).close()
    registry.open(1, "other", nothing).close()
    newest = registry.open(1, "s", nothing)
    with pytest.raises(VectorIndexOperationConflict):
        zombie.guard(1).admit()
    assert commit(newest, 1)


def test_many_streams_and_ids_agree_with_a_plain_account(registry: StreamRegistry) -> None:
    chance = random.Random(3)
    current: dict[str, PutStream] = {}
    superseded: list[PutStream] = []
    committed: dict[str, list[int]] = {"a": [], "b": []}
    for _ in range(3_000):
        name = chance.choice("ab")
        if name not in current or chance.random() < 0.05:
            if name in current:
                superseded.append(current[name])
            current[name] = registry.open(1, name, nothing)
        number = chance.randrange(1, 40)
        applied = commit(current[name], number)
        last = max(committed[name], default=0)
        assert applied == (number not in committed[name])
        if applied:
            committed[name] = [one for one in committed[name] if one < number] + [number]
        assert applied or number <= last
    for stream in superseded:
        with pytest.raises(VectorIndexOperationConflict):
            stream.guard(99).admit()


def test_error_of_a_superseded_stream_names_it() -> None:
    error = superseded_error("5f1c")
    assert error.details == {"stream_id": "5f1c"}
    assert "'5f1c'" in error.message


def test_opening_tells_the_older_stream_without_holding_the_registry(
    registry: StreamRegistry,
) -> None:
    opened: list[PutStream] = []
    again: Callable[[], None] = lambda: opened.append(registry.open(1, "other", nothing))  # noqa: E731
    registry.open(1, "s", again)
    registry.open(1, "s", nothing)
    assert len(opened) == 1
