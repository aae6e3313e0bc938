"""Graphs are made anew from the store, and are there at the next start."""

from __future__ import annotations

import pytest

from resting import (
    COUNT,
    GRAPHED,
    SMALL,
    change,
    files_of,
    flip,
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


def nobody(_index: Index, _done: int, _total: int) -> None:
    """Look at no progress."""


def test_indexes_are_those_of_the_catalogue(resting: EmbeddedOptions) -> None:
    names = [(one.bucket_name, one.name) for one in indexes_at_rest(resting.data_dir, resting)]
    assert names == [(BUCKET.name, GRAPHED), (BUCKET.name, SMALL)]


def test_backup_is_not_changed(resting: EmbeddedOptions) -> None:
    write_backup_file(resting.data_dir, version="1", create_ms=1)
    before = files_of(resting.data_dir)
    with pytest.raises(ServiceUnavailable, match="is a backup"):
        rebuild(indexes_at_rest(resting.data_dir, resting), resting, nobody)
    assert files_of(resting.data_dir) == before


@pytest.mark.parametrize("harm", ["none", "file", "record"])
def test_graph_is_made_anew_whatever_was_there(resting: EmbeddedOptions, harm: str) -> None:
    indexes = indexes_at_rest(resting.data_dir, resting)
    if harm == "file":
        flip(resting.data_dir / "generations/1/1/checkpoint-1/graph.hnsw", 200)
    if harm == "record":
        change(resting, Family.CATALOG, checkpoints_key(1), b"{")
    steps: list[tuple[str, int, int]] = []
    rebuild(indexes, resting, lambda index, *step: steps.append((index.name, *step)))
    assert verified(resting) == []
    assert steps[-2:] == [(GRAPHED, COUNT, COUNT), (SMALL, 3, 3)]
    notes = Notes()
    folder = resting.data_dir.parent
    with opened_engine(folder, notes, graph_rows_min=resting.graph_rows_min) as engine:
        engine.load_index(indexes[0])
        assert engine.index_statistics(indexes[0]).pending_vector_count == 0
    assert (notes.turns, notes.failures) == ([], [])


def test_other_graphs_are_left_alone(resting: EmbeddedOptions) -> None:
    (resting.data_dir / "generations/1/1/checkpoint-1").touch()
    before = (resting.data_dir / "generations/1/1/checkpoint-1").stat().st_mtime_ns
    rebuild(indexes_at_rest(resting.data_dir, resting)[1:], resting, nobody)
    assert (resting.data_dir / "generations/1/1/checkpoint-1").stat().st_mtime_ns == before


def test_damaged_vectors_are_told(resting: EmbeddedOptions) -> None:
    change(resting, Family.DATA, label_key(1, 50), None)
    with pytest.raises(Corruption, match=label_key(1, 50).hex()):
        rebuild(indexes_at_rest(resting.data_dir, resting), resting, nobody)


def test_graph_that_is_not_saved_is_told(
    resting: EmbeddedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    indexes = indexes_at_rest(resting.data_dir, resting)
    monkeypatch.setattr(EmbeddedEngine, "unload_index", lambda *_: None)
    monkeypatch.setattr(Saver, "save", fail)
    with pytest.raises(
        ServiceUnavailable, match=r"graph of index 'graphed' was not saved: .*No sp"
    ):
        rebuild(indexes, resting, nobody)


def test_engine_that_gets_nowhere_is_given_up(
    resting: EmbeddedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stand_still(engine: EmbeddedEngine, index: Index) -> IndexStatistics:
        engine._observer.background_failed("indexing", OSError("the disk is gone"))
        return before(engine, index).__class__(COUNT, 7)

    indexes = indexes_at_rest(resting.data_dir, resting)
    before = EmbeddedEngine.index_statistics
    monkeypatch.setattr(EmbeddedEngine, "index_statistics", stand_still)
    monkeypatch.setattr(module, "_STUCK_S", 0.0)
    monkeypatch.setattr(module, "_LOOK_S", 0.001)
    with pytest.raises(ServiceUnavailable, match="cannot be built: indexing: the disk is gone"):
        rebuild(indexes, resting, nobody)
