"""What nobody can see goes: all of it, after its readers, and after every interruption."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from rooms import (
    BUCKET,
    MANY,
    Notes,
    Refusals,
    eventually,
    make_index,
    make_room,
    numbered,
    records_of,
    refused,
)
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import reaper as module
from vectorbucket_server.engine.embedded.catalog import Catalog
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.reaper import Reaper
from vectorbucket_server.engine.embedded.saver import Saver
from vectorbucket_server.engine.embedded.schema import (
    Family,
    checkpoints_key,
    drop_key,
    index_range,
    state_key,
)
from vectorbucket_server.engine.embedded.store import Store

DATA_FAMILIES = [family for family in Family if family is not Family.CATALOG]


class House:
    """A catalogue with indexes, what a reaper needs of an engine."""

    def __init__(self, store: Store, options: EmbeddedOptions, notes: Notes) -> None:
        self.store = store
        self.notes = notes
        self.rooms: list[OpenIndex] = []
        self.generations = options.data_dir / "generations"
        self.options = options
        self.catalog = Catalog(store)
        self.catalog.put_bucket(BUCKET, MANY)

    def make(self) -> OpenIndex:
        """Make an index with six vectors, of which one was overwritten and one deleted."""
        name = f"i{len(self.rooms)}"
        room = make_room(
            self.store,
            self.options,
            self.catalog.put_index(make_index(name=name), MANY),
            self.notes,
        )
        room.put(numbered(7)[0], None, None, NO_DEADLINE)
        room.put(numbered(1, start=3)[0], None, None, NO_DEADLINE)
        room.delete(["k5"], NO_DEADLINE)
        self.rooms.append(room)
        return room

    def drop(self, room: OpenIndex) -> None:
        """Drop an index as an engine does, but for the reaper's part."""
        room.drop(lambda: self.catalog.drop_index(room.index))
        self.rooms.remove(room)

    @contextmanager
    def reaping(self, dropped: Sequence[int] = ()) -> Iterator[Reaper]:
        """Yield a reaper at work; stop it at the end."""
        reaper = Reaper(self.store, lambda: self.rooms, self.generations, self.notes)
        reaper.start(dropped)
        try:
            yield reaper
        finally:
            reaper.stop()

    def left(self, index_id: int) -> dict[str, int]:
        """Return how many records each family still holds of an index, where there are any."""
        start, stop = index_range(index_id)
        counts = {
            family.value: len(list(self.store.scan(family, start, stop)))
            for family in DATA_FAMILIES
        }
        for name, key in (
            ("state", state_key(index_id)),
            ("drop", drop_key(index_id)),
            ("checkpoints", checkpoints_key(index_id)),
        ):
            counts[name] = int(self.store.get(Family.CATALOG, key) is not None)
        return {name: count for name, count in counts.items() if count}

    def folder(self, room: OpenIndex) -> Path:
        """Return where the generations of an index are."""
        return self.generations / str(room.index.index_id)


FULL = {"vectors": 6, "rows": 8, "data": 8, "changes": 2, "state": 1}
CLEAN = {"vectors": 6, "rows": 6, "data": 6, "state": 1}


@pytest.fixture(name="house")
def fixture_house(store: Store, options: EmbeddedOptions, notes: Notes) -> House:
    """Return a house without indexes."""
    return House(store, options, notes)


@pytest.fixture(name="hasty")
def fixture_hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reaper look again soon."""
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.005)


# --- Dead rows ------------------------------------------------------------------------------------


def test_dead_rows_go_when_the_reaper_is_woken(house: House) -> None:
    rooms = [house.make(), house.make()]
    with house.reaping() as reaper:
        eventually(lambda: house.left(2) == CLEAN, "what died before the start is gone")
        rooms[0].put(numbered(2)[0], None, None, NO_DEADLINE)
        reaper.wake()
        eventually(lambda: house.left(1) == CLEAN, "what died later is gone")
    assert rooms[0].get(["k0", "k3"], data=True, metadata=True)
    assert house.notes.failures == []


@pytest.mark.usefixtures("hasty")
def test_dead_rows_wait_for_their_readers_and_go_without_being_asked(house: House) -> None:
    room, other = house.make(), house.make()
    with room.dead_rows.reading(lambda: 0), house.reaping():
        eventually(lambda: house.left(2) == CLEAN, "those of the other index are gone")
        assert house.left(1) == FULL
        reader = room.dead_rows.reading(lambda: 1)
        reader.__enter__()
    assert other.index.index_id == 2
    with house.reaping():
        assert house.left(1) == FULL
        reader.__exit__(None, None, None)
        eventually(lambda: house.left(1) == CLEAN, "they are gone")


@pytest.mark.usefixtures("hasty")
def test_removal_that_fails_is_told_and_tried_again(house: House, writes: Refusals) -> None:
    house.make()
    writes.on = True
    with house.reaping():
        eventually(lambda: len(house.notes.failures) >= 2, "it failed and was tried again")
        assert house.left(1) == FULL
        writes.on = False
        eventually(lambda: house.left(1) == CLEAN, "it was tried again and worked")
    what, error = house.notes.failures[0]
    assert what == "removal of dead rows"
    assert isinstance(error, ServiceUnavailable)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("kind", [OSError, RuntimeError, MemoryError, ValueError])
def test_failure_of_any_kind_hinders_neither_the_thread_nor_other_indexes(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    broken, sound, dropped = (house.make() for _ in range(3))
    house.drop(dropped)
    error = kind("broken")

    def fail() -> int:
        raise error

    remove = broken.dead_rows.remove
    monkeypatch.setattr(broken.dead_rows, "remove", fail)
    with house.reaping() as reaper:
        reaper.drop(dropped)
        eventually(lambda: house.left(2) == CLEAN, "those of the other index are gone")
        eventually(lambda: not house.left(3), "the dropped index is gone")
        assert house.left(1) == FULL
        monkeypatch.setattr(broken.dead_rows, "remove", remove)
        eventually(lambda: house.left(1) == CLEAN, "they are gone in the end")
    assert sound.generation is not None
    assert ("removal of dead rows", error) in house.notes.failures


# --- Dropped indexes ------------------------------------------------------------------------------


def test_drop_removes_the_records_of_all_families_and_the_files(house: House) -> None:
    kept, dropped = house.make(), house.make()
    house.drop(dropped)
    assert house.left(2) == {**FULL, "drop": 1}
    assert list(house.folder(dropped).iterdir())
    with house.reaping() as reaper:
        reaper.drop(dropped)
        eventually(lambda: not house.left(2), "all records are gone")
        eventually(lambda: not house.folder(dropped).exists(), "all files are gone")
    assert dropped.generation is None
    assert house.catalog.drops() == []
    assert house.left(1) == CLEAN
    assert kept.get(["k0"], data=True, metadata=True)
    assert house.folder(kept).exists()


def test_neighbours_in_the_order_of_keys_are_not_touched(house: House) -> None:
    rooms = [house.make() for _ in range(3)]
    house.drop(rooms[1])
    with house.reaping() as reaper:
        reaper.drop(rooms[1])
        eventually(lambda: not house.left(2), "it is gone")
    assert house.left(1) == house.left(3) == CLEAN
    assert set(records_of(house.store, Family.CATALOG)) >= {state_key(1), state_key(3)}


@pytest.mark.usefixtures("hasty")
def test_drop_waits_for_the_readers_of_the_index(house: House) -> None:
    read, other = house.make(), house.make()
    house.drop(read)
    house.drop(other)
    with house.reaping() as reaper:
        with read.dead_rows.reading(lambda: 3):
            reaper.drop(read)
            reaper.drop(other)
            eventually(lambda: not house.left(2), "the other is gone")
            assert house.left(1) == {**FULL, "drop": 1}
            assert read.generation is not None
        eventually(lambda: not house.left(1), "it is gone without being asked again")


@pytest.mark.usefixtures("hasty")
def test_drop_that_was_interrupted_is_finished_at_the_next_start(
    house: House, writes: Refusals
) -> None:
    dropped = house.make()
    house.drop(dropped)
    writes.refuse_after(1)
    with house.reaping() as reaper:
        reaper.drop(dropped)
        eventually(lambda: house.notes.failures, "it was interrupted")
    assert house.left(1) == {"drop": 1}, "the note goes last"
    writes.on = False
    again = Catalog(house.store)
    assert again.drops() == [1]
    with house.reaping(again.drops()):
        eventually(lambda: not again.drops(), "it is finished")
    assert house.left(1) == {}


@pytest.mark.usefixtures("hasty")
def test_drop_that_fails_is_tried_again(house: House, writes: Refusals) -> None:
    dropped = house.make()
    house.drop(dropped)
    writes.on = True
    with house.reaping() as reaper:
        reaper.drop(dropped)
        eventually(lambda: house.notes.failures, "it failed")
        assert house.left(1) == {**FULL, "drop": 1}
        writes.on = False
        eventually(lambda: not house.left(1), "it was tried again and worked")


def test_drops_of_an_earlier_process_are_finished(house: House) -> None:
    kept, *dropped = (house.make() for _ in range(3))
    for room in dropped:
        house.drop(room)
        room.close()
    with house.reaping(house.catalog.drops()):
        eventually(lambda: not house.catalog.drops(), "they are finished")
    assert house.left(2) == house.left(3) == {}
    assert house.left(1) == CLEAN
    assert kept.generation is not None


def test_files_that_are_gone_already_hinder_no_drop(house: House) -> None:
    dropped = house.make()
    house.drop(dropped)
    dropped.close()
    shutil.rmtree(house.folder(dropped))
    with house.reaping([1]):
        eventually(lambda: not house.left(1), "it is gone")
    assert house.notes.failures == []


@pytest.mark.usefixtures("hasty")
def test_directory_that_cannot_be_removed_is_told_and_tried_again(house: House) -> None:
    dropped = house.make()
    house.drop(dropped)
    dropped.close()
    shutil.rmtree(house.folder(dropped))
    house.folder(dropped).write_bytes(b"not to be removed as a directory")
    with house.reaping([1]):
        eventually(lambda: len(house.notes.failures) >= 2, "it failed and was tried again")
        assert house.left(1) == {"drop": 1}, "the next start would try it again, too"
        house.folder(dropped).unlink()
        eventually(lambda: not house.left(1), "it was tried again and worked")
    what, error = house.notes.failures[0]
    assert what == "removal of dead rows"
    assert isinstance(error, NotADirectoryError)


def test_drop_takes_the_checkpoints_and_their_record(house: House, store: Store) -> None:
    kept, dropped = house.make(), house.make()
    for room in (kept, dropped):
        room.load(NO_DEADLINE).turn(10, 1)
        assert Saver(lambda: house.rooms, store, house.options, house.notes).save(room)
    assert house.left(2) == {**FULL, "checkpoints": 1}
    house.drop(dropped)
    with house.reaping() as reaper:
        reaper.drop(dropped)
        eventually(lambda: not house.left(2), "it is gone")
    assert not house.folder(dropped).exists()
    assert house.left(1) == {**CLEAN, "checkpoints": 1}


def test_drop_waits_for_the_checkpoint_under_way(house: House) -> None:
    dropped = house.make()
    house.drop(dropped)
    with house.reaping() as reaper:
        with dropped.saving:
            reaper.drop(dropped)
            eventually(lambda: not reaper._woken, "the reaper is at it")
            assert house.left(1) == {**FULL, "drop": 1}
        eventually(lambda: not house.left(1), "it is gone")


# --- The end --------------------------------------------------------------------------------------


def test_stopping_does_not_wait_for_readers(house: House) -> None:
    read = house.make()
    house.drop(read)
    with read.dead_rows.reading(lambda: 3):
        with house.reaping() as reaper:
            reaper.drop(read)
        assert not reaper._thread.is_alive()
        assert house.left(1) == {**FULL, "drop": 1}, "the next start does the rest"


@pytest.mark.parametrize("call", [Reaper.wake, Reaper.stop])
def test_idle_reaper_stops_at_once(house: House, call: Callable[[Reaper], None]) -> None:
    with house.reaping() as reaper:
        assert refused(lambda: call(reaper)) is None
    assert not reaper._thread.is_alive()
    reaper.wake()
