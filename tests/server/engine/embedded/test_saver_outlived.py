"""An index that became small has no graph: the checkpoint of the one it had goes."""

from __future__ import annotations

from pathlib import Path

from engines.subject import wait_until_indexed
from oracles import draw_mixture
from rooms import Notes, batch, eventually, nearest_keys, opened_engine, put_index
from vectorbucket_server.engine.embedded.recovery import load_checkpoints


def test_checkpoint_of_a_graph_that_is_not_needed_any_more_goes(
    tmp_path: Path, notes: Notes
) -> None:
    options = {"graph_rows_min": 1_000, "checkpoint_changes_min": 100}
    keys = [f"k{number}" for number in range(1_500)]
    with opened_engine(tmp_path, notes, **options) as engine:
        index = put_index(engine, "shrinking", 4)
        engine.put_vectors(index, batch(keys, draw_mixture(1_500, 4, seed=1)))
        wait_until_indexed(engine, index)
        eventually(lambda: load_checkpoints(engine._store, index), "it was saved")
        engine.delete_vectors(index, keys[:1_490])
        eventually(lambda: not load_checkpoints(engine._store, index), "it is not named any more")
        (room,) = engine._rooms()
        generation = room.generation
        assert generation is not None
        assert not generation.has_graph
        eventually(lambda: list(room.directory.iterdir()) == [generation.directory], "it is gone")
        assert not list(generation.directory.glob("checkpoint-*"))
    with opened_engine(tmp_path, notes, **options) as engine:
        assert sorted(nearest_keys(engine, index)) == keys[1_490:]
    assert not notes.failures
