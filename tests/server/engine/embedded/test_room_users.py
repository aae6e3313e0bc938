"""Who keeps an index in memory, and how it leaves when the last of them is done.

Method: users, rebuilds and checkpoints are brought about by hand; what they stand in the way of is
not waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest

from rooms import eventually, numbered, running
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import room as module
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.model import Query


@pytest.fixture(name="hurried")
def fixture_hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for those who work on an index."""
    monkeypatch.setattr(module, "_LEAVE_WAIT_S", 0.01)


def answers_by_key(room: OpenIndex) -> list[str]:
    """Return the keys that a query for everything finds, nearest to the origin first."""
    asked = Query(np.zeros((1, room.index.dimension), np.float32), 1_000, return_metadata=True)
    return [hit.key for hit in room.query(asked, NO_DEADLINE)[0]]


@contextmanager
def rebuilding(room: OpenIndex) -> Any:
    """Say that a rebuild is under way."""
    room.is_busy = True
    yield
    room.is_busy = False


HINDRANCES: dict[str, Callable[[OpenIndex], AbstractContextManager[Any]]] = {
    "query": lambda room: room.using(NO_DEADLINE),
    "rebuild": rebuilding,
    "turn": lambda room: room.work,
    "checkpoint": lambda room: room.saving,
    "writer": lambda room: room._mutex,
}


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("name", HINDRANCES)
def test_index_does_not_leave_while_it_is_used(room: OpenIndex, name: str) -> None:
    room.put(numbered(3)[0], None, None, NO_DEADLINE)
    generation = room.generation
    with HINDRANCES[name](room):
        assert not room.unload()
        assert room.generation is generation
        assert room._budget.taken_bytes
    assert len(answers_by_key(room)) == 3
    assert room.generation is generation
    assert room.unload()


def test_index_leaves_as_soon_as_its_last_user_is_done_and_those_who_come_wait(
    room: OpenIndex,
) -> None:
    room.put(numbered(3)[0], None, None, NO_DEADLINE)
    done, left = threading.Event(), threading.Event()

    def use() -> None:
        with room.using(NO_DEADLINE) as generation:
            assert done.wait(30)
            assert generation.view.keys.at(np.arange(3)) == ["k0", "k1", "k2"]

    def leave() -> None:
        assert room.unload()
        left.set()

    with running(use):
        eventually(lambda: room._users, "it is used")
        with running(leave):
            eventually(lambda: room.generation is None, "it is about to leave")
            with running(lambda: answers_by_key(room)) as asking:
                done.set()
                assert left.wait(30)
                asking[0].join(30)
    assert answers_by_key(room) == ["k0", "k1", "k2"]
    assert not room._users


def test_readers_of_rows_do_not_keep_the_index_in_memory(room: OpenIndex) -> None:
    room.put(numbered(3)[0], None, None, NO_DEADLINE)
    with room.reading():
        assert room.unload()


def test_index_that_leaves_under_who_waits_for_it_is_admitted_again(
    room: OpenIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.put(numbered(3)[0], None, None, NO_DEADLINE)
    assert room.unload()
    admit, admitted = room._budget.admit, []

    def leave_meanwhile(tenant: OpenIndex, needed_bytes: int) -> None:
        admit(tenant, needed_bytes)
        admitted.append(needed_bytes)
        if len(admitted) == 1:
            room._budget.left(tenant)  # as if it had been there and had to leave

    monkeypatch.setattr(room._budget, "admit", leave_meanwhile)
    assert answers_by_key(room) == ["k0", "k1", "k2"]
    assert len(admitted) == 2
    assert room._budget.taken_bytes == room.size_bytes


def test_user_who_fails_is_a_user_no_longer(room: OpenIndex) -> None:
    with pytest.raises(ZeroDivisionError), room.using(NO_DEADLINE):
        raise ZeroDivisionError
    assert room.unload()
