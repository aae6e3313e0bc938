"""What is restored is what was backed up; what is not whole is nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resting import GRAPHED, SMALL, files_of, flip, make_resting, resting_options, verified
from rooms import BUCKET, Notes, all_vectors, in_child, opened_engine, refused
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.backup_file import (
    BACKUP_FILE,
    BadBackup,
    copy_file,
    read_backup_file,
    write_backup_file,
)
from vectorbucket_server.engine.embedded import restore as module
from vectorbucket_server.engine.embedded.restore import CannotRestore, restore, take_over


@pytest.fixture(name="made", scope="module")
def fixture_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a backup that no test changes: a data directory is one, once it says so."""
    folder = tmp_path_factory.mktemp("made")
    options = make_resting(folder)
    (options.data_dir / "store" / "LOCK").unlink()
    write_backup_file(options.data_dir, version="1", create_ms=5)
    return options.data_dir


@pytest.fixture(name="backup")
def fixture_backup(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the backup."""
    shutil.copytree(made, tmp_path / "backup")
    return tmp_path / "backup"


def nobody(_done: int, _total: int) -> None:
    """Look at no progress."""


def test_everything_is_there_and_the_graph_with_it(made: Path, tmp_path: Path) -> None:
    options = resting_options(tmp_path)
    written = restore(made, options.data_dir, nobody)
    assert written == read_backup_file(made)
    assert sorted(path.name for path in options.data_dir.iterdir()) == ["generations", "store"]
    assert verified(options) == []
    notes = Notes()
    with opened_engine(tmp_path, notes, graph_rows_min=options.graph_rows_min) as engine:
        graphed, small = (engine.get_index(BUCKET.name, name) for name in (GRAPHED, SMALL))
        assert len(all_vectors(engine, graphed)) == 120
        assert len(all_vectors(engine, small)) == 3
        engine.load_index(graphed)
        assert engine.index_statistics(graphed).pending_vector_count == 0
    assert (notes.turns, notes.failures) == ([], [])


def test_backup_is_only_read_and_can_be_restored_twice(backup: Path, tmp_path: Path) -> None:
    before = files_of(backup)
    for name in ("one", "two"):
        restore(backup, tmp_path / name / "data", nobody)
        with opened_engine(tmp_path / name, graph_rows_min=50) as engine:
            engine.delete_vectors(engine.get_index(BUCKET.name, GRAPHED), ["k1"])
    assert files_of(backup) == before
    assert all(
        path.stat().st_nlink == 1 for path in (tmp_path / "one").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("there", ["missing", "empty", "a disk", "leftovers", "half moved"])
def test_directory_may_be_missing_or_empty(made: Path, tmp_path: Path, there: str) -> None:
    data_dir = tmp_path / "deep" / "data"
    if there != "missing":
        data_dir.mkdir(parents=True)
    if there == "a disk":
        (data_dir / "lost+found").mkdir()
    if there == "leftovers":
        (data_dir / "restore.partial" / "generations").mkdir(parents=True)
    if there == "half moved":
        (data_dir / "restore.partial" / "store").mkdir(parents=True)
        (data_dir / "generations" / "1" / "9").mkdir(parents=True)
    restore(made, data_dir, nobody)
    assert (data_dir / "store" / "CURRENT").exists()
    assert not (data_dir / "restore.partial").exists()
    assert not (data_dir / "generations" / "1" / "9").exists()


@pytest.mark.parametrize("name", ["store", "generations", "notes.txt"])
def test_directory_with_anything_in_it_is_refused(made: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "data" / name).mkdir(parents=True)
    with pytest.raises(CannotRestore, match=f"is not empty: it has {name}; name a data directory"):
        restore(made, tmp_path / "data", nobody)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [name]


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBackup, match="is no backup"):
        restore(tmp_path, tmp_path / "data", nobody)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["other", "store/other"])
def test_backup_of_another_engine_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "backup" / "store").mkdir(parents=True)
    (tmp_path / "backup" / name).write_text("x")
    write_backup_file(tmp_path / "backup", version="1", create_ms=1)
    with pytest.raises(CannotRestore, match="made by another engine: it has no store/CURRENT"):
        restore(tmp_path / "backup", tmp_path / "data", nobody)
    (tmp_path / "backup" / "store" / "CURRENT").write_text("x")
    (tmp_path / "backup" / "alien").write_text("x")
    write_backup_file(tmp_path / "backup", version="1", create_ms=1)
    with pytest.raises(CannotRestore, match="made by another engine: it has alien"):
        restore(tmp_path / "backup", tmp_path / "data", nobody)
    assert not (tmp_path / "data").exists()


def wound(path: Path, how: str) -> str:
    """Harm a file; return what is said of it."""
    if how == "flipped":
        flip(path, -1)
        return "has checksum"
    if how == "gone":
        path.unlink()
        return "cannot be read: No such file"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    return "bytes, not"


@pytest.mark.parametrize("how", ["flipped", "gone", "short"])
@pytest.mark.parametrize("pattern", ["store/*.sst", "generations/1/1/checkpoint-1/graph.hnsw"])
def test_damage_is_named_and_nothing_is_restored(
    backup: Path, tmp_path: Path, pattern: str, how: str
) -> None:
    path = min(backup.glob(pattern))
    words = wound(path, how)
    with pytest.raises(CannotRestore, match=f"the backup is damaged: {re.escape(str(path))} ") as e:
        restore(backup, tmp_path / "data", nobody)
    assert words in str(e.value)
    assert list((tmp_path / "data").glob("*")) == []


def test_damaged_list_of_files_is_told(backup: Path, tmp_path: Path) -> None:
    wound(backup / BACKUP_FILE, "short")
    (backup / BACKUP_FILE).write_bytes((backup / BACKUP_FILE).read_bytes()[:-5])
    with pytest.raises(BadBackup, match=r"backup\.json is damaged"):
        restore(backup, tmp_path / "data", nobody)


def test_files_that_nobody_knows_stay_behind(backup: Path, tmp_path: Path) -> None:
    (backup / "store" / "999999.sst").write_text("x")
    restore(backup, tmp_path / "data", nobody)
    assert not (tmp_path / "data" / "store" / "999999.sst").exists()


def test_progress_goes_from_nothing_to_everything(made: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    written = restore(made, tmp_path / "data", lambda done, total: steps.append((done, total)))
    assert {total for _, total in steps} == {written.size_bytes}
    done = [one for one, _ in steps]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, written.size_bytes)


def test_full_disk_is_seen_before_anything_is_copied(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7))
    with pytest.raises(CannotRestore, match=r"the disk of .* has 7 left: make room"):
        restore(made, tmp_path / "data", nobody)
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("nth", [1, 5])
def test_disk_that_fails_leaves_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    calls = iter(range(1, 1_000))

    def fail(*arguments: Any) -> Any:
        if next(calls) == nth:
            raise OSError(28, "No space left on device", "there")
        return copy_file(*arguments)

    monkeypatch.setattr(module, "copy_file", fail)
    with pytest.raises(CannotRestore, match="there cannot be written or read: No space left on"):
        restore(made, tmp_path / "data", nobody)
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("nth", [1, 2])
def test_disk_that_fails_at_the_end_leaves_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    rename, calls = Path.rename, iter(range(1, 1_000))

    def fail(path: Path, target: Path) -> Path:
        if next(calls) == nth:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(CannotRestore, match="cannot be written or read: Input/output error"):
            restore(made, tmp_path / "data", nobody)
    assert list((tmp_path / "data").iterdir()) == []


def test_two_restores_keep_apart(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals: list[object] = []

    def copy_beside(*arguments: Any) -> Any:
        if not refusals:
            refusals.append(refused(lambda: restore(made, tmp_path / "data", nobody)))
        return copy_file(*arguments)

    monkeypatch.setattr(module, "copy_file", copy_beside)
    restore(made, tmp_path / "data", nobody)
    assert [str(one) for one in refusals] == [
        f"another restore into {tmp_path / 'data'} is under way"
    ]
    assert verified(resting_options(tmp_path)) == []


_DYING = """
import os, sys
from pathlib import Path
from vectorbucket_server.engine.embedded import restore as module
backup, folder = map(Path, sys.argv[1:])
copy_file, move, rename = module.copy_file, module._move, Path.rename
def dying(call, nth):
    left = iter(range(nth))
    def called(*arguments, **named):
        if next(left) == nth - 1:
            os._exit(0)
        return call(*arguments, **named)
    return called
places = {
    "first file": lambda: setattr(module, "copy_file", dying(copy_file, 1)),
    "fifth file": lambda: setattr(module, "copy_file", dying(copy_file, 5)),
    "all copied": lambda: setattr(module, "_move", dying(move, 1)),
    "one moved": lambda: setattr(Path, "rename", dying(rename, 2)),
    "both moved": lambda: setattr(module.shutil, "rmtree", dying(module.shutil.rmtree, 1)),
}
for name, prepare in places.items():
    if not os.fork():
        prepare()
        module.restore(backup, folder / name / "data", lambda *_: None)
        os._exit(7)
    assert os.wait()[1] == 0, name
print(*places, sep=",")
"""


def test_killed_restore_leaves_nothing_that_a_server_takes(made: Path, tmp_path: Path) -> None:
    places = in_child(_DYING, made, tmp_path).split(",")
    for place in places:
        options = resting_options(tmp_path / place)
        partial = options.data_dir / "restore.partial"
        assert partial.exists(), place
        if place == "both moved":
            take_over(options.data_dir)  # it is whole
            assert not partial.exists()
        else:
            with pytest.raises(ServiceUnavailable, match=r"run it again; .* remove .*\.partial$"):
                take_over(options.data_dir)
            restore(made, options.data_dir, nobody)
        names = sorted(path.name for path in options.data_dir.iterdir())
        assert names == ["generations", "store"], place
        assert verified(options) == [], place


def test_backup_is_not_taken_over(made: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="is a backup, and would be none any more"):
        take_over(made)
