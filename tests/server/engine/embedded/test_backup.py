"""A backup is a data directory of one moment, whatever goes on beside it.

What many writers see of it is tested in tests/durability/test_backup.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resting import GRAPH_ROWS_MIN, resting_options, told, verified
from rooms import (
    BUCKET,
    GivenUp,
    Notes,
    all_vectors,
    eventually,
    nearest_keys,
    numbered,
    opened_engine,
    put_index,
)
from vectorbucket.errors import RequestTimeout, ServiceUnavailable
from vectorbucket_server.engine.backup_file import write_backup_file
from vectorbucket_server.engine.embedded import backup as module
from vectorbucket_server.engine.embedded.backup import STAGE
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.recovery import load_checkpoints
from vectorbucket_server.engine.embedded.restore import restore
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Index


@pytest.fixture(name="place")
def fixture_place(tmp_path: Path) -> Iterator[tuple[EmbeddedEngine, Index]]:
    """Yield an engine, and its index of 120 vectors, whose graph is saved."""
    with opened_engine(tmp_path, graph_rows_min=GRAPH_ROWS_MIN) as engine:
        index = put_index(engine)
        engine.put_vectors(index, numbered(120)[0])
        save(engine, index)
        yield engine, index


def save(engine: EmbeddedEngine, index: Index) -> None:
    """Write a checkpoint of all that was put."""
    eventually(lambda: engine.index_statistics(index).pending_vector_count == 0, "it has a graph")
    assert engine._saver.save(engine._opened(index))


def backed_up(engine: EmbeddedEngine, folder: Path) -> Path:
    """Return a backup in the folder."""
    folder.mkdir()
    engine.back_up(folder)
    return folder


def restored(backup: Path, folder: Path) -> Path:
    """Return a folder with a data directory that was made of the backup."""
    write_backup_file(backup, version="1", create_ms=1)
    restore(backup, folder / "data", lambda *_: None)
    return folder


def test_backup_is_whole_and_its_graph_is_loaded(
    place: tuple[EmbeddedEngine, Index], tmp_path: Path
) -> None:
    engine, index = place
    backup = backed_up(engine, tmp_path / "backup")
    assert sorted(path.name for path in backup.iterdir()) == ["generations", "store"]
    assert verified(resting_options(tmp_path), backup) == []
    notes, folder = Notes(), restored(backup, tmp_path / "new")
    with opened_engine(folder, notes, graph_rows_min=GRAPH_ROWS_MIN) as other:
        assert all_vectors(other, index).keys() == all_vectors(engine, index).keys()
        assert nearest_keys(other, index, 10) == nearest_keys(engine, index, 10)
        assert other.index_statistics(index).pending_vector_count == 0
    assert (notes.turns, notes.failures) == ([], [])


def test_nothing_of_it_is_left_in_the_data_directory(
    place: tuple[EmbeddedEngine, Index], tmp_path: Path
) -> None:
    backed_up(place[0], tmp_path / "backup")
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names == {"store", "generations"}


def test_what_never_changes_is_linked_and_what_grows_is_copied(
    place: tuple[EmbeddedEngine, Index], tmp_path: Path
) -> None:
    backup = backed_up(place[0], tmp_path / "backup") / "generations" / "1" / "1"
    links = {path.name: path.stat().st_nlink for path in backup.rglob("*") if path.is_file()}
    assert links == {
        "column.f32": 1, "codes.i8": 1, "keys": 1,
        "graph.hnsw": 2, "slots.npy": 2, "metadata.bin": 2,
    }  # fmt: skip
    assert (backup / "column.f32").stat().st_size == 120 * 4 * 4
    assert (backup / "keys").stat().st_size == sum(len(f"k{number}") for number in range(120))


def test_disk_without_links_has_copies(
    place: tuple[EmbeddedEngine, Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(module.os, "link", refuse)  # type: ignore[attr-defined]
    backup = backed_up(place[0], tmp_path / "backup")
    generations = backup / "generations"
    assert all(one.stat().st_nlink == 1 for one in generations.rglob("*") if one.is_file())
    assert verified(resting_options(tmp_path), backup) == []


def test_later_writes_are_not_in_it(place: tuple[EmbeddedEngine, Index], tmp_path: Path) -> None:
    engine, index = place
    backup = backed_up(engine, tmp_path / "backup")
    engine.put_vectors(index, numbered(500, start=1_000)[0])
    engine.delete_vectors(index, ["k1", "k2"])
    save(engine, index)
    assert verified(resting_options(tmp_path), backup) == []
    with opened_engine(restored(backup, tmp_path / "new")) as other:
        assert sorted(all_vectors(other, index)) == sorted(f"k{one}" for one in range(120))


def test_backups_follow_each_other(place: tuple[EmbeddedEngine, Index], tmp_path: Path) -> None:
    engine, index = place
    for number in range(2):
        engine.put_vectors(index, numbered(100, start=1_000 * number)[0])
        backed_up(engine, tmp_path / str(number))
    for number in range(2):
        assert verified(resting_options(tmp_path), tmp_path / str(number)) == []
        with opened_engine(restored(tmp_path / str(number), tmp_path / f"new{number}")) as other:
            assert f"k{1_000 * number + 99}" in all_vectors(other, index)
            assert f"k{1_000 * number + 1_000}" not in all_vectors(other, index)


def before_the_store(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, after: bool = False
) -> None:
    """Do something when the store's moment is near: just before it, or after it."""
    checkpoint = Store.checkpoint

    def wrapped(store: Store, path: Path) -> None:
        if after:
            checkpoint(store, path)
        act()
        if not after:
            checkpoint(store, path)

    monkeypatch.setattr(Store, "checkpoint", wrapped)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_checkpoint_that_is_replaced_meanwhile_is_in_it(
    place: tuple[EmbeddedEngine, Index],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    after: bool,
) -> None:
    engine, index = place
    start = iter(range(1_000, 9_000, 1_000))

    def replace_both() -> None:
        for _ in range(2):
            engine.put_vectors(index, numbered(60, start=next(start))[0])
            save(engine, index)

    before_the_store(monkeypatch, replace_both, after=after)
    backup = backed_up(engine, tmp_path / "backup")
    assert verified(resting_options(tmp_path), backup) == []
    names = sorted(path.name for path in (backup / "generations" / "1" / "1").glob("check*"))
    assert names == (["checkpoint-1"] if after else ["checkpoint-2", "checkpoint-3"])


def test_index_that_is_dropped_meanwhile_leaves_a_sound_backup(
    place: tuple[EmbeddedEngine, Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, index = place
    other = put_index(engine, "other")
    engine.put_vectors(other, numbered(3)[0])
    before_the_store(monkeypatch, lambda: engine.delete_index(index))
    backup = backed_up(engine, tmp_path / "backup")
    severities = {severity for severity, _ in told(verified(resting_options(tmp_path), backup))}
    assert severities <= {"leftover"}
    with opened_engine(restored(backup, tmp_path / "new")) as new:
        assert [one.name for one in new.list_indexes(BUCKET.name, limit=9).items] == ["other"]
        assert len(all_vectors(new, other)) == 3


def test_index_that_is_made_meanwhile_is_in_it(
    place: tuple[EmbeddedEngine, Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = place
    made: list[Index] = []

    def make() -> None:
        made.append(put_index(engine, "late"))
        engine.put_vectors(made[0], numbered(120)[0])
        save(engine, made[0])

    before_the_store(monkeypatch, make)
    backup = backed_up(engine, tmp_path / "backup")
    with opened_engine(restored(backup, tmp_path / "new"), graph_rows_min=GRAPH_ROWS_MIN) as new:
        assert len(all_vectors(new, made[0])) == 120


def test_checkpoint_whose_files_are_gone_is_left_out(
    place: tuple[EmbeddedEngine, Index], tmp_path: Path
) -> None:
    engine, index = place
    engine.put_vectors(index, numbered(60, start=500)[0])
    save(engine, index)
    newest = load_checkpoints(engine._store, index)[0]
    base = tmp_path / "data" / "generations" / "1" / "1"
    (base / newest.name / "slots.npy").unlink()
    backup = backed_up(engine, tmp_path / "backup")
    assert [path.name for path in (backup / "generations/1/1").glob("check*")] == ["checkpoint-1"]
    ((severity, text),) = told(verified(resting_options(tmp_path), backup))
    assert (severity, "checkpoint-2" in text) == ("repairable", True)


def test_full_disk_is_seen_before_it_is_full(
    place: tuple[EmbeddedEngine, Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, index = place
    (tmp_path / "backup").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=512 << 20))
        with pytest.raises(
            ServiceUnavailable,
            match=r"needs \d+ bytes, and 536870912 are to stay free; its disk has 536870912 left",
        ):
            engine.back_up(tmp_path / "backup")
    goes_on(engine, index, tmp_path)


@pytest.mark.parametrize("name", ["copy_file", "sync_path"])
def test_failing_disk_leaves_the_engine_as_it_was(
    place: tuple[EmbeddedEngine, Index],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    engine, index = place
    (tmp_path / "backup").mkdir()

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail)
        with pytest.raises(ServiceUnavailable, match="the disk refused: No space left on device"):
            engine.back_up(tmp_path / "backup")
    goes_on(engine, index, tmp_path)


def goes_on(engine: EmbeddedEngine, index: Index, folder: Path) -> None:
    """Check that everything works, and that nothing was left behind."""
    assert not (folder / "data" / STAGE).exists()
    engine.put_vectors(index, numbered(60, start=700)[0])
    save(engine, index)
    assert verified(resting_options(folder), backed_up(engine, folder / "again")) == []


def test_caller_who_has_gone_leaves_the_engine_as_it_was(
    place: tuple[EmbeddedEngine, Index], tmp_path: Path
) -> None:
    engine, index = place

    class Gone(GivenUp):
        def __init__(self, looks: int) -> None:
            self.left = looks

        def check(self) -> None:
            if not self.left:
                super().check()
            self.left -= 1

    for looks in (0, 1, 3, 12, 20):
        (tmp_path / str(looks)).mkdir()
        with pytest.raises(RequestTimeout):
            engine.back_up(tmp_path / str(looks), deadline=Gone(looks))
    goes_on(engine, index, tmp_path)


def test_next_start_removes_what_a_killed_backup_left(tmp_path: Path) -> None:
    (tmp_path / "data" / STAGE / "store").mkdir(parents=True)
    (tmp_path / "data" / STAGE / "store" / "CURRENT").write_text("x")
    with opened_engine(tmp_path):
        assert not (tmp_path / "data" / STAGE).exists()
