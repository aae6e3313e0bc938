"""Graphs are made anew from the store, and are there at the next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from resting import (
    COUNT,
    GRAPHED,
    SMALL,
    change,
    copied,
    files_of,
    flip,
    make_resting,
    verified,
)
from rooms import BUCKET, Notes, opened_engine
from vectorbucket.errors import Corruption, ServiceUnavailable
from vectorbucket_server.engine.backup_file import write_backup_file
from vectorbucket_server.engine.embedded import offline_rebuild as module
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.offline_rebuild import indexes_at_rest, rebuild
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.saver import Saver
from vectorbucket_server.engine.embedded.schema import Family, checkpoints_key, label_key
from vectorbucket_server.model import Index, IndexStatistics


@pytest.fixture(name="made", scope="module")
def fixture_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a data directory that no test changes."""
    folder = tmp_path_factory.mktemp("made")
    make_resting(folder)
    return folder


@pytest.fixture(name="options")
def fixture_options(made: Path, tmp_path: Path) -> EmbeddedOptions:
    """Return the options of a copy of it."""
    return copied(made, tmp_path)


def nobody(_index: Index, _done: int, _total: int) -> None:
    """Look at no progress."""


def test_indexes_are_those_of_the_catalogue(options: EmbeddedOptions) -> None:
    names = [(one.bucket_name, one.name) for one in indexes_at_rest(options.data_dir, options)]
    assert names == [(BUCKET.name, GRAPHED), (BUCKET.name, SMALL)]


def test_backup_is_not_changed(options: EmbeddedOptions) -> None:
    write_backup_file(options.data_dir, version="1", create_ms=1)
    before = files_of(options.data_dir)
    with pytest.raises(ServiceUnavailable, match="is a backup"):
        rebuild(indexes_at_rest(options.data_dir, options), options, nobody)
    assert files_of(options.data_dir) == before


@pytest.mark.parametrize("harm", ["none", "file", "record"])
def test_graph_is_made_anew_whatever_was_there(options: EmbeddedOptions, harm: str) -> None:
    indexes = indexes_at_rest(options.data_dir, options)
    if harm == "file":
        flip(options.data_dir / "generations/1/1/checkpoint-1/graph.hnsw", 200)
    if harm == "record":
        change(options, Family.CATALOG, checkpoints_key(1), b"{")
    steps: list[tuple[str, int, int]] = []
    rebuild(indexes, options, lambda index, *step: steps.append((index.name, *step)))
    assert verified(options) == []
    assert steps[-2:] == [(GRAPHED, COUNT, COUNT), (SMALL, 3, 3)]
    notes = Notes()
    folder = options.data_dir.parent
    with opened_engine(folder, notes, graph_rows_min=options.graph_rows_min) as engine:
        engine.load_index(indexes[0])
        assert engine.index_statistics(indexes[0]).pending_vector_count == 0
    assert (notes.turns, notes.failures) == ([], [])


def test_other_graphs_are_left_alone(options: EmbeddedOptions) -> None:
    (options.data_dir / "generations/1/1/checkpoint-1").touch()
    before = (options.data_dir / "generations/1/1/checkpoint-1").stat().st_mtime_ns
    rebuild(indexes_at_rest(options.data_dir, options)[1:], options, nobody)
    assert (options.data_dir / "generations/1/1/checkpoint-1").stat().st_mtime_ns == before


def test_damaged_vectors_are_told(options: EmbeddedOptions) -> None:
    change(options, Family.DATA, label_key(1, 50), None)
    with pytest.raises(Corruption, match=label_key(1, 50).hex()):
        rebuild(indexes_at_rest(options.data_dir, options), options, nobody)


def test_graph_that_is_not_saved_is_told(
    options: EmbeddedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    indexes = indexes_at_rest(options.data_dir, options)
    monkeypatch.setattr(EmbeddedEngine, "unload_index", lambda *_: None)
    monkeypatch.setattr(Saver, "save", fail)
    with pytest.raises(
        ServiceUnavailable, match=r"graph of index 'graphed' was not saved: .*No sp"
    ):
        rebuild(indexes, options, nobody)


def test_engine_that_gets_nowhere_is_given_up(
    options: EmbeddedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stand_still(engine: EmbeddedEngine, index: Index) -> IndexStatistics:
        engine._observer.background_failed("indexing", OSError("the disk is gone"))
        return before(engine, index).__class__(COUNT, 7)

    indexes = indexes_at_rest(options.data_dir, options)
    before = EmbeddedEngine.index_statistics
    monkeypatch.setattr(EmbeddedEngine, "index_statistics", stand_still)
    monkeypatch.setattr(module, "_STUCK_S", 0.0)
    monkeypatch.setattr(module, "_LOOK_S", 0.001)
    with pytest.raises(ServiceUnavailable, match="cannot be built: indexing: the disk is gone"):
        rebuild(indexes, options, nobody)
