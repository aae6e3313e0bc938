"""Checkpoints are written when they are due, whole or not at all, and nobody waits for them.

Method: real children write real files. A child that is to be held waits for a file that the test
makes; it holds nothing else of this process.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from lives import names
from rooms import (
    Notes,
    Refusals,
    eventually,
    make_options,
    running,
)
from saving import Place, begin_and_fail, instead_of_writing, live, on_disk, put
from vectorbucket.errors import NoSuchVectorIndex, ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import checkpoint as checkpoints
from vectorbucket_server.engine.embedded import saver as module
from vectorbucket_server.engine.embedded.forked import ChildFailed
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.rebuild import Rebuild
from vectorbucket_server.engine.embedded.saver import is_due
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Query

LONG_S = 3_600.0


# --- When -----------------------------------------------------------------------------------------


def due(unsaved: int, live: int, since_s: float, *, has_graph: bool = True) -> bool:
    """Return whether such a generation is due: from 20 changes or half of it on, or after 300 s."""
    generation = SimpleNamespace(has_graph=has_graph, unsaved=unsaved, live_count=live)
    options = EmbeddedOptions(
        Path(), checkpoint_changes_min=20, checkpoint_changes_share=0.5, checkpoint_interval_s=300
    )
    return is_due(cast("Generation", generation), since_s, options)


@pytest.mark.parametrize(
    ("unsaved", "live", "since_s", "expected"),
    [
        (19, 20, 0.0, False),  # few
        (20, 20, 0.0, True),  # enough
        (20, 40, 0.0, True),  # just half
        (20, 41, 0.0, False),  # less than half
        (499, 1_000, 299.9, False),
        (500, 1_000, 0.0, True),
        (11, 1_000, 300.0, True),  # long ago, and more than one in a hundred
        (11, 1_000, 299.9, False),
        (10, 1_000, LONG_S, False),  # one in a hundred waits, however long
        (0, 1_000, LONG_S, False),
        (1, 0, 300.0, True),  # everything died
    ],
)
def test_checkpoint_is_due_after_much_or_after_a_while(
    unsaved: int, live: int, since_s: float, *, expected: bool
) -> None:
    assert due(unsaved, live, since_s) is expected


@pytest.mark.parametrize("unsaved", [0, 20, 10**6])
def test_index_without_a_graph_is_never_due(unsaved: int) -> None:
    assert not due(unsaved, 20, LONG_S, has_graph=False)


# --- One checkpoint -------------------------------------------------------------------------------


@pytest.fixture(name="place")
def fixture_place(store: Store, tmp_path: Path, notes: Notes) -> Place:
    """Return a place without indexes."""
    return Place(store, make_options(tmp_path, graph_rows_min=10, checkpoint_changes_min=20), notes)


def test_two_checkpoints_are_kept_and_no_more(place: Place) -> None:
    room = place.make()
    for number in range(1, 5):
        put(room, names(10, number * 100), number)
        assert place.saver.save(room)
        expected = [f"checkpoint-{one}" for one in (number, number - 1) if one]
        assert place.named(room) == expected
        assert [one.name for one in room.checkpoints] == expected
        assert on_disk(room) == sorted(f"1/{name}" for name in expected)
    assert len(live(place.reopened(room))) == 140
    assert place.notes.failures == []


def test_nothing_new_is_not_written_again(place: Place) -> None:
    room = place.make()
    assert place.saver.save(room)
    before = room.saved_s
    assert not place.saver.save(room)
    assert place.named(room) == ["checkpoint-1"]
    assert room.saved_s == before
    room.delete(names(1), NO_DEADLINE)
    assert place.saver.save(room)


def test_index_without_graph_or_memory_is_not_written(place: Place) -> None:
    room, small = place.make(), place.make(5)
    assert not place.saver.save(small)
    room.close()
    assert not place.saver.save(room)
    assert on_disk(room) == on_disk(small) == []


def test_index_that_was_dropped_is_refused_and_no_failure_behind(place: Place) -> None:
    room = place.make()
    room.drop(lambda: None)
    with pytest.raises(NoSuchVectorIndex):
        place.saver.save(room)
    place.saver.save_all()
    assert place.notes.failures == []
    assert on_disk(room) == []


def test_who_is_in_a_hurry_writes_none_and_leaves_what_was_there_before(place: Place) -> None:
    room = place.make()
    assert place.saver.save(room)
    put(room, names(10, 100), 1)
    place.saver._hurried.set()
    place.saver.save_all()
    # Nor is one that has begun finished.
    with pytest.raises(ChildFailed, match="nobody waits"):
        place.saver.save(room)
    assert place.notes.failures == []
    assert on_disk(room) == ["1/checkpoint-1"]
    assert place.named(room) == ["checkpoint-1"]
    assert len(live(place.reopened(room))) == 110


def test_store_names_a_checkpoint_only_when_its_files_are_there(
    place: Place, writes: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = place.make()
    seen: list[list[str]] = []

    def look(made: Any) -> None:
        seen.append(on_disk(room))
        writes(made)

    monkeypatch.setattr(place.store, "write", look)
    assert place.saver.save(room)
    assert seen == [["1/checkpoint-1"]]
    (checkpoint,) = room.checkpoints
    checkpoints.load(checkpoint, room.directory / "1", room.index, place.options.m)


# --- Beside it ------------------------------------------------------------------------------------


@pytest.fixture(name="hold")
def fixture_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Return how to let a child stand before its first write until the file returned is there.

    Once it stands, there is a file ``begun`` beside it.
    """

    def hold() -> Path:
        begun, go_on = tmp_path / "begun", tmp_path / "go on"

        def wait(_: Path) -> None:
            begun.touch()
            eventually(go_on.exists, "the child may go on")

        instead_of_writing(monkeypatch, wait)
        return go_on

    return hold


@contextmanager
def held(place: Place, room: OpenIndex, go_on: Path) -> Iterator[None]:
    """Run a block while a child stands before its first write; let the checkpoint end then."""
    with running(lambda: place.saver.save(room)):
        try:
            eventually(go_on.with_name("begun").exists, "the child is at work")
            yield
        finally:
            go_on.touch()


def test_everything_goes_on_while_the_child_writes_and_nothing_is_lost(
    place: Place, hold: Callable[[], Path]
) -> None:
    room = place.make()
    with held(place, room, hold()):
        put(room, names(50, 90), 1)  # ten of them over others, and all of them into the graph
        room.delete(names(5), NO_DEADLINE)
        expected = names(135, 5)
        (hits,) = room.query(Query(np.zeros((1, 4), np.float32), 1_000), NO_DEADLINE)
        assert sorted(hit.key for hit in hits) == expected
        assert place.named(room) == []
    (checkpoint,) = room.checkpoints
    assert (checkpoint.count, checkpoint.graphed) == (100, 100)
    generation = room.load(NO_DEADLINE)
    assert generation.unsaved == 50 + 10 + 5 + 50  # came, died, deleted, went into the graph
    again = place.reopened(room)
    assert live(again) == expected
    assert (again.graphed, again.view.count) == (100, 150)
    assert place.notes.failures == []


def test_generation_that_is_replaced_meanwhile_stays_beside_its_successor(
    place: Place, hold: Callable[[], Path]
) -> None:
    room = place.make()
    room.delete(names(50), NO_DEADLINE)
    with held(place, room, hold()):
        rebuild = Rebuild(room, room.load(NO_DEADLINE), place.store, place.options)
        while not rebuild.finish(1_000):
            rebuild.step(1_000, 1)
        rebuild.sweep()
        put(room, names(5, 200), 1)
    assert sorted(path.name for path in room.directory.iterdir()) == ["1", "2"]
    assert room.load(NO_DEADLINE).directory.name == "2"
    put(room, names(5, 300), 2)
    assert place.saver.save(room)
    assert on_disk(room) == ["2/checkpoint-1"]
    assert [path.name for path in room.directory.iterdir()] == ["2"]
    assert live(place.reopened(room)) == names(50, 50) + names(5, 200) + names(5, 300)


def test_index_that_is_dropped_meanwhile_is_saved_for_nobody_and_without_a_failure(
    place: Place, hold: Callable[[], Path]
) -> None:
    room = place.make()
    with held(place, room, hold()):
        room.drop(lambda: None)
    assert place.notes.failures == []


# --- Failures -------------------------------------------------------------------------------------


def begin_and_die(directory: Path) -> None:
    """Die as a process does that the system has no more memory for."""
    directory.mkdir()
    (directory / "graph.hnsw").write_bytes(b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("fail", "told"), [(begin_and_fail, "No space left"), (begin_and_die, "status -9")]
)
def test_checkpoint_that_fails_leaves_what_was_there_before(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[Path], None],
    told: str,
) -> None:
    room = place.make()
    assert place.saver.save(room)
    put(room, names(50, 100), 1)
    unsaved = room.load(NO_DEADLINE).unsaved
    write = instead_of_writing(monkeypatch, fail)
    with pytest.raises(ChildFailed, match=told):
        place.saver.save(room)
    assert on_disk(room) == ["1/checkpoint-1"]
    assert place.named(room) == ["checkpoint-1"]
    assert room.load(NO_DEADLINE).unsaved == unsaved
    monkeypatch.setattr(checkpoints, "write", write)
    assert place.saver.save(room)
    assert len(live(place.reopened(room))) == 150


def test_checkpoint_that_the_store_does_not_name_is_removed(place: Place, writes: Refusals) -> None:
    room = place.make()
    writes.on = True
    with pytest.raises(ServiceUnavailable):
        place.saver.save(room)
    assert on_disk(room) == []
    assert room.checkpoints == []
    writes.on = False
    assert place.saver.save(room)


def test_child_that_takes_too_long_is_ended(
    place: Place, hold: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = place.make()
    hold()
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(module, "_PATIENCE_BYTES_PER_S", 1e12)
    with pytest.raises(ChildFailed, match="did not end"):
        place.saver.save(room)
    assert on_disk(room) == []


def test_system_without_room_for_a_child_stops_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = place.make()

    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(OSError, match="unavailable"):
        place.saver.save(room)
    monkeypatch.undo()
    put(room, names(5, 100), 1)
    assert place.saver.save(room)
