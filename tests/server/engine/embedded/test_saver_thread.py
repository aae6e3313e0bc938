"""The saver's thread: whom it saves by itself, whom it leaves alone, and what it does at the end.

Method: as in test_saver.py; the thread looks every few milliseconds instead of every second.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lives import names
from rooms import Notes, eventually, make_options, running
from saving import Place, begin_and_fail, instead_of_writing, live, on_disk, put
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import checkpoint as checkpoints
from vectorbucket_server.engine.embedded import saver as module
from vectorbucket_server.engine.embedded.forked import ChildFailed
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.store import Store


@pytest.fixture(name="place")
def fixture_place(store: Store, tmp_path: Path, notes: Notes) -> Place:
    """Return a place whose indexes are due after twenty changes."""
    options = make_options(
        tmp_path, graph_rows_min=10, checkpoint_changes_min=20, checkpoint_changes_share=0.0
    )
    return Place(store, options, notes)


@pytest.fixture(name="hasty", autouse=True)
def fixture_hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the thread look again soon."""
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.005)


def is_saved(room: OpenIndex) -> bool:
    """Return whether everything is in a checkpoint."""
    generation = room.generation
    return generation is not None and not generation.unsaved


def test_what_is_due_is_saved_without_being_asked(place: Place) -> None:
    rooms = [place.make(), place.make()]
    with place.saving():
        eventually(lambda: all(map(is_saved, rooms)), "both are saved")
        put(rooms[0], names(30, 500), 1)
        eventually(lambda: is_saved(rooms[0]), "it is saved again")
    assert place.named(rooms[0])[:1] != place.named(rooms[1])
    assert place.notes.failures == []


def test_what_is_not_due_waits(place: Place) -> None:
    due, small, changed = place.make(), place.make(5), place.make()
    assert place.saver.save(changed)
    changed.delete(names(19), NO_DEADLINE)
    with place.saving():
        eventually(lambda: is_saved(due), "the others are saved")
    assert not on_disk(small)
    assert place.named(changed) == ["checkpoint-1"]


def test_index_that_is_rebuilt_or_not_loaded_is_left_alone(place: Place) -> None:
    busy, closed, due = place.make(), place.make(), place.make()
    busy.is_busy = True
    closed.close()
    with place.saving():
        eventually(lambda: is_saved(due), "the other is saved")
        assert not on_disk(busy)
        busy.is_busy = False
        eventually(lambda: is_saved(busy), "it is saved when it is quiet")
    assert not on_disk(closed)


def test_failure_is_told_and_hinders_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = place.make(), place.make()

    def fail(directory: Path) -> None:
        if directory.parent.parent == broken.directory:
            begin_and_fail(directory)

    instead_of_writing(monkeypatch, fail)
    with place.saving():
        eventually(lambda: is_saved(sound), "the other is saved")
        put(sound, names(30, 500), 1)
        eventually(lambda: is_saved(sound), "the other is saved again")
    ((what, error),) = place.notes.failures
    assert what == "the checkpoint of 'i1'"
    assert isinstance(error, ChildFailed)
    assert "No space left" in str(error)
    assert on_disk(broken) == []


def test_failure_is_tried_again_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AFTER_FAILURE_S", 0.01)
    room = place.make()
    write = instead_of_writing(monkeypatch, begin_and_fail)
    with place.saving():
        eventually(lambda: len(place.notes.failures) >= 2, "it failed and was tried again")
        monkeypatch.setattr(checkpoints, "write", write)
        eventually(lambda: is_saved(room), "it was tried again and worked")
    assert len(live(place.reopened(room))) == 100


# --- The end --------------------------------------------------------------------------------------


def test_stopping_ends_a_thread_that_has_nothing_to_look_after(place: Place) -> None:
    with place.saving() as saver:
        pass
    assert not saver._thread.is_alive()


def test_stopping_does_not_wait_for_the_next_look(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 3_600.0)
    place.make()
    with place.saving() as saver:
        pass
    assert not saver._thread.is_alive()


def test_stopping_finishes_the_checkpoint_under_way_and_begins_no_other(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = [place.make(), place.make()]
    begun, go_on = tmp_path / "begun", tmp_path / "go on"

    def wait(_: Path) -> None:
        begun.touch()
        eventually(go_on.exists, "the child may go on")

    instead_of_writing(monkeypatch, wait)
    place.saver.start()
    eventually(begun.exists, "the child is at work")
    with running(place.saver.stop) as stopping:
        eventually(lambda: place.saver._stopping, "it is told to stop")
        assert stopping[0].is_alive()
        go_on.touch()
    assert not place.saver._thread.is_alive()
    assert [bool(place.named(room)) for room in rooms] == [True, False]


@pytest.mark.parametrize(("changes", "saved"), [(0, False), (1, False), (2, True), (15, True)])
def test_end_saves_what_changed_by_more_than_a_little(
    place: Place, changes: int, *, saved: bool
) -> None:
    room, closed, small = place.make(200), place.make(), place.make(5)
    assert place.saver.save(room)
    room.delete(names(changes), NO_DEADLINE)
    closed.close()
    place.saver.save_all()
    assert (len(place.named(room)) == 2) is saved
    assert place.named(closed) == place.named(small) == []


def test_failure_at_the_end_is_told_and_hinders_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = [place.make(), place.make()]
    failing: list[Callable[[Path], None]] = [begin_and_fail]
    instead_of_writing(
        monkeypatch,
        lambda path: failing[0](path) if path.parent.parent == rooms[0].directory else None,
    )
    place.saver.save_all()
    assert [what for what, _ in place.notes.failures] == ["the checkpoint of 'i1'"]
    assert [len(place.named(room)) for room in rooms] == [0, 1]
